"""A Snapshot: one PPO update as read-only numpy arrays, with its tokens as text and the Config it ran under."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from explorer.config import Config
from explorer.ppo.records import Array, Credit, Curve, Epoch, Rollout, Update


class Decoder(Protocol):
    """What turns token ids into text: a policy."""

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """One string a token."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
    """The text of a batch.

    Attributes:
        prompts: ``B`` prompts, decoded, without padding and end-of-text.
        responses: ``B`` tuples of the tokens that count, one string each.
        top: ``[B][T][K]`` the likeliest alternatives at each of those positions.
    """

    prompts: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]
    top: tuple[tuple[tuple[str, ...], ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Snapshot:
    """One PPO update, recorded. Shapes and meanings as in ``explorer.ppo.records``; arrays refuse writes.

    Attributes:
        update: the update's number, 1 for the first.
        config: the one Config in force for the whole update.
        rollout, credit, epochs, curve: the records, as read-only numpy arrays.
        metrics: every scalar of ``METRICS``.
        checks: the live invariants, ``{name: (holds, measured)}``.
        tokens: the batch as text.
        seconds: wall time per stage, as ``explorer.ppo.clock`` names them; in a recording made before ``old`` and
            ``reference`` were told apart they are in ``sample``.
    """

    update: int
    config: Config
    rollout: Rollout
    credit: Credit
    epochs: tuple[Epoch, ...]
    curve: Curve
    metrics: Mapping[str, float]
    checks: Mapping[str, tuple[bool, float]]
    tokens: Tokens
    seconds: Mapping[str, float]

    @property
    def final(self) -> Epoch:
        """The policy after the last step, on the same tokens."""
        return self.epochs[-1]

    def __repr__(self) -> str:
        rows, length = self.rollout.response_ids.shape
        score = self.metrics.get("objective/score", float("nan"))
        return f"<Snapshot: update {self.update}, {rows} responses of at most {length} tokens, score {score:.3f}>"

    @property
    def nbytes(self) -> int:
        """What its arrays weigh, in bytes."""
        sizes: list[int] = []

        def weigh(array: Array) -> Array:
            sizes.append(array.nbytes)
            return array

        for record in (self.rollout, self.credit, self.curve, *self.epochs):
            record.map(weigh)
        return sum(sizes)

    @property
    def trained(self) -> tuple[Epoch, ...]:
        """The K epochs of optimisation, without ``final``."""
        return self.epochs[:-1]


def freeze(array: Array) -> np.ndarray[Any, Any]:
    """A torch tensor or numpy array as a read-only numpy array of its own."""
    plain = array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
    frozen = np.array(plain)
    frozen.setflags(write=False)
    return frozen


def take_snapshot(update: Update, config: Config, decoder: Decoder) -> Snapshot:
    """Record a live update: its arrays frozen, its tokens decoded."""
    frozen = update.map(freeze)
    return Snapshot(
        update=update.update,
        config=config,
        rollout=frozen.rollout,
        credit=frozen.credit,
        epochs=frozen.epochs,
        curve=frozen.curve,
        metrics=dict(update.metrics),
        checks=dict(update.checks),
        tokens=decode(frozen.rollout, decoder),
        seconds=dict(update.seconds),
    )


def decode(rollout: Rollout, decoder: Decoder) -> Tokens:
    """The text of a rollout's tokens; every id is decoded once."""
    ids = np.unique(np.concatenate([np.ravel(rollout.prompt_ids), np.ravel(rollout.response_ids)]))
    ids = np.union1d(ids, np.ravel(rollout.top_ids))
    text_of = dict(zip(ids.tolist(), decoder.token_texts(ids.tolist()), strict=True))
    lengths = rollout.response_mask.sum(axis=1).tolist()
    return Tokens(
        prompts=tuple(
            _prompt(row[kept].tolist(), text_of)
            for row, kept in zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)
        ),
        responses=tuple(
            tuple(text_of[i] for i in row[:n].tolist()) for row, n in zip(rollout.response_ids, lengths, strict=True)
        ),
        top=tuple(
            tuple(tuple(text_of[i] for i in position) for position in row[:n].tolist())
            for row, n in zip(rollout.top_ids, lengths, strict=True)
        ),
    )


def _prompt(ids: list[int], text_of: Mapping[int, str]) -> str:
    """The prompt without the end-of-text that was put before it."""
    return "".join(text_of[i] for i in ids[1:])
