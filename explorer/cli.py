"""The command ``ppo-explorer``. Each command is thin, and imports what it needs inside: ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.ablate_command import ablate
from explorer.preferences_command import preferences
from explorer.seeds_command import seeds
from explorer.train_command import train

app = typer.Typer(
    name="ppo-explorer",
    help="See PPO train a small language model: every token, every knob.",
    epilog="With PPO_EXPLORER_TRACEBACK=1 in the environment an error shows its whole traceback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Theme(StrEnum):
    """The colours of the page."""

    light = "light"
    dark = "dark"


Port = Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes any free port.")]
Host = Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 lets other machines in.")]
Colours = Annotated[Theme, typer.Option(help="The colours of the page.")]
Browser = Annotated[bool, typer.Option(help="Open the page in a browser, where there is one.")]


@app.command()
def serve(
    notebook: Annotated[
        Path | None, typer.Argument(help="Another notebook to show as a page.", show_default="the explorer")
    ] = None,
    port: Port = 8866,
    host: Host = "127.0.0.1",
    theme: Colours = Theme.light,
    browser: Browser = True,
    runs: Annotated[
        Path | None,
        typer.Option(help="The folder in which the page keeps its runs.", show_default="the user's own"),
    ] = None,
    keep_every: Annotated[
        int | None,
        typer.Option(
            help="Of a run keep the tokens of every n-th update, and of the first and the last; metrics of all.",
            show_default="1",
        ),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(help="Of a run keep the state after every n-th update, to go back to.", show_default="10"),
    ] = None,
    checkpoint_megabytes: Annotated[
        float | None,
        typer.Option(
            help="What the states of one run may weigh together; past it older ones are thinned out.",
            show_default="200",
        ),
    ] = None,
) -> None:
    """Open the explorer as a page in the browser; Ctrl-C ends it."""
    from explorer.recording.amounts import VARIABLES, find_amounts

    told = {
        "keep_every": keep_every,
        "checkpoint_every": checkpoint_every,
        "checkpoint_megabytes": checkpoint_megabytes,
    }
    find_amounts(**told)  # what is wrong with them is better said here than in the page
    os.environ.update({VARIABLES[name]: str(value) for name, value in told.items() if value is not None})
    if runs is not None:
        from explorer.recording.shelf import RUNS_VARIABLE

        if runs.exists() and not runs.is_dir():
            raise ValueError(f"'{runs}' is a file: give --runs a folder.")
        os.environ[RUNS_VARIABLE] = str(runs.expanduser().resolve())  # the page's kernels inherit it
    from explorer.bundled import notebook_path
    from explorer.quick_imports import without_address_grammar

    with without_address_grammar():
        from explorer.serve import serve as serve_notebook

    shown = notebook or notebook_path("explorer.ipynb")
    serve_notebook(shown, host=host, port=port, theme=theme.value, open_browser=browser)


@app.command()
def replay(
    run: Annotated[Path, typer.Argument(help="The folder of a recorded run, as train --out writes it.")],
    port: Port = 8866,
    host: Host = "127.0.0.1",
    theme: Colours = Theme.light,
    browser: Browser = True,
) -> None:
    """Open a recorded run as a page, without training and without PyTorch; Ctrl-C ends it."""
    from explorer.quick_imports import without_address_grammar
    from explorer.recording.storage import Recording
    from explorer.replay_page import replay_notebook

    Recording.load(run)  # what is wrong with it is better said here than in the page
    with without_address_grammar():
        from explorer.serve import serve as serve_notebook
    with replay_notebook(run) as shown:
        serve_notebook(shown, host=host, port=port, theme=theme.value, open_browser=browser)


@app.command()
def pretrain(
    corpus: Annotated[Path, typer.Option(help="A text file with a line <|endoftext|> between two stories.")],
    out: Annotated[Path, typer.Option(help="A folder for the policy, its learning curve and its recipe.")],
    validation: Annotated[
        Path | None, typer.Option(help="Held-out stories in such a file.", show_default="the last 2 % of the corpus")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.", show_default="the whole recipe")] = None,
    minutes: Annotated[float | None, typer.Option(help="Instead of steps: about how long to train.")] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the order of the text, and dropout.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Windows of 128 tokens in a step.")] = 48,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16: faster on processors that have it.")] = False,
    dropout: Annotated[float, typer.Option(help="Dropout late in training; the saved policy has none.")] = 0.05,
    fold_temperature: Annotated[
        float, typer.Option(help="Sampling temperature folded into the weights at the end; 1 folds none.")
    ] = 0.8,
) -> None:
    """Train a small policy from text; run again after an interruption, it goes on where it was."""
    from explorer.ppo.pretraining import pretrain as train_policy

    made = train_policy(
        corpus,
        out,
        validation=validation,
        steps=steps,
        minutes=minutes,
        seed=seed,
        batch_size=batch_size,
        bf16=bf16,
        dropout=dropout,
        fold_temperature=fold_temperature,
    )
    losses = made.losses
    print(
        f"{made.folder}: {made.steps} steps, {made.tokens} tokens; validation {losses.consecutive:.3f} nats a token, "
        f"{losses.bits_per_character:.3f} bits a character"
    )


app.command()(train)
app.command()(seeds)
app.command()(ablate)
app.command()(preferences)


def main() -> None:
    """Run the command line. An error that says what to do is one line on stderr and exit code 2, a warning a note."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _note
            app()
    except Exception as error:
        if os.environ.get("PPO_EXPLORER_TRACEBACK") or not _explains_itself(error):
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _note(message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any) -> None:
    """One line for what our own code warns of; where it stands in the code tells nobody anything."""
    if Path(filename).is_relative_to(Path(__file__).parent):
        print(f"note: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)


def _explains_itself(error: Exception) -> bool:
    ours = type(error).__module__.partition(".")[0] == "explorer"
    return ours or isinstance(error, (ValueError, TypeError, OSError))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())
