from __future__ import annotations

import math
import time

import pytest
import torch

from explorer.config import Config
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.features import Block
from explorer.ppo.preferences.pool import pool_of
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.rewards import Responses, score
from explorer.ppo.trainer import Trainer


@pytest.fixture(scope="module")
def labels(pool, label):
    return label(pool, "has_dialogue", 40)


@pytest.fixture(scope="module")
def model(features, labels):
    return fit_reward_model(features, labels)


def responses_of(pool, reference) -> Responses:
    return Responses(
        prompts=pool.prompts,
        texts=pool.texts,
        ids=pool.ids,
        mask=pool.mask,
        ref_logprobs=torch.zeros(pool.ids.shape),
        reference=reference,
        config=Config(),
    )


def test_it_learns_what_the_annotator_goes_by(model, other_pool, label):
    fresh = label(other_pool, "has_dialogue", 200)
    assert model.evaluate(fresh).accuracy > 0.9
    assert model.evaluate(fresh).pairs == 200  # the ties among them are passed over
    assert model.train.accuracy == 1 and model.held_out.accuracy > 0.85
    assert model.train.pairs == model.held_out.pairs == 40


def test_slips_cost_accuracy(features, pool, other_pool, label):
    fresh = label(other_pool, "has_dialogue", 300)
    accuracies = [
        fit_reward_model(features, label(pool, "has_dialogue", 60, noise=noise), members=0).evaluate(fresh).accuracy
        for noise in (0.0, 0.35)
    ]
    assert accuracies[0] > 0.93 and accuracies[0] > accuracies[1] + 0.02
    turned = fit_reward_model(features, label(pool, "has_dialogue", 60, noise=1.0), members=0)
    assert turned.evaluate(fresh).accuracy < 0.1


def test_held_out_numbers_see_through_labels_that_are_chance(features, pool, label):
    found = fit_reward_model(features, label(pool, "has_dialogue", 60, noise=0.5), members=0, penalty=0.01)
    assert found.train.accuracy > 0.95
    assert found.held_out.accuracy < 0.7
    assert found.held_out.log_loss > math.log(2)  # worse than a coin, and says so


def test_scores_are_about_from_minus_one_to_one_on_the_references_samples(model, pool):
    scores = model.scores(pool)
    assert scores.mean().item() == pytest.approx(0, abs=1e-5)
    assert (scores.abs() <= 1).float().mean().item() == pytest.approx(0.95, abs=0.005)


def test_chances_follow_from_scores(model, labels):
    a, b = (
        model.scores(pool_of(model.features.policy, [(c.prompt, getattr(c, side)) for c in labels])) for side in "ab"
    )
    expected = 1 / (1 + ((b - a) * model.stretch).double().exp())
    assert torch.allclose(model.probabilities(labels), expected, atol=1e-4)


def test_swapped_pairs_have_the_opposite_margin_and_make_the_same_model(model, features, labels):
    swapped = [c.swapped for c in labels]
    assert torch.allclose(model.margins(swapped), -model.margins(labels))
    assert repr(model.evaluate(swapped)) == repr(model.evaluate(labels))
    assert torch.allclose(fit_reward_model(features, swapped).head, model.head, atol=1e-8)


def test_what_all_texts_share_changes_nothing(reference, features, labels, pool):
    shifted = Features.of(reference, features.blocks, features.mean - 3.0, features.scale)
    shifted.sample_rows = shifted.rows(pool)
    one, other = (fit_reward_model(own, labels, members=0, penalty=0.1) for own in (features, shifted))
    assert torch.allclose(one.margins(labels), other.margins(labels), atol=1e-6)
    assert torch.allclose(one.scores(pool), other.scores(pool), atol=1e-4)


def test_it_is_a_reward_component(model, pool, reference):
    found = score({"mine": model}, responses_of(pool, reference))["mine"]
    assert torch.allclose(found, model.scores(pool), atol=1e-5)


def test_a_policy_is_trained_on_it(model):
    trainer = Trainer(
        config=Config(batch_size=8, response_length=8, epochs=1, weights={"mine": 1.0}), rewards={"mine": len}
    )
    trainer.reward_model.components["mine"] = model
    (done,) = (stage for stage in trainer.stages() if stage.name == "done")
    assert done.components is not None and done.components["mine"].std() > 0


def test_tokens_and_start_add_up_to_the_score(model, pool, reference):
    parts, rest = model.token_parts(responses_of(pool, reference))
    assert torch.allclose(parts.sum(1) + rest, model.scores(pool), atol=1e-4)
    assert parts.shape == pool.ids.shape


def test_a_response_without_words_scores_as_the_mean(model, reference):
    assert model.scores(pool_of(reference, [("The cat", "")])).item() == pytest.approx(0, abs=1e-5)


def test_the_ensemble_agrees_more_the_more_labels_there_are(reference, pool, label):
    small = Features(reference, pool, [Block("final", "mean")])
    labels = [c for c in label(pool, "has_dialogue", 150) if c.decided]
    agreement = []
    for count in (10, 150):
        found = fit_reward_model(small, labels[:count], penalty=0.1)
        assert found.members.shape == (8, 128)
        directions = torch.nn.functional.normalize(found.members, dim=1)
        agreement.append((directions @ directions.T).mean().item())
        assert (found.spread(pool) > 0).all()
    assert agreement[0] < agreement[1] < 1


def test_the_same_labels_make_the_same_model_bit_for_bit(reference, pool, labels, model):
    again = fit_reward_model(Features(reference, pool), labels)
    assert torch.equal(again.head, model.head) and torch.equal(again.members, model.members)
    other = fit_reward_model(model.features, labels, seed=1, penalty=model.penalty)
    assert torch.allclose(other.head, model.head) and not torch.equal(other.members, model.members)


def test_fifty_labels_are_fitted_well_within_a_second(reference, pool, label):
    labels = label(pool, "sentiment", 50)
    features = Features(reference, pool)
    start = time.process_time()
    fit_reward_model(features, labels)
    assert time.process_time() - start < 1  # 0.1 to 0.2 s: the labelled texts are read, folds and ensemble fitted


def test_ties(features, pool, label):
    labels = label(pool, "mentions_animal", 40)
    tied = sum(c.choice == "tie" for c in labels)
    assert tied > 20
    models = {ties: fit_reward_model(features, labels, ties=ties, members=2) for ties in ("davidson", "half", "ignore")}
    assert math.isfinite(models["davidson"].log_tie)
    assert models["half"].log_tie == models["ignore"].log_tie == -math.inf
    assert all(
        model.said == {"a": 40 - model.said["b"], "b": model.said["b"], "tie": tied, "skip": 0}
        for model in models.values()
    )
    assert all(model.held_out.pairs == 40 for model in models.values())
    ignored = fit_reward_model(features, [c for c in labels if c.decided], members=2)
    assert torch.equal(models["ignore"].head, ignored.head)
    ties, decided = ([c for c in labels if (c.choice == "tie") == tied] for tied in (True, False))

    def unequal(model):
        return (model.margins(ties) ** 2).mean() / (model.margins(decided) ** 2).mean()

    for name in ("davidson", "half"):  # what was called equal comes out more equal
        same = fit_reward_model(features, labels, ties=name, members=0, penalty=ignored.penalty)
        assert unequal(same) < unequal(ignored)


def test_skips_count_for_nothing(features, labels, model):
    skips = [Comparison(c.prompt, c.a, c.b, "skip") for c in labels]
    found = fit_reward_model(features, [*labels, *skips])
    assert torch.equal(found.head, model.head)
    assert found.said["skip"] == len(labels)


def test_a_single_label_is_enough_for_a_model(features, labels):
    found = fit_reward_model(features, [next(c for c in labels if c.decided)])
    assert found.train.accuracy == 1
    assert found.held_out.pairs == 0


@pytest.mark.parametrize(
    ("choices", "how", "reason"),
    [
        ("", {}, "No response was preferred"),
        (["tie", "skip"], {}, "No response was preferred"),
        ("a", {"ties": "coin"}, "ties is 'coin'"),
        ("a", {"penalty": 0.0}, "penalty is 0.0"),
        ("a", {"members": 1}, "members is 1"),
    ],
)
def test_what_cannot_be(features, choices, how, reason):
    with pytest.raises(PreferenceError, match=reason):
        fit_reward_model(features, [Comparison("The cat", " ran.", " sat.", choice) for choice in choices], **how)


def test_too_few_samples_say_so(reference, pool):
    with pytest.raises(PreferenceError, match="There are 15 samples"):
        Features(reference, pool[list(range(15))])


def test_standardised_blocks_have_their_shares(reference, pool):
    found = Features(reference, pool, [Block("token", "mean", 3), Block("final", "last", 1)])
    words, states = found.sample_rows.split([2048, 128], dim=1)
    assert found.sample_rows.mean(0).abs().max() < 1e-6
    assert words.var(0).sum().item() == pytest.approx(0.75) and states.var(0).sum().item() == pytest.approx(0.25)
    assert states.std(0).tolist() == pytest.approx([states.std(0).mean().item()] * 128)
