"""Recordings that earlier versions have really written open, are brought up to date, and say what they said.

They are of one run, see ``older/README.md``: what is added to an older one is compared with what the next one recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from explorer.app import Explorer
from explorer.recording.folder import SCHEMA_VERSION
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.recording.what_if import what_if

SCHEMAS = range(1, SCHEMA_VERSION)

#: What schema 2 brought, and what came after it, each with what its runs had gone by until then.
ADDED: dict[str, Any] = {
    **{"clip_range_high": 0.28, "dual_clip": 3.0, "delta": 4.0, "penalty_coef": 1.0, "penalty_target": 0.01},
    **{"kl_in": "reward", "kl_target": None, "kl_horizon": 320, "aggregation": "token_mean", "target_kl": None},
    **{"lr_schedule": "constant", "lr_decay_updates": 100, "freeze_critic": False, "dropout_on": False},
    **{"critic": "shared", "group_size": 4},
}
LATER: dict[str, Any] = {"whiten_rewards": False, "set_aside": [], "judge": ""}


def folder(schema: int) -> Path:
    return Path(__file__).parent / "older" / f"schema_{schema}"


def raw(schema: int, table: str, name: str) -> np.ndarray[Any, Any]:
    """A column as the file has it, a row a response."""
    values = pq.ParquetFile(folder(schema) / table / "000001.parquet").read().column(name).to_numpy()
    return values.reshape(-1, 24)


@pytest.fixture(params=SCHEMAS)
def schema(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def test_there_is_one_of_each_schema_as_it_was_written(schema: int) -> None:
    content = json.loads((folder(schema) / "run.json").read_text("utf-8"))
    assert content["schema_version"] == schema
    settings = set(content["configs"][0]["config"])
    files = {name: folder(schema) / name / "000001.parquet" for name in ("tokens", "epochs", "responses")}
    columns = {name: pq.read_schema(path).names for name, path in files.items()}
    # What each number has brought, as the document lists it.
    assert ("group_size" in settings, "groups" in columns["responses"]) == (schema > 1, schema > 1)
    assert ("ref_log_ratios" in columns["epochs"]) == (schema > 1)
    assert ("exact_ref_kl" in columns["tokens"]) == (schema > 2)
    assert ("ref_top_logprobs" in columns["tokens"], "whiten_rewards" in settings) == (schema > 3, schema > 3)
    assert settings.isdisjoint({"judge", "set_aside"})


def test_it_opens_with_the_settings_by_which_it_went(schema: int) -> None:
    run = Recording.load(folder(schema))
    assert (run.info["schema_version"], run.updates, run.metrics.num_rows) == (schema, [1], 40)
    assert [*run.configs] == [1]
    written = json.loads((folder(schema) / "run.json").read_text("utf-8"))["configs"][0]["config"]
    settings = run.config_at(1).flat()
    assert {name: settings[name] for name in written} == written
    added = {name: value for name, value in settings.items() if name not in written}
    came_with = dict.fromkeys(ADDED, 2) | {"whiten_rewards": 4, "set_aside": 5, "judge": 5}
    assert added == {name: value for name, value in (ADDED | LATER).items() if came_with[name] > schema}


def test_its_numbers_are_those_in_the_file(schema: int) -> None:
    (snapshot,) = Recording.load(folder(schema))
    for record, names in (
        (snapshot.rollout, ("response_ids", "old_logprobs", "ref_logprobs", "entropies")),
        (snapshot.credit, ("rewards", "deltas", "advantages", "whitened_advantages", "returns")),
    ):
        for name in names:
            np.testing.assert_array_equal(getattr(record, name), raw(schema, "tokens", name), err_msg=name)
    for name in ("ratios", "new_logprobs", "gradient_shares", "zero_gradient", "values"):
        seen = raw(schema, "epochs", name).reshape(5, 32, 24)
        for epoch, expected in zip(snapshot.epochs, seen, strict=True):
            np.testing.assert_array_equal(getattr(epoch, name), expected, err_msg=name)
    scores = Recording.load(folder(schema)).metrics.column("objective/score")
    assert scores[0].as_py() == pytest.approx(float(snapshot.credit.scores.mean()), abs=1e-6)


def test_what_it_lacks_is_what_the_next_schema_recorded_of_the_same_update() -> None:
    one, two, three, four = (Recording.load(folder(schema))[0] for schema in SCHEMAS)
    for other in (two, three, four):
        np.testing.assert_array_equal(one.rollout.response_ids, other.rollout.response_ids)
        assert one.rollout.groups.tolist() == other.rollout.groups.tolist() == np.repeat(range(8), 4).tolist()
        assert one.tokens.prompts == other.tokens.prompts
    for derived, written in zip(one.epochs, two.epochs, strict=True):
        np.testing.assert_array_equal(derived.ref_log_ratios, written.ref_log_ratios)
    assert np.abs(one.final.ref_log_ratios).max() > 0.1
    # What would take both models to find stays absent.
    assert [s.rollout.exact_ref_kl is None for s in (one, two, three, four)] == [True, True, False, False]
    assert [s.rollout.ref_top_logprobs is None for s in (one, two, three, four)] == [True, True, True, False]
    assert [s.final.top_logprobs is None for s in (one, two, three, four)] == [True, True, True, False]
    assert [s.credit.judge for s in (one, two, three, four)] == [None] * 4


def close(found: Snapshot, expected: Snapshot) -> None:
    for name in ("rewards", "advantages", "whitened_advantages", "returns"):
        np.testing.assert_allclose(getattr(found.credit, name), getattr(expected.credit, name), atol=1e-5, err_msg=name)
    for name in ("zero_gradient", "outside_range"):
        np.testing.assert_array_equal(getattr(found.final, name), getattr(expected.final, name), err_msg=name)


def test_scored_anew_under_its_settings_it_is_what_was_recorded(schema: int) -> None:
    (snapshot,) = Recording.load(folder(schema))
    away = snapshot.config.replace(gae_lambda=0.3, clip_range=0.05)
    other = what_if(snapshot, away)
    assert np.abs(other.credit.advantages - snapshot.credit.advantages).max() > 0.01
    close(what_if(other, snapshot.config), snapshot)


def test_it_is_replayed_and_saved_in_the_form_of_today(schema: int, tmp_path: Path) -> None:
    page = Explorer(recording=folder(schema), live=False)
    try:
        assert page.session.error == {}
        assert page.board.batch["update"] == 1
    finally:
        page.close()
    run = Recording.load(folder(schema))
    run.save(tmp_path / "again")
    again = Recording.load(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "run.json").read_text("utf-8"))["schema_version"] == SCHEMA_VERSION
    assert again.configs == run.configs
    assert repr(again.metrics.to_pylist()) == repr(run.metrics.to_pylist())  # a NaN is one
    for found, expected in zip(again[0].epochs, run[0].epochs, strict=True):
        np.testing.assert_array_equal(found.ref_log_ratios, expected.ref_log_ratios)
        np.testing.assert_array_equal(found.ratios, expected.ratios)
