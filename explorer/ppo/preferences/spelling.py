"""How the words of a vocabulary are written: how often each byte of UTF-8 stands in each of them, its space included.

So words that look alike, the long ones, the plurals, the ones in capitals, have numbers in common, which their
embeddings need not have. FastText reads words so too (Bojanowski et al. 2017, arXiv 1607.04606), by runs of letters.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from explorer.ppo.policy import Policy

#: Numbers of a word: one for each value of a byte.
BYTES = 256

_KNOWN: weakref.WeakKeyDictionary[Any, Tensor] = weakref.WeakKeyDictionary()


def spelled(policy: Policy) -> Tensor:
    """``[V, 256]`` float32: the bytes of each word of a policy's vocabulary, counted."""
    tokenizer, size = policy.tokenizer, int(policy.lm.config.vocab_size)
    if tokenizer not in _KNOWN or len(_KNOWN[tokenizer]) != size:
        texts = [tokenizer.decode([number]) for number in range(size)]
        rows = [torch.tensor(list(text.encode()), dtype=torch.long) for text in texts]
        _KNOWN[tokenizer] = torch.stack([torch.bincount(row, minlength=BYTES) for row in rows]).float()
    return _KNOWN[tokenizer]
