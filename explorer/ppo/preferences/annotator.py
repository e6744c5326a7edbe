"""A simulated annotator: labels pairs by a rule that the learner cannot see, with as many mistakes as asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.rules import RULES
from explorer.ppo.sampling import generator
from explorer.ppo.streams import LABELLING

#: A pair that waits for its label: prompt, the response shown first, the one shown second.
Pair = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class SimulatedAnnotator:
    """Prefers the text to which its rule gives the higher number.

    Args:
        rule: the name of one of ``RULES``, or a function from a text to a number.
        noise: probability of a slip: of saying the opposite of what the rule says. Slips are independent, so the same
            pair can be labelled both ways when it is asked about twice. A tie is never a slip, nor missed.
        tie_margin: the rule's numbers that are no further apart than this are a tie; 0 is equal numbers alone.
        seed: decides the slips, together with the question's number.

    Raises:
        PreferenceError: there is no such rule, or a number is out of its range.
    """

    rule: str | Callable[[str], float]
    noise: float = 0.0
    tie_margin: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.rule, str) and self.rule not in RULES:
            raise PreferenceError(f"rule is '{self.rule}', but must be one of {', '.join(RULES)}, or a function.")
        if not 0 <= self.noise <= 1:
            raise PreferenceError(f"noise is {self.noise}, but must be from 0 to 1.")
        if not (self.tie_margin >= 0 and math.isfinite(self.tie_margin)):
            raise PreferenceError(f"tie_margin is {self.tie_margin}, but must be a number from 0.")

    def value(self, text: str) -> float:
        """What the rule gives a text."""
        return float((RULES[self.rule] if isinstance(self.rule, str) else self.rule)(text))

    def choose(self, pair: Pair, number: int = 0) -> str:
        """The choice that this annotator makes when asked about a pair: "a", "b" or "tie".

        Args:
            pair: prompt and two responses; the rule reads the responses alone.
            number: which question it is. The same question gets the same answer.
        """
        _, a, b = pair
        ahead = self.value(a) - self.value(b)
        if abs(ahead) <= self.tie_margin:
            return "tie"
        slips = bool(torch.rand((), generator=generator(self.seed, number, LABELLING, 1)) < self.noise)
        return "a" if (ahead > 0) != slips else "b"

    def label(self, pairs: Iterable[Pair], *, first: int = 0, decided: int | None = None) -> list[Comparison]:
        """Label pairs one after the other.

        Args:
            pairs: as many as there are, or an endless supply where ``decided`` is given.
            first: the number of the first question.
            decided: stop after so many comparisons that are no tie; None is when the pairs end.

        Raises:
            PreferenceError: the pairs end before so many are decided.
        """
        made: list[Comparison] = []
        missing = decided
        for number, pair in enumerate(pairs, start=first):
            if missing == 0:
                break
            made.append(Comparison(*pair, self.choose(pair, number)))
            if missing is not None:
                missing -= made[-1].decided
        if missing:
            raise PreferenceError(
                f"only {decided - missing if decided else 0} of {decided} pairs could be decided: draw more responses, "
                "or choose a rule that tells more of them apart."
            )
        return made
