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
from explorer.ppo.policy import Policy
from explorer.recording import compacting
from explorer.recording.checkpoints import checkpoint_path
from explorer.recording.folder import METRICS_ROWS, SCHEMA_VERSION
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.seed_grid import SeedGrid
from tests.conftest import TINY_PROMPTS

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
    """A run with everything that may be recorded: greedy answers too, and a judge."""
    root = tmp_path_factory.mktemp("schema") / "run"
    snapshot = snapshot_of(make_trainer(), tiny_config.replace(estimator="remax", judge="gendered"))
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
    assert {path.name for path in run.iterdir()} == {*FOLDERS, "run.json"}
    others = {"info", "index.json", "labels.jsonl", "name.txt", "grid.json", "checkpoints", "facts"}
    assert set(described()) == {*FOLDERS, "run.json", *others}


@pytest.fixture(scope="module")
def whole(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A seed grid of one run with states, replay, blocks, a label and a name."""
    root = tmp_path_factory.mktemp("whole") / "shelf" / "grid"
    config = tiny_config.replace(replay_rollouts=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacting, "BLOCK", 2)
        list(SeedGrid(config, range(1), 3, root, policy=make_tiny_policy(), prompts=TINY_PROMPTS).steps())
    run = root / "seed-000"
    Recording.load(run).add_label(2, "odd", response=0, token=0)
    shelf = Shelf(root.parent)
    shelf.rename(shelf.entries()[0].id, "mine")
    return run


def test_every_json_file_is_described_field_by_field(whole: Path) -> None:
    files = {
        "index.json": json.loads((whole / "index.json").read_text()),
        "labels.jsonl": json.loads((whole / "labels.jsonl").read_text()),
        "grid.json": json.loads((whole.parent / "grid.json").read_text()),
    }
    for name, content in files.items():
        assert set(described()[name]) == set(content), name
        for field, kind in described()[name].items():
            assert kind.split()[0] in (JSON_TYPES[type(content[field])], "list"), field
    assert (whole / "name.txt").read_text() == "mine\n"
    info = json.loads((whole / "run.json").read_text())["info"]
    assert set(described()["info"]) == {*info, "preset", "parent"}
    assert {path.name for path in whole.iterdir()} == {
        *FOLDERS, "checkpoints", "run.json", "index.json", "labels.jsonl", "name.txt"
    }  # fmt: skip


def test_every_tensor_of_a_state_is_described_with_its_type(whole: Path) -> None:
    from safetensors import safe_open

    path = checkpoint_path(whole, 3)
    with safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["facts"])
        found = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert {placed(name) for name in found} == set(described()["checkpoints"])
    for name, kind in found.items():
        assert described()["checkpoints"][placed(name)] == kind
    assert set(described()["facts"]) == set(facts)


def placed(name: str) -> str:
    """A tensor's name without that of its parameter, or the number of its batch."""
    for own, whole in ((r"^weights/.*", "weights/NAME"), (r"^adam/.*/", "adam/NAME/"), (r"^replay/\d+/", "replay/I/")):
        name = re.sub(own, whole, name)
    return name


JSON_TYPES = {int: "int", str: "string", list: "list", dict: "object", bool: "bool", float: "float"}
