"""A trainer's state: it is everything that the next update depends on, and nothing that does not fit is let in."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from explorer.config import Config
from explorer.ppo.adaptive import Coefficients
from explorer.ppo.policy import Policy
from explorer.ppo.rewards.score import RewardError
from explorer.ppo.state import State, StateError, capture, restore, weights_digest
from explorer.ppo.trainer import Trainer
from tests.ppo.comparing import assert_equal
from tests.ppo.second_device import moved, second_device

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

SMALL: dict[str, Any] = {"batch_size": 8, "group_size": 2, "response_length": 6, "epochs": 2, "learning_rate": 1e-3}
CONFIGS = {
    "plain": Config(**SMALL, minibatches=3, stop_sentences=1),
    "replay, linear rate, dropout": Config(**SMALL, replay_rollouts=3, lr_schedule="linear", dropout_on=True),
    "critic of its own, adaptive KL": Config(**SMALL, critic="separate", kl_target=0.5, kl_horizon=8),
    "PPO-penalty": Config(**SMALL, objective="kl_penalty"),
    "frozen critic": Config(**SMALL, freeze_critic=True),
}


def same_state(one: State, other: State) -> bool:
    plain = [(s.updates, s.config, s.prompts, s.coefficients, s.born, s.temperatures) for s in (one, other)]
    assert list(one.tensors) == list(other.tensors)
    return plain[0] == plain[1] and all(torch.equal(one.tensors[n], other.tensors[n]) for n in one.tensors)


@pytest.fixture
def trained(make_trainer: MakeTrainer, run_update: RunUpdate) -> Trainer:
    """A trainer after two updates."""
    trainer = make_trainer(Config(**SMALL))
    for _ in range(2):
        run_update(trainer)
    return trainer


@pytest.mark.parametrize("name", CONFIGS)
def test_another_trainer_goes_on_from_a_state_bit_for_bit(
    make_trainer: MakeTrainer, run_update: RunUpdate, name: str
) -> None:
    config = CONFIGS[name]
    trainer, other = make_trainer(config), make_trainer(Config(**SMALL))
    for _ in range(3):
        run_update(trainer)
    state = trainer.state()
    run_update(other)
    other.load_state(state)
    for _ in range(2):
        assert_equal(run_update(trainer), run_update(other))
    assert same_state(trainer.state(), other.state())
    assert state.updates == 3


def test_a_trainer_goes_back_to_an_earlier_state(trained: Trainer, run_update: RunUpdate) -> None:
    state = trained.state()
    before = copy.deepcopy(state)
    first = [run_update(trained), run_update(trained)]
    assert same_state(state, before)  # a copy: nothing that came later is in it
    trained.load_state(state)
    assert trained.updates == 2
    for update in first:
        assert_equal(run_update(trained), update)
    assert same_state(state, before)


def test_an_untouched_trainer_has_a_state_too(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    trainer = make_trainer()
    state = trainer.state()
    first = run_update(trainer)
    assert {name.partition("/")[0] for name in state.tensors} == {"weights"}
    trainer.load_state(state)
    assert_equal(run_update(trainer), first)


def test_a_state_from_before_a_critic_of_its_own_takes_it_away(make_trainer: MakeTrainer) -> None:
    shared, separate = make_trainer(Config(**SMALL)), make_trainer(Config(**SMALL, critic="separate"))
    restore(separate, shared.state())
    assert separate.policy.critic is None
    assert separate.config.critic == "shared"
    assert same_state(separate.state(), shared.state())


def test_tied_weights_are_in_it_once_and_every_parameter_is(trained: Trainer) -> None:
    state = trained.state()
    weights = {name: t for name, t in state.tensors.items() if name.startswith("weights/")}
    assert "weights/lm.lm_head.weight" not in weights
    assert sum(t.numel() for t in weights.values()) == trained.policy.parameter_count
    moments = [t for name, t in state.tensors.items() if name.endswith(("/exp_avg", "/exp_avg_sq"))]
    assert sum(t.numel() for t in moments) == 2 * trained.policy.parameter_count
    steps = {float(t) for name, t in state.tensors.items() if name.endswith("/step")}
    assert steps == {4.0}  # two updates of two epochs
    assert state.nbytes == sum(t.numel() * t.element_size() for t in state.tensors.values())


def test_the_config_of_the_next_update_may_be_another(trained: Trainer) -> None:
    config = trained.config.replace(clip_range=0.3)
    assert capture(trained, config).config == config
    assert capture(trained).config == trained.config


def test_a_state_is_on_the_cpu_wherever_the_trainer_is(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    config = Config(**SMALL, replay_rollouts=2)
    there, here = make_trainer(config), make_trainer(config)
    for _ in range(2):
        run_update(here)
    with second_device():
        trainer = make_trainer(config, policy=moved(there.policy))
        trainer.load_state(here.state())
        assert same_state(trainer.state(), here.state())
        assert all(type(t) is torch.Tensor and t.device.type == "cpu" for t in trainer.state().tensors.values())
        run_update(trainer)
        assert trainer.updates == 3


REFUSED: dict[str, tuple[Callable[[State], State], str]] = {
    "a weight is missing": (lambda s: _replaced(s, "weights/value_head.bias", None), "no 'weights/value_head.bias'"),
    "a weight has another shape": (
        lambda s: _replaced(s, "weights/value_head.bias", torch.zeros(2)),
        r"'weights/value_head.bias' in the state is float32 \[2\], but this policy's is float32 \[1\]",
    ),
    "a weight has another type": (
        lambda s: _replaced(s, "weights/value_head.bias", torch.zeros(1, dtype=torch.int64)),
        "int64",
    ),
    "a weight is unknown": (lambda s: _replaced(s, "weights/../../etc", torch.zeros(1)), "has a 'weights/../../etc'"),
    "a moment is missing": (lambda s: _replaced(s, "adam/value_head.bias/exp_avg", None), "no 'adam/value_head.bias"),
    "a step is no number of steps": (
        lambda s: _replaced(s, "adam/value_head.bias/step", torch.tensor(float("nan"))),
        "step' in the state is nan",
    ),
    "a replayed tensor is missing": (lambda s: _replaced(s, "replay/1/returns", None), "no 'replay/1/returns'"),
    "replayed tensors do not fit": (lambda s: _replaced(s, "replay/1/returns", torch.zeros(8, 5)), "replay/1/returns"),
    "a replayed token is no token": (
        lambda s: _replaced(s, "replay/0/response_ids", s.tensors["replay/0/response_ids"] + 10_000),
        "a token that this policy does not",
    ),
    "a replayed response is too long": (
        lambda s: _longer(s, 40),
        "longer than this policy can read",
    ),
    "the births are out of order": (lambda s: dataclasses.replace(s, born=(1, 2)), r"replays updates \[1, 2\]"),
    "there are more births than tensors": (
        lambda s: dataclasses.replace(s, updates=9, born=(9, 2, 1), temperatures=(1.0,) * 3),
        "replay/2/",
    ),
    "a temperature is missing": (lambda s: dataclasses.replace(s, temperatures=(1.0,)), r"of temperatures \[1.0\]"),
    "a temperature cannot be": (
        lambda s: dataclasses.replace(s, temperatures=(1.0, 0.0)),
        r"temperatures \[1.0, 0.0\]",
    ),
    "the number of updates cannot be": (lambda s: dataclasses.replace(s, updates=-1), "of update -1"),
    "a coefficient cannot be": (
        lambda s: dataclasses.replace(s, coefficients=Coefficients(float("inf"), 1.0, 0.1, 1.0)),
        "coefficients",
    ),
    "a prompt is too long": (lambda s: dataclasses.replace(s, prompts=("The cat " * 40,)), "prompt"),
    "a reward is unknown": (
        lambda s: dataclasses.replace(s, config=s.config.replace(weights={"mine": 1.0})),
        "no reward component 'mine'",
    ),
}


def _replaced(state: State, name: str, tensor: torch.Tensor | None) -> State:
    found = {known: t for known, t in state.tensors.items() if known != name}
    return dataclasses.replace(state, tensors=found if tensor is None else found | {name: tensor})


def _longer(state: State, length: int) -> State:
    found = {
        name: t.new_zeros(8, length) if name.startswith("replay/0/") and "prompt" not in name else t
        for name, t in state.tensors.items()
    }
    return dataclasses.replace(state, tensors=found)


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(trained: Trainer, run_update: RunUpdate, case: str) -> None:
    change, message = REFUSED[case]
    before = trained.state()
    with pytest.raises(ValueError, match=message) as refused:
        trained.load_state(change(before))
    assert len(str(refused.value).splitlines()) == 1
    assert same_state(trained.state(), before)
    run_update(trained)


def test_a_state_error_is_a_value_error() -> None:
    assert issubclass(StateError, ValueError)


def test_an_update_that_was_dropped_does_not_undo_a_restore(trained: Trainer, run_update: RunUpdate) -> None:
    state = trained.state()
    stages = trained.stages()
    while next(stages).epoch < 1:
        pass
    trained.load_state(state)
    stages.close()
    assert same_state(trained.state(), state)


def test_a_failed_update_leaves_the_state_as_it_was(make_trainer: MakeTrainer, run_update: RunUpdate) -> None:
    scored: list[int] = []

    def broken(prompts: list[str], responses: list[str]) -> list[float]:
        scored.append(1)
        return [1 / (3 - len(scored))] * len(prompts)

    trainer = make_trainer(Config(**SMALL), rewards={"broken": broken})
    run_update(trainer)
    run_update(trainer)
    before = trainer.state()
    with pytest.raises(RewardError):
        run_update(trainer)
    assert same_state(trainer.state(), before)


def test_a_digest_tells_policies_apart(make_tiny_policy: Callable[[], Policy]) -> None:
    one, other = make_tiny_policy(), make_tiny_policy()
    assert weights_digest(one) == weights_digest(other)
    assert len(weights_digest(one)) == 64
    with torch.no_grad():
        other.lm.transformer.ln_f.bias[3] += 1e-3
    assert weights_digest(one) != weights_digest(other)
