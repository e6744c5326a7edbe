"""The command ``ppo-explorer seeds``: one config under several seeds, each recorded as a run of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.memory import keep_freed_memory
from explorer.train_command import (
    INTERRUPTED,
    Device,
    PolicyName,
    Preset,
    Prompts,
    Settings,
    build_config,
    find_prompts,
)
from explorer.train_report import plain

if TYPE_CHECKING:
    from explorer.seed_grid import SeedGrid


def seeds(
    out: Annotated[
        Path, typer.Option(help="A folder for the runs, seed-000, seed-001 …; the one of the same grid goes on.")
    ],
    count: Annotated[int, typer.Option("--seeds", help="How many seeds.")] = 5,
    updates: Annotated[int, typer.Option(help="How many updates each run has.")] = 40,
    first_seed: Annotated[int, typer.Option(help="The seeds are this one and those that follow it.")] = 0,
    preset: Preset = None,
    settings: Settings = None,
    policy: PolicyName = None,
    prompts: Prompts = None,
    device: Device = None,
    bf16: Annotated[bool, typer.Option(help="Compute the transformer in bfloat16.")] = False,
    keep_every: Annotated[
        int, typer.Option(help="Record the tokens of every n-th update, and of the first and the last; metrics of all.")
    ] = 1,
    checkpoint_every: Annotated[
        int, typer.Option(help="Record the state of every n-th update, to go on from; that of the end in any case.")
    ] = 10,
    checkpoint_megabytes: Annotated[
        float, typer.Option(help="What a run's checkpoints may weigh together; past it older ones are thinned out.")
    ] = 400.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each update made, and one for the end.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, envvar="PPO_EXPLORER_THREADS", help="Threads for PyTorch.")] = 1,
) -> None:
    """Train one config under several seeds; run again after an interruption, it goes on where it was."""
    config = build_config(preset, settings or [], None)
    if any(setting.partition("=")[0].strip() == "seed" for setting in settings or []):
        raise ValueError("a grid has its own seeds: choose them with --seeds and --first-seed.")
    texts = None if prompts is None else find_prompts(prompts)
    if count < 1:
        raise ValueError(f"--seeds is {count}, but must be a whole number from 1.")

    from explorer.recording.grid import recorded_seeds
    from explorer.seed_grid import SeedGrid, ends, spreads, table

    grid = SeedGrid(
        config,
        range(first_seed, first_seed + count),
        updates,
        out,
        policy=policy,
        prompts=texts,
        device=device,
        bf16=bf16,
        keep_every=keep_every,
        checkpoint_every=checkpoint_every,
        checkpoint_megabytes=checkpoint_megabytes,
    )

    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()
    failed, interrupted = 0, False
    try:
        failed = _run(grid, as_json)
    except KeyboardInterrupt:
        interrupted = True
        if not (out / "grid.json").exists():  # not even begun
            raise typer.Exit(INTERRUPTED) from None
    found = ends({seed: run for seed, run in recorded_seeds(out).items() if seed in grid.seeds}, updates)
    if as_json:
        by_seed = {str(seed): plain(values) for seed, values in found.items()}
        over_all = {kind: plain(values) for kind, values in spreads(found, updates).items()}
        print(json.dumps({"seeds": by_seed, **over_all}, allow_nan=False))
    else:
        print(table(found, updates))
    if interrupted:
        print("Interrupted: the same command goes on where it was.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(1)


def _run(grid: SeedGrid, as_json: bool) -> int:
    """Go through the grid with a bar on stderr; how many seeds broke off."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from explorer.seed_grid import TOLD

    console = Console(stderr=True)
    columns = (
        TextColumn("seed {task.fields[seed]}, update"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[now]}"),
        TimeRemainingColumn(),
    )
    failed = 0
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
        closing(grid.steps()) as steps,
    ):
        task = bar.add_task("", total=len(grid.seeds) * grid.updates, seed=grid.seeds[0], now="")
        for step in steps:
            before = (step.nth - 1) * grid.updates
            bar.update(task, completed=before + min(step.update, grid.updates), seed=step.seed)
            if step.metrics:
                score, kl, clipped = (step.metrics[name] for name in TOLD)
                bar.update(task, now=f"score {score:+.2f}  KL {kl:.2f}  clipped {clipped:.1%}")
                if as_json:
                    line = {"seed": step.seed, "update": step.update, "metrics": plain(step.metrics)}
                    print(json.dumps(line, allow_nan=False), flush=True)
            if step.error:
                failed += 1
                print(f"error: seed {step.seed} broke off: {step.error}", file=sys.stderr)
    return failed
