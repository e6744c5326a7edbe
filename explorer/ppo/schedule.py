"""The learning rates over a run: constant, or falling in a straight line to 0."""

from __future__ import annotations

from explorer.config import Config


def learning_rate_scale(config: Config, update: int) -> float:
    """What both learning rates are multiplied with in an update.

    Args:
        config: ``lr_schedule``; ``constant`` is 1, ``linear`` falls by ``1 / lr_decay_updates`` an update and stays at
            0 from update ``lr_decay_updates + 1`` on.
        update: its number, 1 for the first, which always has the whole rate.

    Source:
        Linear decay to 0, stepped once a rollout: OpenAI (2019), in their code, lm-human-preferences, where it is
        ``lr * (1 - steps made / all steps)``; and TRL.
    """
    if config.lr_schedule == "constant":
        return 1.0
    return max(0.0, 1.0 - (update - 1) / config.lr_decay_updates)


def scheduled(config: Config, update: int) -> Config:
    """The config with the learning rates that are in force in an update."""
    scale = learning_rate_scale(config, update)
    if scale == 1.0:
        return config
    return config.replace(
        learning_rate=config.learning_rate * scale, value_learning_rate=config.value_learning_rate * scale
    )
