"""Writes a run into a folder, update by update, so that a process that is killed loses at most the one in progress."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from explorer.config import Config
from explorer.recording.folder import (
    METRICS_FOLDER,
    METRICS_ROWS,
    SCHEMA_VERSION,
    RecordingError,
    create,
    part_path,
    write_run,
    write_table,
)
from explorer.recording.metrics import metrics_table
from explorer.recording.snapshot import Snapshot
from explorer.recording.tables import to_tables

#: The last folder into which a snapshot is written: it is kept where its part is there.
LAST_FOLDER = "updates"


class RunWriter:
    """Writes a run into a new folder as it goes.

    Args:
        path: a folder that is new or empty.
        info: what is known of the run; anything that JSON can hold.
        keep_every: keep the snapshot of every n-th update, and of the first and the last; metrics of all.

    Raises:
        RecordingError: the folder holds something already or cannot be made, or ``info`` does not fit into JSON.
    """

    def __init__(self, path: str | Path, info: Mapping[str, Any], keep_every: int = 1) -> None:
        if keep_every < 1:
            raise RecordingError(f"keep_every is {keep_every}, but must be a whole number from 1.")
        self.root = Path(path)
        self.keep_every = keep_every
        self._info = {name: value for name, value in info.items() if name != "schema_version"}
        self._configs: list[dict[str, Any]] = []
        self._config: Config | None = None
        self._rows: dict[int, Mapping[str, float]] = {}
        self._last = 0
        self._unkept: Snapshot | None = None
        create(self.root)
        self._write_run()

    def append(self, snapshot: Snapshot) -> None:
        """Add the next update. Raises RecordingError where it does not come after the last one."""
        self._check_order(snapshot.update)
        if self._last == 0 or snapshot.update % self.keep_every == 0:
            self._write_parts(snapshot)
            self._unkept = None
        else:
            self._unkept = snapshot
        self.append_metrics(snapshot.update, snapshot.config, snapshot.metrics)

    def append_metrics(self, update: int, config: Config, metrics: Mapping[str, float]) -> None:
        """Add the next update without its snapshot. Raises RecordingError as ``append`` does."""
        self._check_order(update)
        if config != self._config:
            self._configs.append({"from_update": update, "config": config.flat()})
            self._write_run()
            self._config = config
        if len(self._rows) >= METRICS_ROWS:
            self._rows = {}
        self._rows[update] = dict(metrics)
        # From here on the update has happened.
        write_table(part_path(self.root, METRICS_FOLDER, min(self._rows)), metrics_table(self._rows))
        self._last = update

    def close(self) -> None:
        """Keep the last update's snapshot too, where it was thinned out."""
        if self._unkept is not None:
            self._write_parts(self._unkept)
            self._unkept = None

    def __enter__(self) -> Self:
        """The writer; leaving the block closes it."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_order(self, update: int) -> None:
        if update <= self._last:
            raise RecordingError(f"update {update} cannot be added after update {self._last}: record it elsewhere.")

    def _write_parts(self, snapshot: Snapshot) -> None:
        for folder, table in to_tables(snapshot)._asdict().items():
            write_table(part_path(self.root, folder, snapshot.update), table)

    def _write_run(self) -> None:
        write_run(self.root, {"schema_version": SCHEMA_VERSION, "info": self._info, "configs": self._configs})
