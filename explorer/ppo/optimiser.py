"""Epochs of minibatches over one batch: loss, gradient clipping and optimiser step, with every term recorded."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from explorer.config import Config
from explorer.ppo.gradient_parts import gradient_parts
from explorer.ppo.losses import losses
from explorer.ppo.masked import masked_mean
from explorer.ppo.objectives import judge_tokens, value_terms
from explorer.ppo.policy import Policy, TokenScores, longest
from explorer.ppo.records import Epoch
from explorer.ppo.replay import Batch

#: A return larger than this is no reward of about -1 to 1 a response any more, whatever the KL adds to it.
HUGE_RETURN = 1e6


class Optimiser:
    """AdamW over the policy and its value head, each with a learning rate of its own.

    A separate critic's trunk is a third group and learns at the policy's rate. ``clipped`` counts the steps whose
    gradient was longer than its limit, since this optimiser was made.

    Adam's epsilon is 1e-5, its betas are 0.9 and 0.999, and there is no weight decay, as in OpenAI's 2019 code (Huang
    et al. 2023, detail 5).
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.clipped = 0
        parts = [policy.lm, policy.value_head, *([policy.critic] if policy.critic is not None else [])]
        self.adam = torch.optim.AdamW(
            [{"params": part.parameters()} for part in parts],
            lr=0.0,
            betas=(0.9, 0.999),
            eps=1e-5,
            weight_decay=0.0,
            # One pass over the weights: 0.7 ms a step where the loop took 2.4.
            fused=policy.device.type in ("cpu", "cuda"),
        )

    @property
    def steps(self) -> int:
        """How many steps Adam has taken, by its own count."""
        return max((int(moments["step"]) for moments in self.adam.state.values()), default=0)

    def state(self) -> dict[str, Any]:
        """A copy of the weights and of Adam's moments."""
        weights = {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}
        return {"weights": weights, "adam": copy.deepcopy(self.adam.state_dict())}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a ``state()``."""
        self.policy.load_state_dict(state["weights"])
        self.adam.load_state_dict(copy.deepcopy(state["adam"]))

    def epoch(
        self, batch: Batch, minibatches: Sequence[Tensor], config: Config, forward: TokenScores | None = None
    ) -> Epoch:
        """One pass over the batch: one optimiser step a minibatch.

        Args:
            batch: all rows.
            minibatches: the rows of each minibatch, in order; together every row once.
            config: the knobs.
            forward: of the whole batch under the policy as it is, with its graph, where one has been made already and
                all rows are one minibatch; its graph is used up.

        Returns:
            What each minibatch's forward saw before its step, put back into the batch's row order.

        Raises:
            FloatingPointError: the loss or the gradient is no number any more.
        """
        rates = (config.learning_rate, config.value_learning_rate, config.learning_rate)
        for group, rate in zip(self.adam.param_groups, rates, strict=False):  # the third for a separate critic
            group["lr"] = rate
        logprobs, values, entropies = (torch.zeros_like(batch.old_logprobs) for _ in range(3))
        norms, scales, upto = [], [], longest(batch.mask)
        for rows in minibatches:
            part = batch if forward else batch.take(rows)  # a forward of all rows has them in the batch's order
            scores = forward or self._forward(part, config, upto)
            loss = losses(part, scores, config).total
            self.adam.zero_grad(set_to_none=True)
            loss.backward()
            limit = float("inf") if config.max_grad_norm is None else config.max_grad_norm
            norm = float(nn.utils.clip_grad_norm_(self.policy.parameters(), limit))
            if norm != norm or norm == float("inf") or not bool(torch.isfinite(loss)):
                raise FloatingPointError(
                    f"the loss or its gradient is no longer a number: {_what_to_do(batch)}. "
                    "The policy is as it was before this update."
                )
            self.adam.step()
            norms.append(norm)
            self.clipped += norm > limit
            scales.append(min(1.0, limit / norm) if norm > 0 else 1.0)
            seen = slice(None) if forward else rows
            logprobs[seen] = scores.logprobs.detach()
            values[seen] = scores.values.detach()
            entropies[seen] = scores.entropies.detach()
        gradient = {"grad_norm": max(norms), "grad_scale": min(scales)}
        return record_epoch(batch, logprobs, values, entropies, config, minibatches, **gradient)

    @torch.no_grad()
    def ratios(self, batch: Batch, rows: Tensor, config: Config) -> Tensor:
        """The ratios of some rows' tokens that count under the policy as it is now, flat, by a forward of their own."""
        part = batch.take(rows)
        now = self._forward(part, config, longest(batch.mask)).logprobs
        return (now - part.old_logprobs).exp()[part.mask]

    @torch.no_grad()
    def final(self, batch: Batch, config: Config, top_ids: Tensor | None = None) -> Epoch:
        """The batch under the policy after the last step.

        Args:
            batch: all rows.
            config: the knobs.
            top_ids: ``[B, T, K]`` what else could have stood at each position of the first B rows; their
                log-probabilities are recorded too.
        """
        scores = self._forward(batch, config)
        nan = float("nan")
        seen = record_epoch(
            batch, scores.logprobs, scores.values, scores.entropies, config, grad_norm=nan, grad_scale=nan
        )
        if top_ids is None:
            return seen
        return dataclasses.replace(seen, top_logprobs=scores.at(top_ids, batch.mask[: len(top_ids)]))

    def parts(self, batch: Batch, config: Config) -> Tensor:
        """Each token's exact part of the gradient that the next step over this batch would have: ``[rows, T]``.

        See ``explorer.ppo.gradient_parts``; they sum to 1, and nothing is changed by asking.
        """
        return gradient_parts(
            self.policy, lambda: self._forward(batch, config), lambda scores: losses(batch, scores, config).total
        )

    def _forward(self, batch: Batch, config: Config, upto: int | None = None) -> TokenScores:
        return self.policy.score_tokens(
            batch.prompt_ids,
            batch.prompt_mask,
            batch.response_ids,
            batch.mask,
            config.temperature,
            entropy_grad=config.ent_coef > 0,
            upto=upto,
        )


def _what_to_do(batch: Batch) -> str:
    most = float(batch.returns.abs().max())
    if most > HUGE_RETURN:
        return f"a response's rewards add up to {most:.1g}, so scale them to about -1 to 1"
    return "lower the learning rate, or set a gradient limit"


@torch.no_grad()
def record_epoch(
    batch: Batch,
    logprobs: Tensor,
    values: Tensor,
    entropies: Tensor,
    config: Config,
    minibatches: Sequence[Tensor] | None = None,
    **gradient: float,
) -> Epoch:
    """What an epoch's forwards saw, as its record, 0 outside the mask.

    ``policy_loss`` and the shares of the gradient are those of the steps: by the config's aggregation, within each
    minibatch. ``value_loss``, ``entropy``, ``approx_kl`` and ``clipfrac`` are
    means over the tokens whatever it is, so that they can be compared between runs.

    Args:
        batch: all rows, ``[rows, T]``.
        logprobs: ``[rows, T]`` of the tokens under the policy that was being trained; ``values`` and ``entropies``
            likewise.
        values: the critic's.
        entropies: in nats.
        config: the knobs.
        minibatches: the rows of each; None where all rows made one step, or would make one, as ``final``'s.
        gradient: ``grad_norm`` and ``grad_scale``.
    """
    log_ratios, ref_log_ratios = logprobs - batch.old_logprobs, logprobs - batch.ref_logprobs
    tokens = judge_tokens(log_ratios, batch.advantages, batch.mask, config, ref_log_ratios, minibatches)
    squares = value_terms(values, batch.old_values, batch.returns, config.value_clip_range)
    return Epoch(
        new_logprobs=logprobs,
        ref_log_ratios=ref_log_ratios,
        ratios=torch.where(batch.mask, log_ratios.exp(), 0.0),
        outside_range=tokens.outside_range,
        zero_gradient=tokens.zero_gradient,
        gradient_shares=tokens.gradient_shares,
        values=values,
        entropies=entropies,
        advantages=batch.advantages,
        policy_terms=tokens.terms,
        ages=batch.ages,
        policy_loss=-float(tokens.total),
        value_loss=float(masked_mean(squares, batch.mask)),
        entropy=float(masked_mean(entropies, batch.mask)),
        approx_kl=float(masked_mean(log_ratios**2 / 2, batch.mask)),
        clipfrac=float(masked_mean(tokens.zero_gradient.float(), batch.mask)),
        **gradient,
    )
