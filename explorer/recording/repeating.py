"""The updates that a run's folder holds after its newest state, as after a kill: made once more, and compared.

Nothing of them is dropped. Each is computed again from that state, with the settings that it had, and must come out as
it is recorded, bit for bit; then the run goes on after the last of them. Where one does not, as with another version
of PyTorch, on another device or with other threads, the run cannot go on in its folder: what is there stays as it is.
"""

from __future__ import annotations

from explorer.config import Config
from explorer.recording.branches import Parting, parting_at
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording


class Repeat:
    """The updates of a recording that are to be made once more.

    Args:
        recording: the run.
        after: the update after which there is a state.

    Attributes:
        updates: their numbers, ascending; empty where the state is that of the last update.
    """

    def __init__(self, recording: Recording, after: int) -> None:
        self._recording = recording
        self.updates: list[int] = [n for n in recording.metrics.column("update").to_pylist() if n > after]

    def config_at(self, update: int) -> Config | None:
        """The settings that an update had; None for one that is not there yet."""
        return self._recording.config_at(update) if update in self.updates else None

    def difference(self, snapshot: Snapshot) -> Parting | None:
        """The first number of an update that is not the recorded one; None where it is the same, bit for bit.

        Where its tokens have been thinned out its metrics are compared, without wall times.

        Raises:
            KeyError: the update is not there.
            RecordingError: its files are damaged.
        """
        if snapshot.update not in self.updates:
            raise KeyError(f"the recording has no update {snapshot.update} after its state")
        return parting_at(self._recording, snapshot)
