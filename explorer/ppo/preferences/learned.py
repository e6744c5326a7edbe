"""A learnt reward model as a component: a recipe of plain values that a Config can hold, and what is made of it.

The recipe has the head itself, so that a run's settings are all that it takes to go on with it, to branch off it, or to
run it again elsewhere. What it needs besides is the reference whose states it reads, and it says which one that is.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.features import Block, block_width, check_blocks, contributions, pooled
from explorer.ppo.preferences.packing import pack, unpack
from explorer.ppo.preferences.pool import Pool
from explorer.ppo.preferences.reward_model import RewardModel
from explorer.ppo.preferences.shifts import shifted, shifts_of
from explorer.ppo.preferences.splitting import names_of, packed
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.state import weights_digest


def recipe_of(model: RewardModel, reference: Policy, labels: Iterable[Comparison] = ()) -> dict[str, Any]:
    """A reward model as the recipe of a component: as JSON a few thousand characters at 50 labels.

    The head is kept in half precision, which changes a score by about a thousandth. Most of its numbers are 0, since
    a word that stands in no label has no weight, and take no room. A tuned trunk is kept by its shifts.

    Args:
        model: on the reference's own frozen features.
        reference: the frozen policy that its features, or the trunk that was tuned for it, are of.
        labels: those that it was fitted to, so that the recipe names their pairs; without them it names none.

    Raises:
        PreferenceError: it reads a policy that is not the reference with shifts.
    """
    features = model.features
    weights = features.scale * model.head / model.stretch
    unit = float(weights.abs().max()) or 1.0
    pairs, trunk = packed(names_of(labels)), _trunk_of(features.policy, reference)
    return {
        "kind": "learned",
        "policy": weights_digest(reference.lm),
        "reads": [f"{block.source} {block.pooling}" for block in features.blocks],
        "head": pack(weights / unit),
        "unit": unit,
        "offset": float(features.mean @ weights) + model.centre / model.stretch,
        "wordless": -model.centre / model.stretch,
        "decided": model.said.get("a", 0) + model.said.get("b", 0),
        "ties": model.said.get("tie", 0),
        "held_out": None if math.isnan(model.held_out.accuracy) else model.held_out.accuracy,
        **({"pairs": pairs} if pairs else {}),
        **({"trunk": trunk} if trunk else {}),
    }


def _trunk_of(policy: Policy, reference: Policy) -> str:
    """A tuned trunk's shifts as text; "" where it is the reference itself."""
    if policy is reference or weights_digest(policy.lm) == weights_digest(reference.lm):
        return ""
    same = [p.shape for p in policy.lm.parameters()] == [p.shape for p in reference.lm.parameters()]
    shifts = shifts_of(policy, reference) if same else None
    if shifts is None or not _alike(shifted(reference, shifts), policy):
        raise PreferenceError(
            "The reward model's tuned trunk is not this policy with shifts, which is all that a component can hold: "
            "fit one on this policy, or tune it by shifts."
        )
    return pack(shifts)


def _alike(one: Policy, other: Policy) -> bool:
    """Whether two policies are one but for the last digits, which taking a difference and adding it again may turn."""
    pairs = zip(one.lm.parameters(), other.lm.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=0.0, atol=1e-6) for a, b in pairs)


class Learned:
    """A component made of a recipe; its values are in about [-1, 1] on the reference's own samples, and not cut off.

    Args:
        policy: SHA-256 of the weights of the policy whose hidden states it reads.
        reads: which of them, as "final asked".
        head: a weight for each number that is read, in half precision, compressed, in base64.
        unit: by which the head is multiplied.
        offset: what is taken off.
        wordless: the value of a response without words, which has nothing to read.
        trunk: the shifts of a trunk that was tuned for it, as the head; "" reads that policy as it is.
        decided, ties, held_out, pairs: what it was fitted to, for who asks.

    Raises:
        ValueError: the head or the trunk is damaged, or nothing is read.
    """

    def __init__(
        self,
        policy: str,
        reads: Sequence[str],
        head: str,
        unit: float,
        offset: float,
        wordless: float,
        trunk: str = "",
        **fitted: Any,
    ) -> None:
        self.digest, self.offset, self.wordless, self.fitted = policy, offset, wordless, fitted
        parted = [name.rpartition(" ") for name in reads]
        self.blocks = tuple(Block(source, pooling) for source, _, pooling in parted if source)
        if len(self.blocks) != len(reads) or not reads:
            raise ValueError("Its 'reads' must name hidden states and how they are pooled, as in \"final asked\".")
        self.weights = unpack(head, "head") * unit
        self.shifts = unpack(trunk, "trunk").float() if trunk else None
        self._checked: weakref.ref[Policy] | None = None
        self._tuned: Policy | None = None

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]`` float32 scores. Raises PreferenceError where the reference is another than it was fitted on."""
        raw = pooled(self._read(responses.reference), _pool(responses), self.blocks).double()
        scores = raw @ self.weights - self.offset
        return torch.where(raw.isnan().any(1), self.wordless, scores).float()

    def token_parts(self, responses: Responses) -> tuple[Tensor, Tensor]:
        """What each token adds to its response's value ``[B, T]``, and what is no token's ``[B]``: they add up."""
        pool = _pool(responses)
        parts, whole = contributions(self._read(responses.reference), pool, self.blocks, self.weights)
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
        self._tuned = None if self.shifts is None else shifted(reference, self.shifts)
        self._checked = weakref.ref(reference)

    def _read(self, reference: Policy) -> Policy:
        """The policy whose states it reads: the reference, or the trunk that was tuned for it."""
        self.check(reference)
        return reference if self._tuned is None else self._tuned

    def check_for(self, name: str, reference: Policy) -> None:
        """As ``check``, and the message begins with the component's name."""
        try:
            self.check(reference)
        except PreferenceError as error:
            raise PreferenceError(f"The component '{name}' cannot be used here. {error}") from None


def learned(parts: Mapping[str, Any]) -> Learned:
    """The component of a recipe's parts. Raises ValueError as ``Learned``."""
    return Learned(**parts)


def _pool(responses: Responses) -> Pool:
    return Pool(prompts=responses.prompts, texts=responses.texts, ids=responses.ids, mask=responses.mask)
