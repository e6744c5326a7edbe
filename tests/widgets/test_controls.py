"""The settings: every knob once, every edit taken once, and what is refused goes back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer.config import CHOICES, FIELDS, WEIGHT_RANGE, effect_of
from explorer.presets import PRESETS
from explorer.text import LANGUAGES, labels
from explorer.widgets.board import Board
from explorer.widgets.controls import GROUPS, Controls, control, css_name, groups
from explorer.widgets.scripts import script
from tests.node import node

if TYPE_CHECKING:
    from tests.widgets.conftest import Say

CONFIG = PRESETS["learn"]


class Page:
    """Controls whose edits are taken into a Config, as the session does."""

    def __init__(self) -> None:
        self.config = CONFIG
        self.taken: list[dict[str, Any]] = []
        self.held: list[bool] = []
        self.errors: list[BaseException] = []
        self.controls = Controls(CONFIG, CONFIG, self.take, self.errors.append, board=Board())

    def take(self, changes: dict[str, Any], held: bool) -> None:
        self.taken.append(changes)
        self.held.append(held)
        self.config = self.config.replace(**changes)
        self.controls.show(self.config, CONFIG)


@pytest.fixture
def page() -> Page:
    return Page()


def edits(**fields: tuple[Any, int]) -> dict[str, dict[str, Any]]:
    """``edits(clip_range=(0.3, 7))``: the field's newest value and the edit's number."""
    return {name: {"value": value, "n": n} for name, (value, n) in fields.items()}


# --- what there is ---


def test_every_field_has_exactly_one_control() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(set(FIELDS) - {"weights", "components", "set_aside", "judge"})


def test_every_weight_has_a_control() -> None:
    config = CONFIG.replace(weight_exclamations=0.5)
    (weights,) = (group for group in groups(config) if group["key"] == "weights")
    assert [field["name"] for field in weights["fields"]] == [f"weight_{name}" for name in config.weights]
    assert weights["fields"][-1]["component"] == "exclamations"


def test_groups_say_when_a_change_takes_effect() -> None:
    for key in ("what_if", "next_update", "reset"):
        assert {effect_of(name) for name in GROUPS[key]} == {key}
    assert all(field["effect"] == effect_of(field["name"]) for g in groups(CONFIG) for field in g["fields"])


def test_the_sliders_of_the_first_screen_are_not_folded_away() -> None:
    open_fields = {f["name"] for group in groups(CONFIG) if not group["folded"] for f in group["fields"]}
    assert {"clip_range", "kl_coef", "gamma", "gae_lambda", "epochs", "learning_rate", "temperature"} <= open_fields
    assert {f"weight_{name}" for name in CONFIG.weights} <= open_fields


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_group_has_a_heading(language: str) -> None:
    assert set(labels(language)["ui"]["groups"]) == set(GROUPS)


def test_controls_are_of_the_fields_kind() -> None:
    kinds = {f["name"]: f["kind"] for group in groups(CONFIG) for f in group["fields"]}
    assert {name for name, kind in kinds.items() if kind == "choice"} == set(CHOICES)
    assert {name for name, kind in kinds.items() if kind == "toggle"} == {
        "whiten",
        "whiten_rewards",
        "freeze_critic",
        "dropout_on",
    }
    assert control("estimator")["choices"] == list(CHOICES["estimator"])
    assert control("learning_rate")["log"] is True
    assert control("kl_coef")["log"] is False
    assert control("max_grad_norm")["optional"] is True
    assert control("clip_range")["optional"] is False


#: GSPO's published clip range is far smaller than any that is worth a slider: it is typed.
TYPED = {("gspo", "clip_range"), ("gspo", "clip_range_high")}


def test_a_slider_stays_within_what_is_allowed_and_reaches_every_preset() -> None:
    for group in groups(CONFIG):
        for field in (f for f in group["fields"] if f["kind"] == "slider"):
            assert field["low"] <= field["low_shown"] < field["high_shown"] <= field["high"], field["name"]
            assert field["step"] > 0
            assert not field["log"] or field["low_shown"] > 0
            for name, preset in PRESETS.items():
                value = preset.flat()[field["name"]]
                if value not in (None, 0.0) and (name, field["name"]) not in TYPED:
                    assert field["low_shown"] <= value <= field["high_shown"], field["name"]


def test_both_ends_of_every_slider_are_accepted() -> None:
    roomy = CONFIG.replace(batch_size=64, group_size=1)  # as many minibatches as there can be, and any batch size
    for group in groups(roomy):
        for field in (f for f in group["fields"] if f["kind"] == "slider"):
            for end in ("low", "high", "low_shown", "high_shown"):
                roomy.replace(**{field["name"]: field[end]})


def test_a_weight_may_be_negative_by_typing() -> None:
    weight = control("weight_sentiment")
    assert (weight["low"], weight["high"]) == WEIGHT_RANGE
    assert weight["low_shown"] == 0.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("clip_range", "clip_range"),
        ("weight_coherence", "weight-coherence"),
        ("weight_My Reward", "weight-my-reward"),
        ("weight_a.b/c<d>", "weight-a-b-c-d-"),
        ("weight_снег", "weight-снег"),
    ],
)
def test_css_names(name: str, expected: str) -> None:
    assert css_name(name) == expected


def test_css_names_are_one_word() -> None:
    names = [field["css"] for group in groups(CONFIG.replace(weight_two=1.0)) for field in group["fields"]]
    assert len(names) == len(set(names))
    assert not any(" " in name for name in names)


def test_the_groups_can_be_sent() -> None:
    json.dumps(groups(CONFIG), allow_nan=False)


# --- what is shown ---


def test_values_and_presets_are_shown_in_one_message(page: Page, to_browser: Callable[[Any], list[Any]]) -> None:
    sent = to_browser(page.controls)
    page.controls.show(CONFIG.replace(clip_range=0.3), PRESETS["balanced"])
    assert len(sent) == 1
    assert page.controls.values["clip_range"] == 0.3
    assert page.controls.preset_values["kl_coef"] == PRESETS["balanced"].kl_coef


def test_a_weight_that_the_preset_lacks_counts_as_zero(page: Page) -> None:
    page.controls.show(CONFIG.replace(weight_exclamations=0.5), CONFIG)
    assert page.controls.preset_values["weight_exclamations"] == 0.0
    assert page.controls.values["weight_exclamations"] == 0.5


# --- what is edited ---


def test_an_edit_is_taken(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(clip_range=(0.3, 1)))
    assert page.taken == [{"clip_range": 0.3}]
    assert page.controls.values["clip_range"] == 0.3


def test_an_edit_is_taken_once(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(clip_range=(0.3, 1)))
    from_browser(page.controls, edits=edits(clip_range=(0.3, 1), kl_coef=(0.1, 2)))
    from_browser(page.controls, edits=edits(clip_range=(0.4, 3), kl_coef=(0.1, 2)))
    assert page.taken == [{"clip_range": 0.3}, {"kl_coef": 0.1}, {"clip_range": 0.4}]


def test_an_edit_says_whether_its_control_is_still_held(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits={"clip_range": {"value": 0.3, "n": 1, "held": True}})
    from_browser(
        page.controls,
        edits={"clip_range": {"value": 0.4, "n": 3, "held": False}, "kl_coef": {"value": 0.1, "n": 2, "held": True}},
    )
    assert page.taken == [{"clip_range": 0.3}, {"kl_coef": 0.1}, {"clip_range": 0.4}]
    assert page.held == [True, True, False]


def test_edits_of_several_fields_come_in_their_order(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(kl_coef=(0.1, 5), clip_range=(0.3, 4), gamma=(0.9, 6)))
    assert page.taken == [{"clip_range": 0.3}, {"kl_coef": 0.1}, {"gamma": 0.9}]


def test_the_values_and_that_they_are_the_answer_travel_in_one_message(
    page: Page, from_browser: Say, to_browser: Callable[[Any], list[dict[str, Any]]]
) -> None:
    sent = to_browser(page.controls)
    from_browser(page.controls, edits=edits(clip_range=(0.3, 4), gamma=(0.9, 5)))
    (state,) = (m["state"] for m in sent if m["method"] == "update" and "answered" in m["state"])
    assert state["answered"] == 5
    assert (state["values"]["clip_range"], state["values"]["gamma"]) == (0.3, 0.9)
    assert [m for m in sent if "values" in m.get("state", {}) and "answered" not in m["state"]] == []


def test_a_refused_edit_is_answered_too(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(clip_range=(7.0, 3)))
    assert page.controls.answered == 3
    page.controls.forget(2)
    assert page.controls.answered == 3
    page.controls.forget(8)
    assert page.controls.answered == 8


@pytest.mark.parametrize(
    ("edit", "answered", "shown"),
    [
        (None, 0, 1.0),
        ({"value": 1.35, "n": 2}, 2, 1.0),  # answered: what the kernel says is the last word, as where it refused
        ({"value": 1.35, "n": 2}, 9, 1.0),
        ({"value": 1.35, "n": 2}, 1, 1.35),  # the values on the page are older than the edit
        ({"value": None, "n": 2}, 1, None),
        ({"value": "a lot", "n": 2}, 1, 1.0),  # no slider can stand at a text
    ],
)
def test_a_control_stays_where_it_was_moved_to_until_it_is_answered(
    edit: dict[str, Any] | None, answered: int, shown: float | None, tmp_path: Path
) -> None:
    state = {"values": {"temperature": 1.0}, "edits": {"temperature": edit} if edit else {}, "answered": answered}
    (tmp_path / "controls.mjs").write_text(f"{script('controls')}\nexport {{ standing }};", encoding="utf-8")
    ask = f"""
      import {{ standing }} from "./controls.mjs";
      const state = {json.dumps(state)};
      console.log(JSON.stringify(standing({{ get: (name) => state[name] }}, "temperature")));
    """
    (tmp_path / "ask.mjs").write_text(ask, encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == shown


def test_an_edit_with_a_stale_number_is_ignored(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(clip_range=(0.3, 9)))
    from_browser(page.controls, edits=edits(clip_range=(0.1, 8)))
    assert page.taken == [{"clip_range": 0.3}]
    assert page.config.clip_range == 0.3


@pytest.mark.parametrize("value", [2.0, "abc", float("nan"), None, [1], {"a": 1}])
def test_a_refused_edit_is_reported_and_the_slider_goes_back(
    value: Any, page: Page, from_browser: Say, to_browser: Callable[[Any], list[dict[str, Any]]]
) -> None:
    sent = to_browser(page.controls)
    from_browser(page.controls, edits=edits(clip_range=(value, 1)))
    (error,) = page.errors
    assert "clip_range" in str(error)
    assert {"kind": "rejected"} in [message.get("content") for message in sent]
    assert page.controls.values["clip_range"] == CONFIG.clip_range


def test_an_unknown_field_is_refused(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(clip_rnge=(0.3, 1)))
    (error,) = page.errors
    assert "did you mean 'clip_range'" in str(error)


def test_after_a_refused_edit_the_next_is_taken(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(clip_range=(2.0, 1)))
    from_browser(page.controls, edits=edits(clip_range=(0.25, 2)))
    assert page.config.clip_range == 0.25
    assert len(page.errors) == 1


def test_a_refused_edit_takes_no_other_field_with_it(page: Page, from_browser: Say) -> None:
    from_browser(page.controls, edits=edits(kl_coef=(0.1, 1), clip_range=(2.0, 2), gamma=(0.9, 3)))
    assert (page.config.kl_coef, page.config.gamma) == (0.1, 0.9)
    assert page.config.clip_range == CONFIG.clip_range
    assert len(page.errors) == 1


def test_two_hundred_edits_end_with_the_last_of_every_field(page: Page, from_browser: Say) -> None:
    newest: dict[str, tuple[Any, int]] = {}
    for n in range(1, 201):
        newest["clip_range" if n % 2 else "kl_coef"] = (round(n / 400, 4), n)
        from_browser(page.controls, edits=edits(**newest))
    assert (page.config.clip_range, page.config.kl_coef) == (199 / 400, 0.5)
    assert page.errors == []


def test_neither_a_judge_nor_a_recipe_is_listed_as_a_difference_from_ppo(page: Page) -> None:
    page.controls.show(CONFIG, PRESETS["hack_the_reward"])
    assert [name for name, _, _ in page.controls.deltas] == ["kl_coef", "learning_rate"]
    page.controls.show(CONFIG, PRESETS["length_exploit"])
    listed = {name for name, _, _ in page.controls.deltas}
    assert listed == {"kl_coef", "learning_rate", "stop_sentences", "weight_sentiment", "weight_words"}
