"""A reward model with a trunk of its own: a copy of the frozen reference, tuned to the labels.

The copy starts where the frozen model ends, with its head, so that nothing that was learnt is lost. First it sees the
labels that are not held out, a few times over, in AdamW steps; after each time a head is fitted to its states as to the
frozen ones, and how often is best, not at all among the answers, the held-out labels say. Then another copy sees all
labels so often. The held-out numbers are those of the first copy, and a hair too good, by a choice among few.

What is tuned are the biases and the gains of the norms alone: see ``shifts``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.cross_validation import FOLDS, folds
from explorer.ppo.preferences.evaluation import Evaluation
from explorer.ppo.preferences.features import Block, pooled_with_gradient
from explorer.ppo.preferences.pool import Pool, pool_of_comparisons
from explorer.ppo.preferences.reward_model import RewardModel, fit_reward_model
from explorer.ppo.preferences.shifts import shifted, shifts_of, tuned_parameters
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.sampling import generator
from explorer.ppo.streams import LABELLING

#: Comparisons in one step.
PAIRS = 16

#: What a tuned trunk is read by besides: states that nobody predicts the next word from any more.
STATES = Block("final", "mean")

#: The head's step size, of the trunk's: it starts at its best, and shifts start at 0.
HEAD_SHARE = 0.1

#: The fewest decided comparisons of which a fifth can be held out.
MIN_DECIDED = 2 * FOLDS


class Tuned(NamedTuple):
    """A model with a tuned trunk, beside the frozen one."""

    model: RewardModel  # its ``held_out`` is of the labels that the first copy did not see
    frozen: Evaluation  # how well the frozen trunk did on these same labels, its head fitted to the same others
    epochs: int  # how often the labels were seen; 0 where the frozen trunk was best, and is the model's


def tune(
    frozen: RewardModel,
    samples: Pool,
    comparisons: Sequence[Comparison],
    *,
    epochs: int = 4,
    learning_rate: float = 5e-3,
    seed: int = 0,
) -> Tuned:
    """Tune a copy of the trunk that a reward model reads, and fit its head anew on top.

    Ties count as half a comparison won and half one lost while the trunk is tuned.

    Args:
        frozen: a model that was fitted to these comparisons; gives the blocks, the penalty and the number of members.
        samples: the reference's own, by which scores are measured.
        comparisons: as for ``fit_reward_model``; a fifth of the pairs is held out at first.
        epochs: how often each label is seen at most, from 1.
        learning_rate: AdamW's for the shifts, falling to 0 in a line; the head's is a tenth of it.
        seed: of what is held out and of the order.

    Raises:
        PreferenceError: fewer than 10 comparisons are decided, or a number is out of its range.
    """
    if epochs < 1 or not learning_rate > 0:
        raise PreferenceError(f"epochs is {epochs} and learning_rate {learning_rate}: both must be above 0.")
    used = [comparison for comparison in comparisons if comparison.choice != "skip"]
    fold = folds([frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in used], seed) if used else torch.zeros(0)
    seen = [c for c, number in zip(used, fold.tolist(), strict=True) if number]
    held = [c for c, number in zip(used, fold.tolist(), strict=True) if not number and c.decided]
    if sum(c.decided for c in used) < MIN_DECIDED or not held or not any(c.decided for c in seen):
        raise PreferenceError(f"A trunk is tuned to at least {MIN_DECIDED} decided comparisons: label some more.")

    reference, read = frozen.features.policy, (*frozen.features.blocks, STATES)
    fit = functools.partial(fit_reward_model, penalty=frozen.penalty, seed=seed)  # the penalty that all labels chose
    starting = Features(reference, samples, read)
    trial = _Learner(fit(starting, seen, members=0), seen, learning_rate)
    judged = [fit(frozen.features, seen, members=0).evaluate(held)]
    for epoch in range(epochs):
        trial.see(generator(seed, epoch, LABELLING, 5), epoch / epochs, 1 / epochs)
        judged.append(fit(Features(trial.copy(), samples, read), seen, members=0).evaluate(held))
    enough = min(range(len(judged)), key=lambda n: judged[n].log_loss)

    features = frozen.features
    if enough:
        learner = _Learner(fit(starting, used, members=0), used, learning_rate)
        for epoch in range(enough):
            learner.see(generator(seed, epoch, LABELLING, 5), epoch / epochs, 1 / epochs)
        features = Features(learner.copy(), samples, read)
    model = fit(features, used, members=len(frozen.members))
    return Tuned(dataclasses.replace(model, held_out=judged[enough], said=frozen.said), judged[0], enough)


class _Learner(nn.Module):
    """The copy, its head, and the labels that it sees."""

    def __init__(self, start: RewardModel, seen: Sequence[Comparison], learning_rate: float) -> None:
        super().__init__()
        self.reference = start.features.policy
        self.policy = self.reference.frozen_copy("tuned trunk")
        self.features, self.penalty = start.features, start.penalty
        for parameter in tuned_parameters(self.policy):
            parameter.requires_grad_(True)
        self.head = nn.Parameter(start.head.float())
        self.seen, self.rows = pool_of_comparisons(self.policy, seen)
        self.won = torch.tensor([{"a": 1.0, "b": 0.0}.get(c.choice, 0.5) for c in seen])
        shifts = {"params": tuned_parameters(self.policy), "rate": learning_rate}
        head = {"params": [self.head], "rate": HEAD_SHARE * learning_rate}
        self.optimiser = torch.optim.AdamW([shifts, head], weight_decay=0.01)

    def rewards(self, pool: Pool) -> Tensor:
        raw = pooled_with_gradient(self.policy, pool, self.features.blocks)
        return ((raw - self.features.mean.float()) * self.features.scale.float()).nan_to_num(nan=0.0) @ self.head

    def see(self, order: torch.Generator, done: float, share: float) -> None:
        """One epoch; ``done`` of all epochs lie behind it, and it is ``share`` of them."""
        batches = torch.randperm(len(self.rows), generator=order).split(PAIRS)
        for number, batch in enumerate(batches):
            for group in self.optimiser.param_groups:
                group["lr"] = group["rate"] * (1 - done - share * number / len(batches))
            texts, places = torch.unique(self.rows[batch], return_inverse=True)
            rewards = self.rewards(self.seen[texts.tolist()])[places]
            margins, won = rewards[:, 0] - rewards[:, 1], self.won[batch]
            loss = (won * softplus(-margins) + (1 - won) * softplus(margins)).mean()
            loss = loss + 0.5 * self.penalty / len(self.rows) * self.head @ self.head
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()

    def copy(self) -> Policy:
        """The policy as it is now, never to learn again."""
        return shifted(self.reference, shifts_of(self.policy, self.reference))
