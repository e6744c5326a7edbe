"""Reductions over the tokens that count: by hand, against numpy on the flat list of tokens, and by invariance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from explorer.config import CHOICES
from explorer.ppo.masked import aggregate, last_true, masked_mean, masked_sum, masked_var, row_means, row_sums, whiten

NAN = math.nan

#: Rows of 3, 1 and 0 tokens that count: 1 2 6, then 7, then nothing. What is NaN must never be read.
VALUES = torch.tensor([[1.0, 2.0, 6.0, NAN], [7.0, NAN, NAN, NAN], [NAN, NAN, NAN, NAN]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Values [B, T] and a mask whose rows begin with the tokens that count, at least two of them in all."""
    rows, length = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    numbers = st.lists(st.floats(-100, 100), min_size=rows * length, max_size=rows * length)
    values = torch.tensor(draw(numbers), dtype=torch.float64).view(rows, length)
    others = st.lists(st.integers(0, length), min_size=rows - 1, max_size=rows - 1)
    lengths = [draw(st.integers(2, length)), *draw(others)]
    return values, torch.arange(length) < torch.tensor(lengths)[:, None]


def test_by_hand_and_nan_outside_the_mask() -> None:
    assert masked_sum(VALUES, MASK).item() == 16.0
    assert masked_mean(VALUES, MASK).item() == 4.0
    # deviations from 4: -3 -2 2 3; squares 9 + 4 + 4 + 9 = 26; over n - 1 = 3
    assert masked_var(VALUES, MASK).item() == pytest.approx(26 / 3)
    assert row_sums(VALUES, MASK).tolist() == [9.0, 7.0, 0.0]
    assert row_means(VALUES, MASK).tolist() == [3.0, 7.0, 0.0]


def test_aggregates_by_hand() -> None:
    # Rows of 3 tokens and 1: 1 2 6, and 7. Their sum is 16, their means are 3 and 7.
    expected = {"token_mean": 4.0, "sequence_mean": 5.0, "fixed_length": 16 / (2 * 8)}
    assert {how: aggregate(VALUES[:2], MASK[:2], how, length=8).item() for how in CHOICES["aggregation"]} == expected


@given(batches(), st.integers(1, 5))
def test_padding_and_order_change_no_aggregate(batch: tuple[Tensor, Tensor], extra: int) -> None:
    values, mask = batch
    wider = torch.cat([values, torch.full((len(values), extra), NAN)], dim=1).flip(0)
    for how in CHOICES["aggregation"]:
        expected = aggregate(values, mask, how, length=6).item()
        found = aggregate(wider, torch.nn.functional.pad(mask, (0, extra)).flip(0), how, length=6).item()
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(batches())
def test_one_row_at_a_time_adds_up_to_the_whole_batch(batch: tuple[Tensor, Tensor]) -> None:
    values, mask = batch
    mask[:, 0] = True  # every response has a token
    tokens = mask.sum(1) / mask.sum()
    rows = torch.full((len(values),), 1 / len(values), dtype=torch.float64)
    for how, shares in (("token_mean", tokens), ("sequence_mean", rows), ("fixed_length", rows)):
        parts = [aggregate(values[i : i + 1], mask[i : i + 1], how, length=6) for i in range(len(values))]
        together = sum(float(part) * float(share) for part, share in zip(parts, shares, strict=True))
        assert together == pytest.approx(aggregate(values, mask, how, length=6).item(), rel=1e-5, abs=1e-5)


def test_nothing_counts() -> None:
    nothing = torch.zeros_like(MASK)
    assert masked_sum(VALUES, nothing).item() == 0
    assert masked_mean(VALUES, nothing).item() == 0
    assert masked_var(VALUES, nothing).item() == 0
    assert whiten(VALUES, nothing).tolist() == torch.zeros(3, 4).tolist()


def test_one_token_has_no_variance() -> None:
    assert masked_var(torch.tensor([[5.0, NAN]]), torch.tensor([[True, False]])).item() == 0


@given(batches())
def test_against_numpy_on_the_flat_list(batch: tuple[Tensor, Tensor]) -> None:
    values, mask = batch
    flat = values.numpy()[mask.numpy()]
    assert masked_mean(values, mask).item() == pytest.approx(flat.mean(), rel=1e-9, abs=1e-9)
    assert masked_var(values, mask).item() == pytest.approx(flat.var(ddof=1), rel=1e-9, abs=1e-9)


def test_whiten_by_hand() -> None:
    # 1 and 3: mean 2, unbiased variance 2, so -1/sqrt(2) and 1/sqrt(2); the biased variance would give -1 and 1.
    whitened = whiten(torch.tensor([[1.0, 3.0, NAN]]), torch.tensor([[True, True, False]]))
    assert whitened[0].tolist() == pytest.approx([-0.70710678, 0.70710678, 0.0])


def test_whiten_can_keep_the_mean() -> None:
    # 1 and 5: mean 3, unbiased variance 8; scaled around 3 they are 3 -+ 2/sqrt(8).
    values, mask = torch.tensor([[1.0, 5.0, NAN]]), torch.tensor([[True, True, False]])
    scaled = whiten(values, mask, keep_mean=True)
    assert scaled[0].tolist() == pytest.approx([2.29289322, 3.70710678, 0.0])


@given(batches())
def test_whitened_tokens_have_mean_0_and_unbiased_variance_1(batch: tuple[Tensor, Tensor]) -> None:
    values, mask = batch
    whitened = whiten(values, mask)
    tokens = whitened[mask].double().numpy()
    assert (whitened[~mask] == 0).all()
    if values[mask].std() > 0.1:
        assert tokens.mean() == pytest.approx(0, abs=1e-3)
        assert tokens.var(ddof=1) == pytest.approx(1, abs=1e-3)
    else:  # a batch of (nearly) equal values stays finite
        assert np.isfinite(tokens).all()


@given(batches(), st.integers(1, 3))
def test_whiten_does_not_see_padding_or_the_order_of_rows(batch: tuple[Tensor, Tensor], extra: int) -> None:
    values, mask = batch
    whitened = whiten(values, mask)
    wider = torch.cat([values, torch.full((len(values), extra), NAN)], dim=1)
    wider_mask = torch.cat([mask, torch.zeros(len(values), extra, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(whiten(wider, wider_mask)[:, : values.shape[1]], whitened, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(whiten(values.flip(0), mask.flip(0)).flip(0), whitened, rtol=1e-6, atol=1e-6)


def test_whiten_forgets_shift_and_scale() -> None:
    torch.testing.assert_close(whiten(VALUES * 3 - 50, MASK), whiten(VALUES, MASK), rtol=1e-4, atol=1e-5)


@given(batches())
def test_last_true_is_each_rows_last_token_that_counts(batch: tuple[Tensor, Tensor]) -> None:
    _, mask = batch
    last = last_true(mask)
    for row, lasts in zip(mask.tolist(), last.tolist(), strict=True):
        assert [t for t, is_last in enumerate(lasts) if is_last] == [t for t, kept in enumerate(row) if kept][-1:]


def test_last_true_where_the_mask_has_a_hole() -> None:
    assert last_true(torch.tensor([[True, False, True, False]])).tolist() == [[False, False, True, False]]
