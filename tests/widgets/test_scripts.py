"""The browser's side: scripts that parse, words that exist, text that is only text, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest

import explorer.widgets
from explorer.config import CHOICES, SAPO_TEMPERATURES, Config
from explorer.session.parts import State
from explorer.session.progress import BEFORE_EPOCHS
from explorer.text import LANGUAGES, labels
from explorer.views.quantities import ON_DEMAND, QUANTITIES
from explorer.widgets.board import Board
from explorer.widgets.controls import groups
from explorer.widgets.scripts import BESIDE, SHARED, script, style
from tests.node import node

FOLDER = Path(explorer.widgets.__file__).parent
SOURCES = {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.js"))}
VIEWS = (
    *("tokens", "objective", "advantages", "ledger", "ladder", "inspector", "curves", "kl", "time", "samples", "toy"),
    *("reward", "annotate"),
    *("runs", "controls", "player"),
)
EVERYTHING = "\n".join(SOURCES.values())


def words_at(language: str, path: str) -> Any:
    """The words at a path such as ``ui.train``, or None. Metric names hold a slash, never a dot."""
    node: Any = labels(language)
    for part in path.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def array_of(source: str, name: str) -> list[str]:
    """The strings in ``const NAME = [...]`` of a script."""
    found = re.search(rf"const {name} = \[(.*?)\];", source, re.DOTALL)
    assert found, name
    return re.findall(r'"([^"]+)"', found[1])


def test_every_view_has_its_script_behind_the_shared_ones() -> None:
    assert set(SOURCES) == {
        *SHARED,
        *(file for files in BESIDE.values() for file in files),
        *(f"{view}.js" for view in VIEWS),
    }
    for view in VIEWS:
        assert script(view) == "\n".join(SOURCES[file] for file in (*SHARED, *BESIDE.get(view, ()), f"{view}.js"))
        assert f'frame(context, "{view}"' in SOURCES[f"{view}.js"]  # so its root has the class explorer-VIEW


def test_scripts_are_modules_that_can_render(tmp_path: Path) -> None:
    modules = {view: script(view) for view in VIEWS} | {"board": str(Board._esm)}
    for name, source in modules.items():
        (tmp_path / f"{name}.mjs").write_text(source, encoding="utf-8")
    for name in modules:
        parsed = subprocess.run([node(), "--check", str(tmp_path / f"{name}.mjs")], capture_output=True, text=True)
        assert parsed.returncode == 0, f"{name}: {parsed.stderr}"
    names = json.dumps(list(modules))
    program = f"for (const n of {names}) console.log(n, typeof (await import(`./${{n}}.mjs`)).default.render)"
    (tmp_path / "all.mjs").write_text(program, encoding="utf-8")
    done = subprocess.run([node(), "all.mjs"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} function" for name in modules]


@pytest.mark.parametrize("name", SOURCES)
def test_text_never_goes_in_as_markup(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|\beval\(|srcdoc"
    )
    assert re.findall(forbidden, SOURCES[name]) == []


@pytest.mark.parametrize("name", SOURCES)
def test_scripts_ask_nobody_for_anything(name: str) -> None:
    source = (
        SOURCES[name].replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1998/Math/MathML", "")
    )  # names
    source = source.replace("URL.createObjectURL(new Blob(", "").replace(
        "await import(url)", ""
    )  # what the kernel sent
    assert re.findall(r"https?:|fetch\(|XMLHttpRequest|WebSocket|import\(|^import |importScripts", source, re.M) == []


def test_the_style_sheet_asks_nobody_for_anything() -> None:
    assert re.findall(r"@import|https?:", style()) == []
    assert [url for url in re.findall(r"url\(([^)]*)\)", style()) if not url.strip("'\" ").startswith("data:")] == []


def test_the_style_sheet_is_whole() -> None:
    assert style().count("{") == style().count("}") > 50


# --- the objective, filled in ---


def test_the_formula_of_every_objective_comes_out_as_its_term(tmp_path: Path) -> None:
    import torch

    from explorer.ppo.objectives import OBJECTIVES

    cases = [(r, a) for r in (0.5, 0.9, 1.0, 1.25, 2.0, 5.0) for a in (1.5, -1.5, 0.0)]
    log_ratios, advantages = (torch.tensor(column, dtype=torch.float64)[:, None] for column in zip(*cases, strict=True))
    batches, expected, expected_sum, leaves = {}, {}, {}, {}
    for name, objective in OBJECTIVES.items():
        config = Config(objective=name, penalty_coef=0.7)
        leaves[name] = log_ratios.log().requires_grad_(True)
        terms = objective(leaves[name], advantages, config)
        expected[name], expected_sum[name] = terms[:, 0].tolist(), terms.sum()
        batches[name] = {
            "objective": name,
            "clip": list(config.clip_band),
            "pull_limit": {"dual_clip": config.dual_clip, "two_sided": config.delta}.get(name),
            "penalty_coef": config.penalty_coef,
            "temperatures": list(SAPO_TEMPERATURES),
            "response_ratios": [1.0] if name == "gspo" else None,
        }
    (tmp_path / "objective.mjs").write_text(script("objective") + "\nexport { filledIn };", encoding="utf-8")
    program = f"""
      import {{ filledIn }} from "./objective.mjs";
      const found = {{}};
      for (const [name, batch] of Object.entries({json.dumps(batches)}))
        found[name] = {json.dumps(cases)}.map(([ratio, advantage]) => {{
          const {{ parts, term, flat = false }} = filledIn(batch, ratio, advantage);
          const wins = parts.filter((piece) => piece.name && piece.wins);
          const written = parts.map((p) => p.name ?? p).join("");
          return {{ term, flat, won: wins.map((piece) => piece.value), written }};
        }});
      console.log(JSON.stringify(found));
    """
    (tmp_path / "all.mjs").write_text(program, encoding="utf-8")
    done = subprocess.run([node(), "all.mjs"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, results in json.loads(done.stdout).items():
        steep = torch.autograd.grad(expected_sum[name], leaves[name])[0][:, 0].tolist()
        for (_, advantage), one, slope in zip(cases, results, steep, strict=True):
            assert advantage == 0 or one["flat"] is (slope == 0), (name, one)
        assert [one["term"] for one in results] == pytest.approx(expected[name]), name
        for one in results:  # where branches compete exactly one wins, and its value is the term
            assert one["won"] in ([], [pytest.approx(one["term"])]), name
            assert bool(one["won"]) is (name not in ("policy_gradient", "kl_penalty", "cispo", "sapo"))
            assert ("s" in one["written"]) is (name == "gspo")


def test_every_objectives_picture_has_a_place_for_its_curve() -> None:
    source = SOURCES["plane.js"]
    planes, beside = (
        re.search(rf"const {n} = \{{(.*?)\n\}};", source, re.DOTALL)[1]  # type: ignore[index]
        for n in ("PLANES", "BESIDE")
    )
    for table in (planes, beside):
        named = set(re.findall(r"^  (\w+):", table, re.M))
        assert "clip" in named
        assert named <= set(CHOICES["objective"])


# --- words ---

#: Tables that a script names by their path, at the root of the labels or under ``ui``.
ROOTS = set(labels("en"))
UNDER_UI = {name for name, node in labels("en")["ui"].items() if isinstance(node, dict)}


def literal_keys(source: str) -> set[str]:
    """Every string in a script that names words: ``"ui.train"``, ``"clip.positive.long"``, ``"rows.reward"``."""
    found = re.findall(r'"([a-z_]+(?:\.[a-zA-Z_/]+)+)"', source)
    keys = {key for key in found if key.split(".")[0] in ROOTS}
    return keys | {f"ui.{key}" for key in found if key.split(".")[0] in UNDER_UI and key not in keys}


def spoken_keys(source: str) -> set[str]:
    """The first string of every ``say(board, "...")``."""
    return set(re.findall(r'say\(\s*board,\s*"([^"]+)"', source))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SOURCES)
def test_every_key_that_a_script_uses_has_words(name: str, language: str) -> None:
    keys = literal_keys(SOURCES[name]) | spoken_keys(SOURCES[name])
    missing = {key for key in keys if not isinstance(words_at(language, key), str)}
    assert missing == set()


def test_the_search_for_keys_finds_them() -> None:
    assert len(spoken_keys(EVERYTHING)) > 40
    assert {"ui.rows.reward", "ui.kl.reference", "clip.positive.long"} <= literal_keys(EVERYTHING)


def test_every_table_that_a_script_looks_into_is_there() -> None:
    prefixes = set(re.findall(r"`((?:[a-z_]+\.)+)\$\{", EVERYTHING))
    assert {"ui.", "quantities.", "stages.", "clip.", "metrics.", "fields.", "components.", "ui.panels."} <= prefixes
    for prefix in prefixes:
        assert isinstance(words_at("en", prefix.rstrip(".")), dict), prefix


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_panel_and_button_has_its_words(language: str) -> None:
    ui = labels(language)["ui"]
    for name, source in SOURCES.items():
        for panel in re.findall(r'heading\(board, "(\w+)"', source):
            assert set(ui["panels"][panel]) >= {"title", "look_for"}, name
    buttons = re.findall(r'\[\w+, "(\w+)"\]', SOURCES["player.js"])
    assert {"step", "stage", "slow", "reset"} <= set(buttons)
    for key in ("train", "pause", *buttons):
        assert isinstance(ui[key], str) and isinstance(ui["tips"][key], str)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_stage_that_can_run_is_lit_and_has_words(language: str) -> None:
    source = SOURCES["player.js"]
    loop = array_of(source, "LOOP")
    lit = dict(re.findall(r'(\w+): "(\w+)"', re.search(r"const LIT = \{(.*?)\}", source, re.DOTALL)[1]))  # type: ignore[index]
    running = {*BEFORE_EPOCHS, "epoch", "done", "repeat"}  # what Progress.running can say
    assert set(lit) == running
    assert set(lit.values()) <= set(loop)
    stages = labels(language)["stages"]
    for stage in running | set(loop) | {"optimise"}:
        assert set(stages[stage]) >= {"label", "now"}


def test_every_quantity_is_told_of_a_token() -> None:
    assert set(array_of(SOURCES["selection.js"], "DETAILS")) == {*QUANTITIES, *ON_DEMAND}


def test_every_quantity_that_a_script_reads_is_there() -> None:
    read = set(re.findall(r'quantityOf\(batch, "(\w+)"\)|read\("(\w+)"\)', EVERYTHING))
    names = {name for pair in read for name in pair if name}
    assert {"ratio", "advantage", "log_ratio"} <= names <= set(QUANTITIES)
    assert set(array_of(SOURCES["estimates.js"], "ESTIMATES")) == {"exact_kl", "k1", "k2", "k3"} <= set(QUANTITIES)
    spec = re.search(r"const ROWS = \[(.*?)\n\];", SOURCES["advantages.js"], re.DOTALL)
    assert spec
    drawn = set(re.findall(r'(?:scale|bars|line|dashed): "(\w+)"', spec[1]))
    assert {"reward", "value", "return", "advantage", "ratio"} <= drawn <= set(QUANTITIES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_of_the_parts_has_words(language: str) -> None:
    assert set(labels(language)["ui"]["parts"]) == set(get_args(State)) - {""}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_clip_states_have_words(language: str) -> None:
    states = re.search(r"const CLIP_WORDS = \{(.*?)\}", SOURCES["selection.js"])
    assert states
    words = re.findall(r'"(\w+)"', states[1])
    assert len({labels(language)["clip"][word]["long"] for word in words}) == 7  # six, and inside without an advantage
    for word in words:
        assert set(labels(language)["clip"][word]) >= {"long"}


def test_every_trait_of_the_board_that_a_script_uses_is_synced() -> None:
    used = set(re.findall(r'board\.[gs]et\("(\w+)"', EVERYTHING))
    listened = re.findall(r'frame\(context, "\w+", \[([^\]]*)\]', EVERYTHING)
    used |= {name for traits in listened for name in re.findall(r'"(\w+)"', traits)} - {
        "hovered",
        "settings",
    }  # the browser's own
    assert {"batch", "run", "words", "pinned"} <= used
    assert used <= set(Board().keys)


# --- classes that tests, tours and teachers rely on ---


def test_the_buttons_and_lines_have_their_classes() -> None:
    source = SOURCES["player.js"]
    assert "`ex-button explorer-${key}" in source
    assert {"train", "step", "stage", "slow", "reset"} <= set(re.findall(r'button\("(\w+)"', source))
    for name in ("status", "error", "confirm", "scrubber", "epoch", "follow", "preset", "train-for", "language"):
        assert re.search(rf"\bexplorer-{name}\b", source), name
    assert "explorer-${field.css}" in SOURCES["controls.js"]
    assert {"clip_range", "kl_coef", "weight-coherence"} <= {
        field["css"] for group in groups(Config()) for field in group["fields"]
    }


def test_the_edge_of_the_clip_region_can_be_read() -> None:
    for file in ("plane.js", "wedge.js"):
        assert "explorer-region" in SOURCES[file]
        assert '"data-low"' in SOURCES[file] and '"data-high"' in SOURCES[file]


def test_classes_in_the_style_sheet_are_used() -> None:
    styled = set(re.findall(r"\.(ex-[a-z-]*[a-z])\b", style()))
    built = re.findall(r"(ex-[a-z-]+-)\$\{", EVERYTHING)
    unused = {name for name in styled if name not in EVERYTHING and not name.startswith(tuple(built))}
    assert unused == set()
