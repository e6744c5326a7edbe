"""A recorded run read by programs that know nothing of the explorer: pandas, Polars and DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.bundled import asset_path
from explorer.config import Config
from explorer.recording import compacting
from explorer.recording.folder import METRICS_ROWS
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RunWriter

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

#: A reader gives the rows of a query's columns, in order of update, epoch, response and position where there are any.
Reader = Callable[[Path, str, list[str]], list[tuple[Any, ...]]]


def by_pandas(root: Path, folder: str, columns: list[str]) -> list[tuple[Any, ...]]:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(root / folder, columns=columns)
    return [tuple(None if isinstance(v, float) and v != v else v for v in row) for row in frame.itertuples(index=False)]


def by_polars(root: Path, folder: str, columns: list[str]) -> list[tuple[Any, ...]]:
    polars = pytest.importorskip("polars")
    return list(polars.read_parquet(root / folder / "*.parquet", columns=columns).select(columns).iter_rows())


def by_duckdb(root: Path, folder: str, columns: list[str]) -> list[tuple[Any, ...]]:
    duckdb = pytest.importorskip("duckdb")
    names = ", ".join(f'"{name}"' for name in columns)
    rows: list[tuple[Any, ...]] = duckdb.sql(f"select {names} from '{root / folder}/*.parquet'").fetchall()
    return rows


readers = pytest.mark.parametrize("read", [by_pandas, by_polars, by_duckdb])


@pytest.fixture(scope="module")
def snapshots(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot], tiny_config: Config) -> list[Snapshot]:
    """Three updates with responses that end early, the last of them with replayed rows."""
    trainer = make_trainer()
    return [snapshot_of(trainer, c) for c in (tiny_config, tiny_config, tiny_config.replace(replay_rollouts=2))]


@pytest.fixture(scope="module", params=["parts", "blocks"])
def run(request: pytest.FixtureRequest, snapshots: list[Snapshot], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three as files of their own, or the first two put together."""
    root = tmp_path_factory.mktemp("readers") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacting, "BLOCK", 2 if request.param == "blocks" else 100)
        Recording.in_memory(snapshots, info={}).save(root)
    assert (root / "tokens" / "000001-000002.parquet").exists() == (request.param == "blocks")
    return root


@readers
def test_a_token_is_a_row_with_its_place_its_text_and_its_numbers(
    read: Reader, run: Path, snapshots: list[Snapshot]
) -> None:
    names = ["update", "response", "position", "response_ids", "text", "response_mask", "rewards", "old_logprobs"]
    expected = [
        (s.update, r, t, int(s.rollout.response_ids[r, t]), words[t] if t < len(words) else None, t < len(words),
         float(s.credit.rewards[r, t]), float(s.rollout.old_logprobs[r, t]))
        for s in snapshots
        for r, words in enumerate(s.tokens.responses)
        for t in range(s.rollout.response_ids.shape[1])
    ]  # fmt: skip
    found = read(run, "tokens", names)
    assert sorted(found, key=lambda row: row[:3]) == expected
    assert any(row[4] is None for row in found)


@readers
def test_every_number_of_a_token_is_there(read: Reader, run: Path, snapshots: list[Snapshot]) -> None:
    for record, folder in (("rollout", "tokens"), ("credit", "tokens"), ("final", "epochs")):
        shape = getattr(snapshots[2], record)
        wanted = {n: a for n, a in vars(shape).items() if isinstance(a, np.ndarray) and a.ndim == 2}
        wanted = {n: a for n, a in wanted.items() if not n.startswith("prompt_")}
        assert len(wanted) >= 6
        index = ["update", "response", "position", *(["final"] if folder == "epochs" else [])]
        rows = [row for row in read(run, folder, [*index, *wanted]) if row[0] == 3 and row[3 : len(index)] != (False,)]
        rows.sort(key=lambda row: row[:3])
        for i, (name, array) in enumerate(wanted.items()):
            assert [row[len(index) + i] for row in rows] == array.ravel().tolist(), name


@readers
def test_epochs_join_tokens(read: Reader, run: Path, snapshots: list[Snapshot]) -> None:
    key = ["update", "response", "position"]
    texts = {tuple(row[:3]): row[3] for row in read(run, "tokens", [*key, "text"])}
    epochs = read(run, "epochs", [*key, "epoch", "final", "ratios", "ages"])
    assert {row[3] for row in epochs} == {1, 2, 3}
    assert {row[3] for row in epochs if row[4]} == {3}
    first = [row for row in epochs if row[3] == 1 and tuple(row[:3]) in texts and texts[tuple(row[:3])] is not None]
    assert {round(row[5], 4) for row in first if row[0] == 1} == {1.0}  # before the first step
    replayed = {tuple(row[:3]) for row in epochs if row[6] > 0}
    assert replayed and replayed.isdisjoint(texts)


@readers
def test_metrics_are_a_row_an_update(read: Reader, run: Path, snapshots: list[Snapshot]) -> None:
    found = read(run, "metrics", ["update", "objective/score"])
    assert found == [(s.update, s.metrics["objective/score"]) for s in snapshots]


@readers
def test_responses_are_read_whole(read: Reader, run: Path, snapshots: list[Snapshot]) -> None:
    found = read(run, "responses", ["update", "response", "prompt", "text", "scores", "component/length"])
    expected = [
        (s.update, r, s.tokens.prompts[r], "".join(words), float(s.credit.scores[r]),
         float(s.credit.reward_components["length"][r]))
        for s in snapshots
        for r, words in enumerate(s.tokens.responses)
    ]  # fmt: skip
    assert sorted(found, key=lambda row: row[:2]) == expected


def documented(mark: str) -> str:
    """The line of the document that joins the two tables."""
    text = asset_path("recording").joinpath("README.md").read_text(encoding="utf-8")
    (line,) = [line.strip() for line in text.splitlines() if line.startswith("    ") and mark in line]
    return line


def joined_by_pandas(run: Path) -> list[dict[str, Any]]:
    pandas = pytest.importorskip("pandas")
    tokens, epochs = (pandas.read_parquet(run / name) for name in ("tokens", "epochs"))
    return list(eval(documented("tokens.merge("), {"tokens": tokens, "epochs": epochs}).to_dict("records"))


def joined_by_polars(run: Path) -> list[dict[str, Any]]:
    polars = pytest.importorskip("polars")
    tokens, epochs = (polars.read_parquet(run / name / "*.parquet") for name in ("tokens", "epochs"))
    return list(eval(documented("tokens.join("), {"tokens": tokens, "epochs": epochs}).to_dicts())


def joined_by_duckdb(run: Path) -> list[dict[str, Any]]:
    duckdb = pytest.importorskip("duckdb")
    for name in ("tokens", "epochs"):
        duckdb.sql(f"create or replace temp view {name} as select * from '{run / name}/*.parquet'")
    return list(eval(documented("select * from tokens join"), {"duckdb": duckdb}).to_arrow_table().to_pylist())


def joined_by_the_explorer(run: Path) -> list[dict[str, Any]]:
    found = eval(documented(".token_table()"), {"explorer": SimpleNamespace(Recording=Opened(run))})
    return list(found.to_pylist())


class Opened:
    """``Recording``, whose ``load("run")`` opens this run."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def load(self, name: str) -> Recording:
        assert name == "run"
        return Recording.load(self._run)


@pytest.mark.parametrize("join", [joined_by_pandas, joined_by_polars, joined_by_duckdb, joined_by_the_explorer])
def test_the_documented_line_makes_one_table_of_all_that_is_known_of_a_token(
    join: Callable[[Path], list[dict[str, Any]]], run: Path, snapshots: list[Snapshot]
) -> None:
    rows = {tuple(row[name] for name in ("update", "epoch", "response", "position")): row for row in join(run)}
    fresh = {place: row for place, row in rows.items() if row["ages"] == 0}
    expected = 0
    for s in snapshots:
        count, length = s.rollout.response_ids.shape
        words = [[*r, *[None] * (length - len(r))] for r in s.tokens.responses]
        of_token = {
            name: array
            for record in (s.rollout, s.credit)
            for name, array in vars(record).items()
            if isinstance(array, np.ndarray) and array.ndim == 2 and not name.startswith("prompt_")
        }
        assert len(of_token) >= 12
        for k, epoch in enumerate(s.epochs, 1):
            seen = {n: a for n, a in vars(epoch).items() if isinstance(a, np.ndarray) and a.ndim == 2}
            assert len(seen) >= 9
            for r in range(count):
                for t in range(length):
                    row = fresh[s.update, k, r, t]
                    text = row["text"]
                    assert (text if isinstance(text, str) else None) == words[r][t]
                    assert row["final"] == (k == len(s.epochs))
                    for name, array in of_token.items():
                        assert row[name] == array[r, t], name
                    for name, array in seen.items():
                        assert row[f"{name}_epoch" if name in of_token else name] == array[r, t], name
                    expected += 1
    assert len(fresh) == expected


def test_replayed_tokens_have_the_words_of_the_update_that_wrote_them(run: Path, snapshots: list[Snapshot]) -> None:
    recording = Recording.load(run)
    (count, length), rows = snapshots[2].rollout.response_ids.shape, recording.token_table([3]).to_pylist()
    replayed = [row for row in rows if row["ages"] == 1 and row["epoch"] == 1]
    assert [(row["response"], row["position"]) for row in replayed] == [
        (count + r, t) for r in range(count) for t in range(length)
    ]
    assert [row["response_ids"] for row in replayed] == snapshots[1].rollout.response_ids.ravel().tolist()
    assert [row["old_logprobs"] for row in replayed] == snapshots[1].rollout.old_logprobs.ravel().tolist()
    alone = Recording.in_memory(snapshots[2:], info={}).token_table().to_pylist()
    assert {row["text"] for row in alone if row["ages"] == 1} == {None}
    assert [row["ratios"] for row in alone] == [row["ratios"] for row in rows]
    with pytest.raises(KeyError, match="keeps no snapshot of update 9"):
        recording.token_table([9])
    assert recording.token_table([]).num_rows == 0


def metrics_by_pandas(line: str, names: list[str]) -> list[tuple[Any, ...]]:
    frame = eval(line, {"pandas": pytest.importorskip("pandas"), "Path": Path})
    return [tuple(None if v != v else v for v in row) for row in frame[names].itertuples(index=False)]


def metrics_by_polars(line: str, names: list[str]) -> list[tuple[Any, ...]]:
    found = eval(line, {"polars": pytest.importorskip("polars"), "Path": Path})
    return list(found.select(names).iter_rows())


def metrics_by_duckdb(line: str, names: list[str]) -> list[tuple[Any, ...]]:
    found = eval(line, {"duckdb": pytest.importorskip("duckdb")}).to_arrow_table().select(names)
    return [tuple(row.values()) for row in found.to_pylist()]


@pytest.mark.parametrize(
    ("read", "mark"),
    [
        (metrics_by_pandas, "pandas.concat(map("),
        (metrics_by_polars, "polars.concat(map("),
        (metrics_by_duckdb, "union_by_name=true"),
    ],
)
def test_metrics_whose_parts_differ_are_read_by_name_as_documented(
    read: Callable[[str, list[str]], list[tuple[Any, ...]]], mark: str, tmp_path: Path
) -> None:
    """A component and a judge that came with the second part of 128 updates, and a component that had gone by then."""
    run, last = tmp_path / "run", METRICS_ROWS + 3
    with RunWriter(run, {}) as writer:
        for update in range(1, last + 1):
            later = {"component/loud": update / 4, "objective/judge": -1.0}
            own = {"component/length": update / 2} if update <= METRICS_ROWS else later
            writer.append_metrics(update, Config(), {"objective/score": float(update), **own})
    assert len(list((run / "metrics").iterdir())) == 2
    names = ["update", "objective/score", "component/length", "component/loud", "objective/judge"]
    expected = [
        (n, float(n), *((n / 2, None, None) if n <= METRICS_ROWS else (None, n / 4, -1.0))) for n in range(1, last + 1)
    ]
    line = documented(mark)
    assert "run/responses" in line  # "write metrics in place of responses"
    found = read(line.replace("run/responses", f"{run}/metrics"), names)
    assert sorted(found, key=lambda row: row[0]) == expected
    own = Recording.load(run).metrics.select(names).to_pylist()
    assert [tuple(row.values()) for row in own] == expected


def responses_by_pandas(folder: Path) -> dict[int, list[Any]]:
    pandas = pytest.importorskip("pandas")
    frame = pandas.concat(map(pandas.read_parquet, sorted(folder.glob("*.parquet"))))
    return {update: rows["component/loud"].tolist() for update, rows in frame.groupby("update")}


def responses_by_polars(folder: Path) -> dict[int, list[Any]]:
    polars = pytest.importorskip("polars")
    frame = polars.concat(map(polars.read_parquet, sorted(folder.glob("*.parquet"))), how="diagonal_relaxed")
    return {update: rows["component/loud"].to_list() for (update,), rows in frame.group_by("update")}


def responses_by_duckdb(folder: Path) -> dict[int, list[Any]]:
    duckdb = pytest.importorskip("duckdb")
    found: dict[int, list[Any]] = {}
    query = f"""select update, "component/loud" from read_parquet('{folder}/*.parquet', union_by_name=true)"""
    for update, value in duckdb.sql(query).fetchall():
        found.setdefault(update, []).append(value)
    return found


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("read", [responses_by_pandas, responses_by_polars, responses_by_duckdb])
def test_a_component_that_came_and_went_is_empty_where_it_was_not(
    read: Callable[[Path], dict[int, list[Any]]],
    together: bool,
    make_trainer: MakeTrainer,
    snapshot_of: Callable[..., Snapshot],
    tiny_config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compacting, "BLOCK", 2 if together else 100)
    trainer, with_it = (
        make_trainer(),
        tiny_config.replace(component_loud={"kind": "expression", "expression": 'count("!") + 1'}),
    )
    taken = [snapshot_of(trainer, config) for config in (tiny_config, with_it, tiny_config)]
    Recording.in_memory(taken, info={}).save(tmp_path / "run")
    found = read(tmp_path / "run" / "responses")
    assert found[2] == taken[1].credit.reward_components["loud"].tolist()
    for update in (1, 3):
        assert len(found[update]) == len(found[2]) and all(value is None or value != value for value in found[update])
