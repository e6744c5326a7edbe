"""Reads a Parquet file that somebody else wrote within a bound of memory that does not depend on what the file says.

A small file may stand for gigabytes in four ways, and each is stopped where it would begin:

    its footer        is read by us, refused past ``MAX_FOOTER_BYTES``, and parsed with a limit on every list in it
    a page            says in its header how large it is unpacked and how many values it has: each header is read before
                      pyarrow sees the page, and all that is read of a table is added up
    a list            may hold a thousand million values in one row: they are counted by page, as above
    a repeated text   stays a number and its text, as a dictionary, until it is known how long all of it is together

The footer's own claims are looked at first, since they refuse most files at once; nothing relies on them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from explorer.recording.pages import check_pages

MAX_FOOTER_BYTES = 2**20
#: Columns, row groups and whatever else a footer lists; it also bounds how deep its columns can nest.
MAX_LISTED = 4096
MAX_TEXT_BYTES = 2**20
MAX_TEXTS = 4_000_000

_LEAVES = frozenset({pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string()})
_TEXT = pa.dictionary(pa.int32(), pa.string())
_MAGIC = b"PAR1"


class Bound(NamedTuple):
    """How much a table may be.

    Attributes:
        rows: at most so many.
        bytes: at most so many in memory, where every number counts as eight; texts may take so much once more.
    """

    rows: int
    bytes: int


class _Gate:
    """The file as pyarrow reads it: every column comes through here, and its pages are looked at on the way.

    pyarrow is given the footer apart, and told to read ahead of nothing: so each read is one column of a row group.
    """

    closed = False

    def __init__(self, file: BinaryIO, size: int, most: int) -> None:
        self._file, self._size, self._left = file, size, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        there = self._file.read(max(0, min(count, self._size - self._file.tell())))
        self._left -= check_pages(there, self._left)
        return there

    def close(self) -> None:
        self.closed = True


def read_bounded(path: Path, bound: Bound, group: int | None = None) -> pa.Table:
    """A file's table, or one of its row groups.

    Args:
        path: a plain file.
        bound: what it may be at most.
        group: which row group, from 0; None is all of them.

    Raises:
        ValueError, OSError, pa.ArrowException, MemoryError: it is damaged, or larger than it may be.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        claimed = _footer(file, size)
        groups = range(claimed.num_row_groups) if group is None else [group]
        if any(not 0 <= i < claimed.num_row_groups for i in groups):
            raise ValueError(f"it has no row group {group}")
        # Of a column's own claims nothing is asked: a damaged one has pyarrow 26 end the process.
        rows = sum(max(0, claimed.row_group(i).num_rows) for i in groups)
        if rows > bound.rows or sum(claimed.row_group(i).total_byte_size for i in groups) > bound.bytes:
            raise ValueError("it is too large")
        texts = [
            column.path for column in map(claimed.schema.column, range(claimed.num_columns))
            if column.physical_type == "BYTE_ARRAY"
        ]  # fmt: skip
        with pq.ParquetFile(
            _Gate(file, size, bound.bytes),
            metadata=claimed,
            read_dictionary=texts,
            pre_buffer=False,
            page_checksum_verification=True,
        ) as parquet:
            schema = parquet.schema_arrow
            for field in schema:
                _check_type(field.name, field.type)
            batches = parquet.iter_batches(batch_size=bound.rows + 1, row_groups=groups, use_threads=False)
            table = pa.Table.from_batches(list(_counted(batches, bound.rows)), schema)
    return _with_texts(table, bound.bytes)


def footer_bytes(path: Path) -> int:
    """How long a file's footer is. Raises ValueError, OSError where it has none."""
    with path.open("rb") as file:
        return _footer_bytes(file, os.fstat(file.fileno()).st_size)


def _footer(file: BinaryIO, size: int) -> pq.FileMetaData:
    length = _footer_bytes(file, size)
    if length > MAX_FOOTER_BYTES:
        raise ValueError("it is too large, as its footer is")
    file.seek(size - 8 - length)
    alone = pa.BufferReader(_MAGIC + file.read(length + 8))
    with pq.ParquetFile(alone, thrift_container_size_limit=MAX_LISTED, thrift_string_size_limit=MAX_FOOTER_BYTES) as it:
        return it.metadata


def _footer_bytes(file: BinaryIO, size: int) -> int:
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if len(end) < 8 or end[4:] != _MAGIC or length > size - 12:
        raise ValueError("it is no whole Parquet file")
    return length


def _counted(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        most -= batch.num_rows
        if most < 0:  # whatever the footer said
            raise ValueError("it is too large")
        yield batch


def _check_type(name: str, kind: pa.DataType, depth: int = 0) -> None:
    """See that a column holds numbers, texts, or lists or records of them."""
    if depth < 3 and (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        _check_type(name, kind.value_type, depth + 1)
    elif depth < 3 and pa.types.is_struct(kind):
        for field in kind:
            _check_type(name, field.type, depth + 1)
    elif kind not in _LEAVES and kind != _TEXT:
        raise TypeError(f"the column {name[:80]} holds {str(kind)[:80]}")


def _with_texts(table: pa.Table, most: int) -> pa.Table:
    """The table with texts as texts, once it is known that they are not too long, too many, or too much together."""
    plain = []
    for field in table.schema:
        kind = _plain(field.type)
        if kind != field.type:
            for chunk in table.column(field.name).chunks if table.schema.names.count(field.name) == 1 else ():
                most = _check_texts(chunk, most)
        plain.append(field.with_type(kind))
    schema = pa.schema(plain)
    return table if schema == table.schema else table.cast(schema)


def _check_texts(array: pa.Array, most: int) -> int:
    """How many bytes of ``most`` are left. Raises ValueError where the texts in an array take more."""
    if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        return _check_texts(array.flatten(), most)
    if pa.types.is_struct(array.type):
        for inner in array.flatten():
            most = _check_texts(inner, most)
        return most
    if array.type != _TEXT:
        return most
    lengths = pc.binary_length(array.dictionary)
    longest = pc.max(lengths).as_py() or 0
    if longest > MAX_TEXT_BYTES or len(array) > MAX_TEXTS:
        raise ValueError("it is too large, as its texts are")
    left = most - len(array) * longest
    if left < 0:  # all as long as the longest: only then is it worth adding them up
        left = most - (pc.sum(lengths.take(array.indices)).as_py() or 0)
    if left < 0:
        raise ValueError("it is too large, as its texts are")
    return left


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type without dictionaries."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(kind.field(0).with_type(_plain(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.field(0).with_type(_plain(kind.value_type)), kind.list_size)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type)) for field in kind])
    return kind
