"""What one PPO update is, as data: Rollout, Credit, Epoch, Update.

The same records hold torch tensors while an update runs and read-only numpy arrays once it is recorded
(``.map(freeze)``); this module imports neither, so a recording opens without torch.

Shapes: ``B`` responses, ``P`` prompt tokens, ``T`` response tokens, ``K`` top alternatives. A mask is ``True`` where
something counts. Where ``response_mask`` is False every ``[B, T]`` array holds exactly 0: no sentinel values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

#: A torch tensor while live, a read-only numpy array once recorded.
Array: TypeAlias = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A frozen group of arrays that maps as one."""

    def map(self, fn: Callable[[Array], Array]) -> Self:
        """The same record with ``fn`` applied to every array, those inside mappings included."""

        def apply(value: Any) -> Any:
            if hasattr(value, "shape"):
                return fn(value)
            if isinstance(value, Mapping):
                return {name: apply(inner) for name, inner in value.items()}
            return value

        changes = {f.name: apply(getattr(self, f.name)) for f in dataclasses.fields(self) if f.init}
        return dataclasses.replace(self, **changes)

    def _check(self, shape: tuple[int, ...], *names: str) -> None:
        for name in names:
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{type(self).__name__}.{name} has shape {found}, expected {shape}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout(Record):
    """Responses sampled from the old policy, and what the old policy and the reference think of each token.

    Attributes:
        prompt_ids: ``[B, P]`` token ids, left-padded.
        prompt_mask: ``[B, P]`` bool, False on the padding.
        response_ids: ``[B, T]`` token ids, 0 past the stop.
        response_mask: ``[B, T]`` bool, True up to and with the stop token.
        stopped: ``[B]`` bool, True where the response ended by itself and not at its length limit.
        old_logprobs: ``[B, T]`` log-probability of the token under the policy that sampled it, in nats.
        ref_logprobs: ``[B, T]`` the same under the frozen reference.
        old_values: ``[B, T]`` the value head's estimate before the token is written, in units of reward.
        entropies: ``[B, T]`` entropy of the old policy's next-token distribution, in nats.
        exact_ref_kl: ``[B, T]`` KL(old policy, reference) of the two whole next-token distributions at the position,
            in nats; None in a recording made before it was kept.
        groups: ``[B]`` int64, which rows answer the same prompt together, from 0.
        top_ids: ``[B, T, K]`` the old policy's likeliest tokens at the position.
        top_logprobs: ``[B, T, K]`` their log-probabilities under the old policy.
        ref_top_logprobs: ``[B, T, K]`` the same tokens' log-probabilities under the reference, 0 outside the mask; None
            in a recording made before they were kept.
    """

    prompt_ids: Array
    prompt_mask: Array
    response_ids: Array
    response_mask: Array
    stopped: Array
    old_logprobs: Array
    ref_logprobs: Array
    old_values: Array
    entropies: Array
    groups: Array
    top_ids: Array
    top_logprobs: Array
    exact_ref_kl: Array | None = None
    ref_top_logprobs: Array | None = None

    def __post_init__(self) -> None:
        rows, length = self.response_ids.shape
        self._check((rows, length), "response_mask", "old_logprobs", "ref_logprobs", "old_values", "entropies")
        self._check((rows,), "stopped", "groups")
        self._check(tuple(self.prompt_ids.shape), "prompt_mask")
        self._check(tuple(self.top_ids.shape), "top_logprobs")
        if self.exact_ref_kl is not None:
            self._check((rows, length), "exact_ref_kl")
        if self.ref_top_logprobs is not None:
            self._check(tuple(self.top_ids.shape), "ref_top_logprobs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credit(Record):
    """Who deserves what: from scores per response to advantages per token.

    Attributes:
        reward_components: ``{name: [B]}`` each component before its weight.
        scores: ``[B]`` the weighted sum of the components.
        ref_kl: ``[B, T]`` KL(policy, reference) at the token by the chosen estimator, or exactly, in nats.
        rewards: ``[B, T]`` ``-kl_coef * ref_kl`` where the KL is in the reward, plus the score at the last token that
            counts; with ``whiten_rewards`` scaled to variance 1 around their mean.
        deltas: ``[B, T]`` one-step TD errors, ``r_t + gamma V_{t+1} - V_t``.
        advantages: ``[B, T]`` before whitening.
        whitened_advantages: ``[B, T]`` what the objective sees: mean 0 and variance 1 over the batch, or the plain
            advantages where whitening is off.
        returns: ``[B, T]`` the value head's targets.
        greedy_components: ``{name: [groups]}`` each component of the greedy answer to each group's prompt; empty where
            the estimator needs none.
        judge: ``[B]`` what the held-out judge gives each response; None where there is none. Nothing is made of it.
    """

    reward_components: Mapping[str, Array]
    scores: Array
    ref_kl: Array
    rewards: Array
    deltas: Array
    advantages: Array
    whitened_advantages: Array
    returns: Array
    greedy_components: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    judge: Array | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.rewards.shape)
        self._check(shape, "ref_kl", "deltas", "advantages", "whitened_advantages", "returns")
        self._check(shape[:1], "scores")
        if self.judge is not None:
            self._check(shape[:1], "judge")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epoch(Record):
    """What one pass over the batch saw, row by row, *before* each minibatch's optimiser step.

    ``rows`` are the fresh responses first, then the replayed ones. A last record of the same form, ``final``, holds a
    forward after the last step: what the policy has become. It has no losses of its own steps, so its scalars are
    those of the whole batch under the final policy, and its ``grad_norm`` and ``grad_scale`` are NaN.

    Attributes:
        new_logprobs: ``[rows, T]`` log-probability under the policy being optimised, in nats.
        ref_log_ratios: ``[rows, T]`` new_logprobs minus those of the reference, in nats: the KL in the loss is a
            function of it.
        ratios: ``[rows, T]`` ``exp(new_logprobs - old_logprobs)``; 1 means unchanged.
        outside_range: ``[rows, T]`` bool, the ratio that the objective looks at is outside its ``clip_band``.
        zero_gradient: ``[rows, T]`` bool, the objective's derivative with respect to the token's log-probability is
            exactly 0 though its advantage is not: what clipping does.
        gradient_shares: ``[rows, T]`` ``|dL/dlog pi_t|`` over its sum across the rows, where L is the loss of the
            token's own minibatch before the gradient's norm is limited; in ``final`` that of all rows in one.
        values: ``[rows, T]`` the value head's estimate.
        entropies: ``[rows, T]`` entropy of the policy being optimised, in nats.
        advantages: ``[rows, T]`` as the objective saw them; those of replayed rows date from their own update.
        policy_terms: ``[rows, T]`` the objective's term at the token, to be maximised; less its KL penalty where that
            is in the loss.
        ages: ``[rows]`` how many updates ago the row was sampled, 0 for the fresh ones.
        policy_loss: float, minus the terms' aggregate by ``Config.aggregation``, the mean over the minibatches.
        value_loss, entropy, approx_kl, clipfrac: floats, masked means.
        grad_norm: the gradient's global norm before clipping, the largest over the epoch's minibatches.
        grad_scale: what the gradient was multiplied with to stay within ``max_grad_norm``, the smallest.
        top_logprobs: ``[B, T, K]`` log-probabilities of the rollout's ``top_ids`` under this policy, of the fresh rows
            alone and 0 outside the mask; None in all but ``final``, and in a recording made before they were kept.
    """

    new_logprobs: Array
    ref_log_ratios: Array
    ratios: Array
    outside_range: Array
    zero_gradient: Array
    gradient_shares: Array
    values: Array
    entropies: Array
    advantages: Array
    policy_terms: Array
    ages: Array
    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clipfrac: float
    grad_norm: float
    grad_scale: float
    top_logprobs: Array | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.ratios.shape)
        self._check(shape, "new_logprobs", "ref_log_ratios", "outside_range", "zero_gradient", "gradient_shares")
        self._check(shape, "values", "entropies", "advantages", "policy_terms")
        self._check(shape[:1], "ages")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve(Record):
    """The objective's term against the ratio for an advantage of +1 and of -1: the line in the clip picture.

    Attributes:
        ratios: ``[N]``, evenly spaced in the logarithm.
        positive: ``[N]`` the term at advantage +1.
        negative: ``[N]`` the term at advantage -1.
    """

    ratios: Array
    positive: Array
    negative: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Update(Record):
    """One PPO update: a rollout, its credit, K epochs of optimisation, and the policy after the last step.

    Attributes:
        update: its number, 1 for the first.
        epochs: K records, one an epoch, then ``final``.
        curve: the objective that was maximised.
        metrics: every scalar of ``METRICS``.
        checks: the live invariants, ``{name: (holds, measured)}``.
        seconds: wall time per stage, as ``explorer.ppo.clock`` names them.
    """

    update: int
    rollout: Rollout
    credit: Credit
    epochs: tuple[Epoch, ...]
    curve: Curve
    metrics: Mapping[str, float]
    checks: Mapping[str, tuple[bool, float]]
    seconds: Mapping[str, float]

    @property
    def final(self) -> Epoch:
        """The policy after the last step, on the same tokens."""
        return self.epochs[-1]

    def map(self, fn: Callable[[Array], Array]) -> Self:
        """The same update with ``fn`` applied to every array of every record in it."""
        return dataclasses.replace(
            self,
            rollout=self.rollout.map(fn),
            credit=self.credit.map(fn),
            epochs=tuple(epoch.map(fn) for epoch in self.epochs),
            curve=self.curve.map(fn),
        )
