"""The run on screen and the shelf: a recorded run is opened and gone on with, and any run goes back to its past.

    open      a run comes on screen at once, and its newest state goes into the trainer: training goes on where it was
    rewind    the run on screen goes back to a state that was kept; what is trained from there on is a branch, with the
              same random numbers, and the first number in which it parts from its parent is told

Commands and traits belong to the loop; what needs the policy is done in the worker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits, Unicode

from explorer.config import Config
from explorer.presets import PRESETS
from explorer.recording.branches import Parting, parting, parting_of
from explorer.recording.folder import RecordingError
from explorer.recording.history import History
from explorer.recording.lineage import Line, line_of, until
from explorer.recording.origin import Origin, find_origin
from explorer.recording.shelf import Entry
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.session.behind import Behind, run_behind
from explorer.session.library import called
from explorer.session.recorder import Resumed, claim_soon

if TYPE_CHECKING:
    from explorer.ppo.state import State
    from explorer.session.session import Session

#: How long a page that was left may take to let go of its run: a stage, and writing its state.
LEAVING_SECONDS = 6.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """Where the run on screen comes from.

    Attributes:
        run: the id of its parent.
        update: after which update it branched off.
        changed: ``{knob: [before, after]}`` as recorded; empty until its first update is there.
        parent: the parent with its own past; None where it is gone.
    """

    run: str
    update: int
    changed: Mapping[str, Any]
    parent: Recording | None


class Runs(HasTraits):
    """Which run is on screen, where it comes from, and to where it can go back.

    Args:
        session: whose run it is, with the ``library`` in which others are found.
    """

    run = Unicode("", help="The id of the run on screen; empty before its first update, and where none is recorded.")
    opening = Bool(False, help="Whether the trainer is still being put to the state of the run on screen.")
    states = AnyTrait((), help="The updates that the run on screen can go back to, ascending.")
    branch = AnyTrait(None, help="The Branch that the run on screen is; None where it is none.")
    parting = AnyTrait(None, help="The Parting where it first differs from its parent; None as long as it does not.")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._as_opened: Config | None = None
        self._behind: Behind | None = None
        self._parent: Recording | None = None  # the worker's: with what each update is compared until they part

    # ------------------------------------------------------------------ commands, called on the loop

    def open(self, run: str) -> None:
        """Show a run, and go on with it at the next press of Train. The run before is kept as it is.

        Raises:
            ValueError: there is no such run, or a seed grid is running. What is wrong with its states, or with the
                policy that it needs, is reported later; what was on screen then comes back.
        """
        self._check_free()
        if run == self.run and run:
            return
        shelf = self._session.library.shelf
        entry = shelf.find(run)
        line = line_of(shelf, entry)
        if not line.recording.metrics.num_rows:
            raise RecordingError(f"The run {run[:8]} has no update yet: choose another, or delete it.")
        session, before = self._session, self._on_screen()
        session.pause()
        # One without states can be looked at, as the bundled one: Train then begins a run of its own.
        resumable = entry.folder in line.states.values()
        self.run, self.parting = run, None
        self.branch, self.states = _branch(entry, line), tuple(line.states) if resumable else ()
        self._lay_behind(self._parent_behind(self.branch))
        config = line.recording.config_at(line.recording.metrics.column("update")[-1].as_py())
        self._take_settings(config, entry.preset)
        session.put_on(History(recorded=line.recording), live=resumable)
        if resumable:
            self.opening = True
            session.worker.submit(lambda: self._resume(entry, line, before))
        else:
            session.note = "shown_only"
            session.worker.submit(self._show_only)

    def rewind(self, update: int) -> None:
        """Go back to a state of the run on screen; it stays as it is, and what is trained from here on is a branch.

        Raises:
            ValueError: that update's state is not kept, or a seed grid is running.
        """
        self._check_free()
        if not self.run or update not in self.states:
            there = ", ".join(map(str, self.states)) or "none yet"
            raise ValueError(f"The state after update {update} is not kept: choose one of those that are ({there}).")
        self._session.pause()
        run = self.run
        self._session.worker.submit(lambda: self._go_back(run, update))

    # ------------------------------------------------------------------ on the worker

    def compare_with_parent(self, snapshot: Snapshot) -> None:
        """Look in a branch's new update for the first number that is not its parent's."""
        parent = self._parent
        if parent is None:
            return
        try:
            theirs = parent.at(snapshot.update)
        except KeyError:  # thinned out, or beyond the parent's end
            return
        found = parting_of(theirs, snapshot)
        if found is not None:
            self._parent = None
            self._session.loop.post(self.set_trait, "parting", found)

    def began(self, run: str, parent: Mapping[str, Any] | None) -> None:
        """The run on screen has its folder: the recorder says so."""
        self._session.loop.post(self._began, run, parent)

    def kept_state(self, update: int) -> None:
        """The state after an update has been kept."""
        self._session.loop.post(self._kept_state, update)

    def begin_anew(self) -> None:
        """What comes next is another run."""
        self._parent = None
        self._session.loop.post(self._forget)

    def _show_only(self) -> None:
        self._parent = None
        self._session.engine.restart()

    def _resume(self, entry: Entry, line: Line, before: _OnScreen) -> None:
        session, claim = self._session, None
        try:
            claim = claim_soon(entry.folder, time.sleep, LEAVING_SECONDS)
            # Only now: a page that was just being left has written its last state meanwhile.
            line = line_of(session.library.shelf, entry)
            origin, state = find_origin(entry.folder)
            self._put_to(origin, state, rewound=False)
            updates = line.recording.metrics.column("update").to_pylist()
            ahead = [line.recording.config_at(update) for update in updates if update > state.updates]
            session.recorder.go_on(origin, state, None if claim is None else Resumed(claim=claim, ahead=ahead))
        except BaseException:
            if claim is not None:
                claim.release()
            session.worker.pause()
            session.loop.post(self._come_back, before)
            raise
        where = _branch(entry, line)
        differs = None
        if where is not None and where.parent is not None:
            differs = parting(where.parent, line.own)
            self._parent = where.parent if differs is None else None
        else:
            self._parent = None
        session.loop.post(self._opened, line, state.config, bool(ahead), claim is not None, differs)

    def _go_back(self, run: str, update: int) -> None:
        session = self._session
        session.recorder.keep()
        shelf = session.library.shelf
        entry = shelf.find(run)
        line = line_of(shelf, entry)
        if update not in line.states:
            there = ", ".join(map(str, line.states)) or "none"
            raise RecordingError(f"The state after update {update} has been thinned out: those kept are {there}.")
        origin, state = find_origin(line.states[update], update)
        self._put_to(origin, state, rewound=True)
        session.recorder.go_on(origin, state, None)
        self._parent = line.recording
        session.loop.post(self._went_back, entry, line, origin.run, update, state.config)

    def _put_to(self, origin: Origin, state: State, rewound: bool) -> None:
        from explorer.ppo.state import weights_digest

        engine = self._session.engine
        origin.check_policy(weights_digest(engine.trainer.reference))
        engine.go_to(state, rewound)

    # ------------------------------------------------------------------ posted to the loop

    def _began(self, run: str, parent: Mapping[str, Any] | None) -> None:
        if run != self.run:
            before, self.run = self.branch, run
            if parent is None:
                self.branch, self.states, self.parting = None, (), None
            else:
                known = before is not None and before.run == parent["id"]
                self.branch = Branch(
                    run=parent["id"],
                    update=parent["update"],
                    changed=parent["changed"],
                    parent=before.parent if known and before is not None else None,
                )
        self._session.library.refresh()

    def _kept_state(self, update: int) -> None:
        self.states = tuple(sorted({*self.states, update}))

    def _opened(self, line: Line, config: Config, ahead: bool, free: bool, differs: Parting | None) -> None:
        session = self._session
        self.opening = False
        if line.recording.metrics.num_rows != session.updates:  # it went on until its page let go of it
            session.put_on(History(recorded=line.recording), live=True)
        self.states, self.parting = tuple(line.states), differs
        if session.config is self._as_opened:  # what was edited meanwhile stays
            self._take_settings(config, "")
        session.prompts = tuple(session.engine.prompts)
        session.note = "taken" if not free else "cut_off" if ahead else ""

    def _went_back(self, entry: Entry, line: Line, run: str, update: int, config: Config) -> None:
        session = self._session
        recording = line.recording
        following = update + 1 in recording.metrics.column("update").to_pylist()
        self._take_settings(recording.config_at(update + 1) if following else config, "")
        self.run, self.parting = "", None
        self.branch = Branch(run=run, update=update, changed={}, parent=recording)
        self.states = tuple(state for state in line.states if state <= update)
        session.prompts = tuple(session.engine.prompts)
        session.put_on(History(recorded=until(recording, update)), live=True)
        self._lay_behind(run_behind(called(entry), History(recorded=recording), entry.id))

    def _come_back(self, before: _OnScreen) -> None:
        """Opening has failed: what was on screen before comes back."""
        self.opening = False
        self.run, self.states, self.branch, self.parting = before.run, before.states, before.branch, before.parting
        self._session.config = self._session.engine.config = before.config
        self._session.preset, self._session.compared = before.preset, PRESETS[before.preset]
        self._session.put_on(before.history, before.live)

    # ------------------------------------------------------------------ the rest

    def _forget(self) -> None:
        self.run, self.states, self.branch, self.parting = "", (), None, None
        self._lay_behind(None)

    def _parent_behind(self, branch: Branch | None) -> Behind | None:
        if branch is None or branch.parent is None:
            return None
        entry = self._session.library.shelf.find(branch.run)
        return run_behind(called(entry), History(recorded=branch.parent), branch.run)

    def _lay_behind(self, behind: Behind | None) -> None:
        """The parent behind the curves, instead of the one before; what else lies there stays."""
        if behind is not None or self._session.behind is self._behind:
            self._session.behind = behind
        self._behind = behind

    def _on_screen(self) -> _OnScreen:
        session = self._session
        return _OnScreen(
            run=self.run,
            states=self.states,
            branch=self.branch,
            parting=self.parting,
            history=session.history,
            live=session.live and not session.waiting,
            config=session.config,
            preset=session.preset,
        )

    def _take_settings(self, config: Config, preset: str) -> None:
        """The run's settings, with a weight for every component that the page has."""
        session = self._session
        weights = {**dict.fromkeys(session.config.weights, 0.0), **config.weights}
        session.config = session.engine.config = self._as_opened = config.replace(weights=weights)
        if preset in PRESETS:
            session.preset, session.compared = preset, PRESETS[preset]

    def _check_free(self) -> None:
        if self._session.grid.running:
            raise ValueError("A seed grid is running: stop it first, or wait until it has ended.")
        if self.opening:
            raise ValueError("A run is just being opened: wait a moment.")


@dataclass(frozen=True, kw_only=True, eq=False)
class _OnScreen:
    """What was on screen before a run was opened."""

    run: str
    states: tuple[int, ...]
    branch: Branch | None
    parting: Parting | None
    history: History
    live: bool
    config: Config
    preset: str


def _branch(entry: Entry, line: Line) -> Branch | None:
    if entry.parent is None:
        return None
    return Branch(
        run=str(entry.parent["id"]),
        update=line.branched,
        changed=dict(entry.parent.get("changed") or {}),
        parent=line.parent,
    )
