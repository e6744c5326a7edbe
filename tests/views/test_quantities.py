"""The token quantities: each has a scale of its own and words in every language."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.text import LANGUAGES, labels
from explorer.views.quantities import ON_DEMAND, QUANTITIES, scales

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.recording.snapshot import Snapshot
    from tests.conftest import MakeTrainer


def test_every_quantity_has_a_scale() -> None:
    found = scales()
    assert list(found) == [*QUANTITIES, *ON_DEMAND]
    assert {"ratio", "advantage", "ref_kl", "reward", "value", "entropy"} <= set(found)
    for name, scale in found.items():
        assert set(scale) == {"kind", "low", "high", "unit"}, name
        assert scale["low"] < scale["high"], name


def test_scales_have_their_middle_where_nothing_has_changed() -> None:
    for name, scale in scales().items():
        low, high = scale["low"], scale["high"]
        if scale["kind"] == "ratio":
            assert low * high == pytest.approx(1.0), name  # 1 lies in the middle of the logarithm
        elif scale["kind"] == "diverging":
            assert low == -high, name
        else:
            assert (scale["kind"], low) == ("sequential", 0.0), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_quantity_and_unit_has_words(language: str) -> None:
    words = labels(language)
    assert set(words["quantities"]) == {*QUANTITIES, *ON_DEMAND}
    for name, scale in scales().items():
        assert all(words["quantities"][name][part] for part in ("label", "what", "low", "high"))
        assert not scale["unit"] or words["ui"]["units"][scale["unit"]]


def test_every_quantity_is_one_number_a_token(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> None:
    trainer = make_trainer()
    snapshot_of(trainer)
    snapshot = snapshot_of(trainer)  # in the first the policy is still the reference
    mask = snapshot.rollout.response_mask
    for name, quantity in QUANTITIES.items():
        array: Any = quantity.of(snapshot.rollout, snapshot.credit, snapshot.final)
        assert array.shape == mask.shape, name
        assert (array[~mask] == 0).all(), name
        assert array[mask].any() is np.bool_(name != "age"), name  # something happened; what is on screen is fresh


def test_the_change_of_log_probability_is_that_of_the_ratio(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    snapshot = snapshot_of(make_trainer())
    rollout, mask = snapshot.rollout, snapshot.rollout.response_mask
    moved: Any = QUANTITIES["log_ratio"].of(rollout, snapshot.credit, snapshot.final)
    np.testing.assert_allclose(np.exp(moved[mask]), snapshot.final.ratios[: len(mask)][mask], rtol=1e-5)
    first: Any = QUANTITIES["log_ratio"].of(rollout, snapshot.credit, snapshot.epochs[0])
    np.testing.assert_allclose(first, 0.0, atol=1e-5)  # before the first step nothing has changed


def test_the_kl_of_a_token_in_four_ways(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> None:
    trainer = make_trainer()
    snapshot_of(trainer)
    snapshot = snapshot_of(trainer)
    rollout, credit = snapshot.rollout, snapshot.credit
    found: dict[str, Any] = {
        name: QUANTITIES[name].of(rollout, credit, None) for name in ("k1", "k2", "k3", "exact_kl", "ref_kl")
    }
    assert np.array_equal(found["k1"], found["ref_kl"])  # the config's estimator
    assert found["k1"].min() < 0 <= min(found[name].min() for name in ("k2", "k3", "exact_kl"))
    np.testing.assert_allclose(found["k3"], found["k2"], atol=float(np.abs(found["k1"]).max()) ** 3)  # but for the cube
    older = dataclasses.replace(rollout, exact_ref_kl=None)
    assert QUANTITIES["exact_kl"].of(older, credit, None) is None
    assert np.array_equal(QUANTITIES["k3"].of(older, credit, None), found["k3"])


def test_what_an_unfinished_update_lacks_is_none(
    make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]
) -> None:
    rollout = snapshot_of(make_trainer()).rollout
    lacking = {name for name, quantity in QUANTITIES.items() if quantity.of(rollout, None, None) is None}
    assert lacking == set(QUANTITIES) - {
        *("value", "entropy", "old_probability", "ref_probability", "k1", "k2", "k3", "exact_kl")
    }
