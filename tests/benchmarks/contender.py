"""Programs that are timed side by side: each in a process of its own, on one thread, idle until it is its turn.

A contender is told the sizes of its work as arguments and gets its orders as lines of the standard input: a number n
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
from typing import Any

#: Gives the order to a contender and waits for its answer.
Measure = Callable[[int], dict[str, Any]]


@contextmanager
def contender(command: Sequence[str], sizes: dict[str, float]) -> Iterator[Measure]:
    """Start one, and wait until it is ready.

    Args:
        command: the program and its own arguments.
        sizes: numbers that become ``--name value``.
    """
    arguments = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with (
        tempfile.TemporaryFile("w+") as errors,  # a pipe that nobody reads would fill up, and the contender wait
        subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **one_thread, "CUDA_VISIBLE_DEVICES": ""},
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


def sizes_from_the_command_line(names: Sequence[str]) -> argparse.Namespace:
    """What ``contender`` told this program: ``--name value`` for each name; and ``--critic shared`` or ``separate``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--critic", choices=("shared", "separate"), default="shared")
    for name in names:
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser.parse_args()


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
