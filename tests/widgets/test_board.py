"""The Board: one model for all views, told of a new batch in one message with its arrays as buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.views.panels import Advantages, ExactToy, Kl, Objective, Samples, Tokens
from explorer.widgets.board import Board

if TYPE_CHECKING:
    from tests.widgets.conftest import Say

Watch = Callable[[Any], list[dict[str, Any]]]


def test_a_draw_is_one_message(to_browser: Watch) -> None:
    board = Board()
    sent = to_browser(board)
    board.show(batch={"update": 3}, run={"mode": "running"}, series={"x": [1]})
    assert [message["state"] for message in sent] == [
        {"batch": {"update": 3}, "run": {"mode": "running"}, "series": {"x": [1]}}
    ]


def test_arrays_travel_as_bytes(to_browser: Watch) -> None:
    board = Board()
    sent = to_browser(board)
    ratios = np.array([1.0, 1.25], dtype=np.float32).tobytes()
    board.show(batch={"update": 3, "arrays": {"ratio": ratios}})
    (message,) = sent
    assert message["buffer_paths"] == [["batch", "arrays", "ratio"]]
    assert [bytes(buffer) for buffer in message["buffers"]] == [ratios]
    assert message["state"]["batch"] == {"update": 3, "arrays": {}}


def test_what_has_not_changed_is_not_sent_again(to_browser: Watch) -> None:
    board = Board(run={"mode": "paused"})
    sent = to_browser(board)
    board.show(run={"mode": "paused"}, batch={"update": 1})
    assert [message["state"] for message in sent] == [{"batch": {"update": 1}}]


def test_the_browser_pins_and_chooses(from_browser: Say) -> None:
    board = Board()
    from_browser(board, pinned=[2, 5], quantity="advantage", drawn=1, wants_samples=True)
    assert (board.pinned, board.quantity) == ([2, 5], "advantage")
    assert (board.drawn, board.wants_samples) == (1, True)
    from_browser(board, strip={"by": "score", "find": "cat"}, fitted={"ratio": [0.9, 1.1]})
    assert (board.strip["by"], board.fitted["ratio"]) == ("score", [0.9, 1.1])
    from_browser(board, pinned=[])
    assert board.pinned == []


def test_every_view_knows_the_board_by_reference() -> None:
    board = Board()
    for view in (Tokens, Objective, Advantages, Kl, Samples):
        assert view(board=board).get_state()["board"] == f"IPY_MODEL_{board.model_id}"
    assert ExactToy(lambda error: None, board=board).get_state()["board"] == f"IPY_MODEL_{board.model_id}"


def test_views_of_one_board_have_scripts_of_their_own() -> None:
    board = Board()
    scripts = {view.__name__: view(board=board)._esm for view in (Tokens, Objective, Advantages, Kl, Samples)}
    assert len(set(scripts.values())) == 5
    for name, script in scripts.items():
        assert f'frame(context, "{name.lower()}"' in script
