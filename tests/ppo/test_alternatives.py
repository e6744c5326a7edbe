"""What else could have stood there, under the three policies: the same words, each with its true log-probability."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.records import Update

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate


@pytest.fixture(scope="module")
def trained(make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config) -> tuple[Update, Policy, Policy]:
    """A third update with replayed rows, and the two policies after it: the trained one and the reference."""
    trainer = make_trainer(tiny_config.replace(replay_rollouts=2, learning_rate=1e-2))
    *_, update = [run_update(trainer) for _ in range(3)]
    assert len(update.final.ages) > len(update.rollout.stopped)
    assert not update.rollout.response_mask.all()
    return update, trainer.policy, trainer.reference


@torch.no_grad()
def alone(policy: Policy, prompt: list[int], response: list[int], temperature: float) -> Tensor:
    """``[n, V]``: what a plain forward of transformers says of each token of one response, without any padding."""
    logits = policy.lm(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1)


def test_each_is_that_of_a_plain_forward(trained: tuple[Update, Policy, Policy], tiny_config: Config) -> None:
    update, policy, reference = trained
    rollout = update.rollout
    for recorded, by in ((update.final.top_logprobs, policy), (rollout.ref_top_logprobs, reference)):
        assert recorded.shape == rollout.top_ids.shape
        for row, (ids, mask) in enumerate(zip(rollout.prompt_ids, rollout.prompt_mask, strict=True)):
            response = rollout.response_ids[row][rollout.response_mask[row]].tolist()
            said = alone(by, ids[mask].tolist(), response, tiny_config.temperature)
            expected = said.gather(1, rollout.top_ids[row][: len(response)])
            torch.testing.assert_close(recorded[row][: len(response)], expected, rtol=0, atol=2e-5)
            assert (recorded[row][len(response) :] == 0).all()


def test_where_the_token_itself_is_among_them_it_has_the_tokens_own_number(
    trained: tuple[Update, Policy, Policy],
) -> None:
    update, *_ = trained
    rollout, rows = update.rollout, len(update.rollout.stopped)
    own = (rollout.top_ids == rollout.response_ids[..., None]) & rollout.response_mask[..., None]
    assert own.any(-1).sum() > rows  # most of them are
    for top, token in (
        (rollout.top_logprobs, rollout.old_logprobs),
        (rollout.ref_top_logprobs, rollout.ref_logprobs),
        (update.final.top_logprobs, update.final.new_logprobs[:rows]),
    ):
        assert torch.equal(top[own], token[..., None].expand_as(top)[own])


def test_only_the_policy_after_the_last_step_has_them(trained: tuple[Update, Policy, Policy]) -> None:
    update, *_ = trained
    assert [epoch.top_logprobs is None for epoch in update.epochs] == [True] * (len(update.epochs) - 1) + [False]
    assert not update.final.top_logprobs.requires_grad


def test_alternatives_of_another_shape_are_refused(trained: tuple[Update, Policy, Policy]) -> None:
    rollout = trained[0].rollout
    with pytest.raises(ValueError, match="ref_top_logprobs"):
        replace(rollout, ref_top_logprobs=rollout.ref_top_logprobs[:, :, :2])
