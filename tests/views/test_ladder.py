"""The ladder's picture: four estimators of the same tokens, the critic's number, and what it costs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import CHOICES, GROUPED, Config
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.views.ladder import compared, ladder_picture

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

STACKS = ("gae", "monte_carlo_value", "one_step_td")


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config) -> Snapshot:
    """A third update: its critic says something by then."""
    trainer = make_trainer(tiny_config.replace(gamma=0.9, gae_lambda=0.8, value_learning_rate=1e-2))
    *_, last = [snapshot_of(trainer) for _ in range(3)]
    assert np.abs(last.rollout.old_values).max() > 1e-3
    return last


def advantages_of(shown: Snapshot) -> dict[str, Any]:
    shape = shown.rollout.response_mask.shape
    return {
        row["name"]: None if row["advantages"] is None else np.frombuffer(row["advantages"], np.float32).reshape(shape)
        for row in ladder_picture(shown)["rows"]
    }


def as_scored(snapshot: Snapshot, **changes: Any) -> Snapshot:
    return what_if(snapshot, snapshot.config.replace(**changes))


@pytest.mark.parametrize("name", [*STACKS, "monte_carlo", "total_return", *sorted(GROUPED)])
def test_each_row_is_what_the_batch_has_under_that_estimator(snapshot: Snapshot, name: str) -> None:
    scored = as_scored(snapshot, estimator=name)
    found = ladder_picture(scored)
    assert found["estimator"] == name
    assert np.array_equal(advantages_of(scored)[name], scored.credit.advantages)


def test_the_four_are_the_ones_asked_for() -> None:
    assert compared("gae") == ("gae", "monte_carlo_value", "one_step_td", "group_mean")
    assert compared("grpo") == ("gae", "monte_carlo_value", "one_step_td", "grpo")
    assert compared("monte_carlo") == ("gae", "monte_carlo", "one_step_td", "group_mean")
    assert all(len(set(compared(name))) == 4 for name in CHOICES["estimator"])


def test_lambda_leads_from_one_to_the_other(snapshot: Snapshot) -> None:
    """GAE meets the others at the ends of its slider, which is what the panel says."""
    far, near = (advantages_of(as_scored(snapshot, gae_lambda=end)) for end in (1.0, 0.0))
    np.testing.assert_allclose(far["gae"], far["monte_carlo_value"], atol=1e-6)
    assert np.array_equal(near["gae"], near["one_step_td"])
    assert not np.allclose(far["gae"], near["gae"])


def test_every_sum_over_later_deltas_is_the_stored_advantage(snapshot: Snapshot) -> None:
    """The definition, a double sum in exact order, beside what the recursion stored."""
    credit, mask, config = snapshot.credit, snapshot.rollout.response_mask, snapshot.config
    for row, t in zip(*np.nonzero(mask), strict=True):
        later = credit.deltas[row, t : mask[row].sum()].astype(np.float64)
        summed = sum((config.gamma * config.gae_lambda) ** n * delta for n, delta in enumerate(later))
        assert summed == pytest.approx(float(credit.advantages[row, t]), abs=1e-5)


def test_groups_of_one_are_said_and_not_scored(snapshot: Snapshot) -> None:
    lone = dataclasses.replace(snapshot.rollout, groups=np.arange(len(snapshot.rollout.groups)))
    found = advantages_of(dataclasses.replace(snapshot, rollout=lone))
    assert [name for name, values in found.items() if values is None] == ["group_mean"]


def test_the_critics_number_is_the_metrics(snapshot: Snapshot) -> None:
    for shown in (snapshot, as_scored(snapshot, gae_lambda=0.3, gamma=0.7)):
        found = ladder_picture(shown)["explained_variance"]
        assert found == pytest.approx(shown.metrics["value/explained_variance"], abs=1e-6)
    right = dataclasses.replace(snapshot.rollout, old_values=snapshot.credit.returns)
    assert ladder_picture(dataclasses.replace(snapshot, rollout=right))["explained_variance"] == pytest.approx(1.0)


def test_before_there_are_rewards_there_is_nothing(snapshot: Snapshot) -> None:
    assert ladder_picture(dataclasses.replace(snapshot, credit=None)) == {}  # type: ignore[arg-type]


def test_it_takes_less_than_20_ms_for_64_by_64(snapshot: Snapshot) -> None:
    def wide(array: Any) -> Any:
        return np.arange(64) // 4 if array.ndim == 1 else np.resize(array, (64, 64, *array.shape[2:]))

    big = dataclasses.replace(snapshot, rollout=snapshot.rollout.map(wide), credit=snapshot.credit.map(wide))
    assert big.rollout.response_mask.shape == (64, 64)
    spent = []
    for _ in range(9):
        since = time.perf_counter()
        ladder_picture(big)
        spent.append(time.perf_counter() - since)
    assert min(spent) < 0.020
