"""Settings in ``run.json``: only what changed is written, and every Config comes back whole, in the same order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import Config
from explorer.recording import folder
from explorer.recording.folder import ElsewhereError, RecordingError, write_run
from explorer.recording.settings import entry_of, settings_of
from explorer.recording.storage import Recording, RunWriter

MINE = {"kind": "expression", "expression": "words"}


def written(*configs: Config) -> list[dict[str, Any]]:
    """The entries of settings that change with every update."""
    flat = [config.flat() for config in configs]
    return [entry_of(n + 1, now, flat[n - 1] if n else None) for n, now in enumerate(flat)]


def read(entries: list[dict[str, Any]]) -> list[Config]:
    """The settings that a file of these entries says."""
    found = settings_of(folder.SCHEMA_VERSION, json.loads(json.dumps(entries)))
    return [Config.from_flat(values) for _, values in found]


def test_only_what_changed_is_written() -> None:
    begin = Config(kl_target=6.0, kl_horizon=64)
    configs = [begin, begin.replace(clip_range=0.3), begin.replace(kl_target=None, weight_length=-1), begin]
    entries = written(*configs)
    assert entries[0] == {"from_update": 1, "config": begin.flat()}
    assert entries[1:] == [
        {"from_update": 2, "changed": {"clip_range": 0.3}},
        {"from_update": 3, "changed": {"clip_range": 0.2, "kl_target": None, "weight_length": -1.0}},
        {"from_update": 4, "changed": {"kl_target": 6.0, "weight_length": 0.0}},
    ]
    assert read(entries) == configs


def test_a_component_comes_and_goes_with_its_weight() -> None:
    plain = Config()
    added = plain.replace(component_mine=MINE, weight_mine=0.5)
    entries = written(plain, added, plain)
    assert set(entries[1]["changed"]) == {"component_mine", "weight_mine"}
    assert entries[2]["changed"] == {"component_mine": None, "weight_mine": None}
    assert read(entries) == [plain, added, plain]


def test_weights_in_another_order_are_written_whole() -> None:
    """A score is summed in their order: the last digit may depend on it."""
    one, other = {"sentiment": 1.0, "length": 0.1}, {"length": 0.2, "sentiment": 1.0}
    entries = written(Config(weights=one), Config(weights=other))
    assert "config" in entries[1]
    assert [list(config.weights) for config in read(entries)] == [list(one), list(other)]


weights = st.dictionaries(st.sampled_from(["sentiment", "length", "mine", "yours"]), st.floats(-2, 2))


@given(
    st.lists(
        st.builds(
            lambda weights, limit, loud, epochs: Config(
                weights=weights, target_kl=limit, components={"loud": MINE} if loud else {}, epochs=epochs
            ),
            weights,
            st.one_of(st.none(), st.floats(0, 10)),
            st.booleans(),
            st.integers(1, 16),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_settings_come_back_as_they_were(configs: list[Config]) -> None:
    found = read(written(*configs))
    assert found == configs
    assert [list(config.weights) for config in found] == [list(config.weights) for config in configs]


WHOLE = Config().flat()


@pytest.mark.parametrize(
    "entries",
    [
        [{"from_update": 1, "changed": {"clip_range": 0.1}}],
        [{"from_update": 1, "config": {k: v for k, v in WHOLE.items() if k != "judge"}}],
        [{"from_update": 1, "config": WHOLE}, {"from_update": 1, "changed": {"clip_range": 0.1}}],
        [{"from_update": 2, "config": WHOLE}, {"from_update": 1, "changed": {"clip_range": 0.1}}],
        [{"from_update": 1, "config": WHOLE}, {"from_update": 2}],
        [{"from_update": 1, "config": WHOLE}, {"from_update": 2, "changed": [["clip_range", 0.1]]}],
        [{"from_update": 1, "config": WHOLE}, {"from_update": 2, "changed": {"clip_range": 7}}],
        [{"from_update": 1, "config": WHOLE}, {"from_update": 2, "changed": {"no_such_knob": 7}}],
        [{"from_update": True, "config": WHOLE}],
        [7],
    ],
    ids=range(10),
)
def test_what_is_not_as_it_was_written_is_refused(tmp_path: Path, entries: list[Any]) -> None:
    with RunWriter(tmp_path / "run", {}) as run:
        run.append_metrics(1, Config(), {})
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"configs": entries}))
    with pytest.raises(RecordingError, match=r"run\.json' is damaged"):
        Recording.load(tmp_path / "run")


def test_ten_thousand_changes_fit_with_room_for_as_many_again_and_again(tmp_path: Path) -> None:
    configs = [Config(), *(Config(clip_range=0.1 + n / 1e5) for n in range(1, 10_001))]
    content = {"schema_version": folder.SCHEMA_VERSION, "info": {}, "configs": written(*configs)}
    write_run(tmp_path, content)
    path = tmp_path / "run.json"
    assert path.stat().st_size < folder.MAX_JSON_BYTES / 9
    assert json.loads(path.read_text()) == content
    (tmp_path / "metrics").mkdir()
    assert list(Recording.load(tmp_path).configs.values()) == configs


# --- more changes than the file holds ---


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose ``run.json`` takes three changes more and no fourth: the fifth update is refused."""
    path = tmp_path / "run"
    with RunWriter(path, {"id": "0123"}) as run:
        run.append_metrics(1, Config(), {"objective/score": 1.0})
        line = len(json.dumps(entry_of(2, Config(clip_range=0.3).flat(), WHOLE))) + len(",\n  ")
        monkeypatch.setattr(folder, "MAX_JSON_BYTES", (path / "run.json").stat().st_size + 3 * line + line // 2)
        for update, clip_range in ((2, 0.3), (3, 0.35), (4, 0.4)):
            run.append_metrics(update, Config(clip_range=clip_range), {"objective/score": 1.0})
        before = {path: path.read_bytes() for path in path.rglob("*") if path.is_file()}
        with pytest.raises(ElsewhereError, match=r"have changed 4 times, .* go on in another folder\.") as refused:
            run.append_metrics(5, Config(clip_range=0.6), {"objective/score": 1.0})
        assert str(path) in str(refused.value)
        assert {path: path.read_bytes() for path in path.rglob("*") if path.is_file()} == before
        run.append_metrics(5, Config(clip_range=0.4), {"objective/score": 1.0})  # with the settings before it goes on
    return path


def test_a_run_whose_settings_have_changed_too_often_is_whole_up_to_then(full: Path) -> None:
    recording = Recording.load(full)
    assert recording.metrics.column("update").to_pylist() == [1, 2, 3, 4, 5]
    assert [recording.config_at(n).clip_range for n in range(1, 6)] == [0.2, 0.3, 0.35, 0.4, 0.4]


def test_it_is_gone_on_with_as_long_as_the_settings_stay(full: Path) -> None:
    with RunWriter.go_on(full) as run:
        run.append_metrics(6, Config(clip_range=0.4), {"objective/score": 1.0})
        with pytest.raises(ElsewhereError):
            run.append_metrics(7, Config(clip_range=0.2), {"objective/score": 1.0})
    assert Recording.load(full).config_at(6).clip_range == 0.4
    with RunWriter.go_on(full, 2) as run:  # what comes later is dropped, with its changes
        run.append_metrics(3, Config(clip_range=0.5), {"objective/score": 1.0})
    assert [Recording.load(full).config_at(n).clip_range for n in (1, 2, 3)] == [0.2, 0.3, 0.5]
