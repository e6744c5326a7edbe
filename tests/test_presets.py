"""The presets, on the policy that ships; what each of them shows over a whole run is in ``test_presets_slow.py``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from explorer.config import Config, effect_of
from explorer.ppo.metrics import METRICS
from explorer.ppo.policy import Policy
from explorer.ppo.trainer import Trainer
from explorer.presets import CLAIMS, LESSONS, PARTINGS, PRESETS, RECIPES, TOGETHER, Claim
from explorer.text import LANGUAGES, labels
from explorer.views.curves import ADAPTING, CHARTS
from explorer.views.gauge import parting

if TYPE_CHECKING:
    from tests.conftest import RunUpdate

EVERY = (*CHARTS, *ADAPTING.values())


def test_the_first_lesson_is_the_default() -> None:
    assert list(LESSONS)[:4] == ["learn", "see_the_clip", "balanced", "hack_the_reward"]
    assert PRESETS["learn"] == Config()
    assert list(PRESETS) == [*LESSONS, *RECIPES]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_about_a_number_that_is_measured(name: str) -> None:
    for claim in CLAIMS[name]:
        assert claim.metric in METRICS or claim.metric.removeprefix("component/") in PRESETS[name].weights
        assert 1 <= claim.first <= claim.last
        assert claim.least is not None or claim.most is not None
        assert claim.metric != "objective/judge" or PRESETS[name].judge
        shown = "component/NAME" if claim.metric.startswith("component/") else claim.metric
        assert shown in {metric for chart in EVERY for metric in chart.metrics}, "no curve would show it"


@pytest.mark.parametrize("name", PARTINGS)
def test_what_is_to_part_is_a_score_and_a_judge_that_a_run_so_long_can_tell_of(name: str) -> None:
    assert PRESETS[name].judge and CLAIMS[name]
    flat, falling = np.zeros(PARTINGS[name]), np.linspace(9, -9, PARTINGS[name])
    assert parting(np.arange(1, len(flat) + 1), flat, falling) is not None


def test_no_preset_is_to_part_and_to_be_together() -> None:
    assert not PARTINGS.keys() & TOGETHER.keys()
    assert all(PRESETS[name].judge and name in CLAIMS for name in TOGETHER)


def test_a_claim_holds_where_the_mean_of_its_updates_is_beyond_the_edge() -> None:
    values = [0.0, 9.0, 1.0, 3.0]
    assert Claim("policy/entropy", 3, 4, least=2.0).holds(values)
    assert not Claim("policy/entropy", 3, 4, least=2.1).holds(values)
    assert Claim("policy/entropy", 3, 4, most=2.0).holds(values)
    assert not Claim("policy/entropy", 1, 4, least=2.0, most=3.0).holds(values)
    with pytest.raises(ValueError, match="claimed up to update 5: the run has 4"):
        Claim("policy/entropy", 4, 5, most=2.0).holds(values)


@pytest.mark.parametrize("name", LESSONS)
def test_choosing_a_lesson_never_restarts_the_run(name: str) -> None:
    changed = Config().differences(PRESETS[name])
    assert all(effect_of(field) != "reset" for field in changed)


def test_a_recipe_is_what_its_paper_names() -> None:
    """Every difference from PPO, and no other; that none is the learning rate itself is part of it."""
    deltas = {
        name: {field: mine for field, (mine, _) in config.differences(Config()).items()}
        for name, config in RECIPES.items()
    }
    no_critic = {"whiten": False, "epochs": 1, "vf_coef": 0.0}
    assert deltas == {
        "ppo_instructgpt": {
            **{"critic": "separate", "epochs": 1, "minibatches": 8, "kl_coef": 0.02},
            **{"value_clip_range": 0.2, "max_grad_norm": None},
        },
        "ppo_openai_2019": {
            **{"temperature": 0.7, "kl_coef": 0.15, "kl_target": 6.0, "whiten_rewards": True},
            **{"value_clip_range": 0.2, "max_grad_norm": None, "lr_schedule": "linear"},
        },
        "grpo": {
            **no_critic,
            **{"estimator": "grpo", "kl_in": "loss", "kl_estimator": "k3", "kl_coef": 0.04},
            "aggregation": "sequence_mean",
        },
        "dr_grpo": {**no_critic, "estimator": "group_mean", "kl_coef": 0.0, "aggregation": "fixed_length"},
        "rloo": {**no_critic, "estimator": "rloo", "objective": "policy_gradient", "kl_coef": 0.03},
        "reinforce_pp": {
            **{"estimator": "reinforce_pp", "epochs": 1, "minibatches": 4, "kl_coef": 0.01, "vf_coef": 0.0},
        },
        "dapo_clip_higher": {
            **no_critic,
            **{"estimator": "grpo", "objective": "clip_higher", "kl_coef": 0.0, "minibatches": 8},
        },
        "gspo": {
            **no_critic,
            **{"estimator": "grpo", "objective": "gspo", "clip_range": 3e-4, "clip_range_high": 4e-4},
            **{"kl_coef": 0.0, "minibatches": 4, "aggregation": "sequence_mean"},
        },
        "ppo_penalty": {"objective": "kl_penalty"},
    }


#: Recipes that take one step a batch, so that no ratio has left 1 when it is used. RLOO's objective has none at all.
ONE_STEP = {"grpo", "dr_grpo", "rloo"}


@pytest.mark.parametrize("name", RECIPES)
def test_the_clip_acts_in_a_recipe_or_its_story_says_that_it_does_not(
    name: str, policy: Policy, run_update: RunUpdate
) -> None:
    config = RECIPES[name]
    assert (config.epochs * config.minibatches == 1) == (name in ONE_STEP)
    found = run_update(Trainer(policy, config))
    acted = any(epoch.zero_gradient.any() for epoch in found.epochs[:-1])
    assert acted == (name not in {*ONE_STEP, "ppo_penalty"})
    stories = [labels(language)["presets"][name]["story"] for language in LANGUAGES]
    told = [words in story for words, story in zip(("ne step", "一步"), stories, strict=True)]
    assert told == [name in ONE_STEP] * 2


def test_no_two_are_alike() -> None:
    written = [json.dumps(config.flat(), sort_keys=True) for config in PRESETS.values()]
    assert len(set(written)) == len(written)


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
