"""Prompts answered by the reference and by the policy, side by side, between two stages of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy
    from explorer.session.engine import Engine

#: How many training prompts are answered at a time: the panel turns over the others.
COMPARED = 8


class Answers:
    """What the panel of samples asks. Called in the worker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._trials: tuple[Any, int] = (None, 0)
        self._compared = 0

    def compare(self, first: int | None = None) -> dict[str, Any]:
        """Some training prompts answered by the reference and by the policy, with the same random numbers.

        Args:
            first: the first of the ``COMPARED`` prompts to answer; None for those that were answered before. Past the
                end it is the first again.

        Returns:
            ``{update, first, at_once, total, prompts, reference, policy}``; ``total`` is how many training prompts
            there are.
        """
        from explorer.ppo.streams import COMPARISON

        engine, total = self._engine, len(self._engine.prompts)
        first = self._compared if first is None else max(0, first)
        self._compared = first = first if first < total else 0
        prompts = engine.prompts[first : first + COMPARED]
        reference, policy = (self._answers(p, prompts, COMPARISON) for p in engine.policies(engine.trainer.updates))
        shown = {"update": engine.trainer.updates, "first": first, "at_once": COMPARED, "total": total}
        return {**shown, "prompts": prompts, "reference": reference, "policy": policy}

    def try_prompt(self, prompt: str, update: int | None) -> dict[str, Any]:
        """One prompt answered three times by the reference and by the policy as of an update.

        Asked again for the same, the answers are drawn anew; asked for another update, with the same random numbers.

        Raises:
            ValueError: the prompt is empty or too long, or that update's weights are no longer kept.
        """
        from explorer.ppo.prompts import check_prompts
        from explorer.ppo.streams import TRIAL

        prompts = check_prompts([prompt]) * 3
        shown = self._engine.trainer.updates if update is None else update
        asked, times = self._trials
        times = 0 if asked is None or asked[0] != prompt else times + (asked == (prompt, shown))
        self._trials = ((prompt, shown), times)
        reference, policy = (self._answers(p, prompts, TRIAL, times) for p in self._engine.policies(update))
        return {"update": shown, "prompt": prompt, "reference": reference, "policy": policy}

    def _answers(self, policy: Policy, prompts: list[str], purpose: int, draw: int = 0) -> list[str]:
        return self._engine.trainer.answer(policy, prompts, purpose, self._engine.in_force, draw)
