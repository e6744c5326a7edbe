"""The files of a recording: their names, writing them whole or not at all, and reading them without trust.

    run.json                      schema version, what is known of the run, and the Config of every update
    metrics/000001.parquet        a row an update, up to ``METRICS_ROWS`` of them, from the update in its name on
    tokens/000012.parquet         update 12, as ``explorer.recording.tables`` lays it out,
    epochs/000012.parquet         and so with these three
    responses/000012.parquet
    updates/000012.parquet
    tokens/000001-000100.parquet  100 updates put together, a row group each, and so with the others; what lies in which
    index.json                    file, see ``explorer.recording.index``
    labels.jsonl                  what people and scripts have noted of the run, see ``explorer.recording.labels``
    name.txt                      what it is called, see ``explorer.recording.shelf``
    parting.json                  where it parts from its parent, see ``explorer.recording.parted``
    checkpoints/000010.safetensors    the state from which update 11 begins, see ``explorer.recording.checkpoints``

A file is written under another name and then renamed, so that under its own name it is always whole. The newest part
of ``metrics/`` is written last: an update that it does not name has not happened, whatever else of it lies there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import indent
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from explorer.recording.bounded import Bound, read_bounded
from explorer.recording.pages import VALUE_BYTES

#: The form of the files. A newer one is refused by name, an older one is read by ``explorer.recording.older``; raise it
#: with every column, setting or other field that is added or changed: ``tests/recording/schema_pinned.json`` has them.
SCHEMA_VERSION = 5
RUN_FILE = "run.json"
METRICS_FOLDER = "metrics"
#: How many updates a part of ``metrics/`` holds: rewriting it with each of them stays cheap, opening a long run too.
METRICS_ROWS = 128

# More than any run that this package can make; what claims to be larger is damaged or hostile.
# JSON in memory may take 24 times its size in a file.
MAX_JSON_BYTES = 8 * 2**20
MAX_TABLE_BYTES = 256 * 2**20
MAX_TABLE_ROWS = 50_000_000

#: How many of the runs in a folder a sentence names.
NAMED_RUNS = 8

_PART = re.compile(r"(\d{6,9})\.parquet")
BLOCK_NAME = re.compile(r"(\d{6,9})-\d{6,9}\.parquet")


class RecordingError(ValueError):
    """A recording cannot be read or written; the message says what to do."""


class ElsewhereError(RecordingError):
    """A run cannot be gone on with in its own folder, and can in another: nothing is wrong with it."""


class NoRoomError(RecordingError):
    """A folder takes no more, as on a full disk.

    Args:
        held: what has happened and what the folder holds, the beginning of a sentence.
        then: what to do about it, its end.
    """

    def __init__(self, held: str, then: str = "make room there, or record into another folder") -> None:
        super().__init__(f"{held}: {then}.")
        self.held = held


def check_unused(folder: Path) -> None:
    """See that a folder is new or empty. Raises RecordingError where it holds something already, or is none."""
    if "\0" in str(folder):
        raise RecordingError(f"{str(folder)!r} cannot be the name of a folder: give another.")
    if folder.exists() and not folder.is_dir():
        raise RecordingError(f"'{folder}' is a file: give a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise RecordingError(f"'{folder}' is not empty: give another folder, so that what it holds is kept.")


def write_run(root: Path, content: dict[str, Any], *, durable: bool = False) -> None:
    """Write ``run.json``, each change of the settings on a line of its own.

    Raises:
        RecordingError: the content is more than JSON can hold.
        ElsewhereError: the settings have changed more often than fits into the file; it stays as it was.
    """
    try:
        text = _run_text(content)
        long = len(text.encode()) >= MAX_JSON_BYTES
        if long and len(content["configs"]) < 2:
            raise ValueError(f"it is longer than {MAX_JSON_BYTES} bytes")
    except (TypeError, ValueError) as error:
        raise RecordingError(f"what is known of the run cannot be written as JSON: {error}.") from None
    if long:
        raise ElsewhereError(
            f"the settings of '{root}' have changed {len(content['configs']) - 1} times, more often than its "
            f"{RUN_FILE} holds: what is recorded stays as it is; go on in another folder."
        )
    replace_file(root / RUN_FILE, lambda path: path.write_text(text, encoding="utf-8"), durable=durable)


def _run_text(content: dict[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != "configs"}
    whole = json.dumps({**rest, "configs": []}, indent=1, ensure_ascii=False, allow_nan=False)
    if not content["configs"]:
        return whole + "\n"
    # Whole settings are spread over lines for people; changes, of which there may be 100,000, are not.
    entries = (
        indent(json.dumps(entry, indent=1 if "config" in entry else None, ensure_ascii=False, allow_nan=False), "  ")
        for entry in content["configs"]
    )
    return whole.removesuffix("[]\n}") + "[\n" + ",\n".join(entries) + "\n ]\n}\n"


def read_run(root: Path) -> dict[str, Any]:
    """The content of ``run.json``.

    Raises:
        RecordingError: the folder is missing or no recording, the file is damaged, or its schema is a newer one.
    """
    if "\0" in str(root) or not root.is_dir():
        raise RecordingError(f"There is no folder {str(root)!r}: give the folder of a recorded run.")
    there = (root / RUN_FILE).exists()
    path = inside(root, RUN_FILE, "" if there else _instead(root))
    try:
        content = read_json(path)
        version = content["schema_version"]
        if type(version) is not int or version < 1:
            raise ValueError(f"its schema_version is {version!r}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise damaged(path, error) from None
    if version > SCHEMA_VERSION:
        raise RecordingError(
            f"'{root}' is of recording schema {version}, and this PPO Explorer reads up to schema {SCHEMA_VERSION}: "
            "open it with a newer PPO Explorer."
        )
    checked: dict[str, Any] = content
    return checked


def _instead(root: Path) -> str:
    """What to say of a folder that is no recorded run: which runs lie in it, as in that of a seed grid."""
    try:
        runs = sorted(path.name for path in root.iterdir() if (path / RUN_FILE).is_file() and not path.is_symlink())
    except OSError:
        runs = []
    if not runs:
        return "it is not a recorded run."
    named = ", ".join(runs[:NAMED_RUNS]) + (f" and {len(runs) - NAMED_RUNS} more" if len(runs) > NAMED_RUNS else "")
    what = f"the run {named}" if len(runs) == 1 else f"{len(runs)} runs, {named}"
    return f"it is not a recorded run, but holds {what}: give the folder of one, as '{root / runs[0]}'."


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises ValueError, OSError, RecursionError where it is too large, or none."""
    with path.open("rb") as file:
        text = file.read(MAX_JSON_BYTES + 1)  # it may grow after it has been asked how large it is
    if len(text) > MAX_JSON_BYTES:
        raise ValueError("it is too large")
    return json.loads(text.decode("utf-8"))


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
    """Write a Parquet file, in the way of ``parquet_options``.

    Raises:
        RecordingError: the table is larger than one that is read.
    """
    leaves = sum(1 for field in table.schema for _ in _leaves(field.name, field.type))
    if max(table.nbytes, VALUE_BYTES * leaves * table.num_rows) > MAX_TABLE_BYTES:
        raise RecordingError(
            f"'{path.parent.name}' of one update would take more than {MAX_TABLE_BYTES // 2**20} MiB and could not be "
            "read again: record it with a smaller batch_size, response_length or replay_rollouts, or without tokens."
        )
    replace_file(path, lambda target: pq.write_table(table, target, **parquet_options(table.schema)), durable=durable)


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How tables are written: with zstd, and real numbers as split byte streams, a third smaller than plain."""
    leaves = [leaf for field in schema for leaf in _leaves(field.name, field.type)]
    return {
        "compression": "zstd",
        "use_dictionary": [name for name, kind in leaves if kind != pa.float32()],
        "column_encoding": {name: "BYTE_STREAM_SPLIT" for name, kind in leaves if kind == pa.float32()},
        "write_statistics": False,
        "write_page_checksum": True,
    }


def read_table(root: Path, relative: Path, bound: Bound, group: int | None = None) -> pa.Table:
    """A Parquet file, whole or one row group of it.

    Args:
        root: the recording's folder.
        relative: where the file lies in it.
        bound: what the table may be at most: a small file may hold a large one.
        group: which row group; None is all of them.

    Raises:
        RecordingError: it is missing, damaged, no plain file of this folder, or larger than it may be.
    """
    path = inside(root, str(relative), "restore it, or record the run again.")
    within = Bound(min(bound.rows, MAX_TABLE_ROWS), min(bound.bytes, MAX_TABLE_BYTES))
    try:
        return read_bounded(path, within, group)
    except (OSError, ValueError, KeyError, TypeError, MemoryError, pa.ArrowException) as error:
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
            sync(unfinished)
        os.replace(unfinished, path)
        if durable:
            sync(path.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which is named ``target`` when the block has ended well: before, nothing is to be seen of it.

    Raises:
        RecordingError: the target holds something already.
        OSError: it cannot be made.
    """
    check_unused(target)
    # Under another name until it is whole: what is cut off on the way is not taken for a run.
    unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield unfinished
        if target.is_dir():
            target.rmdir()
        unfinished.rename(target)
    except RecordingError as error:  # whoever reads it has named the target
        raise RecordingError(str(error).replace(str(unfinished), str(target))) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sync(path: Path) -> None:
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
