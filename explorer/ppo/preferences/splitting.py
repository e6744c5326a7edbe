"""Which labels teach the model that is trained on, and which the one that judges it.

A judge that has learnt from the same choices errs where the model errs, and would let it pass. So a judge gets pairs of
its own: those that the reward was not taught by, where there are enough of them, and every second one else. A learnt
component names the pairs that it was fitted to by the first bytes of a hash, so that it can be told at any time, in a
run that was gone on with too, how many of them two models share.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from explorer.ppo.preferences.comparisons import Comparison, PreferenceError

#: Bytes of a pair's name: among 1000 pairs two different ones have the same once in two million sets.
BYTES = 5

#: A model of more labels names none of its pairs, since a Config would grow too long.
MOST_NAMED = 5000

#: The fewest decided labels that are trained on or judge: so many that each of five folds has one to hold out.
FEWEST = 5

Names = frozenset[bytes]


def name_of(label: Comparison) -> bytes:
    """A pair's name: the same whichever response was shown first, and whatever was said of it."""
    content = json.dumps([label.prompt, *sorted((label.a, label.b))])
    return hashlib.sha256(content.encode("utf-8")).digest()[:BYTES]


def names_of(labels: Iterable[Comparison]) -> Names:
    """The pairs that a model is fitted to; a pair that was skipped teaches nothing."""
    return frozenset(name_of(label) for label in labels if label.choice != "skip")


def packed(names: Names) -> str | None:
    """Names as a recipe holds them, in base64; None of so many that they are not named."""
    return None if len(names) > MOST_NAMED else base64.b64encode(b"".join(sorted(names))).decode("ascii")


def unpacked(recipe: Mapping[str, Any]) -> Names | None:
    """The pairs that a learnt recipe was fitted to; None where it does not say, or what it says is damaged."""
    try:
        raw = base64.b64decode(recipe["pairs"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError):
        return None
    return None if len(raw) % BYTES else frozenset(raw[n : n + BYTES] for n in range(0, len(raw), BYTES))


def without(labels: Iterable[Comparison], names: Names) -> list[Comparison]:
    """The labels of all other pairs, in their order."""
    return [label for label in labels if name_of(label) not in names]


def judges_share(labels: Sequence[Comparison], taught: Names) -> list[Comparison]:
    """The labels that a judge is fitted to.

    They are those of pairs that the reward was not taught by, where at least five of them are decided. Where there are
    fewer, or where labels teach nothing of the reward yet, they are those of every second pair, in the order in which
    the pairs were first labelled, those that were decided and those that were tied each for themselves: so both sides
    get as many choices, and a pair stays on its side when more are labelled.

    Args:
        labels: of one annotator, oldest first.
        taught: the pairs whose labels teach the reward.

    Raises:
        PreferenceError: fewer than five of them are decided.
    """
    said = [label for label in labels if label.choice != "skip"]
    share = without(said, taught) if taught else []
    if sum(label.decided for label in share) < FEWEST:
        share = _every_second(said)
    if (decided := sum(label.decided for label in share)) < FEWEST:
        raise PreferenceError(
            f"A judge is fitted to every second pair, or to those that are not trained on, and takes at least {FEWEST} "
            f"choices of A or B among them; there {'is' if decided == 1 else 'are'} {decided}: label some more."
        )
    return share


def _every_second(said: Sequence[Comparison]) -> list[Comparison]:
    sides: dict[bytes, bool] = {}
    next_side = {True: False, False: False}  # of the next decided pair, and of the next tie
    for label in said:
        if (name := name_of(label)) not in sides:
            sides[name] = next_side[label.decided]
            next_side[label.decided] = not sides[name]
    return [label for label in said if sides[name_of(label)]]
