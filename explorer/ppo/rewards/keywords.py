"""Keywords: does the response mention the words of a list?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explorer.ppo.rewards.patterns import LONGEST, PatternError, pattern, spans
from explorer.ppo.rewards.responses import Responses

#: How many of the list's words make the best score.
ENOUGH = 2


@dataclass(frozen=True)
class Keywords:
    """1 where at least ``enough`` different words of the list occur, -1 where none does, evenly in between.

    Whole words, without regard to capitals; a word that comes twice counts once, so that to repeat one is no way to a
    better score. A known hole: naming a thing is not writing about it.

    Args:
        words: the list; an entry may be several words.
        enough: how many make the best score.

    Raises:
        ValueError: the list is empty, ``enough`` is below 1, or an entry is longer than a pattern may be.
    """

    words: tuple[str, ...]
    enough: int = ENOUGH

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError("The list of keywords is empty: give at least one word.")
        if self.enough < 1:
            raise ValueError(f"enough is {self.enough}, but at least one keyword must be asked for.")
        for word in self.words:
            _anywhere(word)

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]`` in [-1, 1]."""
        most = min(self.enough, len(self.words))
        found = [len({word for word, _ in self.mentions(text)}) for text in responses.texts]
        return torch.tensor([2 * min(1.0, count / most) - 1 for count in found])

    def mentions(self, text: str) -> list[tuple[str, tuple[int, int]]]:
        """Each keyword that occurs, with where it stands in ``text``, in characters."""
        return [(word, span) for word in self.words for span in spans(_anywhere(word), text) if _is_whole(span, text)]


def keywords(words: Sequence[str], enough: int = ENOUGH) -> Keywords:
    """A component from a list of words, in which blanks around a word and repetitions do not count."""
    cleaned = dict.fromkeys(" ".join(word.split()).casefold() for word in words)
    return Keywords(tuple(word for word in cleaned if word), enough)


def _anywhere(word: str) -> Any:
    if len(word) > LONGEST // 4:
        raise PatternError(f"The keyword {word[:20]!r}… has {len(word)} characters: {LONGEST // 4} at most.")
    return pattern(re.escape(word))


def _is_whole(span: tuple[int, int], text: str) -> bool:
    """Whether no word goes on at either end: RE2's own mark of a word's end knows the letters of ASCII alone."""
    start, end = span
    return not _joined(text[start - 1 : start + 1] if start else "") and not _joined(text[end - 1 : end + 1])


def _joined(pair: str) -> bool:
    """Whether two neighbouring characters stand in one word; Chinese and Japanese put no space between words."""
    return len(pair) == 2 and all(
        c == "_" or (c.isalnum() and unicodedata.east_asian_width(c) not in "WF") for c in pair
    )
