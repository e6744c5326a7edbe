"""What becomes of the weights when the consumer of ``stages()`` lets go of it."""

from __future__ import annotations

import torch

from explorer.config import Config
from explorer.ppo.trainer import Trainer


def test_dropping_the_generator_after_done_keeps_the_update(tiny_policy):
    trainer = Trainer(tiny_policy, Config(batch_size=4, response_length=6, learning_rate=1e-2), prompts=["a b"])
    before = trainer.policy.lm.transformer.wte.weight.clone()
    stages = trainer.stages()
    for stage in stages:
        if stage.update is not None:
            break
    stages.close()
    assert trainer.updates == 1
    assert not torch.equal(trainer.policy.lm.transformer.wte.weight, before)
