"""Small files that stand for large ones: each is refused by name, and none takes the memory that it asks for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.bundled import asset_path
from explorer.recording import bounded
from explorer.recording.bounded import Bound, read_bounded
from explorer.recording.folder import MAX_JSON_BYTES, RecordingError, read_json, write_run
from explorer.recording.grid import read_grid
from explorer.recording.pages import check_pages
from explorer.recording.storage import Recording
from tests.recording.hostile import belittle, many_columns, nested_schema, with_footer, write_repeated

#: What opening any folder, and reading its first update, may take in all; imports alone take 80 MB.
MOST_MEMORY = 500e6

#: What the tests allow a table.
SOME = Bound(1000, 2**25)

READS = """
import sys
from explorer.recording.storage import Recording, RecordingError
try:
    Recording.load(sys.argv[1])[0]
    said = "read"
except RecordingError as error:
    said = str(error)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024, said)
"""

ZEROS = np.zeros(1_000_000, np.int64)
WORD = "x" * 1_000_000


def words(count: int) -> pa.Array:
    """A megabyte of text so many times over, which a file has once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [WORD])


def instead(name: str, part: str, column: str, values: Callable[[int], pa.Array]) -> Callable[[Path], None]:
    """Puts other values into a column of a part."""

    def change(root: Path) -> None:
        path = root / name / part
        table = pq.read_table(path)
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, values(table.num_rows)), path, compression="zstd")

    return change


def lying(root: Path) -> None:
    """A hundred million rows of which the footer says there are 768."""
    path = root / "tokens" / "000001.parquet"
    write_repeated(path, {"update": pa.array(ZEROS)}, 100, 100)
    belittle(path, 100_000_000, 768)


def unpacked(root: Path) -> None:
    """The same as one page without a dictionary: 800 MB that compress into some kilobytes."""
    path = root / "tokens" / "000001.parquet"
    write_repeated(path, {"update": pa.array(ZEROS)}, 100, 100, use_dictionary=False, data_page_size=2**30)
    belittle(path, 100_000_000, 768)


def metrics(root: Path) -> None:
    """A hundred parts, each with 100 other metrics: together a thousand times a thousand, and as many again."""
    (root / "metrics" / "000001.parquet").unlink()
    for part in range(40):
        start = 1 + 128 * part
        updates = pa.array(np.arange(start, start + 128, dtype=np.int32))
        names = {f"component/{part}/{i}": pa.array(np.zeros(128)) for i in range(200)}
        pq.write_table(pa.table({"update": updates} | names), root / "metrics" / f"{start:06d}.parquet")


def in_file(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda root: (root / name).write_bytes(content) and None


FULL_OF_LISTS = b'{"schema_version": 3, "info": {}, "configs": [' + b"[]," * ((MAX_JSON_BYTES - 100) // 3) + b"[]]}"

HOSTILE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a text repeated": ("its texts are", instead("tokens", "000001.parquet", "text", words)),
    "a text that is too long": (
        "its texts are",
        instead("responses", "000001.parquet", "text", lambda n: pa.array(["x" * 2**21] * n)),
    ),
    "a list without end": (
        "too large",
        instead("updates", "000001.parquet", "curve_ratios", lambda n: pa.array([np.zeros(20_000_000)])),
    ),
    "lists in every row": (
        "too large",
        instead("tokens", "000001.parquet", "top_ids", lambda n: pa.array([ZEROS[:20_000]] * n)),
    ),
    "a footer that lies": ("too large", lying),
    "a page that unpacks": ("too large", unpacked),
    "metrics by the thousand": ("too large", metrics),
    "a footer of columns": ("damaged", in_file("tokens/000001.parquet", with_footer(many_columns(4000, 80)))),
    "a footer that is too long": ("footer is", in_file("tokens/000001.parquet", with_footer(bytes(2**21)))),
    "a schema that nests": ("damaged", in_file("tokens/000001.parquet", with_footer(nested_schema(4000)))),
    "JSON full of lists": ("damaged", in_file("run.json", FULL_OF_LISTS)),
    "JSON that is too long": ("too large", in_file("run.json", FULL_OF_LISTS + b" " * 100)),
    "JSON that nests": ("damaged", in_file("run.json", b"[" * 1_000_000)),
    "an index full of lists": ("damaged", in_file("index.json", FULL_OF_LISTS.replace(b"configs", b"blocks"))),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the bundled run."""
    return Path(shutil.copytree(asset_path("recording"), tmp_path / "run"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("name", HOSTILE)
def test_no_folder_takes_the_memory_that_it_asks_for(run: Path, name: str) -> None:
    complaint, change = HOSTILE[name]
    change(run)
    weight = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    done = subprocess.run([sys.executable, "-c", READS, str(run)], capture_output=True, text=True, check=True)
    peak, said = done.stdout.split(maxsplit=1)
    print(f"{weight / 1e6:.1f} MB on disk, {int(peak) / 1e6:.0f} MB in memory: {said}")
    assert complaint in said and "damaged" in said and len(said.splitlines()) == 1
    assert int(peak) < MOST_MEMORY


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_the_peak_is_seen_where_there_is_one(tmp_path: Path) -> None:
    """The measure of the tests above: without the checks, one of their files takes more than they allow."""
    write_repeated(tmp_path / "file.parquet", {"update": pa.array(ZEROS)}, 100, 100)
    assert (tmp_path / "file.parquet").stat().st_size < 1e6
    program = (
        "import sys, pyarrow.parquet as pq; table = pq.read_table(sys.argv[1]); "
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "file.parquet")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[1]) * 1024 > MOST_MEMORY


def test_a_table_is_what_pyarrow_reads(run: Path) -> None:
    for folder in ("tokens", "epochs", "responses", "updates", "metrics"):
        path = run / folder / "000001.parquet"
        found, expected = read_bounded(path, Bound(100_000, 2**28)), pq.read_table(path)
        assert found.schema.equals(expected.schema)
        assert str(found.to_pylist()) == str(expected.to_pylist())  # NaN is no equal


def test_a_row_group_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"n": list(range(10))}), path, row_group_size=4)
    assert read_bounded(path, SOME).column("n").to_pylist() == list(range(10))
    assert read_bounded(path, Bound(4, 1000), 1).column("n").to_pylist() == [4, 5, 6, 7]
    for missing in (3, -1):
        with pytest.raises(ValueError, match="no row group"):
            read_bounded(path, SOME, missing)


def test_rows_are_counted_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"n": list(range(20_000))}), path)
    assert read_bounded(path, Bound(20_000, 2**25)).num_rows == 20_000
    with pytest.raises(ValueError, match="too large"):
        read_bounded(path, Bound(19_999, 2**25))
    belittle(path, 20_000, 900)
    with pytest.raises(ValueError, match="too large"):  # its pages have more than it says
        read_bounded(path, Bound(1000, 100_000))


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        (pa.array([b"code"]), "holds dictionary<values=binary"),
        (pa.nulls(1), "holds null"),
        (pa.array([[[[[1]]]]]), "holds int64|holds list"),
        (pa.array([1.5], pa.float16()), "holds halffloat"),
        (pa.array([{"a": {"b": b"x"}}]), "holds dictionary"),
    ],
    ids=str,
)
def test_columns_of_other_types_are_not_read(tmp_path: Path, column: pa.Array, complaint: str) -> None:
    pq.write_table(pa.table({"c": column}), tmp_path / "file.parquet")
    with pytest.raises(TypeError, match=complaint):
        read_bounded(tmp_path / "file.parquet", SOME)


def test_texts_that_each_take_after_the_one_before_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    table = pa.table({"text": ["a common beginning"] * 5})
    pq.write_table(table, path, use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"})
    with pytest.raises(ValueError, match="of a kind that is not read"):
        read_bounded(path, SOME)


def test_texts_are_weighed_one_by_one_where_the_longest_would_be_too_much(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    pq.write_table(pa.table({"text": ["x" * 50_000, *["y"] * 900]}), path)  # 901 of the longest would be 45 MB
    assert read_bounded(path, SOME).column("text")[-1].as_py() == "y"
    pq.write_table(pa.table({"text": ["x" * 50_000] * 900}), path)
    with pytest.raises(ValueError, match="as its texts are"):
        read_bounded(path, SOME)


def test_too_many_texts_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"text": [["a", "b"], ["c"]]}), tmp_path / "file.parquet")
    monkeypatch.setattr(bounded, "MAX_TEXTS", 3)
    assert read_bounded(tmp_path / "file.parquet", SOME).column("text").to_pylist() == [["a", "b"], ["c"]]
    monkeypatch.setattr(bounded, "MAX_TEXTS", 2)
    with pytest.raises(ValueError, match="as its texts are"):
        read_bounded(tmp_path / "file.parquet", SOME)


# --- pages, byte by byte as in the format's specification ---

#: Type 0 (data), 24 bytes unpacked and 3 packed; of the data: 3 values, plain, levels as runs (RLE, 3) twice.
HEADER = bytes([0x15, 0, 0x15, 48, 0x15, 6, 0x2C, 0x15, 6, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0])


def test_a_page_weighs_what_it_unpacks_to_or_what_its_values_take() -> None:
    assert check_pages(HEADER + b"abc", 1000) == 24
    many = HEADER.replace(bytes([0x2C, 0x15, 6]), bytes([0x2C, 0x15, 200, 1]))  # 100 values
    assert check_pages(many + b"abc", 1000) == 800
    assert check_pages(many + b"abc" + HEADER + b"abc", 1000) == 824
    with pytest.raises(ValueError, match="too large"):
        check_pages(many + b"abc" + HEADER + b"abc", 823)
    assert check_pages(b"", 0) == 0


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes_are_weighed_or_refused(content: bytes) -> None:
    with suppress(ValueError):
        assert 0 <= check_pages(content, 10**6) <= 10**6
    with pytest.raises(ValueError, match="page"):
        check_pages(HEADER[: len(content) % len(HEADER)] or b"\x15", 10**6)


@pytest.mark.parametrize(
    "header",
    [
        HEADER.replace(bytes([0x15, 48]), bytes([0x15, 47])),  # -24 bytes
        HEADER.replace(bytes([0x2C, 0x15, 6]), bytes([0x2C, 0x15, 5])),  # -3 values
        HEADER.replace(bytes([0x2C, 0x15, 6]), bytes([0x2C, 0x15, *[255] * 9, 1])),  # more than 32 bits
        HEADER.replace(bytes([0x2C]), bytes([0x3C])),  # no header of the data
        bytes([0x15, 0, 0x15, 48, 0x15, 6, 0x05, 4, 2]) + HEADER[6:],  # the second field again
        bytes([0x15, 18]) + HEADER[2:],  # a kind of page that there is not
        b"\x1c" * 100,  # a struct in a struct in a struct
    ],
    ids=range(7),
)
def test_headers_that_no_writer_writes_are_refused(header: bytes) -> None:
    with pytest.raises(ValueError, match="page"):
        check_pages(header + b"abc", 10**6)


# --- JSON ---


def test_json_that_grows_while_it_is_read_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b" " * MAX_JSON_BYTES + b"1")
    with pytest.raises(ValueError, match="too large"):
        read_json(tmp_path / "a.json")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="longer than"):
        write_run(tmp_path, {"schema_version": 1, "info": {"prompts": ["x" * MAX_JSON_BYTES]}, "configs": []})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("content", [b"[" * 100_000, FULL_OF_LISTS + b" " * 100, FULL_OF_LISTS[:-1]], ids=range(3))
def test_a_grid_that_nests_or_is_too_long_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "grid.json").write_bytes(content)
    with pytest.raises(RecordingError, match="is damaged"):
        read_grid(tmp_path)


def test_a_long_name_is_cut(run: Path) -> None:
    from explorer.recording.entry import MAX_NAME, read_entry

    content = json.loads((run / "run.json").read_text())
    content["info"]["id"] = "0123456789abcdef"
    (run / "run.json").write_text(json.dumps(content))
    (run / "name.txt").write_bytes(b"na\x00me" + b"x" * 10_000_000)
    entry = read_entry(run)
    assert len(entry.name) == MAX_NAME and entry.name.startswith("na me")
    assert Recording.load(run).updates[0] == 1
