"""The objectives beside PPO's own: each by hand, against finite differences, and by its relations to the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

from explorer.config import Config
from explorer.ppo import objectives
from explorer.ppo.objectives import OBJECTIVES, TokenObjective, curve, judge_tokens
from explorer.ppo.surrogates import step_kl

#: Where some objective bends, at the settings of ``settings``.
EDGES = (0.8, 1.2, 1.28, 3.0, 4.0)


def settings(name: str, **changes: float) -> Config:
    """eps 0.2, eps_high 0.28, c 3, delta 4, b 1 unless changed."""
    return Config(objective=name, **{"clip_range": 0.2, **changes})


def row(values: list[float]) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def judge(name: str, ratios: list[float], advantages: list[float], **changes: float) -> TokenObjective:
    """One token a response, so that GSPO's ratio is the token's."""
    log_ratios, given_advantages = row(ratios).log().T, row(advantages).T
    return judge_tokens(log_ratios, given_advantages, torch.ones_like(log_ratios).bool(), settings(name, **changes))


def pulls(name: str, log_ratios: Tensor, advantages: Tensor, mask: Tensor | None = None, **changes: float) -> Tensor:
    """d (sum of the terms that count) / d log-ratio, by autograd."""
    leaf = log_ratios.clone().requires_grad_(True)
    terms = OBJECTIVES[name](leaf, advantages, settings(name, **changes), mask)
    counted = terms if mask is None else terms[mask]
    return torch.autograd.grad(counted.sum(), leaf)[0]


# --- by hand ---

#: (objective, ratio, advantage, its term, the pull on log pi)
BY_HAND = [
    ("policy_gradient", 2.0, 2.0, 1.386294, 2.0),
    ("policy_gradient", 0.5, -2.0, 1.386294, -2.0),
    ("policy_gradient", 1.0, 3.0, 0.0, 3.0),
    ("clip_higher", 1.25, 2.0, 2.5, 2.5),  # beyond 1 + eps, within 1 + eps_high
    ("clip_higher", 1.5, 2.0, 2.56, 0.0),
    ("clip_higher", 0.5, 2.0, 1.0, 1.0),
    ("clip_higher", 1.5, -2.0, -3.0, -3.0),
    ("clip_higher", 0.9, -2.0, -1.8, -1.8),
    ("clip_higher", 0.5, -2.0, -1.6, 0.0),
    ("dual_clip", 1.1, 2.0, 2.2, 2.2),
    ("dual_clip", 5.0, 2.0, 2.4, 0.0),
    ("dual_clip", 0.5, -2.0, -1.6, 0.0),
    ("dual_clip", 2.0, -2.0, -4.0, -4.0),
    ("dual_clip", 5.0, -2.0, -6.0, 0.0),  # 3 times the advantage, however far it goes
    ("two_sided", 1.1, 2.0, 2.2, 2.2),
    ("two_sided", 5.0, 2.0, 2.4, 0.0),
    ("two_sided", 0.5, -2.0, -1.6, 0.0),
    ("two_sided", 3.5, -2.0, -7.0, -7.0),
    ("two_sided", 5.0, -2.0, -8.0, 0.0),  # 4 times the advantage
    ("kl_penalty", 2.0, 2.0, 3.693147, 3.0),  # 4 minus a KL of 2 - 1 - log 2; pull 4 - (2 - 1)
    ("kl_penalty", 2.0, -2.0, -4.306853, -5.0),
    ("kl_penalty", 0.5, 2.0, 0.806853, 1.5),
    ("kl_penalty", 0.5, -2.0, -1.193147, -0.5),
    ("kl_penalty", 2.0, 0.0, -0.306853, -1.0),
    ("gspo", 1.1, 2.0, 2.2, 2.2),
    ("gspo", 1.25, 2.0, 2.5, 2.5),  # beyond 1 + eps, within 1 + eps_high
    ("gspo", 1.5, 2.0, 2.56, 0.0),
    ("gspo", 1.5, -2.0, -3.0, -3.0),
    ("gspo", 0.5, -2.0, -1.6, 0.0),
    ("cispo", 1.25, 2.0, 0.557859, 2.5),  # inside, the weight is the ratio: 1.25 * 2 * log 1.25
    ("cispo", 2.0, 2.0, 1.774457, 2.56),  # 1.28 * 2 * log 2
    ("cispo", 2.0, -2.0, -1.774457, -2.56),
    ("cispo", 0.5, 2.0, -1.109035, 1.6),  # 0.8 * 2 * log 0.5
    ("cispo", 0.5, -2.0, 1.109035, -1.6),
    ("sapo", 1.0, 2.0, 4.0, 2.0),  # at 1 the gate's slope is 1, whatever tau
    ("sapo", 1.0, -2.0, -3.809524, -2.0),
    ("sapo", 2.0, 2.0, 5.848469, 3.145791),  # 4 sigmoid(1) = 2.924234; 4 * 0.731059 * 0.268941 * 2 * 2
    ("sapo", 2.0, -2.0, -5.643999, -3.072439),  # tau 1.05: sigmoid(1.05) = 0.740775
    ("sapo", 0.5, -2.0, -2.831878, -0.934139),  # sigmoid(-0.525) = 0.371684
]


@pytest.mark.parametrize(("name", "ratio", "advantage", "term", "pull"), BY_HAND)
def test_terms_and_pulls_by_hand(name: str, ratio: float, advantage: float, term: float, pull: float) -> None:
    log_ratios, advantages = row([math.log(ratio)]), row([advantage])
    found = OBJECTIVES[name](log_ratios, advantages, settings(name))
    assert found.item() == pytest.approx(term, abs=2e-6)
    assert pulls(name, log_ratios, advantages).item() == pytest.approx(pull, abs=5e-6)


def test_every_objective_is_worked_out_by_hand() -> None:
    assert {case[0] for case in BY_HAND} | {"clip", "unclipped"} == set(OBJECTIVES)


#: Ratios, and who of them gets no gradient, with one token a response.
ALONG = [0.5, 1.0, 1.25, 1.5, 3.5, 5.0]
NOBODY = [0, 0, 0, 0, 0, 0]
FROZEN = {
    "clip": ([0, 0, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]),
    "unclipped": (NOBODY, NOBODY),
    "policy_gradient": (NOBODY, NOBODY),
    "clip_higher": ([0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0]),
    "dual_clip": ([0, 0, 1, 1, 1, 1], [1, 0, 0, 0, 1, 1]),
    "two_sided": ([0, 0, 1, 1, 1, 1], [1, 0, 0, 0, 0, 1]),
    "kl_penalty": (NOBODY, [1, 0, 0, 0, 0, 0]),  # at 0.5 the price's pull, 1 - 0.5, is just as large as rho A
    "gspo": ([0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 0]),
    "cispo": (NOBODY, NOBODY),
    "sapo": (NOBODY, NOBODY),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_who_gets_no_gradient(name: str) -> None:
    for sign, expected in zip((1.0, -1.0), FROZEN[name], strict=True):
        found = judge(name, ALONG, [sign] * 6)
        assert found.zero_gradient[:, 0].int().tolist() == expected
        assert (found.gradient_shares[found.zero_gradient] == 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_who_is_outside_the_clip_range(name: str) -> None:
    high = 1.25 if name not in ("clip_higher", "gspo", "cispo") else 1.5
    expected = [ratio < 1 or ratio >= high for ratio in ALONG]
    assert judge(name, ALONG, [1.0] * 6).outside_range[:, 0].tolist() == expected


def test_at_a_tie_of_two_slopes_autograd_takes_half_of_each() -> None:
    # c = 1: at a ratio of exactly 1 the floor, which is flat, meets the line, whose slope is A.
    assert pulls("dual_clip", row([0.0]), row([-2.0]), dual_clip=1.0).item() == -1.0
    found = judge_tokens(row([0.0]), row([-2.0]), row([1.0]).bool(), settings("dual_clip", dual_clip=1.0))
    assert not found.zero_gradient.item()
    # At 1 both branches of an ordinary clip have the same slope, and the halves add up to it.
    for name in ("clip", "clip_higher", "dual_clip", "two_sided", "gspo"):
        assert pulls(name, row([0.0]), row([-2.0])).item() == -2.0


# --- against finite differences ---

log_ratios = st.floats(-1.5, 1.9).filter(lambda x: all(abs(math.exp(x) - edge) > 1e-3 for edge in EDGES))
advantages = st.floats(-3.0, 3.0).filter(lambda a: abs(a) > 1e-3)
tokens = st.lists(st.tuples(log_ratios, advantages), min_size=1, max_size=6)


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES) - {"cispo"}))
@given(batch=tokens)
def test_the_gradient_is_the_slope(name: str, batch: list[tuple[float, float]]) -> None:
    at, weights = row([x for x, _ in batch]), row([a for _, a in batch])
    mean = math.exp(at.mean().item())
    if name == "gspo" and any(abs(mean - edge) < 1e-3 for edge in EDGES):
        return  # the response's ratio is at an edge
    found, step = pulls(name, at, weights), 1e-6
    for t in range(len(batch)):
        nudge = torch.zeros_like(at)
        nudge[0, t] = step
        above, below = (OBJECTIVES[name](at + s * nudge, weights, settings(name)).sum() for s in (1, -1))
        assert found[0, t].item() == pytest.approx(((above - below) / (2 * step)).item(), abs=1e-6)


class Held(TorchFunctionMode):
    """Inside, what ``detach`` gave the first time it gives again: a weight that lets no gradient through stays put."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(
        self, function: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        if function is not Tensor.detach:
            return found
        self.weights.append(found)
        return self.weights[0]


@given(batch=tokens)
def test_cispos_gradient_is_the_slope_with_the_weight_frozen(batch: list[tuple[float, float]]) -> None:
    at, weights = row([x for x, _ in batch]), row([a for _, a in batch])
    found, step = pulls("cispo", at, weights), 1e-6
    with Held() as held:
        OBJECTIVES["cispo"](at, weights, settings("cispo"))  # the weight of this place is held from here on
        for t in range(len(batch)):
            nudge = torch.zeros_like(at)
            nudge[0, t] = step
            above, below = (OBJECTIVES["cispo"](at + s * nudge, weights, settings("cispo")).sum() for s in (1, -1))
            assert found[0, t].item() == pytest.approx(((above - below) / (2 * step)).item(), abs=1e-6)
    # One weight a forward, truncated to the band.
    assert len(held.weights) == 1 + 2 * len(batch)
    assert held.weights[0].min() >= 0.8 and held.weights[0].max() <= 1.28


def test_the_weight_of_cispo_moves_unless_it_is_held() -> None:
    # rho = e^0.1, inside the band: d (rho log rho) / d log rho would be rho (1 + log rho), 1.1 times the pull.
    at, weights, step = row([0.1]), row([1.0]), 1e-6
    above, below = (OBJECTIVES["cispo"](at + s * step, weights, settings("cispo")).item() for s in (1, -1))
    assert (above - below) / (2 * step) == pytest.approx(1.1 * pulls("cispo", at, weights).item(), rel=1e-5)


# --- how they are related ---


@given(batch=tokens)
def test_where_they_meet(batch: list[tuple[float, float]]) -> None:
    at, weights = row([x for x, _ in batch]), row([a for _, a in batch])

    def terms(name: str, **changes: float) -> Tensor:
        return OBJECTIVES[name](at, weights, settings(name, **changes))

    torch.testing.assert_close(terms("clip_higher", clip_range_high=0.2), terms("clip"))
    torch.testing.assert_close(terms("kl_penalty", penalty_coef=0.0), terms("unclipped"))
    torch.testing.assert_close(terms("dual_clip", dual_clip=100.0), terms("clip"))
    torch.testing.assert_close(terms("two_sided", delta=100.0), terms("clip"))
    torch.testing.assert_close(terms("two_sided", delta=2.5), terms("dual_clip", dual_clip=2.5))
    alone = OBJECTIVES["gspo"](at.T, weights.T, settings("gspo"))  # responses of one token
    torch.testing.assert_close(alone.T, terms("clip_higher"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_on_the_first_step_all_pull_alike(name: str) -> None:
    # At a ratio of 1 every objective's gradient is A: they differ only in what comes after. One token a response.
    weights = row([2.0, -1.0, 0.5]).T
    torch.testing.assert_close(pulls(name, torch.zeros_like(weights), weights), weights)


# --- a whole response at once ---


def test_a_response_has_one_ratio() -> None:
    # Log-ratios 0.6 and 0.0: s = exp(0.3) = 1.349859, though the second token has not moved at all.
    mask = torch.ones(1, 2).bool()
    above = judge_tokens(row([0.6, 0.0]), row([2.0, 2.0]), mask, settings("gspo"))
    assert above.terms[0].tolist() == pytest.approx([2.56, 2.56])
    assert above.zero_gradient.tolist() == above.outside_range.tolist() == [[True, True]]
    below = judge_tokens(row([0.6, 0.0]), row([-2.0, -2.0]), mask, settings("gspo"))
    assert below.terms[0].tolist() == pytest.approx([-2.699718, -2.699718], abs=1e-6)
    assert below.zero_gradient.tolist() == [[False, False]]
    # Two large steps in opposite directions cancel: s = 1, and nothing is clipped.
    balanced = judge_tokens(row([0.9, -0.9]), row([2.0, 2.0]), mask, settings("gspo"))
    assert balanced.outside_range.tolist() == [[False, False]]
    assert balanced.terms[0].tolist() == pytest.approx([2.0, 2.0])


def test_with_an_advantage_a_token_the_flowing_terms_pull_all_of_a_response() -> None:
    # s = exp(0.3): the first token's term is clipped, the second's is not. Each gets s * (-1) / 2.
    at, weights = row([0.6, 0.0]), row([2.0, -1.0])
    assert pulls("gspo", at, weights)[0].tolist() == pytest.approx([-0.674929, -0.674929], abs=1e-6)
    found = judge_tokens(at, weights, torch.ones(1, 2).bool(), settings("gspo"))
    assert found.zero_gradient.tolist() == [[False, False]]
    assert found.terms[0].tolist() == pytest.approx([2.56, -1.349859], abs=1e-6)
    # Advantages that cancel leave no pull at all, inside the clip range though they are.
    even = judge_tokens(row([0.0, 0.0]), row([1.0, -1.0]), torch.ones(1, 2).bool(), settings("gspo"))
    assert even.zero_gradient.tolist() == [[True, True]]
    assert even.outside_range.tolist() == [[False, False]]


def test_gspos_published_range_clips_above_and_below_by_its_own() -> None:
    # One token a response, moved by 0.035 %: within 4e-4 above, beyond 3e-4 below.
    published = {"clip_range": 3e-4, "clip_range_high": 4e-4}
    for advantage, held in ((1.0, [[False], [False], [False], [True]]), (-1.0, [[True], [False], [False], [False]])):
        found = judge("gspo", [0.99965, 0.99975, 1.00035, 1.00045], [advantage] * 4, **published)
        assert found.zero_gradient.tolist() == held
    assert found.outside_range.tolist() == [[True], [False], [False], [True]]
    # A response of two tokens that moved by 0.1 % each, in opposite directions, has not moved.
    still = judge_tokens(row([1e-3, -1e-3]), row([1.0, 1.0]), torch.ones(1, 2).bool(), settings("gspo", **published))
    assert still.outside_range.tolist() == [[False, False]]


def test_responses_do_not_see_one_another() -> None:
    at, weights = torch.tensor([[0.5, 0.1], [-0.3, 0.2]]), torch.tensor([[1.0, -1.0], [2.0, 2.0]])
    whole = OBJECTIVES["gspo"](at, weights, settings("gspo"))
    for r in range(2):
        assert torch.equal(OBJECTIVES["gspo"](at[r : r + 1], weights[r : r + 1], settings("gspo")), whole[r : r + 1])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_padding_changes_nothing(name: str) -> None:
    at, weights = row([0.3, -0.4, 0.2, 0.9]), row([1.0, -1.0, 0.5, -2.0])
    plain = judge_tokens(at, weights, torch.ones(1, 4).bool(), settings(name))
    padded_at, padded_weights = torch.cat([at, row([7.0, -7.0])], 1), torch.cat([weights, row([9.0, -9.0])], 1)
    padded = judge_tokens(padded_at, padded_weights, torch.tensor([[True] * 4 + [False] * 2]), settings(name))
    for one, other in zip(plain[:4], padded[:4], strict=True):
        assert torch.equal(one, other[:, :4])
        assert not other[:, 4:].any()


def test_a_response_without_tokens_is_no_trouble() -> None:
    found = judge_tokens(row([0.3, 0.1]), row([1.0, 1.0]), torch.zeros(1, 2).bool(), settings("gspo"))
    assert not torch.cat([part.double() for part in found[:4]]).any()
    assert found.total == 0


# --- the price of a step ---


def test_the_step_kl_is_right_on_average_and_so_is_its_gradient() -> None:
    # Over a whole vocabulary: expectation under the old policy against the KL of the two distributions.
    old = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    logits = torch.tensor([0.2, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    new = torch.distributions.Categorical(logits=logits)
    exact = torch.distributions.kl_divergence(torch.distributions.Categorical(old), new)
    expected = (old * step_kl(new.logits - old.log())).sum()
    assert expected.item() == pytest.approx(exact.item(), abs=1e-12)
    (one,) = torch.autograd.grad(expected, logits, retain_graph=True)
    (other,) = torch.autograd.grad(exact, logits)
    torch.testing.assert_close(one, other)


def test_a_price_stops_a_token_where_it_outweighs_the_advantage() -> None:
    # A = 1, b = 3: the pull is rho - 3 (rho - 1), which is 0 at 1.5.
    before, after = (pulls("kl_penalty", row([math.log(r)]), row([1.0]), penalty_coef=3.0).item() for r in (1.49, 1.51))
    assert before == pytest.approx(0.02)
    assert after == pytest.approx(-0.02)


# --- the curve ---


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_has_its_own_curve(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "RATIO_GRAINS", {})  # all at the same ratios
    drawn = curve(settings(name))
    assert drawn.ratios[-1].item() == pytest.approx(8.0 if name in ("dual_clip", "two_sided") else 4.0)
    mine = curve(settings(name), high=8.0)
    for other in set(OBJECTIVES) - {name}:
        theirs = curve(settings(other), high=8.0)
        same = torch.equal(mine.positive, theirs.positive) and torch.equal(mine.negative, theirs.negative)
        assert same is ({name, other} == {"clip_higher", "gspo"})  # the same function, of a whole response's ratio


def test_the_curve_of_a_clip_of_a_few_ten_thousandths_bends_where_it_should() -> None:
    drawn = curve(settings("gspo", clip_range=3e-4, clip_range_high=4e-4))
    ratios = drawn.ratios
    assert [ratios[0].item(), ratios[-1].item()] == pytest.approx([0.25, 4.0])
    assert bool((ratios.diff() > 0).all())
    assert int(((ratios > 0.9997) & (ratios < 1.0004)).sum()) >= 15
    assert drawn.positive.max().item() == pytest.approx(1.0004, abs=1e-6)
    assert drawn.negative.max().item() == pytest.approx(-0.9997, abs=1e-6)
    rising, falling = ratios < 1.0004, ratios > 0.9997
    torch.testing.assert_close(drawn.positive[rising], ratios[rising])
    torch.testing.assert_close(drawn.negative[falling], -ratios[falling])


def test_the_curve_of_a_dual_clip_is_flat_again_past_c() -> None:
    drawn = curve(settings("dual_clip"))
    assert set(drawn.negative[drawn.ratios > 3.01].tolist()) == {-3.0}
    assert drawn.positive.max().item() == pytest.approx(1.2)
