"""Makes a recording ready to be written on, after its last update or after an earlier one.

After the last one there is nothing to drop but what a kill has left unfinished. What comes after an earlier one is
dropped in the order in which a cut does no harm: first the metrics, without which an
update has not happened, from the newest part down; then its config, then what else lies of it. However far that came,
the folder opens, as a run of fewer updates, and dropping again finishes the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from explorer.recording.checkpoints import CHECKPOINTS_FOLDER, checkpoint_path, checkpoint_updates
from explorer.recording.columns import column
from explorer.recording.compacting import drop_blocks_after
from explorer.recording.folder import (
    METRICS_FOLDER,
    METRICS_ROWS,
    SCHEMA_VERSION,
    ElsewhereError,
    damaged,
    part_numbers,
    part_path,
    read_run,
    write_run,
    write_table,
)
from explorer.recording.metrics import last_metrics, metrics_of, read_metrics, read_part
from explorer.recording.settings import last_settings
from explorer.recording.tables import Tables


class Left(NamedTuple):
    """What is left of a recording.

    Attributes:
        info: what is known of the run.
        configs: as ``run.json`` has them.
        settings: the last of them, whole; None where there is none.
        rows: the metrics in the newest part, by update; empty where a new part is due.
        last: the last update, 0 where there is none.
    """

    info: dict[str, Any]
    configs: list[dict[str, Any]]
    settings: dict[str, Any] | None
    rows: dict[int, dict[str, float]]
    last: int


def drop_after(root: Path, update: int | None = None) -> Left:
    """Drop all that a recording holds of the updates after ``update``, and its unfinished files.

    Without an update every one that has happened stays: what goes belongs to none.

    Raises:
        RecordingError: the folder is no recording or is damaged.
        ElsewhereError: it is of another schema than is written now, or a link leads out of it.
        OSError: something cannot be removed.
    """
    content = read_run(root)
    if content["schema_version"] != SCHEMA_VERSION:
        raise ElsewhereError(
            f"'{root}' is of recording schema {content['schema_version']}, and new updates are written in schema "
            f"{SCHEMA_VERSION}: go on in another folder."
        )
    for folder in (METRICS_FOLDER, CHECKPOINTS_FOLDER, *Tables._fields):
        if (root / folder).is_symlink():  # what lies behind it is not the run's to drop
            raise ElsewhereError(f"'{root / folder}' is a link and no folder of the run: go on in another folder.")
    if update is None:
        update, _ = last_metrics(root)
    try:
        info, configs = dict(content["info"]), list(content["configs"])
        kept = [entry for entry in configs if entry["from_update"] <= update]
        settings = last_settings(SCHEMA_VERSION, kept)
        start = _start(info)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(root / "run.json", error) from None
    rows = _drop_metrics(root, update)
    if kept != configs:
        write_run(root, {**content, "configs": kept}, durable=True)
    drop_blocks_after(root, update)
    for folder in Tables._fields:
        for number in part_numbers(root, folder):
            if number > update:
                part_path(root, folder, number).unlink()
    for number in checkpoint_updates(root):
        if number > max(update, start):
            checkpoint_path(root, number).unlink()
    for unfinished in [*root.glob(".*.part"), *root.glob("*/.*.part")]:
        unfinished.unlink()
    return Left(info, kept, settings, rows if len(rows) < METRICS_ROWS else {}, max(rows, default=0))


def _start(info: dict[str, Any]) -> int:
    """After which update a run starts: 0, or where it branched off. Its state stays, whatever else is dropped."""
    parent = info.get("parent")
    found = parent.get("update") if isinstance(parent, dict) else 0
    return found if type(found) is int else 0


def _drop_metrics(root: Path, update: int) -> dict[int, dict[str, float]]:
    """Drop the later rows; gives those of the newest part that is left."""
    read_metrics(root)  # every part is as it was written, before anything is dropped
    for start in reversed(part_numbers(root, METRICS_FOLDER)):
        path = part_path(root, METRICS_FOLDER, start)
        if start > update:
            path.unlink()
            continue
        table = read_part(root, start)
        numbers = column(table, "update")
        count = int((numbers <= update).sum())
        if count < len(numbers):
            write_table(path, table.slice(0, count), durable=True)
        return {int(number): metrics_of(table, int(number)) for number in numbers[:count]}
    return {}
