"""Break the core on purpose, one line at a time, and see whether the unchanged suite notices: ``make mutants``.

Each mutant patches one place of a copy of the source and runs the core's tests there, those that mirror the file
first. A mutant that every test lets through is listed as a survivor, and the exit code is then 1. A patch that fits
no longer is an error: the list has to follow the code. So is a suite that fails without any break, since then every
mutant would seem to be caught; only a test that fails counts as noticing, not a suite that cannot run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

#: What the suite is, from the mirror of a file outwards.
SUITE = ("tests/ppo", "tests/recording", "tests/test_config.py", "tests/test_headless.py")

#: Seconds after which a suite is taken to hang: it needs about two minutes.
PATIENCE = 1200


class Mutant(NamedTuple):
    """One break: what it is, where, and the text that takes another's place (which is there exactly once)."""

    name: str
    file: str
    text: str
    instead: str


MUTANTS = [Mutant(**entry) for entry in tomllib.loads((ROOT / "tests/mutants.toml").read_text("utf-8"))["mutant"]]


def fits(root: Path, mutant: Mutant) -> bool:
    """Whether the text is there exactly once."""
    return (root / "explorer" / "ppo" / mutant.file).read_text(encoding="utf-8").count(mutant.text) == 1


def failure(root: Path, first: str = "") -> str:
    """The first test of the suite that fails in the copy at ``root``, empty where all pass; ``first`` is run before.

    Raises:
        RuntimeError: the suite did not run to an end of its own, or not within ``PATIENCE`` seconds.
    """
    order = [*([first] if first and (root / first).exists() else []), *SUITE]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *order]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the suite was not over after {PATIENCE} s") from None
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 1 or not failed:
        raise RuntimeError(f"the suite did not run (exit code {done.returncode}):\n{done.stdout[-2000:]}")
    return failed[0].split(" - ")[0].partition(" ")[2]


def notices(root: Path, mutant: Mutant) -> str:
    """The first test that fails with this break in the copy, empty where all pass. Raises as ``failure``."""
    path = root / "explorer" / "ppo" / mutant.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(mutant.text, mutant.instead), encoding="utf-8")
    try:
        return failure(root, f"tests/ppo/{Path(mutant.file).parent}/test_{Path(mutant.file).stem}.py")
    finally:
        path.write_text(source, encoding="utf-8")


def main(names: list[str]) -> int:
    """Run the mutants whose name holds one of ``names``, or all; print a line each and the count."""
    chosen = [m for m in MUTANTS if not names or any(name in m.name for name in names)]
    unfit = [m.name for m in chosen if not fits(ROOT, m)]
    if unfit:
        print(f"These no longer fit the code, which has changed: {', '.join(unfit)}.")
        return 2
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".venv-trl", "build", "__pycache__", ".*_cache")
        )
        if red := failure(copy):
            print(f"Without any break the suite fails at {red}: mend that first.")
            return 2
        for mutant in chosen:
            began = time.monotonic()
            found = notices(copy, mutant)
            print(
                f"{'caught' if found else 'SURVIVED':8} {mutant.name:38} {found} ({time.monotonic() - began:.0f} s)",
                flush=True,
            )
            if not found:
                survivors.append(mutant.name)
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} caught"
        + (f"; survivors: {', '.join(survivors)}" if survivors else "")
    )
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
