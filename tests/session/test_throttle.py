"""Draws are few and the last one is never missed; a loop whose clock the test moves stands for time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.session.loop import Loop
from explorer.session.throttle import Throttle


class Clock(Loop):
    """A loop that runs what is due when it is told that time has passed."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._numbers = count()

    def later(self, seconds: float, fn: Callable[..., Any], *args: Any) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), fn, args))

    def pass_to(self, time: float) -> None:
        while self._due and self._due[0][0] <= time:
            self.now, _, fn, args = heapq.heappop(self._due)
            fn(*args)
        self.now = time


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60).map(sorted))
def test_draws_are_far_enough_apart_and_none_is_missed(requests: list[float]) -> None:
    clock, draws = Clock(), []
    throttle = Throttle(clock, lambda: draws.append(clock.now), per_second=4.0)
    for time in requests:
        clock.pass_to(time)
        throttle.request()
    clock.pass_to(100.0)
    assert all(later - earlier >= 0.25 - 1e-9 for earlier, later in pairwise(draws))
    assert draws[0] == requests[0]  # the first at once
    assert draws[-1] >= requests[-1]  # and one after the last request
    assert draws[-1] - requests[-1] <= 0.25 + 1e-9
    assert len(draws) <= len(requests)


def test_many_requests_at_once_are_one_draw() -> None:
    clock, draws = Clock(), []
    throttle = Throttle(clock, lambda: draws.append(clock.now), per_second=5.0)
    for _ in range(100):
        throttle.request()
    clock.pass_to(100.0)
    assert draws == [0.0]


def test_requests_while_resting_are_one_more_draw() -> None:
    clock, draws = Clock(), []
    throttle = Throttle(clock, lambda: draws.append(clock.now), per_second=5.0)
    throttle.request()
    clock.pass_to(0.01)
    for _ in range(100):
        throttle.request()
    clock.pass_to(100.0)
    assert draws == [0.0, pytest.approx(0.2)]


def test_a_request_from_within_a_draw_is_not_lost() -> None:
    clock, draws = Clock(), []

    def draw() -> None:
        draws.append(clock.now)
        if len(draws) == 1:
            throttle.request()

    throttle = Throttle(clock, draw, per_second=5.0)
    throttle.request()
    clock.pass_to(100.0)
    assert draws == [0.0, pytest.approx(0.2)]


def test_a_draw_that_fails_does_not_end_drawing() -> None:
    clock, draws = Clock(), []

    def draw() -> None:
        draws.append(clock.now)
        if len(draws) == 1:
            raise ValueError("this once")

    throttle = Throttle(clock, draw)
    throttle.request()
    with pytest.raises(ValueError, match="this once"):
        clock.pass_to(0.0)
    clock.pass_to(10.0)
    throttle.request()
    clock.pass_to(20.0)
    assert len(draws) == 2


def test_without_a_loop_every_request_is_drawn_at_once() -> None:
    draws: list[int] = []
    throttle = Throttle(Loop(), lambda: draws.append(len(draws)))
    for _ in range(3):
        throttle.request()
    assert draws == [0, 1, 2]
