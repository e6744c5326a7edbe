"""Where the running update stands, and as much of it as there is, for a page that looks at its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.recording.snapshot import Tokens, decode, freeze

if TYPE_CHECKING:
    from explorer.ppo.records import Credit, Curve, Epoch, Rollout
    from explorer.ppo.trainer import Stage, Trainer

#: The stages before the epochs, in order.
BEFORE_EPOCHS = ("sample", "score", "shape", "advantage")


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """An update of which some stages have run: as much of a Snapshot as there is.

    Attributes:
        components, scores: ``{name: [B]}`` and ``[B]`` from the stage ``score`` on, empty and None before.
        credit: from ``shape`` on, None before.
        epochs: those that have run.
        config: with the coefficients in force, where they adapt.
        update, rollout, tokens, curve: as in a Snapshot.
    """

    update: int
    config: Config
    rollout: Rollout
    tokens: Tokens
    credit: Credit | None
    epochs: tuple[Epoch, ...]
    components: Mapping[str, Any] = field(default_factory=dict)
    scores: Any = None
    curve: Curve | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the running update stands.

    Attributes:
        update: its number.
        finished: the stage that has just ended, "" at the start.
        running: the stage that comes next: what the worker is doing now.
        epoch: the epoch that is running, 0 outside the epochs.
        epochs: how many there are.
        fraction: how much of the update's stages are done, 0 to 1.
        unfinished: the records so far, where they are to be shown.
        waiting: whether the finished stage is being shown, and ``running`` has not begun yet.
    """

    update: int
    finished: str
    running: str
    epoch: int
    epochs: int
    fraction: float
    unfinished: Unfinished | None = None
    waiting: bool = False


def progress(trainer: Trainer, config: Config, stage: Stage | None, show: bool) -> Progress:
    """Where an update stands.

    Args:
        trainer: whose update it is.
        config: the settings that it began with.
        stage: the one that has just ended; None before the first.
        show: whether what the stages have made so far is to be seen.
    """
    # Fewer than were asked for, once an epoch has reached the KL at which the update stops.
    epochs = config.epochs if stage is None else stage.epochs
    update = trainer.updates + (0 if stage is not None and stage.update is not None else 1)
    total = len(BEFORE_EPOCHS) + epochs + 1
    if stage is None:
        return Progress(update=update, finished="", running="sample", epoch=0, epochs=epochs, fraction=0.0)
    if stage.update is not None:
        return Progress(update=update, finished="done", running="repeat", epoch=0, epochs=epochs, fraction=1.0)
    if stage.name == "epoch":
        done, epoch = len(BEFORE_EPOCHS) + stage.epoch, stage.epoch + 1
        running = "epoch" if epoch <= epochs else "done"
    else:
        done = BEFORE_EPOCHS.index(stage.name) + 1
        running = BEFORE_EPOCHS[done] if done < len(BEFORE_EPOCHS) else "epoch"
        epoch = 1 if running == "epoch" else 0
    return Progress(
        update=update,
        finished=stage.name,
        running=running,
        epoch=min(epoch, epochs),
        epochs=epochs,
        fraction=done / total,
        unfinished=_unfinished(trainer, config, stage, update) if show else None,
    )


def _unfinished(trainer: Trainer, in_force: Config, stage: Stage, update: int) -> Unfinished:
    from explorer.ppo.objectives import curve
    from explorer.ppo.rewards.score import weighted

    config = trainer.coefficients.under(in_force).put_into(in_force)
    components = stage.components or {}
    rollout = stage.rollout.map(freeze)
    return Unfinished(
        update=update,
        config=config,
        rollout=rollout,
        tokens=decode(rollout, trainer.policy),
        components={name: freeze(values) for name, values in components.items()},
        scores=freeze(weighted(components, config.weights)) if components else None,
        curve=curve(config).map(freeze),
        credit=stage.credit.map(freeze) if stage.credit is not None else None,
        epochs=tuple(epoch.map(freeze) for epoch in stage.trained),
    )
