"""Training without a page: ``explorer.Trainer`` in a script, a test or on the command line."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from explorer.config import Config
from explorer.ppo import trainer
from explorer.ppo.loading import load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.state import weights_digest
from explorer.recording.background import BackgroundWriter
from explorer.recording.breaking_off import told_with_the_lost
from explorer.recording.folder import RecordingError
from explorer.recording.history import History
from explorer.recording.origin import Origin, find_origin
from explorer.recording.repeating import Repeat
from explorer.recording.run_info import run_info
from explorer.recording.snapshot import Snapshot, take_snapshot
from explorer.recording.storage import Recording, RunWriter
from explorer.recording.writer import CHECKPOINT_MEGABYTES, PASSING_SECONDS

if TYPE_CHECKING:
    import torch

#: What the progress bar shows.
SHOWN = ("objective/score", "objective/ref_kl", "policy/clipfrac")


class Trainer(trainer.Trainer):
    """Trains a policy with PPO, headless, and records it.

        trainer = explorer.Trainer(config=explorer.Config(clip_range=0.1))
        snapshot = trainer.update()                    # one update
        recording = trainer.train(40, out="run")       # forty more, each on disk as soon as it is done
        trainer = explorer.Trainer.resume("run")       # later, perhaps after a crash: as it was at the last checkpoint

    Arguments and errors as in ``explorer.ppo.trainer.Trainer``.

    PyTorch's number of threads is the whole process's, so it is left as it is. The page and the command take one:
    ``torch.set_num_threads(1)``, before the trainer is made, makes a library run the same bit for bit and keeps it from
    slowing down when another program takes a core; on an idle machine PyTorch's own choice can be faster.

    Attributes:
        origin: the checkpoint from which it was resumed, or None.
    """

    origin: Origin | None = None

    @classmethod
    def resume(
        cls,
        folder: str | Path,
        update: int | None = None,
        config: Config | Mapping[str, Any] | None = None,
        *,
        policy: Policy | str | None = None,
        rewards: Mapping[str, Callable[..., Any]] | None = None,
        device: str | torch.device | None = None,
        bf16: bool | None = None,
    ) -> Self:
        """A trainer as it was at a checkpoint of a recorded run: go on, or change something and see what differs.

            Trainer.resume("run").train(20, out="run")                              # go on in the same folder
            Trainer.resume("run", 20, {"clip_range": 0.1}).train(20, out="fork")    # another way from update 20 on

        Each update draws the random numbers that it drew before, as they belong to (seed, update). So without a change
        it is bit-identical to a run that was never stopped, on the same machine with the same number of threads. Where
        PyTorch's version, the number of threads or the device is another than at the checkpoint, a warning says so.

        Args:
            folder: the run's folder.
            update: after which update, one of those with a checkpoint; None is the newest.
            config: the knobs from here on: a Config, or those to change as ``Config.replace`` takes them. None is what
                the run had. The critic and the responses' length stay what they were.
            policy: the policy with which the run was *begun*, as in the constructor.
            rewards: the components of your own that the run had.
            device: where to compute; None is where the run did.
            bf16: whether in bfloat16; None is as the run did.

        Raises:
            RecordingError: the folder is no recording, has no such checkpoint, or was begun with another policy.
            ValueError, TypeError: the checkpoint or a knob does not suit this trainer.
        """
        origin, state = find_origin(folder, update)
        where, precision = device or origin.device, origin.bf16 if bf16 is None else bf16
        found = policy if isinstance(policy, Policy) else load_policy(policy, where, precision)
        live = cls(found, state.config, rewards, state.prompts, where, precision)
        origin.check_policy(weights_digest(live.reference))
        live.load_state(state)
        if config is not None:
            live.config = config if isinstance(config, Config) else live.config.replace(**config)
            origin.check_changes(live.config)
        live.origin = origin
        if unlike := live._unlike():
            then, here = unlike
            warnings.warn(
                f"'{origin.folder}' was made with {then} and goes on with {here}: after update {origin.update} it "
                f"is not bit for bit the run that would never have stopped. For that one, go on with {then}.",
                stacklevel=2,
            )
        return live

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
        checkpoint_every: int = 10,
        checkpoint_megabytes: float = CHECKPOINT_MEGABYTES,
    ) -> Recording:
        """Run so many updates and record them.

        A keyboard interrupt ends the run after the last whole update: what there is by then is returned. With ``out``
        that holds for whatever else ends it: a thread of its own writes each update while the next is computed, and
        before the one after that begins it is safe on the disk.

        With ``out`` the state is kept as well, so that ``resume`` can go on from it: at the start, after every n-th
        update, and where the run ends, is interrupted or fails. For the bundled policy one weighs 12.6 MB.

        Args:
            updates: how many more updates to run, from 1.
            progress: show score, KL and clip fraction on stderr as it goes; nothing where that is no terminal.
            out: a new or empty folder to record into, or the folder of the run that was resumed. What that holds after
                its checkpoint, as after a kill, stays: it is computed again with the settings that it had, and
                compared. Without a folder the snapshots stay in memory, the older ones thinned out as ``History``
                does.
            on_snapshot: called after every update, with it; may replace ``self.config`` for the next one.
            keep_every: with ``out``: keep the snapshot of every n-th update only, and of the first and the last;
                metrics of all.
            checkpoint_every: with ``out``: keep the state after every n-th update; 0 keeps none at all.
            checkpoint_megabytes: what the checkpoints may weigh together, in millions of bytes. Past it every second
                one of the older half goes; the newest always stays.

        Returns:
            The recording, read from ``out`` where it is given.

        Raises:
            ValueError: ``updates`` or ``keep_every`` is less than 1, ``out`` holds something already, or there is
                no ``out`` to thin.
            RecordingError: ``out`` takes no more, as the disk is full: it holds every update until then, and the
                trainer is as after its last update and can go on. Or an update that was made once more is not the
                recorded one; nothing has changed in ``out``.
            RewardError, FloatingPointError: as ``stages`` does.
        """
        if updates < 1:
            raise ValueError(f"updates is {updates}, but must be a whole number from 1.")
        if out is None and keep_every != 1:
            raise ValueError("keep_every thins a recording on disk: name its folder as out.")
        if checkpoint_every < 0:
            raise ValueError(f"checkpoint_every is {checkpoint_every}, but must be a whole number from 0.")
        info, history = self._info(), History()
        metrics: dict[int, Mapping[str, float]] = {}
        configs: dict[int, Config] = {}
        steps = (
            (self.update() for _ in range(updates))
            if out is None
            else self.record(updates, out, keep_every, checkpoint_every, checkpoint_megabytes)
        )
        with closing(steps), _progress(updates, progress) as show, suppress(KeyboardInterrupt):
            for snapshot in steps:
                if out is None:
                    history.append(snapshot)
                    metrics[snapshot.update], configs[snapshot.update] = snapshot.metrics, snapshot.config
                show(snapshot.metrics)
                if on_snapshot is not None:
                    on_snapshot(snapshot)
        if out is not None:
            return Recording.load(out)
        return Recording.in_memory(list(history), info=info, metrics=metrics, configs=configs)

    def record(
        self,
        updates: int,
        out: str | Path,
        keep_every: int = 1,
        checkpoint_every: int = 10,
        checkpoint_megabytes: float = CHECKPOINT_MEGABYTES,
    ) -> Generator[Snapshot, None, None]:
        """As ``train`` with ``out``, one update each time that it is asked: its caller may stop between two of them.

        Closing it, or an exception in it, keeps the state after the last whole update and lets go of the folder.
        Arguments and errors as for ``train``, with the first update.
        """
        writer = self._writer(out, self._info(), keep_every, checkpoint_every, checkpoint_megabytes)
        try:
            with writer:
                yield from self._recorded(writer, updates, out, checkpoint_every)
        except RecordingError as error:
            if not writer.failed:
                raise
            raise told_with_the_lost(error, Path(out), writer.last, self.updates) from error.__cause__

    def _recorded(
        self, writer: BackgroundWriter, updates: int, out: str | Path, checkpoint_every: int
    ) -> Generator[Snapshot, None, None]:
        repeat = Repeat(Recording.load(out), self.updates)
        kept = written = self.updates
        safe_at = monotonic()
        try:
            for _ in range(updates):
                self.config = repeat.config_at(self.updates + 1) or self.config
                snapshot = self.update()
                if snapshot.update in repeat.updates:
                    self._check_same(snapshot, repeat, out)
                else:
                    writer.append(snapshot)
                written = snapshot.update
                yield snapshot
                # After whoever asked has seen it: the state has the knobs of the next update.
                due = checkpoint_every and self.updates % checkpoint_every == 0
                if due or (checkpoint_every and monotonic() - safe_at >= PASSING_SECONDS):
                    writer.checkpoint(self.state(), passing=not due)
                    kept = self.updates if due else kept
                    safe_at = monotonic()
        finally:
            # An interrupt can come between an update's end and its recording: then its state is not kept either.
            if checkpoint_every and kept < self.updates == written and not writer.failed:
                writer.checkpoint(self.state())

    def _check_same(self, snapshot: Snapshot, repeat: Repeat, out: str | Path) -> None:
        """Raises RecordingError where an update that is made once more is not the one that is recorded."""
        found = repeat.difference(snapshot)
        if found is not None:
            unlike = self._unlike()
            others = "as with another version of PyTorch, another device, other threads or other rewards"
            reason = others if unlike is None else f"as it was made with {unlike[0]}, and not with {unlike[1]}"
            raise RecordingError(
                f"'{out}' cannot be gone on with in place: update {snapshot.update}, made once more from the newest "
                f"state, is not the one that is recorded ({found.quantity} is {found.child} and was {found.parent}), "
                f"{reason}. What is recorded stays as it is: go on as it was begun, or record into a new folder."
            )

    def _unlike(self) -> tuple[str, str] | None:
        """What the checkpoint was made with, and what this trainer computes with instead; None where with the same."""
        if self.origin is None:
            return None
        import torch

        return self.origin.unlike(str(torch.__version__), torch.get_num_threads(), str(self.policy.device))

    def _info(self) -> dict[str, Any]:
        """What a recording says of the run: a branch where it was resumed and has made no update since."""
        came_from = self.origin if self.origin is not None and self.origin.update == self.updates else None
        return run_info(self, self.config, self.prompts, came_from)

    def _writer(
        self, out: str | Path, info: Mapping[str, Any], keep_every: int, checkpoint_every: int, megabytes: float
    ) -> BackgroundWriter:
        """What records into ``out``: a new folder, or the run's own where the trainer was resumed from it."""
        if not 0 < megabytes < math.inf:
            raise RecordingError(f"checkpoint_megabytes is {megabytes:g}, but must be above 0.")
        if self.origin is not None and self.origin.is_in(out):
            self.origin.check_in_place(self.config, self.prompts, self.policy.bf16, self.updates)
            return BackgroundWriter(RunWriter.go_on(out, None, keep_every, megabytes=megabytes, durable=True))
        start = self.state() if checkpoint_every else None
        return BackgroundWriter(RunWriter(out, info, keep_every, start=start, megabytes=megabytes, durable=True))


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
