"""The command ``ppo-explorer ablate``: what experience reuse, gradient clipping and the ratio clip each buy."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated

import typer

from explorer.presets import PRESETS
from explorer.train_command import Device, PolicyName, Prompts, Settings, build_config, find_prompts, read_settings


def ablate(
    updates: Annotated[
        int, typer.Option(min=1, help="How many updates each run has: as many as in the table of the docs.")
    ] = 25,
    seeds: Annotated[int, typer.Option(min=1, help="How many runs of each variant: seeds 0, 1, 2 …")] = 10,
    preset: Annotated[
        str | None,
        typer.Option(
            help=f"The knobs to start from: {', '.join(PRESETS)}.",
            show_default="learn, with minibatches and a gradient limit with which every trick acts",
        ),
    ] = None,
    settings: Settings = None,
    rise: Annotated[float, typer.Option(help="How much higher the score should be to count as reached.")] = 0.2,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")] = 1,
    policy: PolicyName = None,
    prompts: Prompts = None,
    device: Device = None,
    out: Annotated[Path | None, typer.Option(help="A file for every run as a line of JSON.")] = None,
) -> None:
    """Train with every trick and with each taken away, and print the table."""
    from rich.console import Console
    from rich.progress import Progress

    from explorer import ablation

    config = (
        build_config(preset, settings or [], None)
        if preset
        else ablation.BASE.replace(**read_settings(settings or [], None))
    )
    texts = None if prompts is None else find_prompts(prompts)
    if out is not None and out.exists():
        raise ValueError(f"'{out}' is there already: name a new file.")
    if not math.isfinite(rise):
        raise ValueError(f"--rise is {rise}, but must be a number.")
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=len(ablation.VARIANTS) * seeds)

        def done(run: ablation.Run) -> None:
            bar.advance(task)
            if out is not None:
                with out.open("a", encoding="utf-8") as file:
                    plain = {k: None if v != v else v for k, v in dataclasses.asdict(run).items()}
                    file.write(json.dumps(plain, allow_nan=False) + "\n")

        runs = ablation.ablate(config, range(seeds), updates, rise, jobs, policy, done, device, texts)
    changed = config.differences(PRESETS["learn"])
    print(
        ", ".join([f"{updates} updates", f"{seeds} seeds", *(f"{name} {mine}" for name, (mine, _) in changed.items())])
    )
    print(ablation.table(runs, rise))
