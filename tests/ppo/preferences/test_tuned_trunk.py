from __future__ import annotations

import pytest
import torch

from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.storing import load_reward_model, save_reward_model
from explorer.ppo.preferences.tuned_trunk import tune
from explorer.ppo.state import weights_digest


@pytest.fixture(scope="module")
def labels(pool, label):
    return label(pool, "sentiment", 70)


@pytest.fixture(scope="module")
def frozen(features, labels):
    return fit_reward_model(features, labels, members=2)


@pytest.fixture(scope="module")
def tuned(frozen, pool, labels):
    return tune(frozen, pool, labels, epochs=2).model


def test_the_copy_learns_and_the_reference_does_not(reference, tuned, frozen, labels):
    from explorer.ppo.loading import load_policy

    assert weights_digest(reference) == weights_digest(load_policy())
    own = tuned.features.policy
    assert weights_digest(own.lm) != weights_digest(reference.lm)
    assert torch.equal(own.lm.transformer.wte.weight, reference.lm.transformer.wte.weight)  # words stay
    assert not any(p.requires_grad for p in (*own.parameters(), *reference.parameters()))


def test_it_is_a_model_like_any_other(tuned, pool, other_pool, label):
    scores = tuned.scores(pool)
    assert scores.mean().item() == pytest.approx(0, abs=1e-5)
    parts, rest = tuned.token_parts(pool)
    assert torch.allclose(parts.sum(1) + rest, scores, atol=1e-4)
    assert tuned.evaluate(label(other_pool, "sentiment", 200)).accuracy > 0.6
    assert len(tuned.members) == 2


def test_the_held_out_fifth_is_held_out(tuned, labels):
    decided = sum(c.decided for c in labels)
    assert tuned.train.pairs == decided
    assert 0.1 * decided < tuned.held_out.pairs < 0.35 * decided


def test_the_same_labels_make_the_same_model(tuned, frozen, pool, labels):
    again = tune(frozen, pool, labels, epochs=2).model
    assert torch.equal(again.scores(pool), tuned.scores(pool))


def test_a_step_size_that_ruins_the_trunk_leaves_it_as_it_was(frozen, pool, labels, reference):
    found = tune(frozen, pool, labels, epochs=1, learning_rate=30.0)
    assert found.model.features.policy is reference and found.epochs == 0
    assert found.frozen.plain() == found.model.held_out.plain()


def test_it_is_saved_with_its_trunk(tuned, tmp_path, reference, other_pool):
    save_reward_model(tuned, tmp_path, reference)
    found = load_reward_model(tmp_path, reference)
    assert torch.equal(found.scores(other_pool), tuned.scores(other_pool))
    assert weights_digest(found.features.policy.lm) == weights_digest(tuned.features.policy.lm)


def test_what_cannot_be(frozen, pool, labels):
    few = [c for c in labels if c.decided][:9]
    with pytest.raises(PreferenceError, match="at least 10 decided"):
        tune(frozen, pool, few)
    with pytest.raises(PreferenceError, match="at least 10 decided"):
        tune(frozen, pool, [])
    with pytest.raises(PreferenceError, match="epochs is 0"):
        tune(frozen, pool, labels, epochs=0)
