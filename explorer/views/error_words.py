"""An error's message in the words of the page: a setting is named as its slider is, and not as in Python."""

from __future__ import annotations

import re
from collections.abc import Collection

from explorer.config import FIELDS
from explorer.text import text


def in_words(message: str, language: str, changed: Collection[str] = ()) -> str:
    """A message with the settings named as on the page.

    Args:
        message: as Python says it.
        language: the page's.
        changed: the settings that were just changed. Names that are English words too, such as "seed", are settings
            where they were changed or begin the message.
    """
    for name in FIELDS:
        if name in changed or "_" in name or message.startswith(f"{name} "):
            label = f"“{text(language, f'fields.{name}.label')}”"
            message = re.sub(rf"(?<![\w'“]){name}(?![\w'”])", label, message, count=1)
    return message
