from __future__ import annotations

import json

import pytest
import torch

from explorer.ppo.loading import load_policy
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.reward_model import fit_reward_model
from explorer.ppo.preferences.storing import FACTS, NUMBERS, load_reward_model, save_reward_model


@pytest.fixture(scope="module")
def model(features, pool, label):
    return fit_reward_model(features, label(pool, "mentions_animal", 20), members=3)


@pytest.fixture
def folder(tmp_path, model, reference):
    save_reward_model(model, tmp_path / "a" / "model", reference)
    return tmp_path / "a" / "model"


def test_there_and_back(folder, model, reference, other_pool, label):
    found = load_reward_model(folder, load_policy().frozen_copy())
    assert torch.equal(found.scores(other_pool), model.scores(other_pool))
    assert torch.equal(found.spread(other_pool), model.spread(other_pool))
    assert torch.equal(found.token_parts(other_pool)[0], model.token_parts(other_pool)[0])
    assert repr((found.train, found.held_out, found.said)) == repr((model.train, model.held_out, model.said))
    assert (found.log_tie, found.penalty) == (model.log_tie, model.penalty)
    assert not list(folder.glob("*.part"))


def test_a_model_without_ties_and_without_an_ensemble(tmp_path, features, pool, label, reference):
    labels = [c for c in label(pool, "sentiment", 5) if c.decided]
    made = fit_reward_model(features, labels[:1], members=0)
    save_reward_model(made, tmp_path, reference)
    found = load_reward_model(tmp_path, reference)
    assert found.log_tie == made.log_tie == float("-inf")
    assert len(found.members) == 0 and found.held_out.pairs == 0


def test_another_policy_is_refused(folder, tiny_policy):
    with pytest.raises(PreferenceError, match="made from another policy"):
        load_reward_model(folder, tiny_policy.frozen_copy())


def changed(folder, **facts):
    found = json.loads((folder / FACTS).read_text())
    (folder / FACTS).write_text(json.dumps(found | facts))


@pytest.mark.parametrize(
    "facts",
    [
        {"centre": "nan"},
        {"stretch": 0},
        {"blocks": [["token", "mean"]]},
        {"blocks": 3},
        {"train": {}},
        {"said": {}},
        {"version": None},
        {"penalty": 1e999},
        {"policy": "0" * 64},
    ],
    ids=str,
)
def test_facts_that_cannot_be(folder, reference, facts):
    changed(folder, **facts)
    with pytest.raises(PreferenceError, match="damaged"):
        load_reward_model(folder, reference)


def test_features_that_the_policy_does_not_have(folder, reference):
    changed(folder, blocks=[["layer 9", "mean", 1.0]])
    with pytest.raises(PreferenceError, match="no feature 'layer 9'"):
        load_reward_model(folder, reference)
    changed(folder, blocks=[["final", "mean", 1.0]])
    with pytest.raises(PreferenceError, match="should have 128 numbers"):
        load_reward_model(folder, reference)


def test_a_newer_form_is_refused_by_name(folder, reference):
    changed(folder, version=2)
    with pytest.raises(PreferenceError, match="newer PPO Explorer"):
        load_reward_model(folder, reference)


@pytest.mark.parametrize("name", [NUMBERS, FACTS])
@pytest.mark.parametrize("harm", ["gone", "cut", "nonsense"])
def test_files_that_are_missing_or_damaged(folder, reference, name, harm):
    path = folder / name
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if harm == "cut" else b"\x80\x04nonsense")
    with pytest.raises(PreferenceError, match="no reward model in" if harm == "gone" else "damaged"):
        load_reward_model(folder, reference)


def test_a_place_that_takes_nothing_says_so(tmp_path, model, reference):
    (tmp_path / "file").write_text("")
    with pytest.raises(PreferenceError, match="cannot be saved"):
        save_reward_model(model, tmp_path / "file", reference)
