"""Recordings of earlier schemas, brought up to the one that is read.

Schema 1 had neither ``groups`` in responses nor ``ref_log_ratios`` in epochs, and its configs no ``group_size``: the
rows of one prompt lay next to each other, and with the usual settings there were four of them. Schema 2 had no
``exact_ref_kl``: it would take both models to find it, so it stays absent. Nor had schema 3 ``ref_top_logprobs`` and
``final_top_logprobs``, what reference and trained policy think of the alternatives; they stay absent for that reason.
There each update had parts of its own, as the newest ones still have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from explorer.config import Config
from explorer.recording.columns import column
from explorer.recording.tables import Tables


def config_from(version: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config's values with what its schema did not have."""
    if version > 1:
        return dict(values)
    usual, rows = Config().group_size, values.get("batch_size", Config().batch_size)
    return {"group_size": usual if type(rows) is int and rows % usual == 0 else 1, **values}


def tables_from(version: int, tables: Tables, config: Config) -> Tables:
    """A snapshot's tables with the columns that their schema did not have.

    Raises:
        KeyError, TypeError, ValueError: the columns from which they follow are not as they were written.
    """
    if version > 1:
        return tables
    responses, epochs = tables.responses, tables.epochs
    groups = np.arange(responses.num_rows) // config.group_size
    fresh, length = responses.num_rows, tables.tokens.num_rows // max(1, responses.num_rows)
    known = column(tables.tokens, "ref_logprobs", (fresh, length))
    new = column(epochs, "new_logprobs")
    # Replayed rows have no reference in these files: the KL in the loss, which reads this, is newer than they are.
    rows, positions = column(epochs, "response"), column(epochs, "position")
    is_fresh = rows < fresh
    log_ratios = np.zeros_like(new)
    log_ratios[is_fresh] = new[is_fresh] - known[rows[is_fresh], positions[is_fresh]]
    return tables._replace(
        responses=responses.append_column("groups", pa.array(groups)),
        epochs=epochs.append_column("ref_log_ratios", pa.array(log_ratios)),
    )
