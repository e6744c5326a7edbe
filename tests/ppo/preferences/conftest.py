"""A pool of the bundled policy's responses, the features of it, and an annotator's labels: each made once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from explorer.config import Config
from explorer.ppo.loading import load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.comparisons import Comparison
from explorer.ppo.preferences.pool import Pool, asked_pairs, draw_pool
from explorer.ppo.preferences.standardise import Features

Label = Callable[..., list[Comparison]]


@pytest.fixture(scope="session")
def reference() -> Policy:
    torch.set_num_threads(1)
    return load_policy().frozen_copy()


@pytest.fixture(scope="session")
def pool(reference: Policy) -> Pool:
    return draw_pool(reference, "stories", Config(seed=1), 10)


@pytest.fixture(scope="session")
def other_pool(reference: Policy) -> Pool:
    return draw_pool(reference, "stories", Config(seed=2), 10)


@pytest.fixture(scope="session")
def features(reference: Policy, pool: Pool) -> Features:
    return Features(reference, pool)


@pytest.fixture(scope="session")
def label() -> Label:
    """``label(pool, rule, count, **how)``: so many decided comparisons, and the ties on the way to them."""

    def make(pool: Pool, rule: str, count: int, **how: float) -> list[Comparison]:
        return SimulatedAnnotator(rule=rule, **how).label(asked_pairs(pool, 0), decided=count)

    return make
