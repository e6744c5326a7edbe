"""Who runs the stages of an update: a thread of its own in a page, the caller itself in a script or a test."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

#: ``stage`` and ``update`` run until the next end of one and then pause.
Mode = Literal["paused", "running", "update", "stage", "stopped"]
Job = Callable[[], None]


class Worker(Protocol):
    """Runs ``advance`` (one stage; True at the end of an update) as it is told, and jobs in between."""

    @property
    def mode(self) -> Mode:
        """What it is doing."""
        ...

    def run(self, updates: int | None = None) -> None:
        """Go on until told otherwise, or for so many updates."""
        ...

    def pause(self) -> None:
        """Stop after the stage that is running."""
        ...

    def step_stage(self) -> None:
        """Run one stage."""
        ...

    def step_update(self) -> None:
        """Run to the end of the update."""
        ...

    def submit(self, job: Job) -> None:
        """Run a job between two stages."""
        ...

    def stop(self) -> None:
        """End for good, with the last job."""
        ...


#: Workers whose thread may be in the middle of a stage when the interpreter ends.
_running: weakref.WeakSet[ThreadWorker] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Let every thread leave torch and let go of its tensors before the interpreter goes, or the process aborts."""
    for worker in list(_running):
        worker.stop()
    for worker in list(_running):
        worker.join(10.0)


class _Schedule:
    """What both workers share: which mode follows a finished stage."""

    def __init__(
        self,
        advance: Callable[[], bool],
        on_error: Callable[[BaseException], None],
        on_pause: Callable[[], None] = lambda: None,
        last: Job = lambda: None,
    ) -> None:
        self._advance = advance
        self._last = last
        self._on_error = on_error
        self._on_pause = on_pause
        self._mode: Mode = "paused"
        self._remaining: int | None = None
        self.slow_seconds = 0.0

    @property
    def mode(self) -> Mode:
        """What it is doing."""
        return self._mode

    def _after(self, update_ended: bool) -> None:
        """Settle the mode after a stage."""
        if self._mode == "stage" or (self._mode == "update" and update_ended):
            self._mode = "paused"
        elif self._mode == "running" and update_ended and self._remaining is not None:
            self._remaining -= 1
            if self._remaining <= 0:
                self._mode = "paused"


class InlineWorker(_Schedule):
    """Runs everything in the caller, at once; a job that a job submits comes after it, as in a thread."""

    _jobs: deque[Job] | None = None

    def run(self, updates: int | None = None) -> None:
        """Run so many updates and return; without a number it would never return."""
        if updates is None:
            raise ValueError("An inline worker has nobody to pause it: say for how many updates to run.")
        self._go("running", updates)

    def pause(self) -> None:
        """Stop after the stage that is running (from within a callback)."""
        self._mode = "paused"

    def step_stage(self) -> None:
        """Run one stage."""
        self._go("stage")

    def step_update(self) -> None:
        """Run to the end of the update."""
        self._go("update")

    def submit(self, job: Job) -> None:
        """Run the job now, or after the one that submits it."""
        if self._jobs is not None:
            self._jobs.append(job)
            return
        self._jobs = deque([job])
        try:
            while self._jobs and self._mode != "stopped":
                try:
                    self._jobs.popleft()()
                except Exception as error:
                    self._on_error(error)
        finally:
            self._jobs = None

    def stop(self) -> None:
        """Refuse to run any more, after the last job."""
        if self._mode != "stopped":
            self._mode = "stopped"
            self._last()

    def _go(self, mode: Mode, updates: int | None = None) -> None:
        if self._mode == "stopped":
            return
        self._mode, self._remaining = mode, updates
        while self._mode not in ("paused", "stopped"):
            try:
                self._after(self._advance())
            except Exception as error:
                self._mode = "paused"
                self._on_error(error)
        self._on_pause()


class ThreadWorker(_Schedule):
    """Runs everything in one daemon thread. Its methods may be called from any thread and return at once.

    Args:
        advance: runs one stage; True at the end of an update.
        on_error: called in the worker's thread with what ``advance`` or a job raised; after ``advance`` it is paused.
        on_pause: called in the worker's thread when it has paused by itself.
        last: called in the worker's thread when it ends for good, at the interpreter's exit too.
    """

    def __init__(
        self,
        advance: Callable[[], bool],
        on_error: Callable[[BaseException], None],
        on_pause: Callable[[], None] = lambda: None,
        last: Job = lambda: None,
    ) -> None:
        super().__init__(advance, on_error, on_pause, last)
        self._jobs: deque[Job] = deque()
        self._orders = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._main, name="ppo-explorer-worker", daemon=True)
        _running.add(self)
        self._thread.start()

    def run(self, updates: int | None = None) -> None:
        """Go on until told otherwise, or for so many updates."""
        self._switch("running", updates)

    def pause(self) -> None:
        """Stop after the stage that is running."""
        self._switch("paused")

    def step_stage(self) -> None:
        """Run one stage."""
        self._switch("stage")

    def step_update(self) -> None:
        """Run to the end of the update."""
        self._switch("update")

    def submit(self, job: Job) -> None:
        """Run a job between two stages, in the order in which they came."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def stop(self) -> None:
        """End the thread after the stage that is running, with the last job."""
        self._switch("stopped")

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the thread's end; whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _switch(self, mode: Mode, updates: int | None = None) -> None:
        with self._changed:
            if self._mode != "stopped":
                self._mode, self._remaining = mode, updates
            self._orders += 1
            self._changed.notify_all()

    def _main(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._mode != "paused")
                if self._mode == "stopped":
                    break
                job = self._jobs.popleft() if self._jobs else None
            try:
                if job is not None:
                    job()
                else:
                    self._run_stage()
            except BaseException as error:  # what a policy or a reward raises reaches the page, and kills no thread
                if job is None:
                    self._switch("paused")
                self._on_error(error)
        self._last()

    def _run_stage(self) -> None:
        orders = self._orders
        update_ended = self._advance()
        with self._changed:
            if self._orders == orders:  # an order that came meanwhile begins with the next stage
                self._after(update_ended)
            paused = self._mode == "paused"
            if self.slow_seconds > 0 and self._mode in ("running", "update") and not self._jobs:
                self._changed.wait(self.slow_seconds)
        if paused:
            self._on_pause()
