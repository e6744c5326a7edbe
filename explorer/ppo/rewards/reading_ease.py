"""Reading ease: short words in short sentences."""

from __future__ import annotations

import functools
import re

import pyphen
import torch
from torch import Tensor

from explorer.ppo.rewards.responses import Responses

# Flesch's scale at 0 here and at -1 or 1: 90 is what an eleven-year-old reads with ease, 60 is plain English, 120 all
# but the end of the scale. The bundled policy's own samples lie at 99 with a standard deviation of 9.
MIDDLE, HALF_RANGE = 90.0, 30.0

_SENTENCE_END = re.compile(r"[.!?]+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def reading_ease(responses: Responses) -> Tensor:
    """Flesch's reading ease of each response, rescaled: 60 and below to -1, 90 to 0, 120 and above to 1.

    206.835 - 1.015 · words per sentence - 84.6 · syllables per word; syllables are counted as the places where a word
    may be hyphenated, which misses some ("once-up-on"). A response that is cut off counts as a sentence. A known
    hole: "I am. I am. I am." is the easiest text there is.

    Returns:
        ``[B]`` in [-1, 1]; 0 for text without a word.

    Source:
        Flesch 1948, "A new readability yardstick", Journal of Applied Psychology 32.
    """
    return torch.tensor([_rescaled(flesch(text)) for text in responses.texts])


def _rescaled(ease: float) -> float:
    return max(-1.0, min(1.0, (ease - MIDDLE) / HALF_RANGE))


def flesch(text: str) -> float:
    """Flesch's reading ease of a text, 121 at the most and without a least; the middle for text without a word."""
    words = _WORD.findall(text)
    if not words:
        return MIDDLE
    sentences = [piece for piece in _SENTENCE_END.split(text) if _WORD.search(piece)]
    syllables = sum(len(_hyphens().positions(word)) + 1 for word in words)
    return 206.835 - 1.015 * len(words) / len(sentences) - 84.6 * syllables / len(words)


@functools.cache
def _hyphens() -> pyphen.Pyphen:
    return pyphen.Pyphen(lang="en_US", left=1, right=1)
