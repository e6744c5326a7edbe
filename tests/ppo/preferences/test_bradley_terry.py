"""The fit against numbers worked by hand, finite differences, and two other algorithms for the same model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from explorer.ppo.preferences.bradley_terry import TIE, A, B, derivatives, fit, log_probabilities, objective


def drawn(seed: int, labels: int = 30, width: int = 4, ties: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    differences = torch.randn(labels, width, generator=random, dtype=torch.float64)
    return differences, torch.randint(3 if ties else 2, (labels,), generator=random)


def test_two_pairs_by_hand():
    # Both won at a difference of 1: 2 · sigmoid(−w) = penalty · w. At w = ln 3 the chance is ¾: 2 · ¼ = penalty · ln 3.
    found = fit(torch.ones(2, 1, dtype=torch.float64), torch.tensor([A, A]), 0.5 / math.log(3))
    assert found.weights.item() == pytest.approx(math.log(3), abs=1e-9)
    assert found.log_tie == -math.inf
    assert log_probabilities(found.weights, found.log_tie).exp()[0].tolist() == pytest.approx([0.75, 0.25, 0])


def test_two_pairs_of_their_own_by_hand():
    # Along each axis one label: sigmoid(−2u) · 2 = penalty · u, and at 2u = ln 3 that is ½ = penalty · ln 3 / 2.
    differences = torch.tensor([[2.0, 0], [0, 2.0]], dtype=torch.float64)
    found = fit(differences, torch.tensor([A, B]), 1 / math.log(3))
    assert found.weights.tolist() == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-9)


def test_ties_by_hand():
    # Texts that are the same: P(tie) = ν / (2 + ν), and half of the labels are ties, so ν = 2.
    found = fit(torch.zeros(4, 1, dtype=torch.float64), torch.tensor([A, B, TIE, TIE]), 1.0)
    assert math.exp(found.log_tie) == pytest.approx(2, rel=1e-6)
    assert found.weights.item() == 0


def test_the_chance_given_no_tie_does_not_depend_on_ties():
    p = log_probabilities(torch.tensor([-1.0, 0.0, 1.0, 2.5], dtype=torch.float64), 0.7).exp()
    assert (p[:, A] / (p[:, A] + p[:, B])).tolist() == pytest.approx([0.2689414, 0.5, 0.7310586, 0.9241418], abs=1e-6)
    assert p.sum(1).tolist() == pytest.approx([1.0] * 4)
    assert p[:, TIE].argmax() == 1  # ties are likeliest where the rewards are equal


def test_derivatives_against_finite_differences():
    differences, outcomes = drawn(1)
    at = torch.randn(5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    counts = torch.rand(30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def value(point):
        return objective(differences, outcomes, point[:4], point[4], 0.3, counts)

    gradient, hessian = derivatives(differences, outcomes, at[:4], at[4], 0.3, counts)
    for axis in torch.eye(5, dtype=torch.float64) * 1e-5:
        slope = (value(at + axis) - value(at - axis)) / 2e-5
        assert slope.item() == pytest.approx((gradient @ axis).item() / 1e-5, abs=1e-6)
        ahead, behind = (
            derivatives(differences, outcomes, p[:4], p[4], 0.3, counts)[0] for p in (at + axis, at - axis)
        )
        assert torch.allclose((ahead - behind) / 2e-5, hessian @ axis / 1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_logistic_regression_as_weighted_least_squares(seed):
    differences, outcomes = drawn(seed, ties=False)
    x, y, penalty = differences.numpy(), (outcomes == A).numpy().astype(float), 0.7
    w = np.zeros(4)
    for _ in range(50):  # iteratively reweighted least squares, in numpy
        p = 1 / (1 + np.exp(-x @ w))
        s = p * (1 - p)
        z = x @ w + (y - p) / s
        w = np.linalg.lstsq(
            np.vstack([np.sqrt(s)[:, None] * x, math.sqrt(penalty) * np.eye(4)]),
            np.concatenate([np.sqrt(s) * z, np.zeros(4)]),
            rcond=None,
        )[0]
    assert fit(differences, outcomes, penalty).weights.numpy() == pytest.approx(w, abs=1e-8)


def test_strengths_of_players_as_the_minorise_maximise_algorithm_finds_them():
    # Hunter 2004, "MM algorithms for generalized Bradley-Terry models": strength = wins / Σ games / (own + other's).
    wins = np.array([[0, 3, 4, 2], [1, 0, 3, 3], [2, 1, 0, 2], [1, 2, 3, 0]])
    strength = np.ones(4)
    for _ in range(3000):
        games = wins + wins.T
        strength = wins.sum(1) / (games / (strength[:, None] + strength[None])).sum(1)
        strength /= np.exp(np.log(strength).mean())
    rows = [np.eye(4)[i] - np.eye(4)[j] for i in range(4) for j in range(4) for _ in range(wins[i, j])]
    found = fit(torch.tensor(np.array(rows)), torch.full((wins.sum(),), A), 1e-9)
    assert found.weights.numpy() == pytest.approx(np.log(strength), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_ties_as_davidson_wrote_them_down(seed):
    differences, outcomes = drawn(seed)
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    nu = torch.zeros((), dtype=torch.float64, requires_grad=True)  # its logarithm
    descent = torch.optim.LBFGS(
        [weights, nu], max_iter=500, tolerance_grad=1e-11, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure():
        descent.zero_grad()
        first, second = (differences @ weights).exp(), torch.ones(30, dtype=torch.float64)  # the two strengths
        root = nu.exp() * (first * second).sqrt()
        chances = torch.stack([first, second, root]) / (first + second + root)
        loss = -chances[outcomes, torch.arange(30)].log().sum() + 0.5 * 0.4 * weights @ weights
        loss.backward()
        return loss

    descent.step(closure)
    found = fit(differences, outcomes, 0.4)
    assert torch.allclose(found.weights, weights, atol=1e-6)
    assert found.log_tie == pytest.approx(nu.item(), abs=1e-6)


@pytest.mark.parametrize("ties", [True, False])
def test_swapping_all_pairs_changes_nothing(ties):
    differences, outcomes = drawn(7, ties=ties)
    swapped = torch.tensor([B, A, TIE])[outcomes]
    one, other = fit(differences, outcomes, 0.2), fit(-differences, swapped, 0.2)
    assert torch.allclose(one.weights, other.weights, atol=1e-9)
    assert one.log_tie == other.log_tie or one.log_tie == pytest.approx(other.log_tie, abs=1e-9)


def test_a_count_of_two_is_the_label_twice_and_of_none_is_no_label():
    differences, outcomes = drawn(8, labels=6)
    counted = fit(differences, outcomes, 0.5, torch.tensor([2.0, 1, 1, 0, 1, 1], dtype=torch.float64))
    rows = [0, 0, 1, 2, 4, 5]
    assert torch.allclose(counted.weights, fit(differences[rows], outcomes[rows], 0.5).weights, atol=1e-8)


def test_labels_that_a_line_divides_keep_finite_weights_and_more_penalty_makes_them_smaller():
    differences = torch.randn(20, 50, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    sizes = [fit(differences, torch.zeros(20, dtype=torch.long), p).weights.norm().item() for p in (1e-3, 1, 1e3)]
    assert math.inf > sizes[0] > sizes[1] > sizes[2] > 0


def test_nothing_but_ties_stays_a_number():
    found = fit(torch.zeros(3, 2, dtype=torch.float64), torch.full((3,), TIE), 1.0)
    assert math.isfinite(found.log_tie) and found.weights.tolist() == [0, 0]


def test_the_fit_is_the_same_every_time_and_from_everywhere():
    differences, outcomes = drawn(10)
    found = fit(differences, outcomes, 0.1)
    assert torch.equal(found.weights, fit(differences, outcomes, 0.1).weights)
    start = torch.full((4,), 5.0, dtype=torch.float64)
    assert torch.allclose(found.weights, fit(differences, outcomes, 0.1, start=start).weights, atol=1e-7)
