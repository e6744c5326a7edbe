"""The page's words: complete, the same in both languages where they must be, and found by their key."""

from __future__ import annotations

import re
import string
import subprocess
import sys
import tomllib
from importlib import resources
from typing import Any

import pytest

from explorer.config import CHOICES, DEFAULT_WEIGHTS, FIELDS, Config, effect_of
from explorer.ppo.checks import CHECKS
from explorer.ppo.metrics import METRICS
from explorer.presets import PRESETS
from explorer.recipes import JUDGES
from explorer.text import LANGUAGES, labels, text

RAW: dict[str, Any] = tomllib.loads(resources.files("explorer.text").joinpath("labels.toml").read_text("utf-8"))


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    """Every leaf by its path: a table with a language among its keys, or anything that is no table."""
    if not isinstance(node, dict) or node.keys() & set(LANGUAGES):
        return {path: node}
    return {
        name: leaf
        for key, inner in node.items()
        for name, leaf in flatten(inner, f"{path}.{key}" if path else key).items()
    }


LEAVES = flatten(RAW)
PAIRS = {path: leaf for path, leaf in LEAVES.items() if isinstance(leaf, dict)}


def placeholders(words: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}


def has_chinese(words: str) -> bool:
    return re.search(r"[\u4e00-\u9fff]", words) is not None


def assert_holds(section: dict[str, Any], entry: str, *keys: str) -> None:
    missing = [key for key in keys if key not in section.get(entry, {})]
    assert not missing, f"'{entry}' lacks {missing}"


def test_every_text_is_in_every_language_with_the_same_placeholders() -> None:
    for path, pair in PAIRS.items():
        assert set(pair) == set(LANGUAGES), path
        assert all(isinstance(words, str) and words and words == words.strip() for words in pair.values()), path
        assert placeholders(pair["en"]) == placeholders(pair["zh"]), path
        assert "" not in placeholders(pair["en"]), f"{path}: a placeholder needs a name"


def test_what_is_not_translated_is_a_plain_string() -> None:
    neutral = {path: leaf for path, leaf in LEAVES.items() if path not in PAIRS}
    assert all(isinstance(words, str) and words for words in neutral.values())
    assert {path for path in neutral if not path.endswith(".expression")} == set()


def test_chinese_is_chinese_and_english_is_not() -> None:
    untranslated = [path for path, pair in PAIRS.items() if len(pair["en"]) > 20 and not has_chinese(pair["zh"])]
    assert untranslated == []
    assert [path for path, pair in PAIRS.items() if has_chinese(pair["en"])] == []


def test_no_text_holds_html() -> None:
    words = {path: leaf if isinstance(leaf, str) else " ".join(leaf.values()) for path, leaf in LEAVES.items()}
    assert [path for path, all_of_it in words.items() if re.search(r"<[a-zA-Z/!]|&#?\w+;", all_of_it)] == []


def test_every_field_is_explained() -> None:
    fields = RAW["fields"]
    assert set(fields) == {*FIELDS, "weight"}
    for name in fields:
        assert_holds(fields, name, "label", "what")
        if name in CHOICES:
            options = fields[name].get("options", {})
            assert set(options) == set(CHOICES[name]), f"the options of '{name}'"
            for option in options:
                assert_holds(options, option, "label", "what")
        else:
            assert_holds(fields, name, "up", "down")


def test_field_labels_fit_beside_a_slider() -> None:
    names = {name: entry["label"] for name, entry in RAW["fields"].items()}
    assert {name: label["en"] for name, label in names.items() if len(label["en"]) > 18} == {}
    assert {name: label["zh"] for name, label in names.items() if len(label["zh"]) > 9} == {}


def test_every_effect_has_its_words() -> None:
    assert set(RAW["effects"]) == {effect_of(name) for name in Config().flat()}
    for effect in RAW["effects"]:
        assert_holds(RAW["effects"], effect, "label")


def test_every_component_metric_check_and_preset_has_its_words() -> None:
    for section, names, keys in (
        ("components", DEFAULT_WEIGHTS, ("label", "definition", "expression")),
        ("judges", JUDGES, ("label", "definition")),
        ("metrics", METRICS, ("label", "definition", "look_for")),
        ("checks", CHECKS, ("label", "means")),
        ("presets", PRESETS, ("label", "story")),
    ):
        assert set(RAW[section]) == set(names), section
        for name in names:
            assert_holds(RAW[section], name, *keys)


def test_every_stage_quantity_and_panel_has_its_words() -> None:
    for section, keys in (
        (RAW["stages"], ("label", "now")),
        (RAW["quantities"], ("label", "what", "low", "high")),
    ):
        for name in section:
            assert_holds(section, name, *keys)


def test_the_clip_is_not_said_to_keep_ratios_inside_the_band() -> None:
    assert "does not keep the ratio within" in text("en", "clip.truth.clip")
    assert "真实的比率仍会越出" in text("zh", "clip.truth.clip")


def test_every_objective_says_its_own_truth_and_only_those_with_a_band_speak_of_rewarding_no_more() -> None:
    truths = {name: text("en", f"clip.truth.{name}") for name in CHOICES["objective"]}
    assert set(RAW["clip"]["truth"]) == set(truths)
    assert len(set(truths.values())) == len(truths)
    stops = {name for name, words in truths.items() if "stops rewarding movement" in words}
    assert stops == {"clip", "clip_higher", "dual_clip", "two_sided", "gspo"}
    assert {name for name, words in truths.items() if "PPO" in words} == {"clip"}


def test_one_setting_is_not_said_to_differ_as_many() -> None:
    assert text("en", "ui.differs_from_ppo.one", count=1) == "1 setting differs from PPO"
    assert text("en", "ui.differs_from_ppo.many", count=2) == "2 settings differ from PPO"


def test_labels_are_one_language_throughout() -> None:
    for language in LANGUAGES:
        tree = labels(language)
        assert tree["ui"]["train"] == {"en": "Train", "zh": "训练"}[language]
        assert tree["components"]["length"]["expression"] == RAW["components"]["length"]["expression"]
        assert set(flatten(tree)) == set(LEAVES)
        assert all(isinstance(words, str) for words in flatten(tree).values())


def test_text_fills_in_placeholders() -> None:
    assert text("en", "ui.update", update=3) == "update 3"
    assert text("zh", "ui.update", update=3) == "第 3 次更新"
    assert text("en", "stages.epoch.label", epoch=2, epochs=4) == "epoch 2 of 4"
    assert text("en", "metrics.objective/score.label") == "score"
    assert text("en", "ui.back_to_preset", value="{") == "set back to {"


def test_every_text_can_be_filled_in() -> None:
    for path, pair in PAIRS.items():
        for language in LANGUAGES:
            values = {name: f"★{name}★" for name in placeholders(pair[language])}
            filled = text(language, path, **values)
            assert all(value in filled for value in values.values()), path


def test_unknown_languages_and_keys_are_named() -> None:
    with pytest.raises(ValueError, match="'de', but must be one of en, zh"):
        labels("de")
    with pytest.raises(ValueError, match="'de', but must be one of en, zh"):
        text("de", "ui.train")
    with pytest.raises(KeyError, match="'ui' has no 'trian'; did you mean 'train'"):
        text("en", "ui.trian")
    with pytest.raises(KeyError, match=r"'labels.toml' has no 'xyz'; there are fields, effects"):
        text("en", "xyz.train")
    with pytest.raises(KeyError, match="'ui.train' is a text already"):
        text("en", "ui.train.label")
    with pytest.raises(KeyError, match="'ui.panels.kl' is a table, not one text: add one of title, look_for"):
        text("en", "ui.panels.kl")
    with pytest.raises(KeyError, match=r"'ui.update' needs a value for \{update\}"):
        text("en", "ui.update")


def test_reading_the_words_loads_nothing_heavy() -> None:
    program = (
        "import sys, explorer.text as words; words.labels('zh'); "
        "print(sorted({'torch', 'transformers', 'numpy', 'plotly', 'ipywidgets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
