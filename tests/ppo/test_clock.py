"""How long each stage takes, on a processor and on a GPU: whose time and whose work is the test's to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from explorer.ppo import clock as clock_module
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
