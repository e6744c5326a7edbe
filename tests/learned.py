"""What training decided, to compare two runs by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from explorer.recording.snapshot import Snapshot


def learned(snapshots: Sequence[Snapshot]) -> list[dict[str, Any]]:
    """Everything that training decided: all arrays and metrics, without wall time."""
    found = []
    for snapshot in snapshots:
        records = (snapshot.rollout, snapshot.credit, snapshot.curve, *snapshot.epochs)
        fields = {
            f"{i} {field.name}": np.asarray(value).tobytes() if hasattr(value, "shape") else repr(value)
            for i, record in enumerate(records)
            for field in dataclasses.fields(record)
            for value in [getattr(record, field.name)]
        }
        metrics = {name: value for name, value in snapshot.metrics.items() if not name.startswith("throughput/")}
        found.append(fields | metrics | {"texts": snapshot.tokens, "config": snapshot.config, "n": snapshot.update})
    return found
