"""The benchmark's own parts, at a size that takes milliseconds: what runs on a GPU there has run here before."""

from __future__ import annotations

import dataclasses
import os

import pytest
import torch

from tests.benchmarks.bench_update_speed import AIMS, GPT2_SMALL, TRL, contenders, missed, table
from tests.benchmarks.contender import Work, contender
from tests.benchmarks.explorer_loop import trainer
from tests.benchmarks.plain_loop import PlainLoop

#: The work on a GPU, small and on the CPU.
TINY = dataclasses.replace(
    GPT2_SMALL, layers=2, width=16, heads=2, vocabulary=40, batch=8, prompt=3, response=5, device="cpu"
)


@pytest.mark.parametrize("bf16", [0, 1])
@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_both_loops_do_the_work_in_either_precision(critic: str, bf16: int) -> None:
    work = dataclasses.replace(TINY, bf16=bf16)
    plain, made = PlainLoop(work, critic), trainer(work, critic)
    assert set(plain.update()) == {"sample", "score", "epochs", "record"}
    assert {record.dtype.kind for record in plain.record} == {"b", "f", "i"}
    snapshot = made.update()
    assert snapshot.rollout.response_ids.shape == plain.record[0].shape == (8, 5)
    assert snapshot.metrics["optim/steps"] == 16
    assert made.policy.bf16 == bool(bf16) and (made.policy.critic is None) == (critic == "shared")
    assert all(holds for holds, _ in snapshot.checks.values()), snapshot.checks


def test_both_loops_are_of_the_same_size() -> None:
    for critic in ("shared", "separate"):
        plain, made = PlainLoop(TINY, critic), trainer(TINY, critic)
        assert made.policy.parameter_count == sum(parameter.numel() for parameter in plain.parameters)


@pytest.mark.parametrize("name", ["plain loop, separate critic", "explorer, shared trunk", TRL])
def test_a_contender_does_what_it_is_told(name: str) -> None:
    if name == TRL and "TRL_PYTHON" not in os.environ:
        pytest.skip("TRL 1.12 is not here: make bench-trl installs it beside, and TRL_PYTHON names its Python")
    with contender(contenders()[name], TINY) as measure:
        for updates in (1, 3):
            assert len(seconds := measure(updates)["seconds"]) == updates
            assert all(0 < each < 60 for each in seconds)


def test_a_contender_that_ends_says_why() -> None:
    with (
        pytest.raises(RuntimeError, match="width|heads|divisible"),
        contender(contenders()["plain loop, shared trunk"], dataclasses.replace(TINY, width=15)),
    ):
        pass


def test_the_table_by_hand() -> None:
    seconds = {TRL: [2.0, 4.0, 3.0], "plain loop, separate critic": [2.0], "explorer, separate critic": [1.5, 1.5]}
    lines = table(Work(batch=64, response=128), seconds, {"explorer, separate critic": {TRL: 0.7}})
    assert [line.split() for line in lines[1:]] == [
        "TRL 1.12 3.000 2.000 4.000 2731 1.00 1.50".split(),
        "plain loop, separate critic 2.000 2.000 2.000 4096 0.67 1.00".split(),
        "explorer, separate critic 1.500 1.500 1.500 5461 0.50 0.75 (aim 0.70 of TRL)".split(),
    ]


def test_an_aim_that_is_missed_is_named() -> None:
    aims = {"a": {TRL: 0.5, "plain": 1.0}, "b": {TRL: 0.5}, "nobody": {TRL: 0.1}}
    # The medians count: 2.0 for TRL, so that 1.0 is the most.
    in_time = {TRL: [1.0, 2.0, 9.0], "a": [1.0, 1.0, 7.0], "b": [0.9]}
    assert missed(in_time, aims) == []
    late = missed({**in_time, "a": [1.02], "plain": [1.0]}, aims)
    assert [sentence.split() for sentence in late] == [
        f"a takes 0.51 of the time of {TRL}, and 0.50 is aimed for".split(),
        "a takes 1.02 of the time of plain, and 1.00 is aimed for".split(),
    ]
    assert missed({"a": [100.0]}, aims) == []  # alone there is no ratio


def test_every_aim_is_of_somebody_who_takes_part() -> None:
    names = {*contenders(), TRL}
    assert set(AIMS) < names and all(set(others) < names for others in AIMS.values())


def test_the_plain_loop_computes_logits_where_they_are_needed() -> None:
    plain = PlainLoop(TINY, "shared")
    seen: list[int] = []
    plain.policy.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    plain.update()
    # A token at a time in sampling; then responses of five: the old policy, 4 epochs of 4 minibatches, the final one.
    assert seen == [1] * 5 + [5] * 18


def test_the_work_on_a_gpu_is_gpt2_small() -> None:
    with torch.device("meta"):
        plain = PlainLoop(dataclasses.replace(GPT2_SMALL, device="meta"), "shared")
    assert sum(parameter.numel() for parameter in plain.policy.parameters()) == pytest.approx(124e6, rel=0.01)
    assert (GPT2_SMALL.batch, GPT2_SMALL.response, GPT2_SMALL.device) == (64, 128, "cuda")
    assert GPT2_SMALL.positions == 8 + 128
