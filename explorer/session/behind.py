"""What the curves show behind the run's own lines: other runs, such as those of a seed grid or the parent of a fork."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from explorer.recording.grid import recorded_seeds
from explorer.recording.history import History

#: As it stands, such as a folder's name; or a key of the labels and the values in it.
Words: TypeAlias = str | tuple[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Behind:
    """Other runs, for comparison.

    Attributes:
        label: what they are, for the head of the curves.
        runs: what a point of each is called, and its metrics.
        band: whether the range from the lowest to the highest is shown too.
        key: the run's id, or the name of the grid's folder, where it is on the shelf.
    """

    label: Words
    runs: tuple[tuple[Words, History], ...]
    band: bool = False
    key: str = ""


def seeds_behind(runs: Mapping[int, History], key: str = "") -> Behind:
    """The runs of a seed grid, by seed, and their band."""
    label = ("ui.behind.seeds" if len(runs) > 1 else "ui.behind.seed", {"count": len(runs)})
    return Behind(
        label=label,
        runs=tuple((("ui.behind.seed_name", {"seed": s}), run) for s, run in runs.items()),
        band=True,
        key=key,
    )


def grid_behind(folder: str | Path) -> Behind:
    """The runs of a recorded seed grid as far as they are. Raises RecordingError as ``recorded_seeds`` does."""
    runs = {seed: History(recorded=run) for seed, run in recorded_seeds(folder).items()}
    return seeds_behind(runs, Path(folder).name)


def run_behind(name: str, run: History, key: str = "") -> Behind:
    """One other run, such as the parent of a fork, by its name."""
    return Behind(label=("ui.behind.run", {"name": name}), runs=((name, run),), key=key)
