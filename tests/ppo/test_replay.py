"""Replay: which experiences come back, and that every row keeps its own numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from explorer.ppo.policy import Policy
from explorer.ppo.records import Update
from explorer.ppo.replay import Experience, join, reuse

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate


@pytest.fixture
def updates(make_trainer: MakeTrainer, run_update: RunUpdate) -> list[Update]:
    """Three updates in order; between them the prompts change, and so the width of their padding."""
    trainer = make_trainer()
    found: list[Update] = []
    for prompts in [["The cat"], ["Tim saw a big old dog and"], ["One day, a little boy"]]:
        trainer.set_prompts(prompts)
        found.append(run_update(trainer))
    return found


@pytest.fixture
def experiences(updates: list[Update]) -> list[Experience]:
    """Those of the three updates, newest first."""
    return [Experience.of(u.rollout, u.credit, born=u.update, temperature=1.0) for u in reversed(updates)]


def test_reuse_takes_the_newest_first(experiences: list[Experience]) -> None:
    assert [e.born for e in reuse(experiences, 2)] == [3, 2]
    assert reuse(experiences, 0) == []
    assert [e.born for e in reuse(experiences, 9)] == [3, 2, 1]


def test_the_fresh_rows_come_first_and_ages_count_updates(experiences: list[Experience]) -> None:
    batch = join(experiences, update=3)
    assert batch.rows == 24
    assert batch.ages.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert join(experiences[1:], update=9).ages.tolist() == [7] * 8 + [8] * 8


def test_every_row_keeps_its_own_numbers(experiences: list[Experience], updates: list[Update]) -> None:
    batch = join(experiences, update=3)
    for index, update in enumerate(reversed(updates)):
        rollout, credit, rows = update.rollout, update.credit, slice(8 * index, 8 * index + 8)
        assert torch.equal(batch.response_ids[rows], rollout.response_ids)
        assert torch.equal(batch.mask[rows], rollout.response_mask)
        assert torch.equal(batch.old_logprobs[rows], rollout.old_logprobs)
        assert torch.equal(batch.ref_logprobs[rows], rollout.ref_logprobs)
        assert torch.equal(batch.old_values[rows], rollout.old_values)
        assert torch.equal(batch.advantages[rows], credit.whitened_advantages)
        assert torch.equal(batch.returns[rows], credit.returns)


def test_prompts_of_different_lengths_are_padded_on_the_left(experiences: list[Experience]) -> None:
    batch = join(experiences, update=3)
    assert batch.prompt_ids.shape == batch.prompt_mask.shape == (24, 8)  # the longest prompt and its end-of-text
    assert batch.prompt_mask.sum(1).tolist() == [7] * 8 + [8] * 8 + [3] * 8
    for row in range(24):
        length = int(batch.prompt_mask[row].sum())
        assert batch.prompt_mask[row, -length:].all()
        own = experiences[row // 8].prompt_ids[row % 8]
        assert batch.prompt_ids[row, -length:].tolist() == own[-length:].tolist()


def test_joining_does_not_change_what_the_policy_says(experiences: list[Experience], tiny_policy: Policy) -> None:
    batch = join(experiences, update=3)

    together = tiny_policy.score_tokens(
        batch.prompt_ids, batch.prompt_mask, batch.response_ids, batch.mask, 1.0
    ).logprobs
    for index, own in enumerate(experiences):
        alone = tiny_policy.score_tokens(
            own.prompt_ids, own.prompt_mask, own.response_ids, own.response_mask, 1.0
        ).logprobs
        torch.testing.assert_close(together[8 * index : 8 * index + 8], alone, rtol=0, atol=1e-5)


def test_take_keeps_rows_whole(experiences: list[Experience]) -> None:
    batch = join(experiences, update=3)
    part = batch.take(torch.tensor([17, 2]))
    assert part.rows == 2
    assert part.ages.tolist() == [2, 0]
    for taken, whole in zip(part, batch, strict=True):
        assert torch.equal(taken[0], whole[17])
        assert torch.equal(taken[1], whole[2])
