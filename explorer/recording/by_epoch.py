"""One table with everything about a token: a row for each update, epoch, response and position.

On disk an update has two tables, since a token is sampled and scored once and looked at in every epoch: ``tokens`` and
``epochs``. Here each row of the second has beside it what the first says of its token. Two columns are in both,
``entropies`` and ``advantages``; those of the epoch end in ``_epoch``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from explorer.recording.columns import column
from explorer.recording.snapshot import Snapshot
from explorer.recording.tables import to_tables

PLACE = ("update", "epoch", "response", "position")
SUFFIX = "_epoch"


def by_epoch(snapshot: Snapshot, at: Callable[[int], Snapshot | None]) -> pa.Table:
    """An update's tokens with what every epoch saw of them.

    A replayed response is one of an earlier update: its tokens are looked up there, and its cells are null where that
    update is not kept.

    Args:
        snapshot: the update.
        at: gives the snapshot of an earlier update; None where there is none.

    Returns:
        ``epochs · rows · T`` rows: ``update``, ``epoch``, ``response``, ``position``, then the columns of ``tokens``
        and those of ``epochs``, with shapes and units as in ``explorer.recording.tables``.
    """
    tables = to_tables(snapshot)
    epochs, length = tables.epochs, snapshot.rollout.response_ids.shape[1]
    ages, responses, positions = (column(epochs, name) for name in ("ages", "response", "position"))
    rows = np.full(len(ages), -1, dtype=np.int64)  # of each token in what has been found
    found, count = [], 0
    for age in np.unique(ages).tolist():
        earlier = snapshot if age == 0 else at(snapshot.update - age)
        if earlier is None:
            continue
        of_age = ages == age
        # The responses of one update stand together, in their order.
        nth = responses[of_age] - responses[of_age].min()
        rows[of_age] = count + nth * length + positions[of_age]
        found.append(tables.tokens if age == 0 else to_tables(earlier).tokens)
        count += found[-1].num_rows
    # An older recording may lack a column that a newer one has.
    tokens = pa.concat_tables(found, promote_options="default").drop_columns(["update", "response", "position"])
    tokens = tokens.take(pa.array(rows, mask=rows < 0))
    columns = {name: epochs.column(name) for name in PLACE} | dict(
        zip(tokens.column_names, tokens.columns, strict=True)
    )
    for name in (name for name in epochs.column_names if name not in PLACE):
        columns[f"{name}{SUFFIX}" if name in tokens.column_names else name] = epochs.column(name)
    return pa.table(columns)
