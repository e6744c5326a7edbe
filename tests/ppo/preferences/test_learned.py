"""A learnt reward model as a component that a Config holds."""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib

import pytest
import torch

from explorer.config import Config
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.learned import Learned, recipe_of
from explorer.ppo.preferences.packing import MAX_NUMBERS, pack
from explorer.ppo.preferences.pool import Pool
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.shifts import shifted, tuned_parameters
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.rewards import Responses, from_recipe
from explorer.ppo.rewards.score import run_component
from explorer.recipes import checked_recipes


@pytest.fixture(scope="module")
def model(features, pool, label):
    return fit_reward_model(features, label(pool, "mentions_animal", 20), members=0)


@pytest.fixture(scope="module")
def recipe(model, reference):
    return recipe_of(model, reference)


def responses_of(pool: Pool, reference) -> Responses:
    nothing = torch.zeros(pool.ids.shape)
    return Responses(
        prompts=pool.prompts,
        texts=pool.texts,
        ids=pool.ids,
        mask=pool.mask,
        ref_logprobs=nothing,
        reference=reference,
        config=Config(),
    )


def made(recipe) -> Learned:
    return from_recipe("mine", checked_recipes({"mine": recipe})["mine"])


def test_a_config_holds_it_and_it_scores_as_the_model_does(model, recipe, reference, other_pool):
    config = Config.from_flat(json.loads(json.dumps(Config(components={"mine": recipe}).flat())))
    component = from_recipe("mine", config.components["mine"])
    batch = responses_of(other_pool[range(40)], reference)
    found, known = component(batch), model(batch)
    assert float((found - known).abs().max()) < 0.005  # the head is kept in half precision
    assert float((found - found.mean()).abs().max()) > 0.5
    assert json.loads(config.flat()["component_mine"])["decided"] == 20


def test_most_of_the_references_own_samples_lie_within_1(recipe, reference, pool):
    scores = made(recipe)(responses_of(pool, reference))
    assert abs(float(scores.mean())) < 0.01
    assert 0.94 <= float((scores.abs() <= 1).float().mean()) <= 0.96


def test_its_tokens_and_the_rest_are_its_value(recipe, reference, other_pool):
    batch = responses_of(other_pool[range(8)], reference)
    parts, rest = made(recipe).token_parts(batch)
    assert torch.allclose(parts.sum(1) + rest, made(recipe)(batch), atol=1e-4)


def test_a_response_without_words_has_the_models_own_value(model, recipe, reference):
    pool = Pool(prompts=["Once"], texts=[""], ids=torch.zeros(1, 3, dtype=torch.long), mask=torch.zeros(1, 3) > 0)
    batch = responses_of(pool, reference)
    assert made(recipe)(batch).tolist() == pytest.approx(model(batch).tolist())
    assert made(recipe).token_parts(batch)[1].tolist() == pytest.approx(model(batch).tolist())


def test_it_is_small_enough_for_settings_that_are_written_often(recipe):
    assert len(json.dumps(recipe)) < 6000


def test_it_says_whose_states_it_reads(recipe, tiny_policy, other_pool):
    with pytest.raises(PreferenceError, match="'mine' cannot be used here. It was learnt on another policy's hidden"):
        made(recipe).check_for("mine", tiny_policy.frozen_copy())
    with pytest.raises(RuntimeError, match="another policy's hidden states"):
        run_component("mine", made(recipe), responses_of(other_pool[range(2)], tiny_policy.frozen_copy()))


def test_a_trunk_that_is_not_the_reference_with_shifts_is_refused(model, tiny_policy, reference, pool):
    with pytest.raises(PreferenceError, match="tuned trunk is not this policy with shifts"):
        recipe_of(model, tiny_policy.frozen_copy())
    other = reference.frozen_copy()
    other.lm.transformer.h[0].mlp.c_fc.weight += 0.01
    features = Features(other, pool[range(16)], model.features.blocks)
    with pytest.raises(PreferenceError, match="tuned trunk is not this policy with shifts"):
        recipe_of(dataclasses.replace(model, features=features), reference)


@pytest.fixture(scope="module")
def tuned(features, pool, label):
    """A trunk that is moved so far that nobody can miss it, by numbers that half precision holds."""
    count = sum(parameter.numel() for parameter in tuned_parameters(features.policy))
    signs = torch.randint(0, 2, (count,), generator=torch.Generator().manual_seed(1)) * 2 - 1
    moved = shifted(features.policy, signs / 8)
    return fit_reward_model(Features(moved, pool), label(pool, "mentions_animal", 20), members=0)


def test_a_tuned_trunk_is_part_of_the_recipe(tuned, reference, other_pool, pool):
    recipe = json.loads(json.dumps(recipe_of(tuned, reference)))
    batch = responses_of(other_pool[range(40)], reference)
    component = made(recipe)
    known = tuned(batch)
    assert float((component(batch) - known).abs().max()) < 0.01
    frozen = made({part: value for part, value in recipe.items() if part != "trunk"})
    assert float((frozen(batch) - known).abs().max()) > 0.05  # it is the trunk that makes the difference
    parts, rest = component.token_parts(batch)
    assert torch.allclose(parts.sum(1) + rest, component(batch), atol=1e-4)
    assert len(json.dumps(recipe)) < 30_000
    with pytest.raises(ValueError, match="Its trunk is damaged"):
        made({**recipe, "trunk": recipe["trunk"][:-8]})
    with pytest.raises(PreferenceError, match="Its trunk has 1 shifts"):
        made({**recipe, "trunk": pack(torch.ones(1))})(batch)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"head": "%"}, "Its head is damaged"),
        ({"head": "AAAA"}, "Its head is damaged"),
        ({"head": ""}, "Its head is damaged"),
        ({"unit": 1e400}, "unit of the component 'mine' is inf, but must be a number"),
        ({"unit": True}, "must be a number"),
        ({"offset": float("nan")}, "must be a number"),
        ({"wordless": 10**400}, "must be a number"),
        ({"reads": []}, "must name hidden states"),
        ({"reads": ["final"]}, "must name hidden states"),
        ({"decided": -1}, "must be a whole number from 0"),
        ({"held_out": 2}, "must be a share from 0 to 1"),
        ({"head": "A" * 200_000}, "is longer than"),
    ],
)
def test_what_is_damaged_says_so(recipe, parts, words):
    with pytest.raises(ValueError, match="'mine'") as caught:
        made({**recipe, **parts})
    assert words in str(caught.value) and len(str(caught.value)) < 300


def test_a_head_that_would_unpack_to_far_too_much_is_refused(recipe):
    bomb = base64.b64encode(zlib.compress(bytes(2 * MAX_NUMBERS + 2), 9)).decode()
    assert len(bomb) < 5000
    with pytest.raises(ValueError, match="Its head is damaged"):
        made({**recipe, "head": bomb})


def test_a_head_of_another_width_is_refused(recipe, reference):
    with pytest.raises(PreferenceError, match="Its head has"):
        made({**recipe, "reads": ["final mean"]}).check(reference)
