"""Random numbers that belong to (seed, update, purpose) and to nothing else; no torch is imported here."""

from __future__ import annotations

import numpy as np

# What the streams of random numbers are for: the last part of their seed.
ROLLOUT, MINIBATCHES, PROMPTS, COMPARISON, TRIAL, DROPOUT, LABELLING, BEST_OF_N = range(8)

Rows = np.ndarray[tuple[int], np.dtype[np.int64]]


def stream(*parts: int) -> int:
    """The seed, of 63 bits, of an independent generator for ``parts``, such as (seed, update, purpose, epoch)."""
    state = int(np.random.SeedSequence(list(parts)).generate_state(1, np.uint64)[0])
    return state >> 1  # torch takes 63 bits on every platform


def minibatches(seed: int, update: int, epoch: int, *, rows: int, count: int) -> tuple[Rows, ...]:
    """Which rows make each step of an epoch: a fresh order in every epoch, cut into ``count`` parts, or one a row.

    From (seed, update, epoch) alone, so that whoever looks at a recorded epoch can tell which tokens shared a step.

    Args:
        seed: ``Config.seed``.
        update: its number.
        epoch: 1 for the first.
        rows: of the whole batch, replayed ones included.
        count: ``Config.minibatches``.

    Returns:
        int64 row numbers; the parts differ by one row at most.

    Source:
        The order is ``torch.randperm``'s, worked out here so that a recording needs no torch to be read: Fisher and
        Yates' shuffle by the remainders of the Mersenne Twister's numbers of 32 bits.
    """
    order = np.arange(rows)
    twister = np.random.RandomState(stream(seed, update, MINIBATCHES, epoch) % 2**32)
    for place, drawn in enumerate(twister.randint(0, 2**32, size=max(rows - 1, 0), dtype=np.uint32).tolist()):
        other = place + drawn % (rows - place)
        order[[place, other]] = order[[other, place]]
    return tuple(np.array_split(order, min(count, rows)))
