"""When a score has stopped rising: on noise drawn anew at every run, and where there is no noise at all."""

from __future__ import annotations

import random

import pytest

from explorer.session.stopping import has_stopped_rising


@pytest.fixture
def noise() -> random.Random:
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    return random.Random(seed)


def share_stopped(noise: random.Random, slope: float, spread: float = 0.05, runs: int = 400) -> float:
    series = ([0.3 + slope * t + noise.gauss(0, spread) for t in range(20)] for _ in range(runs))
    return sum(has_stopped_rising(scores) for scores in series) / runs


def test_a_flat_noisy_score_has_mostly_stopped(noise: random.Random) -> None:
    # A rise beyond one standard error comes by chance in about one run of six.
    assert 0.75 < share_stopped(noise, slope=0.0) < 0.93


def test_a_rising_noisy_score_has_not(noise: random.Random) -> None:
    # Half a point in 20 updates, as in the preset "learn".
    assert share_stopped(noise, slope=0.025) < 0.01


def test_a_falling_score_has_stopped(noise: random.Random) -> None:
    assert share_stopped(noise, slope=-0.025) > 0.99


def test_a_score_that_rises_without_noise_has_not_stopped() -> None:
    assert not has_stopped_rising([t / 100 for t in range(20)])


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_a_score_that_does_not_move_at_all_has_stopped(value: float) -> None:
    assert has_stopped_rising([value] * 20)


def test_only_the_last_two_windows_count() -> None:
    climbed, flat = [t / 40 for t in range(40)], [1.0 + 0.01 * (t % 2) for t in range(20)]
    assert not has_stopped_rising(climbed)
    assert has_stopped_rising(climbed + flat)
    assert not has_stopped_rising(flat + climbed)


@pytest.mark.parametrize("count", [0, 1, 10, 19])
def test_fewer_than_two_windows_are_never_enough(count: int) -> None:
    assert not has_stopped_rising([1.0 - t / 100 for t in range(count)])


def test_the_window_can_be_chosen() -> None:
    scores = [1.0, 1.01, 0.5, 0.49]
    assert has_stopped_rising(scores, window=2)
    assert not has_stopped_rising(scores, window=3)
