"""Records the live run onto the shelf as it goes. Everything here runs in the worker.

A run gets its folder with its first whole update, so that a page that never trains leaves nothing behind. Its state is
kept every few updates, at every pause, and where the page turns to another run. What is put back to an earlier state
goes on as a branch: a run of its own that names its parent.

A folder that takes no more, as on a full disk, ends the recording and not the training; the next press of Train tries
again, with a branch that begins where the policy is by then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.recording.background import BackgroundWriter
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.origin import Origin
from explorer.recording.run_info import run_info
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.writer import RunWriter

if TYPE_CHECKING:
    from explorer.ppo.state import State
    from explorer.ppo.trainer import Trainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run of the shelf that may be gone on with in its own folder.

    Attributes:
        claim: holds the folder until the next update is written there.
        ahead: the settings of the updates that the folder holds after its newest state, as after a kill. They are
            dropped and made once more, so that they must have had the settings of now.
    """

    claim: Claim
    ahead: Sequence[Config] = ()


class Recorder:
    """Writes every update of the live run.

    Args:
        shelf: where to; None records nothing.
        on_run: called with the run's id, and what it says of its parent, when it has its folder.
        on_kept: called with every update whose state the run's folder keeps, when that changes.
        on_update: called with an update when it has been given to the folder, or there is none.
        on_error: called with what goes wrong; training goes on.
    """

    def __init__(
        self,
        shelf: Shelf | None = None,
        on_run: Callable[[str, Mapping[str, Any] | None], None] = lambda run, parent: None,
        on_kept: Callable[[Sequence[int]], None] = lambda updates: None,
        on_update: Callable[[Snapshot], None] = lambda snapshot: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.shelf, self.preset = shelf, ""
        self._on_run, self._on_kept, self._on_update, self._on_error = on_run, on_kept, on_update, on_error
        self._writer: BackgroundWriter | None = None
        self._origin: Origin | None = None  # what the run is, or else comes from, on the shelf
        self._resumed: Resumed | None = None
        self._newest: State | None = None  # after the last whole update
        self._kept = 0
        self._broken = False

    @property
    def run(self) -> str:
        """The id of the run that is being recorded, "" where none is."""
        return self._origin.run if self._origin is not None and self._writer is not None else ""

    def before_update(self, live: Trainer, config: Config) -> None:
        """What a new run starts from is kept until it has an update; a state has the settings of what follows it."""
        if self.shelf is None:
            return
        before, prompts = self._newest, tuple(live.prompts)
        if before is None:
            self._newest = live.state(config)
            return
        self._newest = dataclasses.replace(before, config=config, prompts=prompts)
        if prompts != before.prompts and self._writer is not None:
            # Other prompts stand in no update's config: whoever goes on from the newest state finds them there.
            self._kept = before.updates - 1
            self._keep()

    def after_update(self, live: Trainer, snapshot: Snapshot, config: Config) -> None:
        """Write an update; ``config`` are the settings in the page, which the next one will have."""
        if self.shelf is None:
            return
        state = live.state(config)  # at once: in the middle of an update the weights are half way
        try:
            if not self._broken:
                writer = self._writer or self._begin(live, snapshot)
                writer.append(snapshot)
        except Exception as error:
            self._break_off(error)
        self._newest = state
        if snapshot.update % self.shelf.checkpoint_every == 0:
            self._keep()
        self._on_update(snapshot)

    def keep(self) -> None:
        """Keep the state after the last whole update, and wait until all is safe."""
        self._keep()
        if self._writer is not None:
            try:
                self._writer.settle()
            except Exception as error:
                self._break_off(error)

    def leave(self) -> None:
        """Keep the run's state and let go of its folder: what comes next is another run."""
        self.keep()
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except Exception as error:
                self._on_error(error)
        if self._resumed is not None:
            self._resumed.claim.release()
        self._resumed = self._origin = self._newest = None
        self._broken = False

    def go_on(self, origin: Origin, state: State, resumed: Resumed | None) -> None:
        """The trainer was put to a state: in the run's own folder it goes on, or as a branch where that is not free."""
        self.leave()
        self._origin, self._newest, self._resumed = origin, state, resumed
        self._kept = state.updates

    def retry(self) -> None:
        """Record again, where a folder has taken no more before."""
        if self._broken:
            self._broken = False
            now = self._newest
            if self._origin is not None and now is not None:
                self._origin = dataclasses.replace(
                    self._origin, update=now.updates, config=now.config, prompts=now.prompts
                )

    def _begin(self, live: Trainer, snapshot: Snapshot) -> BackgroundWriter:
        """The folder of the run whose first update has just been made."""
        assert self.shelf is not None
        assert self._newest is not None
        shelf, start, origin = self.shelf, self._newest, self._origin
        writer, parent = self._in_place(live, start, snapshot.config), None
        if writer is None or origin is None:
            info = run_info(live, snapshot.config, start.prompts, origin) | {"preset": self.preset}
            parent = info.get("parent")
            origin = _place(info, shelf.new_folder(info["id"]), start, snapshot.config)
            writer = RunWriter(
                origin.folder, info, shelf.keep_every, start=start, megabytes=shelf.checkpoint_megabytes, durable=True
            )
        self._writer = BackgroundWriter(writer)
        self._origin, self._kept = origin, start.updates
        self._on_run(origin.run, parent)
        if start.prompts != origin.prompts:  # in place, where the state has those of before
            self._writer.checkpoint(start)
        self._on_kept(self._states(start.updates))
        return self._writer

    def _in_place(self, live: Trainer, start: State, config: Config) -> RunWriter | None:
        """What goes on in the run's own folder; None where it cannot, and the run becomes a branch."""
        resumed, origin, shelf = self._resumed, self._origin, self.shelf
        self._resumed = None
        if resumed is None or origin is None or shelf is None:
            return None
        resumed.claim.release()  # the writer takes it itself
        changed = any(ahead.differences(config) for ahead in resumed.ahead)
        if (resumed.ahead and (changed or start.prompts != origin.prompts)) or live.policy.bf16 != origin.bf16:
            return None
        try:
            return RunWriter.go_on(
                origin.folder, start.updates, shelf.keep_every, megabytes=shelf.checkpoint_megabytes, durable=True
            )
        except RecordingError:  # somebody has been quicker, or it is of an older schema
            return None

    def _states(self, newest: int) -> list[int]:
        """The updates whose states the run's folder keeps, with the newest, which may still be on its way there."""
        return sorted({*checkpoint_updates(self._origin.folder), newest}) if self._origin is not None else []

    def _keep(self) -> None:
        state = self._newest
        if self._writer is None or state is None or state.updates <= self._kept:
            return
        try:
            self._writer.checkpoint(state)
            self._kept = state.updates
            self._on_kept(self._states(state.updates))
        except Exception as error:
            self._break_off(error)

    def _break_off(self, error: Exception) -> None:
        """Nothing more is written, until ``retry``. Whatever it was, training goes on."""
        writer, self._writer, self._broken = self._writer, None, True
        if writer is not None:
            with suppress(Exception):  # the same that has been raised
                writer.close()
        self._on_error(RecordingError(f"The run goes on, but is not recorded: {error}"))


def claim_soon(folder: Path, wait: Callable[[float], object], seconds: float) -> Claim | None:
    """Hold a run's folder, waiting for a page that is just being left; None where somebody goes on holding it."""
    step = 0.1
    for _ in range(max(1, round(seconds / step))):
        try:
            return Claim(folder)
        except RecordingError:
            wait(step)
    return None


def _place(info: Mapping[str, Any], folder: Path, start: State, config: Config) -> Origin:
    """A new run as that from which others may come."""
    return Origin(
        folder=folder,
        run=info["id"],
        update=start.updates,
        newest=True,
        config=config,
        prompts=start.prompts,
        policy_digest=info["policy_digest"],
        bf16=info["bf16"],
        device=info["device"],
    )
