"""Runs that are opened and rewound while a worker's thread trains, and while other pages and kills come in between."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import explorer
from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording.checkpoints import checkpoint_path
from explorer.recording.claim import Claim
from explorer.recording.shelf import Shelf
from explorer.session import engine as engine_module
from explorer.session import runs as runs_module
from explorer.session.session import Session
from tests.session.conftest import PROMPTS
from tests.session.shelved import recorded, shown, unbroken_run
from tests.session.test_session_thread import PATIENCE, Gate, gate, run, settled, until

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

__all__ = ["gate", "run"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf", checkpoint_every=2)


@pytest.fixture
def unbroken(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Callable[[int], list[dict[str, Any]]]:
    return lambda updates: unbroken_run(make_tiny_policy(), tiny_config, updates)


@pytest.fixture
def other(make_session: MakeSession, shelf: Shelf) -> str:
    """A run of four updates that another page has made."""
    session = make_session(shelf=shelf)
    session.train(4)
    session.close()
    return session.runs.run


class Held:
    """A place in the worker that waits, where it is about to look for a run's state."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.gate, find = Gate(), runs_module.find_origin

        def held(*arguments: Any) -> Any:
            self.gate.pass_through()
            return find(*arguments)

        patch.setattr(runs_module, "find_origin", held)
        self.gate.shut()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


async def paused_after(session: Session, updates: int) -> None:
    session.train(updates)
    await until(session, lambda: session.updates == updates and session.mode == "paused")
    await settled(session)


def test_every_trait_of_the_runs_is_written_on_the_loop(
    run: Callable[..., Any], shelf: Shelf, other: str, unbroken: Callable[..., Any]
) -> None:
    threads: set[int] = set()

    async def story(session: Session) -> None:
        for part in (session, session.runs, session.library):
            part.observe(lambda change: threads.add(threading.get_ident()))
        await paused_after(session, 3)
        session.runs.open(other)
        session.train(2)
        await until(session, lambda: session.updates == 6)
        session.pause()
        await settled(session)
        session.runs.rewind(2)
        session.set(clip_range=0.01)
        session.train(2)
        await until(session, lambda: session.updates == 4 and session.mode == "paused")
        await settled(session)
        assert session.runs.parting.update == 3  # the change that was made while it went back is not lost
        session.reset()
        session.library.refresh()
        await settled(session)

    run(story, shelf=shelf)
    assert threads == {threading.get_ident()}
    assert recorded(shelf.root, other) == unbroken(6)


@pytest.mark.parametrize("fails", [False, True])
def test_an_update_that_ends_while_another_run_is_opened_belongs_to_the_run_before(
    run: Callable[..., Any],
    shelf: Shelf,
    other: str,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    tiny_config: Config,
    fails: bool,
) -> None:
    """The other run has as many updates as the run before will have: so the last of them would take its place."""
    before, take = recorded(shelf.root, other), engine_module.take_snapshot

    def gated(*arguments: Any) -> Any:
        gate.pass_through()
        return take(*arguments)

    monkeypatch.setattr(engine_module, "take_snapshot", gated)
    if fails:
        path = checkpoint_path(shelf.find(other).folder, 4)
        path.write_bytes(path.read_bytes()[:-7])

    async def story(session: Session) -> None:
        await paused_after(session, 3)
        first = session.runs.run
        gate.shut()
        session.train()
        assert await asyncio.to_thread(gate.reached.wait, PATIENCE)  # update 4 is all but recorded
        session.runs.open(other)
        assert (session.runs.run, session.runs.opening) == (other, True)
        gate.open()
        await settled(session)
        await settled(session)
        assert not session.runs.opening
        if fails:
            assert "is damaged" in session.error["message"]
            assert (session.runs.run, session.history.updates) == (first, [1, 2, 3, 4])
            assert shown(session) == recorded(shelf.root, first)
        else:
            assert (session.runs.run, session.error) == (other, {})
            assert shown(session) == before
            assert [run["n"] for run in recorded(shelf.root, first)] == [1, 2, 3, 4]

    run(story, shelf=shelf, config=tiny_config.replace(seed=3))


def test_train_pressed_while_a_run_is_opened_begins_when_it_is(
    run: Callable[..., Any], shelf: Shelf, other: str, unbroken: Callable[..., Any], held: Held
) -> None:
    async def story(session: Session) -> None:
        session.runs.open(other)
        session.train(1)
        session.train(2)  # the newest order counts
        for command in (lambda: session.runs.open(other), lambda: session.runs.rewind(2)):
            with pytest.raises(ValueError, match="A run is just being opened: wait a moment"):
                command()
        held.gate.open()
        await until(session, lambda: session.updates == 6 and session.mode == "paused")

    run(story, shelf=shelf)
    assert recorded(shelf.root, other) == unbroken(6)


def test_pause_withdraws_what_was_ordered_while_a_run_is_opened(
    run: Callable[..., Any], shelf: Shelf, other: str, held: Held
) -> None:
    async def story(session: Session) -> None:
        session.runs.open(other)
        session.train(2)
        session.pause()
        held.gate.open()
        await settled(session)
        await settled(session)
        assert (session.updates, session.mode, session.runs.opening) == (4, "paused", False)

    run(story, shelf=shelf)


def test_a_reset_while_a_run_is_opened_leaves_it_as_it_is(
    run: Callable[..., Any], shelf: Shelf, other: str, unbroken: Callable[..., Any], held: Held
) -> None:
    async def story(session: Session) -> None:
        session.runs.open(other)
        session.train(9)
        session.reset()
        held.gate.open()
        await settled(session)
        await settled(session)
        assert (session.updates, session.runs.run, session.runs.opening, session.mode) == (0, "", False, "paused")
        assert session.runs.on_screen == frozenset()
        Claim(shelf.find(other).folder).release()
        await paused_after(session, 1)
        assert shown(session) == unbroken(1)

    run(story, shelf=shelf)
    assert recorded(shelf.root, other) == unbroken(4)


@pytest.mark.parametrize("command", ["open", "rewind"])
def test_closing_meanwhile_lets_go_of_every_folder(
    run: Callable[..., Any], shelf: Shelf, other: str, unbroken: Callable[..., Any], held: Held, command: str
) -> None:
    async def story(session: Session) -> None:
        await paused_after(session, 2)
        if command == "open":
            session.runs.open(other)
        else:
            session.runs.rewind(0)
        assert await asyncio.to_thread(held.gate.reached.wait, PATIENCE)
        session.close()
        held.gate.open()
        assert await asyncio.to_thread(session.worker.join, PATIENCE)
        done = asyncio.Event()
        session.loop.post(done.set)
        await done.wait()
        assert session.error == {}

    run(story, shelf=shelf)
    for entry in shelf.entries():
        Claim(entry.folder).release()
        assert recorded(shelf.root, entry.id) == unbroken(entry.updates)


def test_a_page_that_is_just_being_left_is_waited_for(
    run: Callable[..., Any], make_session: MakeSession, shelf: Shelf, other: str, unbroken: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    leaving = make_session(shelf=shelf)
    leaving.runs.open(other)
    leaving.train(1)

    def wait(seconds: float) -> None:
        leaving.close()  # it writes its last state meanwhile

    monkeypatch.setattr(runs_module.time, "sleep", wait)

    async def story(session: Session) -> None:
        session.runs.open(other)
        await settled(session)
        assert (session.note, session.updates, session.runs.states) == ("", 5, (0, 2, 4, 5))
        session.train(1)
        await until(session, lambda: session.updates == 6)

    run(story, shelf=shelf)
    assert recorded(shelf.root, other) == unbroken(6)


def test_a_seed_grid_has_the_worker_to_itself(run: Callable[..., Any], shelf: Shelf, other: str) -> None:
    async def story(session: Session) -> None:
        await paused_after(session, 2)
        session.library.start_seeds(1, 10_000)
        for command in (lambda: session.runs.open(other), lambda: session.runs.rewind(0)):
            with pytest.raises(ValueError, match="A seed grid is running: stop it first"):
                command()
        assert (session.runs.run in session.runs.on_screen, session.updates) == (True, 2)

    run(story, shelf=shelf)


#: A page that records until it is killed, and says of every update that it has been made.
RECORDS_FOR_EVER = """
import sys
from explorer.config import Config
from explorer.recording.shelf import Shelf
from explorer.session.session import Session

checkpoint, root, config, prompts = sys.argv[1:]
session = Session(checkpoint, Config.from_flat(eval(config)), None, eval(prompts), threaded=False,
                  shelf=Shelf(root, checkpoint_every=2))
session.observe(lambda change: print(change["new"], flush=True), "updates")
session.train(10_000)
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
@pytest.mark.parametrize("updates", [3, 6, 9])
def test_a_killed_page_s_run_is_opened_and_gone_on_with(
    run: Callable[..., Any],
    shelf: Shelf,
    tiny_checkpoint: Path,
    tiny_config: Config,
    unbroken: Callable[..., Any],
    updates: int,
) -> None:
    arguments = [str(tiny_checkpoint), str(shelf.root), repr(tiny_config.flat()), repr(PROMPTS)]
    environment = os.environ | {"PYTHONPATH": str(Path(explorer.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", RECORDS_FOR_EVER, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < updates:
            pass
        os.kill(process.pid, signal.SIGKILL)
    (entry,) = shelf.entries()
    made = entry.updates
    assert made >= updates - 1  # all but the one that is told of before it is written

    async def story(session: Session) -> Any:
        session.runs.open(entry.id)
        session.train(made % 2 + 3)
        await until(session, lambda: session.mode == "paused" and session.updates > made)
        await settled(session)
        return session.error, session.runs.run

    assert run(story, shelf=shelf) == ({}, entry.id)
    (after,) = shelf.entries()
    assert recorded(shelf.root, entry.id) == unbroken(after.updates)
    assert after.updates > made
