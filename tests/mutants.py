"""Break the core on purpose, one line at a time, and see whether the unchanged suite notices: ``make mutants``.

Each mutant patches one place of a copy of the source and runs the core's tests there. First, whole and unbroken, the
suite runs under coverage.py, which says which tests execute the line of each mutant: the quickest of these run first,
then the tests that mirror the file, and where none of them notices, the whole suite. A mutant that every test lets
through is listed as a survivor, and the exit code is then 1. A patch that fits no longer is an error: the list has to
follow the code. So is a suite that fails without any break, since then every mutant would seem to be caught, and a test
that has noticed a break and fails without it too, where it runs without the whole suite before it; only a test that
fails counts as noticing, not a suite that cannot run.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.util import cache_from_source
from pathlib import Path
from typing import NamedTuple

from tests.coverers import Coverers

ROOT = Path(__file__).parents[1]

#: What the suite is, from the mirror of a file outwards.
SUITE = ("tests/ppo", "tests/recording", "tests/test_config.py", "tests/test_headless.py")

#: Seconds after which a suite is taken to hang: it needs about five minutes, and more beside others.
PATIENCE = 1200

#: How many of the tests that execute a mutant's line are run first: about as long as pytest takes to start.
FIRST = 60

#: What a copy of the source does without.
LEFT_OUT = (".git", ".venv", ".venv-trl", "build", "__pycache__", ".*_cache", ".hypothesis")


class Mutant(NamedTuple):
    """One break: what it is, where, and the text that takes another's place (which is there exactly once).

    ``by`` may name a test to begin with, for a line that so many tests execute that the quickest do not tell.
    """

    name: str
    file: str
    text: str
    instead: str
    by: str = ""

    @property
    def path(self) -> str:
        """The file, from the root."""
        return os.path.normpath(f"explorer/ppo/{self.file}")

    @property
    def mirror(self) -> str:
        """The tests of the file, from the root; there may be none."""
        path = Path(self.path).relative_to("explorer")
        return f"tests/{path.with_name(f'test_{path.name}').as_posix()}"


class Found(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    test: str  # the one that failed; empty where none did
    whole: bool  # whether it took the whole suite
    seconds: float


MUTANTS = [Mutant(**entry) for entry in tomllib.loads((ROOT / "tests/mutants.toml").read_text("utf-8"))["mutant"]]


def fits(root: Path, mutant: Mutant) -> bool:
    """Whether the text is there exactly once."""
    return (root / mutant.path).read_text(encoding="utf-8").count(mutant.text) == 1


def quickest(tests: Iterable[str], seconds: dict[str, float], mirror: str) -> list[str]:
    """The tests to run first, at most ``FIRST``: half of them from the mirror of the file where it has so many.

    Of each test function its quickest case comes before the second of any other: cases of one function see alike.
    """
    nth: Counter[str] = Counter()
    ranked = []
    for test in sorted(tests, key=lambda test: (seconds[test], test)):
        function = test.partition("[")[0]
        ranked.append((nth[function], seconds[test], test))
        nth[function] += 1
    order = [test for *_, test in sorted(ranked)]
    near = [test for test in order if test.startswith(f"{mirror}::")][: FIRST // 2]
    return sorted([*near, *(test for test in order if test not in near)][:FIRST], key=seconds.__getitem__)


def pytest_in(root: Path, program: Sequence[str], tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy at ``root`` up to the first that fails. Raises RuntimeError after ``PATIENCE`` seconds."""
    command = [sys.executable, *program, "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one_thread, "PYTHONPATH": str(root)}  # a test's own processes see the copy too
    try:
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"the suite was not over after {PATIENCE} s") from None


def first_failed(done: subprocess.CompletedProcess[str], known: Iterable[str] = ()) -> str:
    """The test that failed, empty where all passed. Raises RuntimeError where they did not run to an end.

    Args:
        done: pytest's run.
        known: tests' ids, which may have spaces and dashes in them.
    """
    if done.returncode == 0:
        return ""
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode != 1 or not failed:
        raise RuntimeError(f"the suite did not run (exit code {done.returncode}):\n{done.stdout[-2000:]}")
    said = failed[0].removeprefix("FAILED ")
    return max((test for test in known if said.startswith(test)), key=len, default=said.split(" - ")[0])


def unbroken(root: Path, files: Sequence[str], suite: Sequence[str]) -> tuple[str, Coverers]:
    """The test of the whole suite that fails without a break, empty where all pass; and which tests execute what."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "coverers.json"
        program = [str(ROOT / "tests" / "coverers.py"), str(where), *files, "--"]
        red = first_failed(pytest_in(root, program, suite))
        return red, Coverers.read(where)


def notices(root: Path, mutant: Mutant, coverers: Coverers, suite: Sequence[str]) -> Found:
    """The first test that fails with this break in the copy: among those that execute its line, in its mirror, in all.

    Raises:
        RuntimeError: the whole suite did not run to an end of its own, or not within ``PATIENCE`` seconds.
    """
    began, path = time.monotonic(), root / mutant.path
    source = path.read_text(encoding="utf-8")
    likely = quickest(coverers.of(mutant.path, source, mutant.text), coverers.seconds, mutant.mirror)
    first = [*filter(None, [mutant.by]), *(test for test in likely if test != mutant.by)]
    write(path, source.replace(mutant.text, mutant.instead))
    try:
        test = ""
        for tests in filter(None, (first, [mutant.mirror] if (root / mutant.mirror).exists() else [])):
            done = pytest_in(root, ["-m", "pytest"], tests)
            # Where they cannot be run, the whole suite will say why.
            if done.returncode == 1 and "\nFAILED" in done.stdout:
                test = first_failed(done, coverers.seconds)
                break
        if whole := not test:
            test = first_failed(pytest_in(root, ["-m", "pytest"], suite), coverers.seconds)
    finally:
        write(path, source)
    return Found(mutant, test, whole, time.monotonic() - began)


def write(path: Path, source: str) -> None:
    """Put a source there, without what Python has compiled of another: it tells them apart by the second only."""
    path.write_text(source, encoding="utf-8")
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def broken(
    root: Path, mutants: Sequence[Mutant], coverers: Coverers, suite: Sequence[str], jobs: int
) -> Iterator[Found | RuntimeError]:
    """Break a copy for each mutant, ``jobs`` at a time; gives what was found as it is found.

    A suite that could not run is given as the error that says so.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for n in range(jobs):
            copies.put(shutil.copytree(root, Path(folder) / f"copy-{n}"))

        def one(mutant: Mutant) -> Found | RuntimeError:
            copy = copies.get()
            try:
                return notices(copy, mutant, coverers, suite)
            except RuntimeError as error:
                return RuntimeError(f"{mutant.name}: {error}")
            finally:
                copies.put(copy)

        for future in as_completed([pool.submit(one, mutant) for mutant in mutants]):
            yield future.result()


def examine(root: Path, mutants: Sequence[Mutant], suite: Sequence[str] = SUITE, jobs: int = 2) -> int:
    """Run the mutants; print a line each, the count and the time.

    Returns:
        0 where all are caught, 1 where one survives, 2 where it cannot be said: a patch that no longer fits, an
        unbroken suite that fails, or a suite that did not run.
    """
    began = time.monotonic()
    unfit = [m.name for m in mutants if not fits(root, m)]
    if unfit:
        print(f"These no longer fit the code, which has changed: {', '.join(unfit)}.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(root, Path(folder) / "copy", ignore=shutil.ignore_patterns(*LEFT_OUT))
        red, coverers = unbroken(copy, sorted({m.path for m in mutants}), suite)
        if red:
            print(f"Without any break the suite fails at {red}: mend that first.")
            return 2
        print(f"The unbroken suite: {len(coverers.seconds)} tests pass ({time.monotonic() - began:.0f} s)", flush=True)
        noticed, survivors, errors = [], [], 0
        for found in broken(copy, mutants, coverers, suite, jobs):
            print(line(found), flush=True)
            if isinstance(found, RuntimeError):
                errors += 1
            elif found.test:
                noticed.append(found.test)
            else:
                survivors.append(found.mutant.name)
        if noticed and (red := first_failed(pytest_in(copy, ["-m", "pytest"], sorted(set(noticed))))):
            print(f"ERROR    {red} has noticed a break, but fails without it too, on its own")
            errors += 1
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(
        f"{len(noticed)} of {len(mutants)} caught in {minutes} min {seconds} s"
        + (f"; survivors: {', '.join(survivors)}" if survivors else "")
        + (f"; {errors} not run or not to be believed, see above" if errors else "")
    )
    return 2 if errors else int(bool(survivors))


def line(found: Found | RuntimeError) -> str:
    """What became of a mutant, in one line."""
    if isinstance(found, RuntimeError):
        return f"ERROR    {found}"
    word = "caught" if found.test else "SURVIVED"
    how = f"{found.seconds:.0f} s{', the whole suite' if found.whole else ''}"
    return f"{word:8} {found.mutant.name:48} {found.test} ({how})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants whose name holds one of the names given, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of mutants' names; all without")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="how many at a time; one core each (default 2)")
    asked = parser.parse_args(arguments)
    chosen = [m for m in MUTANTS if not asked.names or any(name in m.name for name in asked.names)]
    try:
        return examine(ROOT, chosen, jobs=max(1, asked.jobs))
    except RuntimeError as error:
        print(f"ERROR    without any break {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
