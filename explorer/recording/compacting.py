"""Puts the parts of a run together: 100 updates in one file of each folder, so that 10,000 of them are 400 files.

Parquet cannot be appended to, so an update is first four files of its own. Once ``BLOCK`` of them are there they are
copied into larger files, a row group each, a few with every update that is written: that costs no pause. The order is
one in which a kill at any moment does no harm:

    1  the four larger files are written under names that readers pass over, and renamed
    2  ``index.json`` is replaced by one that names them: from here on they are what is read
    3  the small files are removed

Another program that reads the folder by ``*.parquet`` may find updates twice after a kill between 1 and 3, until the
run is gone on with. Updates whose tables have other columns than those before them begin a block of their own, and one
whose footer would grow too long to be read ends earlier.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from explorer.recording.bounded import MAX_FOOTER_BYTES, Bound, footer_bytes
from explorer.recording.claim import Claim
from explorer.recording.folder import (
    BLOCK_NAME,
    MAX_TABLE_BYTES,
    MAX_TABLE_ROWS,
    RecordingError,
    parquet_options,
    part_numbers,
    part_path,
    read_run,
    read_table,
    sync,
    write_table,
)
from explorer.recording.index import INDEX_FILE, Block, loose_updates, read_index, write_index
from explorer.recording.metrics import last_metrics
from explorer.recording.tables import Tables

#: How many updates are put together.
BLOCK = 100

#: How many of them are copied with every update that is written: with two, one block is whole before the next is due.
COPIED_AT_ONCE = 2

#: The run's own tables are as large as they are.
_ANY = Bound(MAX_TABLE_ROWS, MAX_TABLE_BYTES)


class Compactor:
    """Puts a run's parts together while it is written, a little at a time.

    What hinders it, as a full disk or a damaged part, leaves those parts as they are: nothing is lost.

    Args:
        root: the run's folder, which the caller holds.
        loose: the updates that lie in parts of their own.
        durable: whether the larger files are to outlast a loss of power before the small ones are removed.
    """

    def __init__(self, root: Path, loose: list[int], durable: bool) -> None:
        self._root, self._loose, self._durable = root, loose, durable
        self._steps: Generator[int, None, None] | None = None

    def add(self, update: int) -> None:
        """An update's parts have been written."""
        self._loose.append(update)

    def advance(self, last: int) -> None:
        """Copy a few of the updates up to ``last``, the newest that has happened."""
        try:
            for _ in range(COPIED_AT_ONCE):
                if self._steps is None:
                    due = [update for update in self._loose[:BLOCK] if update <= last]
                    if len(due) < BLOCK:
                        return
                    self._steps = putting_together(self._root, due, self._durable)
                self._step()
        except (OSError, ValueError, pa.ArrowException):
            self.stop()
            self._loose = []

    def finish(self) -> None:
        """Copy what is left of the block that has been begun."""
        with suppress(OSError, ValueError, pa.ArrowException):
            while self._steps is not None:
                self._step()
        self.stop()

    def stop(self) -> None:
        """Leave the block that has been begun: its parts are still there."""
        steps, self._steps = self._steps, None
        if steps is not None:
            # Its larger files are closed and removed; a full disk may take no end of one, and the parts are all there.
            with suppress(OSError, ValueError, pa.ArrowException):
                steps.close()

    def _step(self) -> None:
        assert self._steps is not None
        done = next(self._steps)
        if done:
            self._loose = self._loose[done:]
            self.stop()


def putting_together(root: Path, updates: list[int], durable: bool) -> Generator[int, None, None]:
    """Put updates into a block, one at a step; ends with how many it holds, and gives 0 before.

    Raises:
        RecordingError: a part is damaged.
        OSError: the folder takes no more.
    """
    blocks = read_index(root)
    if not (root / INDEX_FILE).exists():
        write_index(root, blocks, durable=durable)
    writers: dict[str, pq.ParquetWriter] = {}
    unfinished = {folder: root / folder / f".{updates[0]:06d}-.parquet.part" for folder in Tables._fields}
    taken: list[int] = []
    most = 0
    with ExitStack() as stack:
        for path in unfinished.values():
            stack.callback(path.unlink, missing_ok=True)
        for update in updates:
            tables = {name: read_table(root, part_path(Path(), name, update), _ANY) for name in Tables._fields}
            if not writers:
                # What a row group adds to the footer is less than a footer of its own.
                footers = [footer_bytes(root / part_path(Path(), name, update)) for name in Tables._fields]
                most = max(1, MAX_FOOTER_BYTES // 2 // max(footers))
                for name, table in tables.items():
                    options = parquet_options(table.schema)
                    writers[name] = pq.ParquetWriter(unfinished[name], table.schema, **options)
                    stack.enter_context(closing(writers[name]))
            others = any(not writers[name].schema.equals(table.schema) for name, table in tables.items())
            if others or len(taken) >= most:
                break
            for name, table in tables.items():
                writers[name].write_table(table, row_group_size=max(1, table.num_rows))
            taken.append(update)
            yield 0
        block = Block(tuple(taken))
        for name, writer in writers.items():
            writer.close()
            if durable:
                sync(unfinished[name])
            os.replace(unfinished[name], root / block.path(name))
            if durable:
                sync(root / name)
    write_index(root, sorted([*blocks, block]), durable=durable)
    _remove_parts(root, block)
    yield len(taken)


def compact(folder: str | Path) -> None:
    """Put the parts of a run together, all that make whole blocks.

    Raises:
        RecordingError: it is no recording, is damaged, takes no more, or somebody writes to it.
    """
    root = Path(folder)
    read_run(root)
    claim = Claim(root)
    try:
        last, _ = last_metrics(root)
        loose = [update for update in loose_updates(root) if update <= last]
        while len(loose) >= BLOCK:
            loose = loose[max(putting_together(root, loose[:BLOCK], True)) :]
    except OSError as error:
        raise RecordingError(f"'{root}' cannot be written to ({error.strerror}): make room there.") from None
    finally:
        claim.release()


def drop_blocks_after(root: Path, update: int) -> None:
    """Take a run's blocks back to an update, and clear away what a kill has left of putting together.

    What is left of a block that goes on after that update are parts again. A cut does no harm, and doing it again
    finishes the work.

    Raises:
        RecordingError: the index, or such a block, is damaged.
        OSError: the folder takes no more.
    """
    blocks = read_index(root)
    kept = [block for block in blocks if block.updates[-1] <= update]
    for block in blocks:
        for i, number in enumerate(block.updates):
            if block not in kept and number <= update:
                for name in Tables._fields:
                    table = read_table(root, block.path(name), _ANY, i)
                    write_table(part_path(root, name, number), table, durable=True)
    if kept != blocks:
        write_index(root, kept, durable=True)
    for name in Tables._fields:
        known = {block.path(name).name for block in kept}
        for path in (root / name).iterdir():
            if BLOCK_NAME.fullmatch(path.name) and path.name not in known:
                path.unlink()
    for block in kept:
        _remove_parts(root, block)


def _remove_parts(root: Path, block: Block) -> None:
    for name in reversed(Tables._fields):
        there = set(part_numbers(root, name))
        for update in block.updates:
            if update in there:
                part_path(root, name, update).unlink()
