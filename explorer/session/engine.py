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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.memory import keep_freed_memory
from explorer.recording.snapshot import Snapshot, Tokens, decode, freeze, take_snapshot
from explorer.recording.what_if import with_coefficients
from explorer.session.checkpoints import Checkpoints
from explorer.session.recorder import Recorder

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy
    from explorer.ppo.records import Credit, Curve, Epoch, Rollout
    from explorer.ppo.state import State
    from explorer.ppo.trainer import Stage, Trainer
    from explorer.recording.origin import Origin

#: How many training prompts are answered at a time: the panel turns over the others.
COMPARED = 8

#: The stages before the epochs, in order.
BEFORE_EPOCHS = ("sample", "score", "shape", "advantage")

#: How long a thread may keep the interpreter while another waits for it.
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """An update of which some stages have run: as much of a Snapshot as there is.

    Attributes:
        components, scores: ``{name: [B]}`` and ``[B]`` from the stage ``score`` on, empty and None before.
        credit: from ``shape`` on, None before.
        epochs: those that have run.
        config: with the coefficients in force, where they adapt.
        update, rollout, tokens, curve: as in a Snapshot.
    """

    update: int
    config: Config
    rollout: Rollout
    tokens: Tokens
    credit: Credit | None
    epochs: tuple[Epoch, ...]
    components: Mapping[str, Any] = field(default_factory=dict)
    scores: Any = None
    curve: Curve | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the running update stands.

    Attributes:
        update: its number.
        finished: the stage that has just ended, "" at the start.
        running: the stage that comes next: what the worker is doing now.
        epoch: the epoch that is running, 0 outside the epochs.
        epochs: how many there are.
        fraction: how much of the update's stages are done, 0 to 1.
        unfinished: the records so far, where they are to be shown.
        waiting: whether the finished stage is being shown, and ``running`` has not begun yet.
    """

    update: int
    finished: str
    running: str
    epoch: int
    epochs: int
    fraction: float
    unfinished: Unfinished | None = None
    waiting: bool = False


class Engine:
    """The trainer behind a session.

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
        self._made_by: str | None = None
        self._trainer: Trainer | None = None
        self._stages: Iterator[Stage] | None = None
        self._in_force = config
        self._scratch: Policy | None = None
        self._failure: Exception | None = None
        self._told: Progress | None = None
        self._trials: tuple[Any, int] = (None, 0)
        self._compared = 0
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
            self._in_force = then or self.config
            self._recorder.before_update(trainer, self._in_force)
            self._stages = trainer.stages(self._in_force)
            self._on_stage(self._progress(None))
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
            self._told = dataclasses.replace(self._progress(stage), waiting=self.show_stages)
            self._on_stage(self._told)
            return False
        self._stages = None
        self.checkpoints.keep(stage.update.update, trainer.policy)
        snapshot = take_snapshot(stage.update, self._in_force, trainer.policy)
        there = self._recorder.is_there(snapshot)
        if not there:
            self._recorder.wait()
            self._on_update(snapshot)
        self._recorder.after_update(trainer, snapshot, self.config, there)
        self._on_stage(dataclasses.replace(self._progress(stage), waiting=self.show_stages))
        return not there

    def _set_aside(self, error: BaseException) -> bool:
        """Leave out the component that an error is of, if it is one's; whether another is left that counts."""
        name = getattr(error, "component", "")
        again = self._recorder.settings_of(self.trainer.updates + 1) is not None  # has to be what it was
        if not name or name in self._in_force.set_aside or again:
            return False
        self.config = self.config.replace(set_aside=[*self.config.set_aside, name])
        self._on_aside(name, error)
        return any(weight for other, weight in self.config.weights.items() if other not in self.config.set_aside)

    def restart(self) -> None:
        """Drop the running update and go back to the untouched policy; the next update begins another run."""
        self._recorder.leave()
        self._drop_update()
        self._take_prompts()
        self.trainer.config = self._in_force = self.config
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
        self._in_force = trainer.config
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

    def compare(self, first: int | None = None) -> dict[str, Any]:
        """Some training prompts answered by the reference and by the policy, with the same random numbers.

        Args:
            first: the first of the ``COMPARED`` prompts to answer; None for those that were answered before. Past the
                end it is the first again.

        Returns:
            ``{update, first, at_once, total, prompts, reference, policy}``; ``total`` is how many training prompts
            there are.
        """
        from explorer.ppo.streams import COMPARISON

        total = len(self.prompts)
        first = self._compared if first is None else max(0, first)
        self._compared = first = first if first < total else 0
        prompts = self.prompts[first : first + COMPARED]
        reference, policy = (self._answers(p, prompts, COMPARISON) for p in self._pair(self.trainer.updates))
        shown = {"update": self.trainer.updates, "first": first, "at_once": COMPARED, "total": total}
        return {**shown, "prompts": prompts, "reference": reference, "policy": policy}

    def try_prompt(self, prompt: str, update: int | None) -> dict[str, Any]:
        """One prompt answered three times by the reference and by the policy as of an update.

        Asked again for the same, the answers are drawn anew; asked for another update, with the same random numbers.

        Raises:
            ValueError: the prompt is empty or too long, or that update's weights are no longer kept.
        """
        from explorer.ppo.prompts import check_prompts
        from explorer.ppo.streams import TRIAL

        prompts = check_prompts([prompt]) * 3
        shown = self.trainer.updates if update is None else update
        asked, times = self._trials
        times = 0 if asked is None or asked[0] != prompt else times + (asked == (prompt, shown))
        self._trials = ((prompt, shown), times)
        reference, policy = (self._answers(p, prompts, TRIAL, times) for p in self._pair(update))
        return {"update": shown, "prompt": prompt, "reference": reference, "policy": policy}

    def gradient_parts(self, snapshot: Snapshot) -> Any:
        """Each token's exact part of the gradient that one more step over a whole batch would have.

        The policy is the one that the batch's update has made: exactly so for the newest, to half precision before.

        Args:
            snapshot: a finished update of this run, as it was trained or re-scored.

        Returns:
            ``[B, T]`` read-only numpy, summing to 1; see ``explorer.ppo.gradient_parts``.

        Raises:
            ValueError: that update's weights are no longer kept.
        """
        import numpy as np
        import torch

        trainer = self.trainer
        policy = trainer.policy
        if self._stages is not None or snapshot.update != trainer.updates:
            policy = copy.deepcopy(policy)
            self.checkpoints.load_into(policy, snapshot.update)
        device = policy.value_head.weight.device

        def live(array: Any) -> Any:
            return torch.from_numpy(np.array(array)).to(device)

        config = with_coefficients(snapshot.config, snapshot)
        return freeze(trainer.gradient_parts(snapshot.rollout.map(live), snapshot.credit.map(live), config, policy))

    def has_made(self, digest: str | None) -> bool:
        """Whether texts are of the policy that this run was begun with; ``digest`` is that of theirs, None its own."""
        from explorer.ppo.state import weights_digest

        self._made_by = self._made_by or weights_digest(self.trainer.reference)
        return digest in (None, self._made_by)

    def measure(self, snapshot: Snapshot, config: Config, name: str) -> Any:
        """A component of a config on the texts of a finished update, ``[B]`` read-only numpy.

        Raises:
            RewardError: it fails.
        """
        from explorer.ppo.rewards.score import run_component

        component = self.trainer.reward_model.under(config)[name]
        return freeze(run_component(name, component, self._responses(snapshot, config)))

    def sample_reference(self, config: Config, first: int, count: int) -> tuple[Any, int]:
        """Some of the training prompts answered many times by the untouched policy, and scored under a config.

        Args:
            config: see ``explorer.ppo.reference_sample``.
            first: the first of the prompts that are asked.
            count: how many of them.

        Returns:
            The ``ScoredAnswers`` in numpy, and how many prompts are asked in all.
        """
        from explorer.ppo.reference_sample import asked_prompts, sample_reference

        asked = asked_prompts(self.prompts)
        found = sample_reference(self.trainer, config, first, asked[first : first + count])
        components = {name: freeze(values) for name, values in found.components.items()}
        judge = None if found.judge is None else freeze(found.judge)
        return dataclasses.replace(found, components=components, judge=judge), len(asked)

    def look_closely(self, snapshot: Snapshot, config: Config, response: int, name: str) -> dict[str, Any]:
        """What a component finds in one response of a finished update; see ``explorer.ppo.rewards.evidence``.

        Of a learnt component ``{parts, rest}``: what each token adds to its value, and what is no token's.
        """
        from explorer.ppo.preferences.learned import Learned
        from explorer.ppo.rewards.evidence import evidence

        seen = self._responses(snapshot, config)
        component = self.trainer.reward_model.under(config).get(name)
        tokens = snapshot.tokens.responses[response]
        if isinstance(component, Learned):
            parts, rest = (found[response] for found in component.token_parts(seen))
            return {"parts": parts[: len(tokens)].tolist(), "rest": float(rest)}
        return evidence(component, seen.prompts[response], seen.texts[response], tokens, seen.reference)

    def texts_of(self, snapshot: Snapshot) -> list[tuple[str, str]]:
        """The prompt and the response of each row of a finished update."""
        seen = self._responses(snapshot, snapshot.config)
        return list(zip(seen.prompts, seen.texts, strict=True))

    def _responses(self, snapshot: Snapshot, config: Config) -> Any:
        import numpy as np
        import torch

        rollout = snapshot.rollout.map(lambda array: torch.from_numpy(np.array(array)))
        return self.trainer.reward_model.responses(config, rollout, list(snapshot.tokens.prompts))

    def _pair(self, update: int | None) -> tuple[Policy, Policy]:
        """The reference, and the policy as of an update; in the middle of one the policy is no update's."""
        trainer = self.trainer
        if self._stages is None and update in (None, trainer.updates):
            return trainer.reference, trainer.policy
        assert self._scratch is not None
        self.checkpoints.load_into(self._scratch, trainer.updates if update is None else update)
        return trainer.reference, self._scratch

    def _answers(self, policy: Policy, prompts: list[str], purpose: int, draw: int = 0) -> list[str]:
        return self.trainer.answer(policy, prompts, purpose, self._in_force, draw)

    def _progress(self, stage: Stage | None) -> Progress:
        # Fewer than were asked for, once an epoch has reached the KL at which the update stops.
        epochs = self._in_force.epochs if stage is None else stage.epochs
        update = self.trainer.updates + (0 if stage is not None and stage.update is not None else 1)
        total = len(BEFORE_EPOCHS) + epochs + 1
        if stage is None:
            return Progress(update=update, finished="", running="sample", epoch=0, epochs=epochs, fraction=0.0)
        if stage.update is not None:
            return Progress(update=update, finished="done", running="repeat", epoch=0, epochs=epochs, fraction=1.0)
        if stage.name == "epoch":
            done, epoch = len(BEFORE_EPOCHS) + stage.epoch, stage.epoch + 1
            running = "epoch" if epoch <= epochs else "done"
        else:
            done = BEFORE_EPOCHS.index(stage.name) + 1
            running = BEFORE_EPOCHS[done] if done < len(BEFORE_EPOCHS) else "epoch"
            epoch = 1 if running == "epoch" else 0
        return Progress(
            update=update,
            finished=stage.name,
            running=running,
            epoch=min(epoch, epochs),
            epochs=epochs,
            fraction=done / total,
            unfinished=self._unfinished(stage, update) if self.show_stages else None,
        )

    def _unfinished(self, stage: Stage, update: int) -> Unfinished:
        from explorer.ppo.objectives import curve
        from explorer.ppo.rewards.score import weighted

        config = self.trainer.coefficients.under(self._in_force).put_into(self._in_force)
        components = stage.components or {}
        rollout = stage.rollout.map(freeze)
        return Unfinished(
            update=update,
            config=config,
            rollout=rollout,
            tokens=decode(rollout, self.trainer.policy),
            components={name: freeze(values) for name, values in components.items()},
            scores=freeze(weighted(components, config.weights)) if components else None,
            curve=curve(config).map(freeze),
            credit=stage.credit.map(freeze) if stage.credit is not None else None,
            epochs=tuple(epoch.map(freeze) for epoch in stage.trained),
        )


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
