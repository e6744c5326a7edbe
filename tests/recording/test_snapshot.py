"""A snapshot: a copy that nobody can change, with text that belongs to its tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.trainer import Trainer
from explorer.recording.snapshot import Snapshot, decode, freeze, take_snapshot

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

CONFIG = Config(batch_size=8, group_size=2, response_length=6, epochs=2, stop_sentences=1, replay_rollouts=2)


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    trainer = make_trainer(CONFIG)
    run_update(trainer)
    return snapshot_of(trainer)


def every_array(snapshot: Snapshot) -> list[np.ndarray[Any, Any]]:
    found: list[np.ndarray[Any, Any]] = []
    for record in (snapshot.rollout, snapshot.credit, *snapshot.epochs, snapshot.curve):
        record.map(lambda array: found.append(array) or array)
    return found


def test_arrays_refuse_writes(snapshot: Snapshot) -> None:
    arrays = every_array(snapshot)
    assert len(arrays) > 50
    for array in arrays:
        assert isinstance(array, np.ndarray)
        assert array.base is None  # nor can anyone write through an array behind it
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_components_are_arrays_too(snapshot: Snapshot) -> None:
    assert len(snapshot.credit.reward_components) == 5
    for values in snapshot.credit.reward_components.values():
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 1.0


def test_it_is_frozen(snapshot: Snapshot) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.update = 9  # type: ignore[misc]


def test_what_is_frozen_does_not_follow_the_living() -> None:
    for living in (torch.ones(3), np.ones(3)):
        frozen = freeze(living)
        living[0] = 5.0
        assert frozen.tolist() == [1.0, 1.0, 1.0]


def test_freeze_keeps_shape_and_kind() -> None:
    for living, kind in [
        (torch.zeros(2, 3), np.float32),
        (torch.zeros(2, dtype=torch.long), np.int64),
        (torch.zeros(2, 1, dtype=torch.bool), np.bool_),
        (torch.zeros(2, requires_grad=True), np.float32),
    ]:
        frozen = freeze(living)
        assert frozen.shape == tuple(living.shape)
        assert frozen.dtype == kind


def test_it_holds_what_the_update_held(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(CONFIG)
    update = run_update(trainer)
    snapshot = take_snapshot(update, CONFIG, trainer.policy)
    living: list[torch.Tensor] = []
    update.map(lambda array: living.append(array) or array)
    for tensor, array in zip(living, every_array(snapshot), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
    assert (snapshot.update, snapshot.config) == (1, CONFIG)
    assert (snapshot.metrics, snapshot.checks, snapshot.seconds) == (update.metrics, update.checks, update.seconds)


def test_final_comes_after_the_trained_epochs(snapshot: Snapshot) -> None:
    assert len(snapshot.trained) == 2
    assert snapshot.final is snapshot.epochs[2]
    assert all(epoch is not snapshot.final for epoch in snapshot.trained)


def test_later_training_does_not_reach_it(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> None:
    trainer = make_trainer(CONFIG)
    first = snapshot_of(trainer)
    before = [array.copy() for array in every_array(first)]
    snapshot_of(trainer)
    assert all(np.array_equal(a, b) for a, b in zip(every_array(first), before, strict=True))


# --- tokens as text ---


def test_tokens_join_to_the_responses_text(snapshot: Snapshot, tiny_policy: Policy) -> None:
    rollout, tokens = snapshot.rollout, snapshot.tokens
    lengths = rollout.response_mask.sum(1)
    assert [len(row) for row in tokens.responses] == lengths.tolist()
    assert len(set(lengths.tolist())) > 1
    for ids, length, pieces in zip(rollout.response_ids, lengths, tokens.responses, strict=True):
        text = "".join(piece for piece in pieces if piece != "<|endoftext|>")
        assert text == tiny_policy.decode(ids[:length].tolist())


def test_prompts_come_without_padding_and_end_of_text(snapshot: Snapshot) -> None:
    assert set(snapshot.tokens.prompts) == {
        "The cat",
        "One day, a little boy",
        "Lily went to the",
        "Tim saw a big old dog and",
    }


def test_alternatives_are_the_texts_of_the_likeliest_tokens(snapshot: Snapshot, tiny_policy: Policy) -> None:
    rollout, top = snapshot.rollout, snapshot.tokens.top
    for row, length in enumerate(rollout.response_mask.sum(1).tolist()):
        assert len(top[row]) == length
        for t in range(length):
            assert list(top[row][t]) == tiny_policy.token_texts(rollout.top_ids[row, t].tolist())


def test_the_shipped_tokenizer_joins_back_to_the_text(policy: Policy, snapshot_of: Callable[..., Snapshot]) -> None:
    trainer = Trainer(policy, Config(batch_size=8, group_size=1, epochs=1))
    snapshot = snapshot_of(trainer)
    assert sorted(set(snapshot.tokens.prompts)) == sorted(trainer.prompts)
    for ids, mask, pieces in zip(
        snapshot.rollout.response_ids, snapshot.rollout.response_mask, snapshot.tokens.responses, strict=True
    ):
        assert "".join(pieces) == policy.tokenizer.decode(ids[mask].tolist())


def test_every_id_is_decoded_once(snapshot: Snapshot, tiny_policy: Policy) -> None:
    asked: list[int] = []

    class Counting:
        def token_texts(self, ids: list[int]) -> list[str]:
            asked.extend(ids)
            return tiny_policy.token_texts(ids)

    assert decode(snapshot.rollout, Counting()) == snapshot.tokens
    assert len(asked) == len(set(asked))
