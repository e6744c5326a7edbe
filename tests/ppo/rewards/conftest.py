"""Hand-made batches of responses, and the bundled policy as the reference."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from explorer.config import Config
from explorer.ppo.loading import load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.rewards import Responses


@pytest.fixture(scope="session")
def reference() -> Policy:
    torch.set_num_threads(1)
    return load_policy().frozen_copy()


@pytest.fixture(scope="session")
def batch_of(reference) -> Callable[..., Responses]:
    """Build a batch from what a component reads; the rest is filled with zeros and empty texts."""

    def build(*, ids=None, mask=None, ref_logprobs=None, texts=None, prompts=None, **config) -> Responses:
        given = next(x for x in (ids, mask, ref_logprobs, [[0]] * len(texts or [])) if x is not None)
        shape = torch.as_tensor(given).shape
        return Responses(
            prompts=prompts or [""] * shape[0],
            texts=texts or [""] * shape[0],
            ids=torch.as_tensor(ids) if ids is not None else torch.zeros(shape, dtype=torch.long),
            mask=torch.as_tensor(mask) if mask is not None else torch.ones(shape, dtype=torch.bool),
            ref_logprobs=torch.as_tensor(ref_logprobs) if ref_logprobs is not None else torch.zeros(shape),
            reference=reference,
            config=Config(**config),
        )

    return build
