"""The losses of a minibatch by hand: three tokens that count, two of one response and one of another."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.losses import losses
from explorer.ppo.policy import TokenScores
from explorer.ppo.replay import Batch

MASK = torch.tensor([[True, True, False], [True, False, False]])
CONFIG = Config(objective="policy_gradient", vf_coef=0.5, ent_coef=0.25, response_length=3)


def part(**tensors: Tensor) -> Batch:
    zeros = torch.zeros(2, 3)
    plain = dict.fromkeys(("old_logprobs", "ref_logprobs", "old_values", "advantages", "returns"), zeros)
    return Batch(
        prompt_ids=torch.zeros(2, 1, dtype=torch.long),
        prompt_mask=torch.ones(2, 1, dtype=torch.bool),
        response_ids=torch.zeros(2, 3, dtype=torch.long),
        mask=MASK,
        ages=torch.zeros(2, dtype=torch.long),
        **{**plain, **tensors},
    )


def scores(logprobs: list[list[float]], values: list[list[float]], entropies: list[list[float]]) -> TokenScores:
    given = {"logprobs": logprobs, "values": values, "entropies": entropies}
    tensors = {name: torch.tensor(each, requires_grad=True) for name, each in given.items()}
    return TokenScores(**tensors, all_logprobs=torch.zeros(2, 3, 1))


#: Terms A log(pi_new / pi_old) of 2, 4 | 12, squares / 2 of 2, 8 | 0.5 (and 32 past the stop), entropies of 1, 3 | 5.
PART = part(
    advantages=torch.tensor([[2.0, -4.0, 9.0], [6.0, 9.0, 9.0]]),
    old_logprobs=torch.tensor([[-2.0, -1.0, 0.0], [-3.0, 0.0, 0.0]]),
    returns=torch.tensor([[2.0, 4.0, 8.0], [1.0, 0.0, 0.0]]),
)
SCORES = ([[-1.0, -2.0, 7.0], [-1.0, 7.0, 7.0]], [[0.0] * 3] * 2, [[1.0, 3.0, 7.0], [5.0, 7.0, 7.0]])


@pytest.mark.parametrize(
    ("how", "policy", "value", "entropy"),
    [
        ("token_mean", -18 / 3, 10.5 / 3, 9 / 3),
        ("sequence_mean", -(3 + 12) / 2, (5 + 0.5) / 2, (2 + 5) / 2),
        ("fixed_length", -18 / 6, 10.5 / 6, 9 / 6),
    ],
)
def test_all_three_are_made_into_one_number_alike(how: str, policy: float, value: float, entropy: float) -> None:
    found = losses(PART, scores(*SCORES), CONFIG.replace(aggregation=how))
    assert found.entropy is not None
    assert [x.item() for x in found[:3] if x is not None] == pytest.approx([policy, value, entropy])
    assert found.total.item() == pytest.approx(policy + value / 2 - entropy / 4)


def test_the_critic_may_count_one_position_more() -> None:
    one_more = torch.tensor([[True, True, True], [True, True, False]])
    found, plain = (losses(PART, scores(*SCORES), CONFIG, value_mask=mask) for mask in (one_more, None))
    assert found.value.item() == pytest.approx((10.5 + 32) / 5)
    assert torch.equal(found.policy, plain.policy)
    assert found.entropy is not None and plain.entropy is not None and torch.equal(found.entropy, plain.entropy)


def test_without_a_bonus_the_entropies_are_left_alone() -> None:
    given = scores(*SCORES)
    found = losses(PART, given, CONFIG.replace(ent_coef=0.0))
    found.total.backward()
    assert found.entropy is None and given.entropies.grad is None
    assert given.logprobs.grad is not None and given.values.grad is not None


#: By the Config that differs, the pull on the values: (V - R) / 3 * 0.5 where it flows.
PULLS: list[tuple[dict[str, Any], Tensor | None]] = [
    ({}, torch.tensor([[-2.0, -4.0, 0.0], [-1.0, 0.0, 0.0]]) / 6),
    ({"freeze_critic": True}, None),
]


@pytest.mark.parametrize(("changes", "pull"), PULLS)
def test_who_pulls_on_the_critic(changes: dict[str, Any], pull: Tensor | None) -> None:
    given = scores(*SCORES)
    losses(PART, given, CONFIG.replace(**changes)).total.backward()
    if pull is None:
        assert given.values.grad is None
    else:
        torch.testing.assert_close(given.values.grad, pull)


def test_the_kl_in_the_loss_is_aggregated_with_the_terms() -> None:
    # k2 to the reference: 2 nats away each, so 2 a token at a coefficient of 0.5: 1 a token off the terms' mean of 6.
    config = CONFIG.replace(kl_in="loss", kl_estimator="k2", kl_coef=0.5)
    away = PART._replace(ref_logprobs=torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert losses(away, scores(*SCORES), config).policy.item() == pytest.approx(-5.0)
