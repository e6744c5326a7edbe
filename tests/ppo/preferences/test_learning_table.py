from __future__ import annotations

import math

import pytest

from explorer.ppo.preferences import learning_table
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.learning_table import Cell, means, measure, rows, table


def test_a_small_table(reference, monkeypatch):
    monkeypatch.setattr(learning_table, "BATCHES", 4)
    monkeypatch.setattr(learning_table, "FRESH", 100)
    cells = list(measure(reference, rules=["has_dialogue"], pairs=[30, 10], seeds=[0, 1]))
    assert [(cell.seed, cell.pairs) for cell in cells] == [(0, 10), (0, 30), (1, 10), (1, 30)]
    assert all(cell.accuracy > 0.7 for cell in cells)
    assert cells == list(measure(reference, rules=["has_dialogue"], pairs=[30, 10], seeds=[0, 1]))


@pytest.mark.parametrize("way", ["disagreement", "closest"])
def test_informative_pairs(reference, monkeypatch, way):
    monkeypatch.setattr(learning_table, "BATCHES", 4)
    monkeypatch.setattr(learning_table, "FRESH", 100)
    (cell,) = measure(reference, rules=["short_words"], pairs=[40], seeds=[0], way=way)
    assert cell.pairs == 40 and cell.accuracy > 0.5


def test_the_table_by_hand():
    told = [
        ("has_dialogue", 0, 20, 0.5),
        ("has_dialogue", 1, 20, 0.75),
        ("has_dialogue", 0, 50, 1.0),
        ("x", 0, 50, 0.6),
    ]
    cells = [Cell(rule, seed, pairs, accuracy, 0.5, 1.0, 0.1) for rule, seed, pairs, accuracy in told]
    assert means(cells)["has_dialogue"] == {20: (0.625, 0.5, 0.75), 50: (1.0, 1.0, 1.0)}
    assert table(cells).splitlines() == [
        "| pairs | 20 | 50 |",
        "|---|---|---|",
        "| has dialogue | 0.62 (0.50–0.75) | 1.00 (1.00–1.00) |",
        "| x |  | 0.60 (0.60–0.60) |",
    ]


def test_a_tuned_trunk_has_a_row_of_its_own_beside_the_frozen_one():
    cells = [
        Cell("x", 0, 20, 0.5, 0.5, 1.0, 0.1, tuned=0.75),
        Cell("x", 1, 20, 0.75, 0.5, 1.0, 0.1, tuned=1.0),
        Cell("y", 0, 20, 1.0, 0.5, 1.0, 0.1),
    ]
    assert rows(cells) == [["x", 20, 0.625, 0.5, 0.75, 0.875, 0.75, 1.0], ["y", 20, 1.0, 1.0, 1.0]]
    assert table(cells).splitlines()[2:] == [
        "| x | 0.62 (0.50–0.75) |",
        "| x, tuned | 0.88 (0.75–1.00) |",
        "| y | 1.00 (1.00–1.00) |",
    ]


def test_the_tuned_trunk_is_judged_by_the_same_pairs_and_leaves_the_frozen_one_as_it_was(reference, monkeypatch):
    monkeypatch.setattr(learning_table, "BATCHES", 4)
    monkeypatch.setattr(learning_table, "FRESH", 100)
    how = {"rules": ["sentiment"], "pairs": [30], "seeds": [0]}
    (plain,), (both,) = (list(measure(reference, tuned=tuned, **how)) for tuned in (False, True))
    assert plain.tuned is None and both._replace(tuned=None) == plain
    assert both.tuned is not None and both.tuned > 0.5


def test_what_cannot_be(reference):
    with pytest.raises(PreferenceError, match="number of pairs, from 1"):
        list(measure(reference, pairs=[0]))


def test_what_the_annotator_cannot_see_is_a_tie_and_the_rest_is_easier(reference, monkeypatch):
    monkeypatch.setattr(learning_table, "BATCHES", 8)
    how = {"rules": ["sentiment"], "pairs": [60], "seeds": [0]}
    (strict,), (kind,) = (list(measure(reference, noticeable=n, **how)) for n in (0.0, 1.0))
    assert kind.accuracy > strict.accuracy + 0.05


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_two_hundred_labels_teach(reference):
    cells = list(measure(reference))
    print("\n" + table(cells))
    found = {rule: by_pairs[200][0] for rule, by_pairs in means(cells).items()}
    assert found["has_dialogue"] >= 0.95 and found["mentions_animal"] >= 0.85
    assert found["sentiment"] >= 0.73 and found["short_words"] >= 0.73
    few = {rule: by_pairs[20][0] for rule, by_pairs in means(cells).items()}
    assert all(found[rule] > few[rule] for rule in found)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_two_hundred_labels_teach_of_differences_that_can_be_seen(reference):
    cells = list(measure(reference, rules=["sentiment", "short_words"], noticeable=0.25))
    print("\n" + table(cells))
    assert all(by_pairs[200][0] >= 0.78 for by_pairs in means(cells).values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_slips_cost_accuracy_at_every_number_of_pairs(reference):
    clear, noisy = (
        means(list(measure(reference, pairs=[50, 200], seeds=[0, 1, 2], noise=noise))) for noise in (0.0, 0.25)
    )
    for rule, by_pairs in clear.items():
        for pairs, (accuracy, _, _) in by_pairs.items():
            assert noisy[rule][pairs][0] < accuracy and not math.isnan(accuracy)
