from __future__ import annotations

import pytest
import torch

from explorer.ppo.preferences.bradley_terry import A, B, fit
from explorer.ppo.preferences.cross_validation import FOLDS, PENALTIES, choose_penalty, folds, reduce


def drawn(labels: int, width: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of which the first feature decides, each the wrong way with a probability of ``noise``."""
    random = torch.Generator().manual_seed(seed)
    differences = torch.randn(labels, width, generator=random, dtype=torch.float64)
    wrong = torch.rand(labels, generator=random) < noise
    return differences, torch.where((differences[:, 0] > 0) != wrong, A, B)


def chosen(differences: torch.Tensor, outcomes: torch.Tensor, **how: object):
    count = len(outcomes)
    fold = torch.arange(count) % FOLDS
    return choose_penalty(differences, outcomes, fold, torch.ones(count, dtype=torch.float64), **how)


def test_a_fit_in_the_span_of_the_labels_is_the_fit():
    differences, outcomes = drawn(12, 40, 0.1)
    coordinates, basis = reduce(differences)
    assert coordinates.shape == (12, 12) and basis.shape == (12, 40)
    assert torch.allclose(coordinates @ basis, differences, atol=1e-9)
    assert torch.allclose(
        fit(coordinates, outcomes, 0.3).weights @ basis, fit(differences, outcomes, 0.3).weights, atol=1e-8
    )


def test_labels_that_say_the_same_have_a_smaller_span():
    row = torch.tensor([[1.0, 2, 3]], dtype=torch.float64)
    assert reduce(torch.cat([row, row, -row, 0 * row]))[0].shape == (4, 1)
    assert reduce(0 * row)[0].shape == (1, 0)


def test_held_out_margins_are_of_heads_that_did_not_see_the_label():
    differences, outcomes = drawn(20, 3, 0.2)
    found = chosen(differences, outcomes)
    for number in range(FOLDS):
        rest = torch.arange(20) % FOLDS != number
        own = fit(differences[rest], outcomes[rest], found.penalty).weights
        assert torch.allclose(found.margins[~rest], differences[~rest] @ own, atol=1e-6)


def test_the_penalty_is_the_one_with_the_least_held_out_loss():
    differences, outcomes = drawn(30, 5, 0.2)
    found = chosen(differences, outcomes)
    for penalty, loss in zip(found.penalties, found.losses, strict=True):
        alone = chosen(differences, outcomes, penalties=(penalty,))
        assert alone.losses[0] == pytest.approx(loss, abs=1e-9)
    assert found.losses[found.penalties.index(found.penalty)] == min(found.losses)


def test_labels_that_are_chance_are_penalised_most_and_clear_ones_little():
    assert chosen(*drawn(40, 20, 0.5)).penalty >= 10
    assert chosen(*drawn(40, 2, 0.0)).penalty <= 0.1


def test_labels_of_one_pair_are_held_out_together():
    pairs = [frozenset([("p", str(n % 10)), ("p", "x")]) for n in range(40)]
    fold = folds(pairs)
    assert all(fold[n] == fold[n % 10] for n in range(40))
    assert fold[:10].bincount().tolist() == [2] * FOLDS
    assert torch.equal(fold, folds(pairs)) and not torch.equal(fold, folds(pairs, seed=1))


def test_one_pair_has_nothing_to_hold_out():
    differences, outcomes = drawn(2, 3, 0)
    found = choose_penalty(differences, outcomes, torch.zeros(2), torch.ones(2, dtype=torch.float64))
    assert found.penalty == PENALTIES[0] and found.margins.isnan().all()
