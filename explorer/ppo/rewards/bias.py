"""Unbiasedness: would the reference find the story as likely with men and women, boys and girls changed over?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from explorer.ppo.policy import Policy
from explorer.ppo.rewards.gender_pairs import NAMES, ONE_WAY, WORDS
from explorer.ppo.rewards.responses import Responses

# Half a nat per token between a text and its twin is the worst score. On the bundled policy's own samples the middle
# difference is 0.2 nats per token, a score of -0.4, and one sample in twenty reaches -1; a steeper scale would tell
# fewer of them apart.
SCALE = 2.0

#: The occurrences of "her" that are tried both ways, 2 ** 3 = 8 twins at most; later ones go by the next word.
TRIED = 3

# How many logits one forward may hold, taking each character for a token: 8 gets a batch of the bundled policy
# through in one forward and keeps GPT-2's 50,257 words within memory.
LOGITS_AT_ONCE = 2**28

# What follows "her" where it is an object and not a possessive.
_AFTER_AN_OBJECT = re.compile(
    r"\s*(?:[.,!?;:]|(?:a|an|and|as|at|but|by|for|from|he|how|if|in|into|on|she|so|that|the|to|up|what|when|with)\b)"
)
_PUNCTUATION = re.compile(r"\s*[.,!?;:]")
_WORD = re.compile(r"\b[A-Za-z]+\b")


class Twin(NamedTuple):
    """A text and its gender-swapped twin; both texts are the same where nothing in them has a gender."""

    text: str
    twin: str
    logprob: float  # of the whole text under the reference, in nats
    twin_logprob: float  # of the whole twin
    tokens: int  # the text's number of tokens


def unbiasedness(responses: Responses) -> Tensor:
    """Minus the difference, per token, between the log-probabilities of the story and of its gender-swapped twin.

    The story is prompt and response together, so a prompt's own leaning counts too. The difference of the summed
    log-probabilities is divided by the story's number of tokens, multiplied by 2 and cut off at -1. The reference
    reads both at temperature 1.

    What it does not see. A story that mentions no word of the list scores exactly 0, the best score: a policy may
    learn to avoid people rather than to treat them alike. Rarer words cost as bias does, because "Mia" is simply
    less frequent than "Lily". And who does what to whom is judged by the reference's likelihood alone.

    Returns:
        ``[B]`` in [-1, 0].

    Source:
        Counterfactual substitution: Lu et al. 2018 (arXiv 1807.11714); likelihood gaps as a measure of bias: Nangia
        et al. 2020, CrowS-Pairs (arXiv 2010.00133).
    """
    stories = [prompt + text for prompt, text in zip(responses.prompts, responses.texts, strict=True)]
    gendered = [row for row, story in enumerate(stories) if swaps(story)]
    twins = gender_twins([stories[row] for row in gendered], responses.reference)
    scores = torch.zeros(len(stories))
    for row, twin in zip(gendered, twins, strict=True):
        scores[row] = -min(1.0, SCALE * abs(twin.logprob - twin.twin_logprob) / twin.tokens)
    return scores


def gender_twins(texts: Sequence[str], reference: Policy) -> list[Twin]:
    """Each text's twin, and what the reference thinks of the two.

    Where "her" may become "his" or "him", all the readings are scored and the likeliest is the twin. Texts beyond
    the reference's positions are compared by their beginnings.
    """
    groups = [[text, *swaps(text)] for text in texts]
    logprobs, tokens = _logprobs([text for group in groups for text in group], reference)
    twins, start = [], 0
    for group in groups:
        own, *others = logprobs[start : start + len(group)]
        likeliest = max(range(len(others)), key=others.__getitem__, default=None)
        if likeliest is None:
            twins.append(Twin(group[0], group[0], own, own, tokens[start]))
        else:
            twins.append(Twin(group[0], group[1 + likeliest], own, others[likeliest], tokens[start]))
        start += len(group)
    return twins


def swaps(text: str) -> list[str]:
    """The text with every gendered word changed over: nothing if there is none, else one twin for each reading.

    Whole words in lower case, Capitalised or UPPER case; the case is kept. "her" is read as "his" and as "him" in its
    first three occurrences, which makes up to 8 twins. From the fourth on the word or mark after it decides: "him"
    before punctuation and words such as "a", "the" or "to", "his" otherwise. "his" becomes "hers" before punctuation
    and "her" otherwise.
    """
    pieces: list[tuple[str, ...]] = []  # the text in order, each piece with its readings
    end = readings = 0
    for match in _WORD.finditer(text):
        partners = _PARTNERS.get(match[0])
        if partners is None:
            continue
        following = text[match.end() :]
        if match[0].lower() == "her":
            readings += 1
            if readings > TRIED:
                partners = partners[1:] if _AFTER_AN_OBJECT.match(following) else partners[:1]
        elif match[0].lower() == "his":
            partners = partners[1:] if _PUNCTUATION.match(following) else partners[:1]
        pieces += [(text[end : match.start()],), partners]
        end = match.end()
    if not pieces:
        return []
    pieces.append((text[end:],))
    return ["".join(choice) for choice in itertools.product(*pieces)]


def _logprobs(texts: Sequence[str], reference: Policy) -> tuple[list[float], list[int]]:
    """Summed log-probabilities and numbers of tokens, in one forward unless it would take too much memory."""
    logprobs: list[float] = []
    tokens: list[int] = []
    longest = max((len(text) for text in texts), default=1)
    at_once = max(1, LOGITS_AT_ONCE // (reference.lm.config.vocab_size * max(1, longest)))
    for start in range(0, len(texts), at_once):
        sums, counts = reference.text_logprobs(texts[start : start + at_once])
        logprobs += sums.tolist()
        tokens += counts.tolist()
    return logprobs, tokens


def _partners() -> dict[str, tuple[str, ...]]:
    """Every form that is swapped, with what it may become."""
    lower: dict[str, tuple[str, ...]] = {word: (partner,) for word, partner in ONE_WAY.items()}
    lower |= {"her": ("his", "him"), "his": ("her", "hers")}
    for male, female in WORDS:
        lower |= {male: (female,), female: (male,)}
    forms = dict(lower)
    for change in (str.capitalize, str.upper):
        forms |= {change(word): tuple(map(change, partners)) for word, partners in lower.items()}
    for male, female in NAMES:
        forms |= {male: (female,), female: (male,), male.upper(): (female.upper(),), female.upper(): (male.upper(),)}
    return forms


_PARTNERS = _partners()
