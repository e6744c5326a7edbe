"""How long each stage takes, on a processor and on a GPU: whose time and whose work is the test's to move."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from explorer.config import Config
from explorer.ppo import clock as clock_module
from explorer.ppo import rollouts
from explorer.ppo.clock import Clock

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer


class Machine:
    """Time that passes when it is told to, and a GPU that is asked for work and does it only while it is waited for."""

    def __init__(self) -> None:
        self.now, self.asked, self.waited = 0.0, 0.0, 0

    def synchronize(self, device: torch.device) -> None:
        assert device == torch.device("cuda", 1)
        self.now, self.asked, self.waited = self.now + self.asked, 0.0, self.waited + 1


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(torch.cuda, "synchronize", made.synchronize)
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: made.now)
    return made


def test_a_stage_on_a_gpu_is_charged_with_what_it_asked_for(machine: Machine) -> None:
    machine.asked = 100.0  # somebody else's, before the update
    clock = Clock(torch.device("cuda", 1))
    machine.asked += 3.0
    clock.mark("sample")
    machine.now += 50.0  # whoever looks at the stage takes his time, and asks for work of his own
    machine.asked += 7.0
    clock.start()
    machine.now += 0.5
    machine.asked += 2.0
    clock.mark("epoch 1")
    assert clock.seconds == {"sample": 3.0, "epoch 1": 2.5}
    assert machine.waited == 4


def test_stages_follow_one_another_and_what_comes_back_is_added(machine: Machine) -> None:
    clock = Clock(torch.device("cpu"))
    for seconds, name in ((4.0, "sample"), (1.0, "old"), (2.0, "reference")):
        machine.now += seconds
        clock.mark(name)
    machine.now += 9.0
    clock.start()
    machine.now += 0.5
    clock.mark("reference")
    assert clock.seconds == {"sample": 4.0, "old": 1.0, "reference": 2.5}


def test_the_passes_over_the_samples_are_timed_apart(
    make_trainer: MakeTrainer, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model's pass takes the time that this test says it takes, whoever asks for it."""
    trainer = make_trainer(Config(batch_size=8, response_length=6, epochs=2, estimator="remax"))
    for model, seconds in ((trainer.policy, 1.0), (trainer.reference, 100.0)):
        monkeypatch.setattr(model, "score_tokens", _slow(machine, model.score_tokens, seconds))
    monkeypatch.setattr(rollouts, "sample", _slow(machine, rollouts.sample, 10_000.0))
    update = list(trainer.stages())[-1].update
    assert update is not None
    expected = {"sample": 10_000, "old": 1, "reference": 200, "score": 0, "advantage": 0}  # ReMax's answers once more
    assert update.seconds == {**expected, "epoch 1": 1, "epoch 2": 1, "record": 1}
    assert update.metrics["throughput/seconds"] == 10_204


def _slow(machine: Machine, function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def slow(*arguments: Any, **options: Any) -> Any:
        machine.now += seconds
        return function(*arguments, **options)

    return slow


def test_on_a_processor_nobody_is_waited_for(machine: Machine, make_trainer: MakeTrainer) -> None:
    clock = Clock(torch.device("cpu"))
    machine.now += 3.0
    clock.mark("sample")
    assert clock.seconds == {"sample": 3.0}
    list(make_trainer().stages())
    assert machine.waited == 0


def test_an_update_is_timed_on_the_device_it_computes_on(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []
    begin = Clock.__init__
    monkeypatch.setattr(Clock, "__init__", lambda self, device: begin(self, devices.append(device) or device))
    trainer = make_trainer()
    list(trainer.stages())
    assert devices == [trainer.policy.device]
