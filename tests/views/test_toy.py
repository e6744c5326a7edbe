"""The exact toy's two pictures: the article's numbers by hand, and clouds that lie where they must."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from explorer.config import CHOICES, Config
from explorer.ppo.exact import Toy
from explorer.views.toy import BATCH_SIZES, Choices, article_toy, cloud_picture, drag_picture


def points_of(cloud: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.frombuffer(cloud["points"], dtype=np.float32).reshape(cloud["batches"], 2)


def cloud_of(*, config: Config | None = None, **choices: Any) -> dict[str, Any]:
    return cloud_picture(article_toy(), config or Config(), Choices(**choices))


def words_of(probability: float | None = None, **settings: Any) -> dict[str, dict[str, Any]]:
    return {word["word"]: word for word in drag_picture(article_toy(), Config(**settings), probability)["words"]}


# --- one probability, dragged ---


def test_the_articles_example_by_hand() -> None:
    found = drag_picture(article_toy(), Config())
    one, other = found["words"]
    assert (one["word"], other["word"]) == ("is", "was")
    assert [one["old"], one["new"], other["old"], other["new"]] == pytest.approx([0.6, 0.7, 0.4, 0.3])
    assert [one["ratio"], other["ratio"]] == pytest.approx([1.1667, 0.75], abs=5e-5)
    # "The" 0.6 times "cat" 0.5. A cat is worth 0.5, the present +1, the past -1: 1.5 and -0.5, and 0.7 on average.
    assert found["share"] == pytest.approx(0.3)
    assert [one["reward"], other["reward"]] == pytest.approx([1.5, -0.5])
    assert [one["advantage"], other["advantage"]] == pytest.approx([0.8, -1.2])
    # Cats 0.25; the verb 0.2 after "The cat" (0.6 - 0.4) and 0.2 elsewhere (0.6 - 0.4 too): 0.45. Then 0.4 after it.
    assert found["expected_reward"] == pytest.approx([0.45, 0.51])
    assert found["kl"] == pytest.approx(0.3 * (0.6 * math.log(0.6 / 0.7) + 0.4 * math.log(0.4 / 0.3)))


def test_what_the_page_says_moves_the_reward_is_all_that_moves_it() -> None:
    for probability in (0.05, 0.6, 0.93):
        found = drag_picture(article_toy(), Config(), probability)
        one, other = found["words"]
        moved = found["share"] * (one["new"] - one["old"]) * (one["reward"] - other["reward"])
        before, after = found["expected_reward"]
        assert after - before == pytest.approx(moved)


def test_dragged_back_nothing_has_changed() -> None:
    found = drag_picture(article_toy(), Config(), 0.6)
    assert [word["ratio"] for word in found["words"]] == pytest.approx([1.0, 1.0])
    assert found["kl"] == pytest.approx(0.0, abs=1e-12)
    assert found["expected_reward"][1] == pytest.approx(found["expected_reward"][0])


@pytest.mark.parametrize(
    ("probability", "held"),
    [
        (0.7, {"is": [False, False], "was": [False, True]}),  # 1.1667 inside, 0.75 below 0.8
        (0.75, {"is": [True, False], "was": [False, True]}),  # 1.25 above 1.2
        (0.6, {"is": [False, False], "was": [False, False]}),
        (0.3, {"is": [False, True], "was": [True, False]}),  # 0.5 and 1.75: the other way round
    ],
)
def test_who_is_held_back_by_the_clip(probability: float, held: dict[str, list[bool]]) -> None:
    assert {name: word["held"] for name, word in words_of(probability).items()} == held


def test_the_clip_is_the_pages_own() -> None:
    assert words_of(0.75, clip_range=0.3)["is"]["held"] == [False, False]
    assert words_of(0.75, objective="unclipped")["was"]["held"] == [False, False]
    assert words_of(0.75, objective="clip_higher", clip_range_high=0.28)["is"]["held"] == [False, False]
    assert drag_picture(article_toy(), Config(clip_range=0.3))["clip"] == pytest.approx([0.7, 1.3])


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_no_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="probability of 'is' is .*, but must be greater than 0 and less than 1"):
        drag_picture(article_toy(), Config(), probability)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"probability": "much"}, "the probability is 'much', but must be a number between 0 and 1"),
        ({"probability": True}, "the probability is 'True'"),
        ({"estimator": "guess"}, "estimator is 'guess', but must be one of gae, "),
        ({"batch_size": 5}, "batch_size is '5', but must be one of 4, 8, 16, 32"),
        ({"critic": "harsh"}, "critic is 'harsh', but must be one of perfect, none"),
    ],
)
def test_a_choice_that_there_is_not(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Choices(**choices)


# --- the cloud ---


def test_the_truth_lies_on_the_first_axis_and_nothing_moves_the_window() -> None:
    clouds = [cloud_of(estimator=name, batch_size=size) for name in CHOICES["estimator"] for size in BATCH_SIZES]
    for cloud in clouds:
        assert cloud["truth"] == clouds[0]["truth"]
        assert cloud["reach"] == clouds[0]["reach"]
    across, along = clouds[0]["truth"]
    assert across == pytest.approx(0.0, abs=1e-9) and along > 0
    assert len({cloud["points"] for cloud in clouds}) >= 4 * 8  # 4 sizes, and hardly two estimators that agree


def test_the_plainest_cloud_fills_its_window_and_leaves_it_seldom() -> None:
    cloud = cloud_of(estimator="total_return", batch_size=BATCH_SIZES[0])
    away = np.abs(points_of(cloud) - cloud["truth"]) / cloud["reach"]
    assert away.max(axis=0) == pytest.approx([0.8, 0.8], abs=0.2)


def test_the_numbers_are_those_of_the_dots() -> None:
    cloud = cloud_of(estimator="grpo")
    points = points_of(cloud).astype(np.float64)
    assert cloud["mean"] == pytest.approx(points.mean(axis=0), abs=1e-6)
    assert [b for b, _ in cloud["bias"]] == pytest.approx(points.mean(axis=0) - cloud["truth"], abs=1e-6)
    assert [d for d, _ in cloud["deviation"]] == pytest.approx(points.std(axis=0, ddof=1), rel=1e-5)
    assert cloud["wrong"] == np.mean(points[:, 1] < 0) > 0


def test_the_standard_errors_are_how_much_the_numbers_vary_from_draw_to_draw() -> None:
    toy, config, choices = article_toy(), Config(), Choices(estimator="rloo", batch_size=4)
    clouds = [cloud_picture(toy, config, choices, batches=200, seed=seed) for seed in range(120)]
    for name in ("bias", "deviation"):
        values, errors = np.moveaxis(np.array([cloud[name] for cloud in clouds]), 2, 0)
        # 120 draws tell a standard deviation to within 6.5 %.
        assert values.std(axis=0, ddof=1) / errors.mean(axis=0) == pytest.approx([1.0, 1.0], abs=0.2)


def test_unbiased_and_biased_ones_can_be_told_apart() -> None:
    def off(**choices: Any) -> float:
        value, error = cloud_of(**choices)["bias"][1]
        return float(value / error)

    for estimator in ("monte_carlo", "monte_carlo_value", "rloo", "remax"):
        assert abs(off(estimator=estimator)) < 4, estimator
    assert abs(off(estimator="one_step_td", critic="perfect")) < 4
    assert off(estimator="one_step_td", critic="none") < -8  # only the last word hears of the reward
    # In a group of four a response is a quarter of its own baseline, so a quarter of the gradient is lost.
    assert off(estimator="group_mean") < -8
    truth, cloud = cloud_of()["truth"][1], cloud_of(estimator="group_mean", batch_size=32)
    assert cloud["mean"][1] == pytest.approx(0.75 * truth, abs=4 * cloud["bias"][1][1])


def test_four_times_the_batch_halves_the_cloud() -> None:
    small, large = (cloud_of(estimator="monte_carlo", batch_size=size)["deviation"] for size in (8, 32))
    for (wide, one), (narrow, other) in zip(small, large, strict=True):
        assert wide / narrow == pytest.approx(2.0, abs=8 * (one / wide + other / narrow))


def test_gamma_and_lambda_are_the_pages() -> None:
    base = cloud_of(critic="none")["points"]
    assert cloud_of(critic="none", config=Config(gae_lambda=0.5))["points"] != base
    assert cloud_of(critic="none", config=Config(gamma=0.9))["points"] != base
    assert cloud_of(critic="none", config=Config(clip_range=0.4, batch_size=12, group_size=2))["points"] == base


def test_dragging_leaves_the_cloud() -> None:
    toy = article_toy()
    assert cloud_picture(toy.drag("is", 0.9), Config(), Choices()) == cloud_picture(toy, Config(), Choices())


def test_any_toy_can_be_drawn() -> None:
    toy = dataclasses.replace(Toy.random(7, 12), prefix="w0")
    found = drag_picture(toy, Config(), 0.5)
    assert len(found["words"]) == 12 and found["words"][0]["new"] == pytest.approx(0.5)
    before, after = found["expected_reward"]
    assert sum(word["new"] for word in found["words"]) == pytest.approx(1.0)
    assert sum(word["old"] * word["advantage"] for word in found["words"]) == pytest.approx(0.0, abs=1e-9)
    assert before != after
