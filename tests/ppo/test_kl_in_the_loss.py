"""The KL in the loss: which way each estimator pulls, over a whole vocabulary and against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from explorer.config import Config
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.objectives import optimised_terms

REFERENCE = Categorical(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))


@pytest.fixture
def logits() -> Tensor:
    """The policy's, over four words."""
    return torch.tensor([0.7, -0.2, 0.4, -1.1], dtype=torch.float64, requires_grad=True)


def penalties(name: str, log_ratios: Tensor, to_ref: Tensor) -> Tensor:
    """What the loss is charged for each token, where no token has an advantage."""
    config = Config(kl_in="loss", kl_estimator=name, kl_coef=1.0)
    tokens = log_ratios[None], torch.zeros_like(log_ratios)[None], torch.ones_like(log_ratios, dtype=torch.bool)[None]
    return -optimised_terms(*tokens, config, to_ref[None])[0]


def average_pull(name: str, logits: Tensor, sampler: Tensor) -> Tensor:
    """The gradient of the penalty, each word as often as the policy that samples writes it."""
    policy, old = Categorical(logits=logits), Categorical(probs=sampler)
    charged = penalties(name, policy.logits - old.logits, policy.logits - REFERENCE.logits)
    (found,) = torch.autograd.grad((old.probs * charged).sum(), logits)
    return found


def slope_of(value: Tensor, logits: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(value, logits)
    return found


def meant(logits: Tensor) -> dict[str, Tensor]:
    """Which gradient each estimator's is at the first step."""
    policy = Categorical(logits=logits)
    return {
        "k1": torch.zeros(4, dtype=torch.float64),
        "k2": slope_of(kl_divergence(policy, REFERENCE), logits),
        "k3": slope_of(kl_divergence(REFERENCE, Categorical(logits=logits)), logits),
    }


def test_at_the_first_step_each_estimator_pulls_its_own_way(logits: Tensor) -> None:
    expected = meant(logits)
    assert set(expected) == set(KL_ESTIMATORS)
    for name, gradient in expected.items():
        found = average_pull(name, logits, logits.detach().softmax(0))
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-12)
    assert expected["k2"].norm() > 0.1 and expected["k3"].norm() > 0.1
    assert not torch.allclose(expected["k2"], expected["k3"], atol=0.05)


def test_once_the_policy_has_moved_on_none_does(logits: Tensor) -> None:
    moved_on = torch.tensor([0.25, 0.25, 0.25, 0.25], dtype=torch.float64)  # who has sampled is no longer the policy
    for name, gradient in meant(logits).items():
        assert (average_pull(name, logits, moved_on) - gradient).norm() > 0.05, name


@pytest.mark.parametrize("name", KL_ESTIMATORS)
@given(to_ref=st.floats(-3.0, 3.0), moved=st.floats(-0.5, 0.5))
def test_the_pull_of_a_token_is_the_slope_of_what_it_is_charged(name: str, to_ref: float, moved: float) -> None:
    at, step = torch.zeros(1, dtype=torch.float64, requires_grad=True), 1e-6
    (found,) = torch.autograd.grad(penalties(name, at + moved, at + to_ref).sum(), at)
    with torch.no_grad():
        above, below = (penalties(name, at + moved + s, at + to_ref + s).sum() for s in (step, -step))
    assert found.item() == pytest.approx(((above - below) / (2 * step)).item(), abs=1e-6)


def test_a_single_token_by_hand() -> None:
    # Log pi - log ref = 0.5: k1 pulls with 1, k2 with 0.5, k3 with 1 - e^-0.5 = 0.393469.
    for name, pull in {"k1": 1.0, "k2": 0.5, "k3": 0.393469}.items():
        at = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(penalties(name, at - 0.5, at).sum(), at)
        assert found.item() == pytest.approx(pull, abs=1e-6)
