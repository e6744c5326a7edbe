"""How long each stage of an update takes."""

from __future__ import annotations

import time

import torch


class Clock:
    """Wall time per stage; the time a consumer keeps the generator waiting is not counted.

    A GPU goes on computing after Python has asked it to: before a time is read, everything asked for has to be done, or
    one stage would be charged with what another has left behind.
    """

    def __init__(self, device: torch.device) -> None:
        """Start, on the device that the stages compute on."""
        self._device = device
        self.seconds: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        """Begin a stage here."""
        self._since = self._now()

    def mark(self, name: str) -> None:
        """End a stage here, in ``seconds[name]``."""
        self.seconds[name] = self._now() - self._since

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
