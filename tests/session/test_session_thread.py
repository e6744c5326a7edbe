"""A session whose worker is a thread: every trait is written on the loop, and nothing waits for the worker.

Gates stand for time: a reward or a patched function waits until the test lets it through. Nothing here sleeps.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest

from explorer.recording.snapshot import Snapshot
from explorer.session import engine as engine_module
from explorer.session import screen as screen_module
from explorer.session.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

#: Seconds after which a test gives up waiting; never waited for where all is well.
PATIENCE = 30

MakeThreaded = Callable[..., Session]


class Gate:
    """A place where the worker waits until it is let through; open to begin with."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self._open.set()

    def shut(self) -> None:
        self.reached.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        self.reached.set()
        assert self._open.wait(PATIENCE)

    def as_reward(self, prompts: list[str], responses: list[str]) -> list[float]:
        """A reward that waits."""
        self.pass_through()
        return [float(len(text)) for text in responses]


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def run(make_session: MakeSession, gate: Gate) -> Callable[..., Any]:
    """``run(story, **arguments)``: play ``await story(session)`` on a loop, with a threaded session made on it."""

    def play(story: Callable[[Session], Awaitable[Any]], **arguments: Any) -> Any:
        async def main() -> Any:
            session = make_session(threaded=True, **arguments)
            try:
                return await story(session)
            finally:
                gate.open()
                session.close()
                assert session.worker.join(PATIENCE)

        return asyncio.run(main())

    return play


async def until(session: Session, condition: Callable[[], Any]) -> None:
    """Wait until a condition on the session's traits holds; looked at whenever one of them changes."""
    changed = asyncio.Event()

    def note(change: Any) -> None:
        changed.set()

    session.observe(note)
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                changed.clear()
                await changed.wait()
    finally:
        session.unobserve(note)


async def settled(session: Session) -> None:
    """Wait until the worker has come to a job of ours, and the loop to all that was posted before it."""
    done = asyncio.Event()
    session.worker.submit(lambda: session.loop.post(done.set))
    async with asyncio.timeout(PATIENCE):
        await done.wait()


Story = Callable[[Session], Coroutine[Any, Any, Any]]


def test_every_trait_is_written_on_the_loop(run: Callable[[Story], Any]) -> None:
    threads: set[int] = set()

    async def story(session: Session) -> None:
        session.observe(lambda change: threads.add(threading.get_ident()))
        session.cursor.observe(lambda change: threads.add(threading.get_ident()))
        session.train(3)
        session.compare()
        await until(session, lambda: session.updates == 3 and session.samples)
        session.reset()
        await until(session, lambda: session.updates == 0)

    run(story)
    assert threads == {threading.get_ident()}


def test_commands_before_the_policy_has_loaded_wait_for_it(run: Callable[[Story], Any]) -> None:
    async def story(session: Session) -> tuple[str, str, int]:
        before = session.phase
        session.set(clip_range=0.3)
        session.train(2)
        await until(session, lambda: session.updates == 2)
        assert session.recorded.config.clip_range == 0.3
        return before, session.phase, session.updates

    assert run(story) == ("loading", "ready", 2)


def test_pause_answers_within_one_stage(run: Callable[..., Any], gate: Gate) -> None:
    async def story(session: Session) -> list[Any]:
        await until(session, lambda: session.phase == "ready")
        gate.shut()
        session.train()
        assert gate.reached.wait(PATIENCE)  # it is in the middle of "score"
        session.pause()
        answered = session.mode
        gate.open()
        await settled(session)
        await settled(session)
        return [answered, session.mode, session.progress.finished, session.updates]

    assert run(story, rewards={"gate": gate.as_reward}) == ["paused", "paused", "score", 0]


def test_after_a_pause_the_update_goes_on_where_it_stood(run: Callable[..., Any], gate: Gate) -> None:
    async def story(session: Session) -> bytes:
        await until(session, lambda: session.phase == "ready")
        if paused:
            gate.shut()
            session.step()
            assert gate.reached.wait(PATIENCE)
            session.pause()
            gate.open()
            await settled(session)
        session.step()
        await until(session, lambda: session.recorded)
        return session.recorded.final.new_logprobs.tobytes()

    paused = False
    expected = run(story, rewards={"gate": gate.as_reward})
    paused = True
    assert run(story, rewards={"gate": gate.as_reward}) == expected


def test_training_goes_on_while_the_loop_is_busy_and_the_history_catches_up(run: Callable[..., Any]) -> None:
    fifth = threading.Event()
    calls: list[int] = []

    def counting(prompts: list[str], responses: list[str]) -> list[float]:
        calls.append(len(calls))
        if len(calls) == 6:
            fifth.set()
        return [0.0] * len(responses)

    async def story(session: Session) -> tuple[int, list[int]]:
        await until(session, lambda: session.phase == "ready")
        session.train(7)
        assert fifth.wait(PATIENCE)  # as a cell that computes would, this holds the loop
        meanwhile = len(session.history)
        await until(session, lambda: session.updates == 7)
        return meanwhile, session.history.updates

    assert run(story, rewards={"counting": counting}) == (0, [1, 2, 3, 4, 5, 6, 7])


def test_the_newest_settings_are_taken_and_none_before_its_update(run: Callable[..., Any], gate: Gate) -> None:
    async def story(session: Session) -> list[float]:
        await until(session, lambda: session.phase == "ready")
        gate.shut()
        session.train(2)
        assert gate.reached.wait(PATIENCE)
        for n in range(200):
            session.set(clip_range=(n + 1) / 1000, kl_coef=(n + 1) / 500)
        gate.open()
        await until(session, lambda: session.updates == 2)
        return [v for s in session.history for v in (s.config.clip_range, s.config.kl_coef)]

    assert run(story, rewards={"gate": gate.as_reward}) == [0.2, 0.05, 0.2, 0.4]


def test_draws_are_bounded_and_the_newest_is_drawn_in_the_end(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert screen_module.DRAWS_PER_SECOND <= 5
    monkeypatch.setattr(screen_module, "DRAWS_PER_SECOND", 1.0)
    draws: list[int] = []

    async def story(session: Session) -> float:
        await until(session, lambda: session.phase == "ready")
        session.observe(lambda change: draws.append(change["new"].update), "shown")
        begun = time.monotonic()
        session.train(15)
        await until(session, lambda: session.recorded is not None and session.recorded.update == 15)
        return time.monotonic() - begun

    seconds = run(story)
    assert len(draws) <= seconds + 1
    assert draws[-1] == 15


def test_a_reward_that_raises_in_the_worker_reaches_the_page(run: Callable[..., Any]) -> None:
    def broken(prompts: list[str], responses: list[str]) -> list[float]:
        raise KeyError("mood")

    async def story(session: Session) -> tuple[str, str, int]:
        session.set(weight_sentiment=0.0)  # where nothing else counts, a failing component stops the run
        session.train(3)
        await until(session, lambda: session.error and session.mode == "paused")
        return session.error["message"], session.mode, session.updates

    message, mode, updates = run(story, rewards={"broken": broken})
    assert "The reward 'broken' raised KeyError: 'mood'" in message
    assert (mode, updates) == ("paused", 0)


def test_an_error_in_a_posted_callback_reaches_the_page(run: Callable[..., Any]) -> None:
    async def story(session: Session) -> str:
        session.worker.submit(lambda: session.loop.post([].pop))
        await until(session, lambda: session.error)
        return session.error["message"]

    assert run(story) == "IndexError: pop from empty list"


def test_a_policy_that_cannot_be_loaded_reaches_the_page(run: Callable[..., Any]) -> None:
    async def story(session: Session) -> tuple[str, str]:
        await until(session, lambda: session.error)
        return session.phase, session.error["message"]

    phase, message = run(story, policy="./nowhere")
    assert phase == "failed"
    assert "There is no folder './nowhere'" in message


def test_close_ends_the_thread_within_one_stage(run: Callable[..., Any], gate: Gate) -> None:
    async def story(session: Session) -> tuple[bool, bool]:
        await until(session, lambda: session.phase == "ready")
        gate.shut()
        session.train()
        assert gate.reached.wait(PATIENCE)
        session.close()
        still_in_its_stage = not session.worker.join(0)
        gate.open()
        return still_in_its_stage, session.worker.join(PATIENCE)

    assert run(story, rewards={"gate": gate.as_reward}) == (True, True)


def test_what_the_worker_still_finishes_after_a_reset_is_not_shown(
    run: Callable[..., Any], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = engine_module.take_snapshot

    def gated(*arguments: Any) -> Snapshot:
        gate.pass_through()
        return take(*arguments)

    monkeypatch.setattr(engine_module, "take_snapshot", gated)

    async def story(session: Session) -> list[Any]:
        await until(session, lambda: session.phase == "ready")
        session.step()
        await until(session, lambda: session.updates == 1 and session.mode == "paused")
        gate.shut()
        session.step()
        assert gate.reached.wait(PATIENCE)  # update 2 is all but recorded
        session.reset()
        gate.open()
        await settled(session)
        await settled(session)
        return [session.history.updates, session.updates, session.shown, session.progress]

    assert run(story) == [[], 0, None, None]


def test_a_stage_that_ends_after_a_reset_is_not_shown(run: Callable[..., Any], gate: Gate) -> None:
    async def story(session: Session) -> list[Any]:
        await until(session, lambda: session.phase == "ready")
        session.step_stage()
        await until(session, lambda: session.progress and session.mode == "paused")
        gate.shut()
        session.step_stage()
        assert gate.reached.wait(PATIENCE)  # it scores the responses that are on screen
        session.reset()
        gate.open()
        await settled(session)
        await settled(session)
        return [session.shown, session.progress]

    assert run(story, rewards={"gate": gate.as_reward}) == [None, None]


def test_slow_motion_does_not_make_anything_wait(run: Callable[..., Any]) -> None:
    async def story(session: Session) -> tuple[str, int]:
        session.set_slow(3600)
        session.train()
        await until(session, lambda: session.progress is not None and session.progress.finished == "sample")
        session.compare()  # a job runs although the next stage is an hour away
        await until(session, lambda: session.samples)
        session.set_slow(0)
        session.pause()
        return session.mode, session.updates

    assert run(story) == ("paused", 0)
