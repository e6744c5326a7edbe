"""The command ``ppo-explorer preferences``: what so many labels teach a reward model, measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from explorer.train_command import PolicyName, Prompts, find_prompts


def preferences(
    pairs: Annotated[str, typer.Option(help="Numbers of labelled pairs, with commas.")] = "20,50,100,200",
    seeds: Annotated[int, typer.Option(min=1, help="How many drawings of responses and labels: seeds 0, 1, 2 …")] = 5,
    rules: Annotated[
        str | None, typer.Option(help="Rules of the simulated annotator, with commas.", show_default="all")
    ] = None,
    noise: Annotated[float, typer.Option(help="Probability that the annotator says the opposite.")] = 0.0,
    noticeable: Annotated[
        float, typer.Option(help="The least difference that it sees, in standard deviations; less is a tie.")
    ] = 0.0,
    choose: Annotated[str, typer.Option(help="How pairs are chosen: random, disagreement or closest.")] = "random",
    tuned: Annotated[bool, typer.Option(help="Tune a copy of the policy's trunk to the labels as well.")] = False,
    table_file: Annotated[
        Path | None,
        typer.Option("--table", metavar="FILE", help="Write the table as JSON too, as the page shows it."),
    ] = None,
    policy: PolicyName = None,
    prompts: Prompts = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each model, and no table.")] = False,
    threads: Annotated[int, typer.Option(min=1, envvar="PPO_EXPLORER_THREADS", help="Threads for PyTorch.")] = 1,
) -> None:
    """Fit reward models to a simulated annotator's labels, and print their accuracy on fresh pairs."""
    try:
        numbers = [int(number) for number in pairs.split(",")]
    except ValueError:
        raise ValueError(f"--pairs is '{pairs}', but must be whole numbers with commas, as in 20,50.") from None
    texts = "stories" if prompts is None else find_prompts(prompts)

    import torch
    from rich.console import Console
    from rich.progress import Progress

    from explorer.ppo.loading import load_policy
    from explorer.ppo.preferences.learning_table import FRESH, measure, rows, table
    from explorer.ppo.preferences.rules import RULES

    torch.set_num_threads(threads)
    asked = list(RULES) if rules is None else [rule.strip() for rule in rules.split(",")]
    found = measure(
        load_policy(policy).frozen_copy(),
        rules=asked,
        pairs=numbers,
        seeds=range(seeds),
        noise=noise,
        noticeable=noticeable,
        way=choose,
        tuned=tuned,
        prompts=texts,
    )
    console, cells = Console(stderr=True), []
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("models", total=seeds * len(asked) * len(numbers))
        for cell in found:
            bar.advance(task)
            cells.append(cell)
            if as_json:
                print(json.dumps(cell._asdict()), flush=True)
    if table_file is not None:
        settings = {
            "seeds": seeds,
            "fresh": FRESH,
            "noise": noise,
            "noticeable": noticeable,
            "way": choose,
            "tuned": tuned,
        }
        table_file.parent.mkdir(parents=True, exist_ok=True)
        table_file.write_text(json.dumps({**settings, "rows": rows(cells)}, indent=1) + "\n", encoding="utf-8")
    if not as_json:
        print(table(cells))
