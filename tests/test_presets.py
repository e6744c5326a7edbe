"""The presets, on the policy that ships; what each of them shows over a whole run is in ``test_presets_slow.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from explorer.config import Config, effect_of
from explorer.ppo.policy import Policy
from explorer.ppo.trainer import Trainer
from explorer.presets import LESSONS, PRESETS, RECIPES

if TYPE_CHECKING:
    from tests.conftest import RunUpdate


def test_there_are_four_lessons_and_the_first_is_the_default() -> None:
    assert list(LESSONS) == ["learn", "see_the_clip", "balanced", "hack_the_reward"]
    assert PRESETS["learn"] == Config()
    assert list(PRESETS) == [*LESSONS, *RECIPES]


@pytest.mark.parametrize("name", LESSONS)
def test_choosing_a_lesson_never_restarts_the_run(name: str) -> None:
    changed = Config().differences(PRESETS[name])
    assert all(effect_of(field) != "reset" for field in changed)


def test_a_recipe_is_what_its_paper_names() -> None:
    deltas = {
        name: {field: mine for field, (mine, _) in config.differences(Config()).items()}
        for name, config in RECIPES.items()
    }
    assert deltas["ppo_penalty"] == {"objective": "kl_penalty"}
    assert deltas["ppo_instructgpt"]["critic"] == "separate"
    assert deltas["ppo_openai_2019"]["kl_target"] == 6.0
    assert (deltas["grpo"]["estimator"], deltas["grpo"]["kl_in"]) == ("grpo", "loss")
    assert deltas["dr_grpo"]["aggregation"] == "fixed_length"
    assert (deltas["rloo"]["estimator"], deltas["rloo"]["objective"]) == ("rloo", "policy_gradient")
    assert deltas["reinforce_pp"]["estimator"] == "reinforce_pp"
    assert deltas["dapo_clip_higher"]["objective"] == "clip_higher"
    assert all("learning_rate" not in changed for changed in deltas.values())


def test_no_two_are_alike() -> None:
    flat = [tuple(sorted(config.flat().items(), key=str)) for config in PRESETS.values()]
    assert len(set(flat)) == len(flat)


def test_nobody_can_change_them() -> None:
    with pytest.raises(TypeError):
        PRESETS["learn"] = Config(gamma=0.5)  # type: ignore[index]


@pytest.mark.parametrize("name", PRESETS)
def test_two_updates_of_the_shipped_policy_pass_every_check(name: str, policy: Policy, run_update: RunUpdate) -> None:
    trainer = Trainer(policy, PRESETS[name].replace(batch_size=8, epochs=2))
    for _ in range(2):
        update = run_update(trainer)
        assert {check: holds for check, (holds, _) in update.checks.items() if not holds} == {}
        assert update.final.ratios[update.rollout.response_mask].std() > 0.01  # it did learn something
