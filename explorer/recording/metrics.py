"""The metrics of a run as a table: a row an update, a column a metric, null where an update lacks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from explorer.recording.bounded import Bound
from explorer.recording.columns import column
from explorer.recording.folder import METRICS_FOLDER, METRICS_ROWS, damaged, part_numbers, part_path, read_table

# A million updates of 32 metrics: more than anybody records.
MAX_METRICS_ROWS = 1_000_000
MAX_METRICS_CELLS = 32_000_000
MAX_PART_BYTES = 16 * 2**20


def metrics_table(rows: Mapping[int, Mapping[str, float]]) -> pa.Table:
    """The table of ``{update: metrics}``."""
    names = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    columns = {name: pa.array([metrics.get(name) for metrics in rows.values()], pa.float64()) for name in names}
    return pa.table({"update": pa.array(list(rows), pa.int32())} | columns)


def metrics_of(metrics: pa.Table, update: int) -> dict[str, float]:
    """The metrics of one update; those that it lacks are left out."""
    row = int(np.searchsorted(column(metrics, "update"), update))
    values = metrics.slice(row, 1).to_pylist()[0]
    return {name: value for name, value in values.items() if name != "update" and value is not None}


def read_metrics(root: Path) -> pa.Table:
    """Every part of ``metrics/`` as one table. Raises RecordingError where one is damaged or they overlap."""
    tables, rows, names = [], 0, set[str]()
    for start in part_numbers(root, METRICS_FOLDER):
        table = read_part(root, start)
        rows += table.num_rows
        names.update(table.column_names)
        if rows > MAX_METRICS_ROWS or rows * len(names) > MAX_METRICS_CELLS:
            raise damaged(root / METRICS_FOLDER, ValueError("it is too large"))
        tables.append(table)
    whole = pa.concat_tables([metrics_table({}), *tables], promote_options="default").combine_chunks()
    numbers = column(whole, "update")
    if (np.diff(numbers) < 1).any():
        raise damaged(root / METRICS_FOLDER, ValueError("its parts overlap"))
    return whole


def last_metrics(root: Path) -> tuple[int, dict[str, float]]:
    """The number of a run's last update and its metrics, from the newest part alone; 0 and nothing before the first.

    Raises:
        RecordingError: that part is damaged.
    """
    starts = part_numbers(root, METRICS_FOLDER)
    if not starts:
        return 0, {}
    table = read_part(root, starts[-1])
    update = int(column(table, "update")[-1])
    return update, metrics_of(table, update)


def read_part(root: Path, start: int) -> pa.Table:
    """The part of metrics that begins with an update. Raises RecordingError where it is none, or damaged."""
    path = part_path(Path(), METRICS_FOLDER, start)
    table = read_table(root, path, Bound(METRICS_ROWS, MAX_PART_BYTES))
    try:
        numbers = column(table, "update")
        if len(numbers) == 0 or numbers[0] != start or (np.diff(numbers) < 1).any():
            raise ValueError("its updates are not in order")
        if any(field.type != pa.float64() for field in table.schema if field.name != "update"):
            raise TypeError("a metric is not a column of real numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(root / path, error) from None
    return table
