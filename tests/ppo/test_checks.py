"""The check-lights: all green on a correct update, and each red when the thing that it watches is broken."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from explorer.config import CHOICES, Config
from explorer.ppo.checks import CHECKS, check_update, first_minibatch
from explorer.ppo.records import Epoch, Update

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

#: GAE with lambda = 1, so that every check applies in the first update.
CONFIG = Config(
    batch_size=8,
    response_length=6,
    epochs=2,
    stop_sentences=1,
    gae_lambda=1.0,
    kl_coef=0.1,
    weights={"length": 1.0},
)


@pytest.fixture(scope="module")
def update(make_trainer: MakeTrainer, run_update: RunUpdate) -> Update:
    return run_update(make_trainer(CONFIG))


@pytest.fixture(scope="module")
def second(make_trainer: MakeTrainer, run_update: RunUpdate) -> Update:
    """An update in which the policy has left the reference."""
    trainer = make_trainer(CONFIG.replace(learning_rate=1e-2))
    run_update(trainer)
    return run_update(trainer)


def check(update: Update, **changes: Any) -> dict[str, tuple[bool, float]]:
    """The checks of an update, with some of what they see replaced."""
    rollout, credit = update.rollout, update.credit
    seen = {
        "config": CONFIG,
        "rollout": dataclasses.replace(rollout, **{k: v for k, v in changes.items() if hasattr(rollout, k)}),
        "credit": dataclasses.replace(credit, **{k: v for k, v in changes.items() if hasattr(credit, k)}),
        "first_ratios": torch.ones(9),
        "update": update.update,
        "steps": 2,
        "expected": 2,
        "bf16": False,
    }
    seen |= {name: value for name, value in changes.items() if name in seen}
    arguments = {name: seen[name] for name in ("config", "rollout", "credit", "first_ratios")}
    return check_update(*arguments.values(), **{name: seen[name] for name in ("update", "steps", "expected", "bf16")})


def red(found: dict[str, tuple[bool, float]]) -> set[str]:
    return {name for name, (holds, _) in found.items() if not holds}


def test_all_are_green_on_a_correct_update(update: Update, second: Update) -> None:
    assert set(check(update)) == set(CHECKS) - {"zero_gradient"}  # which needs the final epoch
    assert red(check(update)) == set()
    assert set(check(second)) == set(CHECKS) - {
        "first_kl",
        "zero_gradient",
    }  # only the first update starts from the reference
    assert red(check(second)) == set()


def test_those_that_do_not_apply_are_not_shown(update: Update) -> None:
    assert "whitened" not in check(update, config=CONFIG.replace(whiten=False))
    for changes in ({"gae_lambda": 0.9}, {"gamma": 0.9}, {"estimator": "one_step_td"}):
        assert "monte_carlo" not in check(update, config=CONFIG.replace(**changes))


def _nudged(array: Tensor, amount: float) -> Tensor:
    """The array with one number of a token that counts moved."""
    moved = array.clone()
    moved[(0, 0) if moved.ndim > 1 else 0] += amount
    return moved


BREAKS: dict[str, Callable[[Update], dict[str, Any]]] = {
    "first_ratio": lambda u: {"first_ratios": torch.tensor([1.0, 1.0001, 1.0])},
    "first_kl": lambda u: {"ref_logprobs": _nudged(u.rollout.ref_logprobs, -0.001)},
    "whitened": lambda u: {"whitened_advantages": u.credit.advantages * 3},
    "reward_sum": lambda u: {"rewards": _nudged(u.credit.rewards, 0.01), "returns": _nudged(u.credit.returns, 0.01)},
    "monte_carlo": lambda u: {"returns": _nudged(u.credit.returns, 0.01)},
    "stop_counts": lambda u: {"stopped": torch.zeros_like(u.rollout.stopped)},
    "optimiser_steps": lambda u: {"steps": 1},
}


@pytest.mark.parametrize("name", BREAKS)
def test_each_turns_red_alone_when_its_own_thing_is_broken(name: str, update: Update) -> None:
    assert red(check(update, **BREAKS[name](update))) == {name}


def test_in_bf16_the_two_that_compare_forwards_have_a_wider_bound(update: Update) -> None:
    for off, broken in ((0.05, set()), (0.15, {"first_ratio", "first_kl"})):
        ratios, ref = torch.tensor([1.0, 1 - off]), _nudged(update.rollout.ref_logprobs, -off)
        assert red(check(update, first_ratios=ratios, ref_logprobs=ref, bf16=True)) - {"reward_sum"} == broken
        assert red(check(update, first_ratios=ratios, ref_logprobs=ref)) >= {"first_ratio", "first_kl"}


def test_every_check_has_been_broken() -> None:
    assert set(BREAKS) | {"kl_positive", "zero_gradient"} == set(CHECKS)


def with_final(update: Update, final: Epoch) -> tuple[bool, float]:
    """The check of who gets no gradient, on some final epoch."""
    seen = (CONFIG, update.rollout, update.credit, torch.ones(9))
    return check_update(*seen, update=update.update, steps=2, expected=2, final=final)["zero_gradient"]


def test_a_clip_that_holds_back_the_wrong_tokens_is_seen(second: Update) -> None:
    assert with_final(second, second.final) == (True, 0.0)
    held = second.final.zero_gradient
    assert held.any(), "the second update has to clip something for this test to say anything"
    holds, differing = with_final(second, dataclasses.replace(second.final, zero_gradient=torch.zeros_like(held)))
    assert (holds, differing) == (False, float(held.sum()))
    flipped = dataclasses.replace(second.final, advantages=-second.final.advantages)  # the sign lost
    assert not with_final(second, flipped)[0]


def test_the_clips_rule_is_claimed_for_the_clip_only(second: Update) -> None:
    for name in CHOICES["objective"]:
        seen = (CONFIG.replace(objective=name), second.rollout, second.credit, torch.ones(9))
        found = check_update(*seen, update=second.update, steps=2, expected=2, final=second.final)
        assert ("zero_gradient" in found) is (name == "clip")


@pytest.mark.parametrize("name", CHOICES["objective"])
def test_all_are_green_whatever_the_objective(name: str, make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(CONFIG.replace(objective=name, learning_rate=1e-2, kl_target=0.1, replay_rollouts=2))
    for _ in range(3):
        assert red(dict(run_update(trainer).checks)) == set()


def test_a_reward_that_pays_for_the_kl_twice_is_seen(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    config = CONFIG.replace(kl_in="loss", learning_rate=1e-2)
    trainer = make_trainer(config)
    run_update(trainer)
    found = run_update(trainer)
    assert red(found.checks) == set()
    assert "zero_gradient" not in found.checks  # what the clip holds back, the KL in the loss still pulls
    assert red(check(found, config=config)) == set()
    paid = dataclasses.replace(found.credit, rewards=found.credit.rewards - 0.1 * found.credit.ref_kl)
    assert "reward_sum" in red(check(found, config=config, rewards=paid.rewards))
    assert "reward_sum" in red(check(found))  # and a reward without it where the config puts it there


@pytest.mark.parametrize("kl_in", CHOICES["kl_in"])
def test_whitened_rewards_are_checked_up_to_their_scale(
    kl_in: str, make_trainer: MakeTrainer, run_update: RunUpdate
) -> None:
    config = CONFIG.replace(whiten_rewards=True, kl_in=kl_in, learning_rate=1e-2)
    trainer = make_trainer(config)
    run_update(trainer)
    found = run_update(trainer)
    assert red(found.checks) == set()
    assert "reward_sum" in red(check(found, config=config.replace(whiten_rewards=False)))
    credit, mask = found.credit, found.rollout.response_mask
    twice = torch.where(mask, credit.rewards * 2, 0.0)
    shifted = torch.where(mask, credit.rewards + 0.1, 0.0)  # as where the mean is not kept
    wrong = torch.where(mask, credit.rewards + 0.5 * credit.ref_kl, 0.0)
    for rewards in (twice, shifted, wrong, -credit.rewards, _nudged(credit.rewards, 0.01)):
        assert "reward_sum" in red(check(found, config=config, rewards=rewards))


def test_whitened_rewards_that_are_all_alike_give_no_alarm(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    nothing = CONFIG.replace(whiten_rewards=True, weights={"length": 0.0})
    assert red(run_update(make_trainer(nothing)).checks) == set()


def test_the_return_minus_the_value_is_checked_too(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    config = CONFIG.replace(estimator="monte_carlo_value", gae_lambda=0.5)
    found = run_update(make_trainer(config))
    assert found.checks["monte_carlo"][0]
    assert "monte_carlo" in red(check(found, config=config, returns=_nudged(found.credit.returns, 0.1)))
    assert "monte_carlo" not in check(found, config=CONFIG.replace(gae_lambda=0.5))


def test_a_stop_left_out_of_the_mask_is_seen(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    update = run_update(make_trainer(CONFIG))
    stops = torch.zeros(int(update.rollout.response_ids.max()) + 1, dtype=torch.bool)
    rollout = dataclasses.replace(update.rollout, stopped=torch.ones_like(update.rollout.stopped))
    seen = (CONFIG, rollout, update.credit, torch.ones(9))
    rows = len(rollout.stopped)
    found = check_update(*seen, update=1, steps=2, expected=2, stops=stops)["stop_counts"]
    assert found == (False, float(rows))
    found = check_update(*seen, update=1, steps=2, expected=2, stops=~stops)["stop_counts"]
    assert found == (True, 0.0)


def test_a_negative_kl_estimator_turns_its_light_red(second: Update, monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.ppo.metrics import KL_ESTIMATORS

    monkeypatch.setitem(KL_ESTIMATORS, "k3", lambda log_ratios: (-log_ratios).exp() - 1 - log_ratios)  # a wrong sign
    assert red(check(second)) == {"kl_positive"}


@pytest.mark.parametrize("shift", [0.01, -0.01])
def test_whitening_with_the_wrong_mean_is_seen(update: Update, shift: float) -> None:
    shifted = torch.where(update.rollout.response_mask, update.credit.whitened_advantages + shift, 0.0)
    assert red(check(update, whitened_advantages=shifted)) == {"whitened"}


@pytest.mark.parametrize("scale", [1.01, 0.99])
def test_whitening_to_the_wrong_deviation_is_seen(update: Update, scale: float) -> None:
    assert red(check(update, whitened_advantages=update.credit.whitened_advantages * scale)) == {"whitened"}


def test_whitening_over_the_padding_too_is_seen(update: Update) -> None:
    advantages = update.credit.advantages
    careless = (advantages - advantages.mean()) / advantages.std()
    assert red(check(update, whitened_advantages=careless * update.rollout.response_mask)) == {"whitened"}


def test_where_all_advantages_are_equal_there_is_nothing_to_whiten_and_no_alarm(update: Update) -> None:
    # Every response got the same score, as when all weights are 0: what is whitened is 0 everywhere.
    equal, none = torch.where(update.rollout.response_mask, 0.25, 0.0), torch.zeros_like(update.credit.advantages)
    assert "whitened" not in red(check(update, advantages=equal, whitened_advantages=none))


@pytest.mark.parametrize("size", [1e-5, 1e-4, 1e-3])
def test_whitening_leaves_small_advantages_small_and_no_alarm(update: Update, size: float) -> None:
    """By Python's own statistics: 1e-8 under the root leaves sd / sqrt(sd^2 + 1e-8) of a deviation."""
    mask = update.rollout.response_mask
    small = update.credit.advantages * size
    values = small[mask].double().tolist()
    scale = (statistics.variance(values) + 1e-8) ** 0.5
    mean = statistics.mean(values)
    whitened = torch.zeros_like(small)
    whitened[mask] = torch.tensor([(value - mean) / scale for value in values])
    assert statistics.stdev(whitened[mask].tolist()) < 0.999
    assert "whitened" not in red(check(update, advantages=small, whitened_advantages=whitened))
    assert "whitened" in red(check(update, advantages=small, whitened_advantages=whitened * 1.1 + 0.01 * mask))


def test_a_ratio_that_has_become_0_has_no_gradient_on_either_side_and_no_alarm(second: Update) -> None:
    ratios, flat, advantages = (
        tensor.clone() for tensor in (second.final.ratios, second.final.zero_gradient, second.final.advantages)
    )
    for row, sign in ((0, 1), (1, -1)):
        advantages[row, 0], ratios[row, 0], flat[row, 0] = sign, 0.0, True
    final = dataclasses.replace(second.final, ratios=ratios, zero_gradient=flat, advantages=advantages)
    assert with_final(second, final) == (True, 0.0)


def test_a_penalty_of_the_wrong_sign_is_seen(second: Update) -> None:
    credit = second.credit
    wrong = credit.rewards + 2 * CONFIG.kl_coef * credit.ref_kl
    assert "reward_sum" in red(check(second, rewards=wrong))


def test_a_score_on_the_padding_is_seen(update: Update) -> None:
    rewards, mask = update.credit.rewards.clone(), update.rollout.response_mask
    short = int(((mask.sum(1) < 6) & (update.credit.scores != 0)).nonzero()[0])
    last = int(mask[short].sum()) - 1
    rewards[short, last + 1] = rewards[short, last]
    rewards[short, last] = 0.0
    assert "reward_sum" in red(check(update, rewards=rewards))


def test_an_empty_response_is_seen(update: Update) -> None:
    mask = update.rollout.response_mask.clone()
    mask[0] = False
    assert "stop_counts" in red(check(update, response_mask=mask))


def test_the_measured_numbers_are_shown(update: Update) -> None:
    found = check(update, first_ratios=torch.tensor([0.9, 1.05]), steps=3, expected=8)
    assert found["first_ratio"] == (False, pytest.approx(0.1))
    assert found["optimiser_steps"] == (False, 3.0)


def test_without_fresh_rows_in_the_first_minibatch_nothing_is_claimed(update: Update) -> None:
    assert check(update, first_ratios=torch.zeros(0))["first_ratio"] == (True, 0.0)


def test_first_minibatch_takes_fresh_rows_and_tokens_that_count() -> None:
    ratios = torch.arange(12.0).view(4, 3)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 1]], dtype=torch.bool)
    # Rows 0 and 1 are fresh; row 3 was replayed, and its ratio has every right not to be 1.
    assert first_minibatch(ratios, torch.tensor([3, 1, 0]), mask, fresh=2).tolist() == [3.0, 0.0, 1.0]
    assert first_minibatch(ratios, torch.tensor([3, 2]), mask, fresh=2).tolist() == []
