"""Train the policy from text: its own tokenizer, a GPT-2 of about a million parameters, a checkpoint of 2 MB.

The steps: (1) read the stories and hold some out; (2) learn a byte-level BPE from them; (3) cut them into windows of
128 tokens; (4) minimise the next token's negative log-probability; (5) fold a temperature into the final layer norm,
so that sampling at temperature 1 reads well; (6) save in Hugging Face format, as float16.

An interrupted run goes on from its last checkpoint and gives, on the same machine with the same number of threads,
bit for bit what an unbroken one gives: each step's random numbers belong to (seed, step), not to one long stream.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from explorer.ppo.corpus import TokenStream, hold_out, read_stories, train_tokenizer
from explorer.ppo.learner import Architecture, Learner, learning_rate_scale, mean_loss
from explorer.ppo.loading import load_policy
from explorer.ppo.resuming import (
    CurvePoint,
    RunState,
    load_tensors,
    open_run,
    read_curve,
    save_run,
    write_curve,
)
from explorer.ppo.sampling import generator

#: Steps of the whole recipe: 32.9 million tokens, an hour or more on one core.
STEPS = 5350

#: How often the text is read before dropout begins: until then, nothing has been seen often enough to learn by heart.
PASSES_BEFORE_DROPOUT = 3.2

#: Validation reads this many windows of each kind.
VALIDATION_WINDOWS = 256

# What a step's random numbers are for: the last part of their seed.
_WINDOWS, _DROPOUT = range(2)


class Losses(NamedTuple):
    """What a policy's validation gives; lower is better.

    Only ``bits_per_character`` can be compared between policies with different tokenizers.
    """

    story_starts: float  # nats a token, on windows that begin where a story begins
    consecutive: float  # nats a token, on windows end to end through the text
    bits_per_character: float  # of the consecutive windows


class Pretrained(NamedTuple):
    """A finished run."""

    folder: Path  # holds the policy, learning_curve.csv and training.json
    steps: int  # optimiser steps
    tokens: int  # tokens read
    losses: Losses  # of the model as trained, before the temperature is folded in


def evaluate(
    policy_folder: str | Path, validation: str | Path, *, windows: int = VALIDATION_WINDOWS, temperature: float = 1.0
) -> Losses:
    """Measure a policy on held-out stories.

    Args:
        policy_folder: a checkpoint that ``load_policy`` reads.
        validation: stories that it was not trained on, with a line ``<|endoftext|>`` between two stories.
        windows: how many windows of each kind to read, from the file's beginning; fewer where the file is short. Each
            is as long as the model's context, 128 tokens at most, and has one loss a token but for its first.
        temperature: divides the logits. A policy into which a temperature of 0.8 was folded is measured as it was
            trained at 1 / 0.8 = 1.25.

    Raises:
        PolicyError: the checkpoint cannot be used.
        CorpusError: the file cannot be used, or is too short for one window.
        ValueError: windows or temperature is out of its range.
    """
    _check_positive(windows=windows, temperature=temperature)
    policy = load_policy(Path(policy_folder))
    length = min(policy.positions, Architecture.positions)
    stream = TokenStream.of(read_stories(validation), policy.tokenizer, length, validation)
    return _validate(policy.lm, stream, windows, temperature)


def pretrain(
    corpus: str | Path,
    out: str | Path,
    *,
    validation: str | Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    batch_size: int = 48,
    dropout: float = 0.05,
    bf16: bool = False,
    fold_temperature: float = 0.8,
    architecture: Architecture | None = None,
    checkpoint_every: int = 50,
    progress: bool = True,
    report: Callable[[CurvePoint], None] | None = None,
) -> Pretrained:
    """Train a policy from text and save it in ``out``, where ``load_policy`` finds it.

    Run again with the same options after an interruption, it goes on from the last checkpoint; after the end, it
    returns the result at once.

    Args:
        corpus: a UTF-8 text file with a line ``<|endoftext|>`` between two stories.
        out: a folder for the policy, ``learning_curve.csv`` and ``training.json``. It must not hold a policy yet.
        validation: held-out stories in such a file; None holds out the last 2 % of the corpus.
        steps: optimiser steps; 5,350 where neither steps nor minutes is given. Raise it for better stories.
        minutes: instead of steps, about how long to train: a few steps on a model that is thrown away are timed first.
        seed: of the weights, of the order of the windows and of dropout.
        batch_size: windows in a step. Lower it for more, noisier steps in the same time.
        dropout: probability of dropout once the text has been read 3.2 times. Raise it where the validation loss of
            the learning curve rises while the training loss still falls.
        bf16: forward passes in bfloat16: faster on processors that have it (AVX512-BF16, AMX), slower on others.
        fold_temperature: divides the saved policy's logits. Below 1, sampling at temperature 1 is less random than
            the text; 1 saves the model as it was trained.
        architecture: the size of the model; None for the bundled policy's.
        checkpoint_every: steps between two checkpoints, each with a point of the learning curve.
        progress: draw a progress bar on standard error.
        report: called with each new point of the learning curve, after its checkpoint is on disk.

    Raises:
        CorpusError: a text is missing, empty, not UTF-8 or too short for one window.
        PretrainingError: the folder cannot be used, or holds another policy or a run with other options.
        ValueError: an option is out of its range.
    """
    if steps is not None and minutes is not None:
        raise ValueError("steps and minutes are both given: give one of them.")
    _check_positive(steps=steps, minutes=minutes, fold_temperature=fold_temperature)
    _check_positive(batch_size=batch_size, checkpoint_every=checkpoint_every)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is {dropout}, but must be at least 0 and below 1.")
    if seed < 0:
        raise ValueError(f"seed is {seed}, but must be at least 0.")
    size, folder = architecture or Architecture(), Path(out)

    # 1. The stories, and those that are held out.
    stories = read_stories(corpus)
    training, held_out = (stories, read_stories(validation)) if validation is not None else hold_out(stories)
    settings = {
        "corpus": _fingerprint(training),
        "validation": _fingerprint(held_out),
        "duration": f"{minutes} minutes" if minutes is not None else f"{steps or STEPS} steps",
        "seed": seed,
        "batch_size": batch_size,
        "dropout": dropout,
        "bf16": bf16,
        "fold_temperature": fold_temperature,
        "checkpoint_every": checkpoint_every,
        **dataclasses.asdict(size),
    }
    state = open_run(folder, settings)
    if state is not None and state.finished:
        return Pretrained(folder, state.steps, state.steps * batch_size * size.positions, Losses(**state.losses))

    # 2. The tokenizer; the same text gives the same one again.
    tokenizer = train_tokenizer(training, size.vocabulary, size.positions)
    size = dataclasses.replace(size, vocabulary=len(tokenizer))

    # 3. The windows.
    stream = TokenStream.of(training, tokenizer, size.positions, corpus)
    unseen = TokenStream.of(held_out, tokenizer, size.positions, validation or f"the held-out part of {corpus}")

    # 4. The training itself.
    def learn(learner: Learner, step: int, steps: int) -> float:
        passes = step * batch_size * size.positions / len(stream.ids)
        return learner.learn(
            stream.draw(batch_size, generator(seed, step, _WINDOWS)),
            rate_scale=learning_rate_scale(step, steps),
            dropout=dropout if passes >= PASSES_BEFORE_DROPOUT else 0.0,
            dropout_seed=generator(seed, step, _DROPOUT).initial_seed(),
        )

    learner = Learner(size, seed=seed, bf16=bf16)
    if state is None:
        planned = _steps_in(minutes, learn, Learner(size, seed=seed, bf16=bf16)) if minutes else steps or STEPS
        state = RunState(settings=settings, steps=planned, step=0, seconds=0.0)
    else:
        learner.restore(load_tensors(folder, state))
    curve, since = read_curve(folder, state.step), time.perf_counter() - state.seconds
    losses: list[float] = []
    columns = ("Pretraining", BarColumn(), MofNCompleteColumn(), "steps", TimeRemainingColumn())
    with Progress(
        *columns, TextColumn("{task.fields[loss]}"), console=Console(stderr=True), disable=not progress
    ) as bar:
        task = bar.add_task("", total=state.steps, completed=state.step, loss="")
        for step in range(state.step, state.steps):
            losses.append(learn(learner, step, state.steps))
            bar.update(task, completed=step + 1, loss=f"loss {losses[-1]:.2f}")
            if (step + 1) % checkpoint_every == 0 or step + 1 == state.steps:
                seen = (step + 1) * batch_size * size.positions
                val_loss = mean_loss(learner.lm, unseen.story_starts(VALIDATION_WINDOWS))
                seconds = time.perf_counter() - since
                curve.append(CurvePoint(step + 1, seen, sum(losses) / len(losses), val_loss, seconds))
                losses.clear()
                write_curve(folder, curve)
                state = dataclasses.replace(state, step=step + 1, seconds=seconds)
                save_run(folder, state, learner.tensors())
                if report is not None:
                    report(curve[-1])

    # 5. and 6. The policy.
    measured = _validate(learner.lm, unseen, VALIDATION_WINDOWS)
    learner.save_policy(folder, tokenizer, fold_temperature)
    save_run(folder, dataclasses.replace(state, finished=True, losses=measured._asdict()), None)
    return Pretrained(folder, state.steps, state.steps * batch_size * size.positions, measured)


def _validate(lm: Any, stream: TokenStream, windows: int, temperature: float = 1.0) -> Losses:
    consecutive = mean_loss(lm, stream.consecutive(windows), temperature)
    bits = consecutive / math.log(2) * stream.tokens_a_character
    return Losses(mean_loss(lm, stream.story_starts(windows), temperature), consecutive, bits)


def _steps_in(minutes: float, learn: Callable[[Learner, int, int], float], learner: Learner) -> int:
    """How many steps fit into the time, from a few on a learner that is thrown away."""
    untimed, timed = 2, 5  # the first steps are slow
    for step in range(untimed + timed):
        if step == untimed:
            since = time.perf_counter()
        learn(learner, step, STEPS)
    return max(1, int(minutes * 60 / (time.perf_counter() - since) * timed))


def _fingerprint(stories: list[str]) -> str:
    return hashlib.sha256("\0".join(stories).encode()).hexdigest()[:16]


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} is {value}, but must be a number above 0.")
