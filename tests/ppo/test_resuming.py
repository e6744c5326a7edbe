"""A pretraining run on disk: whatever is cut off, what is there can be gone on with."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from explorer.ppo.resuming import (
    CurvePoint,
    PretrainingError,
    RunState,
    load_tensors,
    open_run,
    read_curve,
    save_run,
    write_curve,
)

SETTINGS = {"corpus": "abc", "seed": 0, "bf16": False}
POINTS = [CurvePoint(50, 300, 5.5, 5.25, 1.0), CurvePoint(100, 600, 4.125, 1 / 3, 2.5)]


def state_at(step: int) -> RunState:
    return RunState(settings=SETTINGS, steps=100, step=step, seconds=step / 2)


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"weights/a": torch.full((2, 3), value), "muon/a/momentum_buffer": torch.tensor(value)}


def test_a_new_folder_holds_no_run_and_is_made(tmp_path: Path) -> None:
    assert open_run(tmp_path / "new" / "folder", SETTINGS) is None
    assert (tmp_path / "new" / "folder").is_dir()


def test_a_run_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save_run(tmp_path, state_at(50), weights(1.5))
    state = open_run(tmp_path, SETTINGS)
    assert state == state_at(50)
    tensors = load_tensors(tmp_path, state)
    assert {name: t.tolist() for name, t in tensors.items()} == {
        "weights/a": [[1.5] * 3] * 2,
        "muon/a/momentum_buffer": 1.5,
    }


def test_only_the_newest_tensors_are_kept_and_none_after_the_end(tmp_path: Path) -> None:
    save_run(tmp_path, state_at(50), weights(1.0))
    (tmp_path / "training-70.safetensors.part").write_bytes(b"cut off")
    save_run(tmp_path, state_at(100), weights(2.0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["training-100.safetensors", "training.json"]
    finished = dataclasses.replace(state_at(100), finished=True, losses={"story_starts": 1.9})
    save_run(tmp_path, finished, None)
    assert [p.name for p in tmp_path.iterdir()] == ["training.json"]
    assert open_run(tmp_path, SETTINGS) == finished


@pytest.mark.parametrize("renames_done", [0, 1])
def test_a_save_that_is_cut_off_leaves_the_run_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames_done: int
) -> None:
    save_run(tmp_path, state_at(50), weights(1.0))
    rename, done = os.replace, []

    def cut(source: Path, target: Path) -> None:
        if len(done) == renames_done:
            raise KeyboardInterrupt
        done.append(target)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            save_run(tmp_path, state_at(100), weights(2.0))
    state = open_run(tmp_path, SETTINGS)
    assert state == state_at(50)
    assert load_tensors(tmp_path, state)["weights/a"].unique().tolist() == [1.0]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    save_run(tmp_path, state_at(50), weights(1.0))
    with pytest.raises(PretrainingError, match=r"another seed \(0 there, 3 here\): give the same options"):
        open_run(tmp_path, SETTINGS | {"seed": 3})
    with pytest.raises(PretrainingError, match=r"another dropout \(None there, 0.1 here\)"):
        open_run(tmp_path, SETTINGS | {"dropout": 0.1})


def test_a_folder_with_a_policy_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(PretrainingError, match="already holds a policy: give another folder"):
        open_run(tmp_path, SETTINGS)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(PretrainingError, match="cannot be used as a folder .*: give another"):
        open_run(tmp_path / "file", SETTINGS)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"step": 3}', '{"steps": 1, "step": 1, "seconds": 0, "settings": 3}'])
def test_a_damaged_state_says_what_to_delete(tmp_path: Path, text: str) -> None:
    (tmp_path / "training.json").write_text(text, encoding="utf-8")
    with pytest.raises(PretrainingError, match=r"training.json' is damaged.*delete it to start again"):
        open_run(tmp_path, SETTINGS)


@pytest.mark.parametrize("content", [None, b"", b"not tensors"])
def test_damaged_tensors_say_what_to_delete(tmp_path: Path, content: bytes | None) -> None:
    save_run(tmp_path, state_at(50), weights(1.0))
    path = tmp_path / "training-50.safetensors"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PretrainingError, match=r"missing or damaged.*delete '.*training.json'"):
        load_tensors(tmp_path, state_at(50))


def test_the_curve_is_a_table_that_reads_back_exactly(tmp_path: Path) -> None:
    write_curve(tmp_path, POINTS)
    lines = (tmp_path / "learning_curve.csv").read_text(encoding="utf-8").split()
    assert lines[:2] == ["step,tokens,train_loss,val_loss,seconds", "50,300,5.5,5.25,1.0"]
    assert read_curve(tmp_path, 100) == POINTS


def test_points_of_lost_steps_are_dropped(tmp_path: Path) -> None:
    assert read_curve(tmp_path, 100) == []
    write_curve(tmp_path, POINTS)
    assert read_curve(tmp_path, 99) == POINTS[:1]
    assert read_curve(tmp_path, 0) == []


@pytest.mark.parametrize("text", ["step;tokens\n1;2\n", "step,tokens,train_loss,val_loss,seconds\n50.0,x,1,1,1\n"])
def test_a_curve_that_was_changed_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "learning_curve.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PretrainingError, match="is not as it was written.*move it away"):
        read_curve(tmp_path, 100)


def test_the_state_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    save_run(tmp_path, state_at(50), weights(1.0))
    read = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert (read["step"], read["steps"], read["settings"]["seed"]) == (50, 100, 0)
