"""What each preset is there to show, on the policy that ships, over a whole run: minutes each.

Every seed is drawn at test time and printed. What is asked for is what README.md says of the presets; it lies well
within what was seen when this was written (in brackets), so that a run that fails has something to say.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from explorer.config import Config
from explorer.ppo.loading import load_policy
from explorer.ppo.trainer import Trainer
from explorer.presets import CLAIMS, PARTINGS, PRESETS, TOGETHER
from explorer.views.gauge import counted, parting, spread_of

if TYPE_CHECKING:
    from explorer.ppo.records import Update
    from tests.conftest import RunUpdate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


class Run(NamedTuple):
    """One preset trained."""

    untouched: Mapping[str, float]  # mean of each component over 256 responses of the policy that ships
    updates: list[Mapping[str, float]]  # the metrics of every update

    def mean(self, metric: str, first: int, last: int) -> float:
        """Mean of a metric over some updates, both ends included."""
        return fmean(metrics[metric] for metrics in self.updates[first - 1 : last])


def drawn_seed() -> int:
    return random.SystemRandom().randrange(2**31)


def train(name: str, seed: int, updates: int, run_update: RunUpdate) -> Run:
    trainer = Trainer(load_policy(), PRESETS[name].replace(seed=seed))
    untouched = responses_of_the_untouched(trainer, trainer.config)
    found = Run(untouched, [run_update(trainer).metrics for _ in range(updates)])
    shown = (
        "objective/score",
        "objective/ref_kl",
        "policy/outside_range_final",
        *(f"component/{c}" for c in untouched),
    )
    print(f"\n{name}, seed {seed}:")
    for metric in shown:
        start, end = found.mean(metric, 1, 5), found.mean(metric, updates - 4, updates)
        before = untouched.get(metric.removeprefix("component/"))
        print(f"  {metric:28} untouched {before if before is None else round(before, 3)}  {start:.3f} -> {end:.3f}")
    return found


def responses_of_the_untouched(trainer: Trainer, config: Config) -> dict[str, float]:
    """Mean of every component over 8 batches of 32 responses to the same prompts, before any training."""
    assert trainer.updates == 0
    batches = [trainer.reward_model.score(config, *trainer.sample(config, number)) for number in range(1001, 1009)]
    return {name: fmean(batch[name].mean().item() for batch in batches) for name in batches[0]}


def test_learn_raises_the_score_for_at_least_nine_seeds_of_ten(run_update: RunUpdate) -> None:
    seeds = [drawn_seed() for _ in range(10)]
    rises, scores, kls = {}, [], []
    for seed in seeds:
        run = train("learn", seed, 40, run_update)
        # The default weights sentiment with 1 and nothing else: the untouched score is the untouched sentiment.
        rises[seed] = run.mean("objective/score", 36, 40) - run.untouched["sentiment"]
        scores.append(run.mean("objective/score", 36, 40))
        kls.append(run.mean("objective/ref_kl", 36, 40))
    print({seed: round(rise, 3) for seed, rise in rises.items()})
    assert sum(rise >= 0.3 for rise in rises.values()) >= 9  # [ten of ten, 0.40 to 0.46]
    assert 0.72 < fmean(scores) < 0.82  # [0.75 to 0.79 a seed]
    assert 2.5 < fmean(kls) < 4  # nats a response [2.9 to 3.4 a seed]


def test_hack_the_reward_reaches_the_score_and_loses_the_language(run_update: RunUpdate) -> None:
    # How far it goes differs much from seed to seed: hence three of them.
    runs = [train("hack_the_reward", drawn_seed(), 40, run_update) for _ in range(3)]
    assert all(run.mean("objective/score", 36, 40) > 0.95 for run in runs)  # [0.970 to 0.984]
    assert fmean(run.mean("component/coherence", 36, 40) for run in runs) < 0  # [-0.12 to -0.80 a seed]
    assert fmean(run.updates[-1]["objective/ref_kl"] for run in runs) > 45  # nats a response [53 to 96 a seed]


def test_balanced_raises_the_sentiment_and_keeps_the_rest(run_update: RunUpdate) -> None:
    runs = [train("balanced", drawn_seed(), 40, run_update) for _ in range(3)]

    def gained(component: str) -> list[float]:
        return [run.mean(f"component/{component}", 36, 40) - run.untouched[component] for run in runs]

    assert min(gained("sentiment")) > 0.2  # [+0.28 to +0.37 a seed]
    assert min(gained("coherence")) > -0.12 and fmean(gained("coherence")) > -0.08  # [-0.08 to 0.00]
    assert min(gained("diversity")) > 0 and fmean(gained("diversity")) > 0.07  # [+0.07 to +0.19]
    gaps = [run.mean("component/unbiasedness", 36, 40) / run.untouched["unbiasedness"] for run in runs]
    assert max(gaps) < 0.8 and fmean(gaps) < 0.75  # it shrinks by 26 to 41 %


@pytest.mark.parametrize("name", CLAIMS)
def test_what_a_preset_claims_holds_for_at_least_nine_seeds_of_ten(name: str, run_update: RunUpdate) -> None:
    claims, by, after, held, seconds = CLAIMS[name], PARTINGS.get(name), TOGETHER.get(name), [], []
    last = max(*(claim.last for claim in claims), by or 0, after or 0)
    for seed in [drawn_seed() for _ in range(10)]:
        trainer = Trainer(load_policy(), PRESETS[name].replace(seed=seed))
        first = run_update(trainer)
        updates = [first.metrics, *(run_update(trainer).metrics for _ in range(last - 1))]
        seconds.append(median(metrics["throughput/seconds"] for metrics in updates))
        series = {claim: [metrics[claim.metric] for metrics in updates] for claim in claims}
        parted = seen_parted(first, updates)
        seen = next((update for update, apart in enumerate(parted, 1) if apart), None)
        held.append([claim.holds(values) for claim, values in series.items()])
        if by is not None:
            held[-1].append(seen is not None and seen <= by)
        if after is not None:
            held[-1].append(not any(parted[after - 1 :]))
        means = {
            claim.metric: round(fmean(values[claim.first - 1 : claim.last]), 3) for claim, values in series.items()
        }
        print(
            f"{name}, seed {seed}: {means}, parted after {[n for n, p in enumerate(parted, 1) if p]}: {held[-1]}",
            flush=True,
        )
    told = [*claims, *([f"parted by update {by}"] if by else []), *([f"together after {after}"] if after else [])]
    for claim, each in zip(told, zip(*held, strict=True), strict=True):
        print(f"{name}: {claim}: {sum(each)} of 10")
    in_a_minute = int(60 / median(seconds))
    print(f"{name}: all of it holds for {sum(map(all, held))} of 10; {in_a_minute} updates fit into 60 s here")
    assert sum(map(all, held)) >= 9
    assert by is None or by <= in_a_minute


def seen_parted(first: Update, updates: Sequence[Mapping[str, float]]) -> list[bool]:
    """After each update, whether the gauge says that score and judge have parted."""
    unit = spread_of(np.asarray(first.credit.scores), np.asarray(first.credit.judge))
    score = counted(np.array([metrics["objective/score"] for metrics in updates]), unit.score)
    judged = counted(np.array([metrics["objective/judge"] for metrics in updates]), unit.judge)
    numbers = np.arange(1, len(updates) + 1)
    return [parting(numbers[:n], score[:n], judged[:n]) is not None for n in range(1, len(updates) + 1)]


def test_see_the_clip_leaves_one_token_in_five_outside(run_update: RunUpdate) -> None:
    for _ in range(3):
        run = train("see_the_clip", drawn_seed(), 24, run_update)
        outside = run.mean("policy/outside_range_final", 1, 24)  # after the fourth epoch [0.185 to 0.20]
        print(f"outside 1 ± ε after the last epoch: {outside:.3f}")
        assert 0.15 < outside < 0.25
        assert run.mean("policy/clipfrac_final", 1, 24) > 0.1  # and most of them get no gradient [0.17 to 0.18]
