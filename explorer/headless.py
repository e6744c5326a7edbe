"""Training without a page: ``explorer.Trainer`` in a script, a test or on the command line."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import explorer
from explorer.config import Config
from explorer.ppo import trainer
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot, take_snapshot
from explorer.recording.storage import Recording, RunWriter

#: What the progress bar shows.
SHOWN = ("objective/score", "objective/ref_kl", "policy/clipfrac")


class Trainer(trainer.Trainer):
    """Trains a policy with PPO, headless, and records it.

        trainer = explorer.Trainer(config=explorer.Config(clip_range=0.1))
        snapshot = trainer.update()                    # one update
        recording = trainer.train(40, out="run")       # forty more, each on disk as soon as it is done

    Arguments and errors as in ``explorer.ppo.trainer.Trainer``.
    """

    def update(self, config: Config | None = None) -> Snapshot:
        """Run one whole update and record it. Raises as ``stages`` does, and then the trainer is as before.

        Args:
            config: the knobs of this update alone; None is ``self.config``.
        """
        config = config or self.config
        done = None
        for stage in self.stages(config):
            done = stage.update
        assert done is not None  # stages() ends with the one that carries the update, or raises
        return take_snapshot(done, config, self.policy)

    def train(
        self,
        updates: int,
        progress: bool = True,
        out: str | Path | None = None,
        on_snapshot: Callable[[Snapshot], Any] | None = None,
        keep_every: int = 1,
    ) -> Recording:
        """Run so many updates and record them.

        A keyboard interrupt ends the run after the last whole update: what there is by then is returned. With ``out``
        that holds for whatever else ends it, as the folder is complete after every update.

        Args:
            updates: how many more updates to run, from 1.
            progress: show score, KL and clip fraction on stderr as it goes; nothing where that is no terminal.
            out: a new or empty folder to record into. Without one the snapshots stay in memory, the older ones
                thinned out as ``History`` does.
            on_snapshot: called after every update, with it; may replace ``self.config`` for the next one.
            keep_every: with ``out``: keep the snapshot of every n-th update only, and of the first and the last;
                metrics of all.

        Returns:
            The recording, read from ``out`` where it is given.

        Raises:
            ValueError: ``updates`` or ``keep_every`` is less than 1, ``out`` holds something already, or there is
                no ``out`` to thin.
            RewardError, FloatingPointError: as ``stages`` does.
        """
        if updates < 1:
            raise ValueError(f"updates is {updates}, but must be a whole number from 1.")
        if out is None and keep_every != 1:
            raise ValueError("keep_every thins a recording on disk: name its folder as out.")
        info, history = run_info(self), History()
        metrics: dict[int, Mapping[str, float]] = {}
        configs: dict[int, Config] = {}
        with (
            nullcontext() if out is None else RunWriter(out, info, keep_every) as writer,
            _progress(updates, progress) as show,
            suppress(KeyboardInterrupt),
        ):
            for _ in range(updates):
                snapshot = self.update()
                if writer is not None:
                    writer.append(snapshot)
                else:
                    history.append(snapshot)
                    metrics[snapshot.update], configs[snapshot.update] = snapshot.metrics, snapshot.config
                show(snapshot.metrics)
                if on_snapshot is not None:
                    on_snapshot(snapshot)
        if out is not None:
            return Recording.load(out)
        return Recording.in_memory(list(history), info=info, metrics=metrics, configs=configs)


def run_info(live: trainer.Trainer) -> dict[str, Any]:
    """What a recording says of its run: versions, seed, policy, device, prompts, and when it was begun (UTC)."""
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"explorer": explorer.__version__, **{name: version(name) for name in ("torch", "transformers")}},
        "seed": live.config.seed,
        "policy": live.policy.name,
        "device": str(live.policy.device),
        "bf16": live.policy.bf16,
        "prompts": list(live.prompts),
    }


@contextmanager
def _progress(updates: int, wanted: bool) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A bar on stderr that is given the metrics of each update; nothing where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("update"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[now]}"),
        TimeRemainingColumn(),
    )
    quiet = not wanted or not (console.is_terminal or console.is_jupyter)
    with Progress(*columns, console=console, disable=quiet) as bar:
        task = bar.add_task("", total=updates, now="")

        def show(metrics: Mapping[str, float]) -> None:
            score, kl, clipped = (metrics[name] for name in SHOWN)
            bar.update(task, advance=1, now=f"score {score:+.2f}  KL {kl:.2f}  clipped {clipped:.1%}")

        yield show
