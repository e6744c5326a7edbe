"""A recorded run read by programs that know nothing of the explorer: pandas, Polars and DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.config import Config
from explorer.recording import compacting
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording

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
