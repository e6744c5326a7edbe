"""The files of a recording: their names, writing them whole or not at all, and reading them without trust.

    run.json                      schema version, what is known of the run, and the Config of every update
    metrics/000001.parquet        a row an update, up to ``METRICS_ROWS`` of them, from the update in its name on
    tokens/000012.parquet         update 12, as ``explorer.recording.tables`` lays it out,
    epochs/000012.parquet         and so with these three
    responses/000012.parquet
    updates/000012.parquet
    checkpoints/000010.safetensors    the state from which update 11 begins, see ``explorer.recording.checkpoints``

A file is written under another name and then renamed, so that under its own name it is always whole. The newest part
of ``metrics/`` is written last: an update that it does not name has not happened, whatever else of it lies there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from explorer.recording.tables import Tables

#: The form of the files. A newer one is refused by name, an older one is read by ``explorer.recording.older``; raise it
#: with every change of a column.
SCHEMA_VERSION = 4
RUN_FILE = "run.json"
METRICS_FOLDER = "metrics"
#: How many updates a part of ``metrics/`` holds: rewriting it with each of them stays cheap, opening a long run too.
METRICS_ROWS = 128

# More than any run that this package can make; what claims to be larger is damaged or hostile.
MAX_JSON_BYTES = 64 * 2**20
MAX_TABLE_BYTES = 2 * 2**30
MAX_TABLE_ROWS = 50_000_000
MAX_METRICS_ROWS = 1_000_000

_PART = re.compile(r"(\d{6,9})\.parquet")


class RecordingError(ValueError):
    """A recording cannot be read or written; the message says what to do."""


def check_unused(folder: Path) -> None:
    """See that a folder is new or empty. Raises RecordingError where it holds something already, or is none."""
    if folder.exists() and not folder.is_dir():
        raise RecordingError(f"'{folder}' is a file: give a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise RecordingError(f"'{folder}' is not empty: give another folder, so that what it holds is kept.")


def create(root: Path) -> None:
    """Make the folders of a new recording.

    Raises:
        RecordingError: the folder holds something already, or cannot be made.
    """
    try:
        check_unused(root)
        for name in (METRICS_FOLDER, *Tables._fields):
            (root / name).mkdir(parents=True)
    except OSError as error:
        raise RecordingError(f"'{root}' cannot be used as a folder ({error.strerror}): give another.") from None


def write_run(root: Path, content: dict[str, Any], *, durable: bool = False) -> None:
    """Write ``run.json``. Raises RecordingError where the content is more than JSON can hold."""
    try:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordingError(f"what is known of the run cannot be written as JSON: {error}.") from None
    replace_file(root / RUN_FILE, lambda path: path.write_text(text + "\n", encoding="utf-8"), durable=durable)


def read_run(root: Path) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        RecordingError: the folder is missing or no recording, the file is damaged, or its schema is a newer one.
    """
    if not root.is_dir():
        raise RecordingError(f"There is no folder '{root}': give the folder of a recorded run.")
    path = inside(root, RUN_FILE, "it is not a recorded run.")
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ValueError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
        if type(version) is not int or version < 1:
            raise ValueError(f"its schema_version is {version!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, error) from None
    if version > SCHEMA_VERSION:
        raise RecordingError(
            f"'{root}' is of recording schema {version}, and this PPO Explorer reads up to schema {SCHEMA_VERSION}: "
            "open it with a newer PPO Explorer."
        )
    checked: dict[str, Any] = content
    return checked


def part_path(root: Path, folder: str, update: int) -> Path:
    """Where a part lies."""
    return root / folder / f"{update:06d}.parquet"


def part_numbers(root: Path, folder: str) -> list[int]:
    """The updates that name a folder's parts, ascending; other files are left alone."""
    return numbered_files(root / folder, _PART)


def numbered_files(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    """The numbers (the pattern's first group) of the files in a folder, ascending; none where there is no folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise damaged(folder, error) from None
    return sorted(int(found[1]) for found in map(pattern.fullmatch, names) if found)


def write_table(path: Path, table: pa.Table, *, durable: bool = False) -> None:
    """Write a Parquet file, compressed with zstd; real numbers as split byte streams, a third smaller than plain."""
    leaves = [leaf for field in table.schema for leaf in _leaves(field.name, field.type)]

    def write(target: Path) -> None:
        pq.write_table(
            table,
            target,
            compression="zstd",
            use_dictionary=[name for name, kind in leaves if kind != pa.float32()],
            column_encoding={name: "BYTE_STREAM_SPLIT" for name, kind in leaves if kind == pa.float32()},
            write_statistics=False,
            write_page_checksum=True,
        )

    replace_file(path, write, durable=durable)


def read_table(root: Path, folder: str, update: int, most_rows: int) -> pa.Table:
    """A part, whole.

    Args:
        root: the recording's folder.
        folder: which of the folders in it.
        update: the update that names the part.
        most_rows: how many rows it may have.

    Raises:
        RecordingError: it is missing, damaged, no plain file of this folder, or claims to be larger than any run or
            than ``most_rows``: a value that repeats takes no room in a file, so a small one may have many rows.
    """
    path = inside(root, str(part_path(Path(), folder, update)), "restore it, or record the run again.")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            claimed = file.metadata
            # Of a column's own claims nothing is asked: a damaged one has pyarrow 26 end the process.
            size = sum(claimed.row_group(i).total_byte_size for i in range(claimed.num_row_groups))
            if claimed.num_rows > min(most_rows, MAX_TABLE_ROWS) or size > MAX_TABLE_BYTES:
                raise ValueError("it is too large")
            return file.read(use_threads=False)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise damaged(path, error) from None


def _leaves(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Every column of plain values, by the name that Parquet gives it."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(f"{name}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{name}.{field.name}", field.type)
    else:
        yield name, kind


def inside(root: Path, relative: str, otherwise: str) -> Path:
    """A plain file of the folder: not one that a link leads out of it to, nor a device."""
    path = root / relative
    if not path.exists():
        raise RecordingError(f"'{root}' has no {relative}: {otherwise}")
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        raise RecordingError(f"'{path}' is not a plain file in its folder, so it is not read.")
    return path


def replace_file(path: Path, write: Callable[[Path], Any], *, durable: bool = False) -> None:
    """Write under a name that readers pass over, then rename: a cut leaves the old file, or none, but no half one.

    With ``durable`` both file and name are on the disk itself on return, and outlast a loss of power.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        write(unfinished)
        if durable:
            _sync(unfinished)
        os.replace(unfinished, path)
        if durable:
            _sync(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk; Windows opens no folder, and keeps its own."""
    if os.name == "nt" and path.is_dir():
        return
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def damaged(path: Path, error: Exception, hint: str = "restore it, or record the run again") -> RecordingError:
    """What to say of a file that is not as it was written."""
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return RecordingError(f"'{path}' is damaged ({reason[:200]}): {hint}.")
