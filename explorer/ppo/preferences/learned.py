"""A learnt reward model as a component: a recipe of plain values that a Config can hold, and what is made of it.

The recipe has the head itself, so that a run's settings are all that it takes to go on with it, to branch off it, or to
run it again elsewhere. What it needs besides is the reference whose states it reads, and it says which one that is.
"""

from __future__ import annotations

import base64
import binascii
import math
import weakref
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import PreferenceError
from explorer.ppo.preferences.features import Block, block_width, check_blocks, contributions, pooled
from explorer.ppo.preferences.pool import Pool
from explorer.ppo.preferences.reward_model import RewardModel
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.state import weights_digest

#: The widest head: more words than any vocabulary whose words are read one by one, many times over.
MAX_NUMBERS = 1_000_000


def recipe_of(model: RewardModel, reference: Policy) -> dict[str, Any]:
    """A reward model as the recipe of a component: as JSON a few thousand characters at 50 labels, 23,000 at most.

    The head is kept in half precision, which changes a score by about a thousandth. Most of its numbers are 0, since
    a word that stands in no label has no weight, and take no room.

    Args:
        model: on the reference's own frozen features.
        reference: the frozen policy that its features are of.

    Raises:
        PreferenceError: it has a tuned trunk, which is too large for a recipe.
    """
    features = model.features
    digest = weights_digest(reference.lm)
    if features.policy is not reference and weights_digest(features.policy.lm) != digest:
        raise PreferenceError("A reward model with a tuned trunk cannot be a component: fit one on the frozen policy.")
    weights = features.scale * model.head / model.stretch
    unit = float(weights.abs().max()) or 1.0
    numbers = (weights / unit).numpy().astype("<f2")
    return {
        "kind": "learned",
        "policy": digest,
        "reads": [f"{block.source} {block.pooling}" for block in features.blocks],
        "head": base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii"),
        "unit": unit,
        "offset": float(features.mean @ weights) + model.centre / model.stretch,
        "wordless": -model.centre / model.stretch,
        "decided": model.said.get("a", 0) + model.said.get("b", 0),
        "ties": model.said.get("tie", 0),
        "held_out": None if math.isnan(model.held_out.accuracy) else model.held_out.accuracy,
    }


class Learned:
    """A component made of a recipe; its values are in about [-1, 1] on the reference's own samples, and not cut off.

    Args:
        policy: SHA-256 of the weights of the policy whose hidden states it reads.
        reads: which of them, as "final asked".
        head: a weight for each number that is read, in half precision, compressed, in base64.
        unit: by which the head is multiplied.
        offset: what is taken off.
        wordless: the value of a response without words, which has nothing to read.
        decided, ties, held_out: what it was fitted to, for who asks.

    Raises:
        ValueError: the head is damaged, or nothing is read.
    """

    def __init__(
        self, policy: str, reads: Sequence[str], head: str, unit: float, offset: float, wordless: float, **fitted: Any
    ) -> None:
        self.digest, self.offset, self.wordless, self.fitted = policy, offset, wordless, fitted
        parted = [name.rpartition(" ") for name in reads]
        self.blocks = tuple(Block(source, pooling) for source, _, pooling in parted if source)
        if len(self.blocks) != len(reads) or not reads:
            raise ValueError("Its 'reads' must name hidden states and how they are pooled, as in \"final asked\".")
        self.weights = torch.from_numpy(_numbers(head).astype(np.float64)) * unit
        if not bool(self.weights.isfinite().all()):
            raise ValueError("Its head has a weight that is no number: fit it anew.")
        self._checked: weakref.ref[Policy] | None = None

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]`` float32 scores. Raises PreferenceError where the reference is another than it was fitted on."""
        self.check(responses.reference)
        raw = pooled(responses.reference, _pool(responses), self.blocks).double()
        scores = raw @ self.weights - self.offset
        return torch.where(raw.isnan().any(1), self.wordless, scores).float()

    def token_parts(self, responses: Responses) -> tuple[Tensor, Tensor]:
        """What each token adds to its response's value ``[B, T]``, and what is no token's ``[B]``: they add up."""
        self.check(responses.reference)
        pool = _pool(responses)
        parts, whole = contributions(responses.reference, pool, self.blocks, self.weights)
        words = (pool.mask & (pool.ids != responses.reference.end_of_text)).any(1)
        return parts, torch.where(words, whole - self.offset, self.wordless).float()

    def check(self, reference: Policy) -> None:
        """Raises PreferenceError where a policy is not the one whose states the head was fitted to."""
        if self._checked is not None and self._checked() is reference:
            return
        if weights_digest(reference.lm) != self.digest:
            raise PreferenceError(
                "It was learnt on another policy's hidden states: fit it anew on this one, or load that policy."
            )
        check_blocks(reference, self.blocks)
        width = sum(block_width(reference, block) for block in self.blocks)
        if len(self.weights) != width:
            raise PreferenceError(f"Its head has {len(self.weights)} weights and needs {width}: fit it anew.")
        self._checked = weakref.ref(reference)

    def check_for(self, name: str, reference: Policy) -> None:
        """As ``check``, and the message begins with the component's name."""
        try:
            self.check(reference)
        except PreferenceError as error:
            raise PreferenceError(f"The component '{name}' cannot be used here. {error}") from None


def learned(parts: Mapping[str, Any]) -> Learned:
    """The component of a recipe's parts. Raises ValueError as ``Learned``."""
    return Learned(**parts)


def _numbers(head: str) -> np.ndarray:
    """The head's numbers; ValueError where it is damaged. However much a bomb would come to, little is unpacked."""
    try:
        packed = base64.b64decode(head, validate=True)
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(packed, 2 * MAX_NUMBERS)
        if not unpacking.eof or unpacking.unused_data or len(raw) % 2 or not raw:
            raise ValueError
        return np.frombuffer(raw, dtype="<f2")
    except (binascii.Error, zlib.error, ValueError):
        raise ValueError("Its head is damaged: fit it anew.") from None


def _pool(responses: Responses) -> Pool:
    return Pool(prompts=responses.prompts, texts=responses.texts, ids=responses.ids, mask=responses.mask)
