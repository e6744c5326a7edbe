"""What the READMEs say can be done is done: the Python runs, every flag is there, the tables are the code's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from explorer.bundled import asset_path
from explorer.cli import app
from explorer.config import CHOICES, FIELDS, Config
from explorer.presets import PRESETS
from explorer.recording.storage import Recording
from explorer.text import labels

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
CORE, PREFERENCES = (
    (ROOT / "explorer" / path).read_text("utf-8") for path in ("ppo/README.md", "ppo/preferences/README.md")
)
SETTINGS = (ROOT / "explorer" / "README.md").read_text("utf-8")

#: An indented block, blank lines within it included.
BLOCKS = [
    block
    for text in (README, PREFERENCES, CORE)
    for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", text, re.MULTILINE)
]
LINES = [line[4:].rstrip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [shlex.split(line, comments=True) for line in LINES if line.startswith("ppo-explorer ")]
#: The Python among them: what is neither a shell's nor the tree of the files.
SHELL = re.compile(r"make |ppo-explorer |PIP_|py -m|\.venv")
PYTHON = [
    block
    for block in ("\n".join(line[4:] for line in b.splitlines() if not SHELL.match(line[4:])) for b in BLOCKS)
    if block.strip() and not block.startswith("explorer/")
]

EFFECTS = {"what_if": "at once", "next_update": "next update", "reset": "reset"}


def row(name: str, field: Any) -> str:
    """A row of the table of settings, from the field itself."""
    default, low, high = getattr(Config(), name), field.metadata.get("low"), field.metadata.get("high")
    values = ", ".join(f"`{choice}`" for choice in CHOICES.get(name, ()))
    values = values or ("on, off" if isinstance(default, bool) else f"{low:.10g} to {high:.10g}")
    shown = {"True": "on", "False": "off", "None": "none"}.get(str(default), default)
    label = labels("en")["fields"][name]["label"]
    return f"| `{name}` | {label} | {shown} | {values} | {EFFECTS[field.metadata['effect']]} |"


def test_the_table_of_settings_has_every_field_as_it_is() -> None:
    written = [line for line in SETTINGS.splitlines() if re.match(r"\| `\w+` \|", line)]
    fields = {
        name: field for name, field in FIELDS.items() if name not in ("weights", "components", "set_aside", "judge")
    }
    expected = [row(name, field) for name, field in fields.items()]
    assert [line for line in written if line.split("`")[1] in FIELDS] == expected, "\n".join(expected)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_flag_of_a_command_is_there(command: list[str]) -> None:
    """With one more that no command has: were another unknown too, that would be named before it."""
    done = CliRunner().invoke(app, [*command[1:], "--no-such-flag"])
    assert done.exit_code == 2 and "No such option: --no-such-flag" in done.output


def test_every_preset_is_named_as_the_command_takes_it() -> None:
    assert [name for name in PRESETS if f"`{name}`" not in README] == []


def test_what_an_update_weighs_on_disk_is_what_the_bundled_run_weighs() -> None:
    """It has the settings that the text names, and 21 updates whole; a row of metrics is lost in the rounding."""
    run = Recording.load(asset_path("recording"))
    rollout = run[-1].rollout
    assert (*rollout.response_mask.shape, run.config_at(1).epochs) == (32, 24, 4)
    kept = len(run.updates)
    sizes = {
        folder: sum(file.stat().st_size for file in asset_path("recording").joinpath(folder).iterdir()) / kept
        for folder in ("tokens", "epochs", "responses", "updates")
    }
    whole, tokens, epochs = sum(sizes.values()), sizes["tokens"], sizes["epochs"]
    assert round(whole / 1e3) == round(tokens / 1e3) + round(epochs / 1e3) + round((whole - tokens - epochs) / 1e3)
    flat = " ".join(README.split())
    told = re.search(
        r"\(32 responses of 24 tokens, 4 epochs\) an update takes (\d+) kB on disk: "
        r"(\d+) for the tokens, (\d+) for what the epochs saw of them, (\d+) for the rest",
        flat,
    )
    assert told is not None
    assert [int(n) for n in told.groups()] == [round(n / 1e3) for n in (whole, tokens, epochs, whole - tokens - epochs)]
    assert f"4 epochs: {whole / 1e6:.2f} MB an update" in flat
    assert f"a run of 10,000 updates ({10_000 * whole / 1e9:.1f} GB)" in flat
    for name, updates, digits in (("bench_long_run", 10_000, 1), ("bench_scrub", 2_000, 2)):
        text = (ROOT / "tests" / "benchmarks" / f"{name}.py").read_text("utf-8")
        assert f"UPDATES = {updates:_}\n" in text
        assert f"of a run of so many updates: {updates * whole / 1e9:.{digits}f} GB," in text


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_python_runs_from_the_first_block_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PPO_EXPLORER_RUNS", str(tmp_path / "kept"))
    # What the block on resuming goes on with.
    done = CliRunner().invoke(app, ["train", "--updates", "20", "--out", "run/"])
    assert done.exit_code == 0, done.output
    names: dict[str, Any] = {}
    assert len(PYTHON) > 9
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    assert names["snapshot"].final.ratios.shape == (32, 24)
