"""``post``: the one way from a worker thread to the kernel's event loop, which owns every trait.

A worker that assigns to a widget's trait is unsafe: traitlets swaps its notification while it holds them back, and the
last value can be lost. So workers only post.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any


class Loop:
    """The event loop on which it was made, or none in a plain script.

    Args:
        on_error: called on the loop with the exception of a posted callback, which no cell would ever show.
    """

    def __init__(self, on_error: Callable[[BaseException], None] | None = None) -> None:
        self.on_error = on_error or _print
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def post(self, fn: Callable[..., Any], *args: Any) -> None:
        """Run ``fn(*args)`` on the loop soon, from any thread; at once where there is no loop."""
        if self._loop is None:
            self._guarded(fn, *args)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._guarded, fn, *args)

    def later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> None:
        """Run ``fn(*args)`` on the loop after a while; at once where there is no loop. Call it on the loop."""
        if self._loop is None:
            self._guarded(fn, *args)
        else:
            self._loop.call_later(seconds, self._guarded, fn, *args)

    def _guarded(self, fn: Callable[..., Any], *args: Any) -> None:
        try:
            fn(*args)
        except Exception as error:  # a posted callback has no cell to show its error in
            self.on_error(error)


def _print(error: BaseException) -> None:
    traceback.print_exception(error)
