"""The settings of a run as ``run.json`` has them, under ``configs``: whole at first, then what a change changed.

    {"from_update": 1, "config": {"clip_range": 0.2, …}}
    {"from_update": 9, "changed": {"clip_range": 0.3}}
    {"from_update": 12, "changed": {"component_mine": "{…}", "weight_mine": 0.5}}
    {"from_update": 20, "changed": {"component_mine": null, "weight_mine": null}}

A field has the value that stands there; a weight or a component that is null is taken away. A change is to be read
after those before it. One that leaves the weights, in whose order the score is summed, in another order stands whole,
as all did up to schema 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from explorer.config import FIELDS
from explorer.recording.folder import SCHEMA_VERSION
from explorer.recording.older import config_from

_NAMED = ("component_", "weight_")

#: What whole settings of this schema name beside their components and weights.
PLAIN_FIELDS = tuple(name for name in FIELDS if name not in ("weights", "components"))


def entry_of(update: int, now: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What to write of settings that are in force from an update on.

    Args:
        update: which update.
        now: ``Config.flat()``.
        before: the same of the settings until then; None where these are the first.
    """
    if before is not None:
        changed = {name: value for name, value in now.items() if name not in before or before[name] != value}
        changed |= {name: None for name in before if name not in now}
        if _same(_after(before, changed), now):
            return {"from_update": update, "changed": changed}
    return {"from_update": update, "config": dict(now)}


def settings_of(version: int, entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """From which update on which settings were in force, ascending, as ``Config.from_flat`` takes them.

    Args:
        version: of the schema in which they were written.
        entries: ``configs`` of ``run.json``, trusted in nothing.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: they are not as they were written.
    """
    last, now = 0, None
    for entry in entries:
        update = entry["from_update"]
        if type(update) is not int:
            raise TypeError(f"{update!r} is no whole number")
        if update <= last:
            raise ValueError("its settings are not in the order of their updates")
        if "config" in entry:
            now = config_from(version, entry["config"])
            lacking = [name for name in PLAIN_FIELDS if name not in now]
            if lacking and version == SCHEMA_VERSION:
                raise ValueError(f"its settings lack {lacking[0]}")
        elif now is None:
            raise ValueError("its first settings are not whole")
        else:
            now = _after(now, entry["changed"])
        last = update
        yield update, now


def last_settings(version: int, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The settings that are in force at the end; None where there are none. Arguments and errors as ``settings_of``."""
    found = None
    for _, found in settings_of(version, entries):  # noqa: B007  # each follows from the one before
        continue
    return found


def _after(before: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    gone = {name for name, value in changed.items() if value is None and name.startswith(_NAMED)}
    return {name: value for name, value in {**before, **changed}.items() if name not in gone}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two settings are the same, with their components and weights in the same order."""
    return one == other and all(
        [name for name in one if name.startswith(kind)] == [name for name in other if name.startswith(kind)]
        for kind in _NAMED
    )
