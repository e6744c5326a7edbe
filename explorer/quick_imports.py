"""Voila's imports without the second that they spend on something that no page uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: jsonschema imports it to check that a text is an internationalised address; its grammar is built at the import:
#: 1.2 s of the 1.7 that Voila's imports take. No schema of Jupyter's asks for that check.
UNUSED = "rfc3987_syntax"


@contextmanager
def without_address_grammar() -> Iterator[None]:
    """Let what is imported inside go without that module, as where it is not installed; jsonschema allows for it."""
    if UNUSED in sys.modules:
        yield
        return
    sys.modules[UNUSED] = None  # type: ignore[assignment]  # an import of it raises ImportError
    try:
        yield
    finally:
        del sys.modules[UNUSED]
