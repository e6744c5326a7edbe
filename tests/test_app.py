"""The page as one widget: its arguments, its commands, its panels; inline, without a browser."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest

from explorer import app
from explorer.app import PAGE_GONE_SECONDS, Explorer
from explorer.config import DEFAULT_WEIGHTS, Config
from explorer.ppo.policy import Policy
from explorer.presets import PRESETS
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.history import History
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording, RecordingError
from explorer.seed_grid import SeedGrid
from explorer.session.replay import Replay
from explorer.session.session import Session
from explorer.text import labels
from explorer.views import mirror
from explorer.views.panels import Objective
from explorer.widgets.scripts import script

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

MakePage: TypeAlias = Callable[..., Explorer]


@pytest.fixture
def make_page(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakePage]:
    """``make_page(**arguments)``: the page of a tiny policy, whose worker runs everything inline."""
    monkeypatch.setattr(app, "Session", functools.partial(Session, threaded=False))
    made: list[Explorer] = []

    def make(**arguments: Any) -> Explorer:
        settings = {"policy": make_tiny_policy(), "config": tiny_config, "prompts": ["The cat", "Lily went"]}
        made.append(Explorer(**{**settings, **arguments}))
        return made[-1]

    yield make
    for page in made:
        page.close()


@pytest.fixture
def page(make_page: MakePage) -> Explorer:
    return make_page()


@pytest.fixture
def recording(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Recording:
    """Three updates of another run."""
    trainer = make_trainer(Config(batch_size=4, response_length=5, epochs=2, seed=9))
    return Recording.in_memory([snapshot_of(trainer) for _ in range(3)], info={})


def press(page: Explorer, kind: str, **values: Any) -> None:
    """What a button, a menu or the scrubber sends."""
    data = {"method": "custom", "content": {"kind": kind, **values}}
    page.player._handle_msg({"content": {"data": data}, "buffers": []})


def edit(page: Explorer, n: int, /, held: bool = False, **fields: Any) -> None:
    """What the sliders send; ``held`` while a pointer holds them."""
    state = {"edits": {name: {"value": value, "n": n, "held": held} for name, value in fields.items()}}
    page.controls._handle_msg(
        {"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []}
    )


def curve(page: Explorer, metric: str) -> tuple[list[int], list[float]]:
    """One of the run's curves, as the browser has it to draw."""
    line = page.board.series["lines"][metric]
    return list(np.frombuffer(line["updates"], "<i4")), list(np.frombuffer(line["values"], "<f4"))


def asked(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The questions that the page asks from now on."""
    questions: list[dict[str, Any]] = []
    monkeypatch.setattr(page.player, "send", questions.append)
    return questions


def ratios(page: Explorer) -> np.ndarray[Any, Any]:
    """What the browser has to draw."""
    return np.frombuffer(page.board.batch["arrays"]["ratio"], dtype="<f4")


# --- arguments ---


def test_it_begins_with_the_preset_learn_and_the_bundled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_load", lambda self: None)  # the page is drawn before the policy has loaded
    page = Explorer()
    try:
        assert page.config == PRESETS["learn"]
        assert page.session.phase == "loading"
        assert page.board.batch["update"] == page.session.history.updates[-1] > 1
        assert page.board.run["live"] is False
        assert page.board.words == labels("en")
        row, t = page.board.pinned
        assert page.board.batch["tokens"][row][t]
    finally:
        page.close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"language": "de"}, ValueError, "language is 'de', but must be one of en, zh"),
        ({"language": None}, ValueError, "language is None, but must be one of en, zh"),
        ({"config": {"clip_range": 0.3}}, TypeError, "config is a dict, but must be an explorer.Config"),
        ({"config": "learn"}, TypeError, "config is a str, but must be an explorer.Config"),
        ({"recording": "./no/such/run"}, RecordingError, "no/such/run"),
        ({"recording": Path("./no/such/run")}, RecordingError, "no/such/run"),
        ({"rewards": {"mood": 3}}, TypeError, "the reward 'mood' is not a function"),
        ({"rewards": [len]}, TypeError, "rewards"),
        (
            {"rewards": {"sentiment": len}},
            ValueError,
            "a reward named 'sentiment' is built in: give yours another name",
        ),
        ({"prompts": "The cat"}, ValueError, "prompts is the single text 'The cat': put it in a list"),
        ({"prompts": []}, ValueError, "There are no prompts: give at least one"),
        ({"policy": "./nowhere"}, ValueError, "There is no folder './nowhere'"),
    ],
)
def test_a_bad_argument_is_one_clear_sentence(
    arguments: dict[str, Any], error: type[Exception], message: str, make_page: MakePage
) -> None:
    """Raised where it can be seen at once; what only the worker can see is in the error panel."""
    try:
        page = make_page(**arguments)
    except error as raised:
        said = str(raised)
    else:
        said = page.session.error.get("message", "nothing")
        assert page.session.phase == "failed"
        page.session.dismiss()
    assert message in said
    assert "\n" not in said
    assert "Error:" not in said


def test_a_page_that_could_not_be_made_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", left.append)
    for arguments in ({"language": "de"}, {"config": "learn"}, {"recording": "./no/such/run"}):
        with pytest.raises((TypeError, ValueError)):
            Explorer(**arguments)
        gc.collect()
    assert [str(unraisable.exc_value) for unraisable in left] == []  # they would be printed below the error


def test_a_missing_recording_says_what_to_do(make_page: MakePage, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"^There is no .*: "):
        make_page(recording=tmp_path / "nowhere")


def test_the_language_is_that_of_every_word(make_page: MakePage) -> None:
    page = make_page(language="zh")
    assert page.board.language == "zh"
    assert page.board.words["ui"]["train"] == "训练"


def test_a_reward_of_the_users_own_gets_a_weight_like_the_others(make_page: MakePage) -> None:
    page = make_page(rewards={"My Mood!": lambda prompts, responses: [float(len(r)) / 50 for r in responses]})
    fields = {field["name"]: field for group in page.controls.groups for field in group["fields"]}
    control = fields["weight_My Mood!"]
    assert control["css"] == "weight-my-mood-"  # so its class is explorer-weight-my-mood-
    assert control["component"] == "My Mood!"
    assert page.config.weights["My Mood!"] == 1.0
    press(page, "step")
    assert "My Mood!" in page.board.batch["components"]
    before = page.board.batch["scores"]
    edit(page, 1, **{"weight_My Mood!": 2.0})
    assert page.board.batch["scores"] != before
    assert page.board.batch["rescored"] == {"weight_My Mood!": [1.0, 2.0]}


def test_a_weight_that_the_config_names_is_kept(make_page: MakePage, tiny_config: Config) -> None:
    page = make_page(config=tiny_config.replace(weight_mood=0.25), rewards={"mood": lambda p, r: [0.0] * len(r)})
    assert page.config.weights["mood"] == 0.25


def test_every_built_in_component_has_its_weight_whatever_the_config_names(make_page: MakePage) -> None:
    page = make_page(config=Config(weights={"sentiment": 1.0}, batch_size=4, response_length=4))
    shown = {field["name"] for group in page.controls.groups for field in group["fields"]}
    assert {f"weight_{name}" for name in DEFAULT_WEIGHTS} <= shown


def test_a_recording_is_shown_before_the_first_live_update(make_page: MakePage, recording: Recording) -> None:
    page = make_page(recording=recording)
    assert page.board.batch["update"] == 3
    assert (page.board.run["live"], page.board.run["newest"]) == (False, 3)
    press(page, "scrub", update=1)
    assert page.board.batch["update"] == 1
    press(page, "step")
    assert (page.board.batch["update"], page.board.batch["rows"]) == (1, 8)
    assert (page.board.run["live"], page.board.run["newest"], page.board.run["follow"]) == (True, 1, True)


# --- the page ---


def test_every_panel_has_its_class(page: Explorer) -> None:
    assert "explorer" in page._dom_classes
    scripts = "\n".join(child._esm for child in page.views)
    roots = set(re.findall(r'return frame\(context, "(\w+)"', scripts))  # frame() gives the root explorer-KEY
    boxes = {name for child in page.views for name in child._dom_classes}
    assert {f"explorer-{key}" for key in roots} | boxes >= {
        f"explorer-{key}"
        for key in (
            *("tokens", "objective", "advantages", "inspector", "ladder", "kl", "curves", "time", "samples", "toy"),
            *("player", "controls"),
        )
    }


def test_all_views_share_one_board(page: Explorer) -> None:
    assert {child.board for child in page.views} == {page.board}


def test_the_curves_are_the_runs(page: Explorer) -> None:
    press(page, "train", updates=2)
    history = page.session.history
    for metric in ("objective/score", "component/sentiment", "policy/approx_kl_final"):
        updates, values = curve(page, metric)
        assert updates == [1, 2]
        assert values == list(history.series(metric)[1].astype("<f4"))


def test_the_curves_are_drawn_for_the_cursor_and_the_run_and_not_for_a_slider(
    page: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    press(page, "train", updates=3)
    series, drawn_at = page.curves.series, []
    picture = series.picture

    def noted(history: History, cursor: int, *behind: Any) -> dict[str, Any]:
        drawn_at.append(cursor)
        return picture(history, cursor, *behind)

    monkeypatch.setattr(series, "picture", noted)
    for n, epsilon in enumerate((0.1, 0.3), start=1):
        edit(page, n, clip_range=epsilon)
        assert page.board.batch["clip_range"] == epsilon
    press(page, "epoch", epoch=0)
    assert drawn_at == []
    press(page, "scrub", update=2)
    assert drawn_at == [2]
    press(page, "follow")
    press(page, "step")
    assert (set(drawn_at), drawn_at[-1]) == ({2, 3, 4}, 4)
    press(page, "reset")
    press(page, "confirm", yes=True)
    assert drawn_at[-1] == 0


def test_the_update_on_screen_is_in_the_curves_of_a_long_run(make_page: MakePage, recording: Recording) -> None:
    page = make_page(recording=recording)
    for update in range(4, 1001):
        page.session.history.note(update, recording[-1].metrics)
    press(page, "scrub", update=2)
    updates, values = curve(page, "objective/ref_kl")
    assert len(updates) < 500
    assert values[updates.index(2)] == np.float32(recording[1].metrics["objective/ref_kl"])


def test_a_live_run_begins_with_scales_of_its_own(make_page: MakePage, recording: Recording) -> None:
    page = make_page()
    press(page, "step")
    begun = page.board.series["ranges"]
    page.close()
    page = make_page(recording=recording)
    page.session.history.note(3, {**recording[2].metrics, "objective/ref_kl": 1000.0})
    page.mirror.draw_series()
    assert page.board.series["ranges"]["ref_kl"][1] >= 1000
    press(page, "step")
    assert page.board.series["ranges"] == begun


def test_a_drawing_that_fails_shows_its_error_and_harms_no_other(
    page: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> dict[str, Any]:
        raise ZeroDivisionError("cannot be drawn")

    monkeypatch.setattr(mirror, "batch_picture", broken)
    press(page, "train", updates=2)
    assert "cannot be drawn" in page.board.run["error"]["message"]
    assert page.session.updates == page.board.run["updates"] == 2
    assert curve(page, "objective/ref_kl")[0] == [1, 2]


# --- commands ---


def test_train_step_and_stage(page: Explorer) -> None:
    press(page, "train", updates=2, until_flat=False)
    assert (page.board.batch["update"], page.board.run["updates"], page.board.run["mode"]) == (2, 2, "paused")
    press(page, "step")
    assert page.board.batch["update"] == 3
    press(page, "stage")
    assert (page.board.batch["update"], page.board.batch["finished"]) == (4, False)
    assert page.board.run["finished"] == "sample"


def test_training_pauses_once_its_page_has_not_been_heard_of_for_long(
    page: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(app.time, "monotonic", lambda: now[0])
    page.board.heartbeat += 1
    watch = page.session.observe
    watch(lambda change: now.__setitem__(0, now[0] + PAGE_GONE_SECONDS / 2.5), "updates")  # how long an update takes
    press(page, "train", updates=10)
    assert page.session.note == "page_gone"
    gone = page.session.updates
    assert 3 <= gone <= 4
    page.board.heartbeat += 1  # the page is back, and its reader presses Train again
    press(page, "train", updates=1)
    assert page.session.updates == gone + 1


def test_a_notebook_whose_page_sends_no_heartbeat_trains_on(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(app.time, "monotonic", lambda: now[0])
    page.session.observe(lambda change: now.__setitem__(0, now[0] + 10 * PAGE_GONE_SECONDS), "updates")
    press(page, "train", updates=3)
    assert page.session.updates == 3


def test_scrubbing_takes_every_panel_back(page: Explorer) -> None:
    press(page, "train", updates=3)
    newest = page.board.batch
    press(page, "scrub", update=1)
    assert page.board.batch["update"] == page.board.run["cursor"] == 1
    assert page.board.run["follow"] is False
    press(page, "follow")
    assert (page.board.batch["update"], page.board.run["follow"]) == (3, True)
    assert page.board.batch["arrays"] == newest["arrays"]


def test_an_earlier_epoch_can_be_looked_at(page: Explorer) -> None:
    press(page, "train", updates=2)
    after = ratios(page)
    press(page, "epoch", epoch=0)
    assert (page.board.run["epoch"], page.board.batch["epoch"]) == (0, 1)
    assert np.allclose(ratios(page)[ratios(page) > 0], 1.0)  # before the first step nothing has moved
    press(page, "epoch", epoch=-1)
    assert np.array_equal(ratios(page), after)


def test_the_clip_picture_asks_for_an_epoch_itself(page: Explorer) -> None:
    press(page, "step")
    picture = next(panel for panel in page.views if isinstance(panel, Objective))
    picture._handle_custom_msg({"kind": "epoch", "epoch": 1}, [])
    assert (page.board.run["epoch"], page.board.batch["epoch"]) == (1, 2)


def test_keys_walk_through_updates_and_epochs_and_stop_at_the_ends(page: Explorer) -> None:
    def walk(**by: int) -> tuple[int, int]:
        page._command({"kind": "walk", **by})
        return page.board.run["cursor"], page.board.run["epoch"]

    press(page, "train", updates=3)
    assert page.board.run["epoch"] == -1
    epochs = page.board.batch["epochs"]
    assert [walk(updates=-1), walk(updates=-1), walk(updates=-1)] == [(2, -1), (1, -1), (1, -1)]
    assert page.board.run["follow"] is False
    assert [walk(updates=1), walk(updates=5), walk(updates=1)] == [(2, -1), (3, -1), (3, -1)]
    down = [walk(epochs=-1) for _ in range(epochs + 1)]
    assert down == [(3, epoch) for epoch in range(epochs - 1, -1, -1)] + [(3, 0)]
    assert walk(updates=-1) == (2, 0)  # the same epoch of another update
    assert walk(epochs=9) == (2, -1)
    assert page.board.batch["epoch"] == epochs + 1


def test_walking_before_the_first_update_does_nothing(page: Explorer) -> None:
    for by in ({"updates": 1}, {"updates": -1}, {"epochs": 1}, {"epochs": -1}):
        page._command({"kind": "walk", **by})
    assert (page.board.run["cursor"], page.board.run["epoch"], page.board.run["error"]) == (0, -1, {})
    assert page.board.run["follow"] is True


def test_from_an_update_that_is_not_finished_one_walks_back_to_the_last_that_is(page: Explorer) -> None:
    press(page, "train", updates=2)
    press(page, "stage")
    assert (page.board.batch["update"], page.board.batch["finished"]) == (3, False)
    page._command({"kind": "walk", "updates": 1})
    assert page.board.batch["update"] == 3
    page._command({"kind": "walk", "updates": -1})
    assert (page.board.batch["update"], page.board.batch["finished"]) == (2, True)
    page._command({"kind": "follow"})
    assert page.board.batch["update"] == 3


def test_an_epoch_is_kept_while_scrubbing(page: Explorer) -> None:
    press(page, "train", updates=3)
    press(page, "epoch", epoch=0)
    press(page, "scrub", update=2)
    assert (page.board.batch["update"], page.board.batch["epoch"]) == (2, 1)


def test_while_looking_back_the_run_goes_on_in_the_curves(page: Explorer) -> None:
    press(page, "train", updates=2)
    press(page, "scrub", update=1)
    page.session.worker.run(2)
    assert (page.board.batch["update"], page.board.run["newest"], page.board.run["cursor"]) == (1, 4, 1)
    assert curve(page, "objective/ref_kl")[0] == [1, 2, 3, 4]


def test_moving_epsilon_re_scores_what_is_on_screen(page: Explorer) -> None:
    press(page, "train", updates=2)
    before, outside = ratios(page), page.board.batch["counts"]["outside"]
    edit(page, 1, clip_range=0.001)
    assert page.board.batch["clip"] == [0.999, 1.001]
    assert page.board.batch["counts"]["outside"] > outside
    assert page.board.batch["rescored"] == {"clip_range": [0.2, 0.001]}
    assert np.array_equal(ratios(page), before)
    assert page.controls.values["clip_range"] == 0.001
    press(page, "step")
    assert page.board.batch["rescored"] == {}
    assert page.board.batch["clip_range"] == 0.001


def test_a_refused_edit_is_in_the_error_panel(page: Explorer) -> None:
    edit(page, 1, clip_range=7)
    assert "“ε clip range” is 7, but must be from 0 to 1" in page.board.run["error"]["message"]
    assert page.controls.values["clip_range"] == page.config.clip_range == 0.2
    press(page, "dismiss")
    assert page.board.run["error"] == {}


def test_an_edit_that_needs_a_reset_asks_first(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = asked(page, monkeypatch)
    press(page, "train", updates=2)
    edit(page, 1, seed=5)
    assert (page.config.seed, page.session.updates, page.board.run["error"]) == (0, 2, {})
    (question,) = questions
    assert question["kind"] == "confirm"
    assert "update 2" in question["text"]
    press(page, "confirm", yes=False)
    assert (page.config.seed, page.session.updates) == (0, 2)
    edit(page, 2, seed=5)
    press(page, "confirm", yes=True)
    assert (page.config.seed, page.session.updates) == (5, 0)
    press(page, "confirm", yes=True)  # an answer to nothing
    assert page.session.error == {}


@pytest.mark.parametrize(
    ("runs", "answer"),
    [
        (None, "A new run begins; this one, now at update 1, stays under “Runs”. Reset now?"),
        (False, "The run, now at update 1, will be cleared. Reset now?"),
    ],
)
def test_the_question_says_whether_the_run_is_kept(
    runs: bool | None, answer: str, make_page: MakePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = make_page(runs=runs)
    questions = asked(page, monkeypatch)
    press(page, "train", updates=1)
    press(page, "reset")
    assert questions[-1]["text"] == answer
    edit(page, 1, seed=5)
    assert questions[-1]["text"].endswith(answer[1:])


@pytest.mark.parametrize(
    "instead",
    [
        lambda page: press(page, "preset", name="learn"),
        lambda page: press(page, "step"),
        lambda page: press(page, "language"),
        lambda page: edit(page, 7, kl_coef=0.123),
    ],
    ids=["another preset", "a button", "another language", "an edit"],
)
def test_what_is_done_instead_of_an_answer_withdraws_the_question(
    instead: Callable[[Explorer], None], page: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = asked(page, monkeypatch)
    press(page, "train", updates=2)
    press(page, "preset", name="ppo_instructgpt")
    assert "InstructGPT" in questions[0]["text"]
    press(page, "scrub", update=1)  # to look about is no answer
    assert len(questions) == 1
    instead(page)
    assert questions[1:] == [{"kind": "withdrawn"}]
    config = page.config
    press(page, "confirm", yes=True)
    assert (page.config, page.session.preset) == (config, "learn")
    assert page.session.updates >= 2


def test_what_cannot_be_is_refused_before_anything_is_asked(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = asked(page, monkeypatch)
    press(page, "train", updates=1)
    edit(page, 1, response_length=1000)
    assert questions == []
    assert f"lower “{labels('en')['fields']['response_length']['label']}”" in page.board.run["error"]["message"]
    edit(page, 2, critic="separate")
    names = labels("en")["fields"]["critic"]
    assert f"{names['label']} → {names['options']['separate']['label']}" in questions[0]["text"]


def test_reset_asks_where_there_is_something_to_lose(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = asked(page, monkeypatch)
    press(page, "reset")
    assert questions == []
    press(page, "train", updates=2)
    press(page, "reset")
    assert len(questions) == 1
    press(page, "confirm", yes=True)
    assert page.session.updates == 0


def cleared(page: Explorer) -> None:
    """Nothing on the page is left of a run that was reset."""
    run = page.board.run
    assert page.board.batch == {}
    assert (run["updates"], run["newest"], run["cursor"], run["stage"], run["rate"]) == (0, 0, 0, "", 0.0)
    assert run["weights_kept"] == [0]
    assert curve(page, "objective/ref_kl") == ([], [])


def test_after_a_reset_nothing_is_left_on_the_page(page: Explorer) -> None:
    press(page, "train", updates=2)
    press(page, "reset")
    press(page, "confirm", yes=True)
    cleared(page)


def test_after_a_reset_the_objective_is_drawn_with_no_tokens_and_follows_epsilon(page: Explorer) -> None:
    press(page, "train", updates=1)
    assert page.board.plane == {}
    drawn = {name: page.board.batch[name] for name in ("clip", "clip_fields", "objective", "ratio_grain", "curve")}
    press(page, "reset")
    press(page, "confirm", yes=True)
    assert {name: page.board.plane[name] for name in drawn} == drawn
    page.set(clip_range=0.4, held=True)  # while it is dragged
    assert page.board.plane["clip"] == [0.6, 1.4]
    page.set(clip_range=0.4, objective="unclipped")
    assert page.board.plane["curve"]["positive"] != drawn["curve"]["positive"]
    press(page, "train", updates=1)
    assert page.board.plane == {}


def test_after_a_reset_by_a_setting_nothing_is_left_either(page: Explorer) -> None:
    press(page, "train", updates=2)
    page.set(seed=4, reset=True)
    cleared(page)
    assert page.controls.values["seed"] == 4


def test_a_preset_is_shown_in_the_controls(page: Explorer) -> None:
    press(page, "preset", name="balanced")
    assert page.board.run["preset"] == "balanced"
    assert page.controls.values["kl_coef"] == page.controls.preset_values["kl_coef"] == PRESETS["balanced"].kl_coef
    assert page.controls.values["batch_size"] == 8


def test_the_language_changes_in_place(page: Explorer) -> None:
    press(page, "language")
    assert (page.board.language, page.board.words["ui"]["train"]) == ("zh", "训练")
    press(page, "language")
    assert (page.board.language, page.board.words["ui"]["train"]) == ("en", "Train")


def test_prompts_can_be_tried_and_edited(page: Explorer) -> None:
    press(page, "train", updates=1)
    press(page, "try", prompt="The dog", update=0)
    assert (page.board.trial["prompt"], page.board.trial["update"]) == ("The dog", 0)
    assert page.board.trial["policy"] == page.board.trial["reference"]
    press(page, "prompts", prompts=["The sun", "A bird"])
    assert page.board.run["prompts"] == ["The sun", "A bird"]
    press(page, "prompts", prompts=page.samples.sets["gender_pairs"])
    assert page.board.run["prompts"][:2] == ["The boy wanted to be a", "The girl wanted to be a"]
    press(page, "try", prompt=" ", update=1)
    assert "blank" in page.board.run["error"]["message"]


def test_samples_are_drawn_while_they_are_on_screen_and_kept_fresh(page: Explorer) -> None:
    press(page, "train", updates=1)
    assert page.board.samples == {}
    page.board.wants_samples = True
    assert page.board.samples["update"] == 1
    press(page, "train", updates=6)
    assert page.board.samples["update"] == 6
    page.board.wants_samples = False
    press(page, "train", updates=6)
    assert page.board.samples["update"] == 6


NONSENSE: list[Any] = [
    {},
    {"kind": "dance"},
    {"kind": None},
    {"kind": ["train"]},
    {"kind": "train", "updates": "many"},
    {"kind": "train", "updates": 0},
    {"kind": "train", "updates": -1},
    {"kind": "train", "updates": [1]},
    {"kind": "scrub"},
    {"kind": "scrub", "update": "last"},
    {"kind": "scrub", "update": None},
    {"kind": "epoch", "epoch": {}},
    {"kind": "slow"},
    {"kind": "preset", "name": 3},
    {"kind": "preset"},
    {"kind": "try", "prompt": "The cat"},
    {"kind": "try", "prompt": "The cat", "update": 999},
    {"kind": "try", "prompt": "", "update": 0},
    {"kind": "prompts", "prompts": 3},
    {"kind": "prompts", "prompts": [3]},
    {"kind": "prompts", "prompts": []},
    "train",
    ["train"],
    3,
]


@pytest.mark.parametrize("message", NONSENSE, ids=str)
def test_nonsense_ends_in_the_error_panel(message: Any, page: Explorer) -> None:
    press(page, "step")
    before = page.board.batch
    page._command(message)
    said = page.board.run["error"]["message"]
    assert said
    assert "\n" not in said
    assert (page.session.updates, page.session.mode) == (1, "paused")
    assert page.board.batch is before
    press(page, "step")  # and the page lives on
    assert (page.board.batch["update"], page.board.run["error"]) == (2, {})


@pytest.mark.parametrize("update", [-5, 0, 99])
def test_scrubbing_beyond_the_ends_stays_at_them(update: int, page: Explorer) -> None:
    press(page, "train", updates=2)
    press(page, "scrub", update=update)
    assert page.board.batch["update"] == (2 if update == 99 else 1)
    assert page.session.error == {}


@pytest.mark.parametrize("epoch", [-50, 50])
def test_an_epoch_that_is_not_there_is_the_last(epoch: int, page: Explorer) -> None:
    press(page, "train", updates=2)
    press(page, "epoch", epoch=epoch)
    press(page, "scrub", update=1)
    assert (page.board.batch["update"], page.board.batch["epoch"]) == (1, 3)
    assert page.session.error == {}


def test_every_command_that_a_script_sends_is_known(page: Explorer) -> None:
    sources = script("player") + script("samples") + script("controls")
    kinds = set(re.findall(r'send\("(\w+)"', sources)) | set(re.findall(r'kind: "(\w+)"', sources))
    kinds |= set(re.findall(r'button\("\w+", "(\w+)"', sources))
    assert {"train", "pause", "step", "stage", "slow", "reset", "scrub", "try", "prompts"} <= kinds
    whole: dict[str, Any] = {
        "updates": 1,
        "update": 0,
        "epoch": 0,
        "on": False,
        "yes": False,
        "name": "learn",
        "prompt": "The cat",
    }
    whole["prompts"] = ["The cat"]
    page._command({"kind": "no_such_kind", **whole})
    unknown = page.session.error["message"]
    for kind in kinds:
        page._command({"kind": kind, **whole})
        assert page.session.error.get("message", "") != unknown.replace("no_such_kind", kind), kind


# --- from Python ---


def test_python_and_the_page_do_the_same(page: Explorer) -> None:
    page.train(2)
    page.set(clip_range=0.3)
    assert page.config.clip_range == page.controls.values["clip_range"] == page.board.batch["clip_range"] == 0.3
    assert page.board.run["updates"] == 2
    with pytest.raises(ValueError, match="clip_range is 3"):
        page.set(clip_range=3)
    page.pause()
    assert page.board.run["mode"] == "paused"


def test_an_error_names_its_message_in_the_run(make_page: MakePage) -> None:
    def broken(prompts: list[str], responses: list[str]) -> list[float]:
        raise RuntimeError("<b>no</b>")

    page = make_page(rewards={"broken": broken})
    press(page, "step")
    message = page.board.run["error"]["message"]
    assert "The reward 'broken' raised RuntimeError: <b>no</b>" in message  # as text: the browser sets it as text
    assert (page.board.run["updates"], page.config.set_aside) == (1, ("broken",))


def test_close_ends_the_worker_and_takes_every_widget_down(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config
) -> None:
    async def story() -> Explorer:
        loaded = asyncio.Event()
        page = Explorer(policy=make_tiny_policy(), config=tiny_config, prompts=["The cat"])
        other = Explorer(policy=make_tiny_policy(), config=tiny_config, prompts=["The cat"])
        assert page.player.policy == {}  # it loads in the worker
        page.session.worker.submit(lambda: page.session.loop.post(loaded.set))
        await asyncio.wait_for(loaded.wait(), 30)
        assert set(page.player.policy) == {"name", "parameters"}
        page.close()
        assert page.session.worker.join(30)
        assert not other.session.worker.join(0)  # two in one kernel live apart
        page.close()  # twice is no harm
        other.close()
        assert other.session.worker.join(30)
        return page

    page = asyncio.run(story())
    assert page.comm is None
    assert all(child.comm is None for child in [page.board, page.player, page.controls, page.samples])


def test_a_page_computes_where_and_how_it_is_told(make_page: MakePage) -> None:
    page = make_page(device="cpu", bf16=True)
    assert page.session.engine.trainer.policy.bf16 and not make_page().session.engine.trainer.policy.bf16
    assert "device is 'mars'" in make_page(device="mars").session.error["message"]


def test_a_closed_page_asks_its_worker_for_nothing(page: Explorer) -> None:
    page.close()
    page._command({"kind": "step"})
    assert page.session.updates == 0


def test_a_recipe_that_needs_a_reset_is_asked_for(page: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = asked(page, monkeypatch)
    press(page, "train", updates=1)
    press(page, "preset", name="ppo_instructgpt")
    assert len(questions) == 1
    assert (page.session.preset, page.session.updates) == ("learn", 1)
    press(page, "confirm", yes=True)
    assert (page.session.preset, page.session.updates, page.config.critic) == ("ppo_instructgpt", 0, "separate")
    assert ["critic", "shared", "separate"] in page.controls.deltas
    press(page, "preset", name="grpo")
    assert ["estimator", "gae", "grpo"] in page.controls.deltas


def test_the_inspector_and_the_ladder_follow_the_screen_while_they_are_open(page: Explorer) -> None:
    assert page.inspector.picture == page.ladder.picture == {}
    press(page, "train", updates=2)
    page.board.lower = "inspector"
    press(page, "scrub", update=1)
    press(page, "epoch", epoch=0)
    batch = page.board.batch
    assert (page.inspector.picture["update"], page.inspector.picture["epoch"]) == (batch["update"], batch["epoch"])
    page.board.lower = "ladder"
    edit(page, 1, gae_lambda=0.0)
    gae, _, step, _ = page.ladder.picture["rows"]
    assert gae["advantages"] == step["advantages"] == page.board.batch["arrays"]["delta"]
    edit(page, 2, estimator="rloo")
    assert page.ladder.picture["rows"][-1]["advantages"] == page.board.batch["arrays"]["raw_advantage"]
    assert page.session.error == {}


def test_the_toy_follows_the_settings_of_the_page_while_it_is_open(page: Explorer) -> None:
    assert page.toy.dragged == {}
    page.board.lower = "toy"
    assert page.toy.dragged["clip"] == pytest.approx([0.8, 1.2])
    page.set(clip_range=0.1)
    assert page.toy.dragged["clip"] == pytest.approx([0.9, 1.1])
    page.toy.asked = {**page.toy.asked, "probability": 7}
    assert "probability of 'is' is 7, but must be greater than 0 and less than 1" in page.session.error["message"]
    press(page, "train", updates=1)
    assert page.session.updates == 1 and page.session.error == {}


# --- a page that replays ---


@pytest.fixture
def replay(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> Iterator[Explorer]:
    """The page of that run and nothing else."""

    class Inline(Replay):
        def __init__(self, recording: Recording) -> None:
            super().__init__(recording, threaded=False)

    monkeypatch.setattr(app, "Replay", Inline)
    page = Explorer(recording=recording, live=False)
    yield page
    page.close()


def test_a_replay_draws_every_update_and_epoch(replay: Explorer, recording: Recording) -> None:
    assert replay.board.run["phase"] == "replay"
    for update in (2, 1, 3):
        press(replay, "scrub", update=update)
        assert replay.board.batch["update"] == update
        assert ratios(replay).tolist() == recording[update - 1].final.ratios.ravel().tolist()
    press(replay, "epoch", epoch=0)
    assert ratios(replay).tolist() == recording[2].epochs[0].ratios.ravel().tolist()
    updates, values = curve(replay, "objective/score")
    assert updates == [1, 2, 3]
    assert values == [np.float32(snapshot.metrics["objective/score"]) for snapshot in recording]
    press(replay, "follow")
    assert replay.board.run["error"] == {}


@pytest.mark.parametrize("kind", ["train", "pause", "step", "stage", "slow", "reset", "compare"])
def test_a_replay_trains_nothing_and_says_so(replay: Explorer, kind: str) -> None:
    press(replay, kind, on=True)
    assert "trains nothing" in replay.board.run["error"]["message"]
    for command in (replay.train, replay.pause):
        with pytest.raises(ValueError, match="trains nothing"):
            command()
    for other in ({"kind": "try", "prompt": "x", "update": 1}, {"kind": "prompts", "prompts": ["x"]}):
        press(replay, **other)
        assert "trains nothing" in replay.board.run["error"]["message"]
    press(replay, "preset", name="grpo")
    assert "trains nothing" in replay.board.run["error"]["message"]
    replay.board.wants_samples = True
    assert replay.board.samples == {}


def test_a_replays_sliders_score_the_recorded_batch_anew(replay: Explorer) -> None:
    before = replay.board.batch
    edit(replay, 1, clip_range=0.01)
    assert replay.board.run["error"] == {}
    assert replay.board.batch["rescored"] == {"clip_range": [0.2, 0.01]}
    assert replay.board.batch["counts"]["outside"] > before["counts"]["outside"]
    assert replay.controls.preset_values["clip_range"] == 0.2  # what the dot sets it back to
    edit(replay, 2, learning_rate=0.5)
    assert "training only" in replay.board.run["error"]["message"]
    assert replay.controls.values["learning_rate"] == replay.controls.preset_values["learning_rate"]


def test_a_replay_takes_nothing_that_only_training_would(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leave out config, prompts"):
        Explorer(config=Config(), prompts=["x"], live=False)
    with pytest.raises(RecordingError, match="There is no folder"):
        Explorer(recording=tmp_path / "none", live=False)


def test_a_replay_says_which_run_it_is(recording: Recording, tmp_path: Path) -> None:
    recording.info["policy"] = "tiny " + "x" * 1000
    recording.save(tmp_path / "my run")
    page = Explorer(recording=tmp_path / "my run", live=False)
    assert page.board.replay["name"] == "my run"
    assert page.board.replay["policy"].startswith("tiny xx") and len(page.board.replay["policy"]) <= 80
    page.close()


# --- the shelf of runs ---


def test_the_run_is_kept_on_the_shelf_and_goes_on_in_another_page(make_page: MakePage, tmp_path: Path) -> None:
    one = make_page(runs=tmp_path / "shelf")
    one.train(3)
    (kept,) = Shelf(tmp_path / "shelf").entries()
    assert (kept.id, kept.updates, kept.preset) == (one.board.run["id"], 3, "learn")
    one.close()
    other = make_page(runs=tmp_path / "shelf")
    press(other, "open", run=kept.id)
    assert other.board.run["error"] == {}
    assert (other.board.run["id"], other.board.run["newest"], other.board.batch["update"]) == (kept.id, 3, 3)
    other.train(1)
    (kept,) = Shelf(tmp_path / "shelf").entries()
    assert kept.updates == 4


def test_a_page_that_keeps_no_runs_writes_none_and_says_so(
    make_page: MakePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = make_page(runs=False)
    page.train(2)
    assert Shelf().entries() == []
    assert (page.board.shelf, page.board.run["id"]) == ({}, "")
    press(page, "open", run="0" * 32)
    assert page.board.run["error"]["message"].startswith("This explorer keeps no runs")


def test_a_page_that_never_trains_leaves_nothing_on_the_shelf(make_page: MakePage, tmp_path: Path) -> None:
    make_page(runs=tmp_path / "shelf").close()
    assert not (tmp_path / "shelf").exists()


@pytest.mark.parametrize(
    ("runs", "message"), [(3, "runs is a int, but must be a folder"), ([], "runs is a list, but must be a folder")]
)
def test_a_place_for_runs_that_is_none(make_page: MakePage, runs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_page(runs=runs)


def test_how_much_of_a_run_is_kept_can_be_said(make_page: MakePage, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf", keep_every=2, checkpoint_every=3)
    page = make_page(runs=shelf)
    page.train(5)
    page.close()
    (kept,) = shelf.entries()
    assert Recording.load(kept.folder).updates == [1, 2, 4, 5]
    assert checkpoint_updates(kept.folder) == [0, 3, 5]


def test_the_place_where_a_branch_parts_can_be_shown(page: Explorer) -> None:
    page.train(3)
    press(page, "show", update=2, epoch=1, token=[1, 0])
    assert (page.board.run["cursor"], page.board.run["epoch"], page.board.pinned) == (2, 1, [1, 0])
    press(page, "show", update=3, epoch=-1, token=None)
    assert (page.board.run["cursor"], page.board.pinned) == (3, [1, 0])


def test_a_note_is_written_on_the_disk_listed_and_leads_to_its_place(make_page: MakePage, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf")
    page = make_page(runs=shelf)
    page.board.lower = "runs"
    press(page, "note", update=1, label="odd")
    assert "No recorded run is on screen" in page.board.run["error"]["message"]
    page.train(3)
    press(page, "note", update=2, response=1, token=0, label="  <i>odd</i> ", text="first\n")
    press(page, "note", update=3, response=None, token=None, label="whole")
    (entry,) = shelf.entries()
    kept = [(n.update, n.response, n.token, n.label, n.text) for n in Recording.load(entry.folder).labels]
    assert kept == [(2, 1, 0, "<i>odd</i>", "first"), (3, None, None, "whole", "")]
    listed = page.board.shelf["notes"]["found"]
    assert [(note["update"], note["label"]) for note in listed] == [(3, "whole"), (2, "<i>odd</i>")]
    note = listed[1]
    press(page, "show", update=note["update"], epoch=-1, token=[note["response"], note["token"]])
    assert (page.board.run["cursor"], page.board.pinned, page.board.run["error"]) == (2, [1, 0], {})


def test_another_run_has_scales_of_its_own(page: Explorer) -> None:
    page.train(2)
    page.curves.series._ranges["score"] = [-64.0, 64.0]
    page.rewind(2)
    assert page.board.series["ranges"]["score"] == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"kind": "open", "run": "../../etc"}, "There is no run '../../etc'"),
        ({"kind": "rewind", "update": 7}, "The state after update 7 is not kept"),
        ({"kind": "rename", "run": "0" * 32, "name": "x"}, "There is no run '000000000000'"),
        ({"kind": "delete", "run": "../.."}, "There is no run '../..'"),
        (
            {"kind": "save", "run": "0" * 32, "folder": "my copy"},
            "'my copy' is no whole path: begin it with / or with ~/",
        ),
        ({"kind": "behind", "run": "x"}, "There is no run 'x'"),
        ({"kind": "behind", "grid": "../.."}, "There is no seed grid '../..'"),
        ({"kind": "seeds", "seeds": 2.5, "updates": 3}, "'2.5' seeds cannot be trained"),
        ({"kind": "seeds", "seeds": None, "updates": 3}, "'None' seeds cannot be trained"),
    ],
)
def test_what_cannot_be_done_with_runs_is_one_clear_sentence(page: Explorer, message: Any, says: str) -> None:
    page.runs._handle_msg({"content": {"data": {"method": "custom", "content": message}}, "buffers": []})
    assert page.board.run["error"]["message"].startswith(says)
    page.train(1)
    assert page.board.run["newest"] == 1


# --- the reward's components ---


def ask_reward(page: Explorer, kind: str, **values: Any) -> list[dict[str, Any]]:
    """What the reward's panel is answered when one of its buttons is pressed."""
    sent: list[dict[str, Any]] = []
    page.reward.send, send = sent.append, page.reward.send
    try:
        page.reward._handle_msg(
            {"content": {"data": {"method": "custom", "content": {"kind": kind, **values}}}, "buffers": []}
        )
    finally:
        page.reward.send = send
    return sent


def weighed(page: Explorer) -> list[str]:
    return [f["name"] for group in page.controls.groups if group["key"] == "weights" for f in group["fields"]]


def scored(page: Explorer) -> list[str]:
    """The score and its components; the judge's line is the last."""
    *lines, judge = [line["metric"] for line in page.curves.charts[0]["lines"]]
    assert judge == "objective/judge"
    return lines


WORDY = {"kind": "expression", "expression": "0.1 * words"}


def test_sliders_and_lines_come_and_go_with_a_component(page: Explorer) -> None:
    before = weighed(page), scored(page)
    assert ask_reward(page, "put", name=" wordy ", recipe=WORDY, weight=0.5, was="")[0]["kind"] == "taken"
    assert weighed(page) == [*before[0], "weight_wordy"]
    assert scored(page) == [*before[1], "component/wordy"]
    assert page.controls.values["weight_wordy"] == 0.5
    press(page, "step")
    assert curve(page, "component/wordy")[0] == [1]
    edit(page, 1, weight_wordy=1.5)  # its slider is one like the others
    assert page.config.weights["wordy"] == 1.5
    assert ask_reward(page, "remove", name="wordy")[0]["kind"] == "taken"
    assert (weighed(page), scored(page)) == before
    assert "component/wordy" not in page.board.series["lines"]


def test_what_cannot_be_is_told_in_the_form_and_nowhere_else(page: Explorer) -> None:
    (told,) = ask_reward(page, "put", name="wordy", recipe={**WORDY, "expression": "words +"}, weight=1, was="")
    assert told["pointed"] == "words +\n       ^"
    assert "something is missing" in told["message"]
    (told,) = ask_reward(page, "put", name="sentiment", recipe=WORDY, weight=1, was="")
    assert (told["kind"], told["pointed"]) == ("refused", "")
    assert "There is a component 'sentiment' already" in told["message"]
    (told,) = ask_reward(page, "put", name="wordy", recipe=WORDY, weight="much", was="")
    assert "the weight of 'wordy' is 'much'" in told["message"]
    assert page.board.run["error"] == {} and not page.config.components


def test_the_reward_is_drawn_while_it_is_on_screen(page: Explorer) -> None:
    press(page, "step")
    assert page.board.reward == {}
    page.board.pinned = [1, 0]
    page.board.lower, page.reward.chosen = "reward", "unbiasedness"
    assert {one["name"] for one in page.board.reward["components"]} == set(page.config.weights)
    closely = page.board.reward["closely"]
    assert (closely["response"], closely["component"], closely["update"]) == (1, "unbiasedness", 1)
    assert "twin" in closely
    page.board.lower = "advantages"
    assert page.session.components.asked is None


def test_one_that_was_set_aside_is_named_and_taken_back(make_page: MakePage) -> None:
    broken = [True]

    def moody(prompts: list[str], responses: list[str]) -> list[float]:
        if broken[0]:
            raise ValueError("no mood")
        return [0.0] * len(responses)

    page = make_page(rewards={"moody": moody})
    page.board.lower = "reward"
    press(page, "step")
    (one,) = [one for one in page.board.reward["components"] if one["name"] == "moody"]
    assert (one["kind"], one["state"]) == ("function", "aside") and "no mood" in one["why"]
    broken[0] = False
    assert ask_reward(page, "take_back", name="moody")[0]["kind"] == "taken"
    press(page, "step")
    (one,) = [one for one in page.board.reward["components"] if one["name"] == "moody"]
    assert (one["state"], one["why"]) == ("recorded", "")


def test_the_bundled_recording_of_another_policy_is_not_measured(make_page: MakePage, recording: Recording) -> None:
    page = make_page(recording=recording)  # it does not say which policy made it
    ask_reward(page, "put", name="wordy", recipe=WORDY, weight=0.5, was="")
    page.board.lower = "reward"
    (one,) = [one for one in page.board.reward["components"] if one["name"] == "wordy"]
    assert one["state"] == "next_update"
    assert page.board.run["error"] == {}


def test_a_run_is_opened_by_its_folder(make_page: MakePage, tmp_path: Path) -> None:
    first = make_page(runs=tmp_path / "first")
    first.train(2)
    first.close()
    (folder,) = (path for path in (tmp_path / "first").iterdir() if path.is_dir())
    page = make_page(runs=tmp_path / "shelf")
    page._command({"kind": "open_folder", "folder": f" {folder} "})
    assert (page.session.updates, page.session.error) == (2, {})
    (row,) = page.board.shelf["runs"]
    assert row["outside"] and row["id"] == page.board.shelf["run"]
    page.train(1)  # in its own folder, where it stays
    assert Recording.load(folder).updates == [1, 2, 3]
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["elsewhere.json"]
    page.open_run(folder)  # again, from Python
    page._command({"kind": "open_folder", "folder": "relative"})
    assert "is no whole path" in str(page.session.error)
    page._command({"kind": "open_folder", "folder": str(tmp_path / "none")})
    assert "holds no recorded run" in str(page.session.error)
    page._command({"kind": "open_folder", "folder": "/a\0b"})
    assert "is no whole path" in str(page.session.error)


def test_a_grid_is_opened_by_its_folder_and_taken_off_the_list(
    make_page: MakePage, make_tiny_policy: Callable[[], Policy], tiny_config: Config, tmp_path: Path
) -> None:
    root = tmp_path / "grid"
    list(SeedGrid(tiny_config, range(2), 1, root, policy=make_tiny_policy(), prompts=["The cat"]).steps())
    page = make_page(runs=tmp_path / "shelf")
    page.open_run(str(root))
    assert page.session.behind is not None and len(page.session.behind.runs) == 2
    assert [row.get("grid") for row in page.board.shelf["runs"]] == [2, None, None]
    page._command({"kind": "behind", "grid": str(root)})
    assert page.session.error == {}
    page.open_run(page.board.shelf["runs"][2]["id"])
    page._command({"kind": "delete", "run": str(root)})
    assert "is on screen" in str(page.session.error)
    page._command({"kind": "reset"})
    page._command({"kind": "confirm", "yes": True})
    page._command({"kind": "delete", "run": str(root)})
    assert page.session.error == {} and page.board.shelf["runs"] == []
    assert (root / "seed-001" / "run.json").exists()


@pytest.mark.parametrize(("run", "error"), [(3, TypeError), (None, TypeError), ("", ValueError), ("a\0b", ValueError)])
def test_what_is_no_run_is_not_opened(make_page: MakePage, tmp_path: Path, run: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="run"):
        make_page(runs=tmp_path / "shelf").open_run(run)


@pytest.mark.parametrize("runs", ["", "  ", "a\0b"])
def test_runs_that_name_no_folder_are_refused(make_page: MakePage, runs: str) -> None:
    with pytest.raises(ValueError, match="is no folder: name one"):
        make_page(runs=runs)


def test_a_component_that_has_been_measured_is_not_said_to_be_lacking(page: Explorer) -> None:
    press(page, "step")
    ask_reward(page, "put", name="wordy", recipe=WORDY, weight=0.5, was="")
    assert page.board.run["later"] == {}
    assert page.board.batch["rescored"] == {"weight_wordy": [0.0, 0.5]}
    press(page, "own")
    assert (page.config.weights["wordy"], page.board.batch["rescored"]) == (0.0, {})


def test_a_replay_shows_the_reward_and_edits_nothing(recording: Recording) -> None:
    page = Explorer(recording=recording, live=False)
    try:
        page.board.lower = "reward"
        assert {one["state"] for one in page.board.reward["components"]} == {"recorded"}
        (told,) = ask_reward(page, "put", name="wordy", recipe=WORDY, weight=0.5, was="")
        assert (told["kind"], page.session.phase) == ("refused", "replay")
    finally:
        page.close()


# --- the annotator ---


def ask_annotator(page: Explorer, kind: str, **values: Any) -> dict[str, Any]:
    """What the annotator's panel is answered."""
    sent: list[dict[str, Any]] = []
    page.annotate.send, send = sent.append, page.annotate.send
    try:
        page.annotate._handle_msg(
            {"content": {"data": {"method": "custom", "content": {"kind": kind, **values}}}, "buffers": []}
        )
    finally:
        page.annotate.send = send
    (answer,) = sent
    return answer


def test_the_annotator_labels_tells_and_trains(page: Explorer) -> None:
    assert page.board.annotate == {}
    page.board.lower = "annotate"
    assert len(page.board.annotate["queue"]) == 8
    for choice in ("a", "b", "a", "b", "a"):
        pair = page.board.annotate["queue"][0]
        assert ask_annotator(page, "label", id=pair["id"], choice=choice)["kind"] == "taken"
    assert page.board.annotate["fitted"]["decided"] == 5
    assert ask_annotator(page, "train_on_it") == {"kind": "taken", "of": "train_on_it", "name": "learned"}
    assert page.board.annotate["component"]["current"]
    assert "weight_learned" in weighed(page)
    for choice in "babab":
        ask_annotator(page, "label", id=page.board.annotate["queue"][0]["id"], choice=choice)
    assert ask_annotator(page, "hold_out")["kind"] == "taken"
    assert page.board.annotate["judge"]["pairs"] == 5
    press(page, "step")
    assert "learned" in page.board.batch["components"]
    assert "component/learned" in scored(page)


def test_what_the_annotator_cannot_do_is_told_in_its_panel(page: Explorer) -> None:
    page.board.lower = "annotate"
    for kind, values, words in (
        ("label", {"id": page.board.annotate["queue"][0]["id"], "choice": "<b>"}, "'choice' is '<b>'"),
        ("simulate", {"count": 5, "noise": 0}, "You are the annotator"),
        ("follow", {"way": "best"}, "way is 'best'"),
        ("train_on_it", {}, "no fitted model yet"),
        ("hold_out", {}, "label some more"),
        ("nonsense", {}, "nonsense"),
    ):
        told = ask_annotator(page, kind, **values)
        assert (told["kind"], words in told["message"]) == ("refused", True), told
    told = ask_annotator(page, "import", content='{"prompt": 3}\n')
    assert (told["added"], told["bad"][0].split(":")[0]) == (0, "line 1")
    assert ask_annotator(page, "export")["content"] == ""
    assert page.session.error == {}
