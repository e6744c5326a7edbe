"""How long each stage of an update takes."""

from __future__ import annotations

import time

import torch


class Clock:
    """Wall time per stage; the time a consumer keeps the generator waiting is not counted.

    The stages of an update, in this order: ``sample`` (the policy writes, ReMax's greedy answers too), ``old`` (the old
    policy's log-probabilities, values and likeliest tokens), ``reference`` (the reference's, and the exact KL),
    ``score``, ``advantage``, ``epoch 1`` and on, ``record``.

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
        """End a stage here, added to ``seconds[name]``; the next one begins."""
        now = self._now()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
