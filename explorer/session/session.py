"""A Session: one run as the page sees it. Commands go in, snapshots come out.

Every trait here is written on the kernel's event loop. The worker thread runs stages and jobs, and posts.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Bool, Dict, Float, HasTraits, Instance, Int, Unicode

from explorer.config import Config, effect_of
from explorer.presets import PRESETS
from explorer.recording.history import History
from explorer.recording.snapshot import Snapshot
from explorer.session.cursor import Cursor
from explorer.session.engine import Engine, Progress
from explorer.session.loop import Loop
from explorer.session.stopping import has_stopped_rising
from explorer.session.worker import InlineWorker, ThreadWorker

#: At most so many draws a second while training.
DRAWS_PER_SECOND = 5.0


class ResetNeeded(ValueError):
    """A change that starts the run anew has to be confirmed first."""

    def __init__(self, changes: Mapping[str, Any]) -> None:
        self.changes = dict(changes)
        names = ", ".join(self.changes)
        super().__init__(f"Changing {names} starts the run anew: confirm it, or call set(..., reset=True).")


class Session(HasTraits):
    """One run: its configuration, its worker, its history, and what is on screen.

    Args:
        policy: what ``load_policy`` takes, or a Policy; it is loaded in the worker.
        config: the first configuration.
        rewards: components of the user's own.
        prompts: the training prompts.
        recorded: snapshots of a recorded run, shown until the live one has something to show.
        threaded: False runs everything inline, for scripts and tests.
    """

    config = Instance(Config, help="The settings in the page; an update takes them when it begins.")
    preset = Unicode("learn", help="The preset that the settings are compared with.")
    phase = Unicode("loading", help="loading, ready or failed: whether the policy is there.")
    live = Bool(False, help="Whether the history on screen is this session's own run and not a recorded one.")
    waiting = Bool(False, help="Whether a recorded run stays on screen until the first live update is there.")
    mode = Unicode("paused", help="paused, running, update or stage: what the worker does.")
    progress = Instance(Progress, allow_none=True, help="The stage now running.")
    rate = Float(0.0, help="Updates per second over the last few.")
    updates = Int(0, help="Updates in the history.")
    shown = AnyTrait(None, help="The Snapshot on screen, re-scored under the settings; or an unfinished update.")
    recorded = AnyTrait(None, help="The same update as it was trained.")
    error = Dict(help="{'message': str, 'count': int} of the last error; empty when there is none.")
    samples = Dict(help="The same prompts answered by the reference and by the policy now.")
    trial = Dict(help="The last prompt that was tried.")
    prompts = AnyTrait((), help="The training prompts.")
    policy = Dict(help="{'name', 'parameters'} of the policy that is trained; empty while it loads.")

    def __init__(
        self,
        policy: Any = None,
        config: Config | None = None,
        rewards: Mapping[str, Callable[..., Any]] | None = None,
        prompts: Sequence[str] | None = None,
        recorded: Sequence[Snapshot] = (),
        threaded: bool = True,
    ) -> None:
        super().__init__(config=config or PRESETS["learn"])
        self.history, self.cursor = History(), Cursor()
        for snapshot in recorded:
            self.history.append(snapshot)
        self.loop = Loop(self.report)
        self.engine = Engine(policy, self.config, rewards, prompts, self._on_stage, self._on_update)
        worker = ThreadWorker if threaded else InlineWorker
        self.worker = worker(self.engine.advance, self._on_worker_error, self._on_pause)
        self._finished: deque[Snapshot] = deque()
        self._drawing = False
        self._until_flat = False
        self._ends: deque[float] = deque(maxlen=8)
        self._errors = 0
        self.cursor.observe(self._render, ["update", "epoch"])
        self.cursor.observe(self._on_follow, "follow")
        self._follow_newest()
        self.worker.submit(self._load)

    # ------------------------------------------------------------------ commands, called on the loop

    def set(self, *, reset: bool = False, **changes: Any) -> None:
        """Change settings. Re-scoring ones act on the batch on screen at once, the others from the next update.

        Args:
            reset: whether a field that starts the run anew may do so.
            changes: fields of Config, and ``weight_NAME``.

        Raises:
            TypeError: no such field.
            ValueError: a value outside its range; nothing has changed.
            ResetNeeded: the change would clear a run that has updates.
        """
        config = self.config.replace(**changes)
        needing = {n: v for n, (v, _) in config.differences(self.config).items() if effect_of(n) == "reset"}
        if needing and self.live and self.history and not reset:
            raise ResetNeeded(needing)
        self.engine.check(config)
        self.config = config
        self.engine.config = config
        if needing:
            self.reset()
        self._render()

    def use_preset(self, name: str) -> None:
        """Take a preset's settings, keeping seed and batch shape. Raises ValueError for an unknown name."""
        if name not in PRESETS:
            raise ValueError(f"There is no preset '{name}': choose one of {', '.join(PRESETS)}.")
        kept = {field: value for field, value in self.config.flat().items() if effect_of(field) == "reset"}
        target = PRESETS[name].replace(**kept)
        self.preset = name
        custom = {f"weight_{n}": 0.0 for n in self.config.weights if n not in target.weights}
        self.set(**{**target.flat(), **custom})

    def train(self, updates: int | None = None, *, until_flat: bool = False) -> None:
        """Train until paused, for so many updates, or until the score stops rising."""
        if updates is not None and updates < 1:
            raise ValueError(f"'{updates}' updates cannot be trained: give a number of at least 1.")
        self._begin()
        self._until_flat = until_flat
        self.worker.run(updates)
        self._sync_mode()

    def pause(self) -> None:
        """Stop after the stage that is running."""
        self.worker.pause()
        self._sync_mode()

    def step(self) -> None:
        """Run to the end of the update."""
        self._begin()
        self.worker.step_update()
        self._sync_mode()

    def step_stage(self) -> None:
        """Run one stage of the update."""
        self._begin()
        self.engine.show_stages = True
        self.worker.step_stage()
        self._sync_mode()

    def set_slow(self, seconds: float) -> None:
        """Wait so long after every stage; 0 is full speed."""
        self.worker.slow_seconds = seconds
        self.engine.show_stages = seconds > 0

    def reset(self) -> None:
        """Clear the run and go back to the untouched policy, with the settings as they are."""
        self.worker.pause()
        self.history.clear()
        self._finished.clear()
        self._ends.clear()
        self.live, self.waiting = True, False
        self.updates, self.rate, self.progress = 0, 0.0, None
        self.worker.submit(self._restart)
        self.cursor.follow = True
        self.cursor.update = 0
        self._sync_mode()
        self._render()

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Train on other prompts from the next update on; bad ones are reported and change nothing."""

        def job() -> None:
            self.engine.set_prompts(prompts)
            self.loop.post(self.set_trait, "prompts", tuple(self.engine.prompts))
            self.compare()

        self.worker.submit(job)

    def compare(self) -> None:
        """Answer the training prompts by the reference and by the policy now, with the same random numbers."""
        self.worker.submit(lambda: self.loop.post(self.set_trait, "samples", self.engine.compare()))

    def try_prompt(self, prompt: str, update: int | None = None) -> None:
        """Answer a prompt by the policy as of an update (None: now) and by the reference."""
        self.worker.submit(lambda: self.loop.post(self.set_trait, "trial", self.engine.try_prompt(prompt, update)))

    def report(self, error: BaseException) -> None:
        """Show an error; the run and its history stay. Called on the loop."""
        self._errors += 1
        message = str(error).strip() or type(error).__name__
        if not isinstance(error, (ValueError, RuntimeError, FloatingPointError, OSError)):
            message = f"{type(error).__name__}: {message}"
        self.error = {"message": message, "count": self._errors}

    def dismiss(self) -> None:
        """Take the error off the screen."""
        self.error = {}

    def close(self) -> None:
        """Stop the worker for good."""
        self.worker.stop()

    # ------------------------------------------------------------------ on the worker

    def _load(self) -> None:
        try:
            self.engine.load()
        except Exception as error:
            self.loop.post(self.set_trait, "phase", "failed")
            self.loop.post(self.report, error)
            return
        self.loop.post(self._on_ready)

    def _restart(self) -> None:
        self.engine.restart()

    def _on_stage(self, progress: Progress) -> None:
        self.loop.post(self._publish_stage, progress)

    def _on_update(self, snapshot: Snapshot) -> None:
        self._finished.append(snapshot)
        self.loop.post(self._collect)

    def _on_worker_error(self, error: BaseException) -> None:
        self.loop.post(self.report, error)
        self.loop.post(self._sync_mode)

    def _on_pause(self) -> None:
        self.loop.post(self._sync_mode)

    # ------------------------------------------------------------------ posted to the loop

    def _on_ready(self) -> None:
        self.phase = "ready"
        self.prompts = tuple(self.engine.prompts)
        policy = self.engine.trainer.policy
        self.policy = {"name": policy.name, "parameters": f"{policy.parameter_count / 1e6:.2f} M"}
        self._render()

    def _publish_stage(self, progress: Progress) -> None:
        self.progress = progress
        if progress.unfinished is not None and self.cursor.follow:
            self.shown = self.recorded = progress.unfinished
        self._sync_mode()

    def _collect(self) -> None:
        """Take every finished update into the history; draw the newest at most a few times a second."""
        while self._finished:
            if self.waiting:
                self.history.clear()
                self.waiting = False
            snapshot = self._finished.popleft()
            self.history.append(snapshot)
            self._ends.append(time.monotonic())
        self.updates = len(self.history)
        if len(self._ends) > 1:
            self.rate = (len(self._ends) - 1) / (self._ends[-1] - self._ends[0])
        if self._until_flat and has_stopped_rising(list(self.history.series("objective/score")[1])):
            self._until_flat = False
            self.worker.pause()
        self._sync_mode()
        if not self._drawing:
            self._drawing = True
            self.loop.later(0.0, self._draw)

    def _draw(self) -> None:
        self._follow_newest()
        self.loop.later(1.0 / DRAWS_PER_SECOND, self._drawn)

    def _drawn(self) -> None:
        self._drawing = False
        newest = self.history.last
        if self.cursor.follow and newest is not None and newest.update != self.cursor.update:
            self._drawing = True
            self._draw()

    # ------------------------------------------------------------------ what is on screen

    def _begin(self) -> None:
        """From a recorded run to a live one."""
        if not self.live:
            self.live = self.waiting = True
        self.dismiss()
        self.engine.show_stages = self.worker.slow_seconds > 0
        self.cursor.follow = True

    def _on_follow(self, change: Any) -> None:
        if self.cursor.follow:
            self._follow_newest()

    def _follow_newest(self) -> None:
        newest = self.history.last
        if newest is None or not self.cursor.follow:
            return
        self.updates = len(self.history)
        if self.cursor.update == newest.update and self.cursor.epoch == -1:
            self._render()
            return
        with self.cursor.hold_trait_notifications():
            self.cursor.update, self.cursor.epoch = newest.update, -1

    def _render(self, change: Any = None) -> None:
        """Put the snapshot at the cursor on screen, re-scored where the settings differ from its own."""
        snapshot = self.history.at(self.cursor.update)
        self.recorded = snapshot
        self.shown = snapshot if snapshot is None else self._rescored(snapshot)

    def _rescored(self, snapshot: Snapshot) -> Snapshot:
        changed = self.config.differences(snapshot.config)
        if self.phase != "ready" or not any(effect_of(name) == "what_if" for name in changed):
            return snapshot
        from explorer.recording.what_if import what_if

        return what_if(snapshot, self.config)

    def _sync_mode(self) -> None:
        self.mode = self.worker.mode
