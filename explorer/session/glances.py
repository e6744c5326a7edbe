"""Glances at other updates of the run on screen: a few numbers and the answers, read one by one while the page rests.

A snapshot that is recorded takes some 7 ms to read. So whoever drags the scrubber waits for none of this, and what was
read once is kept, in a bounded number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np

from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.session.loop import Loop

#: How many are kept. One of 32 responses of 24 tokens takes about 6 kB.
LIMIT = 128

#: Seconds for which the page must have rested before anything is read.
REST = 0.15


@dataclass(frozen=True, kw_only=True, eq=False)
class Glance:
    """What is kept of an update.

    Attributes:
        update: its number.
        answers: ``{prompt: ((score, text), …)}`` in the order in which they were sampled.
        kls: before the first step of each epoch, and after the last: how far the policy has moved from the one that
            sampled, in nats a token: ``mean (log pi_new - log pi_old)^2 / 2`` over the fresh responses.
        rows: ``{update: responses}``, in which updates the responses of its batch were sampled; newest first.
    """

    update: int
    answers: Mapping[str, tuple[tuple[float, str], ...]]
    kls: tuple[float, ...]
    rows: Mapping[int, int]


def glance(snapshot: Snapshot) -> Glance:
    """A glance at a whole update."""
    answers: dict[str, tuple[tuple[float, str], ...]] = {}
    tokens, scores = snapshot.tokens, snapshot.credit.scores.tolist()
    for prompt, response, score in zip(tokens.prompts, tokens.responses, scores, strict=True):
        answers[prompt] = (*answers.get(prompt, ()), (score, "".join(response)))
    mask, old = snapshot.rollout.response_mask, snapshot.rollout.old_logprobs.astype(float)
    moved = [(epoch.new_logprobs[: len(mask)] - old)[mask] for epoch in snapshot.epochs]
    return Glance(
        update=snapshot.update,
        answers=answers,
        kls=tuple(float(np.mean(each**2) / 2) for each in moved),
        rows=sampled_in(snapshot.update, snapshot.final.ages),
    )


def sampled_in(update: int, ages: Any) -> dict[int, int]:
    """``{update: responses}``, newest first: when the rows of an update's batch were sampled, by their ages."""
    found, counts = np.unique(ages, return_counts=True)
    return {update - int(age): int(count) for age, count in zip(found, counts, strict=True)}


class Glances:
    """Glances at the run on screen, made as they are asked for.

    Args:
        loop: where everything happens.
        on_more: called on the loop when there are more than before.
        on_error: called on the loop with what reading raises; that update counts as read.
    """

    def __init__(
        self, loop: Loop, on_more: Callable[[], None], on_error: Callable[[BaseException], None], rest: float = REST
    ) -> None:
        self._loop, self._on_more, self._on_error, self._rest = loop, on_more, on_error, rest
        self._found: dict[int, Glance | None] = {}
        self._of: Callable[[], History | None] = lambda: None
        self._last = 0
        self._turn = 0

    def of(self, history: History) -> Mapping[int, Glance | None]:
        """What is there of a run, by update; None where an update could not be read."""
        last = history.updates[-1] if len(history) else 0
        if self._of() is not history or last < self._last:
            self.forget()
        self._of, self._last = ref(history), last
        return self._found

    def forget(self) -> None:
        """Let go of all, and read no more of what was asked for."""
        self._found = {}
        self._turn += 1

    def take(self, snapshot: Snapshot) -> None:
        """A glance at an update that is at hand, after ``of``."""
        if snapshot.update not in self._found:
            self._keep(snapshot.update, glance(snapshot))

    def ask(self, wanted: Callable[[], int | None]) -> None:
        """Read what ``wanted`` names, one update after the other, until it names none or is asked for something else.

        Args:
            wanted: the kept update to read next, or None; asked anew after each.
        """
        self._turn += 1
        if wanted() is not None:
            self._loop.later(self._rest, self._read, self._turn, wanted, False)

    def _read(self, turn: int, wanted: Callable[[], int | None], more: bool) -> None:
        history = self._of()
        if turn != self._turn or history is None:
            return
        update = wanted()
        if update is None:
            if more:
                self._on_more()
            return
        try:
            snapshot = history.at(update)
            self._keep(update, None if snapshot is None else glance(snapshot))
        except Exception as error:  # damaged: it is told once, and the rest goes on
            self._keep(update, None)
            self._on_error(error)
        self._loop.later(0.0, self._read, turn, wanted, True)

    def _keep(self, update: int, found: Glance | None) -> None:
        self._found[update] = found
        while len(self._found) > LIMIT:
            del self._found[next(iter(self._found))]
