"""Which Chromium the browser tests take, and what is tried where there is none: on programs that the tests make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.browser import chromium


def program(folder: Path, name: str, *, starts: bool = True) -> str:
    """An executable that answers ``--version``, or fails."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {0 if starts else 1}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a Chromium: an empty folder is its whole PATH."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(chromium, "playwrights_own", lambda: None)
    return folder


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have installed something; none of them runs."""
    tried: list[list[str]] = []
    starts = chromium.runs

    def runs(command: list[str], *, seconds: float, extra: dict[str, str] | None = None) -> bool:
        if command[-1] == "--version":
            return starts(command, seconds=seconds, extra=extra)
        tried.append([Path(command[0]).name, *command[1:]])
        return True

    monkeypatch.setattr(chromium, "runs", runs)
    return tried


def test_the_one_that_is_named_goes_before_all_others(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare, "chromium")
    mine = program(bare.parent / "mine", "my-chromium")
    monkeypatch.setenv("CHROMIUM", mine)
    assert chromium.find_chromium() == mine


@pytest.mark.parametrize("there", [True, False])
def test_a_named_one_that_does_not_start_is_said_and_nothing_is_installed(
    bare: Path,
    installs: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    there: bool,
) -> None:
    program(bare, "chromium")
    broken = program(bare, "broken", starts=False) if there else str(bare / "nowhere")
    monkeypatch.setenv("CHROMIUM", broken)
    assert chromium.main() == 2
    told = capsys.readouterr()
    assert (
        told.out == "" and told.err == f"error: CHROMIUM is '{broken}', which does not start: name another, or none.\n"
    )
    assert installs == []


def test_one_on_the_path_goes_before_playwrights(
    bare: Path, installs: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    playwrights = program(bare.parent / "playwright", "chrome")
    monkeypatch.setattr(chromium, "playwrights_own", lambda: playwrights)
    assert chromium.get_chromium() == playwrights
    program(bare, "chromium-browser", starts=False)  # Ubuntu's hint to install a snap
    assert chromium.get_chromium() == playwrights
    googles = program(bare, "google-chrome")
    assert chromium.main() == 0
    assert capsys.readouterr().out == f"{googles}\n"
    assert installs == []


def test_playwrights_is_downloaded_before_the_systems_is_installed(
    bare: Path, installs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bare, "apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    downloaded = program(bare.parent / "playwright", "chrome")
    monkeypatch.setattr(chromium, "playwrights_own", lambda: downloaded if installs else None)
    assert chromium.get_chromium() == downloaded
    assert [command[-2:] for command in installs] == [["install", "chromium"]]


@pytest.mark.parametrize("root", [True, False])
def test_only_root_asks_apt_and_where_nothing_works_it_says_what_to_do(
    bare: Path,
    installs: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    root: bool,
) -> None:
    program(bare, "apt-get")
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    assert chromium.main() == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {chromium.ADVICE}"
    asked = [command[1] for command in installs if command[0] == "apt-get"]
    assert asked == (["update", "install"] if root else [])
    assert [command[1:] for command in installs if command[0] != "apt-get"] == [
        ["-m", "playwright", "install", "chromium"]
    ]
