"""Draw as often as asked, but at most a few times a second, and never miss the last time."""

from __future__ import annotations

from collections.abc import Callable

from explorer.session.loop import Loop


class Throttle:
    """Calls ``draw`` on the loop soon after ``request``, at most ``per_second`` times a second."""

    def __init__(self, loop: Loop, draw: Callable[[], None], per_second: float = 5.0) -> None:
        self._loop, self._draw, self._gap = loop, draw, 1.0 / per_second
        self._resting = self._asked_again = False

    def request(self) -> None:
        """Draw soon. Call it on the loop."""
        if self._resting:
            self._asked_again = True
            return
        self._resting = True
        self._loop.later(0.0, self._go)

    def _go(self) -> None:
        self._asked_again = False  # what was asked until now is in this draw
        try:
            self._draw()
        finally:
            self._loop.later(self._gap, self._rested)

    def _rested(self) -> None:
        self._resting = False
        if self._asked_again:
            self._asked_again = False
            self.request()
