"""Programs that are timed side by side: each in a process of its own, on one thread, idle until it is its turn.

A contender is told its work as arguments (``Work``) and gets its orders as lines of the standard input: a number n
asks for one update to warm up and n more, and is answered by a line of JSON, ``{"seconds": [n floats]}``, with the
stages' where they are known. Its first line, without an order, says that it is ready.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

#: Gives the order to a contender and waits for its answer.
Measure = Callable[[int], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all contenders do alike.

    Attributes:
        layers, width, heads, vocabulary: of the GPT-2.
        batch, prompt, response: how many prompts, and how many tokens of each kind.
        epochs, minibatches: of an update.
        device: ``cpu`` or ``cuda``.
        bf16: whether the forwards are in bfloat16, 0 or 1.
    """

    layers: int = 4
    width: int = 128
    heads: int = 4
    vocabulary: int = 4096
    batch: int = 32
    prompt: int = 8
    response: int = 32
    epochs: int = 4
    minibatches: int = 1
    device: str = "cpu"
    bf16: int = 0

    @property
    def positions(self) -> int:
        """As many as prompt and response need, and at least 128."""
        return max(128, self.prompt + self.response)

    @property
    def arguments(self) -> list[str]:
        """``--name value`` for each."""
        return [part for field in fields(self) for part in (f"--{field.name}", str(getattr(self, field.name)))]


@contextmanager
def contender(command: Sequence[str], work: Work) -> Iterator[Measure]:
    """Start one, and wait until it is ready.

    Args:
        command: the program and its own arguments.
        work: what it is to do.
    """
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    # As explorer.memory has it for page and command: by chance one had 20 times the page faults of another.
    environment |= {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    if work.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with (
        tempfile.TemporaryFile("w+") as errors,  # a pipe that nobody reads would fill up, and the contender wait
        subprocess.Popen(
            [*command, *work.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def answer() -> dict[str, Any]:
            line = answers.readline()
            if not line:
                errors.seek(0)
                raise RuntimeError(f"{' '.join(command)} has ended:\n{errors.read()}")
            found: dict[str, Any] = json.loads(line)
            return found

        def measure(updates: int) -> dict[str, Any]:
            print(updates, file=orders, flush=True)
            return answer()

        answer()
        yield measure  # leaving closes its input, which ends it


def from_the_command_line() -> tuple[Work, str]:
    """What ``contender`` told this program; and its own ``--critic``, ``shared`` or ``separate``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--critic", choices=("shared", "separate"), default="shared")
    for field in fields(Work):
        parser.add_argument(f"--{field.name}", type=type(field.default), required=True)
    told = vars(parser.parse_args())
    critic = told.pop("critic")
    return Work(**told), critic


def serve(update: Callable[[], dict[str, float]]) -> None:
    """Answer orders until there are no more.

    Args:
        update: runs one update and gives the seconds of its stages, which go into the answer, ``{"stages": [...]}``.
    """
    update()
    print(json.dumps({"seconds": []}), flush=True)
    for order in sys.stdin:
        update()
        seconds: list[float] = []
        stages: list[dict[str, float]] = []
        for _ in range(int(order)):
            started = time.perf_counter()
            stages.append(update())
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds, "stages": stages}), flush=True)
