"""Which line of the ledger each number on the page opens: worked out in node, with the lines that there are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.config import CHOICES
from explorer.recording.ledger import ledger
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import what_if
from explorer.views.quantities import ON_DEMAND, QUANTITIES
from tests.widgets.test_inspector import run

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

#: Of a quantity that is no line by its own name, the line that it is.
ELSEWHERE = {
    "advantage": "whitened",
    "raw_advantage": "advantage",
    "gradient_share": "share",
    "score": "score",
    "component/sentiment": "score",
}


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    trainer = make_trainer()
    return snapshot_of(trainer, trainer.config.replace(estimator="remax"))


def test_every_quantity_of_the_menu_opens_its_own_line_whatever_the_settings(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    quantities = [*QUANTITIES, *ON_DEMAND, "score", "component/sentiment"]
    program = (
        f"console.log(JSON.stringify(Object.fromEntries({json.dumps(quantities)}.map((q) => [q, ledgerLines(q)]))))"
    )
    asked = run(tmp_path, "ledger", "ledgerLines", program)
    for estimator in CHOICES["estimator"]:
        for kl_in in CHOICES["kl_in"]:
            changed = snapshot.config.replace(estimator=estimator, kl_in=kl_in, objective="gspo")
            lines = {line.key for line in ledger(what_if(snapshot, changed), 0, 0).lines}
            opened = {name: next((key for key in asked[name] if key in lines), None) for name in quantities}
            own = {name: ELSEWHERE.get(name, name) for name in quantities}
            if "return" not in lines:
                own["return"] = "to_go"
            assert opened == own, (estimator, kl_in)
            assert ("to_go" in lines) != ("return" in lines)
