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
        on_kept: called with the update whose state has been kept.
        on_error: called with what goes wrong; training goes on.
    """

    def __init__(
        self,
        shelf: Shelf | None = None,
        on_run: Callable[[str, Mapping[str, Any] | None], None] = lambda run, parent: None,
        on_kept: Callable[[int], None] = lambda update: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.shelf, self.preset = shelf, ""
        self._on_run, self._on_kept, self._on_error = on_run, on_kept, on_error
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
        """What a new run starts from is kept until it has an update."""
        if self.shelf is not None and self._newest is None:
            self._newest = live.state(config)

    def after_update(self, live: Trainer, snapshot: Snapshot, config: Config) -> None:
        """Write an update; ``config`` are the settings in the page, which the next one will have."""
        if self.shelf is None:
            return
        state = live.state(config)  # at once: in the middle of an update the weights are half way
        try:
            if not self._broken:
                writer = self._writer or self._begin(live, snapshot)
                writer.append(snapshot)
        except RecordingError as error:
            self._break_off(error)
        self._newest = state
        if snapshot.update % self.shelf.checkpoint_every == 0:
            self._keep()

    def keep(self) -> None:
        """Keep the state after the last whole update, and wait until all is safe."""
        self._keep()
        if self._writer is not None:
            try:
                self._writer.settle()
            except RecordingError as error:
                self._break_off(error)

    def leave(self) -> None:
        """Keep the run's state and let go of its folder: what comes next is another run."""
        self.keep()
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except RecordingError as error:
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
        shelf, start, resumed, origin = self.shelf, self._newest, self._resumed, self._origin
        self._resumed = None
        if resumed is not None:
            resumed.claim.release()  # the writer takes it itself
        if (
            origin is not None
            and resumed is not None
            and not any(config.differences(snapshot.config) for config in resumed.ahead)
        ):
            here, parent = origin, None
            writer = RunWriter.go_on(
                here.folder, start.updates, shelf.keep_every, megabytes=shelf.checkpoint_megabytes, durable=True
            )
        else:
            info = run_info(live, snapshot.config, start.prompts, origin) | {"preset": self.preset}
            parent = info.get("parent")
            here = _place(info, shelf.new_folder(info["id"]), start, snapshot.config)
            writer = RunWriter(
                here.folder, info, shelf.keep_every, start=start, megabytes=shelf.checkpoint_megabytes, durable=True
            )
        self._writer = BackgroundWriter(writer)
        self._origin, self._kept = here, start.updates
        self._on_run(here.run, parent)
        self._on_kept(start.updates)
        return self._writer

    def _keep(self) -> None:
        state = self._newest
        if self._writer is None or state is None or state.updates <= self._kept:
            return
        try:
            self._writer.checkpoint(state)
        except RecordingError as error:
            self._break_off(error)
            return
        self._kept = state.updates
        self._on_kept(state.updates)

    def _break_off(self, error: RecordingError) -> None:
        """Nothing more is written, until ``retry``."""
        writer, self._writer, self._broken = self._writer, None, True
        if writer is not None:
            with suppress(RecordingError):  # the same that has been raised
                writer.close()
        self._on_error(RecordingError(f"The run is no longer recorded, and goes on: {error}"))


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
