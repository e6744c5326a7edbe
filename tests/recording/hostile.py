"""Makes small Parquet files that stand for large tables, and footers that say what is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def varint(value: int, width: int = 0) -> bytes:
    """A whole number as Thrift's compact protocol writes it; ``width`` makes it longer than it need be."""
    zigzag, found = value << 1, b""
    while zigzag > 127 or len(found) + 1 < width:
        found += bytes([zigzag & 127 | 128])
        zigzag >>= 7
    return found + bytes([zigzag])


def belittle(path: Path, real: int, claimed: int) -> None:
    """Have a file's footer say ``claimed`` wherever it says ``real``: of rows, and of a column's values."""
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8]
    said = varint(real)
    assert said in footer
    path.write_bytes(content[: -8 - length] + footer.replace(said, varint(claimed, len(said))) + content[-8:])


def with_footer(footer: bytes) -> bytes:
    """A file that is nothing but a footer."""
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def nested_schema(depth: int) -> bytes:
    """The footer of a file without rows, with a column that lies so many groups deep."""
    group = b"\x48\x01a\x15" + varint(1) + b"\x00"  # name, one child
    leaf = b"\x15" + varint(1) + b"\x25" + varint(0) + b"\x18\x01a\x00"  # INT32, required, name
    schema = _list(12, depth + 1)
    return b"\x15" + varint(1) + b"\x19" + schema + group * depth + leaf + b"\x16\x00\x19\x0c\x00"


def many_columns(count: int, groups: int) -> bytes:
    """The footer of a file with so many row groups of so many columns of which nothing is told."""
    schema = b"\x19" + _list(12, 1) + b"\x48\x01a\x15" + varint(0) + b"\x00"
    column = b"\x26\x00\x00"  # its place in the file, 0
    group = b"\x19" + _list(12, count) + column * count + b"\x16\x00\x16\x00\x00"
    return b"\x15" + varint(1) + schema + b"\x16\x00\x19" + _list(12, groups) + group * groups + b"\x00"


def _list(kind: int, count: int) -> bytes:
    if count < 15:
        return bytes([count << 4 | kind])
    head = bytes([0xF0 | kind])
    while count > 127:
        head += bytes([count & 127 | 128])
        count >>= 7
    return head + bytes([count])


def write_repeated(path: Path, columns: dict[str, pa.Array], times: int, group: int = 1, **options: Any) -> None:
    """Columns so many times over: the test itself takes little memory for it, and the file is small.

    Args:
        path: where to.
        columns: as many values each.
        times: how often.
        group: how many of them go into a row group.
        options: of ``pyarrow.parquet.ParquetWriter``.
    """
    table = pa.table(columns)
    with pq.ParquetWriter(path, table.schema, compression="zstd", **options) as writer:
        for start in range(0, times, group):
            pieces = [table] * min(group, times - start)
            writer.write_table(pa.concat_tables(pieces), row_group_size=len(pieces) * max(1, table.num_rows))
