"""A seed grid that the page runs: on the session's worker, one update a job, so that it can be stopped between two.

The live run pauses meanwhile and stays as it is: the grid has trainers of its own, and random numbers belong to (seed,
update). Its runs lie on disk, each a recording of its own, and are drawn behind the curves as they grow.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from traitlets import Dict, HasTraits

from explorer.recording.amounts import find_amounts
from explorer.recording.history import History
from explorer.seed_grid import SeedGrid, Step
from explorer.session.behind import seeds_behind

if TYPE_CHECKING:
    from explorer.session.session import Session

State = Literal["running", "stopping", "stopped", "done", "failed"]


class SeedRuns(HasTraits):
    """Starts and stops a seed grid; everything here runs on the loop but the jobs themselves.

    Args:
        session: whose settings, policy, prompts and rewards the grid has, and whose worker computes.
    """

    progress = Dict(
        help="{state, seed, nth, update, seeds, updates, folder}: state is running, stopping, stopped, done or failed; "
        "seed is the nth of so many seeds and has update of so many updates. Empty before the first grid."
    )

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._runs: dict[int, History] = {}
        self._steps: Generator[Step, None, None] | None = None  # the worker's
        self._stopping = False
        self._of: Any = None

    @property
    def can_go_on(self) -> bool:
        """Whether a grid of the settings and prompts in the page was stopped, so that it may go on in its folder."""
        return self.progress.get("state") == "stopped" and self._of == (self._session.config, self._session.prompts)

    @property
    def running(self) -> bool:
        """Whether a grid is running; one that is being stopped still is."""
        return self.progress.get("state") in ("running", "stopping")

    def start(self, seeds: int, updates: int, folder: str | Path, first_seed: int = 0) -> None:
        """Run a grid under the settings in the page, or go on with it; the live run pauses. Returns at once.

        Args:
            seeds: how many, from ``first_seed`` on.
            updates: how long each run is to be.
            folder: a new or empty one, or that of the same grid.
            first_seed: the first of them.

        Raises:
            ValueError: a grid is running, or a number or the folder is none. What is wrong with what the folder holds
                is reported by the session.
        """
        if self.running:
            raise ValueError("A seed grid is running: stop it first, or wait until it has ended.")
        for name, value in (("seeds", seeds), ("updates", updates)):
            if type(value) is not int or value < 1:
                raise ValueError(f"'{value}' {name} cannot be trained: give a whole number of at least 1.")
        if type(first_seed) is not int:
            raise ValueError(f"The first seed is {first_seed!r}, but must be a whole number.")
        if not str(folder).strip():
            raise ValueError("A seed grid needs a folder for its runs: name a new one.")
        root, config = Path(folder).expanduser(), self._session.config
        amounts = self._session.recorder.shelf or find_amounts()  # of each run as much as of the page's own
        chosen = range(first_seed, first_seed + seeds)
        SeedGrid(config, chosen, updates, root)  # refuses what it can without a policy
        self._session.pause()
        self._session.dismiss()
        self._runs, self._stopping, self._of = {}, False, (config, self._session.prompts)
        numbers = {"seed": first_seed, "nth": 1, "update": 0, "seeds": seeds, "updates": updates}
        self.progress = {"state": "running", **numbers, "folder": str(root)}

        def begin() -> None:
            engine = self._session.engine
            policy, prompts, rewards = engine.untouched_policy(), engine.prompts, engine.rewards
            grid = SeedGrid(
                *(config, chosen, updates, root),
                policy=policy,
                prompts=prompts,
                rewards=rewards,
                keep_every=amounts.keep_every,
                checkpoint_every=amounts.checkpoint_every,
                checkpoint_megabytes=amounts.checkpoint_megabytes,
            )
            self._steps = grid.steps()
            self._session.worker.submit(self._go_on)

        self._session.worker.submit(lambda: self._guarded(begin))

    def stop(self) -> None:
        """Stop after the update that is running; started again, the grid goes on from there."""
        if self.running:
            self._stopping = True
            self.progress = {**self.progress, "state": "stopping"}

    def clear(self) -> None:
        """Take the grid's runs off the curves; they stay on disk. Raises ValueError while it is running."""
        if self.running:
            raise ValueError("A seed grid is running: stop it first, or wait until it has ended.")
        self._runs, self.progress, self._session.behind = {}, {}, None

    # ------------------------------------------------------------------ on the worker

    def end(self) -> None:
        """Keep the running seed's state and let go of its folder."""
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

    def _go_on(self) -> None:
        """One step of the grid, and the order for the next."""
        self._guarded(self._one_step)

    def _one_step(self) -> None:
        if self._steps is None:  # the session has ended
            return
        step = None if self._stopping else next(self._steps, None)
        if step is None:
            self.end()
            self._session.loop.post(self._ended, "stopped" if self._stopping else "done")
            return
        self._session.loop.post(self._take, step)
        self._session.worker.submit(self._go_on)

    def _guarded(self, job: Any) -> None:
        """Do a job; where it fails the grid has, and the worker reports it as it reports everything."""
        try:
            job()
        except BaseException:
            self._steps = None  # what raised has closed itself
            self._session.loop.post(self._ended, "failed")
            raise

    # ------------------------------------------------------------------ posted to the loop

    def _take(self, step: Step) -> None:
        if step.error:
            self._session.report(FloatingPointError(f"Seed {step.seed} has broken off: {step.error}"))
        elif step.metrics:
            self._runs[step.seed].note(step.update, step.metrics)
        else:
            self._runs[step.seed] = History(recorded=step.recording)
        self.progress = {**self.progress, "seed": step.seed, "nth": step.nth, "update": step.update}
        self._session.behind = seeds_behind(self._runs, Path(self.progress["folder"]).name)

    def _ended(self, state: State) -> None:
        self.progress = {**self.progress, "state": state}
