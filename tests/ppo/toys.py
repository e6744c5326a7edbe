"""Toys that several tests look at."""

from __future__ import annotations

import dataclasses
import functools

import torch
from torch import Tensor

from explorer.ppo.exact import Toy

ARTICLE = Toy()


@functools.cache
def random_toy(vocabulary: int = 12) -> Toy:
    """Every sentence can occur, and none so rarely that 160,000 draws would miss it."""
    return Toy.random(3, vocabulary, spread=0.3)


def article_with_any_rewards() -> Toy:
    """Words that cannot follow, as in the article's toy, but no two sentences of the same reward."""
    return dataclasses.replace(ARTICLE, rewards=random_toy().rewards)


def direction_in(toy: Toy, seed: int) -> Tensor:
    return torch.randn(toy.old_logits.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
