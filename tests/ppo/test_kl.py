"""The exact KL of two next-token distributions: by hand, against torch's own, and what the estimators make of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from explorer.ppo.kl import exact_kl_tokens, reference_kl
from explorer.ppo.metrics import KL_ESTIMATORS

if TYPE_CHECKING:
    from explorer.config import Config
    from explorer.ppo.policy import Policy
    from explorer.ppo.records import Rollout
    from tests.conftest import MakeTrainer, RunUpdate

ONE = torch.ones(1, 1, dtype=torch.bool)


def logprobs(*probabilities: float) -> Tensor:
    """One position's distribution, ``[1, 1, V]``."""
    return torch.tensor([[probabilities]], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("policy", "reference", "expected"),
    [
        ((0.9, 0.1), (0.5, 0.5), 0.3681),  # 0.9 ln 1.8 + 0.1 ln 0.2 = 0.5290 - 0.1609
        ((0.5, 0.5), (0.9, 0.1), 0.5108),  # the other way round it is another number: -0.2939 + 0.8047
        ((0.7, 0.3), (0.6, 0.4), 0.0216),  # the article's word: 0.1079 - 0.0863
        ((0.25, 0.75), (0.25, 0.75), 0.0),
    ],
)
def test_two_words_by_hand(policy: tuple[float, ...], reference: tuple[float, ...], expected: float) -> None:
    found = exact_kl_tokens(logprobs(*policy), logprobs(*reference), ONE)
    assert found.tolist() == [[pytest.approx(expected, abs=5e-5)]]


@given(
    seed=st.integers(0, 2**31 - 1), rows=st.integers(1, 4), vocabulary=st.integers(2, 40), spread=st.floats(0.0, 9.0)
)
def test_it_is_torchs_own_and_never_negative(seed: int, rows: int, vocabulary: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    p, q = (spread * torch.randn(rows, 3, vocabulary, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.rand(rows, 3, generator=generator) < 0.7
    found = exact_kl_tokens(p.log_softmax(-1), q.log_softmax(-1), mask)
    expected = kl_divergence(Categorical(logits=p), Categorical(logits=q))
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-9, atol=1e-12)
    assert (found >= 0).all()
    assert (found[~mask] == 0).all()


def test_rounding_makes_none_negative() -> None:
    p = torch.randn(8, 16, 500, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    q = (p + 1e-6 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1))).log_softmax(-1)
    assert ((p.exp() * (p - q)).sum(-1) < 0).any()  # what single precision would say
    assert (exact_kl_tokens(p, q, torch.ones(8, 16, dtype=torch.bool)) >= 0).all()


def test_a_word_that_one_of_them_all_but_rules_out() -> None:
    certain = torch.tensor([[[0.0, -200.0]]])  # e^-200 is 0 in single precision
    assert exact_kl_tokens(certain, torch.tensor([[[-200.0, 0.0]]]), ONE).tolist() == [[200.0]]


# --- the estimators beside it ---


@pytest.mark.parametrize("name", KL_ESTIMATORS)
def test_the_estimators_take_the_arrays_of_a_recording(name: str) -> None:
    log_ratios = torch.linspace(-3, 3, 41)
    found = KL_ESTIMATORS[name](log_ratios.numpy())
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, KL_ESTIMATORS[name](log_ratios), rtol=1e-6, atol=1e-6)


@given(st.floats(-(2**-10), 2**-10, width=32))
def test_k3_is_not_negative_where_it_is_all_but_0_either(log_ratio: float) -> None:
    found = float(KL_ESTIMATORS["k3"](torch.tensor(log_ratio)))
    assert found >= 0
    assert found == pytest.approx(log_ratio**2 / 2, rel=1e-3, abs=1e-10)  # its first term there


def test_every_choice_of_the_menu() -> None:
    log_ratios, exact = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.25, 0.5]])
    assert reference_kl("k1", log_ratios, exact).tolist() == [[2.0, -1.0]]
    assert reference_kl("k2", log_ratios).tolist() == [[2.0, 0.5]]
    assert reference_kl("exact", log_ratios, exact).tolist() == [[0.25, 0.5]]
    with pytest.raises(ValueError, match="come without the exact KL.*: choose k1, k2 or k3") as why:
        reference_kl("exact", log_ratios)
    assert "\n" not in str(why.value)


def test_what_sampled_tokens_say_on_average() -> None:
    """40,000 tokens: k1 and k3 come within 4 standard errors of the truth, and k2 stays far away."""
    p, q = logprobs(0.6, 0.3, 0.09, 0.01), logprobs(0.1, 0.2, 0.3, 0.4)
    exact = float(exact_kl_tokens(p, q, ONE))
    drawn = torch.multinomial(p[0, 0].exp(), 40_000, replacement=True, generator=torch.Generator().manual_seed(0))
    log_ratios = (p - q)[0, 0][drawn]
    off = {}
    for name, estimate in KL_ESTIMATORS.items():
        values = estimate(log_ratios)
        off[name] = abs(float(values.mean()) - exact) / (float(values.std()) / math.sqrt(len(values)))
    assert off["k1"] < 4 and off["k3"] < 4
    assert off["k2"] > 10
    assert (log_ratios < 0).any() and KL_ESTIMATORS["k3"](log_ratios).min() >= 0


# --- in a rollout ---


@pytest.fixture
def drawn(make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config) -> tuple[Rollout, Policy, Policy]:
    """2,048 responses of the second update, when the policy is no longer the reference, at a temperature of 1.3."""
    trainer = make_trainer(tiny_config.replace(temperature=1.3, learning_rate=1e-2))
    run_update(trainer)
    rollout, _ = trainer.sample(trainer.config.replace(batch_size=2048), 2)
    assert not rollout.response_mask.all()
    return rollout, trainer.policy, trainer.reference


def test_it_is_that_of_plain_forwards_without_padding(drawn: tuple[Rollout, Policy, Policy]) -> None:
    rollout, *models = drawn
    for row in range(0, 64, 7):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]]
        response = rollout.response_ids[row][rollout.response_mask[row]]
        ids = torch.cat([prompt, response])[None]
        with torch.no_grad():
            p, q = (Categorical(logits=m.lm(ids).logits[0, len(prompt) - 1 : -1].double() / 1.3) for m in models)
        found = rollout.exact_ref_kl[row][: len(response)]
        torch.testing.assert_close(found.double(), kl_divergence(p, q), rtol=1e-4, atol=2e-6)
        assert found.max() > 1e-3


def test_k1_of_a_rollout_is_right_on_average(drawn: tuple[Rollout, Policy, Policy]) -> None:
    rollout = drawn[0]
    mask = rollout.response_mask
    k1, exact = (rollout.old_logprobs - rollout.ref_logprobs)[mask], rollout.exact_ref_kl[mask]
    error = k1 - exact
    assert abs(float(error.mean())) < 4 * float(error.std()) / math.sqrt(len(error))
    assert k1.min() < 0 <= exact.min()
    assert k1.std() > 3 * exact.std()  # the noise that the exact KL does without
    assert float(exact.mean()) > 10 * float(error.std()) / math.sqrt(len(error))  # so 0 would not have passed


def test_it_is_0_outside_the_mask_and_while_the_policy_is_the_reference(
    make_trainer: MakeTrainer, drawn: tuple[Rollout, Policy, Policy]
) -> None:
    rollout = drawn[0]
    assert (rollout.exact_ref_kl[~rollout.response_mask] == 0).all()
    trainer = make_trainer()
    first, _ = trainer.sample(trainer.config, 1)
    assert (first.exact_ref_kl == 0).all()
