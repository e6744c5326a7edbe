"""The objectives: the six cases of the clip by hand, the article's example, and what autograd says of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from explorer.config import Config
from explorer.ppo.objectives import (
    OBJECTIVES,
    TokenObjective,
    curve,
    judge_tokens,
    total_loss,
    unclipped,
    value_terms,
)

CLIP = Config(clip_range=0.2)
UNCLIPPED = Config(clip_range=0.2, objective="unclipped")

#: (ratio, advantage, the term to maximise, whether the gradient is zero), at a clip range of 0.2.
SIX_CASES = [
    pytest.param(1.1, 2.0, 2.2, False, id="inside, A > 0: the plain product"),
    pytest.param(1.5, 2.0, 2.4, True, id="above, A > 0: held at 1.2, no gradient"),
    pytest.param(0.5, 2.0, 1.0, False, id="below, A > 0: the wrong side, full gradient"),
    pytest.param(0.9, -2.0, -1.8, False, id="inside, A < 0: the plain product"),
    pytest.param(1.5, -2.0, -3.0, False, id="above, A < 0: the wrong side, full gradient"),
    pytest.param(0.5, -2.0, -1.6, True, id="below, A < 0: held at 0.8, no gradient"),
]


def judge(ratios: list[float], advantages: list[float], config: Config = CLIP) -> TokenObjective:
    log_ratios = torch.tensor([ratios], dtype=torch.float64).log()
    given_advantages = torch.tensor([advantages], dtype=torch.float64)
    return judge_tokens(log_ratios, given_advantages, torch.ones_like(log_ratios, dtype=torch.bool), config)


@pytest.mark.parametrize(("ratio", "advantage", "term", "frozen"), SIX_CASES)
def test_the_six_cases_of_the_clip(ratio: float, advantage: float, term: float, frozen: bool) -> None:
    tokens = judge([ratio], [advantage])
    assert tokens.terms.item() == pytest.approx(term)
    assert tokens.zero_gradient.item() is frozen
    assert tokens.outside_range.item() is (ratio in (0.5, 1.5))


@pytest.mark.parametrize(("ratio", "advantage", "term", "frozen"), SIX_CASES)
def test_the_gradient_of_the_six_cases(ratio: float, advantage: float, term: float, frozen: bool) -> None:
    # d term / d log pi by a central difference, which knows nothing of branches.
    def term_at(log_ratio: float) -> float:
        tokens = torch.tensor([[log_ratio]], dtype=torch.float64)
        return OBJECTIVES["clip"](tokens, torch.full_like(tokens, advantage), CLIP).item()

    step = 1e-6
    slope = (term_at(math.log(ratio) + step) - term_at(math.log(ratio) - step)) / (2 * step)
    assert slope == pytest.approx(0.0 if frozen else ratio * advantage, abs=1e-6)


def test_the_articles_example() -> None:
    # After "The cat", "is" goes from 0.6 to 0.7 and "was" from 0.4 to 0.3.
    log_ratios = torch.tensor([[0.7, 0.3]]).log() - torch.tensor([[0.6, 0.4]]).log()
    assert log_ratios.exp()[0].tolist() == pytest.approx([1.1667, 0.75], abs=5e-5)
    mask = torch.ones(1, 2, dtype=torch.bool)
    # "is" was good and "was" was bad: at eps 0.2 only "was" has gone too far, at eps 0.1 both have.
    advantages = torch.tensor([[1.0, -1.0]])
    wide = judge_tokens(log_ratios, advantages, mask, Config(clip_range=0.2))
    narrow = judge_tokens(log_ratios, advantages, mask, Config(clip_range=0.1))
    assert wide.outside_range.tolist() == [[False, True]]
    assert narrow.outside_range.tolist() == [[True, True]]
    assert wide.zero_gradient.tolist() == [[False, True]]
    assert narrow.zero_gradient.tolist() == [[True, True]]
    assert wide.terms[0].tolist() == pytest.approx([7 / 6, -0.8])
    assert narrow.terms[0].tolist() == pytest.approx([1.1, -0.9])
    # With the signs the other way round the same ratios are outside, and both tokens keep their gradient.
    reversed_ = judge_tokens(log_ratios, -advantages, mask, Config(clip_range=0.1))
    assert reversed_.outside_range.tolist() == [[True, True]]
    assert reversed_.zero_gradient.tolist() == [[False, False]]
    assert reversed_.gradient_shares[0].tolist() == pytest.approx([1.16667 / 1.91667, 0.75 / 1.91667], abs=1e-5)


ratios = st.floats(0.05, 5.0)
advantages = st.floats(-3.0, 3.0).filter(lambda a: a == 0 or abs(a) > 1e-3)
tokens = st.lists(st.tuples(ratios, advantages), min_size=1, max_size=12)


@given(tokens, st.sampled_from([0.05, 0.1, 0.2, 0.5]))
def test_a_token_is_frozen_only_where_it_has_moved_too_far_in_its_own_favour(
    batch: list[tuple[float, float]], clip_range: float
) -> None:
    edge = 1e-9  # at the very edge either answer is right
    batch = [(r, a) for r, a in batch if abs(abs(r - 1) - clip_range) > edge]
    if not batch:
        return
    found = judge([r for r, _ in batch], [a for _, a in batch], Config(clip_range=clip_range))
    expected = [(a > 0 and r > 1 + clip_range) or (a < 0 and r < 1 - clip_range) for r, a in batch]
    assert found.zero_gradient[0].tolist() == expected


@given(tokens)
def test_the_clip_only_ever_lowers_the_term(batch: list[tuple[float, float]]) -> None:
    clipped, free = (judge([r for r, _ in batch], [a for _, a in batch], config) for config in (CLIP, UNCLIPPED))
    assert (clipped.terms <= free.terms + 1e-12).all()
    inside = ~free.outside_range
    torch.testing.assert_close(clipped.terms[inside], free.terms[inside])


@pytest.mark.parametrize("name", OBJECTIVES)
@given(batch=tokens)
def test_gradient_shares_are_a_distribution(name: str, batch: list[tuple[float, float]]) -> None:
    found = judge([r for r, _ in batch], [a for _, a in batch], Config(objective=name))
    shares = found.gradient_shares
    assert (shares >= 0).all()
    assert (shares[found.zero_gradient] == 0).all()
    pulled = [a != 0 and not frozen for (_, a), frozen in zip(batch, found.zero_gradient[0].tolist(), strict=True)]
    if any(pulled) or name != "kl_penalty":  # whose price is paid without an advantage too
        assert shares.sum().item() == pytest.approx(1.0 if any(pulled) else 0.0)


def test_gradient_shares_by_hand() -> None:
    # |gradient| = ratio * |A| where it flows: 1 * 3, 2 * 1 (wrong side), 0 (frozen): shares 3/5, 2/5, 0.
    assert judge([1.0, 2.0, 2.0], [3.0, -1.0, 1.0]).gradient_shares[0].tolist() == pytest.approx([0.6, 0.4, 0.0])


def test_without_a_clip_nothing_is_frozen_and_everything_can_be_outside() -> None:
    found = judge([0.1, 5.0, 1.0], [-1.0, 1.0, 0.0], UNCLIPPED)
    assert found.zero_gradient.tolist() == [[False, False, False]]
    assert found.outside_range.tolist() == [[True, True, False]]
    assert found.terms[0].tolist() == pytest.approx([-0.1, 5.0, 0.0])


def test_an_advantage_of_zero_is_not_called_frozen() -> None:
    assert judge([1.0, 3.0], [0.0, 0.0]).zero_gradient.tolist() == [[False, False]]


def test_outside_the_mask_everything_is_zero_and_nothing_is_counted() -> None:
    log_ratios = torch.tensor([[0.0, 5.0]])
    found = judge_tokens(log_ratios, torch.tensor([[1.0, 1.0]]), torch.tensor([[True, False]]), CLIP)
    assert found.terms.tolist() == [[1.0, 0.0]]
    assert found.outside_range.tolist() == [[False, False]]
    assert found.zero_gradient.tolist() == [[False, False]]
    assert found.gradient_shares.tolist() == [[1.0, 0.0]]


def test_judging_leaves_no_trace_on_its_inputs() -> None:
    log_ratios = torch.zeros(1, 2, requires_grad=True)
    with torch.no_grad():
        found = judge_tokens(log_ratios, torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), CLIP)
    assert log_ratios.grad is None
    assert not found.terms.requires_grad


def test_value_terms_by_hand() -> None:
    values, old = torch.tensor([[2.0, 2.0, 0.5]]), torch.tensor([[1.0, 1.0, 1.0]])
    returns = torch.tensor([[0.0, 3.0, 0.0]])
    assert value_terms(values, old, returns, None)[0].tolist() == [2.0, 0.5, 0.125]
    # Held within 0.5 of the old value: 1.5, 1.5, 0.5. The larger error counts: 2 from 0, 1.5 from 3, 0.5 from 0.
    assert value_terms(values, old, returns, 0.5)[0].tolist() == [2.0, 1.125, 0.125]


def test_the_total_loss_by_hand() -> None:
    config = Config(vf_coef=0.5, ent_coef=0.25)
    policy_loss, value_loss, entropy = torch.tensor(-1.0), torch.tensor(3.0), torch.tensor(2.0)
    assert total_loss(policy_loss, value_loss, None, config).item() == 0.5
    assert total_loss(policy_loss, value_loss, entropy, config).item() == 0.0


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 2))
def test_clipping_the_value_never_lowers_its_loss(value: float, old: float, target: float, clip_range: float) -> None:
    numbers = [torch.tensor([[x]], dtype=torch.float64) for x in (value, old, target)]
    clipped, free = value_terms(*numbers, clip_range), value_terms(*numbers, None)
    assert (clipped >= free).all()
    if abs(value - old) < clip_range - 1e-9:  # within the range the clip is not felt
        torch.testing.assert_close(clipped, free)


@pytest.mark.parametrize("clip_range", [0.1, 0.2, 0.5])
def test_the_curve_bends_where_the_clip_begins(clip_range: float) -> None:
    drawn = curve(Config(clip_range=clip_range))
    ratio_of, positive, negative = drawn.ratios.tolist(), drawn.positive.tolist(), drawn.negative.tolist()
    assert ratio_of[0] == pytest.approx(0.25)
    assert ratio_of[-1] == pytest.approx(4.0)
    assert max(positive) == pytest.approx(1 + clip_range)
    assert max(negative) == pytest.approx(-(1 - clip_range))
    for ratio, up, down in zip(ratio_of, positive, negative, strict=True):
        assert up == pytest.approx(ratio if ratio <= 1 + clip_range else 1 + clip_range, abs=1e-5)
        assert down == pytest.approx(-ratio if ratio >= 1 - clip_range else -(1 - clip_range), abs=1e-5)


def test_the_curve_is_evenly_spaced_in_the_logarithm() -> None:
    steps = curve(CLIP, low=0.5, high=2.0, count=5).ratios
    assert steps.tolist() == pytest.approx([0.5, 2**-0.5, 1.0, 2**0.5, 2.0])


def test_the_curve_follows_the_chosen_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "clip", unclipped)
    assert curve(CLIP).positive[-1].item() == pytest.approx(4.0)


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"gspo"}))
def test_every_objective_but_one_treats_tokens_one_by_one(name: str) -> None:
    objective: Callable[..., Tensor] = OBJECTIVES[name]
    config = dataclasses.replace(CLIP, objective=name)
    log_ratios, weights = torch.tensor([[0.5, -0.5], [0.1, 0.9]]), torch.tensor([[1.0, -1.0], [2.0, -2.0]])
    mask = torch.ones(2, 2, dtype=torch.bool)
    whole = objective(log_ratios, weights, config, mask)
    for row, t in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        one = (slice(row, row + 1), slice(t, t + 1))
        assert torch.equal(objective(log_ratios[one], weights[one], config, mask[one]), whole[one])
