"""Posting: what a thread posts runs on the loop's own thread, in order, and its errors are seen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from explorer.session.loop import Loop


def from_a_thread(work: Callable[[], None]) -> None:
    """Run ``work`` in another thread; does not wait for it."""
    threading.Thread(target=work).start()


def test_a_post_from_a_thread_lands_on_the_loops_thread() -> None:
    async def main() -> tuple[int, int]:
        loop, done = Loop(), asyncio.Event()
        seen: list[int] = []

        def note() -> None:
            seen.append(threading.get_ident())
            done.set()

        from_a_thread(lambda: loop.post(note))
        await asyncio.wait_for(done.wait(), 10)
        return seen[0], threading.get_ident()

    landed, home = asyncio.run(main())
    assert landed == home


def test_posts_keep_their_order_and_arguments() -> None:
    async def main() -> list[tuple[str, int]]:
        loop, done = Loop(), asyncio.Event()
        seen: list[tuple[str, int]] = []

        def work() -> None:
            for number in range(100):
                loop.post(lambda *args: seen.append(args), "post", number)  # type: ignore[arg-type]
            loop.post(done.set)

        from_a_thread(work)
        await asyncio.wait_for(done.wait(), 10)
        return seen

    assert asyncio.run(main()) == [("post", number) for number in range(100)]


def test_a_post_from_the_loop_itself_waits_its_turn() -> None:
    async def main() -> list[str]:
        loop, seen = Loop(), []
        loop.post(seen.append, "posted")
        seen.append("first")
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(main()) == ["first", "posted"]


def test_an_error_reaches_on_error_on_the_loop_and_later_posts_still_run() -> None:
    async def main() -> tuple[list[tuple[BaseException, int]], int]:
        done, errors = asyncio.Event(), []
        loop = Loop(on_error=lambda error: errors.append((error, threading.get_ident())))

        def fail() -> None:
            raise ZeroDivisionError("posted")

        def work() -> None:
            loop.post(fail)
            loop.post(done.set)

        from_a_thread(work)
        await asyncio.wait_for(done.wait(), 10)
        return errors, threading.get_ident()

    errors, home = asyncio.run(main())
    assert [(type(error), str(error), thread) for error, thread in errors] == [(ZeroDivisionError, "posted", home)]


def test_without_a_loop_everything_runs_at_once() -> None:
    errors: list[BaseException] = []
    loop, seen = Loop(on_error=errors.append), []
    loop.post(seen.append, 1)
    loop.later(3600, seen.append, 2)
    loop.post([].pop)
    assert seen == [1, 2]
    assert [type(error) for error in errors] == [IndexError]


def test_later_runs_on_the_loop_and_not_before_its_time() -> None:
    async def main() -> tuple[float, int, int]:
        loop, done, clock = Loop(), asyncio.Event(), asyncio.get_running_loop().time
        landed: list[tuple[float, int]] = []
        start = clock()

        def note() -> None:
            landed.append((clock() - start, threading.get_ident()))
            done.set()

        loop.later(0.02, note)
        await asyncio.wait_for(done.wait(), 10)
        return *landed[0], threading.get_ident()

    waited, landed, home = asyncio.run(main())
    assert waited >= 0.019
    assert landed == home


def test_an_error_later_reaches_on_error_too() -> None:
    async def main() -> BaseException:
        failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        Loop(on_error=failed.set_result).later(0, [].pop)
        return await asyncio.wait_for(failed, 10)

    assert isinstance(asyncio.run(main()), IndexError)


def test_a_post_after_the_loop_has_closed_is_let_go() -> None:
    async def main() -> Loop:
        return Loop()

    loop, seen = asyncio.run(main()), []
    loop.post(seen.append, 1)  # a worker may outlive the page that it drew on
    assert seen == []


def test_unless_told_otherwise_errors_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("nobody would see this")

    Loop().post(fail)
    printed = capsys.readouterr().err
    assert "ValueError: nobody would see this" in printed
    assert "in fail" in printed  # with its traceback
