"""Which pair to ask about next: any, the one that the ensemble disagrees about, or the one that is closest."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.pool import Pool, random_pairs
from explorer.ppo.preferences.reward_model import RewardModel

#: Ways to choose. ``disagreement`` and ``closest`` need a model, and are ``random`` as long as there is none.
WAYS = ("random", "disagreement", "closest")

#: Pairs drawn at random of which the most telling ones are asked about.
CANDIDATES = 400


class ChosenPair(NamedTuple):
    """A pair to be labelled, and why it was chosen."""

    rows: tuple[int, int]  # in the pool, in the order in which to show them
    way: str  # how it was chosen in fact: "random" where there was no model yet
    value: float  # disagreement: spread of P(a beats b) over the members; closest: abs(P − ½); random: NaN


def choose_pairs(
    pool: Pool,
    count: int,
    *,
    way: str = "random",
    model: RewardModel | None = None,
    seed: int = 0,
    done: Iterable[frozenset[tuple[str, str]]] = (),
) -> list[ChosenPair]:
    """Choose pairs to ask about.

    An informative choice takes every text at most once, since the pairs that a model finds hardest are often one text
    with many others; once all candidates are used up, texts come again.

    Args:
        pool: the responses to choose from.
        count: how many pairs.
        way: ``random``; ``disagreement``, where the members' probabilities are furthest apart (query by committee,
            Seung et al. 1992); ``closest``, where the model finds both equally good (uncertainty sampling, Lewis and
            Gale 1994): pairs that are truly equal are among those, and no label settles them.
        model: the present model; with ``disagreement`` it needs an ensemble.
        seed: of the candidates and of which is shown first; another number for each call.
        done: pairs that were labelled already, each as its two (prompt, text): they are not asked again.

    Returns:
        As many pairs, most telling first; fewer where the pool has no more.

    Raises:
        PreferenceError: there is no such way, or the pool has nothing to compare.
    """
    if way not in WAYS:
        raise PreferenceError(f"way is '{way}', but must be one of {', '.join(WAYS)}.")
    if way == "disagreement" and model is not None and not len(model.members):
        raise PreferenceError(
            "This reward model has no ensemble to disagree: fit it with members, or choose another way."
        )
    in_fact = way if model is not None else "random"
    wanted = count if in_fact == "random" else max(count, CANDIDATES)
    candidates = _new_pairs(pool, wanted, seed, set(done))
    if in_fact == "random" or model is None or not candidates:
        return [ChosenPair(rows, "random", float("nan")) for rows in candidates]
    values = _telling(pool, candidates, in_fact, model)
    order = (values.argsort(descending=True) if in_fact == "disagreement" else values.argsort()).tolist()
    ranked = [ChosenPair(candidates[n], in_fact, float(values[n])) for n in order]
    return _each_text_once(pool, ranked)[:count]


def _new_pairs(pool: Pool, count: int, seed: int, done: set[frozenset[tuple[str, str]]]) -> list[tuple[int, int]]:
    found: dict[frozenset[tuple[str, str]], tuple[int, int]] = {}
    for rows in islice(random_pairs(pool, seed), 20 * count + 200):
        if len(found) >= count:
            break
        pair = frozenset((pool.prompts[row], pool.texts[row]) for row in rows)
        if pair not in done:
            found.setdefault(pair, rows)
    return list(found.values())


def _telling(pool: Pool, candidates: list[tuple[int, int]], way: str, model: RewardModel) -> Tensor:
    rows = model.features.rows_of(zip(pool.prompts, pool.texts, strict=True))
    a, b = (torch.tensor([pair[side] for pair in candidates], dtype=torch.long) for side in (0, 1))
    heads = model.members.T if way == "disagreement" else model.head[:, None]
    rewards = rows @ heads
    probabilities = (rewards[a] - rewards[b]).sigmoid()
    return probabilities.std(1) if way == "disagreement" else (probabilities[:, 0] - 0.5).abs()


def _each_text_once(pool: Pool, ranked: list[ChosenPair]) -> list[ChosenPair]:
    """The pairs in their order, but first those of which neither text stands in an earlier one."""
    first: list[ChosenPair] = []
    later: list[ChosenPair] = []
    seen: set[tuple[str, str]] = set()
    for pair in ranked:
        texts = {(pool.prompts[row], pool.texts[row]) for row in pair.rows}
        if seen & texts:
            later.append(pair)
        else:
            seen |= texts
            first.append(pair)
    return first + later
