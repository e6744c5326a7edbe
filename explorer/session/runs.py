"""The run on screen and the shelf: a recorded run is opened and gone on with, and any run goes back to its past.

    open      a run comes on screen at once, and its newest state goes into the trainer: training goes on where it was
    rewind    the run on screen goes back to a state that was kept; what is trained from there on is a branch, with the
              same random numbers, and the first number in which it parts from its parent is told

Commands and traits belong to the loop; what needs the policy is done in the worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits, Unicode

from explorer.config import Config
from explorer.presets import PRESETS
from explorer.recording.branches import Parting, parting_at
from explorer.recording.folder import RecordingError
from explorer.recording.history import History
from explorer.recording.lineage import Line, line_of, until
from explorer.recording.origin import Origin, find_origin
from explorer.recording.parted import read_parted
from explorer.recording.repeating import Repeat
from explorer.recording.shelf import Entry
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.session.behind import Behind, run_behind
from explorer.session.comparing import Comparing
from explorer.session.library import called
from explorer.session.on_screen import Before, Branch, Place, branch_of, last_update
from explorer.session.recorder import Resumed, claim_soon

__all__ = ["Branch", "Runs"]

if TYPE_CHECKING:
    from explorer.ppo.state import State
    from explorer.session.session import Session

#: How long a page that was left may take to let go of its run: a stage, and writing its state.
LEAVING_SECONDS = 6.0


class Runs(HasTraits):
    """Which run is on screen, where it comes from, and to where it can go back.

    Args:
        session: whose run it is, with the ``library`` in which others are found.
    """

    run = Unicode("", help="The id of the run on screen; empty before its first update, and where none is recorded.")
    opening = Bool(False, help="Whether the trainer is just being put to a state: of another run, or an earlier one.")
    broken = Bool(False, help="Whether the live run is not recorded, as its folder takes no more.")
    states = AnyTrait((), help="The updates that the run on screen can go back to, ascending.")
    branch = AnyTrait(None, help="The Branch that the run on screen is; None where it is none.")
    parting = AnyTrait(None, help="The Parting where it first differs from its parent; None as long as it does not.")

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._place = Place()
        self._as_opened: Config | None = None
        self._behind: Behind | None = None
        self._comparing = Comparing(session.library.threaded)
        self._before: Before | None = None  # while another run is being opened
        # The worker's: from which run the trainer goes on, and with what each update is compared until they part.
        self._from: tuple[str, Recording] | None = None
        self._parent: Recording | None = None

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
        # One without states can be looked at, as the bundled one: Train then begins a run of its own.
        resumable, session = bool(line.own.states), self._session
        if line.recording.metrics.num_rows:
            config = line.recording.config_at(last_update(line.recording))
        elif resumable:  # killed before its first update: the state from which it starts has the settings
            config = session.config
        else:
            raise RecordingError(f"The run {run[:8]} has no update and no state yet: choose another, or delete it.")
        branch = branch_of(entry, line)
        session.pause()
        self._comparing.end()
        self._before, self.opening = self._look(), True
        states = tuple(line.states) if resumable else ()
        try:
            self._show(Place(run=run, states=states, branch=branch, runs=frozenset(line.runs)))
            self._lay_behind(self._parent_behind(branch))
            self._take_settings(config, entry.preset, only_known=not resumable)
            session.put_on(History(recorded=line.recording), live=resumable)
        except Exception:  # as where its newest update is damaged
            self._come_back()
            raise
        if resumable:
            session.worker.submit(lambda: self._resume(entry))
        else:
            session.note = "shown_only"
            session.worker.submit(self._show_only)

    def rewind(self, update: int) -> None:
        """Go back to a state of the run on screen; it stays as it is, and what is trained from here on is a branch.

        Raises:
            ValueError: that update's state is not kept, or a seed grid is running.
        """
        self._check_free()
        run = self.lies_in
        if not run or update not in self.states:
            there = ", ".join(map(str, self.states)) or "none yet"
            raise ValueError(f"The state after update {update} is not kept: choose one of those that are ({there}).")
        self._session.pause()
        self.opening, self._as_opened = True, self._session.config
        self._session.worker.submit(lambda: self._go_back(run, update))

    @property
    def on_screen(self) -> frozenset[str]:
        """The ids of the runs whose updates are on screen: that of the run, and of those that it came from."""
        return self._place.runs

    @property
    def lies_in(self) -> str:
        """The id of the run that has the updates on screen, "" where none has.

        One that has just been rewound is no run of its own yet: they lie in the one that it came from.
        """
        return self.run or (self.branch.run if self.branch is not None else "")

    @property
    def lies_until(self) -> int | None:
        """The last of its updates that is on screen; None for all of them."""
        return self.branch.update if self.branch is not None and not self.run else None

    @property
    def turning(self) -> bool:
        """Whether what the worker still posts is about the run that was on screen before."""
        return self._before is not None

    def collect_late(self, snapshot: Snapshot) -> None:
        """Take an update of the run that was on screen before."""
        if self._before is not None:
            self._before = self._before.with_update(snapshot)

    # ------------------------------------------------------------------ on the worker

    def compare_with_parent(self, snapshot: Snapshot) -> None:
        """Look in a branch's new update for the first number that is not its parent's."""
        parent = self._parent
        if parent is None:
            return
        try:
            found = parting_at(parent, snapshot)
        except RecordingError:  # it has been deleted meanwhile, or is damaged
            self._parent = None
            return
        if found is not None:
            self._parent = None
            self._session.loop.post(self._found, found)

    def began(self, run: str, parent: Mapping[str, Any] | None) -> None:
        """The run on screen has its folder: the recorder says so."""
        known = None
        if parent is not None:
            known = self._parent = self._from[1] if self._from is not None and self._from[0] == parent["id"] else None
        self._session.loop.post(self._began, run, parent, known)

    def broke(self, error: BaseException) -> None:
        """The live run is no longer recorded."""
        self._session.loop.post(self.set_trait, "broken", True)
        self._session.loop.post(self._session.report, error)

    def mended(self) -> None:
        """All that could not be recorded before has been."""
        self._session.loop.post(self._mended)

    def differed(self) -> None:
        """An update that was made once more is not the recorded one, and begins a branch."""
        self._session.loop.post(self._session.set_trait, "note", "made_otherwise")

    def kept_states(self, updates: Sequence[int]) -> None:
        """The folder of the run on screen keeps these states."""
        self._session.loop.post(self._kept_states, tuple(updates))

    def begin_anew(self) -> None:
        """What comes next is another run."""
        self._from = self._parent = None
        self._session.loop.post(self._forget)

    def _show_only(self) -> None:
        try:
            self._from = self._parent = None
            self._session.engine.restart()
        finally:
            self._session.loop.post(self._end_opening)

    def _resume(self, entry: Entry) -> None:
        session, claim = self._session, None
        try:
            claim = claim_soon(entry.folder, time.sleep, LEAVING_SECONDS)
            # Read only now: a page that was just being left has written its last state meanwhile.
            line = line_of(session.library.shelf, entry)
            origin, state = find_origin(entry.folder)
            where = branch_of(entry, line)
            parent = where.parent if where is not None else None
            differs = read_parted(entry.folder, where.run).parting if where is not None else None
            repeat = Repeat(line.own, state.updates)
            unlike = session.engine.unlike(origin)
            self._put_to(origin, state, rewound=False)
            earlier = {update: folder for update, folder in line.states.items() if update < state.updates}
            session.engine.checkpoints.find_on_disk(earlier, lambda update: find_origin(earlier[update], update)[1])
            session.recorder.go_on(origin, state, None if claim is None else Resumed(claim=claim, repeat=repeat))
        except BaseException:
            if claim is not None:
                claim.release()
            session.loop.post(self._come_back)
            raise
        self._from, self._parent = (entry.id, line.recording), parent if differs is None else None
        session.loop.post(self._opened, line, state, bool(repeat.updates), claim is not None, differs, unlike)

    def _go_back(self, run: str, update: int) -> None:
        session = self._session
        try:
            session.recorder.keep()
            shelf = session.library.shelf
            entry = shelf.find(run)
            line = line_of(shelf, entry)
            if update not in line.states:
                there = ", ".join(map(str, line.states)) or "none"
                raise RecordingError(f"The state after update {update} has been thinned out: those kept are {there}.")
            origin, state = find_origin(line.states[update], update)
            # A state of before the run branched off is one of its parent's, or of that one's.
            source = entry if origin.run == entry.id else shelf.find(origin.run)
            parent = line if source is entry else line_of(shelf, source)
            unlike = session.engine.unlike(origin)
            self._put_to(origin, state, rewound=True)
            session.recorder.go_on(origin, state, None)
        except BaseException:
            session.loop.post(self._come_back)
            raise
        self._from, self._parent = (origin.run, parent.recording), parent.recording
        session.loop.post(self._went_back, source, line, parent.recording, update, state, unlike)

    def _put_to(self, origin: Origin, state: State, rewound: bool) -> None:
        from explorer.ppo.state import weights_digest

        engine = self._session.engine
        origin.check_policy(weights_digest(engine.trainer.reference))
        engine.go_to(state, rewound)

    # ------------------------------------------------------------------ posted to the loop

    def _began(self, run: str, parent: Mapping[str, Any] | None, recording: Recording | None) -> None:
        self.broken = False
        self._change(lambda place: place.begun(run, parent, recording))
        if recording is not None and self._before is None:  # also where another page has taken the run itself
            self._lay_behind(self._parent_behind(self.branch))
        self._session.library.refresh()

    def _mended(self) -> None:
        self.broken = False
        self._session.dismiss()
        self._session.note = "recorded_again"
        self._session.library.refresh()

    def _kept_states(self, own: tuple[int, ...]) -> None:
        self._change(lambda place: place.keeping(own))

    def _found(self, parting: Parting) -> None:
        self._change(lambda place: place.parted(parting))

    def _found_in(self, run: str, parting: Parting) -> None:
        """In what a run had recorded before it was opened, unless another is on screen by now."""
        if run == self.run:
            self._show(self._place.parted(parting))

    def end(self) -> None:
        """Compare nothing any more."""
        self._comparing.end()

    def _change(self, change: Callable[[Place], Place]) -> None:
        """Of the run that the worker spoke of: while another is being opened it is not the one on screen."""
        if self._before is not None:
            self._before = replace(self._before, place=change(self._before.place))
        else:
            self._show(change(self._place))

    def _opened(self, line: Line, state: State, ahead: bool, free: bool, differs: Parting | None, unlike: bool) -> None:
        session = self._session
        try:
            if line.recording.metrics.num_rows != session.updates:  # it went on until its page let go of it
                session.put_on(History(recorded=line.recording), live=True)
            self._show(replace(self._place, states=tuple(line.states), parting=differs))
            if session.config is self._as_opened:  # what was edited meanwhile stays
                then = line.recording.config_at(last_update(line.recording)) if ahead and free else state.config
                self._take_settings(then, "")
            session.prompts = state.prompts
            begun = "only_begun" if not line.own.metrics.num_rows else "unlike" if unlike else ""
            session.note = "taken" if not free else "cut_off" if ahead else begun
            branch = self.branch
            if differs is None and branch is not None and branch.parent is not None:
                self._comparing.begin(
                    line.own,
                    branch.run,
                    branch.parent,
                    lambda found: session.loop.post(self._found_in, line.runs[0], found),
                )
        finally:
            self._end_opening()

    def _went_back(self, source: Entry, line: Line, parent: Recording, update: int, state: State, unlike: bool) -> None:
        session, recording = self._session, line.recording
        try:
            following = update + 1 in parent.metrics.column("update").to_pylist()
            then = self._as_opened or session.config
            edited = {name: now for name, (now, _) in session.config.differences(then).items()}  # meanwhile: that stays
            config = parent.config_at(update + 1) if following else state.config
            self._take_settings(config.replace(**edited), "")
            branch = Branch(run=source.id, update=update, changed={}, parent=parent)
            states = tuple(kept for kept in line.states if kept <= update)
            self._show(Place(states=states, branch=branch, runs=frozenset(line.runs)))
            session.prompts = state.prompts
            session.put_on(History(recorded=until(recording, update)), live=True)
            session.note = "unlike" if unlike else ""
            self._lay_behind(run_behind(called(source), History(recorded=parent), source.id))
        finally:
            self._end_opening()

    def _end_opening(self) -> None:
        """The trainer is where it is to be; what was ordered meanwhile begins."""
        self._before, self.opening = None, False
        self._session.catch_up()

    def _come_back(self) -> None:
        """Opening has failed: what was on screen before comes back."""
        before, session = self._before, self._session
        if before is not None:
            self._show(before.place)
            session.config = session.engine.config = before.config
            session.preset, session.compared = before.preset, PRESETS[before.preset]
            session.recorder.preset = before.preset
            session.put_on(before.history, before.live and not before.waiting)
            session.behind, self._behind = before.behind, before.parent_behind
        session.pause()  # what was ordered was meant for the other run
        self._end_opening()

    # ------------------------------------------------------------------ the rest

    def _forget(self) -> None:
        self.broken = False
        self._show(Place())
        self._lay_behind(None)

    def _parent_behind(self, branch: Branch | None) -> Behind | None:
        if branch is None or branch.parent is None:
            return None
        try:
            parent = self._session.library.shelf.find(branch.run)
        except RecordingError:  # deleted since
            return None
        return run_behind(called(parent), History(recorded=branch.parent), branch.run)

    def _lay_behind(self, behind: Behind | None) -> None:
        """The parent behind the curves, instead of the one before; what else lies there stays."""
        if behind is not None or self._session.behind is self._behind:
            self._session.behind = behind
        self._behind = behind

    def _show(self, place: Place) -> None:
        self._place = place
        with self.hold_trait_notifications():
            self.run, self.states, self.branch, self.parting = place.run, place.states, place.branch, place.parting

    def _look(self) -> Before:
        session = self._session
        return Before(
            place=self._place,
            history=session.history,
            live=session.live,
            waiting=session.waiting,
            config=session.config,
            preset=session.preset,
            behind=session.behind,
            parent_behind=self._behind,
        )

    def _take_settings(self, config: Config, preset: str, only_known: bool = False) -> None:
        """The run's settings, with a weight for every component that the page has, or for those alone."""
        session = self._session
        known = {name: 0.0 for name in session.config.weights if name not in session.config.components}
        weights = {name: value for name, value in config.weights.items() if name in known or not only_known}
        session.config = session.engine.config = self._as_opened = config.replace(weights={**known, **weights})
        if preset in PRESETS:
            session.preset, session.compared = preset, PRESETS[preset]
            session.recorder.preset = preset

    def _check_free(self) -> None:
        if self._session.grid.running:
            raise ValueError("A seed grid is running: stop it first, or wait until it has ended.")
        if self.opening:
            raise ValueError("A run is just being opened: wait a moment.")
