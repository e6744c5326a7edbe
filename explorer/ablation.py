"""What PPO's tricks buy: the same run with each of them taken away, over several seeds.

The tricks are those that the article names: experience reuse (several epochs over one batch), gradient clipping, and
the clip on the ratio. Everything else of the Config stays. A trick that never acts can be taken away without a trace,
so every run also says how often it acted.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from explorer.config import Config
from explorer.memory import keep_freed_memory

#: Every trick acts here: with one minibatch a batch's gradient hardly ever was longer than 0.9, of a limit of 1. Four
#: minibatches and a limit of 0.5 are what PPO's own implementations have (OpenAI baselines ppo2; CleanRL).
BASE = Config(minibatches=4, max_grad_norm=0.5)

#: What each variant changes; "all on" is the Config itself.
VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "all on": {},
        "no reuse": {"epochs": 1, "replay_rollouts": 1},
        "no gradient clipping": {"max_grad_norm": None},
        "no ratio clip": {"objective": "unclipped"},
        "all off": {"epochs": 1, "replay_rollouts": 1, "max_grad_norm": None, "objective": "unclipped"},
    }
)

#: Scores and KLs are means over so many updates, since a batch's own score varies.
WINDOW = 5

#: Below so many nats a token a policy says the same whatever it is asked.
COLLAPSED_ENTROPY = 0.1


@dataclass(frozen=True)
class Run:
    """One run of one variant.

    Attributes:
        variant, seed: which.
        start: mean score of the first update, which the untouched policy wrote.
        score: mean score over the last updates.
        ref_kl: mean KL to the reference over them, in nats a response.
        reached: the first update at which the mean score over the last ones had risen by ``rise``; None: never.
        seconds: wall time until then, or of the whole run.
        steps_clipped: the share of its steps whose gradient was shortened to ``max_grad_norm``.
        tokens_clipped: the share of tokens that got no gradient, over its updates and epochs.
        failure: why it counts as failed: "numbers" (no numbers any more), "collapsed" (one answer to everything),
            "worse" (a lower score than at the start); empty when it did not.
    """

    variant: str
    seed: int
    start: float
    score: float
    ref_kl: float
    reached: int | None
    seconds: float
    steps_clipped: float
    tokens_clipped: float
    failure: str


def run_one(
    variant: str,
    config: Config,
    updates: int,
    rise: float,
    policy: str | None = None,
    device: str | None = None,
    prompts: Sequence[str] | None = None,
) -> Run:
    """Train one variant. Deterministic for a config but for ``seconds``, on the CPU.

    Args:
        variant: a name of ``VARIANTS``.
        config: the settings with every trick on, seed included.
        updates: how long to train, from 1.
        rise: how much higher than at the start the score should be.
        policy: what ``load_policy`` takes.
        device: where to compute; None is the CPU.
        prompts: as for ``Trainer``.
    """
    import torch

    from explorer.headless import Trainer
    from explorer.ppo.loading import load_policy

    torch.set_num_threads(1)
    keep_freed_memory()
    trainer = Trainer(policy=load_policy(policy, device), config=config.replace(**VARIANTS[variant]), prompts=prompts)
    scores, kls, entropies, seconds, acted = [], [], [], [0.0], []
    failure = ""
    for _ in range(updates):
        try:
            metrics = trainer.update().metrics
        except FloatingPointError:
            failure = "numbers"
            break
        scores.append(metrics["objective/score"])
        kls.append(metrics["objective/ref_kl"])
        entropies.append(metrics["policy/entropy"])
        seconds.append(seconds[-1] + metrics["throughput/seconds"])
        acted.append((metrics["optim/steps_clipped"], metrics["policy/clipfrac"]))
    return judge(variant, config.seed, scores, kls, entropies, seconds, acted, rise, failure)


def judge(
    variant: str,
    seed: int,
    scores: Sequence[float],
    kls: Sequence[float],
    entropies: Sequence[float],
    seconds: Sequence[float],
    acted: Sequence[tuple[float, float]],
    rise: float,
    failure: str = "",
) -> Run:
    """What a run's series say: ``scores``, ``kls`` and ``entropies`` one an update, ``seconds`` since the start.

    ``seconds`` begins with 0; ``acted`` has each update's shares of shortened steps and of tokens without a gradient.
    A run that broke off before its first update has NaN for scores and shares.
    """
    nan = math.nan
    if not scores:
        return Run(variant, seed, nan, nan, nan, None, 0.0, nan, nan, failure or "numbers")
    means = [statistics.fmean(scores[max(0, i - WINDOW + 1) : i + 1]) for i in range(len(scores))]
    reached = next((i + 1 for i, mean in enumerate(means) if i + 1 >= WINDOW and mean >= scores[0] + rise), None)
    if not failure and entropies[-1] < COLLAPSED_ENTROPY:
        failure = "collapsed"
    if not failure and means[-1] < scores[0]:
        failure = "worse"
    return Run(
        variant=variant,
        seed=seed,
        start=scores[0],
        score=means[-1],
        ref_kl=statistics.fmean(kls[-WINDOW:]),
        reached=reached,
        seconds=seconds[reached if reached is not None else len(scores)],
        steps_clipped=statistics.fmean(steps for steps, _ in acted),
        tokens_clipped=statistics.fmean(tokens for _, tokens in acted),
        failure=failure,
    )


def ablate(
    config: Config,
    seeds: Sequence[int],
    updates: int,
    rise: float,
    jobs: int = 1,
    policy: str | None = None,
    on_run: Callable[[Run], None] = lambda run: None,
    device: str | None = None,
    prompts: Sequence[str] | None = None,
) -> list[Run]:
    """Every variant under every seed.

    Args:
        config: the settings with every trick on; its seed is not used.
        seeds: one run each.
        updates: how long each run is.
        rise: how much higher than at the start the score should be.
        jobs: processes at a time, each on one thread.
        policy: what ``load_policy`` takes.
        on_run: called with each run as it ends.
        device: where to compute; None is the CPU.
        prompts: as for ``Trainer``.

    Returns:
        The runs in the order of ``VARIANTS``, then of ``seeds``.
    """
    tasks = [(variant, config.replace(seed=seed)) for variant in VARIANTS for seed in seeds]
    runs: dict[tuple[str, int], Run] = {}
    for run in _run_all(tasks, updates, rise, jobs, policy, device, prompts):
        runs[run.variant, run.seed] = run
        on_run(run)
    return [runs[variant, task.seed] for variant, task in tasks]


def _run_all(tasks: Sequence[tuple[str, Config]], updates: int, rise: float, jobs: int, *others: Any) -> Iterator[Run]:
    if jobs == 1:
        for variant, config in tasks:
            yield run_one(variant, config, updates, rise, *others)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run_one, variant, config, updates, rise, *others) for variant, config in tasks]
        for future in as_completed(futures):
            yield future.result()


def table(runs: Sequence[Run], rise: float) -> str:
    """The runs as a Markdown table: a row a variant, means and standard deviations over its seeds.

    "steps clipped" are those whose gradient was shortened, "tokens clipped" those that got none.
    """
    lines = [
        f"| | score at the end | KL, nats a response | updates to +{rise:g} | seconds to +{rise:g} | steps clipped | "
        "tokens clipped | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for variant in VARIANTS:
        mine = [run for run in runs if run.variant == variant]
        if not mine:
            continue
        reached = [run for run in mine if run.reached is not None]
        missing = f" ({len(mine) - len(reached)} never)" if len(reached) < len(mine) else ""
        kinds = sorted({run.failure for run in mine if run.failure})
        failed = sum(bool(run.failure) for run in mine)
        cells = [
            variant,
            spread([run.score for run in mine]),
            spread([run.ref_kl for run in mine], 1),
            spread([float(run.reached) for run in reached if run.reached is not None], 0) + missing,
            spread([run.seconds for run in reached], 0),
            share([run.steps_clipped for run in mine]),
            share([run.tokens_clipped for run in mine]),
            f"{failed} of {len(mine)}" + (f" ({', '.join(kinds)})" if kinds else ""),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation of the numbers among the values, "–" without any."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return "–"
    deviation = f" ± {statistics.stdev(finite):.{digits}f}" if len(finite) > 1 else ""
    return f"{statistics.fmean(finite):.{digits}f}{deviation}"


def share(values: Sequence[float]) -> str:
    """The mean of the numbers among the values in per cent, with one decimal below 10; "–" without any."""
    finite = [100 * value for value in values if math.isfinite(value)]
    if not finite:
        return "–"
    mean = statistics.fmean(finite)
    return f"{mean:.{1 if 0 < mean < 10 else 0}f} %"
