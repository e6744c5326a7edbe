"""Repetition: the words that were written only a moment ago."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from explorer.ppo.rewards.responses import Responses

#: How far back a word is looked for, in words.
WINDOW = 8
# A quarter of the words repeated is the worst score. Of the bundled policy's own words one in ten comes back within
# eight, which makes -0.4; one sample in sixteen reaches -1.
SCALE = 4.0

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def repetition(responses: Responses) -> Tensor:
    """Minus the share of words that stand among the eight words before them, times 4, down to -1.

    Within the response and without regard to capitals. A known hole: the same thing said in other words costs
    nothing, nor does saying what all other responses say; ``diversity`` sees the latter.

    Returns:
        ``[B]`` in [-1, 0]; 0 for text of one word or none.
    """
    return torch.tensor([-min(1.0, SCALE * repeated_share(text)) for text in responses.texts])


def repeated_share(text: str, window: int = WINDOW) -> float:
    """The share of a text's words that are among the ``window`` words before them, in [0, 1]."""
    words = [word.casefold() for word in _WORD.findall(text)]
    repeated = sum(word in words[max(0, i - window) : i] for i, word in enumerate(words))
    return repeated / max(1, len(words))
