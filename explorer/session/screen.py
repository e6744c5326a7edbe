"""What is on screen: a history, a cursor into it, and the settings under which the batch at the cursor is scored."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Bool, Dict, Float, HasTraits, Instance, Int, Unicode

from explorer.config import Config, effect_of
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.session.behind import Behind
from explorer.session.cursor import Cursor
from explorer.session.loop import Loop
from explorer.session.progress import Progress
from explorer.session.throttle import Throttle

#: At most so many draws a second while training.
DRAWS_PER_SECOND = 5.0


class Screen(HasTraits):
    """Shows the update at the cursor, re-scored where the settings differ from those it was trained under.

    Everything here runs on the kernel's event loop.
    """

    config = Instance(Config, help="The settings; an update takes them when it begins.")
    held = Dict(help="{field: value} of what is being dragged: no update takes that before it is let go.")
    compared = Instance(Config, help="The settings that those are compared with: a preset's, or a recording's.")
    preset = Unicode("learn", help="The preset that the settings are compared with.")
    phase = Unicode("loading", help="loading, ready or failed: whether the policy is there; replay: there is none.")
    mode = Unicode("paused", help="paused, running, update or stage: what the worker does.")
    live = Bool(False, help="Whether the history on screen is this session's own run and not a recorded one.")
    waiting = Bool(False, help="Whether a recorded run stays on screen until the first live update is there.")
    progress = Instance(Progress, allow_none=True, help="The stage now running.")
    rate = Float(0.0, help="Updates per second over the last few.")
    updates = Int(0, help="Updates in the history.")
    shown = AnyTrait(
        None, help="The Snapshot on screen, its epoch at the cursor re-scored under the settings; or an unfinished one."
    )
    recorded = AnyTrait(None, help="The same update as it was trained.")
    note = Unicode("", help="Why training has stopped by itself, a key of ``ui`` in the labels; empty otherwise.")
    error = Dict(help="{'message': str, 'count': int} of the last error; empty when there is none.")
    samples = Dict(help="The same prompts answered by the reference and by the policy now.")
    trial = Dict(help="The last prompt that was tried.")
    prompts = AnyTrait((), help="The training prompts.")
    behind = Instance(Behind, allow_none=True, help="Other runs that the curves show behind this one.")
    policy = Dict(help="{'name', 'parameters'} of the policy that is trained; empty while it loads.")

    _errors = 0
    _laid: tuple[Any, Any, Config | None] = (None, None, None)

    def __init__(self, loop: Loop, config: Config, recorded: History | Iterable[Snapshot] = ()) -> None:
        super().__init__(config=config, compared=config)
        self.loop, self.history, self.cursor = loop, History(), Cursor()
        if isinstance(recorded, History):
            self.history = recorded
        else:
            for snapshot in recorded:
                self.history.append(snapshot)
        self._drawing = Throttle(loop, self._follow_newest, DRAWS_PER_SECOND)
        self._ends: deque[float] = deque(maxlen=8)
        self.cursor.observe(self._render, ["update", "epoch"])
        self.cursor.observe(self._follow_newest, "follow")
        self._follow_newest()

    @property
    def tried(self) -> Config:
        """The settings that are on the page: ``config``, with what is being dragged on top."""
        if self._laid[0] is not self.config or self._laid[1] is not self.held:
            try:
                tried = self.config.replace(**self.held)
            except (TypeError, ValueError):  # the settings below have changed, and no longer bear it
                tried = self.config
            self._laid = self.config, self.held, tried
        assert self._laid[2] is not None
        return self._laid[2]

    @property
    def stages_shown(self) -> bool:
        """Whether an update is shown stage by stage."""
        return False

    @property
    def weights_kept(self) -> list[int]:
        """The updates as of which the policy can be asked."""
        return []

    def report(self, error: BaseException) -> None:
        """Show an error; the run and its history stay. Called on the loop."""
        self._errors += 1
        message = str(error).strip() or type(error).__name__
        if not isinstance(error, (ValueError, TypeError, RuntimeError, FloatingPointError, OSError)):
            message = f"{type(error).__name__}: {message}"
        self.error = {"message": message, "count": self._errors}

    def dismiss(self) -> None:
        """Take the error off the screen."""
        self.error = {}

    def set(self, **changes: Any) -> None:
        """Change settings; what a change does is the session's own."""
        raise NotImplementedError

    def back_to_own(self) -> None:
        """Score the update on screen as it was trained: set what re-scores back to the settings of that update."""
        if isinstance(self.recorded, Snapshot):
            theirs = self.recorded.config
            changed = {**self.config.differences(theirs), **self.tried.differences(theirs)}
            self.set(**{name: own for name, (_, own) in changed.items() if effect_of(name) == "what_if"})

    def walk(self, updates: int = 0, epochs: int = 0) -> None:
        """Go on by so many kept updates, or back; and by so many epochs of the update on screen. The ends stop it."""
        kept = self.history.kept
        if updates and kept and self.shown is not None:
            place = bisect_left(kept, self.shown.update)  # an unfinished update is one past the last
            target = min(max(place + updates, 0), len(kept) - 1)
            if target != place and not (place == len(kept) and updates > 0):
                self.cursor.follow = False
                self.cursor.update = kept[target]
                self._render()
        if epochs and self.shown is not None and self.shown.epochs:
            last = len(self.shown.epochs) - 1
            now = self.cursor.epoch if 0 <= self.cursor.epoch < last else last
            target = min(max(now + epochs, 0), last)
            self.cursor.epoch = -1 if target == last else target

    def _take(self, snapshot: Snapshot, ended: float) -> None:
        """Take a finished update into the history and draw soon; ``ended`` is when, in seconds of a monotonic clock."""
        self._go_live()
        self.history.append(snapshot)
        self._ends.append(ended)
        self.updates = len(self.history)
        span = self._ends[-1] - self._ends[0]
        if span > 0:
            self.rate = (len(self._ends) - 1) / span
        self._drawing.request()

    def _go_live(self) -> None:
        """Take the recorded run off the screen, now that there is something live to show."""
        if self.waiting:
            self.history.clear()
            self.waiting, self.updates = False, 0

    def put_on(self, history: History, live: bool) -> None:
        """Show another run at its newest update, or an empty one; ``live`` is as the trait."""
        self.history = history
        self._ends.clear()
        self.live, self.waiting, self.progress = live, False, None
        self.updates, self.rate, self.note = len(history), 0.0, ""
        self.cursor.follow, self.cursor.update, self.cursor.epoch = True, (history.kept or [0])[-1], -1
        self._render()

    def _follow_newest(self, change: Any = None) -> None:
        kept = self.history.kept
        if not kept or not self.cursor.follow:
            return
        self.updates = len(self.history)
        if self.cursor.update == kept[-1] and self.cursor.epoch == -1:
            self._render()
            return
        with self.cursor.hold_trait_notifications():
            self.cursor.update, self.cursor.epoch = kept[-1], -1

    def _render(self, change: Any = None) -> None:
        """Put the snapshot at the cursor on screen; the unfinished update instead, where one is being stepped."""
        unfinished = self.progress.unfinished if self.progress is not None else None
        kept = self.history.kept
        ahead = unfinished is not None and (self.waiting or not kept or unfinished.update > kept[-1])
        if ahead and self.cursor.follow:
            self.shown = self.recorded = unfinished
            return
        snapshot = self.history.at(self.cursor.update)
        if snapshot is not None and snapshot.update != self.cursor.update:
            self.cursor.update = snapshot.update  # the nearest that is kept; renders by itself
            return
        self.recorded = snapshot
        self.shown = snapshot if snapshot is None else self._rescored(snapshot)

    def _completed(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what is known beside what was recorded."""
        return snapshot

    def draw_again(self) -> None:
        """Put what is at the cursor on screen once more: something has been measured on it."""
        self._render()

    def _rescored(self, snapshot: Snapshot) -> Snapshot:
        config = self.tried
        changed = config.differences(snapshot.config)
        if self.phase != "ready":
            return snapshot
        completed = self._completed(snapshot)
        if completed is snapshot and not any(effect_of(name) == "what_if" for name in changed):
            return snapshot
        from explorer.recording.what_if import what_if

        epoch = self.cursor.epoch
        return what_if(completed, config, epoch=epoch if 0 <= epoch < len(snapshot.epochs) else -1)
