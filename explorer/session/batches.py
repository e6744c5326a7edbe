"""What is asked of a finished batch, between two stages: its gradient's parts, and what the reward finds in it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.recording.snapshot import Snapshot, freeze
from explorer.recording.what_if import with_coefficients

if TYPE_CHECKING:
    from explorer.session.engine import Engine


class Batches:
    """The batches of a run, measured once more with the run's own policy and reward. Called in the worker."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._made_by: str | None = None

    def gradient_parts(self, snapshot: Snapshot) -> Any:
        """Each token's exact part of the gradient that one more step over a whole batch would have.

        The policy is the one that the batch's update has made: exactly so for the newest, to half precision before.

        Args:
            snapshot: a finished update of this run, as it was trained or re-scored.

        Returns:
            ``[B, T]`` read-only numpy, summing to 1; see ``explorer.ppo.gradient_parts``.

        Raises:
            ValueError: that update's weights are no longer kept.
        """
        import numpy as np
        import torch

        trainer, policy = self._engine.trainer, self._engine.policy_after(snapshot.update)
        device = policy.value_head.weight.device

        def live(array: Any) -> Any:
            return torch.from_numpy(np.array(array)).to(device)

        config = with_coefficients(snapshot.config, snapshot)
        return freeze(trainer.gradient_parts(snapshot.rollout.map(live), snapshot.credit.map(live), config, policy))

    def has_made(self, digest: str | None) -> bool:
        """Whether texts are of the policy that this run was begun with; ``digest`` is that of theirs, None its own."""
        from explorer.ppo.state import weights_digest

        self._made_by = self._made_by or weights_digest(self._engine.trainer.reference)
        return digest in (None, self._made_by)

    def measure(self, snapshot: Snapshot, config: Config, name: str) -> Any:
        """A component of a config on the texts of a finished update, ``[B]`` read-only numpy.

        Raises:
            RewardError: it fails.
        """
        from explorer.ppo.rewards.score import run_component

        component = self._engine.trainer.reward_model.under(config)[name]
        return freeze(run_component(name, component, self._responses(snapshot, config)))

    def sample_reference(self, config: Config, first: int, count: int) -> tuple[Any, int]:
        """Some of the training prompts answered many times by the untouched policy, and scored under a config.

        Args:
            config: see ``explorer.ppo.reference_sample``.
            first: the first of the prompts that are asked.
            count: how many of them.

        Returns:
            The ``ScoredAnswers`` in numpy, and how many prompts are asked in all.
        """
        from explorer.ppo.reference_sample import asked_prompts, sample_reference

        asked = asked_prompts(self._engine.prompts)
        found = sample_reference(self._engine.trainer, config, first, asked[first : first + count])
        components = {name: freeze(values) for name, values in found.components.items()}
        judge = None if found.judge is None else freeze(found.judge)
        return dataclasses.replace(found, components=components, judge=judge), len(asked)

    def look_closely(self, snapshot: Snapshot, config: Config, response: int, name: str) -> dict[str, Any]:
        """What a component finds in one response of a finished update; see ``explorer.ppo.rewards.evidence``.

        Of a learnt component ``{parts, rest}``: what each token adds to its value, and what is no token's.
        """
        from explorer.ppo.preferences.learned import Learned
        from explorer.ppo.rewards.evidence import evidence

        seen = self._responses(snapshot, config)
        component = self._engine.trainer.reward_model.under(config).get(name)
        tokens = snapshot.tokens.responses[response]
        if isinstance(component, Learned):
            parts, rest = (found[response] for found in component.token_parts(seen))
            return {"parts": parts[: len(tokens)].tolist(), "rest": float(rest)}
        return evidence(component, seen.prompts[response], seen.texts[response], tokens, seen.reference)

    def texts_of(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        """The prompt and the response of each row of a finished update."""
        seen = self._responses(snapshot, snapshot.config)
        return list(zip(seen.prompts, seen.texts, strict=True))

    def _responses(self, snapshot: Snapshot, config: Config) -> Any:
        import numpy as np
        import torch

        rollout = snapshot.rollout.map(lambda array: torch.from_numpy(np.array(array)))
        return self._engine.trainer.reward_model.responses(config, rollout, list(snapshot.tokens.prompts))
