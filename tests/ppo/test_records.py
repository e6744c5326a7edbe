"""Records: they refuse arrays that do not belong together, and map as one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from explorer.ppo.records import Credit, Curve, Epoch, Rollout, Update

B, P, T, K = 3, 2, 4, 5


def rollout(**changes: Any) -> Rollout:
    names = ("response_ids", "response_mask", "old_logprobs", "ref_logprobs", "old_values", "entropies")
    arrays: dict[str, Any] = {name: np.zeros((B, T)) for name in names}
    arrays |= {name: np.zeros((B, P)) for name in ("prompt_ids", "prompt_mask")}
    arrays |= {name: np.zeros((B, T, K)) for name in ("top_ids", "top_logprobs")}
    return Rollout(**{**arrays, "stopped": np.zeros(B), "groups": np.zeros(B), **changes})


def credit(**changes: Any) -> Credit:
    names = ("ref_kl", "rewards", "deltas", "advantages", "whitened_advantages", "returns")
    arrays: dict[str, Any] = {name: np.zeros((B, T)) for name in names}
    components = {"sentiment": np.zeros(B), "mine": np.ones(B)}
    return Credit(**{**arrays, "scores": np.zeros(B), "reward_components": components, **changes})


def epoch(rows: int = B, **changes: Any) -> Epoch:
    scalars = ("policy_loss", "value_loss", "entropy", "approx_kl", "clipfrac", "grad_norm", "grad_scale")
    arrays: dict[str, Any] = {
        field.name: np.zeros((rows, T))
        for field in dataclasses.fields(Epoch)
        if field.name not in scalars and field.name != "ages"
    }
    return Epoch(**{**arrays, "ages": np.zeros(rows), **dict.fromkeys(scalars, 0.5), **changes})


ROLLOUT_ARRAYS = [
    *("response_mask", "old_logprobs", "ref_logprobs", "old_values", "entropies"),
    *("stopped", "groups", "prompt_mask"),
]
CREDIT_ARRAYS = ["ref_kl", "deltas", "advantages", "whitened_advantages", "returns", "scores"]
EPOCH_ARRAYS = [
    *("new_logprobs", "ref_log_ratios", "outside_range", "zero_gradient", "gradient_shares"),
    *("values", "entropies", "advantages", "policy_terms", "ages"),
]


@pytest.mark.parametrize("name", [*ROLLOUT_ARRAYS, "top_logprobs", "exact_ref_kl"])
def test_a_rollout_refuses_an_array_of_another_shape(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Rollout.{name} has shape \(7, 7\), expected \({B},"):
        rollout(**{name: np.zeros((7, 7))})


@pytest.mark.parametrize("name", CREDIT_ARRAYS)
def test_a_credit_refuses_an_array_of_another_shape(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Credit.{name} has shape \(7, 7\), expected \({B},"):
        credit(**{name: np.zeros((7, 7))})


@pytest.mark.parametrize("name", EPOCH_ARRAYS)
def test_an_epoch_refuses_an_array_of_another_shape(name: str) -> None:
    with pytest.raises(ValueError, match=rf"Epoch.{name} has shape \(7, 7\), expected \({B},"):
        epoch(**{name: np.zeros((7, 7))})


def test_a_rollout_may_lack_the_exact_kl() -> None:
    assert rollout().map(lambda array: array + 1).exact_ref_kl is None
    assert rollout(exact_ref_kl=np.zeros((B, T))).map(lambda array: array + 1).exact_ref_kl.tolist() == [[1.0] * T] * B


def test_a_transposed_array_is_noticed() -> None:
    with pytest.raises(ValueError, match="old_logprobs"):
        rollout(old_logprobs=np.zeros((T, B)))


def test_a_record_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        rollout().old_logprobs = np.zeros((B, T))  # type: ignore[misc]


def test_map_reaches_every_array_those_in_mappings_included() -> None:
    seen: list[Any] = []

    def note(array: Any) -> Any:
        seen.append(array)
        return array + 1

    mapped = credit().map(note)
    assert len(seen) == 9  # six of [B, T], the scores, and two components
    assert mapped.reward_components["mine"].tolist() == [2.0] * B
    assert mapped.rewards.tolist() == np.ones((B, T)).tolist()


def test_map_leaves_numbers_alone() -> None:
    mapped = epoch(policy_loss=0.25).map(lambda array: array + 1)
    assert mapped.policy_loss == 0.25
    assert mapped.ages.tolist() == [1.0] * B


def test_a_map_that_breaks_the_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="Credit"):
        credit().map(lambda array: array[:1] if array.ndim == 1 else array)


def test_an_update_maps_all_its_records_and_ends_with_final() -> None:
    curve = Curve(ratios=np.zeros(3), positive=np.zeros(3), negative=np.zeros(3))
    update = Update(
        update=1,
        rollout=rollout(),
        credit=credit(),
        epochs=(epoch(), epoch(B + 2)),
        curve=curve,
        metrics={"a": 1.0},
        checks={"b": (True, 0.0)},
        seconds={"sample": 0.1},
    )
    assert update.final is update.epochs[1]
    mapped = update.map(lambda array: array + 1)
    assert mapped.rollout.top_ids.min() == mapped.credit.scores.min() == mapped.curve.positive.min() == 1
    assert [part.ratios.shape for part in mapped.epochs] == [(B, T), (B + 2, T)]
    assert all(part.ratios.min() == 1 for part in mapped.epochs)
    assert (mapped.metrics, mapped.checks, mapped.seconds) == (update.metrics, update.checks, update.seconds)
