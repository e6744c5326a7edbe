"""How long one update takes, beside TRL's PPO and beside a plain PyTorch loop: `make bench-trl`.

The same work for everyone: a GPT-2 of 4 layers of 128 with random weights, 32 prompts of 8 tokens, 32 tokens of
response, 4 epochs of one minibatch, float32, one thread. All are started before anything is timed; then they take
turns, in an order that is turned round every time (A B C, C B A), so that a machine that slows down or speeds up
meanwhile favours none. The explorer's time is that of ``Trainer.update()``: records and Snapshot are in it, as in the
plain loop its records are. TRL keeps no record of a token. Its critic is a second trunk, so there is one row for it.

TRL 1.12 needs an environment of its own, whose Python TRL_PYTHON names (see ``trl/ppo_peer.py``).
"""

from __future__ import annotations

import os
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from explorer.config import FIELDS
from tests.benchmarks.bench_page_speed import load
from tests.benchmarks.contender import Measure, contender

#: Turns, and updates in each after one to warm up.
TURNS, UPDATES = 6, 2

SIZES = {
    "layers": 4,
    "width": 128,
    "heads": 4,
    "vocabulary": 4096,
    "batch": 32,
    "prompt": 8,
    "response": 32,
    "epochs": 4,
    "minibatches": 1,
}

#: What is aimed for: the explorer's time over TRL's.
AIMS = {"explorer, shared trunk": 0.45, "explorer, separate critic": 0.70}

TRL = "TRL 1.12"


def test_update() -> None:
    seconds: dict[str, list[float]] = {}
    stages: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as running:
        measures: dict[str, Measure] = {
            name: running.enter_context(contender(command, SIZES)) for name, command in contenders().items()
        }
        for turn in range(TURNS):
            for name in list(measures) if turn % 2 == 0 else reversed(measures):
                answer = measures[name](UPDATES)
                seconds.setdefault(name, []).extend(answer["seconds"])
                stages.setdefault(name, []).extend(answer.get("stages", []))
    middles = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"\n\nOne update, {TURNS * UPDATES} of each kind in {TURNS} turns, one thread each ({load()}):")
    print(f"  {'':27}  seconds    least     most    / TRL  / plain loop with the same critic")
    for name, each in seconds.items():
        same_critic = name.replace("explorer", "plain loop").replace(TRL, "plain loop, separate critic")
        over_trl = f"{middles[name] / middles[TRL]:7.2f}" if TRL in middles else "      –"
        aim = f"   (aim {AIMS[name]:.2f} of TRL)" if name in AIMS else ""
        spread = f"{middles[name]:7.3f}  {min(each):7.3f}  {max(each):7.3f}"
        print(f"  {name:27}  {spread}  {over_trl}  {middles[name] / middles[same_critic]:7.2f}{aim}")
    for name, each in stages.items():
        if each:
            means = {stage: statistics.fmean(one[stage] for one in each) for stage in each[0]}
            print(f"  {name}: " + ", ".join(f"{stage} {mean:.3f}" for stage, mean in means.items()))
    assert all(len(each) == TURNS * UPDATES for each in seconds.values())


def contenders() -> dict[str, list[str]]:
    """The commands of those that can run here, by name; says what is left out, and why."""
    found = {}
    if python := os.environ.get("TRL_PYTHON"):
        found[TRL] = [python, str(Path(__file__).parent / "trl" / "ppo_peer.py"), "speed"]
    else:
        print("\n\nWithout TRL: TRL_PYTHON names no Python that has it, and make bench-trl makes one.")
    for critic, kind in {"shared": "shared trunk", "separate": "separate critic"}.items():
        critic_option = ["--critic", critic]
        found[f"plain loop, {kind}"] = [sys.executable, "-m", "tests.benchmarks.plain_loop", *critic_option]
        if critic == "shared" or "critic" in FIELDS:
            found[f"explorer, {kind}"] = [sys.executable, "-m", "tests.benchmarks.explorer_loop", *critic_option]
        else:
            print(f"\n\nWithout the explorer's {kind}: Config has no field 'critic' yet.")
    return found
