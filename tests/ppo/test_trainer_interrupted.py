"""An update that fails or is given up half way leaves everything as it was before it."""

from __future__ import annotations

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


@pytest.mark.parametrize("stage_name", ["sample", "score", "shape", "advantage", "epoch"])
def test_closing_half_way_leaves_everything_as_it_was(
    stage_name: str, make_trainer: MakeTrainer, run_update: RunUpdate
) -> None:
    config = Config(batch_size=8, response_length=6, epochs=2, replay_rollouts=2)
    broken, whole = make_trainer(config), make_trainer(config)
    for trainer in (broken, whole):
        run_update(trainer)
    before = weights(broken.policy)

    stages = broken.stages()
    for stage in stages:
        if stage.name == stage_name:
            break
    stages.close()  # type: ignore[attr-defined]  # a generator
    assert same(weights(broken.policy), before)
    assert broken.updates == 1
    # Adam's moments and the replayed rollouts are back as well: the next update is the one of an unbroken run.
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
