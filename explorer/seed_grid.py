"""One Config under several seeds: what of a run is the method's doing, and what is chance.

Every seed is a recorded run of its own, as ``ppo-explorer train --seed`` makes it, in a folder that
``explorer.recording.grid`` describes. A grid that was interrupted or killed goes on where it was.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.ablation import WINDOW
from explorer.config import FIELDS, Config
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.grid import has_begun, open_grid, seed_folder, shared_by_all
from explorer.recording.storage import Recording

if TYPE_CHECKING:
    from explorer.headless import Trainer
    from explorer.ppo.policy import Policy

#: What is told of each seed: those that lead the charts of the page.
TOLD = ("objective/score", "objective/ref_kl", "policy/clipfrac_final")

LARGEST_SEED = int(FIELDS["seed"].metadata["high"])


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """How far a grid has come: a seed begins, or has made another update, or has broken off.

    Attributes:
        seed: which seed.
        nth: which of the grid's seeds that is, from 1.
        update: how many updates it has.
        metrics: of that update where it was made just now; empty when the seed begins.
        recording: what was recorded of the seed before; None when it begins anew, and after its first step.
        error: why it makes no more updates, as its numbers are none any more; empty where all is well.
    """

    seed: int
    nth: int
    update: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    recording: Recording | None = None
    error: str = ""


class SeedGrid:
    """A Config under several seeds, each recorded into a folder of its own below ``out``.

        grid = SeedGrid(Config(clip_range=0.1), range(5), 40, "grid")
        for step in grid.steps():
            print(step.seed, step.update)

    Args:
        config: the knobs; its seed is not used.
        seeds: one run each, in this order.
        updates: how long each run is to be. A run that has more keeps them.
        out: a new or empty folder, or that of the same grid, with which it then goes on.
        policy: what ``load_policy`` takes, or a Policy. It is loaded once and stays untouched: each seed has a copy.
        prompts, rewards, device, bf16: as for ``Trainer``.
        keep_every, checkpoint_every, checkpoint_megabytes: of each run, as for ``Trainer.train``.

    Raises:
        ValueError: no seed, one twice or out of its range, or another number that cannot be.
    """

    def __init__(
        self,
        config: Config,
        seeds: Sequence[int],
        updates: int,
        out: str | Path,
        *,
        policy: Policy | str | None = None,
        prompts: Sequence[str] | None = None,
        rewards: Mapping[str, Callable[..., Any]] | None = None,
        device: str | None = None,
        bf16: bool | None = None,
        keep_every: int = 1,
        checkpoint_every: int = 10,
        checkpoint_megabytes: float = 400.0,
    ) -> None:
        self.seeds, self.updates, self.out = _checked_seeds(seeds), updates, Path(out)
        for name, value in (("updates", updates), ("keep_every", keep_every), ("checkpoint_every", checkpoint_every)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}, but must be a whole number from 1.")
        if not 0 < checkpoint_megabytes < math.inf:
            raise ValueError(f"checkpoint_megabytes is {checkpoint_megabytes!r}, but must be above 0.")
        # As a Trainer weighs them, so that a run can be compared with what was asked for.
        self.config = config.replace(weights={**dict.fromkeys(rewards or {}, 1.0), **config.weights})
        self._policy, self._prompts, self._rewards = policy, prompts, rewards
        self._device, self._bf16 = device, bf16
        self._recording = (keep_every, checkpoint_every, checkpoint_megabytes)

    def steps(self) -> Generator[Step, None, None]:
        """Go through the seeds, an update each time that it is asked; the first step loads the policy.

        Closing it, or an interrupt in it, keeps the state of the seed that is running after its last whole update. A
        seed whose numbers are none any more breaks off, and the next one begins.

        Raises:
            RecordingError: the folder holds something else, such as a grid of another config; somebody else writes
                there; or it takes no more.
            ValueError: the prompts or the weights do not suit the policy, or the policy cannot be loaded.
            RewardError: a reward of the user's own fails.
        """
        from explorer.headless import Trainer
        from explorer.ppo.loading import load_policy
        from explorer.ppo.policy import Policy
        from explorer.ppo.state import weights_digest

        given = self._policy
        policy = given if isinstance(given, Policy) else load_policy(given, self._device, bool(self._bf16))
        settings = (self._rewards, self._prompts, self._device, self._bf16)
        trial = Trainer(copy.deepcopy(policy), self.config, *settings)
        trial.check(self.config)  # before anything is written
        digest, prompts = weights_digest(trial.reference), trial.prompts
        open_grid(self.out, shared_by_all(self.config, prompts, digest, trial.policy.bf16))
        del trial
        claim = Claim(self.out)
        try:
            for nth, seed in enumerate(self.seeds, start=1):
                folder, config = seed_folder(self.out, seed), self.config.replace(seed=seed)
                recording = Recording.load(folder) if has_begun(folder) else None
                if recording is not None:
                    _check_belongs(recording, folder, config, prompts, digest)
                done = recording.metrics.num_rows if recording is not None else 0
                yield Step(seed=seed, nth=nth, update=done, recording=recording)
                # A kill may have left the last update without its state: then it is made once more.
                if done > self.updates or (done == self.updates and checkpoint_updates(folder)[-1:] == [done]):
                    continue
                own = copy.deepcopy(policy)
                if recording is None:
                    live = Trainer(own, config, *settings)
                else:
                    live = Trainer.resume(
                        folder, policy=own, rewards=self._rewards, device=self._device, bf16=self._bf16
                    )
                    _check_config(live.config, folder, config)
                yield from self._run(live, seed, nth)
        finally:
            claim.release()

    def _run(self, live: Trainer, seed: int, nth: int) -> Generator[Step, None, None]:
        """A seed's updates, as far as they are still to be made."""
        keep_every, checkpoint_every, megabytes = self._recording
        missing, folder = self.updates - live.updates, seed_folder(self.out, seed)
        try:
            with closing(live.record(missing, folder, keep_every, checkpoint_every, megabytes)) as made:
                for snapshot in made:
                    yield Step(seed=seed, nth=nth, update=snapshot.update, metrics=snapshot.metrics)
        except FloatingPointError as error:
            yield Step(seed=seed, nth=nth, update=live.updates, error=str(error))


def ends(runs: Mapping[int, Recording], updates: int) -> dict[int, dict[str, float]]:
    """What each run has come to: ``{seed: {"updates", *TOLD}}``, means over the last ``WINDOW`` of its updates.

    Args:
        runs: by seed.
        updates: how many updates of each count; later ones do not.
    """
    found = {}
    for seed, run in runs.items():
        rows = run.metrics.slice(0, updates)
        columns = {name: rows.column(name).to_pylist()[-WINDOW:] if name in rows.column_names else [] for name in TOLD}
        found[seed] = {"updates": float(rows.num_rows)} | {name: _mean(values) for name, values in columns.items()}
    return found


def spreads(found: Mapping[int, Mapping[str, float]], updates: int) -> dict[str, dict[str, float]]:
    """``{"mean", "lowest", "highest"}`` of each of ``TOLD`` over the seeds of ``ends`` that have all the updates."""
    whole = [seed for seed in found.values() if seed["updates"] >= updates]
    columns = {name: [seed[name] for seed in whole if math.isfinite(seed[name])] for name in TOLD}
    kinds: dict[str, Callable[[list[float]], float]] = {"mean": statistics.fmean, "lowest": min, "highest": max}
    return {
        kind: {name: of(values) if values else math.nan for name, values in columns.items()}
        for kind, of in kinds.items()
    }


def table(found: Mapping[int, Mapping[str, float]], updates: int) -> str:
    """What ``ends`` found as plain text: a line a seed, then mean, lowest and highest over the whole runs."""
    whole = sum(seed["updates"] >= updates for seed in found.values())
    head = f"{whole} of {len(found)} seeds with {updates} updates; means over the last {min(WINDOW, updates)} of them"
    lines = [head, f"{'':<10}{'updates':>8}{'score':>9}{'KL, nats':>10}{'clip fraction':>15}"]
    for seed, values in found.items():
        lines.append(_line(f"seed {seed}", f"{values['updates']:.0f}", values))
    if whole:
        lines += [_line(kind, "", values) for kind, values in spreads(found, updates).items()]
    return "\n".join(lines)


def _line(name: str, updates: str, values: Mapping[str, float]) -> str:
    score, kl, clipped = (values[metric] for metric in TOLD)
    cells = [f"{score:+.3f}", f"{kl:.2f}", f"{clipped:.1%}"]
    cells = [cell if math.isfinite(value) else "–" for cell, value in zip(cells, (score, kl, clipped), strict=True)]
    return f"{name:<10}{updates:>8}{cells[0]:>9}{cells[1]:>10}{cells[2]:>15}"


def _mean(values: Sequence[float | None]) -> float:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(finite) if finite else math.nan


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    checked = tuple(seeds)
    if not checked:
        raise ValueError("A seed grid needs at least one seed.")
    for seed in checked:
        if type(seed) is not int or not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"a seed is {seed!r}, but must be a whole number from 0 to {LARGEST_SEED}.")
    if len(set(checked)) < len(checked):
        raise ValueError("A seed is in the grid twice: name each one once.")
    return checked


def _check_belongs(recording: Recording, folder: Path, config: Config, prompts: list[str], digest: str) -> None:
    """Raises RecordingError where a seed's folder has another run than this grid's."""
    for there in recording.configs.values():
        _check_config(there, folder, config)
    known = recording.info
    other = "prompts" if known.get("prompts") != prompts else "policy" if known.get("policy_digest") != digest else ""
    if other:
        raise RecordingError(f"'{folder}' is no run of this grid, as its {other} differ: move it away.")


def _check_config(there: Config, folder: Path, config: Config) -> None:
    if changed := there.differences(config):
        name, (was, wanted) = next(iter(changed.items()))
        raise RecordingError(
            f"'{folder}' is no run of this grid ({name} is {was} there, and {wanted} in the grid): move it away."
        )
