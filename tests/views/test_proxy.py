"""Which updates and answers the gauge compares, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.session.untouched import Sample
from explorer.views.proxy import answers_of_first, answers_of_sample, counting, judge_series, score_series

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeTrainer

MINE = {"kind": "expression", "expression": "0.1 * words"}
OTHER = {"kind": "expression", "expression": "0.2 * characters"}


@pytest.fixture(scope="module")
def configs(tiny_config: Config) -> list[Config]:
    """The judge changes with the third update, the recipe of "mine" with the second and the target length with it."""
    first = tiny_config.replace(judge="gendered", components={"mine": MINE})
    second = first.replace(components={"mine": OTHER}, length_target=3)
    return [first, second, second.replace(judge="short_words", components={}, weights=first.weights | {"mine": 0.0})]


@pytest.fixture(scope="module")
def snapshots(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], configs: list[Config]) -> list[Snapshot]:
    trainer = make_trainer()
    return [snapshot_of(trainer, config) for config in configs]


@pytest.fixture(params=["in memory", "recorded"])
def history(request: pytest.FixtureRequest, snapshots: list[Snapshot]) -> History:
    if request.param == "recorded":
        return History(recorded=Recording.in_memory(snapshots, info={}))
    found = History()
    for snapshot in snapshots:
        found.append(snapshot)
    return found


def paying(config: Config, **weights: float) -> Config:
    return config.replace(weights={**dict.fromkeys(config.weights, 0.0), **weights})


def means(snapshots: list[Snapshot], name: str) -> list[float]:
    return [s.metrics.get(f"component/{name}", float("nan")) for s in snapshots]


def test_a_score_is_that_of_the_weights_in_all_updates(history: History, snapshots: list[Snapshot]) -> None:
    config = paying(snapshots[2].config, sentiment=0.5, diversity=-2.0)
    expected = [
        0.5 * a - 2 * b for a, b in zip(means(snapshots, "sentiment"), means(snapshots, "diversity"), strict=True)
    ]
    assert score_series(history, config).tolist() == pytest.approx(expected)
    assert score_series(history, snapshots[1].config)[1] == pytest.approx(snapshots[1].metrics["objective/score"])


@pytest.mark.parametrize(("nth", "known"), [(0, [True, False, False]), (1, [False, True, False])])
def test_an_update_with_another_recipe_of_that_name_or_none_is_left_out(
    history: History, snapshots: list[Snapshot], nth: int, known: list[bool]
) -> None:
    found = score_series(history, paying(snapshots[nth].config, mine=1.0))
    assert np.isfinite(found).tolist() == known
    assert found[nth] == pytest.approx(means(snapshots, "mine")[nth])
    aside = paying(snapshots[nth].config, mine=1.0, sentiment=1.0).replace(set_aside=["mine"])
    assert score_series(history, aside).tolist() == pytest.approx(means(snapshots, "sentiment"))


def test_another_target_is_another_length(history: History, snapshots: list[Snapshot]) -> None:
    found = score_series(history, paying(snapshots[2].config, length=1.0))
    assert found.tolist() == pytest.approx([np.nan, *means(snapshots, "length")[1:]], nan_ok=True)
    copy = {"kind": "copy", "of": "length", "length_target": 5}
    assert counting(paying(snapshots[2].config.replace(components={"five": copy}), five=1.0)) == {"five": 1.0}


def test_only_the_updates_that_a_judge_has_judged_are_its_own(history: History, snapshots: list[Snapshot]) -> None:
    updates, values = judge_series(history, Config(judge="gendered"))
    assert updates.tolist() == [1, 2, 3]
    assert values[:2].tolist() == [s.metrics["objective/judge"] for s in snapshots[:2]] and np.isnan(values[2])
    history.append(snapshots[1])  # gone back to
    assert np.isnan(judge_series(history, Config(judge="short_words"))[1]).tolist() == [True, True]


def test_a_component_is_a_judge_of_updates_that_were_made_before_it_was_chosen(
    history: History, snapshots: list[Snapshot]
) -> None:
    _, values = judge_series(history, Config(judge="diversity"))
    assert values.tolist() == means(snapshots, "diversity")
    config = paying(snapshots[1].config, sentiment=1.0).replace(judge="mine")
    assert np.isfinite(judge_series(history, config)[1]).tolist() == [False, True, False]  # as that recipe has it


def test_the_untouched_are_scored_by_the_weights() -> None:
    components = {"sentiment": np.array([[1.0, 2.0]]), "diversity": np.array([[5.0, 7.0]])}
    sample = Sample(judge="gendered", components=components, judged=np.array([[0.0, 1.0]]))
    here = Config(judge="gendered")
    found = answers_of_sample(sample, paying(here, sentiment=2.0, diversity=-1.0), here)
    assert found is not None and found.scores.tolist() == [[-3.0, -3.0]] and found.judged.tolist() == [[0.0, 1.0]]
    assert answers_of_sample(sample, paying(here, length=1.0), here) is None  # not measured
    assert answers_of_sample(sample, here, here.replace(judge="good_text")) is None
    assert answers_of_sample(None, here, here) is None
    mine, other = (here.replace(components={"mine": recipe}) for recipe in (MINE, OTHER))
    measured: Any = Sample(judge="gendered", components={"mine": components["sentiment"]}, judged=sample.judged)
    assert answers_of_sample(measured, paying(mine, mine=1.0), mine) is not None
    assert answers_of_sample(measured, paying(other, mine=1.0), mine) is None  # the update on screen has another


def test_the_first_updates_groups_are_answers_of_the_untouched(history: History, snapshots: list[Snapshot]) -> None:
    first, parts = snapshots[0].config, snapshots[0].credit.reward_components
    found = answers_of_first(history, paying(first, diversity=2.0, mine=1.0), first)
    assert found is not None
    assert found.scores.ravel() == pytest.approx(2.0 * parts["diversity"] + parts["mine"], abs=1e-6)
    assert found.judged.tolist() == snapshots[0].credit.judge.reshape(4, 2).tolist()
    second = snapshots[1].config
    assert answers_of_first(history, paying(second, mine=1.0), first) is None  # another recipe
    assert answers_of_first(history, paying(first, sentiment=1.0), second.replace(judge="short_words")) is None
