"""Writes a run into a folder, update by update, so that a process that is killed loses at most the one in progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from explorer.config import Config
from explorer.recording.beginning import check_free, clear
from explorer.recording.breaking_off import held_by
from explorer.recording.checkpoints import checkpoint_path, copy_checkpoints, thin_checkpoints, write_checkpoint
from explorer.recording.claim import Claim
from explorer.recording.compacting import Compactor
from explorer.recording.continuing import drop_after
from explorer.recording.folder import (
    METRICS_FOLDER,
    METRICS_ROWS,
    SCHEMA_VERSION,
    NoRoomError,
    RecordingError,
    part_path,
    read_run,
    write_run,
    write_table,
)
from explorer.recording.index import loose_updates
from explorer.recording.metrics import last_metrics, metrics_table
from explorer.recording.settings import entry_of
from explorer.recording.snapshot import Snapshot
from explorer.recording.tables import Tables, to_tables

if TYPE_CHECKING:
    from explorer.ppo.state import State

#: What the checkpoints of a run may weigh together by default, in megabytes: thirty of the bundled policy's.
CHECKPOINT_MEGABYTES = 400.0

#: How often the newest state is kept in passing. A kill then costs the computing of so long once more, and no update;
#: the bundled policy's states are 13 MB, so that a drive is given 2.6 MB a second.
PASSING_SECONDS = 5.0


class RunWriter:
    """Writes a run into a new folder as it goes.

    Args:
        path: a folder that is new or empty, or holds what a kill left of a run that had not begun.
        info: what is known of the run; anything that JSON can hold.
        keep_every: keep the snapshot of every n-th update, and of the first and the last; metrics of all.
        start: the state from which the run starts, kept as its first checkpoint.
        megabytes: what the checkpoints may weigh together; past it older ones are thinned out.
        durable: whether each file is to outlast a loss of power before the next is written: tens of milliseconds an
            update, so leave it to a ``BackgroundWriter``.

    Raises:
        RecordingError: the folder holds something already or cannot be made, ``info`` does not fit into JSON, or
            somebody else writes there. Every method raises it where the folder cannot be written to: it then holds
            every update before.
    """

    def __init__(
        self,
        path: str | Path,
        info: Mapping[str, Any],
        keep_every: int = 1,
        *,
        start: State | None = None,
        megabytes: float = CHECKPOINT_MEGABYTES,
        durable: bool = False,
    ) -> None:
        self._prepare(path, keep_every, megabytes, durable)
        self._info.update((name, value) for name, value in info.items() if name != "schema_version")
        check_free(self.root)
        made = not self.root.exists()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.root, error) from error
        with self._claiming():
            clear(self.root)  # nobody else is at it
            try:
                self._begin(start)
            except Exception:
                with suppress(OSError):  # there is no run: nothing stays of it
                    clear(self.root)
                    if made:
                        self.root.rmdir()
                raise

    def _begin(self, start: State | None) -> None:
        try:
            for name in (METRICS_FOLDER, *Tables._fields):
                (self.root / name).mkdir()
        except OSError as error:
            raise _unusable(self.root, error) from error
        with self._telling():
            # Before run.json: a folder that opens can be gone on with.
            if start is not None:
                write_checkpoint(self.root, start, self._id, durable=self._durable)
            self._write_run()

    @classmethod
    def go_on(
        cls,
        path: str | Path,
        update: int | None = None,
        keep_every: int = 1,
        *,
        megabytes: float = CHECKPOINT_MEGABYTES,
        durable: bool = False,
    ) -> Self:
        """Go on in the folder of a run after its last update, or after an earlier one: later ones are then dropped.

        A kill at any moment leaves a folder that opens, and that can be gone on with in the same way.

        Args:
            path: the run's folder.
            update: the last update to keep, 0 for none; None keeps all.
            keep_every: as in the constructor.
            megabytes: as in the constructor.
            durable: as in the constructor.

        Raises:
            RecordingError: it is no recording, is damaged, or cannot be written to.
            ElsewhereError: it is of another schema than this PPO Explorer writes, or somebody else writes there.
        """
        writer = cls.__new__(cls)
        writer._prepare(path, keep_every, megabytes, durable)
        read_run(writer.root)  # says what is no recording
        writer._last, _ = last_metrics(writer.root)  # so that whatever cannot be written, it is told what is there
        with writer._claiming(), writer._telling():
            left = drop_after(writer.root, update)
            writer._compactor = Compactor(writer.root, loose_updates(writer.root), durable)
        writer._info, writer._configs, writer._last = left.info, left.configs, left.last
        writer._rows = dict(left.rows)
        writer._config = Config.from_flat(left.settings) if left.settings is not None else None
        return writer

    def _prepare(self, path: str | Path, keep_every: int, megabytes: float, durable: bool) -> None:
        if keep_every < 1:
            raise RecordingError(f"keep_every is {keep_every}, but must be a whole number from 1.")
        self.root = Path(path)
        self.keep_every = keep_every
        self._megabytes, self._durable = megabytes, durable
        self._info: dict[str, Any] = {}
        self._configs: list[dict[str, Any]] = []
        self._config: Config | None = None
        self._rows: dict[int, Mapping[str, float]] = {}
        self._last = 0
        self._unkept: Snapshot | None = None
        self._claim: Claim | None = None
        self._compactor = Compactor(self.root, [], durable)
        self._passing: int | None = None

    @property
    def last(self) -> int:
        """The last update that the folder holds, 0 before the first."""
        return self._last

    @contextmanager
    def _claiming(self) -> Iterator[None]:
        """Hold the folder from here on, unless what follows fails."""
        self._claim = Claim(self.root)
        try:
            yield
        except BaseException:
            self.release()
            raise

    @property
    def _id(self) -> str:
        return str(self._info.get("id", ""))

    def append(self, snapshot: Snapshot) -> None:
        """Add the next update.

        Raises:
            RecordingError: it does not come after the last one.
            ElsewhereError: its settings are others, and have changed more often than ``run.json`` holds; nothing is
                written.
        """
        self._check_order(snapshot.update)
        self._write_settings(snapshot.update, snapshot.config)
        if self._last == 0 or snapshot.update % self.keep_every == 0:
            self._write_parts(snapshot)
            self._unkept = None
        else:
            self._unkept = snapshot
        self.append_metrics(snapshot.update, snapshot.config, snapshot.metrics)
        self._compactor.advance(self._last)

    def append_metrics(self, update: int, config: Config, metrics: Mapping[str, float]) -> None:
        """Add the next update without its snapshot. Raises RecordingError and ElsewhereError as ``append`` does."""
        self._check_order(update)
        self._write_settings(update, config)
        with self._telling():
            if len(self._rows) >= METRICS_ROWS:
                self._rows = {}
            self._rows[update] = dict(metrics)
            # From here on the update has happened.
            path = part_path(self.root, METRICS_FOLDER, min(self._rows))
            write_table(path, metrics_table(self._rows), durable=self._durable)
        self._last = update

    def checkpoint(self, state: State, passing: bool = False) -> None:
        """Keep the state after the last update, so that the run can be gone on with from there.

        Args:
            state: what to keep.
            passing: only until the next one is safe: after a kill the run goes on from nearby.
        """
        with self._telling():
            write_checkpoint(self.root, state, self._id, durable=self._durable)
            if self._passing is not None and self._passing != state.updates:
                checkpoint_path(self.root, self._passing).unlink(missing_ok=True)
            self._passing = state.updates if passing else None
            thin_checkpoints(self.root, self._megabytes)

    def copy_states(self, files: Iterable[Path]) -> None:
        """Take over the files of some states of this run. Raises RecordingError where one is no plain file."""
        with self._telling():
            copy_checkpoints(files, self.root)

    def close(self) -> None:
        """Keep the last update's snapshot too, where it was thinned out, and let go of the folder."""
        try:
            if self._unkept is not None:
                self._write_parts(self._unkept)
                self._unkept = None
            self._compactor.finish()
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the folder as it is."""
        try:
            self._compactor.stop()
        finally:
            if self._claim is not None:
                self._claim.release()

    def __enter__(self) -> Self:
        """The writer; leaving the block closes it."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_order(self, update: int) -> None:
        if update <= self._last:
            raise RecordingError(f"update {update} cannot be added after update {self._last}: record it elsewhere.")

    def _write_settings(self, update: int, config: Config) -> None:
        if config == self._config:
            return
        before = self._config.flat() if self._config is not None else None
        with self._telling():
            self._write_run(entry_of(update, config.flat(), before))
        self._config = config

    def _write_parts(self, snapshot: Snapshot) -> None:
        with self._telling():
            for folder, table in to_tables(snapshot)._asdict().items():
                write_table(part_path(self.root, folder, snapshot.update), table, durable=self._durable)
        self._compactor.add(snapshot.update)

    def _write_run(self, *changed: dict[str, Any]) -> None:
        self._configs.extend(changed)
        content = {"schema_version": SCHEMA_VERSION, "info": self._info, "configs": self._configs}
        try:
            write_run(self.root, content, durable=self._durable)
        except BaseException:
            del self._configs[len(self._configs) - len(changed) :]
            raise

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Say of a folder that takes no more what it holds."""
        try:
            yield
        except OSError as error:
            raise NoRoomError(held_by(self.root, error, self._last)) from error


def _unusable(root: Path, error: OSError) -> RecordingError:
    return RecordingError(f"'{root}' cannot be used as a folder ({error.strerror}): give another.")
