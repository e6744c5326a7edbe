"""Experience reuse across updates: the last N rollouts in one batch, each with its true old log-probabilities.

PPO reuses its own fresh batch for K epochs. Replaying older rollouts goes further: their ratios start away from 1,
since the policy has moved on, and their advantages are those of the time when they were sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from explorer.ppo.records import Credit, Rollout


class Experience(NamedTuple):
    """A rollout, its credit, and the update in which it was sampled."""

    rollout: Rollout
    credit: Credit
    born: int


class Batch(NamedTuple):
    """The rows that an update optimises over: the fresh ones first, then the replayed ones."""

    prompt_ids: Tensor  # [rows, P]
    prompt_mask: Tensor  # [rows, P]
    response_ids: Tensor  # [rows, T]
    mask: Tensor  # [rows, T]
    old_logprobs: Tensor  # [rows, T]
    ref_logprobs: Tensor  # [rows, T]
    old_values: Tensor  # [rows, T]
    advantages: Tensor  # [rows, T] as the objective sees them
    returns: Tensor  # [rows, T]
    ages: Tensor  # [rows] updates since the row was sampled

    @property
    def rows(self) -> int:
        """How many responses the batch holds."""
        return int(self.mask.shape[0])

    def take(self, rows: Tensor) -> Batch:
        """Some of the rows."""
        return Batch(*(tensor[rows] for tensor in self))


def reuse(replay: Iterable[Experience], count: int) -> list[Experience]:
    """The ``count`` newest experiences, newest first."""
    return list(islice(replay, count))


def join(experiences: Sequence[Experience], update: int) -> Batch:
    """One batch out of several experiences; prompts of different lengths are padded on the left.

    Args:
        experiences: the fresh one first.
        update: the number of the update that is about to optimise, from which ages are counted.
    """
    width = max(e.rollout.prompt_ids.shape[1] for e in experiences)

    def widened(prompt: Tensor) -> Tensor:
        return pad(prompt, (width - prompt.shape[1], 0))

    def joined(parts: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(parts))

    return Batch(
        prompt_ids=joined(widened(e.rollout.prompt_ids) for e in experiences),
        prompt_mask=joined(widened(e.rollout.prompt_mask) for e in experiences),
        response_ids=joined(e.rollout.response_ids for e in experiences),
        mask=joined(e.rollout.response_mask for e in experiences),
        old_logprobs=joined(e.rollout.old_logprobs for e in experiences),
        ref_logprobs=joined(e.rollout.ref_logprobs for e in experiences),
        old_values=joined(e.rollout.old_values for e in experiences),
        advantages=joined(e.credit.whitened_advantages for e in experiences),
        returns=joined(e.credit.returns for e in experiences),
        ages=joined(torch.full_like(e.rollout.groups, update - e.born) for e in experiences),
    )
