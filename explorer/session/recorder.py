"""Records the live run onto the shelf as it goes. Everything here runs in the worker.

A run gets its folder with its first whole update, so that a page that never trains leaves nothing behind. Its state is
kept every few updates, at every pause, and where the page turns to another run; in between the newest one is kept in
passing every few seconds. What is put back to an earlier state goes on as a branch: a run of its own that names its
parent.

A run that was cut off has updates after its newest state. They are made once more, and compared; nothing of them is
written anew. Where one comes out otherwise, the run goes on as a branch from there.

A folder that takes no more, as on a full disk, ends neither the training nor the run: each update tries again, and
writes all that is missing once there is room. One whose ``run.json`` takes no more changes of settings is left as it
is, and what it does not hold begins a branch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.recording.background import BackgroundWriter
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import ElsewhereError, NoRoomError, RecordingError
from explorer.recording.origin import Origin
from explorer.recording.repeating import Repeat
from explorer.recording.run_info import run_info
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.writer import PASSING_SECONDS, RunWriter
from explorer.session.unwritten import Unwritten

if TYPE_CHECKING:
    from explorer.ppo.state import State
    from explorer.ppo.trainer import Trainer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resumed:
    """A run of the shelf that may be gone on with in its own folder.

    Attributes:
        claim: holds the folder until the next update is written there.
        repeat: what the folder holds after its newest state, as after a kill.
    """

    claim: Claim
    repeat: Repeat


class Recorder:
    """Writes every update of the live run.

    Args:
        shelf: where to; None records nothing.
        on_run: called with the run's id, and what it says of its parent, when it has its folder.
        on_kept: called with every update whose state the run's folder keeps, when that changes.
        on_update: called with an update when it has been given to the folder, or there is none.
        on_error: called with what goes wrong; training goes on.
        on_mended: called when all that could not be written has been.
        on_difference: called where an update that was made once more is not the recorded one.
    """

    def __init__(
        self,
        shelf: Shelf | None = None,
        on_run: Callable[[str, Mapping[str, Any] | None], None] = lambda run, parent: None,
        on_kept: Callable[[Sequence[int]], None] = lambda updates: None,
        on_update: Callable[[Snapshot], None] = lambda snapshot: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
        on_mended: Callable[[], None] = lambda: None,
        on_difference: Callable[[], None] = lambda: None,
    ) -> None:
        self.shelf, self.preset = shelf, ""
        self._on_run, self._on_kept, self._on_update, self._on_error = on_run, on_kept, on_update, on_error
        self._on_mended, self._on_difference = on_mended, on_difference
        self._live: Trainer | None = None
        self._newest: State | None = None  # after the last whole update
        self._unwritten = Unwritten()
        self._forget_run()

    def _forget_run(self) -> None:
        self._writer: BackgroundWriter | None = None
        self._origin: Origin | None = None  # what the run is, or else comes from, on the shelf
        self._own = False  # whether it is the former, and may be written to
        self._claim: Claim | None = None  # holds its folder while nobody writes there
        self._repeat: Repeat | None = None
        self._start: State | None = None  # before the first of what is not written
        self._told = ""
        self._kept = 0
        self._passing: set[int] = set()
        self._passed_at = monotonic()
        self._failure: Exception | None = None  # why nothing is being written
        self._said = False

    @property
    def run(self) -> str:
        """The id of the run that is being recorded, "" where none is."""
        return self._origin.run if self._origin is not None and self._writer is not None else ""

    def settings_of(self, update: int) -> Config | None:
        """The settings of an update that is to be made once more; None where it is a new one."""
        return self._repeat.config_at(update) if self._repeat is not None else None

    def is_there(self, snapshot: Snapshot) -> bool:
        """Whether an update that has just been made is the one that the run's folder holds already."""
        repeat = self._repeat
        if repeat is None or snapshot.update not in repeat.updates:
            return False
        try:
            same = repeat.difference(snapshot) is None
        except RecordingError:  # damaged: what has been made stands in the branch
            same = False
        if not same:
            self._own, self._repeat = False, None
            self._let_go()
            self._on_difference()
        return same

    def before_update(self, live: Trainer, config: Config) -> None:
        """What a new run starts from is kept until it has an update; a state has the settings of what follows it."""
        if self.shelf is None:
            return
        self._live, before, prompts = live, self._newest, tuple(live.prompts)
        if before is None:
            self._newest = live.state(config)
            return
        self._newest = dataclasses.replace(before, config=config, prompts=prompts)
        if prompts != before.prompts and self._writer is not None:
            # Other prompts stand in no update's config: whoever goes on from the newest state finds them there.
            self._kept = before.updates - 1
            self._keep()

    def wait(self) -> None:
        """Wait until every update before is safe: of what has been shown, a kill costs the newest one at most."""
        if self._writer is not None:
            self._writer.wait()

    def after_update(self, live: Trainer, snapshot: Snapshot, config: Config, there: bool = False) -> None:
        """Write an update.

        Args:
            live: what has made it.
            snapshot: the update.
            config: the settings in the page, which the next one will have.
            there: whether the folder holds it already, as ``is_there`` says.
        """
        if self.shelf is None:
            return
        # After every update, and not only where it is written: a pause or the page's end may come in the middle of the
        # next one, when the weights are half way, and where a folder fails the rest begins a branch from here.
        state = live.state(config)
        if not there:
            self._unwritten.add(snapshot)
            self._record()
        self._newest = state
        if snapshot.update % self.shelf.checkpoint_every == 0:
            self._keep()
        elif monotonic() - self._passed_at >= PASSING_SECONDS:
            self._keep(passing=True)
        if not there:
            self._on_update(snapshot)

    def keep(self) -> None:
        """Write what could not be written before, keep the state after the last whole update, and wait for all."""
        if self._failure is not None:
            self._record()
        self._keep()
        if self._writer is not None:
            try:
                self._writer.settle()
            except ElsewhereError as error:
                self._branch_off(error)
                self.keep()
            except Exception as error:
                self._break_off(error)

    def leave(self) -> None:
        """Keep the run's state and let go of its folder: what comes next is another run."""
        self.keep()
        if self._writer is not None:
            try:
                self._writer.close()
            except Exception as error:
                self._on_error(error)
        self._let_go()
        self._newest = None
        self._unwritten.clear()
        self._forget_run()

    def go_on(self, origin: Origin, state: State, resumed: Resumed | None) -> None:
        """The trainer was put to a state: in the run's own folder it goes on, or as a branch where that is not free."""
        self.leave()
        self._origin, self._newest, self._own = origin, state, resumed is not None
        if resumed is not None:
            self._claim, self._repeat = resumed.claim, resumed.repeat
        self._kept = state.updates

    def retry(self) -> None:
        """Say again what goes wrong from here on; a run whose folder is no longer there goes on in another one."""
        failure, self._said = self._failure, False
        if failure is None or _takes_no_more(failure):
            return
        self._failure, self._own = None, False
        self._let_go()
        if not isinstance(failure, RecordingError):  # an update that nobody can write
            self._unwritten.clear()
            self._start = None

    def _record(self) -> None:
        """Write all that is not written yet, unless it would fail as before."""
        if self._failure is not None and not _takes_no_more(self._failure):
            return
        try:
            writer = self._writer or self._open()
            self._unwritten.give(writer)
            if self._failure is not None:
                writer.settle()
                self._failure = None
                self._on_mended()
        except ElsewhereError as error:
            self._branch_off(error)
        except Exception as error:
            self._break_off(error)

    def _branch_off(self, error: ElsewhereError) -> None:
        """The run's folder takes no more changes of settings: what it does not hold begins a branch."""
        writer, self._writer, self._own = self._writer, None, False
        if writer is not None:
            with suppress(Exception):
                writer.close()
        self._let_go()
        self._passing.clear()
        self._unwritten.give_again()
        self._on_error(RecordingError(f"The run goes on as a branch: {error}"))
        self._record()  # in the new folder, whose settings have not changed yet

    def _open(self) -> BackgroundWriter:
        """The folder of the run: its own, or a new one."""
        assert self._newest is not None
        self._start = start = self._start or self._newest
        writer, parent = self._go_on_writing(), None
        if writer is None:
            writer, parent = self._begin(start)
        self._writer, self._own = BackgroundWriter(writer), True
        self._start = None
        self._unwritten.safe_until(writer.last)
        origin = self._origin
        assert origin is not None
        if self._told != origin.run:
            self._told, self._kept = origin.run, start.updates
            self._on_run(origin.run, parent)
            if start.prompts != origin.prompts:  # in place, where the state has those of before
                self._writer.checkpoint(start)
        self._on_kept(self._states(start.updates))
        return self._writer

    def _begin(self, start: State) -> tuple[RunWriter, Mapping[str, Any] | None]:
        """A folder for a new run, which begins with the first update that is not written, and what names its parent."""
        assert self.shelf is not None
        assert self._live is not None
        shelf, origin, config = self.shelf, self._origin, self._unwritten.first_config
        before = (self._unwritten.first or 1) - 1
        if origin is not None and origin.update != before:  # it has gone on since
            origin = dataclasses.replace(origin, update=before, config=config, prompts=start.prompts)
        info = run_info(self._live, config, start.prompts, origin) | {"preset": self.preset}
        place = _place(info, shelf.new_folder(info["id"]), start, config)
        writer = RunWriter(
            place.folder, info, shelf.keep_every, start=start, megabytes=shelf.checkpoint_megabytes, durable=True
        )
        self._origin = place
        return writer, info.get("parent")

    def _go_on_writing(self) -> RunWriter | None:
        """What writes on in the run's own folder; None where it has none that can be, and becomes a run of its own.

        Raises:
            RecordingError: the folder takes no more, or is damaged.
        """
        origin, shelf, live = self._origin, self.shelf, self._live
        if not self._own or origin is None or shelf is None or live is None or live.policy.bf16 != origin.bf16:
            self._let_go()
            return None
        self._let_go()  # the writer takes it itself
        try:
            return RunWriter.go_on(
                origin.folder, None, shelf.keep_every, megabytes=shelf.checkpoint_megabytes, durable=True
            )
        except ElsewhereError:  # somebody has been quicker, or it is of an older schema
            return None
        except Exception:
            self._hold()
            raise

    def _hold(self) -> None:
        """Let nobody else write to the run's folder while it takes no more."""
        if self._own and self._origin is not None and self._claim is None:
            with suppress(RecordingError, OSError):
                self._claim = Claim(self._origin.folder)

    def _let_go(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()

    def _states(self, newest: int) -> list[int]:
        """The updates whose states the run's folder keeps, with the newest, which may still be on its way there."""
        there = checkpoint_updates(self._origin.folder) if self._origin is not None else []
        return sorted({*there, newest} - self._passing)

    def _keep(self, passing: bool = False) -> None:
        state = self._newest
        if self._writer is None or state is None or state.updates <= self._kept:
            return
        try:
            self._writer.checkpoint(state, passing)
        except ElsewhereError as error:
            self._branch_off(error)
            self._keep(passing)
            return
        except Exception as error:
            self._break_off(error)
            return
        self._passed_at = monotonic()
        if passing:
            self._passing.add(state.updates)
            return
        self._passing.discard(state.updates)
        self._kept = state.updates
        self._on_kept(self._states(state.updates))

    def _break_off(self, error: Exception) -> None:
        """Nothing is written until the next update tries again. Whatever it was, training goes on."""
        writer, self._writer, first = self._writer, None, self._failure is None
        if writer is not None:
            with suppress(Exception):  # the same that has been raised
                writer.close()
            self._kept = max(self._states_there(), default=0)
        self._hold()
        self._unwritten.give_again()
        self._failure = error
        if first or not self._said:
            self._said = True
            found, then = str(error), ""
            if _takes_no_more(error):
                then = " Each update tries again, and then writes what is missing."
            if isinstance(error, NoRoomError):
                found = f"{error.held}. What comes after waits in memory, and is lost with this page: make room there."
            self._on_error(RecordingError(f"The run goes on, but is not recorded: {found}{then}"))

    def _states_there(self) -> list[int]:
        try:
            return checkpoint_updates(self._origin.folder) if self._origin is not None else []
        except RecordingError:
            return []


def _takes_no_more(error: Exception) -> bool:
    """Whether a folder might take more later, as a full disk does."""
    return isinstance(error, RecordingError) and isinstance(error.__cause__, OSError)


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
        ahead=0,
        config=config,
        prompts=start.prompts,
        policy_digest=info["policy_digest"],
        bf16=info["bf16"],
        device=info["device"],
    )
