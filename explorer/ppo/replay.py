"""Experience reuse across updates: the last N rollouts in one batch, each with its true old log-probabilities.

PPO reuses its own fresh batch for K epochs. Replaying older rollouts goes further: their ratios start away from 1,
since the policy has moved on, and their advantages are those of the time when they were sampled.

What has sampled a response stays what it was, its temperature included: the ratio is over that very distribution. The
KL to the reference compares two models at one temperature, so the reference is asked anew where that has changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from explorer.ppo.records import Credit, Rollout

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experience:
    """What an update needs of a rollout and its credit, and the update in which it was sampled.

    The whole records are not kept: their other fields are never read again, and would only take room.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (
        *("prompt_ids", "prompt_mask", "response_ids", "response_mask"),
        *("old_logprobs", "ref_logprobs", "old_values", "advantages", "returns"),
    )

    prompt_ids: Tensor  # [B, P]
    prompt_mask: Tensor  # [B, P]
    response_ids: Tensor  # [B, T]
    response_mask: Tensor  # [B, T]
    old_logprobs: Tensor  # [B, T]
    ref_logprobs: Tensor  # [B, T]
    old_values: Tensor  # [B, T]
    advantages: Tensor  # [B, T] as the objective sees them
    returns: Tensor  # [B, T]
    born: int
    temperature: float  # at which it was sampled, and at which ref_logprobs are

    @classmethod
    def of(cls, rollout: Rollout, credit: Credit, *, born: int, temperature: float) -> Experience:
        """The experience of an update's records, at the temperature of its config."""
        return cls(
            prompt_ids=rollout.prompt_ids,
            prompt_mask=rollout.prompt_mask,
            response_ids=rollout.response_ids,
            response_mask=rollout.response_mask,
            old_logprobs=rollout.old_logprobs,
            ref_logprobs=rollout.ref_logprobs,
            old_values=rollout.old_values,
            advantages=credit.whitened_advantages,
            returns=credit.returns,
            born=born,
            temperature=temperature,
        )

    @torch.no_grad()
    def at(self, temperature: float, reference: Policy) -> Experience:
        """The same experience with the reference's log-probabilities at another temperature.

        ``old_logprobs`` stay: they are those of the distribution that the tokens were drawn from.
        """
        if temperature == self.temperature:
            return self
        tokens = (self.prompt_ids, self.prompt_mask, self.response_ids, self.response_mask)
        again = reference.score_tokens(*tokens, temperature).logprobs
        return dataclasses.replace(self, ref_logprobs=again, temperature=temperature)

    def tensors(self) -> dict[str, Tensor]:
        """The nine tensors by name."""
        return {name: getattr(self, name) for name in self.FIELDS}

    @staticmethod
    def form(field: str, prompts: tuple[int, ...], tokens: tuple[int, ...]) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape and type of a field, given the prompts' shape ``[B, P]`` and the responses' ``[B, T]``."""
        shape = (*tokens[:1], *prompts[1:]) if field.startswith("prompt_") else tokens
        kind = torch.int64 if field.endswith("_ids") else torch.bool if field.endswith("_mask") else torch.float32
        return shape, kind


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
    width = max(e.prompt_ids.shape[1] for e in experiences)

    def widened(prompt: Tensor) -> Tensor:
        return pad(prompt, (width - prompt.shape[1], 0))

    def joined(parts: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(parts))

    return Batch(
        prompt_ids=joined(widened(e.prompt_ids) for e in experiences),
        prompt_mask=joined(widened(e.prompt_mask) for e in experiences),
        response_ids=joined(e.response_ids for e in experiences),
        mask=joined(e.response_mask for e in experiences),
        old_logprobs=joined(e.old_logprobs for e in experiences),
        ref_logprobs=joined(e.ref_logprobs for e in experiences),
        old_values=joined(e.old_values for e in experiences),
        advantages=joined(e.advantages for e in experiences),
        returns=joined(e.returns for e in experiences),
        ages=joined(torch.full_like(e.response_ids[:, 0], update - e.born) for e in experiences),
    )
