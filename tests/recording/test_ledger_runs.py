"""The ledger over random runs: whatever is trained under whatever settings, every line is what was recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.config import Config
from explorer.recording.ledger import Ledger, ledger
from explorer.recording.snapshot import Snapshot
from tests.random_configs import configs

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

RUNS = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}

#: Tokens of a run whose ledgers are looked at, each at some epoch.
LOOKS = 6


@settings(max_examples=150, derandomize=True, **RUNS)  # type: ignore[arg-type]
@given(config=configs(), data=st.data())
def test_every_line_of_a_random_run_is_what_is_recorded(
    make_trainer: MakeTrainer,
    run_update: RunUpdate,
    snapshot_of: Callable[..., Snapshot],
    config: Config,
    data: Any,
) -> None:
    check(trained(make_trainer, run_update, snapshot_of, config), data)


@pytest.mark.slow
@settings(max_examples=1200, **RUNS)  # type: ignore[arg-type]
@given(config=configs(), data=st.data())
def test_every_line_of_many_random_runs_is_what_is_recorded(
    make_trainer: MakeTrainer,
    run_update: RunUpdate,
    snapshot_of: Callable[..., Snapshot],
    config: Config,
    data: Any,
) -> None:
    check(trained(make_trainer, run_update, snapshot_of, config), data)


def trained(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot], config: Config
) -> Snapshot:
    """The newest update of a run that is as long as its replay reaches back, and two at least."""
    trainer = make_trainer(config)
    for _ in range(max(1, config.replay_rollouts - 1)):
        run_update(trainer)
    return snapshot_of(trainer)


def check(snapshot: Snapshot, data: Any) -> None:
    """Some of the run's tokens, each at some epoch."""
    written = [(int(row), int(t)) for row, t in np.argwhere(snapshot.rollout.response_mask)]
    for _ in range(LOOKS):
        row, t = data.draw(st.sampled_from(written))
        epoch = data.draw(st.integers(0, len(snapshot.epochs) - 1))
        found = ledger(snapshot, row, t, epoch)
        assert unlike(found) == [], (row, t, epoch)
        assert found.checked >= 8


def unlike(found: Ledger) -> list[tuple[str, float, float | None]]:
    """The lines that are not what is recorded; where all of a batch are alike, whitening is rounding and says so."""
    apart = []
    for line in found.lines:
        if ("rounding", {}) in line.notes:
            continue
        near = line.stored is None or abs(line.value - line.stored) <= 1e-5 * max(1.0, abs(line.stored))
        terms = line.terms is None or False not in line.terms.holds
        if line.holds is False or not near or not terms or (line.stored is not None and not math.isfinite(line.value)):
            apart.append((line.key, line.value, line.stored))
    return apart
