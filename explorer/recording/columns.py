"""Arrow columns as read-only numpy arrays, checked: a file that somebody else wrote is trusted in nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WHOLE = frozenset({pa.int64(), pa.int32()})
REAL = frozenset({pa.float32(), pa.float64()})
BOOL = frozenset({pa.bool_()})

#: The types that a recording's columns may have; every column that is not named here holds real numbers.
TYPES: Mapping[str, frozenset[Any]] = dict.fromkeys(
    ("update", "epoch", "response", "position", "response_ids", "top_ids", "prompt_ids", "ages", "groups"), WHOLE
) | dict.fromkeys(("response_mask", "outside_range", "zero_gradient", "stopped", "prompt_mask", "final"), BOOL)


def column(table: pa.Table, name: str, shape: tuple[int, ...] = (-1,)) -> np.ndarray[Any, Any]:
    """A column of plain values as a read-only array.

    Raises:
        KeyError, TypeError, ValueError: it is missing, has another type, or has nulls or another length.
    """
    found = table.column(name)
    if found.type not in TYPES.get(name, REAL):
        raise TypeError(f"the column {name} holds {found.type}")
    if found.null_count:
        raise ValueError(f"the column {name} has empty cells")
    return reshaped(found.to_numpy(), shape)


def lists(table: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """A column of equally long lists as a read-only array ``[table rows, entries]``. Raises as ``column`` does."""
    found = table.column(name).combine_chunks()
    if not _is_list(found.type) or found.type.value_type not in TYPES.get(name, REAL):
        raise TypeError(f"the column {name} holds {found.type}")
    entries = found.flatten()
    if found.null_count or entries.null_count:
        raise ValueError(f"the column {name} has empty cells")
    if len(pc.unique(pc.list_value_length(found))) != 1:
        raise ValueError(f"the column {name} has lists of different lengths")
    return reshaped(entries.to_numpy(zero_copy_only=False), (len(found), -1))


def texts(table: pa.Table, name: str, kind: pa.DataType) -> list[Any]:
    """A column of strings, or of lists of strings, as Python objects; None for a null. Raises as ``column`` does."""
    found = table.column(name)
    if found.type != kind:
        raise TypeError(f"the column {name} holds {found.type}")
    values: list[Any] = found.to_pylist()
    return values


def structs(table: pa.Table, name: str) -> list[dict[str, Any]]:
    """The list of structs in the only row of a table, none of their values null. Raises as ``column`` does."""
    (entries,) = table.column(name).to_pylist()
    for entry in entries:
        if None in entry.values():
            raise ValueError(f"the column {name} has empty cells")
    return list(entries)


def nested(array: np.ndarray[Any, Any]) -> pa.Array:
    """An array ``[..., N]`` as lists of N."""
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[-1])


def reshaped(array: np.ndarray[Any, Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array in another shape, read-only. Raises ValueError where it has another number of values."""
    shaped = array.reshape(shape)
    shaped.setflags(write=False)
    return shaped


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))
