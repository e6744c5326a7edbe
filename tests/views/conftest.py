"""What the browser says to a view, and what it is told: as for the widgets."""

from __future__ import annotations

from tests.widgets.conftest import from_browser, to_browser

__all__ = ["from_browser", "to_browser"]
