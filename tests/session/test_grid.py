"""A seed grid from the page: one update a job on the session's worker, and the live run none the worse for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.grid import recorded_seeds, seed_folder
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.seed_grid import SeedGrid
from explorer.session.grid import SeedRuns
from explorer.session.session import Session
from explorer.views.behind import behind_picture
from tests.learned import learned
from tests.session.conftest import PROMPTS

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

PATIENCE = 30


def made(folder: Path) -> dict[int, list[dict[str, Any]]]:
    return {seed: learned(list(run)) for seed, run in recorded_seeds(folder).items()}


@pytest.fixture
def by_command(make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path) -> Callable[..., Path]:
    """``by_command(seeds, updates)``: the same grid made without a page; gives its folder."""

    def make(seeds: int, updates: int) -> Path:
        folder = tmp_path / "by-command"
        list(SeedGrid(tiny_config, range(seeds), updates, folder, policy=make_tiny_policy(), prompts=PROMPTS).steps())
        return folder

    return make


# --- inline ---


def test_a_grid_from_the_page_is_that_of_the_command(
    session: Session, by_command: Callable[..., Path], tmp_path: Path
) -> None:
    session.train(2)  # of a policy that has moved on, the grid has the untouched one
    session.grid.start(3, 4, tmp_path / "grid")
    assert session.error == {}
    assert session.grid.progress == {
        **{"state": "done", "seed": 2, "nth": 3, "update": 4, "seeds": 3, "updates": 4},
        "folder": str(tmp_path / "grid"),
    }
    command = by_command(3, 4)
    assert made(tmp_path / "grid") == made(command)
    infos = [Recording.load(seed_folder(root, 1)).info for root in (tmp_path / "grid", command)]
    assert infos[0].keys() == infos[1].keys()
    assert all(infos[0][name] == infos[1][name] for name in infos[0] if name not in ("id", "created"))
    session.grid.start(3, 5, command)  # the page goes on with what the command has begun
    assert session.grid.progress["state"] == "done"
    assert {len(run) for run in recorded_seeds(command).values()} == {5}


@pytest.mark.parametrize(("megabytes", "states"), [(100, [0, 2, 4, 5]), (0.001, [5])])
def test_of_each_run_as_much_is_kept_as_of_the_page_s_own(
    make_session: MakeSession, tmp_path: Path, megabytes: float, states: list[int]
) -> None:
    shelf = Shelf(tmp_path / "shelf", keep_every=3, checkpoint_every=2, checkpoint_megabytes=megabytes)
    session = make_session(shelf=shelf)
    session.library.start_seeds(1, 5)
    folder = seed_folder(Path(session.grid.progress["folder"]), 0)
    assert session.error == {}
    assert Recording.load(folder).updates == [1, 3, 5]
    assert checkpoint_updates(folder) == states


def test_a_page_that_keeps_no_runs_has_the_environment_s_amounts_for_a_grid(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPO_EXPLORER_KEEP_EVERY", "2")
    session.grid.start(1, 5, tmp_path / "grid")
    assert Recording.load(seed_folder(tmp_path / "grid", 0)).updates == [1, 2, 4, 5]


@pytest.mark.parametrize("stages", [0, 3])
def test_the_live_run_goes_on_as_if_nothing_had_been(make_session: MakeSession, tmp_path: Path, stages: int) -> None:
    one, other = make_session(), make_session()
    for session in (one, other):
        session.train(2)
        for _ in range(stages):
            session.step_stage()  # in the middle of an update
    one.grid.start(2, 2, tmp_path / "grid")
    for session in (one, other):
        session.train(2)
    assert (one.live, one.updates, one.mode) == (True, other.updates, "paused")
    assert learned(list(one.history)) == learned(list(other.history))


def test_settings_prompts_and_rewards_are_those_of_the_page(make_session: MakeSession, tmp_path: Path) -> None:
    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return [len(text) / 50 for text in responses]

    session = make_session(rewards={"mine": mine})
    session.set(clip_range=0.1, weight_mine=0.5, reset=True)
    session.set_prompts(["The cat", "Lily went to the"])
    session.grid.start(1, 1, tmp_path / "grid", first_seed=7)
    (run,) = recorded_seeds(tmp_path / "grid").values()
    assert (run.config_at(1).seed, run.config_at(1).clip_range, run.config_at(1).weights["mine"]) == (7, 0.1, 0.5)
    assert run.info["prompts"] == ["The cat", "Lily went to the"]
    assert "component/mine" in run.metrics.column_names


def test_the_page_s_critic_of_its_own_is_not_the_grids(
    make_session: MakeSession, by_command: Callable[..., Path], tmp_path: Path, tiny_config: Config
) -> None:
    session = make_session(config=tiny_config.replace(critic="separate"))
    session.train(1)
    session.set(critic="shared", reset=True)
    session.grid.start(1, 2, tmp_path / "grid")
    assert made(tmp_path / "grid") == made(by_command(1, 2))


def test_the_runs_grow_behind_the_curves(session: Session, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def note(change: Any) -> None:
        seen.append([len(run) for _, run in change["new"].runs])

    session.observe(note, "behind")
    session.grid.start(2, 2, tmp_path / "grid")
    assert seen == [[0], [1], [2], [2, 0], [2, 1], [2, 2]]
    picture = behind_picture(session.behind)
    scores = [run.metrics.column("objective/score").to_numpy() for run in recorded_seeds(tmp_path / "grid").values()]
    band = picture["metrics"]["objective/score"]["band"]
    assert np.frombuffer(band["low"], np.float32) == pytest.approx(np.minimum(*scores))
    assert np.frombuffer(band["high"], np.float32) == pytest.approx(np.maximum(*scores))
    assert picture["label"] == {"key": "ui.behind.seeds", "values": {"count": 2}}
    session.unobserve(note, "behind")
    session.grid.start(2, 3, tmp_path / "grid")  # what was recorded before is there at once
    assert [len(run) for _, run in session.behind.runs] == [3, 3]
    session.grid.clear()
    assert (session.behind, session.grid.progress) == (None, {})


def test_a_seed_that_breaks_off_is_told_and_the_next_one_runs(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer.update

    def poisoned(trainer: Trainer) -> Snapshot:
        if (trainer.config.seed, trainer.updates) == (0, 1):
            torch.nn.init.constant_(trainer.policy.value_head.weight, float("nan"))
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", poisoned)
    session.grid.start(2, 3, tmp_path / "grid")
    assert session.grid.progress["state"] == "done"
    assert session.error["message"].startswith("Seed 0 has broken off: ")
    assert [len(run) for _, run in session.behind.runs] == [1, 3]


def test_a_folder_that_holds_something_else_is_reported_and_harms_nothing(session: Session, tmp_path: Path) -> None:
    session.train(1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    session.grid.start(2, 2, tmp_path / "mine")
    assert session.grid.progress["state"] == "failed"
    assert "is not empty" in session.error["message"] and session.error["count"] == 1
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    session.train(1)
    session.grid.start(1, 1, tmp_path / "grid")
    assert (session.updates, session.grid.progress["state"], session.error) == (2, "done", {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, "grid"), "'0' seeds cannot be trained"),
        ((True, 1, "grid"), "'True' seeds"),
        ((2, 1.5, "grid"), "'1.5' updates cannot be trained"),
        ((2, None, "grid"), "'None' updates"),
        ((2, 1, "  "), "needs a folder"),
        ((2, 1, "grid", -1), "a seed is -1"),
        ((2, 1, "grid", "0"), "The first seed is '0'"),
    ],
)
def test_bad_input_is_one_sentence_and_starts_nothing(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[Any, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        session.grid.start(*arguments)
    assert (session.grid.progress, list(tmp_path.glob("grid*"))) == ({}, [])


def test_a_policy_that_did_not_load_is_told(make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session(policy=str(tmp_path / "none"))
    session.grid.start(1, 1, tmp_path / "grid")
    assert session.grid.progress["state"] == "failed"
    assert "There is no folder" in session.error["message"]
    assert not (tmp_path / "grid").exists()


# --- with a thread ---


async def until(grid: SeedRuns, condition: Callable[[dict[str, Any]], Any]) -> None:
    """Wait until the grid has come so far; looked at whenever that changes."""
    changed = asyncio.Event()

    def note(change: Any) -> None:
        changed.set()

    grid.observe(note, "progress")
    async with asyncio.timeout(PATIENCE):
        while not condition(grid.progress):
            changed.clear()
            await changed.wait()
    grid.unobserve(note, "progress")


def play(make_session: MakeSession, story: Callable[[Session], Awaitable[Any]], **arguments: Any) -> Any:
    async def main() -> Any:
        session = make_session(threaded=True, **arguments)
        try:
            return await story(session)
        finally:
            session.close()
            assert session.worker.join(PATIENCE)

    return asyncio.run(main())


def ended(progress: dict[str, Any]) -> bool:
    return progress["state"] in ("done", "stopped", "failed")


def test_it_runs_in_the_worker_and_every_trait_is_written_on_the_loop(
    make_session: MakeSession, by_command: Callable[..., Path], tmp_path: Path
) -> None:
    threads: set[int] = set()
    steps: list[tuple[int, int]] = []

    def note(change: Any) -> None:
        threads.add(threading.get_ident())

    async def story(session: Session) -> None:
        session.observe(note)
        session.grid.observe(note)
        session.grid.observe(lambda change: steps.append((change["new"]["nth"], change["new"]["update"])), "progress")
        session.grid.start(2, 3, tmp_path / "grid")
        assert session.grid.running
        await until(session.grid, ended)
        assert (session.grid.progress["state"], session.grid.running, session.error) == ("done", False, {})

    play(make_session, story)
    assert threads == {threading.get_ident()}
    assert steps == sorted(steps)
    assert {(nth, update) for nth in (1, 2) for update in (1, 2, 3)} <= set(steps)
    assert made(tmp_path / "grid") == made(by_command(2, 3))


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_it_stops_after_the_update_that_is_running_and_goes_on_from_there(
    make_session: MakeSession, by_command: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    async def story(session: Session) -> None:
        grid = session.grid
        grid.start(2, 30, tmp_path / "grid")
        await until(grid, lambda progress: progress["nth"] == 2 and progress["update"] >= 3)
        getattr(grid if how == "stop" else session, how)()
        assert (grid.progress["state"], grid.running) == ("stopping", True)
        update = grid.progress["update"]
        await until(grid, ended)
        assert grid.progress["state"] == "stopped"
        assert grid.progress["update"] <= update + 3  # what the worker had computed before it was told
        held = recorded_seeds(tmp_path / "grid")[1].metrics.num_rows
        assert held == grid.progress["update"] < 30
        assert checkpoint_updates(seed_folder(tmp_path / "grid", 1))[-1] == held
        grid.start(2, 30, tmp_path / "grid")
        await until(grid, ended)
        assert (grid.progress["state"], session.error) == ("done", {})

    play(make_session, story)
    assert made(tmp_path / "grid") == made(by_command(2, 30))


def test_the_live_run_waits_and_jobs_come_in_between(make_session: MakeSession, tmp_path: Path) -> None:
    async def story(session: Session) -> None:
        session.train()
        changed = asyncio.Event()
        session.observe(lambda change: changed.set(), "updates")
        async with asyncio.timeout(PATIENCE):
            await changed.wait()
        session.grid.start(2, 20, tmp_path / "grid")
        assert session.mode == "paused"
        await until(session.grid, lambda progress: progress["update"] >= 1)
        live = session.engine.trainer.updates
        for command in (session.train, session.step, session.step_stage):
            with pytest.raises(ValueError, match="A seed grid is running, and the run waits for it"):
                command()
        with pytest.raises(ValueError, match="A seed grid is running: stop it first"):
            session.grid.start(1, 1, tmp_path / "other")
        with pytest.raises(ValueError, match="stop it first"):
            session.grid.clear()
        asked = asyncio.Event()
        session.observe(lambda change: asked.set(), "samples")
        session.compare()
        async with asyncio.timeout(PATIENCE):
            await asked.wait()
        assert session.grid.running  # it was answered between two updates
        session.grid.stop()
        await until(session.grid, ended)
        assert session.engine.trainer.updates == live
        session.step()
        changed.clear()
        async with asyncio.timeout(PATIENCE):
            await changed.wait()
        assert session.updates == live + 1

    play(make_session, story)


def test_a_session_that_closes_lets_go_of_the_grid(
    make_session: MakeSession, by_command: Callable[..., Path], tmp_path: Path
) -> None:
    async def story(session: Session) -> None:
        session.grid.start(1, 1000, tmp_path / "grid")
        await until(session.grid, lambda progress: progress["update"] >= 3)

    play(make_session, story)
    held = recorded_seeds(tmp_path / "grid")[0].metrics.num_rows
    assert checkpoint_updates(seed_folder(tmp_path / "grid", 0))[-1] == held

    async def again(session: Session) -> None:
        session.grid.start(1, held + 2, tmp_path / "grid")
        await until(session.grid, ended)
        assert session.error == {}

    play(make_session, again)
    assert made(tmp_path / "grid") == made(by_command(1, held + 2))
