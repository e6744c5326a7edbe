"""The list of breaks follows the code; the breaks themselves are run by ``make mutants``."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, ROOT, Mutant, fits


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_break_fits_the_code(mutant: Mutant) -> None:
    assert fits(ROOT, mutant)
    assert mutant.text != mutant.instead


def test_there_are_enough_of_them() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
