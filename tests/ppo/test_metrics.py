"""Metrics: the KL estimators by hand and by enumeration, and every metric of a batch small enough to work out."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import Config
from explorer.ppo.metrics import KL_ESTIMATORS, METRICS, measure
from explorer.ppo.records import Credit, Epoch, Rollout

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

distributions = st.integers(2, 6).flatmap(
    lambda size: st.tuples(*[st.lists(st.floats(0.01, 1.0), min_size=size, max_size=size)] * 2)
)


def test_the_estimators_on_the_articles_word() -> None:
    # "is" went from 0.6 to 0.7: log 0.7/0.6 = 0.1542.
    log_ratio = torch.tensor(0.7).log() - torch.tensor(0.6).log()
    found = {name: fn(log_ratio).item() for name, fn in KL_ESTIMATORS.items()}
    assert found == {
        "k1": pytest.approx(0.154, abs=5e-4),
        "k2": pytest.approx(0.0119, abs=5e-5),
        "k3": pytest.approx(0.0113, abs=5e-5),
    }


@given(st.floats(-30, 30))
def test_k2_and_k3_are_never_negative(log_ratio: float) -> None:
    one = torch.tensor(log_ratio, dtype=torch.float64)
    assert KL_ESTIMATORS["k2"](one) >= 0
    assert KL_ESTIMATORS["k3"](one) >= -1e-15  # rounding at 0


@given(distributions)
def test_k1_and_k3_are_unbiased_over_the_whole_vocabulary(pair: tuple[list[float], list[float]]) -> None:
    p, q = (torch.tensor(weights, dtype=torch.float64) for weights in pair)
    p, q = p / p.sum(), q / q.sum()
    exact = torch.distributions.kl_divergence(torch.distributions.Categorical(p), torch.distributions.Categorical(q))
    for name in ("k1", "k3"):
        expectation = sum(p[i] * KL_ESTIMATORS[name]((p[i] / q[i]).log()) for i in range(len(p)))
        assert float(expectation) == pytest.approx(float(exact), abs=1e-10)


def test_k2_is_biased_and_k1_can_be_negative() -> None:
    p, q = torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.5])
    log_ratios = (p / q).log()
    exact = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    assert float((p * KL_ESTIMATORS["k2"](log_ratios)).sum()) != pytest.approx(exact, abs=0.05)
    assert KL_ESTIMATORS["k1"](log_ratios)[1] < 0


# A batch of two responses: three tokens, and one token with two that do not count.
MASK = torch.tensor([[True, True, True], [True, False, False]])


def small_update() -> tuple[Rollout, Credit, tuple[Epoch, Epoch, Epoch]]:
    """Two epochs and ``final``, with a replayed row that no ratio metric may see."""
    zeros = torch.zeros(2, 3)
    rollout = Rollout(
        prompt_ids=torch.zeros(2, 1),
        prompt_mask=torch.ones(2, 1, dtype=torch.bool),
        response_ids=zeros.long(),
        response_mask=MASK,
        stopped=torch.tensor([False, True]),
        groups=torch.tensor([0, 0]),
        old_logprobs=torch.tensor([[-1.0, -2.0, -1.0], [-3.0, 0.0, 0.0]]),
        ref_logprobs=torch.tensor([[-1.5, -2.0, -0.5], [-4.0, 0.0, 0.0]]),
        old_values=torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]),
        entropies=torch.tensor([[2.0, 1.0, 3.0], [2.0, 0.0, 0.0]]),
        top_ids=torch.zeros(2, 3, 1),
        top_logprobs=torch.zeros(2, 3, 1),
    )
    credit = Credit(
        reward_components={"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.5, -0.5])},
        scores=torch.tensor([2.0, 1.0]),
        ref_kl=torch.tensor([[1.0, 2.0, 0.0], [4.0, 0.0, 0.0]]),
        rewards=torch.tensor([[-0.5, 0.0, 2.5], [0.0, 0.0, 0.0]]),  # whitened, say: no metric is made of them
        deltas=zeros,
        advantages=zeros,
        whitened_advantages=zeros,
        returns=torch.tensor([[2.0, 4.0, 2.0], [4.0, 0.0, 0.0]]),
    )

    def epoch(moved: float, outside: list[list[int]], frozen: list[list[int]], norm: float, loss: float) -> Epoch:
        replayed = torch.tensor([[9.0, 9.0, 9.0]])
        return Epoch(
            new_logprobs=torch.cat([rollout.old_logprobs + moved, replayed]),
            ref_log_ratios=torch.zeros(3, 3),
            ratios=torch.cat([torch.where(MASK, math.exp(moved), 0.0), replayed]),
            outside_range=torch.tensor([*outside, [1, 1, 1]], dtype=torch.bool),
            zero_gradient=torch.tensor([*frozen, [1, 1, 1]], dtype=torch.bool),
            gradient_shares=torch.zeros(3, 3),
            values=torch.zeros(3, 3),
            entropies=torch.zeros(3, 3),
            advantages=torch.zeros(3, 3),
            policy_terms=torch.zeros(3, 3),
            ages=torch.tensor([0, 0, 1]),
            policy_loss=-loss,
            value_loss=loss,
            entropy=0.0,
            approx_kl=0.0,
            clipfrac=0.0,
            grad_norm=norm,
            grad_scale=1.0,
        )

    return (
        rollout,
        credit,
        (
            epoch(0.0, [[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]], norm=0.4, loss=1.0),
            epoch(0.2, [[1, 0, 0], [1, 0, 0]], [[1, 0, 0], [0, 0, 0]], norm=3.0, loss=2.0),
            epoch(0.4, [[1, 1, 0], [1, 0, 0]], [[1, 0, 0], [1, 0, 0]], norm=math.nan, loss=5.0),
        ),
    )


def test_every_metric_by_hand() -> None:
    rollout, credit, epochs = small_update()
    config = Config(max_grad_norm=1.0, learning_rate=0.003, kl_coef=0.07, penalty_coef=3.0)
    found = measure(config, rollout, credit, epochs, steps=8)
    assert found == {
        "objective/score": 1.5,
        "optim/max_grad_norm": 1.0,
        "component/a": 0.5,
        "component/b": 0.0,
        "objective/reward": pytest.approx(1.255),  # 2 - 0.07 * 3 and 1 - 0.07 * 4
        "objective/ref_kl": 0.5,  # (0.5 + 0 - 0.5) and 1, over 2 responses
        "objective/ref_kl_token": 0.25,  # the same over 4 tokens
        "coef/kl": 0.07,
        "coef/penalty": 3.0,
        "policy/entropy": 2.0,
        "policy/approx_kl": pytest.approx(0.01),  # 0 and 0.02
        "policy/approx_kl_final": pytest.approx(0.08),
        "policy/clipfrac": 0.125,  # 0 and 1/4
        "policy/clipfrac_final": 0.5,
        "policy/outside_range": 0.25,  # 0 and 2/4
        "policy/outside_range_final": 0.75,
        "policy/ratio_max": pytest.approx(1.4918, abs=1e-4),
        "policy/ratio_min": pytest.approx(1.4918, abs=1e-4),
        "policy/loss": -1.5,
        "value/loss": 1.5,
        # returns 2 4 2 4: variance 4/3; minus a value of 1 everywhere: the same
        "value/explained_variance": pytest.approx(0.0, abs=1e-6),
        "optim/grad_norm": 3.0,
        "optim/grad_norm_clipped": 1.0,
        "optim/epochs_run": 2.0,
        "optim/steps": 8.0,
        "optim/learning_rate": 0.003,
        "response/length": 2.0,
        "response/stopped": 0.5,
    }


def test_a_kl_in_the_loss_is_not_paid_out_of_the_reward() -> None:
    rollout, credit, epochs = small_update()
    assert measure(Config(kl_in="loss", kl_coef=0.07), rollout, credit, epochs, steps=1)["objective/reward"] == 1.5


@pytest.mark.parametrize(
    ("values", "explained"), [([2.0, 4.0, 2.0, 4.0], 1.0), ([3.0, 3.0, 3.0, 3.0], 0.0), ([4.0, 2.0, 4.0, 2.0], -3.0)]
)
def test_explained_variance_of_a_perfect_an_idle_and_a_wrong_critic(values: list[float], explained: float) -> None:
    rollout, credit, epochs = small_update()
    old_values = torch.zeros(2, 3).masked_scatter(MASK, torch.tensor(values))
    rollout = dataclasses.replace(rollout, old_values=old_values)
    found = measure(Config(), rollout, credit, epochs, steps=1)
    assert found["value/explained_variance"] == pytest.approx(explained, abs=1e-6)


def test_explained_variance_of_equal_returns_is_0() -> None:
    rollout, credit, epochs = small_update()
    credit = dataclasses.replace(credit, returns=torch.where(MASK, 2.0, 0.0))
    assert measure(Config(), rollout, credit, epochs, steps=1)["value/explained_variance"] == 0.0


def test_without_a_limit_the_gradient_is_not_clipped() -> None:
    rollout, credit, epochs = small_update()
    assert measure(Config(max_grad_norm=None), rollout, credit, epochs, steps=1)["optim/grad_norm_clipped"] == 3.0


def test_every_metric_of_an_update_has_its_expression(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    found = run_update(make_trainer(tiny_config.replace(judge="coherence"))).metrics
    named = {"component/NAME" if name.startswith("component/") else name for name in found}
    assert named == set(METRICS)
    assert all(math.isfinite(value) for value in found.values())
    assert all(expression.strip() for expression in METRICS.values())


def test_without_a_limit_its_metric_is_no_number() -> None:
    rollout, credit, epochs = small_update()
    found = measure(Config(max_grad_norm=None), rollout, credit, epochs, steps=8)
    assert math.isnan(found["optim/max_grad_norm"])
    assert found["optim/grad_norm_clipped"] == found["optim/grad_norm"]
