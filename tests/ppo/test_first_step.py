"""The first step goes back through the forward that gave the old log-probabilities, and is the step it would have been.

The other way is at hand: the same trainer, told not to keep the graph, asks the policy again. And where that forward is
no longer what the policy says, the step makes its own, and the check of the first ratio sees why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from explorer.config import Config
from explorer.ppo import trainer as trainer_module
from explorer.ppo.records import Update
from explorer.ppo.replay import Batch
from explorer.ppo.rollouts import collect
from explorer.ppo.trainer import Trainer
from tests.ppo.comparing import weights

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

CONFIG = Config(batch_size=8, response_length=6, epochs=3, stop_sentences=1, learning_rate=3e-3)

#: What is in the step beside the clipped objective: a critic's trunk, an entropy bonus, a penalty, groups, greedy rows.
STEPS = [
    CONFIG,
    CONFIG.replace(critic="separate", ent_coef=0.05, max_grad_norm=0.1),
    CONFIG.replace(kl_in="loss", kl_estimator="k2", kl_coef=0.1, aggregation="sequence_mean"),
    CONFIG.replace(objective="gspo", estimator="grpo", group_size=4),
    CONFIG.replace(estimator="remax", group_size=2, epochs=1),
]


def forwards(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that gets, for each forward of the policy, whether it was made with its graph."""
    asked, forward = [], trainer.policy.score_tokens

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(torch.is_grad_enabled())
        return forward(*arguments, **options)

    monkeypatch.setattr(trainer.policy, "score_tokens", counted)
    return asked


def asked_again(trainer: Trainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch) -> Update:
    """The next update of a trainer that keeps no graph."""
    with monkeypatch.context() as patched:
        patched.setattr(
            trainer_module,
            "collect",
            lambda *arguments, **options: collect(*arguments, **{**options, "keep_graph": False}),
        )
        return run_update(trainer)


@pytest.mark.parametrize("config", STEPS)
def test_it_is_the_step_that_a_second_forward_would_have_made(
    make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    trainers = make_trainer(config), make_trainer(config)
    for _ in range(2):  # the second time with Adam's moments, a critic that says something, and a reference elsewhere
        kept, again = run_update(trainers[0]), asked_again(trainers[1], run_update, monkeypatch)
        assert torch.equal(kept.rollout.response_ids, again.rollout.response_ids)
        for one, other in zip(kept.epochs, again.epochs, strict=True):
            torch.testing.assert_close(one.new_logprobs, other.new_logprobs, rtol=1e-4, atol=2e-5)
            torch.testing.assert_close(one.values, other.values, rtol=1e-4, atol=2e-5)
            torch.testing.assert_close(one.entropies, other.entropies, rtol=1e-4, atol=2e-5)
            torch.testing.assert_close(one.gradient_shares, other.gradient_shares, rtol=1e-3, atol=1e-5)
        assert kept.epochs[0].grad_norm == pytest.approx(again.epochs[0].grad_norm, rel=1e-4)
        assert torch.equal(kept.epochs[0].ratios, kept.rollout.response_mask.float())  # 1, exactly
    start, moved = weights(trainers[0].reference), weights(trainers[0].policy)
    for name, tensor in weights(trainers[1].policy).items():
        torch.testing.assert_close(moved[name], tensor, rtol=1e-3, atol=1e-4)
    assert any(not torch.equal(moved[name], start[name]) for name in start)


def test_it_spares_a_forward(make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(CONFIG)
    asked = forwards(trainer, monkeypatch)
    run_update(trainer)
    assert asked == [True, False, True, True, False]  # old and epoch 1 in one, one row's, epochs 2 and 3, the record


@pytest.mark.parametrize(
    "change",
    [{"minibatches": 2}, {"dropout_on": True}, {"replay_rollouts": 2}],
    ids=["minibatches", "dropout", "replay"],
)
def test_a_step_over_other_rows_or_under_dropout_makes_its_own(
    make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    config = CONFIG.replace(epochs=1, **change)
    trainer = make_trainer(config)
    run_update(trainer)  # so that there is something to replay
    asked = forwards(trainer, monkeypatch)
    run_update(trainer)
    assert asked == [False, *[True] * config.minibatches, False]


# --- where it is not what the policy would say any more ---


def test_the_check_of_the_first_ratio_asks_one_response_anew(
    make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, rows = make_trainer(CONFIG), []
    forward = trainer.optimiser._forward

    def noted(batch: Batch, *arguments: Any) -> Any:
        rows.append(batch.response_ids.tolist())
        return forward(batch, *arguments)

    monkeypatch.setattr(trainer.optimiser, "_forward", noted)
    asked = []
    for _ in range(8):
        rows.clear()
        update = run_update(trainer)
        [one] = rows[0]
        asked.append(update.rollout.response_ids.tolist().index(one))
        holds, measured = update.checks["first_ratio"]
        assert holds and measured < 1e-5
    assert sorted(asked) == list(range(8))  # another in every update


@pytest.mark.parametrize(("bf16", "off"), [(False, 4e-6), (True, 0.01)], ids=["float32", "bfloat16"])
def test_rounding_makes_no_forward_stale_and_is_what_the_check_reports(
    make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch, bf16: bool, off: float
) -> None:
    trainer = make_trainer(CONFIG.replace(epochs=1), bf16=bf16)
    forward = trainer.optimiser._forward

    def rounded(*arguments: Any) -> Any:
        scores = forward(*arguments)
        return scores._replace(logprobs=scores.logprobs + off)  # as another order of sums might make it

    monkeypatch.setattr(trainer.optimiser, "_forward", rounded)
    asked = forwards(trainer, monkeypatch)
    update = run_update(trainer)
    assert asked == [True, False, False]  # old and epoch 1 in one, one row's, the record
    holds, measured = update.checks["first_ratio"]
    assert holds and measured == pytest.approx(off, rel=0.1)
    assert torch.equal(update.epochs[0].ratios, update.rollout.response_mask.float())  # of the kept forward: 1


def test_a_temperature_forgotten_in_the_update_is_seen(
    make_trainer: MakeTrainer, run_update: RunUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(CONFIG.replace(temperature=0.7))
    forward = trainer.optimiser._forward

    def forgetful(batch: Batch, config: Config, *upto: int) -> Any:
        return forward(batch, config.replace(temperature=1.0), *upto)

    monkeypatch.setattr(trainer.optimiser, "_forward", forgetful)
    update = run_update(trainer)
    assert not update.checks["first_ratio"][0]
    off = (update.epochs[0].ratios - 1)[update.rollout.response_mask].abs().max()
    assert update.checks["first_ratio"][1] == pytest.approx(float(off))  # the step had a forward of its own, all of it


def test_dropout_left_on_inside_the_model_is_seen(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(CONFIG)
    run_update(trainer)
    for module in trainer.policy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    trainer.policy.lm.train()
    assert not trainer.policy.training
    assert not run_update(trainer).checks["first_ratio"][0]


def test_another_update_in_between_is_seen(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer(CONFIG)
    late = trainer.stages()
    next(late)
    run_update(trainer)
    update = list(late)[-1].update
    assert update is not None and not update.checks["first_ratio"][0]


@pytest.mark.parametrize("how", ["reset", "load_state", "in place", "in place, unseen by autograd"])
def test_weights_that_change_in_between_are_asked_again(make_trainer: MakeTrainer, how: str) -> None:
    trainer = make_trainer(CONFIG)
    state = trainer.state()
    stages = trainer.stages()
    next(stages)
    if how == "reset":
        trainer.reset()
    elif how == "load_state":
        trainer.load_state(state)
    elif how == "in place":
        with torch.no_grad():
            for parameter in trainer.policy.parameters():
                parameter.mul_(1.5)
    else:
        for parameter in trainer.policy.parameters():
            parameter.data.mul_(1.5)
    update = list(stages)[-1].update
    assert update is not None
    assert update.checks["first_ratio"][0] == how.endswith(("reset", "load_state"))  # which brought the same weights


def test_sampling_without_a_step_keeps_no_graph(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(CONFIG)
    asked = forwards(trainer, monkeypatch)
    rollout, _ = trainer.sample(CONFIG, 1)
    assert asked == [False] and not rollout.old_logprobs.requires_grad


def test_nothing_that_is_recorded_holds_the_graph(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    update = run_update(make_trainer(CONFIG))
    for record in (update.rollout, update.credit, *update.epochs):
        tensors = [value for value in vars(record).values() if isinstance(value, torch.Tensor)]
        assert tensors and not any(tensor.requires_grad for tensor in tensors)
