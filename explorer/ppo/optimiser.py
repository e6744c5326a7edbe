"""Epochs of minibatches over one batch: loss, gradient clipping and optimiser step, with every term recorded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from explorer.config import Config
from explorer.ppo.masked import masked_mean
from explorer.ppo.objectives import OBJECTIVES, judge_tokens, value_terms
from explorer.ppo.policy import Policy, TokenScores
from explorer.ppo.records import Epoch
from explorer.ppo.replay import Batch


class Optimiser:
    """AdamW over the policy and its value head, each with a learning rate of its own.

    Adam's epsilon is 1e-5 and there is no weight decay, as in OpenAI's 2019 code (Huang et al. 2023, detail 5).
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.adam = torch.optim.AdamW(
            [{"params": policy.lm.parameters()}, {"params": policy.value_head.parameters()}],
            lr=0.0,
            eps=1e-5,
            weight_decay=0.0,
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

    def epoch(self, batch: Batch, minibatches: Sequence[Tensor], config: Config) -> Epoch:
        """One pass over the batch: one optimiser step a minibatch.

        Args:
            batch: all rows.
            minibatches: the rows of each minibatch, in order; together every row once.
            config: the knobs.

        Returns:
            What each minibatch's forward saw before its step, put back into the batch's row order.

        Raises:
            FloatingPointError: the loss or the gradient is no number any more.
        """
        for group, rate in zip(self.adam.param_groups, (config.learning_rate, config.value_learning_rate), strict=True):
            group["lr"] = rate
        logprobs, values, entropies = (torch.zeros_like(batch.old_logprobs) for _ in range(3))
        norms, scales = [], []
        for rows in minibatches:
            part = batch.take(rows)
            scores = self._forward(part, config)
            log_ratios = scores.logprobs - part.old_logprobs

            # L = -L^CLIP + c_v L^VF - c_e H  (Schulman et al. 2017, equation 9)
            terms = OBJECTIVES[config.objective](log_ratios, part.advantages, config, part.mask)
            squares = value_terms(scores.values, part.old_values, part.returns, config.value_clip_range)
            loss = -masked_mean(terms, part.mask) + config.vf_coef * masked_mean(squares, part.mask)
            if config.ent_coef > 0:  # without a bonus the backward pass need not go through the entropies
                loss = loss - config.ent_coef * masked_mean(scores.entropies, part.mask)
            self.adam.zero_grad(set_to_none=True)
            loss.backward()
            limit = float("inf") if config.max_grad_norm is None else config.max_grad_norm
            norm = float(nn.utils.clip_grad_norm_(self.policy.parameters(), limit))
            if norm != norm or norm == float("inf") or not bool(torch.isfinite(loss)):
                raise FloatingPointError(
                    "the loss or its gradient is no longer a number: lower the learning rate, or set a gradient limit. "
                    "The policy is as it was before this update."
                )
            self.adam.step()
            norms.append(norm)
            scales.append(min(1.0, limit / norm) if norm > 0 else 1.0)
            logprobs[rows] = scores.logprobs.detach()
            values[rows] = scores.values.detach()
            entropies[rows] = scores.entropies.detach()
        return _record(batch, logprobs, values, entropies, config, grad_norm=max(norms), grad_scale=min(scales))

    @torch.no_grad()
    def final(self, batch: Batch, config: Config) -> Epoch:
        """The batch under the policy after the last step."""
        scores = self._forward(batch, config)
        nan = float("nan")
        return _record(batch, scores.logprobs, scores.values, scores.entropies, config, grad_norm=nan, grad_scale=nan)

    def _forward(self, batch: Batch, config: Config) -> TokenScores:
        return self.policy.score_tokens(
            batch.prompt_ids, batch.prompt_mask, batch.response_ids, batch.mask, config.temperature
        )


def _record(
    batch: Batch, logprobs: Tensor, values: Tensor, entropies: Tensor, config: Config, **gradient: float
) -> Epoch:
    log_ratios = logprobs - batch.old_logprobs
    tokens = judge_tokens(log_ratios, batch.advantages, batch.mask, config)
    squares = value_terms(values, batch.old_values, batch.returns, config.value_clip_range)
    return Epoch(
        new_logprobs=logprobs,
        ratios=torch.where(batch.mask, log_ratios.exp(), 0.0),
        outside_range=tokens.outside_range,
        zero_gradient=tokens.zero_gradient,
        gradient_shares=tokens.gradient_shares,
        values=values,
        entropies=entropies,
        advantages=batch.advantages,
        policy_terms=tokens.terms,
        ages=batch.ages,
        policy_loss=-float(masked_mean(tokens.terms, batch.mask)),
        value_loss=float(masked_mean(squares, batch.mask)),
        entropy=float(masked_mean(entropies, batch.mask)),
        approx_kl=float(masked_mean(log_ratios**2 / 2, batch.mask)),
        clipfrac=float(masked_mean(tokens.zero_gradient.float(), batch.mask)),
        **gradient,
    )
