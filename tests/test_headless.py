"""Training without a page: what is recorded, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import explorer
from explorer import headless
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.ppo.rewards.score import RewardError
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from tests.learned import learned

PROMPTS = ["The cat", "Lily went to the"]


@pytest.fixture
def make(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Callable[..., Trainer]:
    """``make(**arguments)``: a headless trainer of a fresh tiny policy."""

    def trainer(**arguments: Any) -> Trainer:
        return Trainer(**{"policy": make_tiny_policy(), "config": tiny_config, "prompts": PROMPTS, **arguments})

    return trainer


class Interrupting:
    """A reward that raises when it scores for the n-th time."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.left, self.error = at, error

    def __call__(self, prompts: list[str], responses: list[str]) -> list[float]:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return [0.0] * len(prompts)


def test_update_drains_the_stages(
    make: Callable[..., Trainer], snapshot_of: Callable[..., Snapshot], tiny_config: Config
) -> None:
    trainer, other = make(), make()
    assert learned([trainer.update(), trainer.update()]) == learned([snapshot_of(other), snapshot_of(other)])
    assert trainer.updates == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_the_process_keeps_its_number_of_threads(make: Callable[..., Trainer], threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        make().train(1)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_update_under_another_config_leaves_the_trainers_own(make: Callable[..., Trainer], tiny_config: Config) -> None:
    trainer = make()
    snapshot = trainer.update(tiny_config.replace(epochs=3))
    assert (snapshot.config.epochs, len(snapshot.trained), trainer.config) == (3, 3, tiny_config)


def test_training_goes_on_where_it_was(make: Callable[..., Trainer]) -> None:
    trainer = make()
    first, second = trainer.train(2), trainer.train(3)
    assert (first.updates, second.updates) == ([1, 2], [3, 4, 5])
    assert learned([*first, *second]) == learned(list(make().train(5)))


def test_recording_to_disk_changes_nothing(make: Callable[..., Trainer], tmp_path: Path) -> None:
    recording = make().train(3, out=tmp_path / "run")
    assert learned(list(recording)) == learned(list(make().train(3)))
    assert learned(list(Recording.load(tmp_path / "run"))) == learned(list(recording))


def test_every_update_is_on_disk_before_the_one_after_the_next_begins(
    make: Callable[..., Trainer], tmp_path: Path
) -> None:
    seen: list[list[int]] = []
    make().train(4, out=tmp_path / "run", on_snapshot=lambda s: seen.append(Recording.load(tmp_path / "run").updates))
    for update, there in enumerate(seen, start=1):
        assert there in (list(range(1, update)), list(range(1, update + 1)))


def test_the_callback_may_turn_knobs(make: Callable[..., Trainer]) -> None:
    trainer = make()

    def turn(snapshot: Snapshot) -> None:
        trainer.config = trainer.config.replace(clip_range=snapshot.update / 10)

    recording = trainer.train(3, on_snapshot=turn)
    assert [s.config.clip_range for s in recording] == [0.2, 0.1, 0.2]
    assert [recording.config_at(n).clip_range for n in (1, 2, 3)] == [0.2, 0.1, 0.2]


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_keyboard_interrupt_keeps_what_there_is(make: Callable[..., Trainer], tmp_path: Path, on_disk: bool) -> None:
    trainer = make(rewards={"stop": Interrupting(3, KeyboardInterrupt())})
    recording = trainer.train(10, out=tmp_path / "run" if on_disk else None)
    unbroken = make(rewards={"stop": Interrupting(99, KeyboardInterrupt())})
    assert learned(list(recording)) == learned(list(unbroken.train(2)))
    assert trainer.updates == 2
    for one, other in zip(trainer.policy.parameters(), unbroken.policy.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_interrupt_before_the_first_update_gives_an_empty_recording(make: Callable[..., Trainer]) -> None:
    recording = make(rewards={"stop": Interrupting(1, KeyboardInterrupt())}).train(5)
    assert (len(recording), recording.metrics.num_rows) == (0, 0)


def test_an_error_is_raised_and_leaves_the_updates_before_it_on_disk(
    make: Callable[..., Trainer], tmp_path: Path
) -> None:
    trainer = make(rewards={"broken": Interrupting(4, ZeroDivisionError("no"))})
    with pytest.raises(RewardError, match="broken"):
        trainer.train(9, out=tmp_path / "run", keep_every=2)
    recording = Recording.load(tmp_path / "run")
    assert recording.metrics.column("update").to_pylist() == [1, 2, 3]
    assert recording.updates == [1, 2, 3]  # the last is kept too, wherever the run ends


def test_thinning_is_by_update(make: Callable[..., Trainer], tmp_path: Path) -> None:
    recording = make().train(5, out=tmp_path / "run", keep_every=2)
    assert (recording.updates, recording.metrics.num_rows) == ([1, 2, 4, 5], 5)


def test_memory_is_bounded_and_metrics_are_whole(
    make: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headless, "History", lambda: History(limit=4))
    recording = make().train(9)
    assert len(recording) <= 4
    assert recording[-1].update == 9
    assert recording.metrics.column("update").to_pylist() == list(range(1, 10))
    recording.save(tmp_path / "run")
    loaded = Recording.load(tmp_path / "run")
    assert learned(list(loaded)) == learned(list(recording))
    assert loaded.metrics.equals(recording.metrics)


def test_the_recording_says_what_it_is_of(make: Callable[..., Trainer], make_tiny_policy: Callable[[], Policy]) -> None:
    info = make().train(1).info
    assert info["versions"]["torch"] == torch.__version__
    assert info["versions"]["explorer"] == explorer.__version__
    assert (info["seed"], info["prompts"], info["policy"]) == (0, PROMPTS, make_tiny_policy().name)
    assert info["created"].endswith("+00:00")
    assert (info["device"], info["bf16"]) == ("cpu", False)
    assert make(bf16=True).train(1).info["bf16"] is True


def test_progress_is_on_stderr_and_on_a_terminal_only(
    make: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make().train(1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich take any stream for a terminal
    make().train(1, progress=False)
    assert capsys.readouterr() == ("", "")
    recording = make().train(2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"score {recording[-1].metrics['objective/score']:+.2f}" in shown.err
    assert "2/2" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"updates": 1, "keep_every": 2}, "keep_every"),
        ({"updates": 1, "keep_every": 0, "out": "run"}, "keep_every is 0"),
        ({"updates": 1, "out": "."}, "not empty"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(
    make: Callable[..., Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    trainer = make()
    with pytest.raises(ValueError, match=message):
        trainer.train(**arguments)
    assert trainer.updates == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
