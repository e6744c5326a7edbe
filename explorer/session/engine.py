"""What the worker runs: the trainer, one stage at a time, and jobs with the policy in between.

Nothing here touches a trait. Torch and transformers are imported by ``load``, in the worker, so that the page is on
screen before.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.memory import keep_freed_memory
from explorer.recording.snapshot import Snapshot, take_snapshot
from explorer.session.answers import Answers
from explorer.session.batches import Batches
from explorer.session.checkpoints import Checkpoints
from explorer.session.progress import Progress, progress
from explorer.session.recorder import Recorder

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy
    from explorer.ppo.state import State
    from explorer.ppo.trainer import Stage, Trainer
    from explorer.recording.origin import Origin

#: How long a thread may keep the interpreter while another waits for it.
SWITCH_SECONDS = 0.0005


class Engine:
    """The trainer behind a session.

    Attributes:
        in_force: the settings that the running update began with.
        answers, batches: what can be asked of the policy, and of its batches, between two stages.

    Args:
        policy, config, rewards, prompts, device, bf16: as for ``Trainer``.
        on_stage: called in the worker with a Progress when a stage has ended.
        on_update: called in the worker with the Snapshot of a whole update.
        recorder: writes every update; None records nothing.
        on_aside: called in the worker with the name of a component that has failed, and its RewardError: the update
            begins again without it.
    """

    def __init__(
        self,
        policy: Any,
        config: Config,
        rewards: Mapping[str, Callable[..., Any]] | None,
        prompts: Sequence[str] | None,
        on_stage: Callable[[Progress], None],
        on_update: Callable[[Snapshot], None],
        device: str | None = None,
        bf16: bool | None = None,
        recorder: Recorder | None = None,
        on_aside: Callable[[str, BaseException], None] = lambda name, error: None,
    ) -> None:
        self.config = config
        self._recorder = recorder or Recorder()
        self.show_stages = False
        self.checkpoints = Checkpoints()
        self._arguments: tuple[Any, ...] = (policy, rewards, prompts, device, bf16)
        self._on_stage, self._on_update, self._on_aside = on_stage, on_update, on_aside
        self._trainer: Trainer | None = None
        self._stages: Iterator[Stage] | None = None
        self.in_force = config
        self.answers, self.batches = Answers(self), Batches(self)
        self._scratch: Policy | None = None
        self._failure: Exception | None = None
        self._told: Progress | None = None
        self._wanted: list[str] | None = None

    def load(self) -> None:
        """Import torch, load the policy and make the trainer. Raises as ``Trainer`` does."""
        self._failure = None
        try:
            with _no_collections():
                self._load()
        except Exception as error:
            self._failure = error
            raise

    def _load(self) -> None:
        import torch

        from explorer.ppo.trainer import Trainer

        # Two threads were 5 to 10 times slower than one whenever another program kept the second core busy.
        torch.set_num_threads(1)
        keep_freed_memory()
        # The loop answers a slider in several short turns; at Python's 5 ms each of them waits for the training thread.
        sys.setswitchinterval(SWITCH_SECONDS)
        policy, *others = self._arguments
        trainer = Trainer(policy, self.config, *others)
        self._scratch = trainer.reference.frozen_copy("as of an earlier update")
        self.checkpoints.keep(0, trainer.policy)
        self._trainer = trainer

    @property
    def trainer(self) -> Trainer:
        """The trainer. Raises RuntimeError before it is loaded, and what loading raised where it failed."""
        if self._failure is not None:
            raise self._failure
        if self._trainer is None:
            raise RuntimeError("The policy is still loading: try again in a moment.")
        return self._trainer

    def unlike(self, origin: Origin) -> bool:
        """Whether a checkpoint was made with another PyTorch, device or number of threads than go on from it here."""
        import torch

        found = origin.unlike(str(torch.__version__), torch.get_num_threads(), str(self.trainer.policy.device))
        return found is not None

    @property
    def prompts(self) -> list[str]:
        """The training prompts: those of the next new update."""
        return self._wanted or self.trainer.prompts

    @property
    def rewards(self) -> Mapping[str, Callable[..., Any]] | None:
        """The components of the user's own."""
        found: Mapping[str, Callable[..., Any]] | None = self._arguments[1]
        return found

    def untouched_policy(self) -> Policy:
        """A copy of the policy as it was before training, to begin another run with."""
        trainer = self.trainer
        policy = trainer.reference.frozen_copy(trainer.policy.name)
        learning = {name: parameter.requires_grad for name, parameter in trainer.policy.named_parameters()}
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(learning.get(name, True))
        return policy

    def check(self, config: Config) -> None:
        """Whether the policy can run a config. Raises ValueError that says what to change."""
        if self._trainer is not None:
            self._trainer.check(config)

    def advance(self) -> bool:
        """Run one stage; True at the end of a new update, which takes the newest config.

        What a run that was cut off holds after its newest state is made once more before, with the settings that it
        had; it is on screen already.

        An update in which a reward component fails begins again without it, with the same random numbers; where none
        is left that counts, what it raised is raised.
        """
        trainer = self.trainer
        if self._stages is None:
            then = self._recorder.settings_of(trainer.updates + 1)
            if then is None:
                self._take_prompts()
            self.in_force = then or self.config
            self._recorder.before_update(trainer, self.in_force)
            self._stages = trainer.stages(self.in_force)
            self._on_stage(progress(trainer, self.in_force, None, self.show_stages))
        elif self._told is not None and self._told.waiting:
            self._on_stage(dataclasses.replace(self._told, waiting=False))
        try:
            stage = next(self._stages)
        except BaseException as error:
            self._stages = None
            if self._set_aside(error):
                return False
            raise
        if stage.update is None:
            at = progress(trainer, self.in_force, stage, self.show_stages)
            self._told = dataclasses.replace(at, waiting=self.show_stages)
            self._on_stage(self._told)
            return False
        self._stages = None
        self.checkpoints.keep(stage.update.update, trainer.policy)
        snapshot = take_snapshot(stage.update, self.in_force, trainer.policy)
        there = self._recorder.is_there(snapshot)
        if not there:
            self._recorder.wait()
            self._on_update(snapshot)
        self._recorder.after_update(trainer, snapshot, self.config, there)
        at = progress(trainer, self.in_force, stage, self.show_stages)
        self._on_stage(dataclasses.replace(at, waiting=self.show_stages))
        return not there

    def _set_aside(self, error: BaseException) -> bool:
        """Leave out the component that an error is of, if it is one's; whether another is left that counts."""
        name = getattr(error, "component", "")
        again = self._recorder.settings_of(self.trainer.updates + 1) is not None  # has to be what it was
        if not name or name in self.in_force.set_aside or again:
            return False
        self.config = self.config.replace(set_aside=[*self.config.set_aside, name])
        self._on_aside(name, error)
        return any(weight for other, weight in self.config.weights.items() if other not in self.config.set_aside)

    def restart(self) -> None:
        """Drop the running update and go back to the untouched policy; the next update begins another run."""
        self._recorder.leave()
        self._drop_update()
        self._take_prompts()
        self.trainer.config = self.in_force = self.config
        self.trainer.reset()
        self.checkpoints.clear()
        self.checkpoints.keep(0, self.trainer.policy)

    def go_to(self, state: State, rewound: bool) -> None:
        """Drop the running update, and go on from a state of the run on screen, or of another run.

        Args:
            state: of a run that was begun with the same policy.
            rewound: whether it is an earlier one of this run: the weights of those before it stay at hand.

        Raises:
            ValueError: the state does not suit the policy, the prompts or the rewards; nothing has changed.
        """
        trainer = self.trainer
        trainer.load_state(state)
        self._wanted = None
        self._drop_update()
        self.in_force = trainer.config
        if not rewound:
            self.checkpoints.clear()
            self.checkpoints.keep(0, trainer.reference)
        self.checkpoints.keep(state.updates, trainer.policy)

    def _drop_update(self) -> None:
        if self._stages is not None:
            self._stages.close()  # type: ignore[attr-defined]  # a generator
            self._stages = None

    def close(self) -> None:
        """Let go of the policy and of every weight that was kept."""
        self.checkpoints.clear()
        self._stages = self._trainer = self._scratch = None

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Other training prompts from the next new update on. Raises ValueError, changing nothing."""
        trainer, before = self.trainer, self.trainer.prompts
        trainer.set_prompts(prompts)
        self._wanted = None
        if self._recorder.settings_of(trainer.updates + 1) is not None:  # that one is made once more
            self._wanted, trainer.prompts = trainer.prompts, before

    def _take_prompts(self) -> None:
        if self._wanted is not None:
            self.trainer.prompts, self._wanted = self._wanted, None

    def policies(self, update: int | None) -> tuple[Policy, Policy]:
        """The reference, and the policy as of an update; in the middle of one the policy is no update's.

        Raises:
            ValueError: that update's weights are no longer kept.
        """
        trainer = self.trainer
        if self._stages is None and update in (None, trainer.updates):
            return trainer.reference, trainer.policy
        assert self._scratch is not None
        self.checkpoints.load_into(self._scratch, trainer.updates if update is None else update)
        return trainer.reference, self._scratch

    def policy_after(self, update: int) -> Policy:
        """The policy that an update has made, to take gradients of: exactly so for the newest, else to half precision.

        Raises:
            ValueError: that update's weights are no longer kept.
        """
        policy = self.trainer.policy
        if self._stages is not None or update != self.trainer.updates:
            policy = copy.deepcopy(policy)
            self.checkpoints.load_into(policy, update)
        return policy


@contextmanager
def _no_collections() -> Iterator[None]:
    """Without garbage collection: over all that torch's import leaves, it is a third of the import's time.

    What the first load of a process leaves is there for good. Later collections pass over it: each full one held up
    page and training for a quarter of a second.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
        if was_on:
            gc.enable()
