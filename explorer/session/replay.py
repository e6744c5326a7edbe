"""A Replay: a recorded run as the page sees it. Nothing is trained, and nothing is loaded that training would need."""

from __future__ import annotations

import threading
from typing import Any

from explorer.config import Config, effect_of
from explorer.recording.history import History
from explorer.recording.storage import Recording
from explorer.session.loop import Loop
from explorer.session.parts import GradientParts
from explorer.session.screen import Screen


class Replay(Screen):
    """A recording on screen. It has no worker and no policy.

    The settings are those of the update on screen, and what is edited is put on top of them, at every update alike.
    Only what re-scores a batch can be edited. Scoring needs PyTorch: the first edit has it imported in a thread, and so
    does a panel that computes; meanwhile the phase is ``loading``, then ``ready``; before, it is ``replay``.

    Args:
        recording: the run.
        threaded: False imports PyTorch in the caller, for scripts and tests.
    """

    def __init__(self, recording: Recording, threaded: bool = True) -> None:
        self.recording, self._threaded = recording, threaded
        prefix = "component/"
        self._unweighted = {
            name.removeprefix(prefix): 0.0 for name in recording.metrics.column_names if name.startswith(prefix)
        }
        self._edits: dict[str, Any] = {}
        first = next(iter(recording.configs.values()), Config())
        super().__init__(Loop(self.report), self._with_weights(first), History(recorded=recording))
        prompts = recording.info.get("prompts")
        self.prompts = tuple(map(str, prompts)) if isinstance(prompts, list | tuple) else ()
        self.phase = "replay"
        self.parts = GradientParts(self)

    def set(self, *, held: bool = False, **changes: Any) -> None:
        """Change settings that re-score the batch on screen; with the value that was recorded, one is as recorded.

        Args:
            held: as of a Session; where nothing is trained there is nothing to keep a passing value from.
            changes: fields of Config, and ``weight_NAME``.

        Raises:
            TypeError: no such field.
            ValueError: a value outside its range, or a field that only training would take; nothing has changed.
        """
        config = self.config.replace(**changes)
        idle = [name for name in config.differences(self.config) if effect_of(name) != "what_if"]
        if idle:
            raise ValueError(f"This page shows a recording, and {', '.join(idle)} would act on training only.")
        self._edits = {name: own for name, (own, _) in config.differences(self.compared).items()}
        if self._edits:
            self.load_scoring()
        self._render()

    def close(self) -> None:
        """Let go of the run."""
        self.history.clear()

    def _with_weights(self, config: Config) -> Config:
        """A weight for every component that was recorded, those that did not count at 0."""
        return config.replace(weights={**self._unweighted, **config.weights})

    def _render(self, change: Any = None) -> None:
        """Put the update at the cursor on screen, under its settings and what is edited of them."""
        snapshot = self.history.at(self.cursor.update)
        if snapshot is not None:
            self.compared = self._with_weights(snapshot.config)
            try:
                self.config = self.compared.replace(**self._edits)
            except ValueError as error:  # as δ and ε, of which one was edited and the other is another in this update
                self._edits, self.config = {}, self.compared
                self.report(error)
        super()._render(change)

    def load_scoring(self) -> None:
        """Import what scoring needs, once; ``phase`` says how far that is."""
        if self.phase != "replay":
            return
        self.phase = "loading"
        if self._threaded:
            # No daemon: an interpreter that ends in the middle of an import may crash.
            threading.Thread(target=self._import, name="ppo-explorer-scoring").start()
        else:
            self._import()

    def _import(self) -> None:
        """Score something, which imports all that scoring needs."""
        try:
            import torch

            from explorer.recording.what_if import what_if

            torch.set_num_threads(1)  # as in training: a second thread makes small batches slower
            snapshot = self.history.last
            if snapshot is not None:
                what_if(snapshot, snapshot.config)
        except Exception as error:
            self.loop.post(self._on_failed, error)
            return
        self.loop.post(self._on_loaded)

    def _on_loaded(self) -> None:
        self.phase = "ready"
        self._render()

    def _on_failed(self, error: BaseException) -> None:
        """Back to the recorded settings, since no others can be scored."""
        self._edits, self.phase = {}, "replay"
        self._render()
        self.report(error)
