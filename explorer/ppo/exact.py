"""The exact truth of the toy: what training can only estimate is here a finite sum over all sentences.

The expected reward and its gradient (the policy gradient), the KL divergence of two policies, a perfect critic, and
what each objective is worth under the policy that sampled. ``exact_estimates`` draws the estimators around all this.

A policy is a table of logits ``[R, V]``, float64. Shapes: ``V`` words, ``T = 3`` tokens, ``R`` prefixes (rows), ``S``
sentences that can occur. Log-probabilities and divergences are in nats, gradients in rewards per unit of logit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.exact_toy import Toy
from explorer.ppo.objectives import OBJECTIVES

__all__ = [
    "Toy",
    "exact_advantages",
    "exact_gradient",
    "exact_kl",
    "exact_values",
    "expected_objective",
    "expected_reward",
    "objective_gradient",
    "objective_gradients",
    "sequence_probabilities",
    "token_logprobs",
]


def token_logprobs(toy: Toy, logits: Tensor) -> Tensor:
    """The log-probability of each token of ``toy.sequences`` under a policy ``[R, V]``: ``[S, T]`` nats."""
    return logits.log_softmax(dim=1)[toy.rows, toy.sequences]


def sequence_probabilities(toy: Toy, logits: Tensor) -> Tensor:
    """The probability of each sentence under a policy ``[R, V]``: ``[S]``, summing to 1."""
    return token_logprobs(toy, logits).sum(dim=1).exp()


def expected_reward(toy: Toy, logits: Tensor) -> Tensor:
    """What a response of the policy ``[R, V]`` earns on average, ``J = sum_s p(s) R(s)``: a scalar."""
    return (sequence_probabilities(toy, logits) * toy.scores).sum()


def exact_gradient(toy: Toy, logits: Tensor) -> Tensor:
    """The policy gradient itself, ``dJ / d logits`` by autograd through the enumeration: ``[R, V]``, no sampling."""
    leaf = logits.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(expected_reward(toy, leaf), leaf)
    return gradient


def exact_kl(toy: Toy, logits: Tensor, other: Tensor) -> Tensor:
    """``KL(p || q) = sum_s p(s) ln (p(s) / q(s))`` of the policies ``logits`` and ``other``: a scalar, in nats."""
    mine, theirs = token_logprobs(toy, logits).sum(dim=1), token_logprobs(toy, other).sum(dim=1)
    return (mine.exp() * (mine - theirs)).sum()


def exact_values(toy: Toy, logits: Tensor) -> Tensor:
    """What a perfect critic would say: the expected reward of going on from each prefix under the policy: ``[R]``.

    Computed backwards from the last word; row 0, before the first word, is the expected reward itself.
    """
    size = len(toy.words)
    first, second, third = logits.softmax(dim=1).split([1, size, size**2])
    after_two = (third * toy.rewards.view(size**2, size)).sum(dim=1)
    after_one = (second * after_two.view(size, size)).sum(dim=1)
    return torch.cat([(first * after_one).sum(dim=1), after_one, after_two])


def exact_advantages(toy: Toy, logits: Tensor) -> Tensor:
    """How much better than expected each token is, ``A = Q - V`` under the policy ``[R, V]``: ``[S, T]``, gamma 1."""
    values = exact_values(toy, logits)[toy.rows]
    return torch.cat([values[:, 1:], toy.scores[:, None]], dim=1) - values


def expected_objective(
    toy: Toy, config: Config, logits: Tensor | None = None, advantages: Tensor | None = None
) -> Tensor:
    """An objective's expectation over responses of the old policy, summed over their tokens: a scalar.

    Args:
        toy: its old policy samples.
        config: names the objective and its ranges.
        logits: the policy that is judged, ``[R, V]``; without it the toy's new one.
        advantages: ``[S, T]`` constants; without them the exact ones of the old policy.
    """
    weights = exact_advantages(toy, toy.old_logits) if advantages is None else advantages
    old_logprobs = token_logprobs(toy, toy.old_logits)
    log_ratios = token_logprobs(toy, toy.new_logits if logits is None else logits) - old_logprobs
    mask = torch.ones_like(log_ratios, dtype=torch.bool)
    terms = OBJECTIVES[config.objective](log_ratios, weights.detach(), config, mask)
    return (old_logprobs.sum(dim=1).exp() * terms.sum(dim=1)).sum()


def objective_gradient(
    toy: Toy, config: Config, logits: Tensor | None = None, advantages: Tensor | None = None
) -> Tensor:
    """The gradient of ``expected_objective`` with respect to the judged policy's logits: ``[R, V]``.

    Where the judged policy is still the old one, every objective's gradient is the policy gradient, and further on they
    part. GSPO spreads each token's advantage over its whole response, so this holds for it only if all tokens of a
    response share one, as ``scores - expected_reward`` does.
    """
    leaf = (toy.new_logits if logits is None else logits).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(expected_objective(toy, config, leaf, advantages), leaf)
    return gradient


def objective_gradients(toy: Toy, config: Config | None = None) -> dict[str, Tensor]:
    """``objective_gradient`` of every objective by name, under one set of ranges: ``{name: [R, V]}``."""
    config = config or Config()
    return {name: objective_gradient(toy, config.replace(objective=name)) for name in OBJECTIVES}
