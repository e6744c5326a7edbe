"""Best-of-n: the best of n answers of the untouched policy, the plainest way to optimise a score, beside PPO.

No torch is imported here: the page draws it from what has been measured of a sample of the reference.
"""

from __future__ import annotations

import math

import numpy as np

from explorer.ppo.records import Array


def best_of_n(scores: Array, values: Array, n: int) -> tuple[float, float]:
    """What the best of ``n`` answers by score is worth, on average over prompts and over which n are drawn.

    Exact for the sample: the mean over every choice of n of a prompt's m answers, without drawing any. Where several
    share the best score each is as likely to be taken.

    Args:
        scores: ``[P, m]`` by which the best is chosen, m answers to each of P prompts.
        values: ``[P, m]`` what else is measured of them, such as a judge's numbers.
        n: from 1 to m.

    Returns:
        The mean score and the mean value of the best of n.

    Raises:
        ValueError: there are not n answers to a prompt.

    Source:
        The unbiased estimator over subsets: Nakano et al. 2021, WebGPT (arXiv 2112.09332), appendix I.
    """
    m = scores.shape[1]
    if not 1 <= n <= m:
        raise ValueError(f"n is {n}, but must be from 1 to the {m} answers that each prompt has.")
    # The i-th lowest of m is the best of n in C(i - 1, n - 1) of the C(m, n) choices.
    chances = np.array([math.comb(place, n - 1) for place in range(m)], dtype=float) / math.comb(m, n)
    found = []
    for row, others in zip(np.asarray(scores, dtype=float), np.asarray(values, dtype=float), strict=True):
        order = np.argsort(row, kind="stable")
        _, tie = np.unique(row[order], return_inverse=True)
        shared = (np.bincount(tie, chances) / np.bincount(tie))[tie]
        found.append((float(shared @ row[order]), float(shared @ others[order])))
    best, valued = np.mean(found, axis=0)
    return float(best), float(valued)


def best_of_n_kl(n: int) -> float:
    """How far the best of ``n`` is from the policy that it is drawn from: ``log n - (n - 1) / n``, nats a response.

    Exact where no two answers share a score, and otherwise the most that it can be.

    Source:
        Stiennon et al. 2020 (arXiv 2009.01325), appendix G.3; that it is a bound: Beirami et al. 2024 (arXiv
        2401.01879).
    """
    return math.log(n) - (n - 1) / n
