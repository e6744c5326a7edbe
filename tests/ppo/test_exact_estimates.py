"""The estimators around the truth: unbiased ones by a joint test, biased ones off by what theory says."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from explorer.config import CHOICES, Config
from explorer.ppo.exact import (
    Toy,
    exact_gradient,
    expected_reward,
    objective_gradient,
    sequence_probabilities,
    token_logprobs,
)
from explorer.ppo.exact_estimates import Estimates, axes, estimates, expected_estimate, spread
from tests.ppo.toys import ARTICLE, article_with_any_rewards, direction_in, random_toy

#: Biased or not, an estimator's mean is held against enumeration with one test over all coordinates at once. The seeds
#: are fixed, so the outcome is too: a right mean must be no stranger than one in a thousand, a wrong one impossible.
BATCHES, SEED, RIGHT, WRONG = 20_000, 5, 1e-3, 1e-12

UNBIASED = ["gae", "one_step_td", "monte_carlo", "monte_carlo_value", "total_return", "rloo", "remax"]


def plain(estimator: str, **changes: object) -> Config:
    """The plain policy gradient: nothing clipped, nothing whitened."""
    fields = {"objective": "policy_gradient", "whiten": False, "batch_size": 8, "group_size": 2} | changes
    return Config(estimator=estimator, **fields)


def likelihoods(found: Estimates, toy: Toy, *means: Tensor) -> list[float]:
    """Hotelling's test of all coordinates at once: for each of ``means [D]``, how likely a mean at least as far off is.

    A row's coordinates sum to 0, so its last possible word is left out, and so are prefixes that cannot occur.
    """
    able = toy.old_logits.isfinite()
    last = able & (able.flip(1).cumsum(1).flip(1) == 1)
    reached = torch.zeros_like(able)
    reached[toy.rows.unique()] = True
    free = (able & ~last & reached).flatten()
    count, dimensions = len(found.samples), int(free.sum())
    off = found.mean[free, None] - torch.stack(means)[:, free].T
    statistics = count * (off * torch.linalg.solve(found.samples[:, free].T.cov(), off)).sum(dim=0)
    # T^2 / (T^2 + N - 1) follows a beta distribution with d / 2 and (N - d) / 2; its tail, by the trapezoid rule.
    a, b = dimensions / 2, (count - dimensions) / 2
    tails = []
    for start in (statistics / (statistics + count - 1)).tolist():
        grid = torch.linspace(start, 1, 200_001, dtype=torch.float64)[:-1]
        logs = (
            (a - 1) * grid.log() + (b - 1) * torch.log1p(-grid) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        )
        tails.append(torch.trapezoid(logs.exp(), grid).item())
    return tails


def drawn(toy: Toy, config: Config, **arguments: Tensor | None) -> Estimates:
    return estimates(toy, config, batches=BATCHES, seed=SEED, **arguments)


@pytest.mark.parametrize("name", CHOICES["objective"])
def test_the_gradient_built_of_tokens_is_the_one_through_the_enumeration(name: str) -> None:
    # With a perfect critic the TD error is the exact advantage, so the mean estimate is the objective's own gradient.
    toy, config = random_toy(), plain("one_step_td", objective=name)
    moved = expected_estimate(toy, config, logits=toy.new_logits)
    torch.testing.assert_close(moved, objective_gradient(toy, config).flatten(), atol=1e-13, rtol=1e-9)


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_lie_around_the_truth(name: str) -> None:
    toy = article_with_any_rewards()
    found = drawn(toy, plain(name))
    truth, a_fifth_less = likelihoods(found, toy, found.exact, 0.8 * found.exact)
    assert truth > RIGHT and a_fifth_less < WRONG


@pytest.mark.parametrize("name", ["gae", "rloo", "remax"])
def test_unbiased_estimators_lie_around_the_truth_in_all_1727_coordinates(name: str) -> None:
    toy = random_toy()
    found = drawn(toy, plain(name))
    truth, a_fifth_less = likelihoods(found, toy, found.exact, 0.8 * found.exact)
    assert truth > RIGHT and a_fifth_less < WRONG


@pytest.mark.parametrize("name", UNBIASED)
def test_unbiased_estimators_have_no_bias_by_enumeration(name: str) -> None:
    toy = random_toy()
    mean = expected_estimate(toy, plain(name))
    torch.testing.assert_close(mean, exact_gradient(toy, toy.old_logits).flatten(), atol=1e-13, rtol=1e-9)


@pytest.mark.parametrize(("toy", "group_size"), [(random_toy(), 2), (article_with_any_rewards(), 4)])
def test_a_response_in_its_own_baseline_shrinks_the_gradient(toy: Toy, group_size: int) -> None:
    found = drawn(toy, plain("group_mean", group_size=group_size))
    shrunk, unshrunk = likelihoods(found, toy, found.exact * (group_size - 1) / group_size, found.exact)
    assert shrunk > RIGHT and unshrunk < WRONG


def of_pairs(toy: Toy, advantage: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean gradient where a response's advantage is a function of how much better it is than its one neighbour."""
    chances = sequence_probabilities(toy, toy.old_logits)
    against_all = advantage(toy.scores[:, None] - toy.scores[None, :]) @ chances
    leaf = toy.old_logits.clone().requires_grad_(True)
    (sequence_probabilities(toy, leaf) * against_all).sum().backward()
    return leaf.grad.flatten()


def test_grpo_with_pairs_is_off_by_what_theory_says() -> None:
    # The std of a pair is |d| / sqrt(2) and half of d is above the mean: d / 2 over that, so +-1 / sqrt(2) for any d.
    toy, config = random_toy(), plain("grpo")
    theory = of_pairs(toy, lambda d: d / 2 / (d.abs() / math.sqrt(2) + 1e-4))
    torch.testing.assert_close(expected_estimate(toy, config), theory, atol=1e-13, rtol=1e-9)
    found = drawn(toy, config)
    as_theory_says, unbiased = likelihoods(found, toy, theory, found.exact)
    assert as_theory_says > RIGHT and unbiased < WRONG
    signs = of_pairs(toy, lambda d: d.sign() / math.sqrt(2))
    assert (theory - signs).norm() < 2e-3 * theory.norm()


def test_whitening_pairs_is_off_by_what_theory_says() -> None:
    # Six tokens, three at d / 2 and three at -d / 2: an unbiased variance of 6/5 (d / 2)^2, so +-sqrt(5/6) for any d.
    toy, config = random_toy(), plain("reinforce_pp", batch_size=2)
    theory = of_pairs(toy, lambda d: d.sign() * math.sqrt(5 / 6))
    exact = expected_estimate(toy, config)
    assert (exact - theory).norm() < 1e-3 * theory.norm()  # not quite: 1e-8 under the root
    found = drawn(toy, config)
    as_theory_says, unbiased = likelihoods(found, toy, exact, found.exact)
    assert as_theory_says > RIGHT and unbiased < WRONG
    assert torch.equal(found.samples, drawn(toy, plain("monte_carlo", batch_size=2, whiten=True)).samples)


def test_a_critic_that_knows_nothing_leaves_one_step_td_only_the_last_word() -> None:
    toy = article_with_any_rewards()
    ignorant = torch.zeros(len(toy.old_logits), dtype=torch.float64)
    truth = exact_gradient(toy, toy.old_logits)
    last_word_only = torch.where(torch.arange(len(truth))[:, None] > 12, truth, 0.0).flatten()
    found = expected_estimate(toy, plain("one_step_td"), values=ignorant)
    torch.testing.assert_close(found, last_word_only, atol=1e-14, rtol=1e-9)


def test_with_lambda_1_a_wrong_critic_costs_variance_and_no_bias() -> None:
    toy = article_with_any_rewards()
    truth = exact_gradient(toy, toy.old_logits).flatten()
    wrong = 3 * direction_in(toy, 1)[:, 0]
    blind, trusting = plain("gae", gae_lambda=1.0), plain("gae", gae_lambda=0.5)
    torch.testing.assert_close(expected_estimate(toy, blind, values=wrong), truth, atol=1e-13, rtol=1e-9)
    assert (expected_estimate(toy, trusting, values=wrong) - truth).norm() > 0.1 * truth.norm()
    right, noisy = estimates(toy, blind), estimates(toy, blind, values=wrong)
    assert noisy.variance.sum() > 3 * right.variance.sum()


def test_what_is_reported_of_the_samples() -> None:
    found = estimates(ARTICLE, plain("monte_carlo"), batches=50)
    samples = found.samples.numpy()
    assert found.name == "monte_carlo" and samples.shape == (50, 157 * 12)
    torch.testing.assert_close(found.exact, exact_gradient(ARTICLE, ARTICLE.old_logits).flatten())
    torch.testing.assert_close(found.mean, torch.from_numpy(samples.mean(axis=0)))
    torch.testing.assert_close(found.bias, found.mean - found.exact)
    torch.testing.assert_close(found.variance, torch.from_numpy(samples.var(axis=0, ddof=1)))
    torch.testing.assert_close(found.standard_error, torch.from_numpy(samples.std(axis=0, ddof=1) / 50**0.5))


def test_more_responses_narrow_the_cloud() -> None:
    few, many = (estimates(random_toy(), plain("monte_carlo", batch_size=size)) for size in (4, 16))
    assert (few.variance.sum() / many.variance.sum()).item() == pytest.approx(4, rel=0.1)


def test_the_seed_alone_chooses_the_responses() -> None:
    one, again, other = (estimates(ARTICLE, plain("gae"), batches=9, seed=seed).samples for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    # A reward that comes with the last word is to come at every word.
    whole, to_go = (estimates(ARTICLE, plain(name), batches=9).samples for name in ("total_return", "monte_carlo"))
    assert torch.equal(whole, to_go)
    # Trusting no value but the first is the return minus that value, whatever the critic says.
    wrong = direction_in(ARTICLE, 1)[:, 0]
    configs = (plain("gae", gae_lambda=1.0), plain("monte_carlo_value"))
    trusting, subtracting = (estimates(ARTICLE, config, batches=9, values=wrong).samples for config in configs)
    torch.testing.assert_close(trusting, subtracting)


def test_remax_subtracts_what_the_likeliest_sentence_earns() -> None:
    # "The cat is", whatever the new policy says: 0.5 + 1.
    less = dataclasses.replace(ARTICLE, rewards=ARTICLE.rewards - 1.5)
    greedy, shifted = estimates(ARTICLE.drag("was", 0.9), plain("remax")), estimates(less, plain("monte_carlo"))
    torch.testing.assert_close(greedy.samples, shifted.samples)


def test_the_two_directions_of_the_picture() -> None:
    for toy in (ARTICLE, random_toy()):
        both = axes(toy)
        torch.testing.assert_close(both @ both.T, torch.eye(2, dtype=torch.float64), atol=1e-12, rtol=0)
        truth = exact_gradient(toy, toy.old_logits).flatten()
        torch.testing.assert_close(both @ truth, torch.tensor([truth.norm(), 0.0], dtype=torch.float64))
    # Of the article's sentences every estimate can be written down, and so can the direction in which they spread.
    expected = expected_reward(ARTICLE, ARTICLE.old_logits)
    leaf = ARTICLE.old_logits.clone().requires_grad_(True)
    logprobs = token_logprobs(ARTICLE, leaf).sum(dim=1)
    scores = torch.stack([torch.autograd.grad(one, leaf, retain_graph=True)[0].flatten() for one in logprobs])
    one_each = scores * (logprobs.detach().exp().sqrt() * (ARTICLE.scores - expected))[:, None]
    along, across = axes(ARTICLE)
    one_each = one_each - (one_each @ along)[:, None] * along
    widest = torch.linalg.svd(one_each, full_matrices=False).Vh[0]
    assert abs(widest @ across).item() == pytest.approx(1, abs=1e-6)


def test_where_nothing_is_better_there_is_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="give its sentences different rewards"):
        axes(dataclasses.replace(ARTICLE, rewards=torch.ones_like(ARTICLE.rewards)))


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="batches is 1, but a variance needs at least 2."):
        estimates(ARTICLE, plain("gae"), batches=1)
    with pytest.raises(ValueError, match="1,728 sentences, 4 drawn together, make more than 4,000,000 batches: choose"):
        expected_estimate(random_toy(), plain("rloo", group_size=4))
    with pytest.raises(ValueError, match="1,728 sentences, 8 drawn together"):
        expected_estimate(random_toy(), plain("rloo", whiten=True))


def test_the_plainest_estimate_spreads_as_it_is_drawn() -> None:
    toy = article_with_any_rewards()
    directions = axes(toy)
    found = drawn(toy, plain("total_return"))  # batches of 8
    of_eight = (found.samples @ directions.T).std(dim=0)
    torch.testing.assert_close(spread(toy, directions) / 8**0.5, of_eight, rtol=0.02, atol=0.0)
    torch.testing.assert_close(spread(toy, 3 * directions), 3 * spread(toy, directions))
