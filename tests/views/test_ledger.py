"""The ledger as the browser gets it: all words there, long sums shortened, computed only while it is on screen."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explorer.recording
from explorer import Explorer
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.text import LANGUAGES, labels
from explorer.views.batch import batch_picture
from explorer.views.ledger import ledger_picture

SOURCE = "\n".join(file.read_text("utf-8") for file in Path(explorer.recording.__file__).parent.glob("ledger*.py"))


@pytest.fixture(scope="module")
def snapshot(make_trainer: Callable[..., Any], snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    return snapshot_of(make_trainer())


@pytest.fixture
def page() -> Iterator[Explorer]:
    made = Explorer(live=False)
    yield made
    made.close()


def test_a_picture_is_plain_and_counts_what_it_has_checked(snapshot: Snapshot) -> None:
    picture = ledger_picture(snapshot, [0, 0])
    json.dumps(picture, allow_nan=False)
    assert (picture["update"], picture["token"], picture["wrong"]) == (1, [0, 0], 0)
    lines = {line["key"]: line for line in picture["lines"]}
    assert picture["checked"] >= 10
    assert lines["ratio"]["stored"] == pytest.approx(float(snapshot.final.ratios[0, 0]))
    assert lines["ratio"]["formula"]["op"] == "exp"


def test_what_is_not_there_has_no_ledger(snapshot: Snapshot) -> None:
    mask = snapshot.rollout.response_mask
    row = int(np.argmin(mask.sum(axis=1)))
    for pinned in ([], [row, int(mask[row].sum())], [len(mask), 0], [0, mask.shape[1]], [-1, 0]):
        assert ledger_picture(snapshot, pinned) == {}
    assert ledger_picture(None, [0, 0]) == {}


def test_infinite_and_missing_numbers_can_be_sent(snapshot: Snapshot) -> None:
    ratios, logprobs = np.array(snapshot.final.ratios), np.array(snapshot.final.new_logprobs)
    ratios[0, 0], logprobs[0, 0] = np.inf, np.nan
    final = dataclasses.replace(snapshot.final, ratios=ratios, new_logprobs=logprobs)
    with np.errstate(all="ignore"):
        picture = ledger_picture(dataclasses.replace(snapshot, epochs=(*snapshot.trained, final)), [0, 0])
    json.dumps(picture, allow_nan=False)
    assert {line["key"]: line for line in picture["lines"]}["ratio"]["holds"] is False


def test_a_long_sum_keeps_its_first_terms_and_its_last(page: Explorer) -> None:
    picture = ledger_picture(page.session.shown, [0, 0])
    line = {line["key"]: line for line in picture["lines"]}["advantage"]
    count = len(line["terms"]["places"])
    assert count > 10
    assert len(line["formula"]["of"]) + line["formula"]["left_out"] == count
    assert line["formula"]["of"][-1]["of"][1]["index"] == f"t+{count - 1}"
    assert sum(line["terms"]["columns"]["product"]) == pytest.approx(line["value"], abs=1e-9)


def test_it_is_reckoned_only_while_it_is_on_screen(page: Explorer) -> None:
    page.board.pinned = [1, 2]
    assert page.board.ledger == {}
    page.board.lower = "ledger"
    assert page.board.ledger["token"] == [1, 2]
    page.board.pinned = [2, 3]
    assert page.board.ledger["token"] == [2, 3]
    page.board.hovering = [0, 1]  # the pointer rests on another token
    assert page.board.ledger["token"] == [0, 1]
    page.board.hovering = []
    assert page.board.ledger["token"] == [2, 3]
    page.session.cursor.epoch = 0
    assert page.board.ledger["epoch"] == 0
    ratio = {line["key"]: line["value"] for line in page.board.ledger["lines"]}["ratio"]
    assert ratio == pytest.approx(1.0, abs=1e-5)
    page.board.lower = "advantages"
    page.board.pinned = [0, 0]
    assert page.board.ledger["token"] == [2, 3]
    page.board.lower = "ledger"
    page.board.pinned = []
    assert page.board.ledger == {}


def test_it_follows_a_re_scoring(page: Explorer) -> None:
    shown = page.session.shown
    moved = ledger_picture(what_if(shown, shown.config.replace(gae_lambda=0.5, kl_coef=0.3), epoch=-1), [0, 0])
    lines = {line["key"]: line for line in moved["lines"]}
    assert moved["wrong"] == 0
    assert lines["advantage"]["terms"]["columns"]["decay"][:3] == [1.0, 0.5, 0.25]
    assert lines["reward"]["value"] == pytest.approx(-0.3 * lines["ref_kl"]["value"], abs=1e-6)


@pytest.mark.parametrize("coefficient", ["kl_coef", "penalty_coef"])
def test_a_coefficient_that_is_dragged_is_the_one_that_is_shown(page: Explorer, coefficient: str) -> None:
    shown = page.session.shown
    for epoch in (-1, None):
        dragged = what_if(shown, shown.config.replace(**{coefficient: 0.4}), epoch=epoch)
        assert batch_picture(dragged, -1, shown.config)[coefficient] == 0.4


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_line_column_and_note_has_its_words(language: str) -> None:
    words = labels(language)["ui"]["ledger"]
    keys = set(re.findall(r'(?:\bline\(|Line\(\s*key=)\s*"(\w+)"', SOURCE))
    keys |= {"total", "to_go", "others_mean", "group_mean", "plain_branch", "clipped_branch", "floor_branch", "reward"}
    keys |= {f"{whose}_probability" for whose in ("old", "new", "ref")}
    keys |= {f"{sum_}{name}" for sum_ in ("", "response_") for name in ("k1", "k2", "k3", "exact_kl", "step")}
    assert keys == set(words["lines"])
    notes = set(re.findall(r'\(\s*"(\w+)", \{', SOURCE))
    weights = {f"weight_{name}" for name in ("token_mean", "sequence_mean", "fixed_length")}
    chosen = {"score_here", "score_at_the_end", "outside", "inside", "recorded_outside", "recorded_inside"}
    chosen |= {"zero_advantage", "no_gradient", "recorded_zero", "recorded_flows", "entropy_part", "entropy_impossible"}
    assert notes | weights | chosen == set(words["notes"])
    assert set(re.findall(r'"(\w+)": \(?\w[^"]*\.tolist\(\)', SOURCE)) == set(words["columns"])
