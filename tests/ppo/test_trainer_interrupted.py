"""An update that fails or is given up half way leaves everything as it was before it."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import pytest
from torch import Tensor

from explorer.config import Config
from explorer.ppo.objectives import OBJECTIVES
from explorer.ppo.rewards import RewardError
from tests.ppo.comparing import assert_equal, same, weights

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate


SMALL: dict[str, Any] = {
    **{"batch_size": 8, "group_size": 2, "response_length": 6, "epochs": 3},
    **{"learning_rate": 1e-3, "stop_sentences": 1},
}
CONFIGS = {
    "default": Config(**SMALL),
    "early stop": Config(**SMALL, target_kl=1e-4),
    "minibatches": Config(**SMALL, minibatches=3),
    "replay": Config(**SMALL, replay_rollouts=2),
    "separate critic, adaptive KL": Config(**SMALL, critic="separate", kl_target=0.5, kl_horizon=8),
    "PPO-penalty": Config(**SMALL, objective="kl_penalty", penalty_target=0.001),
    "linear rate, dropout": Config(**SMALL, lr_schedule="linear", lr_decay_updates=9, dropout_on=True),
    "ReMax, frozen critic": Config(**SMALL, estimator="remax", freeze_critic=True),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_closing_at_any_stage_leaves_everything_as_it_was(
    name: str, make_trainer: MakeTrainer, run_update: RunUpdate
) -> None:
    broken, whole = make_trainer(CONFIGS[name]), make_trainer(CONFIGS[name])
    run_update(broken)
    run_update(whole)
    before, stopped = broken.state(), []
    while True:  # the update is begun again and again, and each time given up a stage later
        stages = broken.stages()
        taken = [next(stages) for _ in range(len(stopped) + 1)]
        if taken[-1].name == "done":
            break
        stages.close()  # type: ignore[attr-defined]  # a generator
        stopped.append((taken[-1].name, taken[-1].epoch))
        after = broken.state()
        assert same(after.tensors, before.tensors), stopped[-1]  # weights, Adam's moments, the replayed rollouts
        assert dataclasses.replace(after, tensors={}) == dataclasses.replace(before, tensors={}), stopped[-1]
    epochs = taken[-1].epoch
    assert stopped == [
        *((stage, 0) for stage in ("sample", "score", "shape", "advantage")),
        *(("epoch", epoch) for epoch in range(1, epochs + 1)),
    ]
    assert epochs < 3 if name == "early stop" else epochs == 3
    # What then goes through is the update of an unbroken run, and so is the next one.
    assert_equal(taken[-1].update, run_update(whole))
    assert_equal(run_update(broken), run_update(whole))


def test_an_update_that_is_done_stays_done(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    # Whoever takes stages one by one stops at "done" and lets the generator go.
    stepped, drained = make_trainer(), make_trainer()
    stages = stepped.stages()
    while next(stages).name != "done":
        pass
    stages.close()  # type: ignore[attr-defined]
    run_update(drained)
    assert same(weights(stepped.policy), weights(drained.policy))
    assert stepped.updates == 1
    assert_equal(run_update(stepped), run_update(drained))


def test_a_reward_that_raises_changes_nothing(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    broken = False

    def picky(prompts: list[str], responses: list[str]) -> list[float]:
        if broken:
            raise ZeroDivisionError("no luck")
        return [float(len(response)) for response in responses]

    config = Config(batch_size=8, response_length=6, epochs=2, weights={"picky": 0.1})
    trainer, whole = (make_trainer(config, rewards={"picky": picky}) for _ in range(2))
    run_update(trainer)
    before = weights(trainer.policy)
    broken = True
    with pytest.raises(RewardError, match="picky"):
        run_update(trainer)
    assert same(weights(trainer.policy), before)
    assert trainer.updates == 1
    broken = False
    run_update(whole)
    assert_equal(run_update(trainer), run_update(whole))


@pytest.mark.parametrize("answer", [[math.nan] * 8, [1.0] * 7, None, ["good"] * 8], ids=str)
def test_a_reward_that_gives_no_numbers_is_named(answer: Any, make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(rewards={"mine": lambda prompts, responses: answer})
    with pytest.raises(RewardError, match="'mine'"):
        run_update(trainer)
    assert trainer.updates == 0


def test_a_loss_that_is_no_number_takes_the_update_back(
    make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, whole = make_trainer(), make_trainer()
    run_update(trainer)
    before = weights(trainer.policy)

    def poisoned(log_ratios: Tensor, advantages: Tensor, config: Config, mask: Tensor | None = None) -> Tensor:
        # Fine while every ratio is 1, so the first epoch takes its step; the second one meets it.
        terms: Tensor = log_ratios.exp() * advantages
        return terms if bool((log_ratios.abs() < 1e-6).all()) else terms * math.nan

    with monkeypatch.context() as patched:
        patched.setitem(OBJECTIVES, "clip", poisoned)
        with pytest.raises(FloatingPointError, match="no longer a number"):
            run_update(trainer)
    assert same(weights(trainer.policy), before)
    assert trainer.updates == 1
    run_update(whole)
    assert_equal(run_update(trainer), run_update(whole))
