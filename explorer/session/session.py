"""A Session: one run as the page sees it. Commands go in, snapshots come out.

Every trait here is written on the kernel's event loop. The worker thread runs stages and jobs, and posts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from explorer.config import Config, effect_of
from explorer.presets import PRESETS
from explorer.recording.history import History
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.session.annotator import Annotator
from explorer.session.components import Components
from explorer.session.engine import Engine
from explorer.session.grid import SeedRuns
from explorer.session.library import Library
from explorer.session.loop import Loop
from explorer.session.own_folder import OwnFolder
from explorer.session.parts import GradientParts
from explorer.session.progress import Progress
from explorer.session.recorder import Recorder
from explorer.session.runs import Runs
from explorer.session.screen import Screen
from explorer.session.stopping import has_stopped_rising
from explorer.session.untouched import Untouched
from explorer.session.worker import InlineWorker, ThreadWorker

#: What stays as it is when a preset is chosen: which run it is, and how much of it there is.
KEPT = ("seed", "batch_size", "group_size", "response_length", "set_aside")


class ResetNeeded(ValueError):
    """A change that starts the run anew has to be confirmed first."""

    def __init__(self, changes: Mapping[str, Any]) -> None:
        self.changes = dict(changes)
        names = ", ".join(self.changes)
        super().__init__(f"Changing {names} starts the run anew: confirm it, or call set(..., reset=True).")


class Session(Screen):
    """One run: its worker and its commands, and the screen that they change.

    Args:
        policy: what ``load_policy`` takes, or a Policy; it is loaded in the worker.
        config: the first configuration.
        rewards: components of the user's own.
        prompts: the training prompts, or the name of a bundled set.
        recorded: a recorded run, as a history or as snapshots, shown until the live one has something to show.
        threaded: False runs everything inline, for scripts and tests.
        device, bf16: where and how exactly to compute, as for ``Trainer``.
        shelf: where the live run is recorded, and others are; None records nothing.
    """

    def __init__(
        self,
        policy: Any = None,
        config: Config | None = None,
        rewards: Mapping[str, Callable[..., Any]] | None = None,
        prompts: Sequence[str] | None = None,
        recorded: History | Iterable[Snapshot] = (),
        threaded: bool = True,
        device: str | None = None,
        bf16: bool | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        super().__init__(Loop(self.report), config or PRESETS["learn"], recorded)
        self.compared = PRESETS[self.preset]
        self._flat_from: int | None = None
        self._ordered: Callable[[], None] | None = None
        self.library = Library(self, shelf, threaded)
        self.runs = Runs(self)
        self._folder = self.history.folder = OwnFolder(shelf, lambda: self.runs.run)
        self.recorder = Recorder(
            shelf,
            self.runs.began,
            self.runs.kept_states,
            self.runs.compare_with_parent,
            self.runs.broke,
            self.runs.mended,
            self.runs.differed,
        )
        self.recorder.preset = self.preset
        self.engine = Engine(
            *(policy, self.config, rewards, prompts, self._on_stage, self._on_update, device, bf16, self.recorder),
            on_aside=self._on_aside,
        )
        worker = ThreadWorker if threaded else InlineWorker
        self.worker = worker(self.engine.advance, self._on_worker_error, self._on_pause, self._end)
        self.parts = GradientParts(self)
        self.components = Components(self)
        self.annotator = Annotator(self, shelf)
        self.untouched = Untouched(self)
        self.grid = SeedRuns(self)
        self.worker.submit(self._load)

    @property
    def stages_shown(self) -> bool:
        """Whether an update is shown stage by stage."""
        return self.engine.show_stages

    @property
    def weights_kept(self) -> list[int]:
        """The updates as of which the policy can be asked."""
        return self.engine.checkpoints.updates

    # ------------------------------------------------------------------ commands, called on the loop

    def set(self, *, reset: bool = False, held: bool = False, **changes: Any) -> None:
        """Change settings. Re-scoring ones act on the batch on screen at once, the others from the next update.

        Args:
            reset: whether a field that starts the run anew may do so.
            held: whether the values are passing ones of a control that is being dragged: they re-score the batch on
                screen and go no further. The trainer gets the value with which this is called when it is let go.
            changes: fields of Config, ``weight_NAME`` and ``component_NAME``.

        Raises:
            TypeError: no such field.
            ValueError: a value outside its range; nothing has changed, but that what was held is so no longer.
            ResetNeeded: the change would clear a run that has updates.
        """
        if held:
            on_top = {**self.held, **changes}
            self.config.replace(**on_top)  # raises before anything has changed
            self.held = on_top
            self._render()
            return
        before = self.tried
        try:
            self._change(reset, changes)
        finally:  # be it taken or refused, what was let go is held no longer
            known = self.config.flat()
            self.held = {name: value for name, value in self.held.items() if name not in changes and name in known}
            if self.tried != before:  # what is let go has been scored by then
                self._render()

    def _change(self, reset: bool, changes: Mapping[str, Any]) -> None:
        config = self.config.replace(**changes)
        needing = {n: v for n, (v, _) in config.differences(self.config).items() if effect_of(n) == "reset"}
        new = config.weights.keys() != self.config.weights.keys() or config.components != self.config.components
        new |= config.judge != self.config.judge
        if new or config.response_length != self.config.response_length:
            self.engine.check(config)
        if needing and self.live and self.history and not reset:
            raise ResetNeeded(needing)
        if needing:
            self._halt()
        self.config = self.engine.config = config
        if needing and self.phase == "ready":  # before that there is nothing to go back from
            if self.live:
                self.reset()
            else:  # a recorded run stays on screen until there is a live one
                self.worker.submit(self._prepare)
        if self.phase == "failed":  # what failed may have been the setting
            self.phase = "loading"
            self.worker.submit(self._load)

    def use_preset(self, name: str, *, reset: bool = False) -> None:
        """Take a preset's settings, keeping seed and batch shape.

        Args:
            name: of ``PRESETS``.
            reset: whether one with another critic may start the run anew.

        Raises:
            ValueError: there is no such preset, or it does not fit the batch.
            ResetNeeded: as for ``set``.
        """
        if name not in PRESETS:
            raise ValueError(f"There is no preset '{name}': choose one of {', '.join(PRESETS)}.")
        flat = self.config.flat()
        target = PRESETS[name].replace(**{field: flat[field] for field in KEPT})
        brought = PRESETS[self.preset].components  # which go with the preset that brought them
        going = [
            n for n, recipe in self.config.components.items() if brought.get(n) == recipe and n not in target.components
        ]
        others = [n for n in self.config.weights if n not in target.weights and n not in going]
        custom = {f"weight_{n}": 0.0 for n in others}
        self.set(reset=reset, **{**target.flat(), **custom, **dict.fromkeys((f"component_{n}" for n in going), None)})
        self.preset, self.compared = name, PRESETS[name]
        self.recorder.preset = name

    def train(self, updates: int | None = None, *, until_flat: bool = False) -> None:
        """Train until paused, for so many updates, or until the score stops rising."""
        if updates is not None and (type(updates) is not int or updates < 1):
            raise ValueError(f"'{updates}' updates cannot be trained: give a whole number of at least 1.")
        if not self._begin(lambda: self.train(updates, until_flat=until_flat)):
            return
        self._flat_from = (0 if self.waiting else len(self.history)) if until_flat else None
        self.worker.run(updates)
        self._sync_mode()

    def pause(self) -> None:
        """Stop after the stage that is running; a seed grid stops after its update."""
        self._halt()
        self.grid.stop()
        self._sync_mode()

    def step(self) -> None:
        """Run to the end of the update."""
        if not self._begin(self.step):
            return
        self.worker.step_update()
        self._sync_mode()

    def step_stage(self) -> None:
        """Run one stage of the update."""
        if not self._begin(self.step_stage):
            return
        self.engine.show_stages = True
        self.worker.step_stage()
        self._sync_mode()

    def set_slow(self, seconds: float) -> None:
        """Wait so long after every stage; 0 is full speed."""
        self.worker.slow_seconds = seconds
        self.engine.show_stages = seconds > 0

    def reset(self) -> None:
        """Clear the run and go back to the untouched policy, with the settings as they are."""
        self._halt()
        self.worker.submit(self._restart)
        self._sync_mode()

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Train on other prompts from the next update on; bad ones are reported and change nothing."""

        def job() -> None:
            self.engine.set_prompts(prompts)
            self.loop.post(self.set_trait, "prompts", tuple(self.engine.prompts))
            self.compare()

        self.worker.submit(job)

    def compare(self, first: int | None = None) -> None:
        """Answer training prompts by the reference and by the policy now, with the same random numbers.

        As many as fit in the panel, from ``first`` on; None for the same as before.
        """
        self.worker.submit(lambda: self.loop.post(self.set_trait, "samples", self.engine.answers.compare(first)))

    def try_prompt(self, prompt: str, update: int | None = None) -> None:
        """Answer a prompt by the policy as of an update (None: now) and by the reference."""
        self.worker.submit(
            lambda: self.loop.post(self.set_trait, "trial", self.engine.answers.try_prompt(prompt, update))
        )

    def put_on(self, history: History, live: bool) -> None:
        """As of a Screen; what memory lets go of is read from the folder in which the run is being recorded."""
        history.folder = self._folder
        super().put_on(history, live)

    def close(self) -> None:
        """Stop the worker for good and let go of the run: a notebook keeps what its cells have shown."""
        self.runs.end()
        self.worker.stop()
        self.history.clear()

    # ------------------------------------------------------------------ on the worker

    def _end(self) -> None:
        try:
            self.grid.end()
        finally:
            self.recorder.leave()
            self.engine.close()

    def _load(self) -> None:
        try:
            self.engine.load()
        except Exception as error:
            self.worker.pause()
            self.loop.post(self.set_trait, "phase", "failed")
            self.loop.post(self.report, error)
            return
        self.loop.post(self._on_ready)

    def _restart(self) -> None:
        self.engine.restart()
        self.runs.begin_anew()
        self.loop.post(self.put_on, History(), True)  # after what the old run has still posted
        self.loop.post(self._describe_policy)

    def _prepare(self) -> None:
        self.engine.restart()
        self.loop.post(self._describe_policy)

    def _on_stage(self, progress: Progress) -> None:
        self.loop.post(self._publish_stage, progress)

    def _on_update(self, snapshot: Snapshot) -> None:
        self.loop.post(self._collect, snapshot, time.monotonic())

    def _on_aside(self, name: str, error: BaseException) -> None:
        self.loop.post(self._set_aside, name, error)

    def _on_worker_error(self, error: BaseException) -> None:
        self.recorder.keep()
        self.loop.post(self.report, error)
        self.loop.post(self._sync_mode)

    def _on_pause(self) -> None:
        self.recorder.keep()
        self.loop.post(self._sync_mode)

    # ------------------------------------------------------------------ posted to the loop

    def _on_ready(self) -> None:
        self.phase = "ready"
        self.prompts = tuple(self.engine.prompts)
        self._describe_policy()
        self._render()

    def _describe_policy(self) -> None:
        """Name and size of the policy; a reset may have given it a critic of its own, or taken that away."""
        policy = self.engine.trainer.policy
        self.policy = {"name": policy.name, "parameters": f"{policy.parameter_count / 1e6:.2f} M"}

    def _publish_stage(self, progress: Progress) -> None:
        if self.runs.turning:  # it is about the run that was on screen before
            self._sync_mode()
            return
        self.progress = progress
        if progress.unfinished is not None:
            self._go_live()
            self._render()
        self._sync_mode()

    def _collect(self, snapshot: Snapshot, ended: float) -> None:
        if self.runs.turning:
            self.runs.collect_late(snapshot)
            return
        self._take(snapshot, ended)
        scores = self.history.series("objective/score")[1]
        if self._flat_from is not None and has_stopped_rising(list(scores[self._flat_from :])):
            self._flat_from = None
            self.note = "stopped_rising"
            self._halt()
        self._sync_mode()

    def _set_aside(self, name: str, error: BaseException) -> None:
        """A component has failed: the update is made without it, and the page says so."""
        if not self.runs.turning:
            self.components.failed(name, str(error))
            self.report(RuntimeError(f"{error} It is set aside, and the run goes on without it."))

    def catch_up(self) -> None:
        """Do what was ordered while a run was being opened."""
        ordered, self._ordered = self._ordered, None
        if ordered is not None:
            ordered()

    def _completed(self, snapshot: Snapshot) -> Snapshot:
        return self.components.completed(snapshot)

    def _halt(self) -> None:
        """Stop after the stage that is running, and keep the state even where none is."""
        self._ordered = None
        self.worker.pause()
        self.worker.submit(self.recorder.keep)

    def _begin(self, order: Callable[[], None]) -> bool:
        """From a recorded run to a live one; False where the order waits until a run has been opened.

        Raises:
            ValueError: a seed grid has the worker.
        """
        if self.grid.running:
            raise ValueError("A seed grid is running, and the run waits for it: stop the grid first.")
        if self.runs.opening:
            self._ordered = order
            return False
        if not self.live:
            self.live = self.waiting = True
        self.dismiss()
        self.worker.submit(self.recorder.retry)
        self.note = ""
        self._ends.clear()
        self.engine.show_stages = self.worker.slow_seconds > 0
        self.cursor.follow = True
        return True

    def _sync_mode(self) -> None:
        self.mode = self.worker.mode
