"""Where in a run's folder an update's four tables lie: in parts of their own, or in a block of updates put together.

    tokens/000012.parquet           a part: one update
    tokens/000001-000100.parquet    a block: a row group for each update that is kept of them, in order
    index.json                      {"index_version": 1, "blocks": [[1, 2, … 100], …]}: which updates are in which block

The index has the last word. What it names is read from the block, whatever parts lie there beside; a block that it does
not name is one that was cut off in the making, whose parts are all still there. So it is there before the first block,
and wherever a kill comes, each update is found once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from explorer.recording.bounded import Bound
from explorer.recording.folder import (
    BLOCK_NAME,
    RecordingError,
    damaged,
    inside,
    numbered_files,
    part_numbers,
    part_path,
    read_json,
    read_table,
    replace_file,
)
from explorer.recording.tables import Tables

INDEX_FILE = "index.json"

#: The form of ``index.json``. A newer one is refused by name.
INDEX_VERSION = 1

#: The last folder into which a snapshot is written: it is kept where its part is there.
LAST_FOLDER = "updates"

MAX_BLOCK = 4096


class Block(NamedTuple):
    """Updates that lie in one file of each folder.

    Attributes:
        updates: their numbers, ascending: the i-th is the i-th row group.
    """

    updates: tuple[int, ...]

    def path(self, folder: str) -> Path:
        """Where the file lies in the run's folder."""
        return Path(folder) / f"{self.updates[0]:06d}-{self.updates[-1]:06d}.parquet"


def read_index(root: Path) -> list[Block]:
    """The blocks of a run, ascending; none where nothing has been put together.

    Raises:
        RecordingError: it is missing where there are blocks, is damaged, or of a newer form.
    """
    path = root / INDEX_FILE
    if not path.exists() and not path.is_symlink():
        if any(numbered_files(root / folder, BLOCK_NAME) for folder in Tables._fields):
            raise RecordingError(f"'{root}' has no {INDEX_FILE}, which says what lies in its larger files: restore it.")
        return []
    try:
        content = read_json(inside(root, INDEX_FILE, "restore it."))
        version, found = content["index_version"], content["blocks"]
        if type(version) is not int or version < 1:
            raise ValueError(f"its index_version is {version!r}")
        blocks = _checked(found) if version <= INDEX_VERSION else []
    except RecordingError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise damaged(path, error) from None
    if version > INDEX_VERSION:
        raise RecordingError(f"'{path}' is of a newer PPO Explorer: open the run with that one.")
    return blocks


def write_index(root: Path, blocks: list[Block], *, durable: bool = False) -> None:
    """Say which updates are in which block. Raises OSError where the folder takes no more."""
    text = json.dumps({"index_version": INDEX_VERSION, "blocks": [list(block.updates) for block in blocks]})
    replace_file(root / INDEX_FILE, lambda path: path.write_text(text + "\n", encoding="utf-8"), durable=durable)


def loose_updates(root: Path) -> list[int]:
    """The updates that lie in parts of their own and in no block, ascending. Raises as ``read_index``."""
    loose = part_numbers(root, LAST_FOLDER)  # before the index: what is put together meanwhile is in one of the two
    together = {update for block in read_index(root) for update in block.updates}
    return [update for update in loose if update not in together]


class Parts:
    """The tables of a run's updates, wherever they lie. What is put together meanwhile is found again.

    Args:
        root: the run's folder.

    Raises:
        RecordingError: as ``read_index``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        loose = part_numbers(root, LAST_FOLDER)
        self._look()
        #: The updates that are kept, ascending.
        self.updates = sorted({*loose, *self._where})

    def read(self, folder: str, update: int, bound: Bound) -> pa.Table:
        """One of an update's tables. Raises RecordingError where it is missing, damaged, or more than ``bound``."""
        path, group = self._find(folder, update)
        if not (self._root / path).exists():
            self._look()
            path, group = self._find(folder, update)
        try:
            return read_table(self._root, path, bound, group)
        except RecordingError:
            if (self._root / path).exists():
                raise
        self._look()  # it has been put together just now
        path, group = self._find(folder, update)
        return read_table(self._root, path, bound, group)

    def _look(self) -> None:
        self._where = {update: (block, i) for block in read_index(self._root) for i, update in enumerate(block.updates)}

    def _find(self, folder: str, update: int) -> tuple[Path, int | None]:
        block, group = self._where.get(update, (None, None))
        return (part_path(Path(), folder, update), None) if block is None else (block.path(folder), group)


def _checked(found: Any) -> list[Block]:
    """The blocks of an index that somebody else may have written: whole numbers that ascend, none in two blocks.

    Blocks may lie within one another: what could not be put together at its time, on a full disk, is later.
    """
    if not isinstance(found, list) or not all(isinstance(block, list) and block for block in found):
        raise TypeError("its blocks are no lists")
    seen: set[int] = set()
    for block in found:
        if len(block) > MAX_BLOCK:
            raise ValueError("it is too large")
        last = 0
        for update in block:
            if type(update) is not int or not last < update < 10**9:
                raise ValueError("its updates are not in order")
            last = update
        if not seen.isdisjoint(block):
            raise ValueError("an update is in two of its blocks")
        seen.update(block)
    return [Block(tuple(block)) for block in found]
