"""Where a token's numbers come from: every step from its response's reward to its share of the gradient.

And beside that way every other number of it that the page shows.

Each line takes the recorded numbers that go into it, reckons in float64, and is held against the recorded number that
came out. A line that the update's settings do not use is not there, or says why.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from explorer.ppo.streams import Rows, minibatches
from explorer.recording.ledger_beside import beside_lines
from explorer.recording.ledger_credit import credit_lines
from explorer.recording.ledger_line import Line, Token
from explorer.recording.ledger_objective import objective_lines
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import with_coefficients


@dataclasses.dataclass(frozen=True)
class Ledger:
    """A token's lines: those on the way in the order in which its numbers were made, then those beside it."""

    token: Token
    lines: tuple[Line, ...]

    @property
    def checked(self) -> int:
        """How many recorded numbers were reckoned anew."""
        return len(self._verdicts)

    @property
    def wrong(self) -> int:
        """How many of them came out otherwise."""
        return self._verdicts.count(False)

    @property
    def _verdicts(self) -> list[bool]:
        of_terms = [holds for line in self.lines if line.terms is not None for holds in line.terms.holds]
        return [holds for holds in [*(line.holds for line in self.lines), *of_terms] if holds is not None]


def ledger(shown: Any, row: int, t: int, epoch: int = -1) -> Ledger:
    """The ledger of one token.

    Args:
        shown: a Snapshot, re-scored or not, or an unfinished update with as much as there is.
        row: its response.
        t: its place among the response's tokens, from 0.
        epoch: which of the update's epochs; -1 is the policy after the last step.

    Raises:
        ValueError: there is no such response, or the policy wrote no such token in it: padding has no numbers.
    """
    mask = shown.rollout.response_mask
    if not 0 <= row < len(mask):
        raise ValueError(f"there is no response {row + 1}: the batch has {len(mask)}, so choose one of those.")
    count = int(mask[row].sum())
    if not 0 <= t < count:
        raise ValueError(
            f"response {row + 1} has {count} tokens, and token {t + 1} is none of them: choose one of those."
        )
    whole, credit = isinstance(shown, Snapshot), shown.credit
    token = Token(
        config=with_coefficients(shown.config, shown) if whole else shown.config,
        update=shown.update,
        rollout=shown.rollout,
        credit=credit,
        epoch=shown.epochs[epoch] if shown.epochs else None,
        components=credit.reward_components if credit is not None else shown.components,
        scores=credit.scores if credit is not None else shown.scores,
        row=row,
        t=t,
        steps=_steps(shown, epoch, whole),
    )
    way = [*credit_lines(token), *(objective_lines(token) if credit is not None else [])]
    return Ledger(token, (*way, *beside_lines(token)))


def _steps(shown: Any, epoch: int, whole: bool) -> tuple[Rows, ...]:
    """The rows of each minibatch of an epoch; ``whole``: the last one is the policy after all steps."""
    if not shown.epochs:
        return ()
    rows, place = len(shown.epochs[epoch].ratios), epoch % len(shown.epochs) + 1
    if whole and place == len(shown.epochs):
        return (np.arange(rows),)
    return minibatches(shown.config.seed, shown.update, place, rows=rows, count=shown.config.minibatches)
