"""Streams of random numbers: the rows of every minibatch, in the very order in which PyTorch would have drawn them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.ppo.sampling import generator
from explorer.ppo.streams import MINIBATCHES, minibatches


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 10**6), st.integers(1, 16), st.integers(1, 300), st.integers(1, 64))
def test_the_order_is_pytorchs_own(seed: int, update: int, epoch: int, rows: int, count: int) -> None:
    order = torch.randperm(rows, generator=generator(seed, update, MINIBATCHES, epoch))
    expected = [part.tolist() for part in order.tensor_split(min(count, rows))]
    assert [part.tolist() for part in minibatches(seed, update, epoch, rows=rows, count=count)] == expected


@pytest.mark.parametrize("rows", [4096, 40_000])
def test_the_order_of_a_large_batch_is_pytorchs_too(rows: int) -> None:
    (found,) = minibatches(3, 1, 1, rows=rows, count=1)
    assert found.tolist() == torch.randperm(rows, generator=generator(3, 1, MINIBATCHES, 1)).tolist()


def test_every_row_is_in_one_minibatch_and_every_epoch_has_an_order_of_its_own() -> None:
    orders = set()
    for update in (1, 2):
        for epoch in (1, 2, 3):
            parts = minibatches(0, update, epoch, rows=11, count=4)
            assert sorted(len(part) for part in parts) == [2, 3, 3, 3]
            order = np.concatenate(parts)
            assert sorted(order.tolist()) == list(range(11)) and order.dtype == np.int64
            orders.add(tuple(order.tolist()))
    assert len(orders) == 6
    assert [len(part) for part in minibatches(0, 1, 1, rows=3, count=8)] == [1, 1, 1]  # no step without a row


def test_no_torch_is_needed_to_tell() -> None:
    program = "import sys; from explorer.ppo.streams import minibatches; minibatches(0, 1, 1, rows=8, count=2); "
    done = subprocess.run([sys.executable, "-c", program + "sys.exit('torch' in sys.modules)"])
    assert done.returncode == 0
