"""What the tricks buy: the judgement of a run by hand, and whole runs of a tiny policy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from explorer.ablation import BASE, VARIANTS, Run, ablate, judge, run_one, share, spread, table
from explorer.cli import app
from explorer.config import Config
from explorer.ppo.policy import Policy

SMALL = Config(batch_size=4, response_length=4, epochs=2)


@pytest.fixture
def folder(make_tiny_policy: Callable[[], Policy], tmp_path: Path) -> str:
    """A tiny policy on disk, as another process can load it."""
    make_tiny_policy().save(tmp_path / "policy")
    return str(tmp_path / "policy")


def judged(scores: list[float], entropy: float = 1.0, rise: float = 0.2, failure: str = "") -> Run:
    count = len(scores)
    acted = [(i / 10, i / 100) for i in range(count)]
    return judge("all on", 0, scores, [2.0] * count, [entropy] * count, list(range(count + 1)), acted, rise, failure)


def test_the_score_at_the_end_is_a_mean_over_five_updates() -> None:
    run = judged([0.0, 9.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    assert run.score == pytest.approx(3.0)
    assert (run.start, run.ref_kl, run.failure) == (0.0, 2.0, "")


def test_how_often_the_tricks_acted_is_a_mean_over_all_updates() -> None:
    run = judged([0.0, 1.0, 2.0])
    assert (run.steps_clipped, run.tokens_clipped) == (pytest.approx(0.1), pytest.approx(0.01))
    assert math.isnan(judged([]).steps_clipped) and math.isnan(judged([]).tokens_clipped)


def test_every_trick_acts_in_the_base_and_is_felt_when_it_is_taken_away() -> None:
    """The shipped policy under the settings of ``ppo-explorer ablate``, three updates of each variant."""
    runs = {variant: run_one(variant, BASE, 3, 0.2) for variant in VARIANTS}
    base = runs["all on"]
    assert 0.2 < base.steps_clipped < 1.0 and 0.02 < base.tokens_clipped < 0.5
    assert runs["no gradient clipping"].steps_clipped == 0.0 and runs["no gradient clipping"].tokens_clipped > 0.02
    assert runs["no ratio clip"].tokens_clipped == 0.0 and runs["no ratio clip"].steps_clipped > 0.2
    assert runs["no reuse"].tokens_clipped < base.tokens_clipped / 3  # far less has moved
    assert runs["all off"].steps_clipped == runs["all off"].tokens_clipped == 0.0
    for variant in list(VARIANTS)[1:]:
        assert abs(runs[variant].score - base.score) > 1e-4, variant


def test_a_rise_counts_once_the_mean_of_five_updates_has_it() -> None:
    run = judged([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0])  # means: 0, then 0.2 at update 6
    assert (run.reached, run.seconds) == (6, 6.0)
    assert judged([0.0, 5.0, 5.0, 5.0]).reached is None  # fewer than five updates say nothing
    never = judged([0.0] * 8)
    assert (never.reached, never.seconds) == (None, 8.0)


@pytest.mark.parametrize(
    ("run", "failure"),
    [
        (judged([0.5] * 5 + [0.1] * 5), "worse"),
        (judged([0.1] * 5 + [0.5] * 5), ""),
        (judged([0.1] * 5 + [0.9] * 5, entropy=0.01), "collapsed"),
        (judged([0.1, 0.2], failure="numbers"), "numbers"),
        (judged([]), "numbers"),
    ],
)
def test_failures(run: Run, failure: str) -> None:
    assert run.failure == failure


def test_each_variant_takes_something_away() -> None:
    base = Config()
    for name, changes in VARIANTS.items():
        assert (base.replace(**changes) == base) is (name == "all on")
    assert VARIANTS["all off"] == {k: v for name in list(VARIANTS)[1:-1] for k, v in VARIANTS[name].items()}


def test_a_run_is_the_same_twice_but_for_its_time(folder: str) -> None:
    first, second = (run_one("no ratio clip", SMALL, 3, 0.2, folder) for _ in range(2))
    assert (first.start, first.score, first.ref_kl) == (second.start, second.score, second.ref_kl)
    assert math.isfinite(first.score) and first.seconds > 0
    assert run_one("no reuse", SMALL, 3, 0.2, folder).ref_kl != first.ref_kl
    assert run_one("all on", SMALL, 3, 0.2, folder, prompts=["The cat"]).ref_kl != first.ref_kl


def test_processes_give_the_same_as_one(folder: str) -> None:
    seen: list[Run] = []
    alone = ablate(SMALL, [0, 1], 2, 0.2, 1, folder, seen.append)
    together = ablate(SMALL, [0, 1], 2, 0.2, 2, folder)
    assert [(r.variant, r.seed, r.score) for r in alone] == [(r.variant, r.seed, r.score) for r in together]
    assert [(r.variant, r.seed) for r in alone] == [(v, s) for v in VARIANTS for s in (0, 1)]
    assert seen == alone


def test_spread() -> None:
    assert spread([1.0, 3.0]) == "2.00 ± 1.41"
    assert (spread([2.5], 1), spread([math.nan]), spread([])) == ("2.5", "–", "–")


def test_share() -> None:
    assert (share([0.5, 0.25]), share([0.031]), share([0.0]), share([math.nan])) == ("38 %", "3.1 %", "0 %", "–")


def test_the_table_says_who_failed_and_who_never_arrived() -> None:
    good = Run("all on", 0, 0.1, 0.5, 2.0, 12, 8.0, 0.75, 0.02, "")
    bad = Run("all on", 1, 0.1, 0.0, 90.0, None, 20.0, 0.25, 0.06, "worse")
    row = table([good, bad], 0.2).splitlines()[-1]
    assert row == "| all on | 0.25 ± 0.35 | 46.0 ± 62.2 | 12 (1 never) | 8 | 50 % | 4.0 % | 1 of 2 (worse) |"


def test_the_command_prints_the_table_and_writes_every_run(folder: str, tmp_path: Path) -> None:
    arguments = ["ablate", "--updates", "1", "--seeds", "1", "--policy", folder, "--out", str(tmp_path / "runs.jsonl")]
    arguments += ["--set", "batch_size=4", "--set", "response_length=3", "--set", "epochs=2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert [line.split("|")[1].strip() for line in done.stdout.splitlines()[3:]] == list(VARIANTS)
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["variant"] for line in lines} == set(VARIANTS)
    elsewhere = CliRunner().invoke(app, [*arguments[:-1], "batch_size=4", "--out", "other", "--device", "mars"])
    assert isinstance(elsewhere.exception, ValueError) and "device is 'mars'" in str(elsewhere.exception)
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, ValueError) and "name a new file" in str(again.exception)
