"""Checkpoints: the weights of earlier updates, bounded, and close enough to answer as the policy did."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.ppo.policy import Policy
from explorer.session.checkpoints import Checkpoints

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate


class OneNumber:
    """Weights that are a single number: the update they belong to."""

    def __init__(self, update: float = -1.0) -> None:
        self.update = torch.tensor([update])

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"update": self.update}

    def load_state_dict(self, weights: dict[str, torch.Tensor]) -> None:
        self.update = weights["update"]


def filled(updates: int, limit: int = 40) -> Checkpoints:
    checkpoints = Checkpoints(limit)
    for number in range(updates + 1):
        checkpoints.keep(number, OneNumber(number))  # type: ignore[arg-type]
    return checkpoints


def loaded(checkpoints: Checkpoints, update: int) -> float:
    policy = OneNumber()
    checkpoints.load_into(policy, update)  # type: ignore[arg-type]
    return policy.update.item()


def test_a_separate_critic_is_kept_and_given_back(make_tiny_policy: Callable[[], Policy]) -> None:
    policy, plain = make_tiny_policy(), make_tiny_policy()
    checkpoints = Checkpoints()
    checkpoints.keep(0, policy)
    policy.use_critic("separate")
    with torch.no_grad():
        policy.critic.ln_f.weight *= 2
        policy.lm.transformer.ln_f.weight *= 3
    checkpoints.keep(1, policy)
    other = make_tiny_policy()
    other.use_critic("separate")
    checkpoints.load_into(other, 1)
    for name, tensor in policy.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-3, atol=1e-3, msg=name)
    # A policy without one takes the rest, and one from before there was one leaves the critic as it is.
    checkpoints.load_into(plain, 1)
    torch.testing.assert_close(plain.lm.transformer.ln_f.weight, policy.lm.transformer.ln_f.weight)
    checkpoints.load_into(other, 0)
    torch.testing.assert_close(other.critic.ln_f.weight, policy.critic.ln_f.weight)
    torch.testing.assert_close(other.lm.transformer.ln_f.weight, policy.lm.transformer.ln_f.weight / 3)


def test_each_update_gives_back_its_own_weights() -> None:
    checkpoints = filled(9)
    assert checkpoints.updates == list(range(10))
    assert [loaded(checkpoints, n) for n in (7, 0, 9, 7)] == [7, 0, 9, 7]


@settings(deadline=None)
@given(limit=st.integers(4, 40), updates=st.integers(0, 150))
def test_they_are_bounded_and_keep_both_ends(limit: int, updates: int) -> None:
    checkpoints = filled(updates, limit)
    kept = checkpoints.updates
    assert len(kept) <= limit
    assert kept[0] == 0  # the reference
    assert kept[-1] == updates
    assert kept == sorted(kept)
    assert [loaded(checkpoints, n) for n in kept] == kept


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_smallest_limits_are_limits_too(limit: int) -> None:
    kept = filled(12, limit).updates
    assert len(kept) <= limit
    assert kept[-1] == 12


def test_weights_that_are_gone_name_the_nearest() -> None:
    checkpoints = filled(100, limit=8)
    kept = checkpoints.updates
    gone = next(n for n in range(1, 100) if n not in kept)
    with pytest.raises(ValueError, match=f"weights of update {gone} are no longer kept: the nearest kept") as refused:
        loaded(checkpoints, gone)
    named = int(str(refused.value).rstrip(".").split()[-1])
    assert named in kept
    assert abs(named - gone) == min(abs(n - gone) for n in kept)


def test_an_empty_store_says_so() -> None:
    with pytest.raises(ValueError, match="none are kept"):
        loaded(Checkpoints(), 0)


def test_a_run_that_begins_again_forgets_what_came_after() -> None:
    checkpoints = filled(9)
    checkpoints.keep(4, OneNumber(44))  # type: ignore[arg-type]
    assert checkpoints.updates == [0, 1, 2, 3, 4]
    assert loaded(checkpoints, 4) == 44
    checkpoints.clear()
    assert checkpoints.updates == []


def test_what_is_kept_does_not_follow_the_living() -> None:
    checkpoints, policy = Checkpoints(), OneNumber(1)
    checkpoints.keep(1, policy)  # type: ignore[arg-type]
    policy.update += 5
    assert loaded(checkpoints, 1) == 1


def test_an_earlier_policy_answers_as_it_did(
    make_trainer: MakeTrainer, run_update: RunUpdate, make_tiny_policy: Callable[[], Policy]
) -> None:
    trainer, checkpoints = make_trainer(), Checkpoints()
    said = []
    for number in range(3):
        checkpoints.keep(number, trainer.policy)
        said.append(trainer.policy.text_logprobs(["The cat saw a big dog."])[0].item())
        run_update(trainer)
    assert len({round(s, 2) for s in said}) == 3
    scratch = make_tiny_policy()
    for number in (2, 0, 1):
        checkpoints.load_into(scratch, number)
        assert {p.dtype for p in scratch.parameters()} == {torch.float32}
        # half precision costs three digits
        assert scratch.text_logprobs(["The cat saw a big dog."])[0].item() == pytest.approx(said[number], abs=0.02)
