"""Replay in an update: settings that change between the rollouts of one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from explorer.config import Config
from explorer.ppo.replay import reuse
from explorer.ppo.trainer import Trainer
from explorer.recording.checkpoints import read_checkpoint, write_checkpoint
from tests.ppo.comparing import assert_equal, same, weights

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeTrainer, RunUpdate


@pytest.fixture
def replaying(tiny_config: Config) -> Config:
    return tiny_config.replace(
        replay_rollouts=2, kl_in="loss", kl_estimator="k2", kl_coef=0.5, learning_rate=1e-2, epochs=1
    )


def test_another_response_length_is_refused_until_nothing_of_the_old_one_is_asked_for(
    make_trainer: MakeTrainer, run_update: RunUpdate, replaying: Config
) -> None:
    trainer = make_trainer(replaying)
    run_update(trainer)
    before = weights(trainer.policy)
    trainer.config = longer = replaying.replace(response_length=9)
    with pytest.raises(ValueError, match=r"update 1, which were sampled with 6: set response_length to 6, or") as why:
        run_update(trainer)
    assert len(str(why.value).splitlines()) == 1
    assert trainer.updates == 1 and same(weights(trainer.policy), before)
    # Each of the three things that it says to do helps.
    assert run_update(trainer, longer.replace(response_length=6)).final.ages.tolist() == [0] * 8 + [1] * 8
    run_update(trainer, longer.replace(replay_rollouts=1))
    assert run_update(trainer).final.ratios.shape == (16, 9)
    with pytest.raises(ValueError, match="update 2"):
        run_update(trainer, longer.replace(replay_rollouts=4))
    trainer.config = longer.replace(response_length=4)
    trainer.reset()
    run_update(trainer)
    assert run_update(trainer).final.ratios.shape == (16, 4)


def test_at_another_temperature_a_policy_that_is_the_reference_is_so_on_replayed_rows_too(
    make_trainer: MakeTrainer, run_update: RunUpdate, replaying: Config
) -> None:
    trainer = make_trainer(replaying.replace(learning_rate=0.0, value_learning_rate=0.0))
    run_update(trainer)
    cooler = run_update(trainer, trainer.config.replace(temperature=0.5))
    assert cooler.final.ages.tolist() == [0] * 8 + [1] * 8
    torch.testing.assert_close(cooler.final.ref_log_ratios, torch.zeros(16, 6), rtol=0, atol=1e-6)
    # Against what sampled them, replayed tokens have another probability now: the ratio says so.
    mask = cooler.final.ratios[8:] > 0
    assert (cooler.final.ratios[8:][mask] - 1).abs().mean() > 0.1
    torch.testing.assert_close(cooler.final.ratios[:8], cooler.rollout.response_mask.float(), rtol=0, atol=1e-5)


def test_the_reference_of_replayed_rows_is_that_of_a_plain_forward_at_the_new_temperature(
    make_trainer: MakeTrainer, run_update: RunUpdate, replaying: Config
) -> None:
    trainer = make_trainer(replaying)
    first = run_update(trainer).rollout
    epoch = run_update(trainer, replaying.replace(temperature=0.5)).epochs[0]
    found = (epoch.new_logprobs - epoch.ref_log_ratios)[8:]
    for row in range(8):
        prompt, response = first.prompt_ids[row][first.prompt_mask[row]], first.response_ids[row]
        response = response[first.response_mask[row]]
        with torch.no_grad():
            logits = trainer.reference.lm(torch.cat([prompt, response])[None]).logits[0, len(prompt) - 1 : -1]
        expected = (logits / 0.5).log_softmax(-1).gather(1, response[:, None])[:, 0]
        torch.testing.assert_close(found[row, : len(response)], expected, rtol=0, atol=1e-5)


def test_the_exact_parts_of_a_step_ask_the_reference_anew_as_well(
    make_trainer: MakeTrainer, run_update: RunUpdate, replaying: Config
) -> None:
    trainer = make_trainer(replaying)
    run_update(trainer)
    cooler = replaying.replace(temperature=0.5)
    for stage in trainer.stages(cooler):
        if stage.name == "advantage":
            assert stage.credit is not None
            kept = reuse(trainer.replay, 1)
            found = trainer.gradient_parts(stage.rollout, stage.credit, cooler, replayed=kept)
            anew = [kept[0].at(0.5, trainer.reference)]
            again = trainer.gradient_parts(stage.rollout, stage.credit, cooler, replayed=anew)
    assert torch.equal(found, again)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-4)
    assert not torch.allclose(kept[0].ref_logprobs, anew[0].ref_logprobs, atol=0.1)
    assert torch.equal(kept[0].old_logprobs, anew[0].old_logprobs)


def test_at_the_same_temperature_nobody_is_asked_anew(
    make_trainer: MakeTrainer, run_update: RunUpdate, replaying: Config
) -> None:
    trainer = make_trainer(replaying)
    run_update(trainer)
    kept = trainer.replay[0]
    assert kept.at(1.0, trainer.reference) is kept


def _after(trainer: Trainer, folder: Path) -> Trainer:
    trainer.load_state(read_checkpoint(folder, 2, "run"))
    return trainer


def test_a_run_whose_temperature_has_changed_goes_on_from_a_checkpoint_bit_for_bit(
    make_trainer: MakeTrainer, run_update: RunUpdate, replaying: Config, tmp_path: Path
) -> None:
    trainer = make_trainer(replaying.replace(replay_rollouts=3))
    run_update(trainer)
    trainer.config = trainer.config.replace(temperature=0.5)
    run_update(trainer)
    state = trainer.state()
    assert state.temperatures == (0.5, 1.0)
    write_checkpoint(tmp_path, state, "run")
    other = _after(make_trainer(replaying), tmp_path)
    assert_equal(run_update(other), run_update(trainer))
