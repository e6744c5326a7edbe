"""The KL's numbers as the browser has them: per token and per response, to the reference and to the old policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.recording.snapshot import Snapshot
from explorer.views.batch import batch_picture
from tests.widgets.test_inspector import REVIVE, as_json, run

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    trainer = make_trainer()
    config = trainer.config.replace(learning_rate=1e-2)
    return [snapshot_of(trainer, config) for _ in range(2)][-1]


@pytest.fixture
def known(snapshot: Snapshot, tmp_path: Path) -> Any:
    """``{whose: {token: of the second response, response}}`` as the browser reckons them."""
    (tmp_path / "batch.json").write_text(as_json(batch_picture(snapshot)))
    program = f"""
      import {{ readFileSync }} from "node:fs";
      const batch = JSON.parse(readFileSync("batch.json"), {REVIVE});
      const of = (whose) => ({{ token: klOfTokens(batch, 1, whose), response: klOfResponses(batch, whose) }});
      console.log(JSON.stringify({{ reference: of("reference"), old: of("old") }}));
    """
    return run(tmp_path, "kl", "klOfTokens, klOfResponses", program)


def test_the_mean_over_the_responses_is_the_updates_metric(snapshot: Snapshot, known: Any) -> None:
    assert np.mean(known["reference"]["response"]["k1"]) == pytest.approx(
        snapshot.metrics["objective/ref_kl"], rel=1e-5
    )
    tokens = snapshot.rollout.response_mask.sum()
    step = sum(known["old"]["response"]["k2"]) / tokens
    assert step == pytest.approx(snapshot.metrics["policy/approx_kl_final"], rel=1e-4) and step > 1e-4


def test_a_response_is_the_sum_of_its_tokens(known: Any) -> None:
    for whose in ("reference", "old"):
        for name in ("k1", "k2", "k3"):
            assert sum(known[whose]["token"][name]) == pytest.approx(known[whose]["response"][name][1])
    assert sum(known["reference"]["token"]["exact_kl"]) == pytest.approx(known["reference"]["response"]["exact_kl"][1])


def test_to_the_old_policy_nothing_is_exact_and_the_estimators_say_what_they_should(
    snapshot: Snapshot, known: Any
) -> None:
    own = known["old"]["token"]
    assert own["exact_kl"] is None is known["old"]["response"]["exact_kl"]
    mask = snapshot.rollout.response_mask[1]
    ratios = snapshot.final.ratios[1][mask]
    assert np.exp(-np.array(own["k1"])) == pytest.approx(ratios, rel=1e-5)
    assert min(own["k3"]) >= 0 and min(own["k2"]) >= 0
    assert np.array(own["k3"]) - own["k1"] == pytest.approx(ratios - 1, abs=1e-6)


def test_an_axis_only_grows_and_by_doubling(tmp_path: Path) -> None:
    program = "console.log(JSON.stringify([grown(4, [1, 2]), grown(4, [5]), grown(4, [33, NaN]), grown(16, [1])]))"
    assert run(tmp_path, "kl", "grown", program) == [4, 8, 64, 16]


def test_as_a_table_every_token_and_response_has_the_recorded_numbers(snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "batch.json").write_text(as_json(batch_picture(snapshot)))
    program = f"""
      import {{ readFileSync }} from "node:fs";
      const batch = JSON.parse(readFileSync("batch.json"), {REVIVE});
      const table = (level) => klTable({{ get: (name) => ({{ batch, kl_view: level }})[name] }});
      console.log(JSON.stringify([table("token"), table("response")]));
    """
    tables = run(tmp_path, "kl", "klTable", program)
    tokens, responses = (
        {
            name: np.array(column)
            for name, column in zip(table["columns"], zip(*table["rows"], strict=True), strict=True)
        }
        for table in tables
    )
    mask, rollout = snapshot.rollout.response_mask, snapshot.rollout
    assert list(zip(tokens["response"], tokens["token"], strict=True)) == [(r + 1, t + 1) for r, t in np.argwhere(mask)]
    assert tokens["exact_kl to reference [nats]"] == pytest.approx(rollout.exact_ref_kl[mask], abs=0)
    assert tokens["ref_kl [nats]"] == pytest.approx(snapshot.credit.ref_kl[mask], abs=0)
    ratios = snapshot.final.ratios[: len(mask)][mask].astype(float)
    assert np.exp(-tokens["k1 to old policy [nats]"]) == pytest.approx(ratios, rel=1e-5)
    assert responses["k1 to reference [nats]"].mean() == pytest.approx(snapshot.metrics["objective/ref_kl"], rel=1e-5)
    assert responses["tokens"].tolist() == mask.sum(1).tolist()
    assert responses["k2 to old policy [nats]"].sum() / mask.sum() == pytest.approx(
        snapshot.metrics["policy/approx_kl_final"], rel=1e-4
    )
    assert not any("exact_kl to old" in name for name in (*tokens, *responses))
