"""The panels with pictures of their own: made of what was asked for, once, and only while they are on screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from explorer.config import Config
from explorer.recording.snapshot import Snapshot
from explorer.views import panels
from explorer.views.panels import ExactToy, Inspector, Ladder, WhileOpen
from explorer.widgets.board import Board

if TYPE_CHECKING:
    from tests.widgets.conftest import Say


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pictures that were computed, in order."""
    names: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        picture = getattr(panels, name)

        def count(*arguments: Any) -> Any:
            names.append(name)
            return picture(*arguments)

        return count

    for name in ("drag_picture", "cloud_picture"):
        monkeypatch.setattr(panels, name, counted(name))
    return names


@pytest.fixture
def errors() -> list[BaseException]:
    return []


@pytest.fixture
def toy(computed: list[str], errors: list[BaseException]) -> ExactToy:
    return ExactToy(errors.append, board=Board())


def drag(toy: ExactToy, say: Say, probability: Any) -> None:
    say(toy, asked={**toy.asked, "probability": probability})


def test_nothing_is_computed_while_another_panel_is_in_its_place(
    toy: ExactToy, computed: list[str], from_browser: Say
) -> None:
    toy.under(Config())
    drag(toy, from_browser, 0.5)
    toy.under(Config(clip_range=0.1))
    assert computed == [] and toy.dragged == {} and toy.cloud == {}
    from_browser(toy.board, lower="toy")
    assert computed == ["drag_picture", "cloud_picture"]
    assert toy.dragged["clip"] == pytest.approx([0.9, 1.1]) and toy.dragged["words"][0]["new"] == pytest.approx(0.5)
    from_browser(toy.board, lower="samples")
    toy.under(Config(clip_range=0.3, gamma=0.9))
    drag(toy, from_browser, 0.4)
    assert computed == ["drag_picture", "cloud_picture"]


def test_it_waits_for_pytorch(toy: ExactToy, computed: list[str], from_browser: Say) -> None:
    from_browser(toy.board, lower="toy")
    toy.under(None)
    assert computed == []
    toy.under(Config())
    assert computed == ["drag_picture", "cloud_picture"]


def test_only_what_has_changed_is_computed_anew(toy: ExactToy, computed: list[str], from_browser: Say) -> None:
    toy.board.lower = "toy"
    toy.under(Config())
    computed.clear()
    drag(toy, from_browser, 0.65)
    drag(toy, from_browser, 0.65)
    assert computed == ["drag_picture"]
    from_browser(toy, asked={**toy.asked, "estimator": "rloo"})
    assert computed == ["drag_picture", "cloud_picture"]
    toy.under(Config(clip_range=0.1))  # moves the region, not the cloud
    assert computed == ["drag_picture", "cloud_picture", "drag_picture"]
    from_browser(toy.board, lower="advantages")
    from_browser(toy.board, lower="toy")
    assert len(computed) == 3


@pytest.mark.parametrize("probability", [1.5, 0, "half"])
def test_a_refused_choice_is_said_and_taken_back(
    toy: ExactToy,
    errors: list[BaseException],
    from_browser: Say,
    to_browser: Callable[[Any], list[dict[str, Any]]],
    probability: Any,
) -> None:
    toy.board.lower = "toy"
    toy.under(Config())
    drag(toy, from_browser, 0.8)
    before, good = dict(toy.dragged), dict(toy.asked)
    sent = to_browser(toy)
    drag(toy, from_browser, probability)
    assert [str(error).startswith("the probability ") for error in errors] == [True]
    assert (toy.asked, toy.dragged) == (good, before)
    assert {"kind": "rejected"} in [message.get("content") for message in sent]
    assert good in [message.get("state", {}).get("asked") for message in sent]
    drag(toy, from_browser, 0.7)
    assert toy.dragged["words"][0]["ratio"] == pytest.approx(1.1667, abs=5e-5)
    assert len(errors) == 1


# --- the inspector and the ladder ---


@pytest.fixture(scope="module")
def snapshot(make_trainer: Callable[..., Any], snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    return snapshot_of(make_trainer())


@pytest.mark.parametrize("panel", [Inspector, Ladder])
def test_its_picture_is_made_while_it_is_open_and_for_nothing_twice(
    panel: type[WhileOpen], snapshot: Snapshot, errors: list[BaseException], from_browser: Say
) -> None:
    view, made = panel(errors.append, board=Board()), []
    view.observe(made.append, "picture")
    view.under(snapshot)
    assert made == []
    from_browser(view.board, lower=panel.key)
    assert view.picture["update"] == snapshot.update and len(made) == 1
    view.under(snapshot)
    from_browser(view.board, lower="advantages")
    from_browser(view.board, lower=panel.key)
    assert len(made) == 1
    view.under(None)
    assert view.picture == {} and errors == []


def test_the_inspector_follows_the_epoch(snapshot: Snapshot, errors: list[BaseException], from_browser: Say) -> None:
    view = Inspector(errors.append, board=Board(lower="inspector"))
    for epoch in (0, 1, -1):
        view.under(snapshot, epoch)
        assert view.picture["epoch"] == epoch % len(snapshot.epochs) + 1


def test_what_cannot_be_drawn_is_said(errors: list[BaseException]) -> None:
    view = Inspector(errors.append, board=Board(lower="inspector"))
    view.under("nothing like a snapshot")
    assert [type(error) for error in errors] == [AttributeError] and view.picture == {}
