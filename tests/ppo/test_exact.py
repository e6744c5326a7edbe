"""The toy's truths: by hand on the article's example, by finite differences, and by their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from explorer.config import CHOICES, Config
from explorer.ppo.exact import (
    exact_advantages,
    exact_gradient,
    exact_kl,
    exact_values,
    expected_objective,
    expected_reward,
    objective_gradient,
    objective_gradients,
    sequence_probabilities,
    token_logprobs,
)
from tests.ppo.toys import ARTICLE, direction_in, random_toy


def test_the_articles_truths_by_hand() -> None:
    old, new = ARTICLE.old_logits, ARTICLE.new_logits
    # "The cat" (0.6 * 0.5) earns 0.5 for the cat + 0.6 - 0.4. Elsewhere (0.7) the verbs earn 0.6 - 0.4 too, and a cat
    # (0.4 * 0.5) 0.5 more: 0.3 * 0.7 + 0.7 * 0.2 + 0.2 * 0.5.
    assert expected_reward(ARTICLE, old).item() == pytest.approx(0.45)
    assert exact_values(ARTICLE, old)[[0, ARTICLE.row("The cat")]].tolist() == pytest.approx([0.45, 0.7])
    # 0.1 moves from -1 to +1 in 0.3 of the sentences.
    assert expected_reward(ARTICLE, new).item() == pytest.approx(0.45 + 0.3 * 0.1 * 2)
    # The policies differ after "The cat" only.
    assert exact_kl(ARTICLE, old, new).item() == pytest.approx(0.3 * (0.6 * math.log(6 / 7) + 0.4 * math.log(4 / 3)))
    assert exact_kl(ARTICLE, new, old).item() == pytest.approx(0.3 * (0.7 * math.log(7 / 6) + 0.3 * math.log(3 / 4)))
    # "is" earns 1.5 where 0.7 is expected: 0.3 * 0.6 * 0.8.
    row = exact_gradient(ARTICLE, old)[ARTICLE.row("The cat")]
    verbs = [ARTICLE.words.index("is"), ARTICLE.words.index("was")]
    assert row[verbs].tolist() == pytest.approx([0.144, -0.144])
    assert row.abs().sum().item() == pytest.approx(0.288)
    # Ratios 7/6 and 3/4 on advantages 0.8 and -1.2; the clip holds "was" at 0.8 * -1.2 and so gives it no gradient.
    assert expected_objective(ARTICLE, Config(objective="unclipped")).item() == pytest.approx(0.06)
    assert expected_objective(ARTICLE, Config(objective="clip")).item() == pytest.approx(0.0528)


@pytest.mark.parametrize("baseline", [0.0, 0.45, -3.0])
def test_the_gradient_is_the_score_times_the_reward_whatever_the_baseline(baseline: float) -> None:
    for toy in (ARTICLE, random_toy()):
        leaf = toy.new_logits.clone().requires_grad_(True)
        logprobs = token_logprobs(toy, leaf).sum(dim=1)
        (logprobs.detach().exp() * (toy.scores - baseline) * logprobs).sum().backward()
        torch.testing.assert_close(exact_gradient(toy, toy.new_logits), leaf.grad, atol=1e-14, rtol=1e-9)


def slope(fn: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor) -> float:
    """The derivative along a direction, by a central difference."""
    step = 1e-5 * direction
    return ((fn(at + step) - fn(at - step)) / 2e-5).item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [name for name in CHOICES["objective"] if name != "cispo"])  # its weight is frozen
def test_gradients_against_finite_differences(name: str, seed: int) -> None:
    toy, along = random_toy(), direction_in(random_toy(), seed)
    config = Config(objective=name)
    reward_slope = slope(lambda logits: expected_reward(toy, logits), toy.new_logits, along)
    assert (exact_gradient(toy, toy.new_logits) * along).sum().item() == pytest.approx(reward_slope, rel=1e-6)
    objective_slope = slope(lambda logits: expected_objective(toy, config, logits), toy.new_logits, along)
    assert (objective_gradient(toy, config) * along).sum().item() == pytest.approx(objective_slope, rel=1e-3, abs=1e-6)


def test_the_divergence_is_that_of_the_rows_each_as_often_as_it_is_reached() -> None:
    toy = random_toy(4)
    new, old = toy.new_logits.log_softmax(1), toy.old_logits.log_softmax(1)
    rows = (new.exp() * (new - old)).sum(dim=1)
    first, second = new[0].exp(), new[1:5].exp()
    reached = torch.cat([torch.ones(1), first, (first[:, None] * second).flatten()])
    assert exact_kl(toy, toy.new_logits, toy.old_logits).item() == pytest.approx((reached * rows).sum().item())


def test_values_are_what_is_still_to_come() -> None:
    toy = random_toy(4)
    values, chances = exact_values(toy, toy.old_logits), sequence_probabilities(toy, toy.old_logits)
    for row in range(len(values)):
        here = (toy.rows == row).any(dim=1)
        mean = (chances[here] * toy.scores[here]).sum() / chances[here].sum()
        assert values[row].item() == pytest.approx(mean.item())


def test_advantages_are_what_the_tokens_add_to_the_expected_reward() -> None:
    toy = random_toy()
    advantages, chances = exact_advantages(toy, toy.old_logits), sequence_probabilities(toy, toy.old_logits)
    torch.testing.assert_close(advantages.sum(1), toy.scores - expected_reward(toy, toy.old_logits))
    for t in range(3):  # nothing to be had on average, whatever came before
        sums = torch.zeros(157, dtype=torch.float64).index_add_(0, toy.rows[:, t], chances * advantages[:, t])
        assert sums.abs().max().item() < 1e-12


def test_at_the_first_step_every_objective_has_the_policy_gradient() -> None:
    toy = random_toy()
    truth = exact_gradient(toy, toy.old_logits)
    shared = (toy.scores - expected_reward(toy, toy.old_logits))[:, None].expand(-1, 3)
    for name in CHOICES["objective"]:
        config = Config(objective=name)
        torch.testing.assert_close(objective_gradient(toy, config, toy.old_logits, shared), truth, atol=1e-12, rtol=0)
        if name != "gspo":  # it moves a token's advantage to the other tokens of the response
            torch.testing.assert_close(objective_gradient(toy, config, toy.old_logits), truth, atol=1e-12, rtol=0)


def test_further_on_the_objectives_part() -> None:
    found = objective_gradients(ARTICLE)
    assert list(found) == list(CHOICES["objective"])
    verbs = {name: table[ARTICLE.row("The cat"), 6:8].tolist() for name, table in found.items()}
    # "is" comes in 0.18 of the sentences: ratio 7/6, advantage 0.8, and a probability 0.3 from certainty. "was" comes
    # in 0.12: ratio 3/4, advantage -1.2, 0.7 away; the clip holds it. The plain policy gradient looks at no ratio.
    assert verbs["unclipped"] == pytest.approx([0.126, -0.126])  # 0.18 * 7/6 * 0.8 * 0.3 + 0.12 * 3/4 * 1.2 * 0.7
    assert verbs["clip"] == pytest.approx([0.0504, -0.0504])
    assert verbs["policy_gradient"] == pytest.approx([0.144, -0.144])  # 0.18 * 0.8 * 0.3 + 0.12 * 1.2 * 0.7
