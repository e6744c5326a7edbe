"""Opening and rewinding: going on equals never having stopped, a branch tells where it parts, failing costs nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.recording import writer as writer_module
from explorer.recording.branches import parting
from explorer.recording.checkpoints import checkpoint_path, checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.shelf import Entry, Shelf
from explorer.recording.storage import Recording
from explorer.session import runs as runs_module
from explorer.session.session import Session
from tests.learned import learned
from tests.session.shelved import recorded, shown, unbroken_run
from tests.test_resume import CONFIGS, SMALL

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession

MORE = {
    "ReMax": Config(**SMALL, estimator="remax"),
    "groups": Config(**{**SMALL, "group_size": 4}, estimator="grpo", objective="gspo"),
    "early stop": Config(**{**SMALL, "epochs": 6}, target_kl=0.002, minibatches=2),
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(runs_module, "LEAVING_SECONDS", 0.1)
    return Shelf(tmp_path / "shelf", checkpoint_every=2)


@pytest.fixture
def unbroken(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> Callable[..., list[dict[str, Any]]]:
    """``unbroken(updates, config=...)``: the same run without a page."""
    return lambda updates, config=tiny_config: unbroken_run(make_tiny_policy(), config, updates)


@pytest.fixture
def left(make_session: MakeSession, shelf: Shelf) -> Callable[..., str]:
    """``left(updates)``: a run that a page has made before it was closed; gives its id."""

    def make(updates: int = 4, **arguments: Any) -> str:
        session = make_session(shelf=shelf, **arguments)
        session.train(updates)
        session.close()
        return session.runs.run

    return make


def killed(shelf: Shelf, run: str, newest: int) -> Entry:
    """A run as a kill leaves it: the states after ``newest`` had not been kept yet."""
    entry = shelf.find(run)
    for update in checkpoint_updates(entry.folder):
        if update > newest:
            checkpoint_path(entry.folder, update).unlink()
    return entry


def look(session: Session) -> tuple[Any, ...]:
    """All that is on screen of a run."""
    runs = session.runs
    place = (runs.run, runs.states, runs.branch, runs.parting, runs.opening, runs.on_screen)
    return (*place, shown(session), session.live, session.config, session.preset, session.behind, session.prompts)


# --- going on ---


@pytest.mark.parametrize("name", [*CONFIGS, *MORE])
@pytest.mark.parametrize("updates", [3, 4])
def test_opening_and_going_on_equals_never_having_stopped(
    make_session: MakeSession,
    shelf: Shelf,
    unbroken: Callable[..., Any],
    left: Callable[..., str],
    name: str,
    updates: int,
) -> None:
    config = {**CONFIGS, **MORE}[name]
    run = left(updates, config=config)
    session = make_session(shelf=shelf)  # with other settings
    session.train(1)
    other = session.runs.run
    session.runs.open(run)
    assert (session.error, session.note, session.runs.opening) == ({}, "", False)
    assert (session.runs.run, session.updates, session.live) == (run, updates, True)
    assert not session.config.differences(config)
    session.train(6 - updates)
    assert session.error == {}
    assert shown(session) == unbroken(6, config)
    assert recorded(shelf.root, run) == unbroken(6, config)
    assert (session.runs.run, session.runs.branch) == (run, None)
    assert recorded(shelf.root, other) == unbroken(1)
    assert len(shelf.entries()) == 2


def test_the_run_before_is_kept_as_it_is_in_the_middle_of_an_update_too(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], left: Callable[..., str]
) -> None:
    run, session = left(), make_session(shelf=shelf)
    session.train(3)
    for _ in range(5):
        session.step_stage()
    first = session.runs.run
    session.runs.open(run)
    session.runs.open(first)
    assert (session.updates, session.progress) == (3, None)
    session.train(2)
    assert recorded(shelf.root, first) == shown(session) == unbroken(5)


def test_the_preset_and_the_prompts_of_the_run_come_with_it(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.use_preset("balanced", reset=True)
    session.set_prompts(["The cat", "Lily went"])
    session.train(1)
    run = session.runs.run
    session.close()
    session = make_session(shelf=shelf)
    session.runs.open(run)
    assert (session.preset, session.prompts) == ("balanced", ("The cat", "Lily went"))
    session.runs.rewind(0)
    session.train(1)
    assert {entry.preset for entry in shelf.entries()} == {"balanced"}


def test_what_was_kept_in_a_pause_has_the_settings_of_then(
    make_session: MakeSession, shelf: Shelf, left: Callable[..., str]
) -> None:
    session = make_session(shelf=shelf)
    session.train(1)
    session.set(clip_range=0.3)
    session.train(1)
    run = session.runs.run
    session.close()
    session = make_session(shelf=shelf)
    session.runs.open(run)
    assert session.config.clip_range == 0.3
    session.set(clip_range=0.1)
    session.train(1)
    assert [Recording.load(shelf.find(run).folder).config_at(n).clip_range for n in (1, 2, 3)] == [0.2, 0.3, 0.1]


def test_a_run_without_states_is_shown_only_and_train_begins_another(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], left: Callable[..., str], tiny_config: Config
) -> None:
    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return [1.0] * len(responses)

    run = left(3, rewards={"mine": mine}, config=tiny_config.replace(weight_mine=0.5))
    shutil.rmtree(shelf.find(run).folder / "checkpoints")
    before = recorded(shelf.root, run)
    session = make_session(shelf=shelf)
    session.train(1)
    session.runs.open(run)
    assert (session.note, session.live, session.updates, session.runs.opening) == ("shown_only", False, 3, False)
    assert (session.runs.run, session.runs.states) == (run, ())
    with pytest.raises(ValueError, match="is not kept"):
        session.runs.rewind(1)
    session.train(2)  # under its settings, as far as this page has them
    assert session.error == {}
    assert session.runs.run != run
    assert shown(session) == unbroken(2)
    assert recorded(shelf.root, run) == before


# --- rewinding ---


@pytest.mark.parametrize("update", [0, 2, 4])
@pytest.mark.parametrize("stages", [0, 3])
def test_rewound_without_a_change_a_run_is_its_parent_bit_for_bit(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], update: int, stages: int
) -> None:
    session = make_session(shelf=shelf)
    session.train(4)
    for _ in range(stages):
        session.step_stage()  # in the middle of an update
    parent = session.runs.run
    assert session.runs.states == (0, 2, 4)
    session.runs.rewind(update)
    assert (session.error, session.runs.run, session.updates) == ({}, "", update)
    assert session.history.updates == list(range(1, update + 1))
    assert (session.runs.branch.run, session.runs.branch.update) == (parent, update)
    assert session.weights_kept[-1] == update
    assert len(shelf.entries()) == 1
    session.train(6 - update)
    assert session.runs.parting is None
    assert shown(session) == recorded(shelf.root, session.runs.run) == unbroken(6)
    assert recorded(shelf.root, parent) == unbroken(4)
    entry = shelf.find(session.runs.run)
    assert entry.parent == {"folder": shelf.find(parent).folder.name, "id": parent, "update": update, "changed": {}}
    assert parting(*(Recording.load(shelf.find(run).folder) for run in (parent, entry.id))) is None


@pytest.mark.parametrize(
    "change", [{"clip_range": 0.01}, {"epochs": 1}, {"weight_length": 1.0}, {"kl_coef": 0.5}, {"temperature": 0.7}]
)
def test_with_one_change_the_first_number_that_differs_is_told(
    make_session: MakeSession, shelf: Shelf, change: dict[str, Any]
) -> None:
    session = make_session(shelf=shelf)
    session.train(5)
    parent = session.runs.run
    session.runs.rewind(2)
    session.set(**change)
    session.train(2)
    branch = session.runs.run
    found = parting(*(Recording.load(shelf.find(run).folder) for run in (parent, branch)))
    assert found is not None
    assert session.runs.parting == found
    (name,) = change
    assert session.runs.branch.changed.keys() == {name}
    assert session.runs.branch.changed[name][1] == change[name]
    session.close()
    again = make_session(shelf=shelf)
    again.runs.open(branch)  # from disk it is told anew
    assert again.runs.parting == found
    assert (again.runs.branch.run, again.runs.branch.changed) == (parent, session.runs.branch.changed)
    assert shown(again)[:2] == recorded(shelf.root, parent)[:2]


def test_rewound_the_run_has_the_settings_of_then(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    session.set(clip_range=0.3)
    session.train(2)
    session.set(clip_range=0.5)
    session.runs.rewind(0)
    assert session.config.clip_range == 0.2
    session.runs.open(shelf.entries()[0].id)
    session.runs.rewind(2)
    assert session.config.clip_range == 0.3


def test_a_branch_of_a_branch_goes_on_from_its_grandparent_too(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    session = make_session(shelf=shelf)
    session.train(4)
    first = session.runs.run
    session.runs.rewind(2)
    session.set(clip_range=0.01)
    session.train(4)
    second = session.runs.run
    session.runs.rewind(4)
    session.set(epochs=1)
    session.train(2)
    third = session.runs.run
    assert session.runs.states == (0, 2, 4, 6)
    assert session.runs.on_screen == {first, second, third}
    assert session.runs.branch.run == second
    assert session.runs.parting == parting(*(Recording.load(shelf.find(run).folder) for run in (second, third)))
    session.runs.rewind(2)  # where the first of them branched off: so it is a branch of that one
    session.train(2)
    assert shown(session)[:2] == unbroken(2)
    fourth = shelf.find(session.runs.run)
    assert fourth.parent is not None
    assert (fourth.parent["id"], fourth.parent["update"]) == (first, 2)
    assert session.runs.branch.run == first
    session.runs.rewind(2)
    session.runs.rewind(0)  # and once more, before anything has been trained
    session.train(1)
    assert shown(session) == recorded(shelf.root, session.runs.run)
    assert shelf.find(session.runs.run).parent["update"] == 0  # type: ignore[index]


def test_other_prompts_are_a_change_too(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    before = list(session.prompts)
    session.runs.rewind(2)
    session.set_prompts(["The cat", "Lily went"])
    session.train(1)
    assert session.runs.branch.changed == {"prompts": [before, ["The cat", "Lily went"]]}
    assert Recording.load(shelf.find(session.runs.run).folder).info["prompts"] == ["The cat", "Lily went"]


def test_a_state_that_has_been_thinned_out_meanwhile_is_told(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    session = make_session(shelf=shelf)
    session.train(4)
    run = session.runs.run
    checkpoint_path(shelf.find(run).folder, 2).unlink()
    session.runs.rewind(2)
    assert "has been thinned out: those kept are 0, 4" in session.error["message"]
    assert (session.runs.run, session.runs.opening) == (run, False)
    with pytest.raises(ValueError, match="The state after update 3 is not kept"):
        session.runs.rewind(3)
    session.train(1)
    assert recorded(shelf.root, run) == unbroken(5)


def test_a_parent_that_is_deleted_meanwhile_stops_nothing(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    session = make_session(shelf=shelf)
    session.train(4)
    parent = session.runs.run
    session.runs.rewind(2)
    shutil.rmtree(shelf.find(parent).folder)  # by another page
    session.train(3)
    assert (session.error, session.updates, session.runs.parting) == ({}, 5, None)
    assert recorded(shelf.root, session.runs.run) == unbroken(5)[2:]


# --- a folder that somebody else holds, or that a kill has left ---


def test_a_run_that_another_page_holds_becomes_a_branch(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any]
) -> None:
    one, other = make_session(shelf=shelf), make_session(shelf=shelf)
    one.train(3)
    one.pause()
    run = one.runs.run
    other.runs.open(run)
    assert (other.note, other.error, other.runs.run) == ("taken", {}, run)
    other.train(2)
    one.train(3)
    assert shown(other) == unbroken(5)
    assert recorded(shelf.root, run) == shown(one) == unbroken(6)
    assert (other.runs.branch.run, other.runs.branch.update) == (run, 3)
    assert recorded(shelf.root, other.runs.run) == unbroken(5)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_was_made_with_other_threads_says_so_and_goes_on(
    make_session: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(tmp_path / "shelf", checkpoint_every=2)
    session = make_session(shelf=shelf)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 2)
        session.train(2)
        session.close()
    again = make_session(shelf=shelf)
    again.runs.open(session.runs.run)
    assert (again.note, again.error) == ("unlike", {})
    again.train(2)
    assert (again.note, again.updates, len(shelf.entries())) == ("", 4, 1)
    again.runs.rewind(2)  # a state of then
    assert again.note == "unlike"


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("keep_every", [1, 3])
def test_after_a_kill_going_on_loses_nothing_however_little_of_it_there_is(
    make_session: MakeSession, tmp_path: Path, unbroken: Callable[..., Any], steps: int, keep_every: int
) -> None:
    shelf = Shelf(tmp_path / "shelf", checkpoint_every=2, keep_every=keep_every)
    session = make_session(shelf=shelf)
    session.train(7)
    session.close()
    run = session.runs.run
    entry = killed(shelf, run, 2)
    before = files_of(entry.folder)
    session = make_session(shelf=shelf)
    session.runs.open(run)
    assert (session.note, session.updates, session.runs.states) == ("cut_off", 7, (0, 2))
    made: list[int] = []
    session.observe(lambda change: made.append(change["new"]), "updates")
    for _ in range(steps):
        session.step()
    session.close()
    assert session.error == {}
    assert made == [7 + n for n in range(1, steps + 1)]  # a step makes a new update, and never fewer are on screen
    after = files_of(entry.folder)
    kept = {name for name in before if not name.startswith("metrics/")}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    whole = Recording.load(entry.folder)
    assert whole.metrics.column("update").to_pylist() == [*range(1, 8 + steps)]
    assert learned(list(whole)) == [unbroken(7 + steps)[n - 1] for n in whole.updates]
    assert {1, 3, 7} <= set(whole.updates) if keep_every == 3 else whole.updates == [*range(1, 8 + steps)]
    assert (session.runs.run, session.runs.branch, session.runs.parting) == (run, None, None)
    assert len(shelf.entries()) == 1


def test_a_pause_while_the_last_updates_are_made_once_more_loses_nothing_either(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], left: Callable[..., str]
) -> None:
    run = left(5)
    before = files_of(killed(shelf, run, 2).folder)
    session = make_session(shelf=shelf)
    session.runs.open(run)
    for _ in range(9):  # into the second update of three
        session.step_stage()
    session.pause()
    assert (session.updates, session.error) == (5, {})
    assert files_of(shelf.find(run).folder) == before
    session.train(1)
    assert shown(session) == recorded(shelf.root, run) == unbroken(6)


@pytest.mark.parametrize("change", ["settings", "prompts"])
def test_after_a_kill_a_change_acts_from_the_first_new_update_on(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], left: Callable[..., str], change: str
) -> None:
    """What is made once more has the settings that it had: a slider that was moved before the kill as well."""
    session = make_session(shelf=shelf)
    session.train(3)
    session.set(clip_range=0.3)
    session.train(2)
    session.close()
    run = session.runs.run
    alive = make_session(shelf=shelf)
    alive.runs.open(run)
    killed(shelf, run, 2)
    again = make_session()  # as it would be without a kill
    again.train(3)
    again.set(clip_range=0.3)
    again.train(2)
    alive.close()
    session = make_session(shelf=shelf)
    session.runs.open(run)
    assert session.config.clip_range == 0.3
    for each in (session, again):
        if change == "settings":
            each.set(clip_range=0.01)
        else:
            each.set_prompts(["The cat", "Lily went"])
            assert each.prompts == ("The cat", "Lily went")
            assert each.samples["prompts"] == ["The cat", "Lily went"]
        each.train(2)
    assert session.error == {}
    assert shown(session) == recorded(shelf.root, run) == shown(again)
    assert len(shelf.entries()) == 1
    session.close()
    reopened = make_session(shelf=shelf)
    reopened.runs.open(run)
    again.train(1)
    reopened.train(1)
    assert shown(reopened) == shown(again)


@pytest.mark.parametrize("differs", [3, 5])
@pytest.mark.parametrize("tokens", [True, False])
def test_an_update_that_comes_out_otherwise_begins_a_branch_and_drops_nothing(
    make_session: MakeSession,
    shelf: Shelf,
    unbroken: Callable[..., Any],
    left: Callable[..., str],
    differs: int,
    tokens: bool,
) -> None:
    """As after another version of PyTorch: what was recorded differs in one bit from what is made now."""
    run = left(5)
    entry = killed(shelf, run, 2)
    if tokens:
        path = entry.folder / "tokens" / f"{differs:06d}.parquet"
        table = pq.read_table(path)
        values = table.column("old_logprobs").to_numpy().copy()
        values[0] = np.nextafter(values[0], np.float32(0))
        place = table.column_names.index("old_logprobs")
        pq.write_table(table.set_column(place, "old_logprobs", pa.array(values)), path)
    else:
        for name in ("tokens", "epochs", "responses", "updates"):
            (entry.folder / name / f"{differs:06d}.parquet").unlink()
        path = entry.folder / "metrics" / "000001.parquet"
        table = pq.read_table(path)
        values = table.column("objective/score").to_numpy().copy()
        values[differs - 1] = np.nextafter(values[differs - 1], 0)
        place = table.column_names.index("objective/score")
        pq.write_table(table.set_column(place, "objective/score", pa.array(values)), path)
    before = files_of(entry.folder)
    session = make_session(shelf=shelf)
    session.runs.open(run)
    session.train(3)
    assert (session.error, session.note) == ({}, "made_otherwise")
    assert files_of(entry.folder) == before
    branch = shelf.find(session.runs.run)
    assert branch.id != run
    assert branch.parent is not None
    assert (branch.parent["id"], branch.parent["update"], branch.parent["changed"]) == (run, differs - 1, {})
    assert shown(session)[differs - 1 :] == learned(list(Recording.load(branch.folder)))
    assert shown(session) == unbroken(differs + 2)
    found = session.runs.parting
    assert (found.update, found.quantity) == (differs, "old_logprobs" if tokens else "objective/score")
    Claim(entry.folder).release()  # it was let go of


def test_a_full_disk_or_damage_as_a_run_goes_on_makes_no_branch_of_it(
    make_session: MakeSession,
    shelf: Shelf,
    unbroken: Callable[..., Any],
    left: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, session = left(3), make_session(shelf=shelf)
    session.runs.open(run)
    with monkeypatch.context() as patch:

        def full(*arguments: Any, **more: Any) -> Any:
            raise OSError(28, "No space left on device")

        patch.setattr(writer_module, "drop_after", full)
        session.train(2)
        assert session.runs.broken
        assert "No space left on device" in session.error["message"]
        with pytest.raises(ValueError, match="being written to"):
            Claim(shelf.find(run).folder)
    session.train(1)
    assert (session.error, session.runs.broken) == ({}, False)
    assert shown(session) == recorded(shelf.root, run) == unbroken(6)
    assert len(shelf.entries()) == 1


def test_a_run_of_an_older_schema_goes_on_as_a_branch(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], left: Callable[..., str]
) -> None:
    run = left(2)
    path = shelf.find(run).folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    session = make_session(shelf=shelf)
    session.runs.open(run)
    session.train(2)
    assert session.error == {}
    assert session.runs.branch.run == run
    assert recorded(shelf.root, session.runs.run) == unbroken(4)


# --- what goes wrong ---


@pytest.mark.parametrize("harm", ["policy", "checkpoint", "reward", "newest update"])
@pytest.mark.parametrize("stages", [0, 5])
def test_where_opening_fails_the_page_is_as_before_and_goes_on(
    make_session: MakeSession,
    shelf: Shelf,
    unbroken: Callable[..., Any],
    left: Callable[..., str],
    tiny_config: Config,
    harm: str,
    stages: int,
) -> None:
    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return [1.0] * len(responses)

    own_reward = {"rewards": {"mine": mine}, "config": tiny_config.replace(weight_mine=0.5)}
    run = left(2, **(own_reward if harm == "reward" else {}))
    entry, message = shelf.find(run), ""
    if harm == "policy":
        path, message = entry.folder / "run.json", "was begun with another policy"
        content = json.loads(path.read_text())
        content["info"]["policy_digest"] = "0" * 64
        path.write_text(json.dumps(content))
    elif harm == "reward":
        message = "There is no reward component 'mine'"
    elif harm == "newest update":
        (entry.folder / "tokens" / "000002.parquet").write_bytes(b"no")
    else:
        path, message = checkpoint_path(entry.folder, 2), "is damaged"
        path.write_bytes(path.read_bytes()[:-7])
    session = make_session(shelf=shelf)
    session.train(4)
    session.runs.rewind(2)
    session.set(clip_range=0.19)
    session.train(2)
    for _ in range(stages):
        session.step_stage()
    before, own = look(session), session.runs.run
    assert session.behind is not None
    if harm == "newest update":
        with pytest.raises(ValueError, match="000002.parquet. is damaged"):
            session.runs.open(run)
    else:
        session.runs.open(run)
        assert message in session.error["message"]
    assert look(session) == before
    Claim(entry.folder).release()  # it was let go of
    session.train(2)
    assert (session.error, session.runs.run) == ({}, own)
    assert recorded(shelf.root, own) == shown(session)
    assert len(shown(session)) == 6


def only_begun(shelf: Shelf, run: str) -> Entry:
    """A run as a kill before its first update leaves it: what it is, and the state from which it starts."""
    entry = shelf.find(run)
    for path in entry.folder.rglob("*.parquet"):
        path.unlink()
    for update in checkpoint_updates(entry.folder)[1:]:
        checkpoint_path(entry.folder, update).unlink()
    path = entry.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "configs": []}))
    return entry


def test_a_run_that_is_not_there_or_has_nothing_is_refused(
    make_session: MakeSession, shelf: Shelf, left: Callable[..., str]
) -> None:
    run, session = left(1), make_session(shelf=shelf)
    checkpoint_path(only_begun(shelf, run).folder, 0).unlink()
    before = look(session)
    refused = ((run, "no update and no state yet"), ("0123456789", "There is no run"), ("../x", "There is no run"))
    for asked, message in refused:
        with pytest.raises(ValueError, match=message):
            session.runs.open(asked)
    assert look(session) == before


def test_a_run_that_was_killed_before_its_first_update_goes_on_from_its_start(
    make_session: MakeSession, shelf: Shelf, unbroken: Callable[..., Any], left: Callable[..., str], tiny_config: Config
) -> None:
    config = tiny_config.replace(clip_range=0.1)
    run = left(2, config=config)
    only_begun(shelf, run)
    assert [entry.updates for entry in shelf.entries()] == [0]
    session = make_session(shelf=shelf)  # with other settings
    session.train(2)
    session.library.compare(run)  # there is nothing to draw, and nothing to complain of
    session.runs.open(run)
    assert (session.error, session.note, session.runs.run) == ({}, "only_begun", run)
    assert (session.updates, session.live, session.shown, session.runs.states) == (0, True, None, (0,))
    assert not session.config.differences(config)
    session.train(3)
    session.close()
    assert session.error == {}
    assert shown(make_opened(make_session, shelf, run)) == recorded(shelf.root, run) == unbroken(3, config)
    assert (session.runs.run, session.runs.branch, len(shelf.entries())) == (run, None, 2)


def make_opened(make_session: MakeSession, shelf: Shelf, run: str) -> Session:
    session = make_session(shelf=shelf)
    session.runs.open(run)
    return session


@pytest.mark.parametrize("ended", [0, 1])
@pytest.mark.parametrize("parent", ["there", "deleted"])
def test_a_branch_that_was_killed_early_goes_on_from_where_it_left_its_parent(
    make_session: MakeSession, shelf: Shelf, left: Callable[..., str], ended: int, parent: str
) -> None:
    """Its only state is one that its parent keeps as well."""
    first = left(4)
    session = make_opened(make_session, shelf, first)
    session.runs.rewind(2)
    session.set(clip_range=0.05)
    session.train(1 if ended else 3)
    whole, run = shown(session), session.runs.run
    session.close()
    entry = only_begun(shelf, run) if not ended else killed(shelf, run, 2)
    assert checkpoint_updates(entry.folder) == [2]
    if parent == "deleted":
        shelf.delete(first)
    session = make_opened(make_session, shelf, run)
    assert (session.error, session.note, session.live) == ({}, "cut_off" if ended else "only_begun", True)
    assert session.updates == (2 if parent == "there" else 0) + ended
    assert (session.config.clip_range, session.runs.run, session.runs.branch.run) == (0.05, run, first)
    session.step()
    # Killed again, it has still what it starts from.
    assert checkpoint_updates(entry.folder)[0] == 2
    session.train(2)
    assert session.error == {}
    own = learned(list(Recording.load(entry.folder)))
    assert len(own) == 3 + ended
    assert own[: len(whole) - 2] == whole[2:]
    assert recorded(shelf.root, run) == shown(session)
    assert len(shelf.entries()) == (2 if parent == "there" else 1)


def test_what_a_branch_says_of_its_changes_is_taken_with_care(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    session.runs.rewind(2)
    session.train(1)
    run = session.runs.run
    session.close()
    path = shelf.find(run).folder / "run.json"
    for told, kept in ((["x"], {}), ({"a": 1, "b": [1, 2, 3], "clip_range": [0.1, 0.2]}, {"clip_range": [0.1, 0.2]})):
        content = json.loads(path.read_text())
        content["info"]["parent"]["changed"] = told
        path.unlink()
        path.write_text(json.dumps(content))
        session = make_session(shelf=shelf)
        session.runs.open(run)
        assert (session.error, session.runs.branch.changed) == ({}, kept)


def test_a_damaged_parent_hides_where_a_branch_parts_and_nothing_else(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.train(4)
    parent = session.runs.run
    session.runs.rewind(2)
    session.set(clip_range=0.01)
    session.train(1)
    run = session.runs.run
    session.close()
    (shelf.find(parent).folder / "tokens" / "000003.parquet").write_bytes(b"no")
    session = make_session(shelf=shelf)
    session.runs.open(run)
    assert (session.error, session.runs.opening, session.runs.parting, session.updates) == ({}, False, None, 3)
    session.train(1)
    assert (session.error, session.updates) == ({}, 4)


# --- the library ---


def test_a_run_on_screen_and_those_that_it_came_from_are_not_deleted(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    first = session.runs.run
    session.runs.rewind(2)
    for _ in range(2):
        with pytest.raises(ValueError, match="is on screen: open another one, or press Reset"):
            session.library.delete(first)
        session.train(1)
    second = session.runs.run
    with pytest.raises(ValueError, match="is on screen"):
        session.library.delete(second)
    session.reset()
    session.library.delete(first)
    session.library.delete(second)
    assert (shelf.entries(), session.library.entries, session.error) == ([], (), {})
    session.library.delete("0123456789")
    assert "may have been deleted already" in session.error["message"]


def test_the_library_names_saves_and_compares(
    make_session: MakeSession, shelf: Shelf, left: Callable[..., str], tmp_path: Path
) -> None:
    run, session = left(3), make_session(shelf=shelf)
    session.library.rename(run, "<b>mine</b>")
    assert [entry.name for entry in session.library.entries] == ["<b>mine</b>"]
    session.library.compare(run)
    ((name, history),) = session.behind.runs
    assert (name, history.updates) == ("<b>mine</b>", [1, 2, 3])
    session.library.compare("")
    assert session.behind is None
    session.library.save(run, tmp_path / "copy")
    assert session.library.saved == str(tmp_path / "copy")
    session.library.save(run, tmp_path / "copy")
    assert (session.library.saved, "is not empty" in session.error["message"]) == ("", True)
    session.library.start_seeds(2, 1)
    assert sorted(entry.seed for entry in shelf.entries() if entry.grid) == [0, 1]


def test_a_shelf_that_cannot_be_read_once_is_read_again(
    make_session: MakeSession, shelf: Shelf, left: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left(1)
    session = make_session(shelf=shelf)
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "entries", lambda shelf: (_ for _ in ()).throw(OSError("no")))
        session.library.refresh()
    assert session.error["message"] == "no"

    def refuse(change: Any) -> None:
        raise KeyError("a view")

    session.library.observe(refuse, "entries")
    session.library.refresh()
    session.library.unobserve(refuse, "entries")
    session.library.entries = ()
    session.library.refresh()
    assert len(session.library.entries) == 1


# --- notes ---


def noted(session: Session) -> list[tuple[Any, ...]]:
    return [(note.update, note.response, note.token, note.label, note.text) for note in session.library.notes]


def test_a_note_lies_with_the_run_that_made_the_update_and_is_seen_from_its_branches(
    make_session: MakeSession, shelf: Shelf
) -> None:
    session = make_session(shelf=shelf)
    session.train(4)
    first = session.runs.run
    session.library.note(1, "odd", "<b>bold</b>", response=0, token=2)
    session.library.note(4, "the end")
    assert noted(session) == [(1, 0, 2, "odd", "<b>bold</b>"), (4, None, None, "the end", "")]
    session.runs.rewind(2)
    session.library.refresh()
    assert noted(session) == [(1, 0, 2, "odd", "<b>bold</b>")]  # update 4 is none of its past
    session.library.note(2, "here it goes apart", response=1)
    session.train(2)
    branch = session.runs.run
    session.library.note(4, "in the branch")
    assert session.error == {}
    assert [label.label for label in Recording.load(shelf.find(branch).folder).labels] == ["in the branch"]
    assert [label.label for label in Recording.load(shelf.find(first).folder).labels] == [
        "odd", "the end", "here it goes apart"
    ]  # fmt: skip
    assert [note[3] for note in noted(session)] == ["odd", "here it goes apart", "in the branch"]
    session.runs.open(first)
    session.library.refresh()
    assert [note[3] for note in noted(session)] == ["odd", "the end", "here it goes apart"]


def test_a_note_that_cannot_be_is_told_and_nothing_is_written(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    with pytest.raises(ValueError, match="No recorded run is on screen"):
        session.library.note(1, "odd")
    session.train(2)
    folder = shelf.find(session.runs.run).folder
    with pytest.raises(ValueError, match="label is empty"):
        session.library.note(1, " ")
    with pytest.raises(TypeError, match="update is a str"):
        session.library.note("1", "odd")  # type: ignore[arg-type]
    for place, message in (
        ({"update": 3}, "Update 3 is not recorded"),
        ({"update": 1, "response": 99}, "response is 99"),
    ):
        session.library.note(label="odd", **place)
        assert message in session.error["message"]
    assert not (folder / "labels.jsonl").exists()
    (folder / "labels.jsonl").write_text("no\n")
    session.library.refresh()
    assert (session.library.notes, session.library.damage.count("is damaged")) == ((), 1)
    (folder / "labels.jsonl").unlink()
    session.library.note(1, "odd")
    assert (noted(session), session.library.damage) == ([(1, None, None, "odd", "")], "")


def test_a_note_on_a_past_that_has_been_deleted_is_told(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.train(2)
    first = session.runs.run
    session.runs.rewind(2)
    session.set(clip_range=0.05)
    session.train(1)
    session.library.note(1, "before")
    run = session.runs.run
    session.close()
    shelf.delete(first)
    session = make_opened(make_session, shelf, run)
    session.library.note(1, "after")
    assert f"There is no run {first[:12]!r}" in session.error["message"]
    session.library.note(3, "its own")
    assert noted(session) == [(3, None, None, "its own", "")]


# --- what memory lets go of ---


def test_every_update_of_a_long_run_can_be_gone_back_to(make_session: MakeSession, shelf: Shelf) -> None:
    session = make_session(shelf=shelf)
    session.history.limit = 4
    session.train(12)
    assert len(session.history._snapshots) <= 4
    assert session.history.kept == list(range(1, 13))
    run = Recording.load(shelf.find(session.runs.run).folder)
    for update in (2, 7, 3):
        session.cursor.follow, session.cursor.update = False, update
        assert session.shown.update == update
        assert np.array_equal(session.shown.final.ratios, run.at(update).final.ratios)
    session.walk(updates=1)
    assert session.shown.update == 4

    shutil.rmtree(shelf.find(session.runs.run).folder)
    nowhere = next(n for n in (5, 6) if n not in session.history._snapshots)
    session.cursor.update = nowhere  # nobody has it any more: the nearest before it that somebody has
    assert session.shown.update < nowhere
    assert nowhere not in session.history.kept


def test_a_run_that_is_kept_nowhere_grows_coarser_in_memory(make_session: MakeSession) -> None:
    session = make_session()
    session.history.limit = 4
    session.train(12)
    assert len(session.history.kept) <= 4
    assert session.history.kept[-1] == 12


def test_a_prompt_is_tried_on_the_states_of_a_run_that_was_opened(make_session: MakeSession, shelf: Shelf) -> None:
    fast = {"learning_rate": 0.05, "kl_coef": 0.0, "weights": {"length": 1.0}}

    def said(session: Session, update: int) -> Any:
        session.try_prompt("Another", 0)  # or the same would be answered anew
        session.try_prompt("The cat", update)
        assert session.error == {}
        return session.trial["policy"]

    first = make_session(shelf=shelf)
    first.set(**fast, reset=True)
    first.train(6)
    before = {update: said(first, update) for update in (2, 4, 6)}
    assert len({tuple(answers) for answers in before.values()}) > 1
    first.close()

    session = make_session(shelf=shelf)
    session.runs.open(first.runs.run)
    assert session.weights_kept == [0, 2, 4, 6]
    assert {update: said(session, update) for update in (2, 4, 6)} == before

    checkpoint_path(shelf.find(first.runs.run).folder, 2).unlink()
    session.try_prompt("The cat", 2)
    assert "weights of update 2 are no longer kept" in session.error["message"]
    assert session.weights_kept == [0, 4, 6]
