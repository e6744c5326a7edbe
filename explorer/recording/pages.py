"""The headers of Parquet's pages, read before the pages are: what one claims is what a reader makes room for.

A column of a row group is one page after the other, each with a header in Thrift's compact protocol
(https://parquet.apache.org/docs/file-format/data-pages): how many bytes follow, how many they are unpacked, and how
many values they hold. Only those headers are read that a writer writes: fields in ascending order, each of its type.
"""

from __future__ import annotations

from typing import Any

#: A value takes up to so many bytes in memory, however few in the file.
VALUE_BYTES = 8

_INT, _STRUCT = 5, 12
_MOST_DEPTH, _MOST_INT = 4, 2**31 - 1
_DATA, _INDEX, _DICTIONARY, _DATA_2 = 0, 1, 2, 3
#: Where a page's own header stands in it, by the kind of page, and where the encoding stands in that.
_OWN = {_DATA: (5, 2), _INDEX: (6, 0), _DICTIONARY: (7, 2), _DATA_2: (8, 4)}
#: Each value may take what it likes of the one before: what it weighs stands nowhere.
_DELTA_BYTE_ARRAY = 7


def check_pages(column: bytes, most: int) -> int:
    """What a column takes in memory at most, in bytes.

    Args:
        column: its bytes in the file, from the first header on.
        most: how much it may be.

    Raises:
        ValueError: it is more, or its headers are not as they were written.
    """
    at, total = 0, 0
    while at < len(column):
        header, at = _struct(column, at)
        kind, packed = header.get(1), _size(header.get(3))
        if kind not in _OWN:
            raise ValueError("a page is of a kind that is not read")
        place, encoded = _OWN[kind]
        own = header.get(place)
        if not isinstance(own, dict) or own.get(encoded) == _DELTA_BYTE_ARRAY:
            raise ValueError("a page is of a kind that is not read")
        total += max(_size(header.get(2)), VALUE_BYTES * _size(own.get(1, 0)))
        if total > most:
            raise ValueError("it is too large")
        at += packed
    if at > len(column):
        raise ValueError("a page is cut off")
    return total


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a page's header is damaged")
    return value


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The fields of a struct by their numbers, as far as they are whole numbers or structs, and where it ends."""
    if depth > _MOST_DEPTH:
        raise ValueError("a page's header is damaged")
    found: dict[int, Any] = {}
    last = 0
    while True:
        head = _byte(data, at)
        at += 1
        if head == 0:
            return found, at
        kind, step = head & 15, head >> 4
        if not step:  # a number of its own, which no writer needs
            raise ValueError("a page's header is damaged")
        last += step
        if kind == _INT:
            value, at = _varint(data, at)
            number = (value >> 1) ^ -(value & 1)
            if not -_MOST_INT - 1 <= number <= _MOST_INT:
                raise ValueError("a page's header is damaged")
            found[last] = number
        elif kind == _STRUCT:
            found[last], at = _struct(data, at, depth + 1)
        else:
            at = _skip(data, at, kind)


def _skip(data: bytes, at: int, kind: int) -> int:
    """Where a value ends that is not asked for: a truth, a number, or a text, as statistics have them."""
    if kind in (1, 2):
        return at
    if kind in (3, 4, 6):
        return _varint(data, at)[1] if kind != 3 else at + 1
    if kind == 7:
        return at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return at + length
    raise ValueError("a page's header is damaged")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = _byte(data, at)
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a page's header is damaged")


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise ValueError("a page's header is cut off")
    return data[at]
