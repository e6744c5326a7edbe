"""From a file of labels to a component."""

from __future__ import annotations

import pytest

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.loading import load_policy
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.fitting import FEWEST, NAMED, learn, recipe_from_labels
from explorer.ppo.preferences.label_file import LabelFile
from tests.learned import learned

SMALL = {"batch_size": 8, "group_size": 4, "epochs": 1, "response_length": 12}


def test_a_file_of_labels_is_trained_on_and_gone_on_with(tmp_path, pool, label):
    path = tmp_path / "pairs.jsonl"
    LabelFile(path).extend(label(pool, "has_dialogue", 12))
    policy = load_policy()
    recipe = recipe_from_labels(path, policy, config=Config(**SMALL))
    assert recipe == recipe_from_labels(path, load_policy(), config=Config(**SMALL))
    config = Config(**SMALL, components={"learned": recipe}, weights={"learned": 1.0, "sentiment": 0.0})
    whole = Trainer(policy, config).train(3, progress=False, out=tmp_path / "whole", checkpoint_every=1)
    Trainer(load_policy(), config).train(2, progress=False, out=tmp_path / "cut", checkpoint_every=1)
    live = Trainer.resume(tmp_path / "cut")
    assert live.config == config
    again = live.train(1, progress=False, out=tmp_path / "cut")
    assert learned(list(again)) == learned(list(whole))
    assert all("learned" in snapshot.credit.reward_components for snapshot in whole)


def test_a_trunk_that_is_tuned_to_the_labels_is_what_is_trained_on(tmp_path, pool, label):
    path = tmp_path / "pairs.jsonl"
    LabelFile(path).extend(label(pool, "sentiment", 30))
    config = Config(**SMALL)
    found = learn(path, load_policy(), config=config, tuned=True)
    assert found.tuned is not None and found.tuned.frozen.pairs == found.tuned.model.held_out.pairs
    assert ("trunk" in found.recipe) == (found.tuned.epochs > 0)
    assert found.recipe["held_out"] == found.tuned.model.held_out.accuracy
    assert recipe_from_labels(path, load_policy(), config=config, tuned=True) == found.recipe
    assert learn(path, load_policy(), config=config).tuned is None
    live = Trainer(load_policy(), config.replace(component_learned=found.recipe))
    assert "learned" in live.update().credit.reward_components


def test_another_policy_is_told_before_anything_runs(tmp_path, pool, label, tiny_policy):
    LabelFile(tmp_path / "p.jsonl").extend(label(pool, "has_dialogue", 5))
    recipe = recipe_from_labels(tmp_path / "p.jsonl", load_policy())
    live = Trainer(tiny_policy, Config(batch_size=4, response_length=4))
    with pytest.raises(ValueError, match="'learned' cannot be used here"):
        next(live.stages(live.config.replace(component_learned=recipe)))


def test_bad_lines_are_named_and_too_few_labels_counted(tmp_path, pool, label, tiny_policy):
    path = tmp_path / "p.jsonl"
    LabelFile(path).extend(label(pool, "has_dialogue", FEWEST - 1))
    with pytest.raises(PreferenceError, match=f"at least {FEWEST} labels .* there are {FEWEST - 1}: label some more"):
        recipe_from_labels(path, tiny_policy)
    with path.open("a") as file:
        file.write("nonsense\n" * (NAMED + 2))
    with pytest.raises(PreferenceError, match="lines that are no labels; mend or delete: line .* and 2 more") as caught:
        recipe_from_labels(path, tiny_policy)
    assert str(path) in str(caught.value)
