"""A run, on disk or in memory: ``Recording``. ``RunWriter`` writes it update by update.

Opening reads ``run.json`` and the metrics; a snapshot is read when it is asked for. Nothing here needs torch. How the
files lie in the folder is told in ``explorer.recording.folder``, what their columns are in
``explorer.recording.tables``.
"""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import index
from pathlib import Path
from typing import Any

import pyarrow as pa

from explorer.config import Config
from explorer.recording.checkpoints import checkpoint_path, checkpoint_updates
from explorer.recording.folder import (
    SCHEMA_VERSION,
    RecordingError,
    damaged,
    read_run,
    whole_folder,
)
from explorer.recording.index import Parts
from explorer.recording.labels import Label, add_label, read_labels
from explorer.recording.metrics import metrics_of, metrics_table, read_metrics
from explorer.recording.older import tables_from
from explorer.recording.settings import settings_of
from explorer.recording.snapshot import Snapshot
from explorer.recording.tables import Tables, from_tables, most_of
from explorer.recording.writer import RunWriter

__all__ = ["Recording", "RecordingError", "RunWriter"]

#: Snapshots kept in memory by a recording on disk: enough to go back and forth between neighbours.
CACHED_SNAPSHOTS = 8


class Recording:
    """A run: the metrics and the Config of every update, and the snapshots that were kept.

    ``len(recording)`` counts the kept snapshots, ``recording[i]`` is the i-th of them (negative from the end), and
    iterating gives them in order. Made by ``Recording.load``, ``Recording.in_memory`` or ``Trainer.train``.

    Attributes:
        name: of its folder; empty in memory.
        info: what is known of the run: ``schema_version``, ``versions``, ``seed``, ``policy``, ``prompts``,
            ``created``.
        metrics: a row for every update: ``update``, then every metric, null where an update lacks it. A
            ``pyarrow.Table``; ``.to_pandas()`` makes it a DataFrame.
        updates: the kept snapshots' update numbers: ``recording[i].update == recording.updates[i]``.
        configs: ``{update: Config}``, each in force from that update until the next one that is named.
        folder: where it lies; None in memory.
    """

    def __init__(
        self,
        *,
        info: Mapping[str, Any],
        metrics: pa.Table,
        configs: Mapping[int, Config],
        updates: Sequence[int],
        read: Callable[[int], Snapshot],
        name: str = "",
        folder: Path | None = None,
    ) -> None:
        self.name, self.folder = name, folder
        self.info = dict(info)
        self.metrics = metrics
        self.configs = dict(configs)
        self.updates = list(updates)
        self._kept = frozenset(self.updates)
        self._read = read

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Open a recorded run. Snapshots are read from the folder as they are asked for.

        Raises:
            RecordingError: the folder is missing, is no recording, is damaged, or is of a newer schema.
        """
        root = Path(path)
        content = read_run(root)
        try:
            version = content["schema_version"]
            configs = {update: Config.from_flat(flat) for update, flat in settings_of(version, content["configs"])}
            info = {**content["info"], "schema_version": version}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(root / "run.json", error) from None
        metrics, parts = read_metrics(root), Parts(root)
        happened = set(metrics.column("update").to_pylist())
        if happened and (not configs or min(configs) > min(happened)):
            raise damaged(root / "run.json", ValueError("it lacks the first update's config"))

        def read(update: int) -> Snapshot:
            config = _in_force(configs, update)
            tables = Tables(*(parts.read(folder, update, most) for folder, most in most_of(config).items()))
            try:
                whole = tables_from(version, tables, config)
                return from_tables(whole, update, config, metrics_of(metrics, update))
            except (ValueError, KeyError, IndexError, TypeError, AttributeError, pa.ArrowException) as error:
                raise RecordingError(
                    f"update {update} in '{root}' is damaged ({' '.join(str(error).split())}): record the run again."
                ) from None

        kept = [update for update in parts.updates if update in happened]
        cached = lru_cache(CACHED_SNAPSHOTS)(read)
        where = root.resolve()
        return cls(
            info=info, metrics=metrics, configs=configs, updates=kept, read=cached, name=where.name, folder=where
        )

    @classmethod
    def in_memory(
        cls,
        snapshots: Sequence[Snapshot],
        *,
        info: Mapping[str, Any],
        metrics: Mapping[int, Mapping[str, float]] | None = None,
        configs: Mapping[int, Config] | None = None,
    ) -> Recording:
        """A recording of snapshots that are at hand.

        Args:
            snapshots: in the order of their updates.
            info: what is known of the run.
            metrics: ``{update: metrics}`` of every update, where there were more than are kept.
            configs: ``{update: Config}`` likewise.
        """
        kept = {snapshot.update: snapshot for snapshot in snapshots}
        rows = metrics if metrics is not None else {n: s.metrics for n, s in kept.items()}
        return cls(
            info={**info, "schema_version": SCHEMA_VERSION},
            metrics=metrics_table(rows),
            configs=configs if configs is not None else {n: s.config for n, s in kept.items()},
            updates=list(kept),
            read=kept.__getitem__,
        )

    def token_table(self, updates: Iterable[int] | None = None) -> pa.Table:
        """Everything about every token in one table: a row for each update, epoch, response and position.

        Args:
            updates: which of the kept updates; None is all of them. One of 32 responses of 24 tokens and 4 epochs has
                3,840 rows, 1.3 MB in memory.

        Returns:
            The columns of ``tokens`` and ``epochs``, as ``explorer.recording.by_epoch`` lays them out. A
            ``pyarrow.Table``: ``.to_pandas()``, ``polars.from_arrow(table)``, or by its name in DuckDB.

        Raises:
            KeyError: the recording keeps no snapshot of an update that is asked for.
            RecordingError: a snapshot's files are missing or damaged.
        """
        from explorer.recording.by_epoch import by_epoch

        wanted = self.updates if updates is None else list(updates)
        tables = [by_epoch(self.at(n), lambda n: self._read(n) if n in self._kept else None) for n in wanted]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})

    @property
    def states(self) -> list[Path]:
        """The files of the states that its own folder keeps, oldest first; none in memory."""
        happened = self.metrics.column("update").to_pylist()
        kept = checkpoint_updates(self.folder) if self.folder is not None else []
        return [checkpoint_path(self.folder or Path(), n) for n in kept if not happened or n <= happened[-1]]

    def save(self, path: str | Path) -> None:
        """Write the recording into a new or empty folder, with the states and the labels in its own folder.

        It is there when it is whole. A branch that was loaded from its folder has not the updates before it branched
        off, and says so in a warning: ``lineage.line_of`` gives it with its past.

        Raises:
            RecordingError: the folder holds something already, cannot be made, or takes no more.
        """
        target, parent = Path(path), self.info.get("parent")
        try:
            with whole_folder(target) as unfinished:
                self.write(unfinished, self.states)
                for label in self.labels:
                    add_label(unfinished, label)
        except OSError as error:
            raise RecordingError(f"'{target}' cannot be written to ({error.strerror}): name another folder.") from None
        first = self.metrics.column("update")[0].as_py() if self.metrics.num_rows else 1
        if isinstance(parent, dict) and first > 1:
            warnings.warn(
                f"'{target}' is a branch without its past: updates 1 to {first - 1} lie with its parent, the run "
                f"{str(parent.get('id'))[:8]} in '{parent.get('folder')}'. Keep that as well.",
                stacklevel=2,
            )

    def write(self, folder: Path, states: Iterable[Path] = ()) -> None:
        """Write the recording into a new or empty folder, with copies of the files of some states.

        Raises:
            RecordingError: the folder holds something already, cannot be made, or takes no more.
        """
        with RunWriter(folder, self.info) as writer:
            for update in self.metrics.column("update").to_pylist():
                if update in self._kept:
                    writer.append(self._read(update))
                else:
                    writer.append_metrics(update, self.config_at(update), metrics_of(self.metrics, update))
            writer.copy_states(states)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The notes on the run that its folder has, in the order in which they were added; none in memory.

        Raises:
            RecordingError: ``labels.jsonl`` is damaged.
        """
        return read_labels(self.folder) if self.folder is not None else ()

    def add_label(
        self, update: int, label: str, text: str = "", *, response: int | None = None, token: int | None = None
    ) -> Label:
        """Note something on an update, one of its responses, or a token of that; it is on the disk on return.

        Args:
            update: which update, from 1; it must have happened.
            label: what it is, in at most 80 characters.
            text: what there is to say about it, in at most 2000.
            response: which response, from 0; None for the whole update.
            token: which token of it, from 0; None for the whole response.

        Raises:
            ValueError, TypeError: there is no such update, response or token, or a text is too long.
            RecordingError: the recording lies in no folder, or that takes no more.
        """
        if self.folder is None:
            raise RecordingError("This recording lies in memory: save it, and label what Recording.load then opens.")
        added = Label(update=update, label=label, text=text, response=response, token=token)
        if update not in self.metrics.column("update").to_pylist():
            raise ValueError(f"There is no update {update} in '{self.folder}'.")
        config = self.config_at(update)
        for name, value, count in (
            ("response", response, config.batch_size),
            ("token", token, config.response_length),
        ):
            if value is not None and value >= count:
                raise ValueError(f"{name} is {value}, but update {update} has {count}, counted from 0.")
        return add_label(self.folder, added)

    def __len__(self) -> int:
        """How many snapshots are kept."""
        return len(self.updates)

    def __getitem__(self, i: int) -> Snapshot:
        """The i-th kept snapshot. Raises IndexError past the end, and RecordingError where its files are damaged."""
        try:
            update = self.updates[index(i)]
        except IndexError:
            raise IndexError(f"the recording keeps {len(self)} snapshots, so there is no {i}") from None
        return self._read(update)

    def at(self, update: int) -> Snapshot:
        """The snapshot of an update that is kept. Raises KeyError for another, and RecordingError as indexing does."""
        if update not in self._kept:
            raise KeyError(f"the recording keeps no snapshot of update {update}")
        return self._read(update)

    def __iter__(self) -> Iterator[Snapshot]:
        """The kept snapshots in order."""
        return (self._read(update) for update in self.updates)

    def config_at(self, update: int) -> Config:
        """The Config that was in force in an update."""
        return _in_force(self.configs, update)


def _in_force(configs: Mapping[int, Config], update: int) -> Config:
    starts = sorted(configs)
    return configs[starts[bisect.bisect_right(starts, update) - 1]]
