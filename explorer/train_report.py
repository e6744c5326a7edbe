"""What the command ``ppo-explorer train`` says of its run: a line an update, the sum of it, the checks that failed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from explorer.recording.snapshot import Snapshot
    from explorer.recording.storage import Recording


class Report:
    """Follows a run update by update.

    Args:
        as_json: whether every update is printed, as a line of JSON.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        #: For each check that has failed: the updates in which it did, and what it measured in the first of them.
        self.failed: dict[str, tuple[list[int], float]] = {}

    def __call__(self, snapshot: Snapshot) -> None:
        """Take note of an update, and print it where that is asked for."""
        for name, (holds, measured) in snapshot.checks.items():
            if not holds:
                self.failed.setdefault(name, ([], measured))[0].append(snapshot.update)
        if self.as_json:
            failed = [name for name, (holds, _) in snapshot.checks.items() if not holds]
            line = {"update": snapshot.update, "metrics": plain(snapshot.metrics), "failed_checks": failed}
            print(json.dumps(line, allow_nan=False), flush=True)

    def warnings(self) -> list[str]:
        """A sentence for each check that failed."""
        from explorer.ppo.checks import CHECKS

        return [
            f"check failed: {name} in {_updates(updates)}, first {measured:.3g}: {CHECKS[name]}"
            for name, (updates, measured) in self.failed.items()
        ]


def plain(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """What JSON can hold: null where a metric is no number."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def parting(parent: Path, fork: Recording) -> str:
    """Where a fork parts from the run that it came from, in one sentence."""
    from explorer.recording.branches import parting as parting_of
    from explorer.recording.folder import RecordingError
    from explorer.recording.storage import Recording

    try:
        found = parting_of(Recording.load(parent), fork)
    except RecordingError as error:
        return f"Where it parts from '{parent}' cannot be told: {error}"
    if found is None:
        return f"The same as '{parent}' so far, bit for bit, in every update that both have."
    rows = [f"token {found.token + 1} of"] if found.token is not None else []
    rows += [f"response {found.response + 1}"] if found.response is not None else []
    place = ", ".join([f"update {found.update}", found.stage, *([" ".join(rows)] if rows else [])])
    numbers = found.words or (found.parent, found.child)
    return f"First differs from '{parent}' in {place}: {found.quantity}, {numbers[0]!r} -> {numbers[1]!r}."


def summary(recording: Recording, out: Path | None, save_policy: Path | None) -> str:
    """How many updates, from which score to which, and where all of it is now."""
    count = recording.metrics.num_rows
    scores = recording.metrics.column("objective/score").to_pylist() if count else []
    many = f"{count} update{'' if count == 1 else 's'}"
    parts = [many + (f", score {scores[0]:+.3f} to {scores[-1]:+.3f}" if scores else "")]
    parts += [f"recorded in {out}"] if out else []
    parts += [f"policy in {save_policy}"] if save_policy else []
    return "; ".join(parts) + "."


def _updates(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"update {numbers[0]}"
    return f"{len(numbers)} updates, {numbers[0]} to {numbers[-1]}"
