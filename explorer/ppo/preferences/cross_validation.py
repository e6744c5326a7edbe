"""How strong the penalty should be, and how well a head does on labels that it was not fitted to: by folds.

The labels are dealt into five folds. Each fold is judged by a head that was fitted to the other four. The penalty under
which the labels are likeliest that way is taken; and the margins that it gave are the held-out ones. As the penalty was
chosen on them, they are a hair too good; and the same text may stand in other pairs of the other folds. Fresh pairs are
the better judge where there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from explorer.ppo.preferences.bradley_terry import Fit, fit, log_probabilities
from explorer.ppo.sampling import generator
from explorer.ppo.streams import LABELLING

FOLDS = 5

#: The penalties that are tried, strongest first, in steps of the square root of ten.
PENALTIES: tuple[float, ...] = tuple(10 ** (n / 2) for n in range(3, -6, -1))


class Chosen(NamedTuple):
    """The penalty that the labels themselves choose."""

    penalty: float
    margins: Tensor  # [n] each label's d under the head that was fitted without it
    losses: tuple[float, ...]  # mean of −log P(what was said) of the labels held out, in nats, for each penalty tried
    penalties: tuple[float, ...]  # those tried; it ends early where weaker ones only get worse


def reduce(differences: Tensor) -> tuple[Tensor, Tensor]:
    """The differences ``[n, D]`` in coordinates of their own span ``[n, r]``, and that span's basis ``[r, D]``.

    A fit in these coordinates is the fit in the original ones: a penalised head never leaves the span of its data.
    Through the n × n products of the rows, as n is small and D is not.
    """
    values, vectors = torch.linalg.eigh(differences @ differences.T)
    kept = values > 1e-10 * values.max().clamp(min=1e-300)
    roots = values[kept].sqrt()
    coordinates = vectors[:, kept] * roots
    return coordinates, (vectors[:, kept] / roots).T @ differences


def folds(pairs: Sequence[frozenset[tuple[str, str]]], seed: int = 0) -> Tensor:
    """``[n]`` the fold of each label; labels of the same pair are in the same one, else it would know its answer."""
    distinct = list(dict.fromkeys(pairs))
    order = torch.randperm(len(distinct), generator=generator(seed, 0, LABELLING, 3)).tolist()
    place = {pair: order[n] % FOLDS for n, pair in enumerate(distinct)}
    return torch.tensor([place[pair] for pair in pairs])


def choose_penalty(
    coordinates: Tensor, outcomes: Tensor, fold: Tensor, counts: Tensor, penalties: Sequence[float] = PENALTIES
) -> Chosen:
    """Try the penalties from the strongest on, until three in a row are worse than the best.

    Args:
        coordinates: ``[n, r]`` features of a minus features of b, from ``reduce``.
        outcomes: ``[n]`` what was said.
        fold: ``[n]`` from ``folds``. With a single fold there is nothing to hold out: the first penalty is taken, and
            the margins are NaN.
        counts: ``[n]`` how often each label counts.
        penalties: strongest first.
    """
    parts = [fold == number for number in fold.unique().tolist()]
    if len(parts) < 2:
        return Chosen(penalties[0], coordinates.new_full((len(coordinates),), torch.nan), (), ())
    starts: list[Tensor | None] = [None] * len(parts)
    losses: list[float] = []
    best = coordinates.new_zeros(len(coordinates))
    for penalty in penalties:
        margins = coordinates.new_zeros(len(coordinates))
        loss = 0.0
        for number, held in enumerate(parts):
            found: Fit = fit(coordinates[~held], outcomes[~held], penalty, counts[~held], starts[number])
            starts[number] = found.weights
            margins[held] = coordinates[held] @ found.weights
            # A tie that no other fold has: as likely as one in all the labels.
            log_tie = max(found.log_tie, -float(torch.tensor(float(len(outcomes))).log()))
            said = log_probabilities(margins[held], log_tie).gather(1, outcomes[held][:, None])
            loss -= float(counts[held] @ said[:, 0])
        losses.append(loss / float(counts.sum()))
        if losses[-1] <= min(losses):
            best = margins
        if len(losses) - 1 - losses.index(min(losses)) >= 3:
            break
    chosen = losses.index(min(losses))
    return Chosen(penalties[chosen], best, tuple(losses), tuple(penalties[: len(losses)]))
