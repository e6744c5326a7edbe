"""The pinned token's formula as the browser fills it in, against what the trainer recorded of that token."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.presets import PRESETS
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.views.batch import batch_picture
from explorer.widgets.scripts import script
from tests.node import node

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer, RunUpdate

PROGRAM = """
  import { filledIn, lossKl, whence } from "./objective.mjs";
  import { readFileSync } from "node:fs";
  const asked = JSON.parse(readFileSync("asked.json", "utf-8"));
  const bytes = Float32Array.from(asked.loss_kl);
  const batch = { ...asked.batch, loss_kl: asked.batch.loss_kl === null ? null : new DataView(bytes.buffer) };
  console.log(JSON.stringify(asked.tokens.map(([index, ratio, advantage]) => {
    const [{ parts, term, flat = false }, kl] = [filledIn(batch, ratio, advantage), lossKl(batch, index)];
    const written = parts.map((part) => part.name ?? part).join("");
    const pull = whence(batch, flat || advantage === 0, kl);
    return { objective: term, term: term - (kl?.price ?? 0), whence: pull, written };
  })));
"""
SMALL: dict[str, Any] = {"batch_size": 6, "group_size": 2, "response_length": 5, "learning_rate": 3e-2, "epochs": 3}


def filled_in(snapshot: Snapshot, epoch: int, folder: Path) -> list[dict[str, Any]]:
    """What the formula comes to for every token that counts, row by row."""
    picture, record, mask = batch_picture(snapshot, epoch), snapshot.epochs[epoch], snapshot.rollout.response_mask
    kept = ("objective", "clip", "pull_limit", "penalty_coef", "temperatures", "response_ratios", "loss_kl_coef")
    batch = {name: picture[name] for name in kept} | {"loss_kl": None if picture["loss_kl"] is None else True}
    tokens = [
        [
            int(index),
            float(record.ratios[: len(mask)].flat[index]),
            float(snapshot.credit.whitened_advantages.flat[index]),
        ]
        for index in np.flatnonzero(mask)
    ]
    loss_kl = [] if picture["loss_kl"] is None else np.frombuffer(picture["loss_kl"], "<f4").tolist()
    (folder / "asked.json").write_text(json.dumps({"batch": batch, "loss_kl": loss_kl, "tokens": tokens}))
    source = script("objective") + "\nexport { filledIn, lossKl, whence };"
    (folder / "objective.mjs").write_text(source, encoding="utf-8")
    (folder / "ask.mjs").write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("epoch", [0, -1])
def test_the_formula_with_the_kl_in_the_loss_comes_to_the_recorded_term(
    make_trainer: MakeTrainer,
    run_update: RunUpdate,
    snapshot_of: Any,
    tmp_path: Path,
    estimator: str,
    epoch: int,
) -> None:
    config = PRESETS["grpo"].replace(**SMALL, kl_estimator=estimator, kl_coef=0.4)
    trainer = make_trainer(config)
    run_update(trainer)
    snapshot = snapshot_of(trainer)
    found, mask = filled_in(snapshot, epoch, tmp_path), snapshot.rollout.response_mask
    recorded = snapshot.epochs[epoch].policy_terms[mask]
    assert [one["term"] for one in found] == pytest.approx(recorded.tolist(), abs=1e-5)
    assert np.abs([one["term"] - one["objective"] for one in found]).max() > 0.01  # the KL is no rounding


def test_a_gradient_is_put_down_to_the_kl_exactly_where_it_ends_without_it(
    make_trainer: MakeTrainer, run_update: RunUpdate, snapshot_of: Any, tmp_path: Path
) -> None:
    trainer = make_trainer(Config(**SMALL, kl_in="loss", kl_estimator="k1", kl_coef=0.4))
    run_update(trainer)
    snapshot = snapshot_of(trainer)
    assert not snapshot.final.zero_gradient.any()  # k1 pulls everywhere
    mask, free = snapshot.rollout.response_mask, what_if(snapshot, snapshot.config.replace(kl_coef=0.0))
    stuck = free.final.zero_gradient[: len(mask)][mask]  # by autograd
    assert stuck.any() and not stuck.all()
    assert [one["whence"] == "kl_alone" for one in filled_in(snapshot, -1, tmp_path)] == stuck.tolist()
    assert {one["whence"] for one in filled_in(free, -1, tmp_path)} == {"gradient_flows"}


@pytest.mark.parametrize("name", ["clip", "gspo", "two_sided"])
def test_without_a_kl_in_the_loss_the_formula_has_no_such_term(
    make_trainer: MakeTrainer, snapshot_of: Any, tmp_path: Path, name: str
) -> None:
    snapshot = snapshot_of(make_trainer(Config(**SMALL, objective=name)))
    assert all(one["term"] == one["objective"] for one in filled_in(snapshot, -1, tmp_path))
    assert {one["whence"] for one in filled_in(snapshot, -1, tmp_path)} <= {"gradient_flows", "through_response"}


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({"clip_range": 0.1}, {"min(ρA, clip(ρ, 0.90, 1.10)A)"}),
        ({"objective": "clip_higher", "clip_range_high": 0.35}, {"min(ρA, clip(ρ, 0.80, 1.35)A)"}),
        (
            {"objective": "gspo", "clip_range": 3e-4, "clip_range_high": 4e-4},
            {"min(sA, clip(s, 0.9997, 1.0004)A)"},
        ),
        ({"objective": "two_sided", "delta": 3.0}, {"min(min(ρ, 3.00)A, clip(ρ, 0.80, 1.20)A)"}),
        ({"objective": "unclipped"}, {"ρA"}),
    ],
)
def test_the_bounds_of_a_clip_stand_in_its_formula_as_numbers(
    make_trainer: MakeTrainer, snapshot_of: Any, tmp_path: Path, changes: dict[str, Any], written: set[str]
) -> None:
    snapshot = snapshot_of(make_trainer(Config(**{**SMALL, **changes})))
    assert {one["written"] for one in filled_in(snapshot, -1, tmp_path)} == written
    rescored = what_if(snapshot, snapshot.config.replace(clip_range=0.3))
    found = {one["written"] for one in filled_in(rescored, -1, tmp_path)}
    assert all("0.70" in formula for formula in found) == ("clip" in next(iter(written)))


def test_the_floor_of_dual_clip_stands_there_where_it_counts(
    make_trainer: MakeTrainer, snapshot_of: Any, tmp_path: Path
) -> None:
    snapshot = snapshot_of(make_trainer(Config(**SMALL)))
    scored = what_if(snapshot, snapshot.config.replace(objective="dual_clip", dual_clip=1.5, clip_range=0.1))
    mask = scored.rollout.response_mask
    ratios, advantages = scored.final.ratios[: len(mask)][mask], scored.credit.whitened_advantages[mask]
    for one, ratio, advantage in zip(filled_in(scored, -1, tmp_path), ratios, advantages, strict=True):
        floored = advantage < 0 and ratio > 1.5
        assert one["written"] == ("max(ρA, 1.50·A)" if floored else "min(ρA, clip(ρ, 0.90, 1.10)A)")
