"""What the train command says: lines of JSON, the sum of a run, and the checks that failed."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

from explorer.ppo.checks import CHECKS
from explorer.train_report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.recording.snapshot import Snapshot
    from tests.conftest import MakeTrainer


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    return snapshot_of(make_trainer())


def checked(snapshot: Snapshot, update: int, **checks: tuple[bool, float]) -> Snapshot:
    return dataclasses.replace(snapshot, update=update, checks={**snapshot.checks, **checks})


def test_a_run_whose_checks_hold_warns_of_nothing(snapshot: Snapshot) -> None:
    report = Report(as_json=False)
    report(snapshot)
    assert snapshot.checks and report.warnings() == []


def test_each_check_that_failed_is_named_with_its_updates_and_what_it_claims(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(as_json=False)
    report(checked(snapshot, 1))
    report(checked(snapshot, 2, first_ratio=(False, 1.25)))
    report(checked(snapshot, 3, first_ratio=(False, 9.0), stop_counts=(False, 2.0)))
    first, second = report.warnings()
    assert first == f"check failed: first_ratio in 2 updates, 2 to 3, first 1.25: {CHECKS['first_ratio']}"
    assert second == f"check failed: stop_counts in update 3, first 2: {CHECKS['stop_counts']}"
    assert capsys.readouterr().out == ""


def test_a_line_of_json_has_the_metrics_and_the_names_of_what_failed(
    snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(as_json=True)
    report(checked(snapshot, 7, whitened=(False, 0.5)))
    line = json.loads(capsys.readouterr().out)
    assert line["update"] == 7 and line["failed_checks"] == ["whitened"]
    assert line["metrics"]["objective/score"] == snapshot.metrics["objective/score"]
