"""The list of breaks follows the code, and the program that runs them can be believed: ``make mutants`` runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.coverers import Coverers
from tests.mutants import FIRST, MUTANTS, ROOT, Mutant, examine, fits, quickest


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_break_fits_the_code(mutant: Mutant) -> None:
    assert fits(ROOT, mutant)
    assert mutant.text != mutant.instead


def test_a_test_to_begin_with_is_there() -> None:
    for file, _, function in (mutant.by.partition("::") for mutant in MUTANTS if mutant.by):
        assert f"def {function.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


def test_there_are_enough_of_them() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_the_mirror_of_a_file_is_named_as_it_is() -> None:
    mirrors = {mutant.file: mutant.mirror for mutant in MUTANTS}
    assert mirrors["rewards/score.py"] == "tests/ppo/rewards/test_score.py"
    assert mirrors["../config.py"] == "tests/test_config.py"
    assert sum((ROOT / mirror).exists() for mirror in mirrors.values()) > len(mirrors) / 2


# --- which tests come first ---


def test_the_quickest_case_of_each_function_comes_first_and_the_mirror_has_half() -> None:
    near = {f"tests/ppo/test_sums.py::test_{n}": 2.0 + n for n in range(FIRST)}
    cases = {f"tests/test_far.py::test_cases[{n}]": 0.1 + n / 1000 for n in range(FIRST)}
    other = {"tests/test_far.py::test_other": 1.0}
    seconds = near | cases | other
    chosen = quickest(seconds, seconds, "tests/ppo/test_sums.py")
    assert len(chosen) == FIRST and chosen == sorted(chosen, key=seconds.__getitem__)
    assert {f"tests/ppo/test_sums.py::test_{n}" for n in range(FIRST // 2)} < set(chosen)
    assert {"tests/test_far.py::test_cases[0]", "tests/test_far.py::test_other"} < set(chosen)
    assert "tests/test_far.py::test_cases[1]" not in chosen  # another test's first case comes before it
    assert quickest(["b", "a"], {"a": 2.0, "b": 1.0, "c": 0.0}, "none.py") == ["b", "a"]


def test_a_text_is_covered_by_the_tests_of_its_lines_and_else_of_its_statement() -> None:
    source = "first = 1\nlong = (\n    2 +\n    3\n)\n"
    seen = Coverers({}, {"a.py": {1: ["one"], 2: ["two"], 4: ["four"]}})
    assert seen.of("a.py", source, "first") == {"one"}
    assert seen.of("a.py", source, "\n    3\n") == {"four"}
    assert seen.of("a.py", source, "    2 +\n    3") == {"four"}
    assert seen.of("a.py", source, "2 +") == {"two", "four"}  # its own line was not seen
    assert seen.of("b.py", source, "first") == set()


# --- the program, on a project of three functions ---

SUMS = """\
def double(x):
    return 2 * x


def half(x):
    return x / 2


def unused(x):
    return x + 1
"""

TESTS = """\
import pytest

from explorer.ppo import sums


@pytest.mark.parametrize("x", [0, 3], ids=["none - at all", "three - or so"])
def test_double(x):
    assert sums.double(x) == x + x


def test_half():
    assert sums.half(4) == 2
"""

#: Executes none of it, and is no mirror.
READS = """\
from explorer.ppo import sums


def test_the_file():
    assert "x + 1" in open(sums.__file__).read()
"""

#: Whoever runs the second alone finds it red, whatever the code is.
IN_ORDER = """\
from explorer.ppo import sums

seen = []


def test_one():
    seen.append(1)


def test_two():
    assert sums.double(1) == 2 and seen
"""

TRIPLED = Mutant("tripled", "sums.py", "2 * x", "3 * x")
AS_GOOD = Mutant("as good", "sums.py", "2 * x", "x * 2")
THIRDS = Mutant("thirds", "sums.py", "x / 2", "x / 3")
UNUSED = Mutant("unused", "sums.py", "x + 1", "x + 2")
NO_PYTHON = Mutant("no Python", "sums.py", "def half(x):", "def half(x:")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three functions and their tests, of which one is executed by none."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take longer to load than these tests to run
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    ini = "[pytest]\naddopts = -rfE\nmarkers =\n  slow: there is none\n"
    files = {"explorer/ppo/sums.py": SUMS, "tests/ppo/test_sums.py": TESTS, "tests/test_all.py": READS}
    files |= {"explorer/__init__.py": "", "explorer/ppo/__init__.py": "", "pytest.ini": ini}  # before an installed one
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_caught_are_told_from_the_survivors(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(project, [TRIPLED, AS_GOOD, THIRDS, UNUSED], ["tests"]) == 1
    suite, *lines, count = capsys.readouterr().out.splitlines()
    assert suite.startswith("The unbroken suite: 4 tests pass (")
    said = {line[9:40].strip(): line for line in lines}
    assert len(said) == len(lines) == 4
    for name, test in {
        "tripled": "ppo/test_sums.py::test_double[three - or so]",
        "thirds": "ppo/test_sums.py::test_half",
        "unused": "test_all.py::test_the_file",
    }.items():
        assert said[name].startswith("caught ") and f" tests/{test} (" in said[name]
    assert said["as good"].startswith("SURVIVED ")
    # The whole suite is asked only where no test that executes the line has noticed.
    assert {name for name, line in said.items() if "the whole suite" in line} == {"as good", "unused"}
    assert count.startswith("3 of 4 caught in 0 min ") and count.endswith("; survivors: as good")
    assert (project / "explorer/ppo/sums.py").read_text(encoding="utf-8") == SUMS


def test_all_caught_is_a_success(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = UNUSED._replace(by="tests/test_all.py::test_the_file")
    assert examine(project, [TRIPLED, named], ["tests"]) == 0
    *_, first, second, count = capsys.readouterr().out.splitlines()
    assert "whole suite" not in first + second
    assert re.fullmatch(r"2 of 2 caught in 0 min \d+ s", count)


def test_a_break_that_fits_no_longer_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = Mutant("twice there", "sums.py", "return", "yield")
    assert examine(project, [TRIPLED, twice, TRIPLED._replace(name="gone", text="7 * x")], ["tests"]) == 2
    assert capsys.readouterr().out == "These no longer fit the code, which has changed: twice there, gone.\n"


def test_a_suite_that_is_red_without_a_break_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "explorer/ppo/sums.py").write_text(SUMS.replace("x / 2", "x / 4"), encoding="utf-8")
    assert examine(project, [TRIPLED], ["tests"]) == 2
    assert capsys.readouterr().out == (
        "Without any break the suite fails at tests/ppo/test_sums.py::test_half: mend that first.\n"
    )


def test_a_suite_that_cannot_run_has_noticed_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(project, [NO_PYTHON], ["tests"], jobs=1) == 2
    said = capsys.readouterr().out
    assert "\nERROR    no Python: the suite did not run (exit code " in said
    assert said.splitlines()[-1].startswith("0 of 1 caught in ") and said.endswith(
        "; 1 not run or not to be believed, see above\n"
    )


def test_a_test_that_fails_alone_without_a_break_has_noticed_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "tests/ppo/test_sums.py").write_text(IN_ORDER, encoding="utf-8")
    assert examine(project, [AS_GOOD], ["tests"], jobs=1) == 2
    assert "\nERROR    tests/ppo/test_sums.py::test_two has noticed a break, but" in capsys.readouterr().out
