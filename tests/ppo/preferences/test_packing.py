"""Numbers as text and back."""

from __future__ import annotations

import base64
import zlib

import pytest
import torch

from explorer.ppo.preferences.packing import MAX_NUMBERS, pack, unpack


def test_half_precision_comes_back_as_it_was() -> None:
    numbers = torch.tensor([0.0, 1.0, -0.5, 2**-14, 65504.0])
    assert unpack(pack(numbers), "head").tolist() == numbers.tolist()
    assert unpack(pack(torch.tensor([0.1])), "head").item() == pytest.approx(0.1, rel=1e-3)


def test_zeros_take_no_room() -> None:
    assert len(pack(torch.zeros(100_000))) < 500


def test_what_is_damaged_says_what_it_was() -> None:
    for text in ("%", "AAAA", "", pack(torch.ones(9))[:-8], pack(torch.ones(9)) + "AAAA"):
        with pytest.raises(ValueError, match="Its trunk is damaged: fit it anew"):
            unpack(text, "trunk")
    with pytest.raises(ValueError, match="Its head has a weight that is no number"):
        unpack(pack(torch.tensor([1.0, torch.inf])), "head")


def test_a_bomb_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(2 * MAX_NUMBERS + 2), 9)).decode()
    assert len(bomb) < 5000
    with pytest.raises(ValueError, match="damaged"):
        unpack(bomb, "head")
