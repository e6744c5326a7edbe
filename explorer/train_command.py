"""The command ``ppo-explorer train``: a run without a page, for a script, a longer run or a recording to share."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.config import CHOICES, DEFAULT_WEIGHTS, FIELDS, Config
from explorer.label_options import Labels, LearnedWeight, Tune, check_label_options, learnt
from explorer.memory import keep_freed_memory
from explorer.presets import PRESETS
from explorer.prompt_sets import prompt_sets
from explorer.train_report import Report, parting, summary

#: The exit code of a program that Ctrl-C ended.
INTERRUPTED = 130

# Options of every command that trains.
Preset = Annotated[
    str | None, typer.Option(help=f"The knobs to start from: {', '.join(PRESETS)}.", show_default="learn")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One knob, as clip_range=0.1 or weight_coherence=0.4."),
]
PolicyName = Annotated[
    str | None, typer.Option(help="A folder with a GPT-2, or its name on the hub.", show_default="the bundled policy")
]
Prompts = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help=f"A bundled set ({', '.join(prompt_sets())}), or a text file with a prompt a line.",
        show_default=next(iter(prompt_sets())),
    ),
]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1.", show_default="cpu")]


def train(
    updates: Annotated[int, typer.Option(help="How many updates to run; with --resume, how many more.")] = 40,
    seed: Annotated[int | None, typer.Option(help="Of everything that is random.", show_default="0")] = None,
    preset: Preset = None,
    settings: Settings = None,
    policy: PolicyName = None,
    prompts: Prompts = None,
    labels: Labels = None,
    tune: Tune = False,
    weight_learned: LearnedWeight = None,
    device: Device = None,
    bf16: Annotated[
        bool, typer.Option(help="Compute the transformer in bfloat16: faster on a GPU, and the ratios less exact.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with a recorded run from its last checkpoint: in its own folder, or with --out and a --set as "
            "a fork in a new one.",
        ),
    ] = None,
    from_update: Annotated[
        int | None, typer.Option(help="With --resume: go on from the checkpoint of this update.", show_default="last")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder to record the run into.")] = None,
    keep_every: Annotated[
        int,
        typer.Option(help="Record the tokens of every n-th update, and of the first and the last; metrics of all."),
    ] = 1,
    checkpoint_every: Annotated[
        int,
        typer.Option(help="Record the state of every n-th update, of the start and the end, to resume from; 0: none."),
    ] = 10,
    checkpoint_megabytes: Annotated[
        float, typer.Option(help="What the recorded states may weigh together; past it older ones are thinned out.")
    ] = 400.0,
    save_policy: Annotated[Path | None, typer.Option(help="A new folder for the trained policy.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the metrics of each update as a line of JSON.")
    ] = False,
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            envvar="PPO_EXPLORER_THREADS",
            help="Threads for PyTorch. More than one can be faster on an idle machine, and is several times slower on "
            "one that does something else too; another number changes the last digits of the result.",
        ),
    ] = 1,
) -> None:
    """Train without a page; with --out the run is recorded."""
    if resume is None:
        config = build_config(preset, settings or [], seed)
        texts = None if prompts is None else find_prompts(prompts)
    _check_before_loading(updates, keep_every, checkpoint_every, out or resume, None if resume else out, save_policy)
    if resume is None and from_update is not None:
        raise ValueError("--from-update is a place in a recorded run: name the run with --resume.")
    if resume is not None and (preset or prompts):
        given = "--preset" if preset else "--prompts"
        raise ValueError(f"{given} does not go with --resume, as the run has its own: change single knobs with --set.")
    check_label_options(labels, tune, weight_learned, resumed=resume is not None)

    import torch

    from explorer.headless import Trainer
    from explorer.ppo.loading import load_policy

    torch.set_num_threads(threads)
    keep_freed_memory()
    if resume is None:
        begun = load_policy(policy, device, bf16)
        if labels is not None:
            config = config.replace(**learnt(labels, begun, texts, config, tune=tune, told=not as_json))
        config = config if weight_learned is None else config.replace(weight_learned=weight_learned)
        trainer = Trainer(policy=begun, config=config, prompts=texts)
    else:
        changes = read_settings(settings or [], seed)
        if labels is not None:
            changes |= learnt(labels, load_policy(policy, device, bf16), None, None, tune=tune, told=not as_json)
        changes |= {} if weight_learned is None else {"weight_learned": weight_learned}
        trainer = Trainer.resume(resume, from_update, changes, policy=policy, device=device, bf16=bf16 or None)
    before, folder, report = trainer.updates, out or resume, Report(as_json)
    origin = trainer.origin
    if origin is not None and folder is not None and origin.is_in(folder):
        updates += origin.ahead  # as after a kill: they are there, and are made once more on the way
    try:
        recording = trainer.train(
            updates,
            out=folder,
            keep_every=keep_every,
            checkpoint_every=checkpoint_every,
            checkpoint_megabytes=checkpoint_megabytes,
            on_snapshot=report,
        )
    except FloatingPointError as error:
        if os.environ.get("PPO_EXPLORER_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if save_policy is not None:
        trainer.policy.save(save_policy)
    if not as_json:
        print(summary(recording, folder, save_policy))
        if resume is not None and out is not None and origin is not None and not origin.is_in(out):
            print(parting(resume, recording))
    for warning in report.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    if (made := trainer.updates - before) < updates:
        print(f"Interrupted after {made} of {updates} updates.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED)


def build_config(preset: str | None, settings: Iterable[str], seed: int | None) -> Config:
    """The Config of a preset with some knobs set.

    Args:
        preset: a name of ``PRESETS``; None is the first.
        settings: ``NAME=VALUE`` each, ``weight_NAME=VALUE`` for a reward component's weight, and to add a component
            ``component_NAME=EXPRESSION`` or its whole recipe as JSON.
        seed: goes before whatever the others say.

    Raises:
        ValueError, TypeError: a name or a value is not allowed; says which are.
    """
    name = preset or next(iter(PRESETS))
    if name not in PRESETS:
        raise ValueError(f"there is no preset '{name}': the presets are {', '.join(PRESETS)}.")
    return PRESETS[name].replace(**read_settings(settings, seed))


def read_settings(settings: Iterable[str], seed: int | None) -> dict[str, Any]:
    """The knobs of some ``NAME=VALUE``, as ``Config.replace`` takes them; ``seed`` goes before what they say.

    Raises:
        ValueError: a setting has no value, or its name or value is not allowed; says which are.
    """
    changes: dict[str, Any] = {}
    for setting in settings:
        knob, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting} lacks a value: write it as --set {knob or 'clip_range'}=0.1.")
        changes[knob.strip()] = text.strip()
    added = [knob.removeprefix("component_") for knob in changes if knob.startswith("component_")]
    changes = {knob: _value(knob, text, added) for knob, text in changes.items()}
    if seed is not None:
        changes["seed"] = seed
    return changes


def find_prompts(named: str) -> list[str]:
    """The prompts of a bundled set, or of a text file; a file called as a set is, such as ./openings, needs its folder.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is neither; or as ``read_prompts``.
    """
    sets = prompt_sets()
    if named in sets:
        return sets[named]
    if not Path(named).is_file():
        raise ValueError(f"'{named}' is neither a file nor a bundled set of prompts: the sets are {', '.join(sets)}.")
    return read_prompts(Path(named))


def read_prompts(path: Path) -> list[str]:
    """The prompts of a text file, one a line; empty lines are left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no text in UTF-8, or has no prompt.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise ValueError(f"'{path}' is not text in UTF-8: save it as such.") from None
    prompts = [line for line in lines if line]
    if not prompts:
        raise ValueError(f"'{path}' has no prompt: write one on each line.")
    return prompts


def _value(knob: str, text: str, added: Sequence[str]) -> Any:
    """The text in the knob's type; Config itself says what is wrong with one that does not fit."""
    if knob == "weights":
        raise ValueError("the weights are set one by one: --set weight_sentiment=0.5.")
    if knob == "components":
        raise ValueError("components are added one by one: --set 'component_loud=min(3, count(\"!\"))'.")
    if knob == "set_aside":
        return [name.strip() for name in text.split(",") if name.strip()]
    if knob.startswith("component_"):
        expression = {"kind": "expression", "expression": text}
        return None if text.lower() == "none" else text if text.startswith("{") else expression
    component = knob.removeprefix("weight_")
    if component != knob and component not in (*DEFAULT_WEIGHTS, *added):
        near = difflib.get_close_matches(component, DEFAULT_WEIGHTS, n=1)
        hint = f"did you mean 'weight_{near[0]}'?" if near else f"they are {', '.join(DEFAULT_WEIGHTS)}."
        raise ValueError(f"there is no reward component '{component}': {hint}")
    if knob in CHOICES:
        return text
    if knob == "judge":
        return "" if text.lower() == "none" else text
    if knob in FIELDS and isinstance(FIELDS[knob].default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _check_before_loading(
    updates: int, keep_every: int, checkpoint_every: int, record: Path | None, new: Path | None, policy: Path | None
) -> None:
    """Say at once what would otherwise be said only when the policy has loaded, or when the run is over."""
    from explorer.recording.beginning import check_free
    from explorer.recording.folder import check_unused

    if updates < 1:
        raise ValueError(f"--updates is {updates}, but must be a whole number from 1.")
    if keep_every < 1:
        raise ValueError(f"--keep-every is {keep_every}, but must be a whole number from 1.")
    if checkpoint_every < 0:
        raise ValueError(f"--checkpoint-every is {checkpoint_every}, but must be a whole number from 0.")
    if record is None and keep_every > 1:
        raise ValueError("--keep-every thins a recording: say with --out where to record.")
    if new is not None:
        check_free(new)
    if policy is not None:
        check_unused(policy)
