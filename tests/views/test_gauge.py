"""Score and judge in one unit, and where they part."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.session.untouched import Sample
from explorer.views.gauge import (
    Parting,
    Reunion,
    Unit,
    axis,
    best_picture,
    counted,
    gauge_picture,
    parting,
    parting_edge,
    reach,
    reunion,
    smoothed,
    spread_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeTrainer

FIRST = np.arange(1, 21)


def floats(picture: dict[str, Any], name: str) -> list[float]:
    return np.frombuffer(picture[name], np.float32).tolist()


def test_a_mean_is_of_five_updates_and_of_fewer_at_the_beginning() -> None:
    assert smoothed(np.array([1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 0.0])).tolist() == pytest.approx([1, 2, 3, 4, 5, 7, 6.4])


def test_they_part_where_the_judge_is_best_once_it_has_fallen_and_the_score_has_not() -> None:
    # The judge is 1 up to update 8 and then 0: its mean of five is 1 from update 5 to 8, the first of which counts.
    judged = np.where(FIRST <= 8, 1.0, 0.0)
    found = parting(FIRST, FIRST / 10, judged)
    assert found is not None
    assert found.update == 5
    assert (found.lost, found.gained) == pytest.approx((1.0, 1.8 - 0.3))


@pytest.mark.parametrize(
    ("score", "judged"),
    [
        (FIRST / 10, np.where(FIRST <= 8, 0.49, 0.0)),  # less than half a spread
        (-FIRST / 10, np.where(FIRST <= 8, 1.0, 0.0)),  # the score falls with its judge
        (FIRST / 10, FIRST / 10),  # both rise
    ],
)
def test_else_they_have_not_parted(score: np.ndarray, judged: np.ndarray) -> None:
    assert parting(FIRST, score, judged) is None


def test_a_run_that_has_come_together_again_has_not_parted_and_had() -> None:
    """The judge is 1 up to update 8, falls to 0 and is back at 1 from update 21 on."""
    updates = np.arange(1, 41)
    judged = np.where((updates > 8) & (updates <= 20), 0.0, 1.0)
    assert parting(updates, updates / 10, judged) is None
    # Best at its first mean, of updates 1 to 5. With three of the last five at 1 the mean is within half a spread.
    assert reunion(updates, updates / 10, judged) == Reunion(5, 23)
    for some in (9, 10, 11, 15, 22, 23, 30):  # what was said on the way
        apart = parting(updates[:some], updates[:some] / 10, judged[:some]) is not None
        together = reunion(updates[:some], updates[:some] / 10, judged[:some]) is not None
        assert (apart, together) == (11 <= some <= 22, some >= 23), some
    assert reunion(updates, updates / 10, np.ones(40)) is None


def test_a_second_parting_is_the_one_that_is_told() -> None:
    updates = np.arange(1, 61)
    judged = np.select([updates <= 10, updates <= 20, updates <= 30, updates <= 40], [1.0, 0.0, 2.0, 0.0], 2.0)
    assert reunion(updates, updates / 10, judged) == Reunion(25, 44)
    assert reunion(updates[:30], updates[:30] / 10, judged[:30]) == Reunion(5, 22)


def test_a_short_run_says_nothing() -> None:
    judged = np.where(FIRST <= 2, 9.0, 0.0)
    assert parting(FIRST[:9], FIRST[:9] / 10, judged[:9]) is None
    assert parting(FIRST[:10], FIRST[:10] / 10, judged[:10]) is not None


def test_the_edge_is_where_they_would_part_half_a_spread_below_the_judges_best() -> None:
    kl = FIRST**2.0
    judged = np.where(FIRST <= 8, 1.0, 0.6)
    assert parting_edge(kl[:4], judged[:4]) is None
    assert parting_edge(kl, judged) == [25.0, 0.5]
    assert parting(FIRST, FIRST / 10, judged) is None  # it has not fallen so low
    low = np.where(FIRST <= 8, 1.0, 0.499)
    assert parting_edge(kl, low) == [25.0, 0.5] and parting(FIRST, FIRST / 10, low) is not None


def test_noise_alone_parts_them_hardly_ever() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"seed {seed}")
    drawn = np.random.default_rng(seed).normal(scale=32**-0.5, size=(500, 2, 40))  # means of 32 answers, in spreads
    updates = np.arange(1, 41)
    parted = [parting(updates, score, judged) is not None for score, judged in drawn]
    assert np.mean(parted) < 0.02
    parted_before = [reunion(updates, score, judged) is not None for score, judged in drawn]
    assert np.mean(parted_before) < 0.02


def test_numbers_are_counted_in_spreads_of_the_untouched_from_their_mean() -> None:
    unit = spread_of(np.array([[1.0, 3.0]]), np.array([[10.0, 10.0]]))
    assert unit == Unit((2.0, pytest.approx(2**0.5)), (10.0, 0.0), 2)
    assert counted(np.array([2.0, 4.0]), (2.0, 0.5)).tolist() == [0.0, 4.0]


def test_best_of_one_is_the_untouched_policy() -> None:
    rng = np.random.default_rng(0)
    scores, judged = rng.normal(3, 2, (4, 64)), rng.normal(-1, 5, (4, 64))
    rows = best_picture(scores, judged, spread_of(scores, judged))
    assert [row[0] for row in rows] == [1, 2, 4, 8, 16, 32]
    assert rows[0][1:] == pytest.approx([0, 0, 0], abs=1e-9)
    assert all(one[2] < other[2] and one[1] < other[1] for one, other in itertools.pairwise(rows))


def test_the_axes_grow_by_doubling() -> None:
    assert axis(np.array([-1.9, 2.0])) == [-2.0, 2.0]
    assert axis(np.array([-4.1, 2.1])) == [-8.0, 4.0]
    assert [reach(np.array([most])) for most in (0.1, 5.0, 5.1, 64.0)] == [5.0, 5.0, 10.0, 80.0]


@pytest.fixture(scope="module")
def snapshots(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config) -> list[Snapshot]:
    """Three updates: the judge changes after the second."""
    trainer = make_trainer()
    configs = [tiny_config.replace(judge=judge) for judge in ("gendered", "gendered", "short_words")]
    return [snapshot_of(trainer, config) for config in configs]


def page(snapshots: list[Snapshot], judge: str) -> Any:
    history = History()
    for snapshot in snapshots:
        history.append(snapshot)
    return SimpleNamespace(config=Config(judge=judge), history=history, recorded=snapshots[-1])


def test_the_first_update_is_the_untouched_policys(snapshots: list[Snapshot]) -> None:
    picture = gauge_picture(page(snapshots, "coherence"))
    assert (picture["why"], picture["total"], picture["part"], picture["edge"]) == ("", 3, None, None)
    # Its groups are of two responses to one prompt: best of one and of two.
    assert [row[0] for row in picture["best"]] == [1, 2]
    assert picture["best"][0][2:] == pytest.approx([0, 0], abs=1e-9)
    assert picture["best"][1][2] >= 0  # by score it is no worse than one
    assert np.frombuffer(picture["updates"], np.int32).tolist() == [1, 2, 3]
    assert picture["unit"]["answers"] == 8
    assert floats(picture, "score")[0] == pytest.approx(0, abs=1e-5)
    assert floats(picture, "judged")[0] == pytest.approx(0, abs=1e-5)


def test_a_run_whose_reward_changed_is_counted_by_the_reward_of_the_update_on_screen(snapshots: list[Snapshot]) -> None:
    """Up to update 10 one component is paid for, after that another; the scores as they were recorded make no line."""
    each = {"sentiment": np.linspace(-1, 1, 8), "diversity": np.linspace(0, 3, 8), "coherence": np.linspace(1, 0, 8)}
    credit = dataclasses.replace(snapshots[0].credit, reward_components=each)

    def made(update: int) -> Snapshot:
        paid = {"sentiment": 1.0} if update <= 10 else {"sentiment": 0.0, "diversity": 0.5}
        parts = {"sentiment": -0.1 * update, "diversity": 0.05 * update, "coherence": -0.2 * update}
        metrics = {f"component/{name}": value for name, value in parts.items()}
        score = sum(paid.get(name, 0.0) * value for name, value in parts.items())
        metrics |= {"objective/score": score, "objective/ref_kl": float(update)}
        config = Config(judge="coherence", weights=paid, batch_size=8, group_size=2)
        return dataclasses.replace(snapshots[0], update=update, config=config, metrics=metrics, credit=credit)

    run = [made(update) for update in range(1, 21)]
    session = page(run, "coherence")
    picture = gauge_picture(session)
    first = 0.5 * each["diversity"]
    expected = (0.025 * FIRST - np.mean(first)) / np.std(first, ddof=1)
    assert floats(picture, "score") == pytest.approx(expected.tolist(), rel=1e-4)
    assert picture["part"]["update"] == 5 and picture["part"]["gained"] > 0  # diversity rose while its judge fell
    session.recorded = run[9]
    picture = gauge_picture(session)
    first = each["sentiment"]
    expected = (-0.1 * FIRST - np.mean(first)) / np.std(first, ddof=1)
    assert floats(picture, "score") == pytest.approx(expected.tolist(), rel=1e-4)
    assert picture["part"] is None  # what was paid for first has fallen with the judge


def test_what_is_missing_is_said(snapshots: list[Snapshot]) -> None:
    assert gauge_picture(page(snapshots, "")) == {"judge": "", "why": "judge"}
    assert gauge_picture(page(snapshots, "has_dialogue")) == {"judge": "has_dialogue", "why": "values"}
    assert gauge_picture(page(snapshots, "short_words")) == {"judge": "short_words", "why": "unit"}


def test_a_judge_that_finds_all_answers_alike_has_no_unit(snapshots: list[Snapshot]) -> None:
    session = page(snapshots, "gendered")
    alike = np.ones((1, 4))
    components = {name: np.array([[1.0, 2.0, 3.0, 4.0]]) for name in ("sentiment",)}
    session.untouched = SimpleNamespace(sample=Sample(judge="gendered", components=components, judged=alike))
    assert gauge_picture(session) == {"judge": "gendered", "why": "flat"}


def test_a_sample_of_the_untouched_is_the_unit_where_there_is_one(snapshots: list[Snapshot]) -> None:
    session = page(snapshots, "gendered")
    components = {"sentiment": np.linspace(-1, 1, 64)[None]}
    session.untouched = SimpleNamespace(
        sample=Sample(judge="gendered", components=components, judged=np.tile([[0.0, 1.0]], 32))
    )
    picture = gauge_picture(session)
    mean, spread = 0.5, float(np.std([0.0, 1.0] * 32, ddof=1))
    expected = [(s.metrics["objective/judge"] - mean) / spread for s in snapshots[:2]]
    assert floats(picture, "judged") == pytest.approx(expected, abs=1e-5)
    assert picture["unit"]["answers"] == 64 and [row[0] for row in picture["best"]] == [1, 2, 4, 8, 16, 32]
    assert Parting(1, 2.0, 3.0)._asdict() == {"update": 1, "lost": 2.0, "gained": 3.0}  # as the browser reads it
