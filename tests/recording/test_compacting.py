"""Putting a run's parts together: wherever a kill comes, each update is there once, and is what was recorded."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.bundled import asset_path
from explorer.recording import compacting, index
from explorer.recording import writer as writing
from explorer.recording.background import BackgroundWriter
from explorer.recording.bounded import footer_bytes
from explorer.recording.compacting import compact
from explorer.recording.folder import RecordingError, part_numbers
from explorer.recording.index import read_index
from explorer.recording.shelf import copy_run
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RunWriter
from explorer.recording.tables import Tables
from tests.recording.test_storage import assert_same

COUNT = 11


@pytest.fixture(scope="module")
def snapshots() -> list[Snapshot]:
    """Eleven updates of the bundled run, under other numbers."""
    bundled = Recording.load(asset_path("recording"))
    return [dataclasses.replace(bundled[i], update=i + 1) for i in range(COUNT)]


@pytest.fixture(autouse=True)
def blocks_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compacting, "BLOCK", 4)


def write(root: Path, snapshots: list[Snapshot], **options: Any) -> Path:
    with RunWriter(root, {"id": "0123"}, **options) as run:
        for snapshot in snapshots:
            run.append(snapshot)
    return root


def write_loose(root: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(compacting, "BLOCK", 1000)
        return write(root, snapshots)


def assert_holds(root: Path, snapshots: list[Snapshot]) -> None:
    recording = Recording.load(root)
    assert recording.updates == [snapshot.update for snapshot in snapshots]
    for found, expected in zip(recording, snapshots, strict=True):
        assert_same(found, expected)


def in_blocks(root: Path) -> list[list[int]]:
    return [list(block.updates) for block in read_index(root)]


def test_whole_blocks_are_put_together_as_the_run_goes(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    root = write(tmp_path / "run", snapshots)
    assert in_blocks(root) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    for name in Tables._fields:
        files = sorted(path.name for path in (root / name).iterdir())
        assert files == sorted(
            ["000001-000004.parquet", "000005-000008.parquet", *(f"{n:06d}.parquet" for n in (9, 10, 11))]
        )
        groups = pq.read_metadata(root / name / files[0])
        assert groups.num_row_groups == 4
    assert_holds(root, snapshots)


def test_an_update_is_read_without_the_others_of_its_block(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    root = write(tmp_path / "run", snapshots)
    path = root / "tokens" / "000005-000008.parquet"
    content, third = path.read_bytes(), pq.read_metadata(path).row_group(2).column(0).data_page_offset
    path.write_bytes(content[:third] + bytes(len(content[third:]) - 40_000) + content[-40_000:])
    assert_same(Recording.load(root).at(5), snapshots[4])
    with pytest.raises(RecordingError, match="damaged"):
        Recording.load(root).at(7)


def test_a_thinned_run_has_blocks_of_what_it_keeps(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    root = write(tmp_path / "run", snapshots, keep_every=2)
    assert in_blocks(root) == [[1, 2, 4, 6]]
    assert_holds(root, [s for s in snapshots if s.update in (1, 2, 4, 6, 8, 10, 11)])


def test_other_columns_begin_another_block(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the estimator was changed for one with a greedy baseline."""
    greedy = {"sentiment": snapshots[0].credit.scores[:: len(snapshots[0].rollout.groups) // 8][:8]}
    assert len(greedy["sentiment"]) == len(set(snapshots[0].rollout.groups.tolist()))
    changed = [
        dataclasses.replace(s, credit=dataclasses.replace(s.credit, greedy_components=greedy))
        if s.update in (3, 4)
        else s
        for s in snapshots
    ]
    root = write_loose(tmp_path / "run", changed, monkeypatch)
    compact(root)
    assert in_blocks(root) == [[1, 2], [3, 4], [5, 6, 7, 8]]
    assert_holds(root, changed)


def test_a_block_ends_before_its_footer_is_too_long_to_be_read(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = write_loose(tmp_path / "alone", snapshots[:1], monkeypatch)
    longest = max(footer_bytes(path) for path in alone.glob("*/000001.parquet") if path.parent.name in Tables._fields)
    monkeypatch.setattr(compacting, "MAX_FOOTER_BYTES", 5 * longest)  # half of it is room for two
    root = write(tmp_path / "run", snapshots)
    assert in_blocks(root)[0] == [1, 2]
    assert_holds(root, snapshots)


def killed_after(monkeypatch: pytest.MonkeyPatch, steps: int, act: Callable[[], Any]) -> bool:
    """Whether ``act`` was cut off before it renamed, or removed, more files than that."""

    class Killed(BaseException):
        pass

    left = [steps]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def once(*arguments: Any, **more: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return real(*arguments, **more)

        return once

    with monkeypatch.context() as patch:
        replace, unlink = os.replace, Path.unlink
        patch.setattr(os, "replace", counted(replace))
        patch.setattr(
            Path, "unlink", lambda path, **more: counted(unlink)(path, **more) if ".part" not in path.name else None
        )
        try:
            act()
        except Killed:
            return True
    return False


def test_whenever_putting_together_is_killed_every_update_is_there_once(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = write_loose(tmp_path / "loose", snapshots[:5], monkeypatch)
    for steps in range(40):
        root = Path(shutil.copytree(loose, tmp_path / str(steps)))
        killed = killed_after(monkeypatch, steps, lambda root=root: compact(root))  # type: ignore[misc]
        assert_holds(root, snapshots[:5])
        with RunWriter.go_on(root, 5) as run:
            for snapshot in snapshots[5:7]:
                run.append(snapshot)
        assert_holds(root, snapshots[:7])
        for name in Tables._fields:  # and so for who knows of no index
            rows = pq.read_table(root / name, columns=["update"]).column("update").to_pylist()
            once = rows.count(3)
            assert [rows.count(n) for n in range(1, 8)] == [once] * 7
            assert once == pq.read_table(loose / name / "000003.parquet").num_rows
        assert not list(root.rglob("*.part"))
        if not killed:
            break
    assert steps == 22  # an empty index, four files, the index, sixteen parts removed


@pytest.mark.parametrize("last", [0, 1, 3, 4, 6, 8, 9, 11])
def test_going_on_from_inside_a_block_takes_it_apart(tmp_path: Path, snapshots: list[Snapshot], last: int) -> None:
    whole = write(tmp_path / "run", snapshots)
    steps = 0
    while True:
        root = Path(shutil.copytree(whole, tmp_path / f"{steps}"))
        with pytest.MonkeyPatch.context() as patch:
            killed = killed_after(patch, steps, lambda root=root: RunWriter.go_on(root, last).close())  # type: ignore[misc]
        left = Recording.load(root).updates
        assert left == list(range(1, len(left) + 1)) and len(left) >= last
        assert_holds(root, snapshots[: len(left)])
        if not killed:
            break
        steps += 7  # not at every one: there are up to a hundred
    assert_holds(root, snapshots[:last])
    other = [dataclasses.replace(s, seconds={"sample": 7.0}) for s in snapshots[last:]]  # made anew
    with RunWriter.go_on(root, last) as run:
        for snapshot in other:
            run.append(snapshot)
    assert_holds(root, [*snapshots[:last], *other])
    counts = pq.read_table(root / "updates", columns=["update"]).column("update").to_pylist()
    assert sorted(counts) == list(range(1, COUNT + 1))


def test_a_recording_that_was_opened_before_finds_what_is_put_together_since(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_loose(tmp_path / "run", snapshots, monkeypatch)
    before = Recording.load(root)
    compact(root)
    assert_same(before.at(2), snapshots[1])
    RunWriter.go_on(root, 6).close()
    assert_same(before.at(5), snapshots[4])  # a part again


def test_a_run_that_is_put_together_while_it_is_copied_is_copied_whole(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.recording import shelf

    for nth in range(6):
        root = write_loose(tmp_path / f"run{nth}", snapshots, monkeypatch)
        copied, real = [0], shelf._copy_files

        def copying(source: Path, target: Path, root: Path = root, nth: int = nth, **more: str) -> None:
            if copied[0] == nth:  # noqa: B023
                compact(root)
            copied[0] += 1  # noqa: B023
            real(source, target, **more)  # noqa: B023

        with monkeypatch.context() as patch:
            patch.setattr(shelf, "_copy_files", copying)
            copy_run(root, tmp_path / f"copy{nth}")
        assert_holds(tmp_path / f"copy{nth}", snapshots)


def test_what_hinders_it_does_not_hinder_the_recording(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunWriter(tmp_path / "run", {})
    for snapshot in snapshots[:3]:
        run.append(snapshot)
    (tmp_path / "run" / "tokens" / "000002.parquet").write_bytes(b"no")
    for snapshot in snapshots[3:]:
        run.append(snapshot)
    run.close()
    assert in_blocks(tmp_path / "run") == [[5, 6, 7, 8]]  # those before stay as they are
    assert Recording.load(tmp_path / "run").updates == list(range(1, COUNT + 1))
    assert not list((tmp_path / "run").rglob("*.part"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(compacting, "write_index", full)
        write(tmp_path / "full", snapshots)
    assert_holds(tmp_path / "full", snapshots)
    compact(tmp_path / "full")
    assert_holds(tmp_path / "full", snapshots)
    assert len(in_blocks(tmp_path / "full")) == 2


def test_what_was_not_put_together_is_later_though_blocks_lie_between(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    root, more = tmp_path / "run", [dataclasses.replace(snapshots[0], update=n) for n in (12, 13, 14, 15)]
    run = RunWriter(root, {"id": "0123"})
    for snapshot in snapshots[:4]:
        run.append(snapshot)
    (root / "tokens" / "000003.parquet").rename(root / "away")
    for snapshot in snapshots[4:]:
        run.append(snapshot)
    run.close()
    assert in_blocks(root) == [[6, 7, 8, 9]]
    (root / "away").rename(root / "tokens" / "000003.parquet")
    with RunWriter.go_on(root) as run:
        for snapshot in more:
            run.append(snapshot)
    assert in_blocks(root) == [[1, 2, 3, 4], [5, 10, 11, 12], [6, 7, 8, 9]]
    assert_holds(root, [*snapshots, *more])
    RunWriter.go_on(root, 7).close()
    assert_holds(root, snapshots[:7])


def test_a_disk_that_fills_up_in_the_middle_of_a_block_is_told_and_the_folder_let_go(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then neither the update nor the end of the larger files can be written; whoever records must hear of it."""
    root = tmp_path / "run"
    writer = BackgroundWriter(RunWriter(root, {"id": "0123"}))
    for snapshot in snapshots[:4]:
        writer.append(snapshot)
    writer.settle()
    assert list((root / "tokens").glob(".*.part"))  # a block has been begun

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "close", full)
        patch.setattr(writing, "write_table", full)
        writer.append(snapshots[4])
        with pytest.raises(RecordingError, match="it holds every update up to 4"):
            writer.settle()
    writer.close()
    assert not list(root.rglob("*.part"))
    with RunWriter.go_on(root) as run:
        for snapshot in snapshots[4:]:
            run.append(snapshot)
    assert_holds(root, snapshots)


def test_a_whole_run_is_put_together_at_once(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_loose(tmp_path / "run", snapshots, monkeypatch)
    weight = sum(path.stat().st_size for path in root.rglob("*.parquet"))
    compact(root)
    assert in_blocks(root) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert part_numbers(root, "tokens") == [9, 10, 11]
    assert sum(path.stat().st_size for path in root.rglob("*.parquet")) < weight
    compact(root)
    assert_holds(root, snapshots)
    with RunWriter.go_on(root, COUNT), pytest.raises(RecordingError, match="being written to"):
        compact(root)
    with pytest.raises(RecordingError, match="There is no folder"):
        compact(tmp_path / "none")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"index_version": 1}', "is damaged"),
        ('{"index_version": "1", "blocks": []}', "is damaged"),
        ('{"index_version": 2, "blocks": "of another form"}', "newer PPO Explorer"),
        ('{"index_version": 1, "blocks": [[2, 1]]}', "not in order"),
        ('{"index_version": 1, "blocks": [[1, 2], [2, 3]]}', "in two of its blocks"),
        ('{"index_version": 1, "blocks": [[0]]}', "not in order"),
        ('{"index_version": 1, "blocks": [[true]]}', "not in order"),
        ('{"index_version": 1, "blocks": [[1, 1e9]]}', "not in order"),
        ('{"index_version": 1, "blocks": [[]]}', "no lists"),
        ('{"index_version": 1, "blocks": ["12"]}', "no lists"),
        (json.dumps({"index_version": 1, "blocks": [list(range(1, 5000))]}), "too large"),
    ],
)
def test_an_index_that_is_none_is_refused(
    tmp_path: Path, snapshots: list[Snapshot], content: str, complaint: str
) -> None:
    root = write(tmp_path / "run", snapshots)
    (root / "index.json").write_text(content)
    with pytest.raises(RecordingError, match=complaint):
        Recording.load(root)


def test_an_index_that_lies_gives_no_other_update(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    root = write(tmp_path / "run", snapshots)
    (root / "index.json").write_text('{"index_version": 1, "blocks": [[1, 3, 4], [5, 6, 7, 8], [9, 12]]}')
    recording = Recording.load(root)
    assert_same(recording.at(1), snapshots[0])
    for update in (3, 4, 9):
        with pytest.raises(RecordingError, match="damaged|has no"):
            recording.at(update)


def test_an_index_that_is_lost_is_missed(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    root = write(tmp_path / "run", snapshots)
    (root / "index.json").rename(tmp_path / "index.json")
    with pytest.raises(RecordingError, match=r"has no index\.json"):
        Recording.load(root)
    with pytest.raises(RecordingError, match=r"has no index\.json"):
        RunWriter.go_on(root, 3)
    (root / "index.json").symlink_to(tmp_path / "index.json")
    with pytest.raises(RecordingError, match="not a plain file"):
        Recording.load(root)


WRITES_FOR_EVER = """
import dataclasses, sys
from explorer.recording import compacting
from explorer.recording.storage import Recording, RunWriter
compacting.BLOCK = 3
snapshot, update = Recording.load(sys.argv[1])[0], 1
writer = RunWriter(sys.argv[2], {})
while True:
    writer.append(dataclasses.replace(snapshot, update=update))
    print(update, flush=True)
    update += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_process_that_is_killed_at_any_moment_loses_nothing(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    dice = random.SystemRandom()
    for turn in range(5):
        lines, root = dice.randint(1, 12), tmp_path / str(turn)
        program = [sys.executable, "-c", WRITES_FOR_EVER, str(asset_path("recording")), str(root)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(lines):
                assert process.stdout.readline()
            for _ in range(dice.randint(0, 200_000)):  # somewhere within an update
                pass
            os.kill(process.pid, signal.SIGKILL)
            finished = lines + len(process.stdout.read().split())
        recording = Recording.load(root)
        print(f"killed after {finished} updates, {len(in_blocks(root))} blocks")
        assert recording.updates in ([*range(1, finished + 1)], [*range(1, finished + 2)])
        for snapshot in recording:
            assert_same(snapshot, dataclasses.replace(snapshots[0], update=snapshot.update))
        RunWriter.go_on(root, finished).close()
        updates = pq.read_table(root / "updates", columns=["update"]).column("update").to_pylist()
        assert sorted(updates) == list(range(1, finished + 1))


def test_what_is_no_block_is_left_alone(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    root = write(tmp_path / "run", snapshots)
    (root / "tokens" / "mine-2.parquet").write_bytes(b"mine")
    pq.write_table(pa.table({"a": [1]}), root / "tokens" / "000001-0.parquet")
    RunWriter.go_on(root, 9).close()
    assert (root / "tokens" / "mine-2.parquet").exists() and (root / "tokens" / "000001-0.parquet").exists()
    assert Tables._fields[-1] == index.LAST_FOLDER
