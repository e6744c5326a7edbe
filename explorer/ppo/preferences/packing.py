"""Numbers as a recipe holds them: half precision, compressed, in base64."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np
import torch
from torch import Tensor

#: More than any head or trunk has: of a head, more words than any vocabulary whose words are read one by one.
MAX_NUMBERS = 1_000_000


def pack(numbers: Tensor) -> str:
    """Numbers ``[N]`` in half precision as text; zeros take no room."""
    return base64.b64encode(zlib.compress(numbers.detach().cpu().numpy().astype("<f2").tobytes(), 9)).decode("ascii")


def unpack(text: str, of: str) -> Tensor:
    """What ``pack`` made, ``[N]`` float64. However much a bomb would come to, little is unpacked.

    Args:
        text: of ``pack``.
        of: what the numbers are, for the message of an error: "head".

    Raises:
        ValueError: the text is damaged, or one of the numbers is none.
    """
    try:
        packed = base64.b64decode(text, validate=True)
        unpacking = zlib.decompressobj()
        raw = unpacking.decompress(packed, 2 * MAX_NUMBERS)
        if not unpacking.eof or unpacking.unused_data or len(raw) % 2 or not raw:
            raise ValueError
        found = torch.from_numpy(np.frombuffer(raw, dtype="<f2").astype(np.float64))
    except (binascii.Error, zlib.error, ValueError):
        raise ValueError(f"Its {of} is damaged: fit it anew.") from None
    if not bool(found.isfinite().all()):
        raise ValueError(f"Its {of} has a weight that is no number: fit it anew.")
    return found
