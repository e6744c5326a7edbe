"""Recordings on disk: nothing is lost, nothing half written is taken for whole, and nothing that is read is trusted."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explorer.bundled import asset_path
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo import trainer
from explorer.ppo.policy import Policy
from explorer.presets import PRESETS
from explorer.recording import folder
from explorer.recording.older import LATER, config_from
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RecordingError, RunWriter
from explorer.recording.what_if import what_if

INFO = {"seed": 3, "policy": "tiny", "prompts": ["The cat"], "created": "2025-01-01T00:00:00+00:00"}
TABLES = ("tokens", "epochs", "responses", "updates")


@pytest.fixture(scope="module")
def snapshots(
    make_trainer: Callable[..., trainer.Trainer], snapshot_of: Callable[..., Snapshot], tiny_config: Config
) -> list[Snapshot]:
    """Four updates: as usual, with greedy answers and other epochs, with replayed rows, and so again."""
    live = make_trainer()
    replaying = tiny_config.replace(replay_rollouts=2, minibatches=3)
    other = tiny_config.replace(epochs=3, clip_range=0.05, weight_length=0.5, estimator="remax")
    configs = [tiny_config, other, replaying, replaying]
    return [snapshot_of(live, config) for config in configs]


@pytest.fixture
def recorded(tmp_path: Path, snapshots: list[Snapshot]) -> Path:
    """The four updates in a folder."""
    root = tmp_path / "run"
    Recording.in_memory(snapshots, info=INFO).save(root)
    return root


def numbered(snapshot: Snapshot, update: int) -> Snapshot:
    """The snapshot under another number, for runs that are longer than it is worth to train."""
    return dataclasses.replace(snapshot, update=update)


def assert_same(found: Any, expected: Any, where: str = "snapshot") -> None:
    """Equal down to the bit, NaN included, and of the same types."""
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), where
        assert found.tobytes() == expected.tobytes(), where
        assert not found.flags.writeable, where
    elif isinstance(expected, float):
        assert isinstance(found, float), where
        assert struct.pack("d", found) == struct.pack("d", expected), where
    elif dataclasses.is_dataclass(expected) and not isinstance(expected, Config):
        assert type(found) is type(expected), where
        for field in dataclasses.fields(expected):
            assert_same(getattr(found, field.name), getattr(expected, field.name), f"{where}.{field.name}")
    elif isinstance(expected, Mapping):
        assert set(found) == set(expected), where
        for name in expected:
            assert_same(found[name], expected[name], f"{where}[{name!r}]")
    elif isinstance(expected, tuple):
        assert isinstance(found, tuple), where
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    else:
        assert type(found) is type(expected), where
        assert found == expected, where


def test_a_loaded_snapshot_is_the_saved_one_bit_for_bit(recorded: Path, snapshots: list[Snapshot]) -> None:
    loaded = list(Recording.load(recorded))
    assert len(loaded) == 4
    for found, expected in zip(loaded, snapshots, strict=True):
        assert_same(found, expected)


def test_the_snapshots_of_these_tests_have_what_is_hard_to_keep(snapshots: list[Snapshot]) -> None:
    assert {len(s.epochs) for s in snapshots} == {3, 4}
    assert snapshots[2].final.ratios.shape[0] > snapshots[2].rollout.response_ids.shape[0]
    assert set(snapshots[3].final.ages.tolist()) == {0, 1}
    assert np.isnan(snapshots[0].final.grad_norm)
    assert not snapshots[0].rollout.response_mask.all()
    assert not snapshots[0].rollout.prompt_mask.all()
    assert snapshots[0].rollout.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [len(s.credit.greedy_components) for s in snapshots] == [0, 5, 0, 0]
    assert [bool(s.rollout.exact_ref_kl.any()) for s in snapshots] == [False, True, True, True]


reals = st.floats(width=32, allow_subnormal=True)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_numbers_and_names_survive(
    data: st.DataObject, snapshots: list[Snapshot], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = snapshots[0]
    rows = plain.credit.scores.shape[0]

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        return data.draw(arrays(np.float32, shape, elements=reals))

    numbers = st.dictionaries(names, st.floats(), max_size=4)
    odd = dataclasses.replace(
        plain,
        credit=dataclasses.replace(
            plain.credit,
            returns=drawn(plain.credit.returns.shape),
            reward_components={name: drawn((rows,)) for name in data.draw(st.lists(names, unique=True, max_size=3))},
        ),
        metrics={f"odd/{name}": value for name, value in data.draw(numbers).items()},
        checks={name: (value > 0, value) for name, value in data.draw(numbers).items()},
        seconds=data.draw(numbers),
        config=Config(weights=data.draw(st.dictionaries(names, st.floats(-2, 2), max_size=2))),
    )
    root = tmp_path_factory.mktemp("odd") / "run"
    Recording.in_memory([odd], info=INFO).save(root)
    found = Recording.load(root)[0]
    odd.credit.returns.setflags(write=False)
    for values in odd.credit.reward_components.values():
        values.setflags(write=False)
    assert_same(found, odd)


def test_it_counts_and_indexes_like_a_list(recorded: Path) -> None:
    recording = Recording.load(recorded)
    assert (len(recording), recording.updates) == (4, [1, 2, 3, 4])
    assert [recording[i].update for i in (0, 3, -1, -4)] == [1, 4, 4, 1]
    for i in (4, -5):
        with pytest.raises(IndexError, match="keeps 4 snapshots"):
            recording[i]
    with pytest.raises(TypeError):
        recording["1"]  # type: ignore[index]


def test_metrics_are_a_row_an_update(recorded: Path, snapshots: list[Snapshot]) -> None:
    metrics = Recording.load(recorded).metrics
    assert metrics.column_names[0] == "update"
    assert set(metrics.column_names) == {"update", *snapshots[0].metrics}
    assert metrics.column("objective/score").to_pylist() == [s.metrics["objective/score"] for s in snapshots]


def test_metrics_become_a_data_frame(recorded: Path) -> None:
    pytest.importorskip("pandas")
    frame = Recording.load(recorded).metrics.to_pandas()
    assert frame["update"].tolist() == [1, 2, 3, 4]


def test_a_metric_that_some_updates_lack_is_null_there_and_absent_from_the_snapshot(
    tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    second = dataclasses.replace(snapshots[1], metrics={"objective/score": float("nan"), "component/mine": 1.0})
    Recording.in_memory([snapshots[0], second], info=INFO).save(tmp_path / "run")
    recording = Recording.load(tmp_path / "run")
    assert recording.metrics.column("component/mine").to_pylist() == [None, 1.0]
    assert "component/mine" not in recording[0].metrics
    assert_same(recording[1].metrics, second.metrics)


def test_info_is_kept_and_names_the_schema(recorded: Path) -> None:
    assert Recording.load(recorded).info == {**INFO, "schema_version": folder.SCHEMA_VERSION}


def test_a_config_is_stored_where_it_changes(recorded: Path, snapshots: list[Snapshot]) -> None:
    entries = json.loads((recorded / "run.json").read_text())["configs"]
    assert [entry["from_update"] for entry in entries] == [1, 2, 3]
    assert entries[1].keys() == {"from_update", "changed"}
    assert entries[1]["changed"] == {"clip_range": 0.05, "estimator": "remax", "epochs": 3, "weight_length": 0.5}
    recording = Recording.load(recorded)
    assert [recording.config_at(n) for n in (1, 2, 3, 4)] == [s.config for s in snapshots]


def test_a_loaded_recording_saves_again(recorded: Path, tmp_path: Path, snapshots: list[Snapshot]) -> None:
    Recording.load(recorded).save(tmp_path / "copy")
    for found, expected in zip(Recording.load(tmp_path / "copy"), snapshots, strict=True):
        assert_same(found, expected)
    written = {p.relative_to(recorded): p.read_bytes() for p in recorded.rglob("*") if p.is_file()}
    assert written == {
        p.relative_to(tmp_path / "copy"): p.read_bytes() for p in (tmp_path / "copy").rglob("*") if p.is_file()
    }


def test_thinning_keeps_the_first_the_last_and_every_metric(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    with RunWriter(tmp_path / "run", INFO, keep_every=3) as run:
        for update in range(1, 9):
            run.append(numbered(snapshots[update % 4], update))
    recording = Recording.load(tmp_path / "run")
    assert recording.updates == [1, 3, 6, 8]
    assert recording.metrics.column("update").to_pylist() == list(range(1, 9))
    assert_same(recording[-1], numbered(snapshots[0], 8))
    recording.save(tmp_path / "copy")
    copy = Recording.load(tmp_path / "copy")
    assert (copy.updates, copy.metrics) == (recording.updates, recording.metrics)
    assert [copy.config_at(n) for n in range(1, 9)] == [snapshots[n % 4].config for n in range(1, 9)]


def test_a_long_run_is_kept_in_several_parts_of_metrics(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    config, count = snapshots[0].config, 2 * folder.METRICS_ROWS + 3
    run = RunWriter(tmp_path / "run", INFO)
    for update in range(1, count + 1):
        run.append_metrics(update, config, {"objective/score": update / 7})
    recording = Recording.load(tmp_path / "run")
    assert len(list((tmp_path / "run" / "metrics").iterdir())) == 3
    assert recording.metrics.column("objective/score").to_pylist() == [n / 7 for n in range(1, count + 1)]
    assert len(recording) == 0


def test_updates_come_in_order(tmp_path: Path, snapshots: list[Snapshot]) -> None:
    run = RunWriter(tmp_path / "run", INFO)
    run.append(snapshots[1])
    for late in (snapshots[1], snapshots[0]):
        with pytest.raises(RecordingError, match="after update 2"):
            run.append(late)
    assert Recording.load(tmp_path / "run").updates == [2]


def test_a_run_without_updates_opens(tmp_path: Path) -> None:
    RunWriter(tmp_path / "run", INFO)
    recording = Recording.load(tmp_path / "run")
    assert (len(recording), recording.metrics.num_rows, list(recording)) == (0, 0, [])


def test_a_folder_in_use_is_left_alone(tmp_path: Path, recorded: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "notes", recorded):
        with pytest.raises(RecordingError, match="not empty"):
            RunWriter(taken, INFO)
    with pytest.raises(RecordingError, match="is a file"):
        RunWriter(tmp_path / "file", INFO)
    with pytest.raises(RecordingError, match="cannot be used"):
        RunWriter(tmp_path / "file" / "below", INFO)
    assert [p.name for p in (tmp_path / "notes").iterdir()] == ["mine.txt"]


def test_info_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="JSON"):
        RunWriter(tmp_path / "run", {"policy": object()})


class Killed(BaseException):
    """The process ends here."""


def test_whenever_the_writer_dies_what_was_added_before_is_whole(
    tmp_path: Path, snapshots: list[Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with a new config at every update takes 6 files an update; the writer dies at each of them, and before."""
    rename = os.replace
    for survived in range(20):
        left = survived

        def die(source: Path, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            rename(source, target)

        monkeypatch.setattr(folder.os, "replace", die)
        root, added = tmp_path / str(survived), 0
        try:
            run = RunWriter(root, INFO)
            for snapshot in snapshots[:3]:
                run.append(snapshot)
                added += 1
        except Killed:
            pass
        monkeypatch.setattr(folder.os, "replace", rename)
        assert added == min(3, max(0, (survived - 1) // 6))
        if survived == 0:
            with pytest.raises(RecordingError, match=r"has no run\.json"):
                Recording.load(root)
            continue
        loaded = list(Recording.load(root))
        assert [s.update for s in loaded] == list(range(1, added + 1))
        for found, expected in zip(loaded, snapshots, strict=False):
            assert_same(found, expected)


WRITES_FOR_EVER = """
import dataclasses, sys
from explorer.recording.storage import Recording, RunWriter
snapshot, update = Recording.load(sys.argv[1])[0], 1
writer = RunWriter(sys.argv[2], {})
while True:
    writer.append(dataclasses.replace(snapshot, update=update))
    print(update, flush=True)
    update += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_a_killed_process_loses_the_update_in_progress_at_most(
    recorded: Path, tmp_path: Path, snapshots: list[Snapshot]
) -> None:
    lines = random.SystemRandom().randint(1, 40)
    print(f"killed after {lines} updates")
    root = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-c", WRITES_FOR_EVER, str(recorded), str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        finished = lines + len(process.stdout.read().split())
    recording = Recording.load(root)
    assert len(recording) in (finished, finished + 1)  # one may have been whole, but not yet told of
    for snapshot in recording:
        assert_same(snapshot, numbered(snapshots[0], snapshot.update))


def test_files_in_the_making_are_passed_over(recorded: Path, snapshots: list[Snapshot]) -> None:
    for name in ("metrics", *TABLES):
        (recorded / name / ".000005.parquet.part").write_bytes(b"half")
        (recorded / name / "notes.txt").write_text("mine")
    for name in TABLES:
        pq.write_table(pq.read_table(recorded / name / "000004.parquet"), recorded / name / "000005.parquet")
    assert Recording.load(recorded).updates == [1, 2, 3, 4]  # metrics/ does not know of update 5


def test_opening_reads_no_snapshot_and_reading_one_needs_no_torch(recorded: Path) -> None:
    for name in TABLES:
        for path in (recorded / name).iterdir():
            if path.stem != "000002":
                path.write_bytes(b"")
    program = (
        "import sys; from explorer import Recording; r = Recording.load(sys.argv[1]); "
        "print(len(r), r[1].update, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program, str(recorded)], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["4", "2", "False", "False"]


def test_a_snapshot_is_read_once_while_it_is_near(recorded: Path) -> None:
    recording = Recording.load(recorded)
    assert recording[2] is recording[-2]


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="There is no folder"):
        Recording.load(tmp_path / "none")
    with pytest.raises(RecordingError, match=r"has no run\.json"):
        Recording.load(tmp_path)


def test_a_newer_schema_is_refused_by_name(recorded: Path) -> None:
    content = json.loads((recorded / "run.json").read_text())
    newer = folder.SCHEMA_VERSION + 1
    (recorded / "run.json").write_text(json.dumps(content | {"schema_version": newer, "configs": "of another form"}))
    with pytest.raises(RecordingError, match=f"schema {newer}.*newer PPO Explorer"):
        Recording.load(recorded)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": "1"},
        {"schema_version": True},
        {"schema_version": 0},
        {"configs": []},
        {"configs": [{"from_update": 2, "config": {}}]},
        {"configs": [{"from_update": "1", "config": {}}]},
        {"configs": [{"from_update": 1, "config": {"clip_range": 7}}]},
        {"configs": [{"from_update": 1, "config": {"no_such_knob": 7}}]},
        {"configs": 5},
        {"info": [1, 2]},
    ],
    ids=str,
)
def test_a_run_file_with_wrong_values_is_refused(recorded: Path, change: dict[str, Any]) -> None:
    content = json.loads((recorded / "run.json").read_text())
    (recorded / "run.json").write_text(json.dumps(content | change))
    with pytest.raises(RecordingError, match=r"run\.json' is damaged"):
        Recording.load(recorded)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000], ids=range(6))
def test_a_run_file_that_is_no_json_object_is_refused(recorded: Path, text: bytes) -> None:
    (recorded / "run.json").write_bytes(text)
    with pytest.raises(RecordingError, match=r"run\.json' is damaged"):
        Recording.load(recorded)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(("metrics", *TABLES)),
    place=st.floats(0, 1, exclude_max=True),
    change=st.one_of(st.none(), st.integers(1, 255)),
)
def test_a_file_cut_or_changed_anywhere_gives_the_error_or_a_snapshot(
    recorded: Path, name: str, place: float, change: int | None
) -> None:
    path = recorded / name / "000001.parquet"
    whole = path.read_bytes()
    at = int(place * len(whole))
    path.write_bytes(whole[:at] if change is None else whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
    complaint = ""
    try:
        read = Recording.load(recorded)[0]
    except RecordingError as error:
        complaint = str(error)
    finally:
        path.write_bytes(whole)
    if complaint:
        assert "damaged" in complaint
        assert "\n" not in complaint
    else:
        assert change is not None, "a cut file was read"
        assert read.rollout.response_ids.shape == read.final.ratios.shape


def rewritten(root: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    path = root / name / "000001.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def with_column(name: str, make: Callable[[pa.Table], Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.column_names.index(name), name, make(table))


HOSTILE: dict[str, tuple[str, Callable[[pa.Table], pa.Table]]] = {
    "a row less": ("tokens", lambda t: t.slice(1)),
    "a response less": ("responses", lambda t: t.slice(1)),
    "no rows": ("responses", lambda t: t.slice(0, 0)),
    "no update": ("updates", lambda t: t.slice(0, 0)),
    "two updates": ("updates", lambda t: pa.concat_tables([t, t])),
    "rows in another order": ("epochs", lambda t: t.take(list(range(t.num_rows))[::-1])),
    "fewer rows than the rollout": ("epochs", lambda t: t.filter(pa.array([r > 0 for r in t["response"].to_pylist()]))),
    "another update": ("tokens", with_column("update", lambda t: pa.array([2] * t.num_rows, pa.int32()))),
    "text for numbers": ("tokens", with_column("rewards", lambda t: pa.array(["x"] * t.num_rows))),
    "whole numbers for real ones": ("epochs", with_column("ratios", lambda t: pa.array([1] * t.num_rows))),
    "real numbers for a mask": ("tokens", with_column("response_mask", lambda t: t["rewards"])),
    "empty cells": ("tokens", with_column("rewards", lambda t: pa.nulls(t.num_rows, pa.float32()))),
    "a column less": ("tokens", lambda t: t.drop_columns(["old_values"])),
    "one name twice": ("tokens", lambda t: t.append_column("rewards", t["rewards"])),
    "uneven lists": ("tokens", with_column("top_ids", lambda t: pa.array([[1], *[[1, 2]] * (t.num_rows - 1)]))),
    "lists of text": ("tokens", with_column("top_ids", lambda t: pa.array([["1"]] * t.num_rows))),
    "groups with a gap": ("responses", with_column("groups", lambda t: pa.array(range(0, 2 * t.num_rows, 2)))),
    "a group below 0": ("responses", with_column("groups", lambda t: pa.array(range(-1, t.num_rows - 1)))),
    "no groups": ("responses", lambda t: t.drop_columns(["groups"])),
    "no reference in the epochs": ("epochs", lambda t: t.drop_columns(["ref_log_ratios"])),
    "no list": ("responses", with_column("prompt_ids", lambda t: t["response"])),
    "a prompt without text": ("responses", with_column("prompt", lambda t: pa.nulls(t.num_rows, pa.string()))),
    "a token without text": ("tokens", with_column("text", lambda t: pa.nulls(t.num_rows, pa.string()))),
    "numbers for text": ("tokens", with_column("text", lambda t: t["position"])),
    "lists for text": ("responses", with_column("prompt", lambda t: pa.array([["x"]] * t.num_rows))),
    "too few alternatives": ("tokens", with_column("top_texts", lambda t: pa.array([["x"]] * t.num_rows))),
    "no epochs": ("updates", with_column("epochs", lambda t: pa.nulls(1, t["epochs"].type))),
    "epochs of another form": ("updates", with_column("epochs", lambda t: pa.array([[1, 2, 3]]))),
    "checks of another form": ("updates", with_column("checks", lambda t: pa.array([[{"name": None}]]))),
    "metrics as text": ("metrics", with_column("objective/score", lambda t: pa.array(["x"] * t.num_rows))),
    "metrics out of order": ("metrics", lambda t: t.take([1, 0, 2, 3])),
    "metrics of no update": ("metrics", lambda t: t.slice(0, 0)),
    "metrics without numbers of updates": ("metrics", lambda t: t.drop_columns(["update"])),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_does_not_fit_is_refused(recorded: Path, case: str) -> None:
    name, change = HOSTILE[case]
    rewritten(recorded, name, change)
    with pytest.raises(RecordingError, match="damaged"):
        Recording.load(recorded)[0]


def test_parts_of_metrics_that_overlap_are_refused(recorded: Path) -> None:
    whole = pq.read_table(recorded / "metrics" / "000001.parquet")
    pq.write_table(whole.slice(2), recorded / "metrics" / "000003.parquet")
    with pytest.raises(RecordingError, match="overlap"):
        Recording.load(recorded)


def test_greedy_answers_that_differ_within_a_group_are_refused(recorded: Path) -> None:
    path = recorded / "responses" / "000002.parquet"
    table = pq.read_table(path)
    scores = pa.array([0.5, *[0.25] * (table.num_rows - 1)], pa.float32())
    pq.write_table(table.append_column("greedy/mine", scores), path)
    with pytest.raises(RecordingError, match="greedy/mine differs within a group"):
        Recording.load(recorded)[1]


def test_a_recording_of_schema_1_is_read(recorded: Path, snapshots: list[Snapshot]) -> None:
    """Without the groups and what follows from them: as a run before them was written, with four rows a prompt."""
    content = json.loads((recorded / "run.json").read_text())
    older = whole_settings(Recording.load(recorded), ("group_size", "whiten_rewards", "judge", "set_aside", "critic"))
    (recorded / "run.json").write_text(json.dumps(content | {"schema_version": 1, "configs": older}))
    for update in range(1, 5):
        for name in ("responses", "epochs", "tokens"):
            path = recorded / name / f"{update:06d}.parquet"
            table = pq.read_table(path)
            newer = ("groups", "ref_log_ratios", "exact_ref_kl", "ref_top_logprobs", "final_top_logprobs")
            lost = [n for n in table.column_names if n in newer or n.startswith("greedy/")]
            pq.write_table(table.drop_columns(lost), path)
    recording = Recording.load(recorded)
    assert recording.info["schema_version"] == 1
    for found, expected in zip(recording, snapshots, strict=True):
        assert found.config == expected.config.replace(group_size=4)
        assert found.rollout.groups.tolist() == [0] * 4 + [1] * 4
        assert found.rollout.exact_ref_kl is None and found.rollout.ref_top_logprobs is None
        for epoch, whole in zip(found.epochs, expected.epochs, strict=True):
            assert epoch.ref_log_ratios[:8].tobytes() == whole.ref_log_ratios[:8].tobytes()
            assert (epoch.ref_log_ratios[8:] == 0).all()
    assert np.abs(recording[3].final.ref_log_ratios).max() > 0
    rewritten(recorded, "tokens", lambda t: t.drop_columns(["ref_logprobs"]))
    with pytest.raises(RecordingError, match="damaged"):  # what else is missing is missed
        Recording.load(recorded)[0]


def without(snapshot: Snapshot, *fields: str) -> Snapshot:
    """The snapshot without what an older recording lacks: fields of the rollout, and the last epoch's alternatives."""
    last = dataclasses.replace(snapshot.final, top_logprobs=None)
    rollout = dataclasses.replace(snapshot.rollout, **dict.fromkeys(fields))
    return dataclasses.replace(snapshot, rollout=rollout, epochs=(*snapshot.trained, last))


@pytest.mark.parametrize(
    ("schema", "fields"), [(2, ("exact_ref_kl", "ref_top_logprobs")), (3, ("ref_top_logprobs",))], ids=["2", "3"]
)
def test_a_recording_of_an_older_schema_is_read_without_what_it_lacks(
    recorded: Path, snapshots: list[Snapshot], tmp_path: Path, schema: int, fields: tuple[str, ...]
) -> None:
    content = json.loads((recorded / "run.json").read_text())
    (recorded / "run.json").write_text(json.dumps(content | {"schema_version": schema}))
    for update in range(1, 5):
        path = recorded / "tokens" / f"{update:06d}.parquet"
        pq.write_table(pq.read_table(path).drop_columns([*fields, "final_top_logprobs"]), path)
    older = Recording.load(recorded)
    older.save(tmp_path / "again")  # under the schema of today
    for recording, version in ((older, schema), (Recording.load(tmp_path / "again"), folder.SCHEMA_VERSION)):
        assert recording.info["schema_version"] == version
        for found, whole in zip(recording, snapshots, strict=True):
            assert_same(found, without(whole, *fields))
    wrong = pa.array(["a"] * pq.read_metadata(recorded / "tokens" / "000001.parquet").num_rows)
    rewritten(recorded, "tokens", lambda t: t.append_column(fields[0], wrong))
    with pytest.raises(RecordingError, match=f"the column {fields[0]} holds string"):
        Recording.load(recorded)[0]


@pytest.mark.parametrize("name", ["ref_top_logprobs", "final_top_logprobs"])
def test_alternatives_that_do_not_fit_are_refused(recorded: Path, name: str) -> None:
    def narrower(table: pa.Table) -> pa.Table:
        values = [row[:3] for row in table.column(name).to_pylist()]
        return table.set_column(table.column_names.index(name), name, pa.array(values, pa.list_(pa.float32())))

    rewritten(recorded, "tokens", narrower)
    with pytest.raises(RecordingError, match="damaged"):
        Recording.load(recorded)[0]


def test_the_bundled_recording_opens_whatever_its_schema() -> None:
    bundled = Recording.load(asset_path("recording"))
    assert [snapshot.update for snapshot in bundled] == list(bundled.updates)


def whole_settings(recording: Recording, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """``configs`` as they were written up to schema 4: whole at each change, without what came later."""
    flat = {update: config.flat() for update, config in recording.configs.items()}
    return [
        {"from_update": update, "config": {name: value for name, value in values.items() if name not in without}}
        for update, values in flat.items()
    ]


def test_a_config_from_before_rewards_could_be_whitened_had_them_plain(
    recorded: Path, snapshots: list[Snapshot]
) -> None:
    content = json.loads((recorded / "run.json").read_text())
    older = whole_settings(Recording.load(recorded), ("whiten_rewards", "judge", "set_aside"))
    (recorded / "run.json").write_text(json.dumps(content | {"schema_version": 3, "configs": older}))
    recording = Recording.load(recorded)
    assert recording.configs[1].whiten_rewards is False
    for found, expected in zip(recording, snapshots, strict=True):
        assert_same(found, expected)
    assert what_if(recording[0], recording[0].config.replace(whiten_rewards=True)).config.whiten_rewards


@pytest.mark.parametrize(("rows", "group_size"), [(32, 4), (30, 1), (7, 1), ("8", 1)])
def test_a_batch_of_schema_1_without_groups_of_four_has_none(rows: object, group_size: int) -> None:
    found = config_from(1, {"batch_size": rows, "seed": 3})
    assert [found[name] for name in ("group_size", "batch_size", "seed")] == [group_size, rows, 3]
    assert "group_size" not in config_from(2, {"batch_size": rows})


def test_a_recording_of_schema_4_had_no_judge_or_says_it_has(recorded: Path, snapshots: list[Snapshot]) -> None:
    """The judge and the components that are set aside came after schema 4 was named: some of its files have them."""
    content = json.loads((recorded / "run.json").read_text())
    older = whole_settings(Recording.load(recorded), ("judge", "set_aside"))
    (recorded / "run.json").write_text(json.dumps(content | {"schema_version": 4, "configs": older}))
    found = Recording.load(recorded)
    assert found.info["schema_version"] == 4
    assert all((config.judge, config.set_aside) == ("", ()) for config in found.configs.values())
    for loaded, whole in zip(found, snapshots, strict=True):
        assert_same(loaded, whole)
    older[2]["config"] |= {"judge": "gendered", "set_aside": ["length"]}
    (recorded / "run.json").write_text(json.dumps(content | {"schema_version": 4, "configs": older}))
    path = recorded / "responses" / "000003.parquet"
    judged = pa.array(np.arange(8) / 8, pa.float32())
    pq.write_table(pq.read_table(path).append_column("judge", judged), path)
    later = Recording.load(recorded)
    assert (later.config_at(2).judge, later.config_at(3).judge, later.config_at(3).set_aside) == (
        *("", "gendered"),
        ("length",),
    )
    assert later[2].credit.judge is not None
    assert later[2].credit.judge.tobytes() == judged.to_numpy().tobytes()
    assert later[1].credit.judge is None


def test_the_settings_that_came_later_are_those_by_which_older_runs_went() -> None:
    """Each with what a run without it did: a default that changes one day must not change an older run."""
    named = {name for later in LATER.values() for name in later} | {"group_size"}
    first = set(Config().flat()) - named
    oldest = Config.from_flat(config_from(1, {name: Config().flat()[name] for name in first}))
    assert (oldest.objective, oldest.clip_range_high, oldest.kl_in, oldest.aggregation) == (
        *("clip", 0.28),
        *("reward", "token_mean"),
    )
    assert (oldest.critic, oldest.judge, oldest.set_aside, oldest.whiten_rewards) == ("shared", "", (), False)
    assert (oldest.target_kl, oldest.kl_target, oldest.lr_schedule, oldest.group_size) == (None, None, "constant", 4)


def test_a_missing_part_is_named(recorded: Path) -> None:
    (recorded / "tokens" / "000001.parquet").unlink()
    recording = Recording.load(recorded)
    assert recording[1].update == 2
    with pytest.raises(RecordingError, match=r"has no tokens.000001\.parquet"):
        recording[0]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_out_of_the_folder_and_devices_are_not_read(recorded: Path, tmp_path: Path) -> None:
    inside = recorded / "tokens" / "000001.parquet"
    inside.rename(tmp_path / "elsewhere.parquet")
    inside.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(RecordingError, match="not a plain file"):
        Recording.load(recorded)[0]
    inside.unlink()
    os.mkfifo(inside)  # opening one would wait for ever
    with pytest.raises(RecordingError, match="not a plain file"):
        Recording.load(recorded)[0]


def test_a_recording_behind_a_link_is_read(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(recorded)
    assert Recording.load(tmp_path / "link")[0].update == 1


@pytest.mark.parametrize("limit", ["MAX_TABLE_BYTES", "MAX_TABLE_ROWS"])
def test_a_table_that_claims_to_be_larger_than_any_run_is_not_read(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    recording = Recording.load(recorded)
    monkeypatch.setattr(folder, limit, 10)
    with pytest.raises(RecordingError, match="too large"):
        recording[0]


@pytest.mark.parametrize("name", TABLES)
def test_more_rows_than_the_settings_allow_are_not_read(recorded: Path, name: str) -> None:
    content = json.loads((recorded / "run.json").read_text())
    batch, content["configs"] = 4 if name == "responses" else 2, whole_settings(Recording.load(recorded))
    for entry in content["configs"]:
        entry["config"] |= {"batch_size": batch, "minibatches": 1, "group_size": 1, "estimator": "gae"}
    table = pq.read_table(recorded / name / "000001.parquet")
    if name == "updates":
        pq.write_table(pa.concat_tables([table, table]), recorded / name / "000001.parquet")
        content["configs"] = json.loads((recorded / "run.json").read_text())["configs"]
    (recorded / "run.json").write_text(json.dumps(content))
    with pytest.raises(RecordingError, match="too large"):
        Recording.load(recorded)[0]


def test_a_small_file_that_would_fill_the_memory_is_not_read(recorded: Path) -> None:
    """One row over and over: a file of some kilobytes, and gigabytes at a hundred times as many."""
    path = recorded / "responses" / "000001.parquet"
    row = pq.read_table(path, columns=["update", "scores", "groups"]).slice(0, 1)
    pq.write_table(row.take(np.zeros(3_000_000, np.int64)), path, compression="zstd")
    assert path.stat().st_size < 100_000
    with pytest.raises(RecordingError, match="too large"):
        Recording.load(recorded)[0]


def test_metrics_that_repeat_one_update_for_ever_are_not_read(recorded: Path) -> None:
    pq.write_table(pa.table({"update": np.ones(2_000_000, np.int32)}), recorded / "metrics" / "000001.parquet")
    with pytest.raises(RecordingError, match="too large"):
        Recording.load(recorded)


@pytest.mark.skipif(os.name == "nt", reason="there files have no holes")
def test_a_run_file_of_a_gigabyte_is_not_read(recorded: Path) -> None:
    with (recorded / "run.json").open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(RecordingError, match="too large"):
        Recording.load(recorded)


@pytest.mark.parametrize(
    "text", ['{"a":' * 50_000, '{"schema_version": 1e400}', '{"schema_version": 99' + "9" * 5000 + "}"]
)
def test_a_run_file_that_nests_or_counts_without_end_is_refused(recorded: Path, text: str) -> None:
    (recorded / "run.json").write_text(text)
    with pytest.raises(RecordingError, match="damaged") as refused:
        Recording.load(recorded)
    assert len(str(refused.value)) < 1000


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("name", ["run.json", "metrics", "updates"])
def test_links_that_lead_elsewhere_are_not_followed(recorded: Path, tmp_path: Path, name: str) -> None:
    (recorded / name).rename(tmp_path / "elsewhere")
    (recorded / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordingError, match="not a plain file"):
        Recording.load(recorded)[0]


def test_a_run_file_that_is_too_large_is_not_read(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_JSON_BYTES", 10)
    with pytest.raises(RecordingError, match="too large"):
        Recording.load(recorded)


def test_the_files_are_tidy_tables(recorded: Path, snapshots: list[Snapshot]) -> None:
    """What a reader with another program counts on: a row a token, the columns of the records, lists of one size."""
    tokens = pq.read_table(recorded / "tokens" / "000003.parquet")
    replayed = snapshots[2]
    rows, length = replayed.rollout.response_ids.shape
    assert tokens.num_rows == rows * length
    assert tokens.column_names[:3] == ["update", "response", "position"]
    assert tokens.schema.field("top_ids").type == pa.list_(pa.int64(), 8)
    at = 2 * length + 1
    assert tokens["rewards"][at].as_py() == replayed.credit.rewards[2, 1]
    assert tokens["text"].slice(2 * length, length).drop_null().to_pylist() == list(replayed.tokens.responses[2])
    epochs = pq.read_table(recorded / "epochs" / "000003.parquet")
    assert epochs.num_rows == len(replayed.epochs) * 2 * rows * length
    final = epochs.filter(epochs["final"])
    assert final["ratios"].to_numpy().tobytes() == replayed.final.ratios.tobytes()
    assert sorted(set(final["ages"].to_pylist())) == [0, 1]
    responses = pq.read_table(recorded / "responses" / "000003.parquet")
    assert responses["text"].to_pylist() == ["".join(texts) for texts in replayed.tokens.responses]
    column = responses["component/sentiment"].to_pylist()
    assert column == replayed.credit.reward_components["sentiment"].tolist()


def test_the_bundled_recording_is_what_the_bundled_policy_does_now(policy: Policy) -> None:
    """Fails where a default, a metric or the policy changed; ``assets/recording/README.md`` says what to do then."""
    recording = Recording.load(asset_path("recording"))
    assert recording.metrics.column("update").to_pylist() == list(range(1, 41))
    assert recording.updates == [1, *range(2, 41, 2)]
    assert recording.configs == {1: PRESETS["learn"]}
    assert all(holds for snapshot in recording for holds, _ in snapshot.checks.values())
    now = Trainer(policy, PRESETS["learn"]).update()
    assert recording[0].tokens == now.tokens
    assert recording[0].metrics.keys() == now.metrics.keys()
    assert all(snapshot.seconds.keys() == now.seconds.keys() for snapshot in recording)
    assert (recording.info["schema_version"], recording.info["threads"]) == (folder.SCHEMA_VERSION, 1)
    np.testing.assert_allclose(recording[0].final.ratios, now.final.ratios, rtol=1e-2)
    assert sum(path.stat().st_size for path in asset_path("recording").rglob("*") if path.is_file()) < 5e6
