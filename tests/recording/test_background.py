"""The thread that writes: in order, not far behind, and its errors reach who can act on them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from explorer.config import Config
from explorer.recording.background import BackgroundWriter
from explorer.recording.folder import RecordingError


class Slow:
    """Stands in for a RunWriter: writes one thing each time it is let, and fails where told."""

    def __init__(self, fail_at: Any = None) -> None:
        self.done: list[Any] = []
        self.fail_at = fail_at
        self.gate = threading.Semaphore(0)
        self.thread: threading.Thread | None = None
        self.released = False

    def _write(self, what: Any) -> None:
        self.gate.acquire()
        self.thread = threading.current_thread()
        if what == self.fail_at:
            raise RecordingError(f"no room for {what}")
        self.done.append(what)

    append = _write

    def append_metrics(self, update: int, *more: Any) -> None:
        self._write(("metrics", update))

    def checkpoint(self, state: Any, passing: bool = False) -> None:
        self._write(("passing", state) if passing else state)

    def close(self) -> None:
        self._write("closed")

    def release(self) -> None:
        self.released = True

    def let(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


def background(slow: Slow) -> BackgroundWriter:
    return BackgroundWriter(slow)  # type: ignore[arg-type]


def test_it_writes_in_order_in_another_thread() -> None:
    slow = Slow()
    slow.let(99)
    with background(slow) as writer:
        for number in range(1, 6):
            writer.append(number)  # type: ignore[arg-type]
            writer.checkpoint(f"state {number}")  # type: ignore[arg-type]
    assert slow.done == [x for n in range(1, 6) for x in (n, f"state {n}")] + ["closed"]
    assert slow.thread is not threading.current_thread()
    assert not writer.failed


def test_an_update_and_a_state_wait_without_holding_anybody_up() -> None:
    slow = Slow()
    writer = background(slow)
    writer.append(1)  # type: ignore[arg-type]
    writer.checkpoint("state 1")  # type: ignore[arg-type]
    assert slow.done == []
    slow.let(3)
    writer.close()
    assert slow.done == [1, "state 1", "closed"]


def test_the_next_update_waits_until_the_one_before_is_safe() -> None:
    slow = Slow()
    writer = background(slow)
    writer.append(1)  # type: ignore[arg-type]
    returned = threading.Event()
    seen: list[Any] = []

    def second() -> None:
        writer.append(2)  # type: ignore[arg-type]
        seen.extend(slow.done)
        returned.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not returned.wait(0.05)
    slow.let(1)
    assert returned.wait(10)
    assert seen == [1]
    thread.join()
    slow.let(9)
    writer.close()
    assert slow.done == [1, 2, "closed"]


@pytest.mark.parametrize("call", ["append", "checkpoint", "settle", "close"])
def test_an_error_is_raised_once_at_the_next_call_and_nothing_is_written_after_it(call: str) -> None:
    slow = Slow(fail_at=1)
    slow.let(99)
    writer = background(slow)
    writer.append(1)  # type: ignore[arg-type]

    def go_on() -> None:
        for number in (2, 3):  # the failure may come while the first of them is handed over
            getattr(writer, call)(*([number] if call in ("append", "checkpoint") else []))
            writer.settle()

    with pytest.raises(RecordingError, match="no room for 1"):
        go_on()
    assert writer.failed
    assert slow.released
    writer.close()
    assert slow.done == []


def test_leaving_the_block_waits_and_raises() -> None:
    slow = Slow(fail_at="closed")
    slow.let(99)
    with pytest.raises(RecordingError, match="no room for closed"), background(slow) as writer:
        writer.append(1)  # type: ignore[arg-type]
    assert slow.done == [1]
    writer.close()  # again does nothing
    with pytest.raises(RuntimeError, match="closed"):
        writer.append(2)  # type: ignore[arg-type]


def test_metrics_alone_and_passing_states_are_passed_on_in_order(tiny_config: Config) -> None:
    slow = Slow()
    slow.let(99)
    with background(slow) as writer:
        writer.append_metrics(1, tiny_config, {})
        writer.checkpoint("state 1", passing=True)  # type: ignore[arg-type]
        writer.append(2)  # type: ignore[arg-type]
    assert slow.done == [("metrics", 1), ("passing", "state 1"), 2, "closed"]


def test_settling_waits_for_all() -> None:
    slow = Slow()
    writer = background(slow)
    writer.append(1)  # type: ignore[arg-type]
    threading.Timer(0.02, slow.let, [9]).start()
    writer.settle()
    assert slow.done == [1]
    writer.close()
