"""What a line of the ledger is, and the token whose ledger it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from explorer.config import Config
from explorer.ppo.records import Credit, Epoch, Rollout
from explorer.ppo.streams import Rows
from explorer.recording.formula import Formula

#: A recorded number is in single precision: a line matches it within so much times max(1, |x|).
TOLERANCE = 1e-5

Numbers = np.ndarray[Any, np.dtype[np.float64]]

#: A sentence: its key under ``ui.ledger.notes`` in the labels, and what is filled in.
Note = tuple[str, Mapping[str, Any]]


def agrees(value: float, stored: float) -> bool:
    """Whether a number is what was recorded; never where one of them is no number."""
    return math.isfinite(value) and abs(value - stored) <= TOLERANCE * max(1.0, abs(stored))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms of a long sum, one a row; all lists are as long as ``places``.

    Attributes:
        places: ``(response, token)`` that the row is about.
        columns: ``{name: values}``; the names are keys of ``ui.ledger.columns``.
        holds: whether the row's own recorded number is met; None where none is recorded.
    """

    places: list[tuple[int, int]]
    columns: dict[str, list[float]]
    holds: list[bool | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One step from what was measured to what the gradient gets.

    Attributes:
        key: its name, a key of ``ui.ledger.lines`` in the labels.
        symbol: what the line gives, as in a Formula: name and index.
        formula: how, with the numbers in it; None where the line says only why there is nothing to reckon.
        value: what it comes to, in float64.
        stored: what the update has recorded for it; None where it has no number of its own in the records, and is
            checked by the line that it goes into.
        holds: whether they agree; None where nothing is recorded, or only the outcome and not what it was made of.
        notes: sentences.
        terms: what a long sum is made of.
        wins: of the branches of a min or max, whether this is the one that counts; None for other lines.
        beside: whether nothing on the way from the reward to the gradient is made of it.
    """

    key: str
    symbol: tuple[str, str] = ("", "")
    formula: Formula | None = None
    value: float = math.nan
    stored: float | None = None
    holds: bool | None = None
    notes: tuple[Note, ...] = ()
    terms: Terms | None = None
    wins: bool | None = None
    beside: bool = False


def line(key: str, symbol: tuple[str, str], formula: Formula, stored: Any = None, **more: Any) -> Line:
    """A line whose value is its formula's, checked against what is stored where something is."""
    kept = None if stored is None else float(stored)
    found = {"holds": None if kept is None else agrees(formula.value, kept), **more}
    return Line(key=key, symbol=symbol, formula=formula, value=formula.value, stored=kept, **found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token:
    """One token that the policy wrote, with everything that its numbers are made of.

    Attributes:
        config: with the coefficients in force.
        update: which one has sampled it.
        rollout, credit, epoch: the records; ``credit`` and ``epoch`` are None where an update is not so far yet.
        components, scores: of the responses, also before there is credit.
        row, t: which token.
        steps: the rows of each minibatch of the epoch; all in one after the last step.
    """

    config: Config
    update: int
    rollout: Rollout
    credit: Credit | None
    epoch: Epoch | None
    components: Mapping[str, Any]
    scores: Any
    row: int
    t: int
    steps: tuple[Rows, ...] = ()

    @property
    def count(self) -> int:
        """Tokens in its response."""
        return int(self.rollout.response_mask[self.row].sum())

    @property
    def last(self) -> bool:
        """Whether it ends its response."""
        return self.t == self.count - 1

    def of(self, array: Any) -> float:
        """The token's own number in a ``[B, T]`` array."""
        return float(array[self.row, self.t])

    def response(self, array: Any) -> Numbers:
        """``[count]`` its response's numbers in a ``[B, T]`` array."""
        numbers: Numbers = np.asarray(array[self.row, : self.count], dtype=np.float64)
        return numbers
