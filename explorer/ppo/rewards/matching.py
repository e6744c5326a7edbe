"""Format: does the response match a pattern?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explorer.ppo.rewards.patterns import pattern
from explorer.ppo.rewards.responses import Responses


@dataclass(frozen=True)
class Matching:
    """1 where the pattern is found in the response, -1 where it is not. Make it with ``matching``.

    A reward that is all or nothing tells the policy little until it meets the pattern by chance. ``^`` and ``$`` ask
    for the whole response.
    """

    source: str
    compiled: Any

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]``, each -1 or 1."""
        return torch.tensor([1.0 if self.compiled.search(text) else -1.0 for text in responses.texts])


def matching(source: str) -> Matching:
    """A component from a regular expression in RE2's syntax, without regard to capitals.

    Raises:
        PatternError: it cannot be read; the message says why.
    """
    return Matching(source, pattern(source))
