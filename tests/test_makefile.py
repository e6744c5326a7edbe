"""``make setup`` on a machine of the test's own making: what it installs, when again, and what it says where it cannot.

``python3`` is a script that notes how it was called; it makes a virtual environment whose python notes its calls too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Answers the questions that the Makefile asks of an interpreter; ``-m venv`` copies itself to where it is asked to.
PYTHON = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
  --version) echo "Python {version}" ;;
  *"sys.exit(sys.version_info < (3, 11))"*) exit {old} ;;
  "-c import ensurepip, venv") exit {bare} ;;
  "-m pip --version") test -e "$(dirname "$0")/../made" ;;
  "-m venv --clear .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && touch .venv/made ;;
esac
"""


class Checkout:
    """A copy of the Makefile in a folder whose name has a space, and an interpreter that notes its calls."""

    def __init__(self, folder: Path, *, version: str = "3.12.1", old: bool = False, bare: bool = False) -> None:
        self.folder, self.log = folder / "my work" / "ppo", folder / "calls"
        self.folder.mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder)
        self.bin = folder / "bin"
        self.bin.mkdir()
        python = self.bin / "python3"
        python.write_text(PYTHON.format(log=self.log, version=version, old=int(old), bare=int(bare)))
        python.chmod(0o755)

    def make(
        self, *arguments: str, folder: Path | None = None, target: str = "setup"
    ) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        environment.pop("MAKEFLAGS", None)
        command = ["make", target, *arguments]
        return subprocess.run(
            command, cwd=folder or self.folder, env=environment, capture_output=True, text=True, timeout=60
        )

    @property
    def installed(self) -> list[str]:
        """What pip was asked to install."""
        lines = self.log.read_text().splitlines()
        return [line.split(" install ")[1] for line in lines if " install " in line]


def test_it_installs_once_in_a_path_with_a_space_and_says_what_it_does(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    first = checkout.make()
    assert first.returncode == 0, first.stderr
    said = [line for line in first.stdout.splitlines() if line.startswith("==>")]
    assert said[0] == "==> Making .venv with Python 3.12.1"
    assert said[1].startswith("==> Installing") and said[-1].startswith("==> Ready: make explore")
    assert checkout.installed == ["--quiet -c constraints.txt -e ."]
    again = checkout.make()
    assert again.returncode == 0 and checkout.installed == []
    assert "Installing" not in again.stdout and "==> Ready" in again.stdout


@pytest.mark.parametrize(("port", "named"), [((), "8866"), (("PORT=9000",), "9000")])
def test_explore_sets_itself_up_and_serves_on_the_port_that_is_named(
    port: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    checkout = Checkout(tmp_path)
    done = checkout.make(*port, target="explore")
    assert done.returncode == 0, done.stderr
    assert checkout.installed == ["--quiet -c constraints.txt -e ."]
    assert checkout.log.read_text().splitlines()[-1].endswith(f"-m explorer serve --port {named}")


def test_changed_pins_and_a_moved_folder_install_anew(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.make()
    later = (checkout.folder / ".venv" / "installed").stat().st_mtime + 5
    os.utime(checkout.folder / "constraints.txt", (later, later))
    checkout.make()
    assert len(checkout.installed) == 1
    moved = checkout.folder.rename(tmp_path / "elsewhere")
    os.utime(moved / "constraints.txt", (0, 0))
    assert checkout.make(folder=moved).returncode == 0
    assert len(checkout.installed) == 1
    checkout.make(folder=moved)
    assert checkout.installed == []


@pytest.mark.parametrize(
    ("machine", "arguments", "said"),
    [
        (
            {"version": "3.10.2", "old": True},
            [],
            "error: python3 is Python 3.10.2, and the explorer needs 3.11 or newer",
        ),
        (
            {},
            ["PYTHON=python9"],
            "error: there is no 'python9': install Python 3.11 or newer, or name one with PYTHON=",
        ),
        ({"bare": True}, [], "error: python3 cannot make virtual environments: install its venv package"),
    ],
)
def test_what_it_cannot_work_with_is_said_and_nothing_is_made(
    tmp_path: Path, machine: dict[str, object], arguments: list[str], said: str
) -> None:
    checkout = Checkout(tmp_path, **machine)  # type: ignore[arg-type]
    done = checkout.make(*arguments)
    assert done.returncode != 0 and done.stderr.startswith(said)
    assert not (checkout.folder / ".venv" / "installed").exists() and checkout.installed == []
