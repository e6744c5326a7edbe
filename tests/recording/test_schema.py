"""The description of a recorded run and what is really written: every column in both, of the same type."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer.bundled import asset_path
from explorer.config import Config
from explorer.ppo.metrics import METRICS
from explorer.recording.folder import METRICS_ROWS, SCHEMA_VERSION
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

FOLDERS = ("tokens", "epochs", "responses", "updates", "metrics")


def described() -> dict[str, dict[str, str]]:
    """``{folder: {column: type}}`` as the document has it."""
    text = asset_path("recording").joinpath("README.md").read_text(encoding="utf-8")
    sections = re.split(r"^## (\S+)$", text, flags=re.MULTILINE)[1:]
    row = re.compile(r"^\| `([^`]+)` \| ([^|]+?) \|", re.MULTILINE)
    return {name: dict(row.findall(body)) for name, body in zip(sections[::2], sections[1::2], strict=True)}


def written(name: str, kind: pa.DataType) -> dict[str, str]:
    """A column as the document would have it: a list of structs field by field, one name for all components."""
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return {f"{name}.{field.name}": str(field.type) for field in kind.value_type}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return {name: f"list of {kind.value_type}"}
    return {re.sub("^(component|greedy)/.*", r"\1/NAME", name): str(kind)}


@pytest.fixture(scope="module")
def run(
    make_trainer: MakeTrainer,
    snapshot_of: Callable[..., Snapshot],
    tiny_config: Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run with everything that may be recorded: greedy answers too."""
    root = tmp_path_factory.mktemp("schema") / "run"
    snapshot = snapshot_of(make_trainer(), tiny_config.replace(estimator="remax"))
    Recording.in_memory([snapshot], info={}).save(root)
    return root


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_column_is_described_and_every_description_has_its_column(run: Path, folder: str) -> None:
    (part,) = (run / folder).iterdir()
    found: dict[str, str] = {}
    for field in pq.read_schema(part):
        found |= written(field.name, field.type)
    described_here = described()[folder]
    # A metric that this run had none of is described all the same.
    assert {*found} <= {*described_here} if folder == "metrics" else {*found} == {*described_here}
    assert {name: described_here[name] for name in found} == found


def test_the_metrics_are_those_that_are_logged() -> None:
    assert set(described()["metrics"]) == {"update", *METRICS}


def test_the_run_file_is_described(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    assert set(described()["run.json"]) == set(content)
    text = asset_path("recording").joinpath("README.md").read_text(encoding="utf-8")
    assert f"| `schema_version` | int | {SCHEMA_VERSION};" in text
    assert f"{METRICS_ROWS} of them in a part" in text


def test_every_file_is_described(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {*FOLDERS, "run.json"} == set(described())
