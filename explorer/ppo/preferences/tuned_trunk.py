"""A reward model with a trunk of its own: a copy of the frozen reference, tuned to the labels.

The copy starts where the frozen model ends, with its head, so that nothing that was learnt is lost. First it sees the
labels that are not held out, a few times over, in AdamW steps; how often is best, not at all among the answers, the
held-out labels say. Then another copy sees all labels so often. The held-out numbers are those of the first copy, and a
hair too good, by a choice among few.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.cross_validation import FOLDS, folds
from explorer.ppo.preferences.features import pooled_with_gradient
from explorer.ppo.preferences.pool import Pool, pool_of_comparisons
from explorer.ppo.preferences.reward_model import RewardModel, fit_reward_model
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.sampling import generator
from explorer.ppo.streams import LABELLING

#: Comparisons in one step.
PAIRS = 16

#: The fewest decided comparisons of which a fifth can be held out.
MIN_DECIDED = 2 * FOLDS


def tune(
    frozen: RewardModel,
    samples: Pool,
    comparisons: Sequence[Comparison],
    *,
    epochs: int = 4,
    learning_rate: float = 5e-4,
    seed: int = 0,
) -> RewardModel:
    """Tune a copy of the trunk that a reward model reads, and fit its head anew on top.

    Ties count as half a comparison won and half one lost while the trunk is tuned.

    Args:
        frozen: a model that was fitted to these comparisons; gives the blocks, the penalty and the number of members.
        samples: the reference's own, by which scores are measured.
        comparisons: as for ``fit_reward_model``; a fifth of the pairs is held out at first.
        epochs: how often each label is seen at most, from 1.
        learning_rate: AdamW's, falling to 0 in a line.
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

    trial = _Learner(_start(frozen, seen, seed), seen, learning_rate)
    copies, losses = [frozen.features.policy], [trial.loss(held)]
    for epoch in range(epochs):
        trial.see(generator(seed, epoch, LABELLING, 5), epoch / epochs, 1 / epochs)
        copies.append(trial.copy())
        losses.append(trial.loss(held))
    enough = losses.index(min(losses))
    judged = _refit(copies[enough], frozen, samples, seen, seed).evaluate(held)

    learner = _Learner(_start(frozen, used, seed), used, learning_rate)
    for epoch in range(enough):
        learner.see(generator(seed, epoch, LABELLING, 5), epoch / epochs, 1 / epochs)
    tuned = learner.copy() if enough else frozen.features.policy
    return dataclasses.replace(_refit(tuned, frozen, samples, used, seed), held_out=judged, said=frozen.said)


def _start(frozen: RewardModel, seen: Sequence[Comparison], seed: int) -> RewardModel:
    """The head that the frozen trunk has for these comparisons alone."""
    return fit_reward_model(frozen.features, seen, penalty=frozen.penalty, members=0, seed=seed)


def _refit(policy: Policy, frozen: RewardModel, samples: Pool, seen: Sequence[Comparison], seed: int) -> RewardModel:
    """A head on a policy's states, with the frozen model's penalty."""
    features = Features(policy, samples, frozen.features.blocks)
    return fit_reward_model(features, seen, penalty=frozen.penalty, members=len(frozen.members), seed=seed)


class _Learner(nn.Module):
    """The copy, its head, and the labels that it sees."""

    def __init__(self, start: RewardModel, seen: Sequence[Comparison], learning_rate: float) -> None:
        super().__init__()
        self.policy = start.features.policy.frozen_copy("tuned trunk")
        self.features, self.rate, self.penalty = start.features, learning_rate, start.penalty
        # Words and places stay what they are: most words of the language are in no label.
        for block in (*self.policy.lm.transformer.h, self.policy.lm.transformer.ln_f):
            block.requires_grad_(True)
        self.head = nn.Parameter(start.head.float())
        self.seen, self.rows = pool_of_comparisons(self.policy, seen)
        self.won = torch.tensor([{"a": 1.0, "b": 0.0}.get(c.choice, 0.5) for c in seen])
        self.optimiser = torch.optim.AdamW(
            [p for p in self.parameters() if p.requires_grad], lr=learning_rate, weight_decay=0.01
        )

    def rewards(self, pool: Pool) -> Tensor:
        raw = pooled_with_gradient(self.policy, pool, self.features.blocks)
        return ((raw - self.features.mean.float()) * self.features.scale.float()).nan_to_num(nan=0.0) @ self.head

    def see(self, order: torch.Generator, done: float, share: float) -> None:
        """One epoch; ``done`` of all epochs lie behind it, and it is ``share`` of them."""
        batches = torch.randperm(len(self.rows), generator=order).split(PAIRS)
        for number, batch in enumerate(batches):
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * (1 - done - share * number / len(batches))
            texts, places = torch.unique(self.rows[batch], return_inverse=True)
            rewards = self.rewards(self.seen[texts.tolist()])[places]
            margins, won = rewards[:, 0] - rewards[:, 1], self.won[batch]
            loss = (won * softplus(-margins) + (1 - won) * softplus(margins)).mean()
            loss = loss + 0.5 * self.penalty / len(self.rows) * self.head @ self.head
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()

    @torch.no_grad()
    def loss(self, held: Sequence[Comparison]) -> float:
        """Mean of −log P(the chosen one wins) over decided comparisons."""
        pool, rows = pool_of_comparisons(self.policy, held)
        rewards = self.rewards(pool)[rows]
        sign = torch.tensor([1.0 if c.choice == "a" else -1.0 for c in held])
        return float(softplus(-sign * (rewards[:, 0] - rewards[:, 1])).mean())

    def copy(self) -> Policy:
        """The policy as it is now, never to learn again."""
        made = copy.deepcopy(self.policy)
        for parameter in made.parameters():
            parameter.requires_grad_(False).grad = None
        return made
