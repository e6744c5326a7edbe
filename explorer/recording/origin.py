"""From where a run goes on: a checkpoint of a recording, found and read, and whether its own folder may be written on.

A run that goes on without a change may do so in its own folder; one with a change is a fork, and becomes a recording
of its own that names its parent in ``run.json``:

    "parent": {"folder": "run", "id": "9f0c…", "update": 20, "changed": {"clip_range": [0.2, 0.1]}}

``folder`` is the parent's name where it lay then, ``changed`` has each knob's value before and after, and the training
prompts where they are others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.recording.checkpoints import checkpoint_updates, read_checkpoint
from explorer.recording.folder import RecordingError
from explorer.recording.storage import Recording

if TYPE_CHECKING:
    from explorer.ppo.state import State

#: What cannot be changed in the middle of a run: another critic has no moments, replayed responses have the old length.
FIXED = ("critic", "response_length")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """A checkpoint of a recorded run.

    Attributes:
        folder: the run's folder.
        run: the run's id.
        update: after which update.
        newest: whether no later update has a checkpoint.
        ahead: how many updates are recorded after it.
        config: the knobs with which the run would have gone on.
        prompts: the prompts likewise.
        policy_digest: that of the policy with which the run was begun.
        bf16: whether its transformers computed in bfloat16.
        device: where they did.
        torch: the version of PyTorch that made the checkpoint; None where that is not known.
        threads: how many threads it did that with; None likewise.
    """

    folder: Path
    run: str
    update: int
    newest: bool
    ahead: int
    config: Config
    prompts: tuple[str, ...]
    policy_digest: str
    bf16: bool
    device: str
    torch: str | None = None
    threads: int | None = None

    def is_in(self, folder: str | Path) -> bool:
        """Whether a folder is the run's own."""
        return Path(folder).resolve() == self.folder.resolve()

    def parent(self, config: Config, prompts: Sequence[str]) -> dict[str, Any]:
        """What a run that goes on from here under ``config`` says of its parent."""
        changed = {name: list(values) for name, values in self.config.differences(config).items()}
        if tuple(prompts) != self.prompts:
            changed["prompts"] = [list(self.prompts), list(prompts)]
        return {"folder": self.folder.resolve().name, "id": self.run, "update": self.update, "changed": changed}

    def check_policy(self, digest: str) -> None:
        """Raises RecordingError where a run was begun with another policy than the one of this digest."""
        if digest != self.policy_digest:
            raise RecordingError(
                f"'{self.folder}' was begun with another policy (its weights' digest is {self.policy_digest[:12]}, and "
                f"here {digest[:12]}): give the policy that it was begun with."
            )

    def unlike(self, torch: str, threads: int, device: str) -> tuple[str, str] | None:
        """What the checkpoint was made with, and with what else the run goes on: ``("2 threads", "1 thread")``.

        Args:
            torch: the version of PyTorch with which the run goes on.
            threads: on how many threads it computes.
            device: where it does.

        Returns:
            Both in words; None where nothing that is known differs. Then what follows is, on the same machine, bit for
            bit what would have followed.
        """
        was, now = (self.torch, self.threads, self.device), (torch, threads, device)
        differing = [i for i in range(len(was)) if was[i] is not None and was[i] != now[i]]
        then, here = (", ".join(_machine(*made)[i] for i in differing) for made in (was, now))
        return (then, here) if differing else None

    def check_changes(self, config: Config) -> None:
        """Raises RecordingError where ``config`` changes what cannot be changed in the middle of a run."""
        changed = self.config.differences(config)
        for name in FIXED:
            if name in changed:
                was, now = changed[name]
                raise RecordingError(
                    f"{name} is {was} in '{self.folder}' and cannot become {now} in the middle of the run: begin a new "
                    "run with it."
                )

    def check_in_place(self, config: Config, prompts: list[str], bf16: bool, updates: int) -> None:
        """Whether a run may go on in its own folder.

        Raises:
            RecordingError: something was changed, there are later checkpoints, or the trainer has moved on since.
        """
        changed = [*self.config.differences(config)]
        changed += ["prompts"] if tuple(prompts) != self.prompts else []
        changed += ["bf16"] if bf16 != self.bf16 else []
        if changed:
            reason = f"{changed[0]} is another than before"
        elif not self.newest:
            reason = f"it has later checkpoints than that of update {self.update}"
        elif updates != self.update:
            reason = f"the trainer is at update {updates}, and the folder is gone on with from update {self.update}"
        else:
            return
        raise RecordingError(f"'{self.folder}' cannot be gone on with in place, as {reason}: record into a new folder.")


def find_origin(folder: str | Path, update: int | None = None) -> tuple[Origin, State]:
    """A checkpoint of a recorded run, and the state in it.

    Args:
        folder: the run's folder.
        update: after which update; None is the newest that is kept.

    Raises:
        RecordingError: the folder is no recording, keeps no checkpoint or none of that update, or it is damaged.
    """
    root = Path(folder)
    recording = Recording.load(root)
    kept = states_of(root, recording)
    if not kept:
        raise RecordingError(
            f"'{root}' keeps no checkpoint to go on from: it was recorded without any, or by an older PPO Explorer."
        )
    wanted = kept[-1] if update is None else update
    if wanted not in kept:
        there = ", ".join(map(str, kept))
        raise RecordingError(f"'{root}' keeps no checkpoint of update {wanted}: choose one of {there}.")
    info = recording.info
    known = {name: info.get(name) for name in ("id", "policy_digest", "device")}
    if not all(isinstance(value, str) for value in known.values()) or not isinstance(info.get("bf16"), bool):
        raise RecordingError(f"'{root / 'run.json'}' lacks the run's id, policy_digest, device or bf16: restore it.")
    state = read_checkpoint(root, wanted, str(known["id"]))
    versions = info.get("versions")
    begun_with = versions.get("torch") if isinstance(versions, dict) else None  # all that an older state leaves to know
    origin = Origin(
        folder=root,
        run=str(known["id"]),
        update=wanted,
        newest=wanted == kept[-1],
        ahead=sum(number > wanted for number in recording.metrics.column("update").to_pylist()),
        config=state.config,
        prompts=state.prompts,
        policy_digest=str(known["policy_digest"]),
        bf16=info["bf16"],
        device=str(known["device"]),
        torch=state.torch or (begun_with if isinstance(begun_with, str) else None),
        threads=state.threads,
    )
    return origin, state


def _machine(torch: str | None, threads: int | None, device: str) -> tuple[str, str, str]:
    """Each in words, on one line whatever stands in the file."""
    version = " ".join(str(torch).split())[:40]
    return f"PyTorch {version}", "1 thread" if threads == 1 else f"{threads} threads", device


def states_of(root: Path, recording: Recording) -> list[int]:
    """The updates with a checkpoint, ascending; before the first update the one from which the run starts."""
    numbers, kept = recording.metrics.column("update").to_pylist(), checkpoint_updates(root)
    return [update for update in kept if update <= numbers[-1]] if numbers else kept[:1]
