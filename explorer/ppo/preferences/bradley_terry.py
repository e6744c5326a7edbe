"""The Bradley–Terry model of preferences, with ties after Davidson, fitted by Newton's method.

Every text has a reward r = w · x, and of two texts a and b with d = r_a − r_b

    P(a) : P(b) : P(tie)  =  e^(d/2) : e^(−d/2) : ν

so that P(a beats b, given that it is no tie) = sigmoid(d). Without a tie ν is 0 and this is Bradley and Terry's model;
with ties ν is fitted along with w. What is minimised is

    − Σ weight · log P(what was said)  +  ½ · penalty · |w|²

which is convex in (w, log ν): there is one answer, and no random number on the way to it.

Source:
    Bradley and Terry 1952, "Rank analysis of incomplete block designs: I"; Davidson 1970, "On extending the
    Bradley–Terry model to accommodate ties in paired comparison experiments"; as a reward model for language Christiano
    et al. 2017 (arXiv 1706.03741) and Ouyang et al. 2022 (arXiv 2203.02155), which leave ties out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

#: What was said of a pair, as numbers: the places of the three terms above.
A, B, TIE = range(3)

#: Newton's steps at most; from 0 it takes about 6.
STEPS = 100

#: By so much, of itself, the objective may seem to climb near its minimum, where steps are smaller than its last digit.
ROUNDING = 1e-12

#: Where a step promises less than this, of the objective, the minimum is reached.
NEGLIGIBLE = 1e-18


class Fit(NamedTuple):
    """A fitted head."""

    weights: Tensor  # [D] float64
    log_tie: float  # log ν; minus infinity where nothing was tied


def log_probabilities(margins: Tensor, log_tie: float | Tensor) -> Tensor:
    """Log-probabilities of "a", "b" and "tie" at margins ``d [n]``: ``[n, 3]``."""
    tie = torch.as_tensor(log_tie, dtype=margins.dtype).expand_as(margins)
    return torch.log_softmax(torch.stack([margins / 2, -margins / 2, tie], dim=1), dim=1)


def objective(
    differences: Tensor, outcomes: Tensor, weights: Tensor, log_tie: float | Tensor, penalty: float, counts: Tensor
) -> Tensor:
    """What a fit minimises, a scalar.

    Args:
        differences: ``[n, D]`` features of a minus features of b.
        outcomes: ``[n]`` of ``A``, ``B`` or ``TIE``.
        weights: ``[D]``.
        log_tie: log ν.
        penalty: above 0.
        counts: ``[n]`` how often each comparison counts.
    """
    said = log_probabilities(differences @ weights, log_tie).gather(1, outcomes[:, None])[:, 0]
    return 0.5 * penalty * weights @ weights - torch.where(counts > 0, counts * said, 0.0).sum()


def derivatives(
    differences: Tensor, outcomes: Tensor, weights: Tensor, log_tie: float | Tensor, penalty: float, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradient ``[D + 1]`` and Hessian ``[D + 1, D + 1]`` of the objective in (w, log ν). Arguments as there."""
    p = log_probabilities(differences @ weights, log_tie).exp()
    said = one_hot(outcomes, 3).to(p.dtype)
    ahead = (p[:, A] - p[:, B]) / 2  # the expectation of the d-term's factor: ½ for a, −½ for b, 0 for a tie
    on_margin = counts * (ahead - (said[:, A] - said[:, B]) / 2)
    bend = counts * ((p[:, A] + p[:, B]) / 4 - ahead**2)
    gradient = torch.cat([differences.T @ on_margin + penalty * weights, (counts * (p - said)[:, TIE]).sum()[None]])
    hessian = differences.new_zeros(len(weights) + 1, len(weights) + 1)
    hessian[:-1, :-1] = differences.T @ (bend[:, None] * differences)
    hessian[:-1, :-1].diagonal().add_(penalty)
    hessian[:-1, -1] = hessian[-1, :-1] = differences.T @ (-counts * ahead * p[:, TIE])
    hessian[-1, -1] = (counts * p[:, TIE] * (1 - p[:, TIE])).sum()
    return gradient, hessian


def fit(
    differences: Tensor, outcomes: Tensor, penalty: float, counts: Tensor | None = None, start: Tensor | None = None
) -> Fit:
    """The minimum of the objective, by Newton's method with steps halved where they would climb.

    Args:
        differences: ``[n, D]`` float64, of any D: only the span of its rows is looked at.
        outcomes: ``[n]`` of ``A``, ``B`` or ``TIE``.
        penalty: above 0. The more of it, the smaller the weights.
        counts: ``[n]`` how often each comparison counts, from 0; None is once each.
        start: ``[D]`` weights to start from, such as those at another penalty; None is 0.
    """
    counts = differences.new_ones(len(differences)) if counts is None else counts
    tied = bool((counts[outcomes == TIE] > 0).any())
    weights = differences.new_zeros(differences.shape[1]) if start is None else start
    log_tie = differences.new_tensor(0.0 if tied else -torch.inf)
    value = objective(differences, outcomes, weights, log_tie, penalty, counts)
    for _ in range(STEPS):
        gradient, hessian = derivatives(differences, outcomes, weights, log_tie, penalty, counts)
        if tied:
            # All ties would send ν to infinity: a Newton step of at most 2 keeps it a number.
            step = torch.linalg.solve(hessian + 1e-9 * torch.eye(len(gradient), dtype=hessian.dtype), gradient)
            step[-1] = step[-1].clamp(-2, 2)
        else:
            step = torch.cat([torch.linalg.solve(hessian[:-1, :-1], gradient[:-1]), gradient.new_zeros(1)])
        size = 1.0
        while size > 1e-6:
            tried = weights - size * step[:-1]
            tried_tie = (log_tie - size * step[-1]).clamp(-20, 20) if tied else log_tie
            found = objective(differences, outcomes, tried, tried_tie, penalty, counts)
            if found <= value + ROUNDING * abs(value):
                break
            size /= 2
        else:
            break
        weights, log_tie, value = tried, tried_tie, found
        if float((gradient * step).sum()) < NEGLIGIBLE * max(1.0, float(value)):
            break
    return Fit(weights, float(log_tie))
