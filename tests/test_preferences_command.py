"""The command ``ppo-explorer preferences``: what it prints, and how it fails."""

from __future__ import annotations

import json
import sys

import pytest

from explorer import cli
from explorer.ppo.preferences import learning_table


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ppo-explorer", "preferences", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.fixture(autouse=True)
def _little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_table, "BATCHES", 3)
    monkeypatch.setattr(learning_table, "FRESH", 20)


def test_it_prints_the_table(monkeypatch, capsys):
    assert run(monkeypatch, "--rules", "short_words, sentiment", "--pairs", "5,10", "--seeds", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| pairs | 5 | 10 |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| short words", "| sentiment"]


def test_json_has_a_line_a_model(monkeypatch, capsys):
    assert run(monkeypatch, "--rules", "sentiment", "--pairs", "5", "--seeds", "2", "--json") == 0
    cells = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(cell["rule"], cell["seed"], cell["pairs"]) for cell in cells] == [("sentiment", 0, 5), ("sentiment", 1, 5)]
    assert all(0 <= cell["accuracy"] <= 1 for cell in cells)


def test_the_table_is_written_as_the_page_shows_it(monkeypatch, capsys, tmp_path):
    path = tmp_path / "made" / "table.json"
    assert run(monkeypatch, "--rules", "short_words", "--pairs", "5,10", "--seeds", "2", "--table", str(path)) == 0
    written = json.loads(path.read_text())
    assert (written["seeds"], written["fresh"], written["noise"], written["way"]) == (2, 20, 0.0, "random")
    assert [row[:2] for row in written["rows"]] == [["short_words", 5], ["short_words", 10]]
    printed = capsys.readouterr().out.splitlines()[2]
    assert f"{written['rows'][0][2]:.2f} (" in printed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--pairs", "twenty"), "--pairs is 'twenty'"),
        (("--pairs", "0"), "at least one number of pairs, from 1"),
        (("--rules", "beauty"), "rule is 'beauty', but must be one of has_dialogue"),
        (("--noise", "2"), "noise is 2.0"),
        (("--choose", "best", "--rules", "sentiment"), "way is 'best'"),
    ],
)
def test_what_cannot_be_is_one_line(monkeypatch, capsys, arguments, reason):
    assert run(monkeypatch, *arguments) == 2
    message = capsys.readouterr().err
    assert reason in message and message.count("\n") == 1
