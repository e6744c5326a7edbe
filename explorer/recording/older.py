"""Recordings and states of earlier forms, brought up to the one that is read.

Schema 1 had neither ``groups`` in responses nor ``ref_log_ratios`` in epochs, and its configs no ``group_size``: the
rows of one prompt lay next to each other, and with the usual settings there were four of them. Schema 2 had no
``exact_ref_kl``: it would take both models to find it, so it stays absent. Nor had schema 3 ``ref_top_logprobs`` and
``final_top_logprobs``, what reference and trained policy think of the alternatives; they stay absent for that reason.
There each update had parts of its own, as the newest ones still have. Up to schema 4 nothing was held out to judge the
responses: there is no ``judge`` in them, and no ``objective/judge``; settings stood whole at each change. What else the
settings of a schema lacked is in ``LATER``: they went by the value there.

A state of version 1 does not tell what it was made with, ``torch`` and ``threads``; the oldest do not tell their
``temperatures`` either: what they keep for replay had been sampled at the config's own. It may be of any schema from 2
to 4. Some recordings of schema 4, and states of version 1, have what came with the next number; then that counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from explorer.config import Config
from explorer.recording.columns import column
from explorer.recording.tables import Tables

#: The settings that came with a schema, and the values by which all runs before it went. They are fixed: a default that
#: changes later changes nothing in an older run.
LATER: Mapping[int, Mapping[str, Any]] = {
    2: {
        **{"clip_range_high": 0.28, "dual_clip": 3.0, "delta": 4.0, "penalty_coef": 1.0, "penalty_target": 0.01},
        **{"kl_in": "reward", "kl_target": None, "kl_horizon": 320, "aggregation": "token_mean", "target_kl": None},
        **{"lr_schedule": "constant", "lr_decay_updates": 100, "freeze_critic": False, "dropout_on": False},
        "critic": "shared",
    },
    4: {"whiten_rewards": False},
    5: {"set_aside": [], "judge": ""},
}

#: The first schema whose runs kept states.
FIRST_WITH_STATES = 2


def config_from(version: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config's values with what its schema did not have."""
    absent = {name: value for since, later in LATER.items() if since > version for name, value in later.items()}
    if version == 1:
        rows = values.get("batch_size", 32)
        absent["group_size"] = 4 if type(rows) is int and rows % 4 == 0 else 1
    return {**absent, **values}


def facts_from(version: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A stored state's facts with what its version did not have. Raises KeyError, TypeError where they are none."""
    if version > 1:
        return dict(facts)
    config = config_from(FIRST_WITH_STATES, facts["config"])
    absent = {"temperatures": [config["temperature"]] * len(facts["born"]), "torch": None, "threads": None}
    return {**absent, **facts, "config": config}


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
