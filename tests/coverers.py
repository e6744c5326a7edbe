"""Which tests execute which lines of some files, and how long each takes: one run of pytest under coverage.py.

As a program, ``python tests/coverers.py WHERE FILES... -- ARGUMENTS...``, it runs pytest in the folder it is started in
with these arguments and writes to ``WHERE`` what ``Coverers.read`` reads. Its exit code and its output are pytest's.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import coverage
import pytest


class Coverers(NamedTuple):
    """What a run has seen: tests by their id, files as they were named."""

    seconds: dict[str, float]  # with set-up and tear-down
    lines: dict[str, dict[int, list[str]]]  # of each file, the tests that executed each line

    @classmethod
    def read(cls, path: Path) -> Coverers:
        """What the program has written."""
        found = json.loads(path.read_text("utf-8"))
        tests = list(found["seconds"])
        lines = {
            file: {int(line): [tests[n] for n in numbers] for line, numbers in of.items()}
            for file, of in found["lines"].items()
        }
        return cls(found["seconds"], lines)

    def of(self, file: str, source: str, text: str) -> set[str]:
        """The tests that execute a text of a file; none of its lines seen, those of the statement around it."""
        first = source[: source.index(text) + len(text) - len(text.lstrip())].count("\n") + 1
        span = range(first, first + text.strip().count("\n") + 1)
        return self._at(file, span) or self._at(file, _statement(source, span))

    def _at(self, file: str, span: Iterable[int]) -> set[str]:
        lines = self.lines.get(file, {})
        return {test for line in span for test in lines.get(line, ())}


def _statement(source: str, span: range) -> range:
    """The lines of the smallest statement that holds these."""
    around = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and node.lineno <= span[0] and (node.end_lineno or node.lineno) >= span[-1]
    ]
    return min(around, key=len, default=span)


class _Watch:
    """The plugin: every test is a context of its own, from its set-up to its tear-down."""

    def __init__(self, watched: coverage.Coverage) -> None:
        self.watched = watched
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.watched.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.watched.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def _seen(watch: _Watch, files: Iterable[str]) -> dict[str, Any]:
    numbers = {test: n for n, test in enumerate(watch.seconds)}
    data = watch.watched.get_data()
    lines = {
        file: {
            line: sorted(numbers[test] for test in tests if test in numbers)
            for line, tests in data.contexts_by_lineno(os.path.realpath(file)).items()
        }
        for file in files
    }
    return {"seconds": watch.seconds, "lines": lines}


def main(where: str, files: list[str], arguments: list[str]) -> int:
    """Run pytest in this folder and write down what it executed of the files, which are named from here."""
    os.environ["COVERAGE_CORE"] = "ctrace"  # sys.monitoring reports a line once, and not once a test
    watched = coverage.Coverage(data_file=None, config_file=False, include=[os.path.realpath(file) for file in files])
    watch = _Watch(watched)
    watched.start()
    try:
        code = int(pytest.main(arguments, plugins=[watch]))
    finally:
        watched.stop()
    Path(where).write_text(json.dumps(_seen(watch, files)), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.path[0] = os.getcwd()  # as `python -m pytest` has it
    parted = sys.argv.index("--")
    sys.exit(main(sys.argv[1], sys.argv[2:parted], sys.argv[parted + 1 :]))
