"""What to say where a recording breaks off: what its folder holds, what of the run is lost, and how to go on."""

from __future__ import annotations

from pathlib import Path

from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.folder import NoRoomError, RecordingError


def held_by(root: Path, error: OSError, last: int) -> str:
    """What a folder that takes no more holds, as the beginning of a sentence; ``last`` is its last update, or 0."""
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    holds = f"every update up to {last}" if last else "no update yet"
    return f"'{root}' cannot be written to ({reason[:200]}); it holds {holds}"


def told_with_the_lost(error: RecordingError, root: Path, last: int, made: int) -> RecordingError:
    """What ended a recording, in words for whoever has no page: also which updates are lost, and what to do.

    Args:
        error: what ended it.
        root: its folder.
        last: the last update that the folder holds, 0 for none.
        made: the last update that had been made.

    Returns:
        An error of the same kind.

    Raises:
        RecordingError: the folder's states cannot be looked for.
    """
    lost = range(last + 1, made + 1)
    named = f"update {made}" if len(lost) == 1 else f"updates {last + 1} to {made}"  # one or two, as a rule
    are = "is" if len(lost) == 1 else "are"
    states = checkpoint_updates(root)
    if not isinstance(error, NoRoomError):  # as where its settings have changed too often: it says what to do
        then = f" {named.capitalize()} {are} lost; its newest state is that of update {states[-1]}." if states else ""
        return type(error)(f"{error}{then if lost else ''}")
    if states:
        advice = "make room there and resume the run" + (f", which makes {named} once more" if lost else "")
    else:
        advice = "it keeps no state to go on from, so make room and record it again"
    return NoRoomError(error.held + (f", and {named} {are} lost" if lost else ""), f"{advice}, or record elsewhere")
