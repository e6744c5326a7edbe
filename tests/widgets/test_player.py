"""The player: what its buttons, menus and scrubber ask for arrives as it was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from explorer.presets import PRESETS
from explorer.widgets.board import Board
from explorer.widgets.player import Player

if TYPE_CHECKING:
    from tests.widgets.conftest import Say


def test_commands_arrive_in_order_and_whole(from_browser: Say) -> None:
    asked: list[dict[str, Any]] = []
    player = Player(asked.append, board=Board())
    messages = [
        {"kind": "train", "updates": 40, "until_flat": False},
        {"kind": "pause"},
        {"kind": "scrub", "update": 3},
    ]
    for message in messages:
        from_browser(player, message)
    assert asked == messages


def test_the_presets_are_offered_in_their_order() -> None:
    player = Player(lambda message: None, board=Board())
    assert player.lessons + player.recipes == list(PRESETS)
    assert {
        *("learn", "see_the_clip", "balanced", "hack_the_reward"),
        *("leash", "exploit_your_own_labels", "length_exploit", "entropy_collapse", "bias_by_omission"),
    } == set(player.lessons)


def test_what_is_trained_is_empty_until_it_is_known() -> None:
    player = Player(lambda message: None, board=Board())
    assert player.policy == {}
    player.policy = {"name": "bundled GPT-2", "parameters": "1.07 M"}
    assert player.get_state()["policy"] == {"name": "bundled GPT-2", "parameters": "1.07 M"}


def test_a_question_goes_to_the_browser(to_browser: Callable[[Any], list[dict[str, Any]]]) -> None:
    player = Player(lambda message: None, board=Board())
    sent = to_browser(player)
    player.send({"kind": "confirm", "text": "Reset now?"})
    assert [(m["method"], m["content"]) for m in sent] == [("custom", {"kind": "confirm", "text": "Reset now?"})]
