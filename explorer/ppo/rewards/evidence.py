"""What a component finds in one response: the words it counts, the match, the twin. For who looks closely."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from explorer.ppo.policy import Policy
from explorer.ppo.rewards.bias import SCALE, gender_twins, unbiasedness
from explorer.ppo.rewards.expression import ExpressionReward
from explorer.ppo.rewards.keywords import Keywords
from explorer.ppo.rewards.matching import Matching
from explorer.ppo.rewards.patterns import spans

_PIECE = re.compile(r"\w+|\W+")


def evidence(component: Any, prompt: str, text: str, tokens: Sequence[str], reference: Policy) -> dict[str, Any]:
    """What a component has to show for its value of a response, as plain values.

    Args:
        component: of ``RewardModel.under``; one with nothing to show for it gives nothing.
        prompt: the response's prompt.
        text: the response.
        tokens: its tokens, one text each; an end-of-text after them is not in ``text``.
        reference: the frozen reference policy.

    Returns:
        ``{tokens: [places]}`` of the tokens in which keywords or the matches of a pattern lie, or what an expression
        counts or contains; ``{twin: {pieces, logprob, twin_logprob, count, scale}}`` for unbiasedness: ``pieces`` are
        ``[own, the twin's]``, of which the latter is None where they are the same, ``logprob`` and ``twin_logprob`` are
        of prompt and response, in nats, ``count`` is their number of tokens.
    """
    if isinstance(component, Keywords):
        return {"tokens": places(tokens, [span for _, span in component.mentions(text)])}
    if isinstance(component, Matching):
        return {"tokens": places(tokens, spans(component.compiled, text))}
    if isinstance(component, ExpressionReward):
        return {"tokens": places(tokens, component.found(text))} if component.asks() else {}
    if component is unbiasedness:
        twin = gender_twins([prompt + text], reference)[0]
        return {
            "twin": {
                "pieces": differing(twin.text, twin.twin),
                "logprob": twin.logprob,
                "twin_logprob": twin.twin_logprob,
                "count": twin.tokens,
                "scale": SCALE,
            }
        }
    return {}


def places(tokens: Sequence[str], found: Sequence[tuple[int, int]]) -> list[int]:
    """Which tokens share a character with one of the spans, which count characters of the joined tokens."""
    hit, start = [], 0
    for place, token in enumerate(tokens):
        end = start + len(token)
        if any(first < end and last > start for first, last in found):
            hit.append(place)
        start = end
    return hit


def differing(own: str, other: str) -> list[tuple[str, str | None]]:
    """A text in pieces beside another that has other words in the same places; equal pieces have None beside them."""
    pairs: list[tuple[str, str | None]] = []
    for mine, theirs in zip(_PIECE.findall(own), _PIECE.findall(other), strict=True):
        if mine == theirs and pairs and pairs[-1][1] is None:
            pairs[-1] = (pairs[-1][0] + mine, None)
        else:
            pairs.append((mine, None if mine == theirs else theirs))
    return pairs
