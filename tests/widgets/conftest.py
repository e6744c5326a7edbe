"""What the browser says to a widget, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from ipywidgets import Widget

Say: TypeAlias = Callable[..., None]


@pytest.fixture(scope="session")
def from_browser() -> Say:
    """``from_browser(widget, trait=value)`` sets traits; ``from_browser(widget, message={...})`` sends a message."""

    def say(widget: Widget, message: Any = None, **state: Any) -> None:
        data = {"method": "update", "state": state, "buffer_paths": []}
        if message is not None:
            data = {"method": "custom", "content": message}
        widget._handle_msg({"content": {"data": data}, "buffers": []})

    return say


@pytest.fixture
def to_browser(monkeypatch: pytest.MonkeyPatch) -> Callable[[Widget], list[dict[str, Any]]]:
    """``to_browser(widget)`` collects what the widget sends from now on: each message's data, with its buffers."""

    def watch(widget: Widget) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        monkeypatch.setattr(
            widget.comm,
            "publish_msg",
            lambda kind, data, metadata=None, buffers=None, **rest: sent.append({**data, "buffers": buffers or []}),
        )
        return sent

    return watch
