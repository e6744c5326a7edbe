"""What so many labels teach: held-out accuracy of a reward model by rule and number of pairs, measured.

For every seed two pools of responses are drawn from the reference. The simulated annotator labels pairs of the first,
the model is fitted to the first so many that it could decide, and is judged by fresh pairs of the second, labelled
without a slip. So no text that it is judged by stands in a label that it was fitted to.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.choosing import choose_pairs
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.features import Block
from explorer.ppo.preferences.pool import Pool, asked_pairs, draw_pool, show
from explorer.ppo.preferences.reward_model import RewardModel, fit_reward_model
from explorer.ppo.preferences.rules import RULES
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.preferences.tuned_trunk import tune

#: Numbers of pairs of an untouched table.
PAIRS = (20, 50, 100, 200)

#: Batches of responses in each pool: of the usual 32, 1024 responses.
BATCHES = 32

#: Fresh pairs that a model is judged by; a share of 0.8 of them is known to 0.016 (standard error).
FRESH = 600

#: Informative pairs are chosen so many at a time, each time by a model of all before.
ROUND = 20

#: The test pool's seed is the other one's with this added.
_OTHER = 1_000_003


class Cell(NamedTuple):
    """One model judged."""

    rule: str
    seed: int
    pairs: int
    accuracy: float  # on fresh pairs, of a head on the frozen trunk
    folds: float  # held-out accuracy by folds, as it is known without fresh pairs
    train: float
    penalty: float
    tuned: float | None = None  # on the same fresh pairs, with a trunk tuned to the same labels; None where it was not


def measure(
    reference: Policy,
    *,
    rules: Sequence[str] = tuple(RULES),
    pairs: Sequence[int] = PAIRS,
    seeds: Sequence[int] = tuple(range(5)),
    noise: float = 0.0,
    noticeable: float = 0.0,
    way: str = "random",
    tuned: bool = False,
    blocks: Sequence[Block] | None = None,
    prompts: str | Sequence[str] = "stories",
    config: Config | None = None,
) -> Iterator[Cell]:
    """Fit and judge a model for every seed, rule and number of pairs, and yield each as it is done.

    Args:
        reference: the frozen policy whose responses are compared and whose hidden states are read.
        rules: names of ``RULES``.
        pairs: numbers of decided pairs.
        seeds: of the responses, the pairs, the slips, the folds and the ensemble.
        noise: probability that the annotator slips; the fresh pairs are labelled without.
        noticeable: the least difference that the annotator sees, in standard deviations of what its rule gives the
            responses; smaller ones are ties, in the labels and among the fresh pairs. Ties are asked over.
        way: how pairs are chosen, one of ``explorer.ppo.preferences.choosing.WAYS``. Other than at random they are
            chosen 20 at a time, after 20 at random.
        tuned: whether the trunk is tuned to the labels as well.
        blocks: what the head reads; None is the usual.
        prompts: texts, or the name of a bundled set.
        config: batch_size, response_length and temperature are read; None is the default.

    Raises:
        PreferenceError: a rule, way or number cannot be.
    """
    if not pairs or min(pairs) < 1:
        raise PreferenceError("Give at least one number of pairs, from 1.")
    for seed in seeds:
        drawing = config or Config()
        pool, others = (draw_pool(reference, prompts, drawing.replace(seed=s), BATCHES) for s in (seed, seed + _OTHER))
        features = Features(reference, pool, blocks)
        for rule in rules:
            margin = noticeable * _spread(rule, pool)
            annotator = SimulatedAnnotator(rule=rule, noise=noise, tie_margin=margin, seed=seed)
            fresh = SimulatedAnnotator(rule=rule, tie_margin=margin).label(asked_pairs(others, seed), decided=FRESH)
            labels = _labels(features, pool, annotator, max(pairs), way, seed)
            for count in sorted(pairs):
                model = fit_reward_model(features, labels[:count], members=0, seed=seed)
                own = tune(model, pool, labels[:count], seed=seed).model.evaluate(fresh).accuracy if tuned else None
                yield Cell(rule, seed, count, model.evaluate(fresh).accuracy, *_own(model), own)


def _spread(rule: str, pool: Pool) -> float:
    """Standard deviation of what a rule gives a pool's responses."""
    annotator = SimulatedAnnotator(rule=rule)
    return statistics.pstdev(annotator.value(text) for text in pool.texts)


def _own(model: RewardModel) -> tuple[float, float, float]:
    return model.held_out.accuracy, model.train.accuracy, model.penalty


def _labels(
    features: Features, pool: Pool, annotator: SimulatedAnnotator, count: int, way: str, seed: int
) -> list[Comparison]:
    """The first so many comparisons that the annotator decides."""
    if way == "random":
        return [c for c in annotator.label(asked_pairs(pool, seed), decided=count) if c.decided]
    labels: list[Comparison] = []
    asked = 0
    while sum(c.decided for c in labels) < count:
        decided = [c for c in labels if c.decided]
        model = fit_reward_model(features, labels, seed=seed) if len(decided) >= ROUND else None
        done = [frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in labels]
        chosen = choose_pairs(pool, ROUND, way=way, model=model, seed=seed + 7919 * (asked + 1), done=done)
        if not chosen:
            raise PreferenceError(f"Only {len(decided)} of {count} pairs could be decided: draw more responses.")
        labels += annotator.label((show(pool, pair.rows) for pair in chosen), first=asked)
        asked += len(chosen)
    return [c for c in labels if c.decided][:count]


def means(cells: Sequence[Cell], *, tuned: bool = False) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Mean, lowest and highest accuracy over the seeds, by rule and number of pairs: of the frozen or tuned trunk."""
    found: dict[str, dict[int, list[float]]] = {}
    for cell in cells:
        accuracy = cell.tuned if tuned else cell.accuracy
        if accuracy is not None:
            found.setdefault(cell.rule, {}).setdefault(cell.pairs, []).append(accuracy)
    return {
        rule: {pairs: (sum(got) / len(got), min(got), max(got)) for pairs, got in sorted(by_pairs.items())}
        for rule, by_pairs in found.items()
    }


def rows(cells: Sequence[Cell]) -> list[list[Any]]:
    """The means as plain rows ``[rule, pairs, mean, lowest, highest]``, and the same three of a tuned trunk if any."""
    found, tuned = means(cells), means(cells, tuned=True)
    return [
        [rule, pairs, *map(float, three), *map(float, tuned.get(rule, {}).get(pairs, ()))]
        for rule, by_pairs in found.items()
        for pairs, three in by_pairs.items()
    ]


def table(cells: Sequence[Cell]) -> str:
    """The means as a Markdown table, the lowest and the highest seed in brackets; a tuned trunk has its own row."""
    found, tuned = means(cells), means(cells, tuned=True)
    numbers = sorted({cell.pairs for cell in cells})
    lines = ["| pairs | " + " | ".join(map(str, numbers)) + " |", "|---" * (len(numbers) + 1) + "|"]
    for rule in found:
        for name, by_pairs in ((rule, found[rule]), (f"{rule}, tuned", tuned.get(rule, {}))):
            entries = ["{:.2f} ({:.2f}–{:.2f})".format(*by_pairs[n]) if n in by_pairs else "" for n in numbers]
            lines += [f"| {name.replace('_', ' ')} | " + " | ".join(entries) + " |"] if by_pairs else []
    return "\n".join(lines)
