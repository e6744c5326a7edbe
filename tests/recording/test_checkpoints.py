"""Checkpoints on disk: bit for bit what was kept, whole or not there, and trusted in nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from explorer.config import Config
from explorer.ppo.state import State
from explorer.recording import checkpoints, folder
from explorer.recording.checkpoints import (
    checkpoint_path,
    checkpoint_updates,
    read_checkpoint,
    thin_checkpoints,
    write_checkpoint,
)
from explorer.recording.folder import RecordingError

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

RUN = "0123abcd"


@pytest.fixture
def state(make_trainer: MakeTrainer, run_update: RunUpdate) -> State:
    """A state after two updates, with replay and an adapted coefficient."""
    trainer = make_trainer(Config(batch_size=8, group_size=2, response_length=6, replay_rollouts=2, kl_target=0.5))
    trainer.set_prompts(["The cat", "Lily \u2013 \U0001f600 went"])
    for _ in range(2):
        run_update(trainer)
    return trainer.state()


@pytest.fixture
def written(state: State, tmp_path: Path) -> Path:
    """A folder with that state."""
    write_checkpoint(tmp_path, state, RUN)
    return tmp_path


def test_a_state_comes_back_bit_for_bit(state: State, written: Path) -> None:
    found = read_checkpoint(written, 2, RUN)
    assert list(found.tensors) and set(found.tensors) == set(state.tensors)
    for name, tensor in state.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)
    plain = [{**vars(s), "tensors": None} for s in (found, state)]
    assert plain[0] == plain[1]
    assert (found.torch, found.threads) == (torch.__version__, 1)
    assert found.coefficients.kl != found.coefficients.kl_from


def test_what_was_read_no_longer_needs_the_file(state: State, written: Path) -> None:
    found = read_checkpoint(written, 2, RUN)
    checkpoint_path(written, 2).write_bytes(b"\xff" * checkpoint_path(written, 2).stat().st_size)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.tensors.items())


def test_it_is_a_plain_safetensors_file(state: State, written: Path) -> None:
    assert set(load_file(written / "checkpoints" / "000002.safetensors")) == set(state.tensors)
    assert checkpoint_updates(written) == [2]
    assert [path.name for path in (written / "checkpoints").iterdir()] == ["000002.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_who_may_read_other_files_may_read_it(state: State, written: Path) -> None:
    (written / "plain.txt").write_text("")
    assert checkpoint_path(written, 2).stat().st_mode == (written / "plain.txt").stat().st_mode


def test_a_write_that_is_cut_off_leaves_the_old_one(
    state: State, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint_path(written, 2).read_bytes()

    def cut(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "replace", cut)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(written, state, RUN)
    assert checkpoint_path(written, 2).read_bytes() == before
    assert [path.name for path in (written / "checkpoints").iterdir()] == ["000002.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folder")
def test_a_durable_write_syncs_the_file_before_its_name_and_then_the_folder(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real_open, real_fsync, real_replace = os.open, os.fsync, os.replace
    opened: dict[int, str] = {}

    def note_open(path: Any, *flags: Any, **more: Any) -> int:
        number = real_open(path, *flags, **more)
        opened[number] = Path(path).name
        return number

    monkeypatch.setattr(folder.os, "open", note_open)
    monkeypatch.setattr(folder.os, "fsync", lambda n: (seen.append(f"sync {opened[n]}"), real_fsync(n)))
    monkeypatch.setattr(folder.os, "replace", lambda a, b: (seen.append("rename"), real_replace(a, b)))
    write_checkpoint(tmp_path, state, RUN, durable=True)
    assert seen == ["sync .000002.safetensors.part", "rename", "sync checkpoints"]


def test_thinning_keeps_the_first_and_the_newest(written: Path) -> None:
    data = checkpoint_path(written, 2).read_bytes()
    for update in (0, 4, 6, 8, 10):
        checkpoint_path(written, update).write_bytes(data)
    (written / "checkpoints" / "mine.txt").write_text("mine")
    thin_checkpoints(written, 4 * len(data) / 1e6)
    kept = checkpoint_updates(written)
    assert len(kept) <= 4
    assert (kept[0], kept[-1]) == (0, 10)
    thin_checkpoints(written, 1e-9)
    assert checkpoint_updates(written) == [10]
    assert (written / "checkpoints" / "mine.txt").read_text() == "mine"


# --- trusted in nothing ---


def rewritten(
    path: Path,
    tensors: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda found: found,
    facts: Callable[[dict[str, Any]], Any] = lambda found: found,
) -> None:
    """Change what a checkpoint holds, as a whole and valid file."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    old = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["facts"])
    save_file(tensors(dict(load_file(path))), path, {"facts": json.dumps(facts(old))})


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "a name with a path": ({"tensors": lambda t: t | {"weights/../../../etc/passwd": torch.zeros(1)}}, "passwd"),
    "a name of another kind": ({"tensors": lambda t: t | {"code": torch.zeros(1)}}, "'code'"),
    "another type": ({"tensors": lambda t: t | {"weights/x": torch.zeros(1, dtype=torch.float64)}}, "of type F64"),
    "another update": ({"facts": lambda f: f | {"updates": 3}}, "holds update 3"),
    "another run": ({"facts": lambda f: f | {"run": "x"}}, "belongs to another run"),
    "a newer version": ({"facts": lambda f: f | {"version": 3}}, "checkpoint version 3, .* reads up to 2"),
    "no version": ({"facts": lambda f: f | {"version": None}}, "version is None"),
    "facts that are a list": ({"facts": lambda f: [f]}, "is damaged"),
    "no config": ({"facts": lambda f: {k: v for k, v in f.items() if k != "config"}}, "config"),
    "a config out of range": ({"facts": lambda f: f | {"config": {**f["config"], "epochs": 99}}}, "epochs is 99"),
    "an unknown knob": ({"facts": lambda f: f | {"config": {**f["config"], "eval": "1"}}}, "no field 'eval'"),
    "prompts that are no texts": ({"facts": lambda f: f | {"prompts": [1]}}, "no list of texts"),
    "prompts that are a text": ({"facts": lambda f: f | {"prompts": "The"}}, "no list of texts"),
    "unknown coefficients": ({"facts": lambda f: f | {"coefficients": {"x": 1}}}, "is damaged"),
    "temperatures that are a number": ({"facts": lambda f: f | {"temperatures": 3}}, "is damaged"),
    "no temperatures": ({"facts": lambda f: {k: v for k, v in f.items() if k != "temperatures"}}, "temperatures"),
    "no threads": ({"facts": lambda f: {k: v for k, v in f.items() if k != "threads"}}, "threads"),
    "threads that are a text": ({"facts": lambda f: f | {"threads": "two"}}, "was made with 'two'"),
    "a version of PyTorch that is a list": ({"facts": lambda f: f | {"torch": [2, 9]}}, "was made with"),
    "births that are a number": ({"facts": lambda f: f | {"born": 3}}, "is damaged"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_what_does_not_fit_is_refused_in_one_sentence(written: Path, case: str) -> None:
    change, message = CHANGED[case]
    rewritten(checkpoint_path(written, 2), **change)
    with pytest.raises(RecordingError, match=message) as refused:
        read_checkpoint(written, 2, RUN)
    assert "000002.safetensors" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.999])
def test_a_file_that_is_cut_off_is_refused(written: Path, share: float) -> None:
    path = checkpoint_path(written, 2)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RecordingError, match="is damaged"):
        read_checkpoint(written, 2, RUN)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**9) + b"{" * 1000,
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 8) + b"nonsense",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        b"\x80\x04cposix\nsystem\n",
    ],
    ids=["huge header", "long header", "empty", "no JSON", "deep", "a pickle"],
)
def test_nonsense_is_refused(written: Path, data: bytes) -> None:
    checkpoint_path(written, 2).write_bytes(data)
    with pytest.raises(RecordingError, match="is damaged") as refused:
        read_checkpoint(written, 2, RUN)
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_that_is_larger_than_any_is_not_read(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_CHECKPOINT_BYTES", 1000)
    with pytest.raises(RecordingError, match="it is too large"):
        read_checkpoint(written, 2, RUN)


def test_a_link_out_of_the_folder_is_not_read(written: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = checkpoint_path(written, 2)
    outside = tmp_path_factory.mktemp("outside") / "secret.safetensors"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)
    with pytest.raises(RecordingError, match="not a plain file"):
        read_checkpoint(written, 2, RUN)


def test_a_folder_in_its_place_or_none_is_told(written: Path) -> None:
    path = checkpoint_path(written, 2)
    path.unlink()
    with pytest.raises(RecordingError, match=r"has no checkpoints/000002.safetensors: choose another update\."):
        read_checkpoint(written, 2, RUN)
    path.mkdir()
    with pytest.raises(RecordingError, match="not a plain file"):
        read_checkpoint(written, 2, RUN)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with a name")
def test_a_pipe_in_its_place_is_not_waited_for(written: Path) -> None:
    path = checkpoint_path(written, 2)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordingError, match="not a plain file"):
        read_checkpoint(written, 2, RUN)


def test_a_checkpoint_of_version_1_is_read(state: State, written: Path) -> None:
    """It tells neither PyTorch nor threads; an old one no temperatures either, which then are the config's own."""
    cooler = dataclasses.replace(state, config=state.config.replace(temperature=0.5))
    write_checkpoint(written, cooler, RUN)
    later = ("whiten_rewards", "judge", "set_aside")

    def aged(facts: dict[str, Any], *without: str) -> dict[str, Any]:
        config = {name: value for name, value in facts["config"].items() if name not in later}
        return {k: v for k, v in facts.items() if k not in ("torch", "threads", *without)} | {
            "version": 1,
            "config": config,
        }

    rewritten(checkpoint_path(written, 2), facts=aged)
    newer = read_checkpoint(written, 2, RUN)
    assert newer.temperatures == state.temperatures == (1.0, 1.0)
    assert (newer.config, newer.torch, newer.threads) == (cooler.config, None, None)
    rewritten(checkpoint_path(written, 2), facts=lambda f: aged(f, "temperatures"))
    found = read_checkpoint(written, 2, RUN)
    assert found.temperatures == (0.5, 0.5)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state.tensors.items())
