"""The description of a recorded run and what is really written: every column in both, of the same type."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from explorer import recording
from explorer.bundled import asset_path
from explorer.config import FIELDS, Config
from explorer.headless import Trainer
from explorer.ppo.metrics import METRICS, UNITS
from explorer.ppo.policy import Policy
from explorer.recording import compacting
from explorer.recording.branches import Parting
from explorer.recording.checkpoints import CHECKPOINT_VERSION, checkpoint_path
from explorer.recording.elsewhere import write_elsewhere
from explorer.recording.folder import METRICS_ROWS, SCHEMA_VERSION
from explorer.recording.parted import Parted, write_parted
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RunWriter
from explorer.seed_grid import SeedGrid
from explorer.session.session import Session
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


def test_a_metric_has_the_unit_that_the_saved_table_has() -> None:
    text = asset_path("recording").joinpath("README.md").read_text(encoding="utf-8").partition("\n## metrics\n")[2]
    units = dict(re.findall(r"^\| `([^`]+)` \| \w+ \| ([^|]*?) ?\|", text, flags=re.MULTILINE))
    assert set(UNITS) <= set(METRICS)
    assert {name: units[name] for name in UNITS} == UNITS
    # What has none here is a pure number there, or in units of the score.
    assert all(re.fullmatch("|score", units[name]) for name in METRICS if name not in UNITS)


def test_the_run_file_is_described(run: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    assert set(described()["run.json"]) == set(content)
    text = asset_path("recording").joinpath("README.md").read_text(encoding="utf-8")
    assert f"| `schema_version` | int | {SCHEMA_VERSION};" in text
    assert f"{METRICS_ROWS} of them in a part" in text


def test_every_file_is_described(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {*FOLDERS, "run.json"}
    others = {"info", "configs", "index.json", "labels.jsonl", "name.txt", "parting.json", "checkpoints", "facts"}
    assert set(described()) == {*FOLDERS, "run.json", *others, "grid.json", "elsewhere.json"}


def test_the_settings_in_it_are_described_field_by_field(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", {})
    for update, clip_range in enumerate((0.2, 0.3), start=1):
        run.append_metrics(update, Config(clip_range=clip_range), {})
    entries = json.loads((tmp_path / "run" / "run.json").read_text())["configs"]
    found = {name: value for entry in entries for name, value in entry.items()}
    assert described()["configs"] == {name: JSON_TYPES[type(value)] for name, value in found.items()}


def listed() -> set[str]:
    """Every file and folder in the document's listings, each number as N."""
    text = asset_path("recording").joinpath("README.md").read_text(encoding="utf-8").partition("## run.json")[0]
    return {re.sub(r"\d+", "N", name) for name in re.findall(r"^    (\S+)  +\S", text, flags=re.MULTILINE)}


def test_every_name_that_the_code_gives_a_file_is_listed_and_described() -> None:
    """A file's name is a constant of its module: one that is added has to be described."""
    names = set()
    for module in pkgutil.iter_modules(recording.__path__, f"{recording.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.endswith("_FILE") and isinstance(value, str):
                names.add(value)
    assert len(names) >= 7
    assert names <= listed()
    assert names <= set(described())


def test_no_other_file_is_ever_written(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that a page and its runs leave: blocks, states, a branch, a name, a note, a grid, a folder elsewhere."""
    made: set[str] = set()
    replace, opened = os.replace, os.open

    def replacing(source: Path, target: Path) -> None:
        made.add(str(target))
        replace(source, target)

    def opening(path: Path, flags: int, *more: int) -> int:
        if flags & os.O_CREAT and not str(path).endswith(".part"):
            made.add(str(path))
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(compacting, "BLOCK", 2)
    away = Trainer(make_tiny_policy(), tiny_config, prompts=TINY_PROMPTS)
    away.train(1, out=tmp_path / "away")
    shelf = Shelf(tmp_path / "shelf", checkpoint_every=1)
    session = Session(make_tiny_policy(), tiny_config, prompts=TINY_PROMPTS, threaded=False, shelf=shelf)
    session.train(3)
    first = session.runs.run
    session.runs.rewind(1)
    session.set(clip_range=0.05)
    session.train(3)
    branch = session.runs.run
    session.runs.open(first)
    session.runs.open(branch)  # here it is looked for where they part
    session.close()
    assert session.error == {}
    shelf.rename(branch, "mine")
    shelf.add_label(branch, 2, "odd")
    shelf.include(tmp_path / "away")
    grid = SeedGrid(tiny_config, range(1), 1, shelf.root / "grid", policy=make_tiny_policy(), prompts=TINY_PROMPTS)
    list(grid.steps())
    found = {Path(path).relative_to(tmp_path) for path in made if Path(path).is_relative_to(tmp_path)}
    lowest = {re.sub(r"\d+", "N", str(place(path))) for path in found}
    others = {f"{folder}/N-N.parquet" for folder in ("epochs", "responses", "updates")}  # "and so in the other three"
    assert lowest == (listed() | others) - {"seed-N/"}
    there = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert there <= found


def place(path: Path) -> Path:
    """A file's place in the folder of its run, grid or shelf."""
    return Path(*path.parts[-2:]) if path.parts[-2] in {*FOLDERS, "checkpoints"} else Path(path.name)


def test_where_a_branch_parts_is_described_field_by_field(tmp_path: Path) -> None:
    words = Parting(
        update=2, stage="sample", quantity="response_ids", response=0, token=1, parent=5, child=7, words=("a", "b")
    )
    write_parted(tmp_path, Parted(parent="9f0c", compared=2, parting=words))
    content = json.loads((tmp_path / "parting.json").read_text())
    fields = content | {f"parting.{name}": value for name, value in content["parting"].items()}
    assert set(described()["parting.json"]) == set(fields)
    for field, kind in described()["parting.json"].items():
        assert kind.split()[0].rstrip(",") in (JSON_TYPES[type(fields[field])], "number"), field
    write_elsewhere(tmp_path, [tmp_path])
    assert json.loads((tmp_path / "elsewhere.json").read_text()) == [str(tmp_path)]
    assert described()["elsewhere.json"] == {"[]": "string"}


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


# --- the numbers of the forms ---

PINNED = Path(__file__).with_name("schema_pinned.json")


def settings_written(values: Iterable[str]) -> list[str]:
    """The names of settings, one for all components and one for all weights."""
    return sorted({re.sub("^(component|weight)_.*", r"\1_NAME", name) for name in values})


def in_recordings(run: Path, whole: Path) -> dict[str, Any]:
    """Every column, setting and other field of a recording, as it is written by now."""
    columns: dict[str, dict[str, str]] = {}
    for folder in FOLDERS:
        (part,) = (run / folder).iterdir()
        columns[folder] = {}
        for field in pq.read_schema(part):
            columns[folder] |= written(field.name, field.type)
    columns["metrics"] = {"update": "int32"} | dict.fromkeys(METRICS, "double")
    content = json.loads((whole / "run.json").read_text())
    return columns | {
        "run.json": sorted(content),
        "info": sorted(content["info"]),
        "settings": settings_written([*content["configs"][0]["config"], "component_NAME"]),
    }


def in_states(whole: Path) -> dict[str, Any]:
    """Every fact, tensor and setting of a state, as it is written by now."""
    from safetensors import safe_open

    with safe_open(checkpoint_path(whole, 3), framework="numpy") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {placed(name): file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    settings = settings_written([*facts["config"], "component_NAME"])
    return {"facts": sorted(facts), "tensors": tensors, "settings": settings}


@pytest.mark.parametrize(
    ("kind", "number", "where"),
    [
        ("recordings", SCHEMA_VERSION, "SCHEMA_VERSION in explorer/recording/folder.py"),
        ("states", CHECKPOINT_VERSION, "CHECKPOINT_VERSION in explorer/recording/checkpoints.py"),
    ],
)
def test_what_is_written_is_pinned_to_its_number(run: Path, whole: Path, kind: str, number: int, where: str) -> None:
    """Whoever adds, drops or changes a column, a setting, a fact or a tensor has to raise the number of the form."""
    found = in_recordings(run, whole) if kind == "recordings" else in_states(whole)
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))[kind]
    assert pinned["number"] == number, f"{where} is {number}: pin what {kind} of it have in {PINNED.name}."
    differing = [
        f"{place}: {sorted(pairs(found[place]) ^ pairs(pinned[place]))}"
        for place in found
        if found[place] != pinned[place]
    ]
    assert not differing, (
        f"The {kind} that are written are not those of number {number}: {'; '.join(differing)}. Raise {where} to "
        f"{number + 1}, say in explorer/recording/older.py what older ones lack, describe it in "
        f"assets/recording/README.md, make the bundled recording again, and pin it anew in {PINNED.name}."
    )
    assert found == {place: what for place, what in pinned.items() if place != "number"}


def pairs(fields: Mapping[str, str] | list[str]) -> set[str]:
    """Each field, with its type where it has one."""
    return {f"{name} ({kind})" for name, kind in fields.items()} if isinstance(fields, Mapping) else set(fields)


def test_a_setting_that_is_added_is_missed_by_its_number(run: Path, whole: Path) -> None:
    """The lists are of what is really there: every field of the Config, and of the run's own tables."""
    plain = {name for name in FIELDS if name not in ("weights", "components")}
    settings = in_recordings(run, whole)["settings"]
    assert set(settings) == plain | {"component_NAME", "weight_NAME"} == set(in_states(whole)["settings"])


JSON_TYPES = {int: "int", str: "string", list: "list", dict: "object", bool: "bool", float: "float"}
