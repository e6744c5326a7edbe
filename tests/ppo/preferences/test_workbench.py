"""What the page's annotator has in the worker: drawn a little at a time, chosen from, fitted."""

from __future__ import annotations

import pytest

from explorer.config import Config
from explorer.ppo.preferences import workbench
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.fitting import SAMPLES
from explorer.ppo.preferences.workbench import AT_ONCE, Workbench

PROMPTS = ["Once upon a time", "Lily and Tom"]


@pytest.fixture(scope="module")
def bench(reference):
    made = Workbench(reference, PROMPTS, Config(seed=3, response_length=16))
    turns = 0
    while not made.measured:
        made.draw_some()
        turns += 1
    assert turns == SAMPLES // AT_ONCE
    return made


def test_a_pair_is_never_shown_twice_and_is_of_one_prompt(bench):
    pairs = bench.choose(20, "random", None, True, [])
    assert len({pair.texts for pair in pairs}) == 20
    again = bench.choose(20, "random", None, True, [pair.texts for pair in pairs])
    assert not {pair.texts for pair in pairs} & {pair.texts for pair in again}


def test_a_batch_and_fresh_samples_are_mixed(bench):
    batch = (7, [(prompt, f"a story number {n}") for prompt in PROMPTS for n in range(4)])
    pairs = bench.choose(8, "random", batch, True, [])
    assert [pair.source for pair in pairs[:4]] == ["batch", "fresh"] * 2
    assert {pair.update for pair in pairs if pair.source == "batch"} == {7}
    assert {pair.source for pair in bench.choose(4, "random", batch, False, [])} == {"batch"}


def test_a_batch_with_one_answer_a_prompt_falls_back_on_fresh_samples(bench):
    batch = (7, [(prompt, "the same") for prompt in PROMPTS])
    assert {pair.source for pair in bench.choose(4, "random", batch, False, [])} == {"fresh"}


def test_a_fit_says_what_it_learnt_and_makes_a_recipe(bench):
    labels = bench.label(SimulatedAnnotator(rule="short_words"), 60, 0)
    assert len(labels) == 60
    fitted = bench.fit(labels)
    found = fitted.summary
    assert found["decided"] + found["said"]["tie"] == 60
    assert found["train"]["pairs"] == found["decided"] == fitted.recipe["decided"]
    assert found["scores"] == sorted(found["scores"]) and all(spread >= 0 for _, spread in found["scores"])
    chosen = bench.choose(1, "disagreement", None, True, [])
    assert [pair.way for pair in chosen] == ["disagreement"]


def test_too_few_labels_teach_nothing_yet_and_pairs_are_random(bench):
    labels = bench.label(SimulatedAnnotator(rule="short_words"), 3, 0)
    fitted = bench.fit(labels)
    assert fitted.recipe is None and "train" not in fitted.summary
    assert {pair.way for pair in bench.choose(4, "disagreement", None, True, [])} == {"random"}


def test_with_many_labels_the_penalty_is_chosen_anew_only_when_they_have_grown_by_a_fifth(bench, monkeypatch):
    given = []
    fit = workbench.fit_reward_model
    monkeypatch.setattr(workbench, "MANY", 10)
    monkeypatch.setattr(
        workbench, "fit_reward_model", lambda *args, penalty, **more: (given.append(penalty), fit(*args, **more))[1]
    )
    labels = bench.label(SimulatedAnnotator(rule="short_words"), 30, 0)
    for count in (8, 20, 23, 24):
        bench.fit(labels[:count])
    assert [penalty is None for penalty in given] == [True, True, False, True]


def test_a_tie_between_equals_is_as_likely_as_it_was_said(bench):
    labels = bench.label(SimulatedAnnotator(rule="mentions_animal"), 120, 0)
    found = bench.fit(labels).summary
    assert found["said"]["tie"] > 20
    assert 0.2 < found["equal_tie"] < 1
