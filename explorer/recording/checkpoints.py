"""A trainer's state on disk, so that a run can go on from an update, or leave it another way.

    checkpoints/000012.safetensors    the state after update 12; that from which the run started is kept too

The tensors are those of ``explorer.ppo.state``; all else stands as JSON in the header's metadata, under ``facts``:
``version``, ``run`` (its id), ``updates``, ``config``, ``prompts``, ``coefficients``, ``born``, ``temperatures``, and
``torch`` and ``threads``, on which the last digits of what follows depend.
safetensors holds numbers and no code, and nothing here is ever unpickled.

For the bundled policy a checkpoint weighs 12.6 MB, and up to 13.3 MB with the sixteen batches that replay may ask for:
weights and two moments of 1.05 million parameters. It is written whole or not at all. Past so many megabytes every
second one of the older half goes, as ``explorer.recording.thinning`` says; the first and the newest stay.

A recording from before there were checkpoints has none: it opens as ever, and cannot be gone on with. PyTorch is
imported only where a state is written or read, so that a recording opens without it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.config import Config
from explorer.recording.folder import MAX_JSON_BYTES, RecordingError, damaged, inside, numbered_files, replace_file
from explorer.recording.older import facts_from
from explorer.recording.thinning import to_drop

if TYPE_CHECKING:
    from explorer.ppo.state import State

CHECKPOINTS_FOLDER = "checkpoints"

#: The form of a checkpoint. A newer one is refused by name, an older one is read by ``explorer.recording.older``; raise
#: it with every fact, tensor or setting that is added or changed.
CHECKPOINT_VERSION = 2

#: More than the largest GPT-2 with its moments and a critic of its own.
MAX_CHECKPOINT_BYTES = 64 * 2**30

_FILE = re.compile(r"(\d{6,9})\.safetensors")
_NAME = re.compile(r"(?a:weights/[\w.]+|adam/[\w.]+/(step|exp_avg|exp_avg_sq)|replay/\d{1,2}/\w+)")
_TYPES = frozenset({"F32", "I64", "BOOL"})


def checkpoint_path(root: Path, update: int) -> Path:
    """Where the state after an update lies."""
    return root / CHECKPOINTS_FOLDER / f"{update:06d}.safetensors"


def checkpoint_updates(root: Path) -> list[int]:
    """The updates whose states lie in the folder, ascending; other files are left alone."""
    return numbered_files(root / CHECKPOINTS_FOLDER, _FILE)


def write_checkpoint(root: Path, state: State, run: str, *, durable: bool = False) -> Path:
    """Write a state.

    Args:
        root: the run's folder.
        state: what to write.
        run: the run's id.
        durable: whether to wait until it would outlast a loss of power.

    Raises:
        OSError: it cannot be written, as the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    facts = {
        "version": CHECKPOINT_VERSION,
        "run": run,
        "updates": state.updates,
        "config": state.config.flat(),
        "prompts": list(state.prompts),
        "coefficients": dataclasses.asdict(state.coefficients),
        "born": list(state.born),
        "temperatures": list(state.temperatures),
        "torch": state.torch,
        "threads": state.threads,
    }
    path = checkpoint_path(root, state.updates)
    path.parent.mkdir(exist_ok=True)
    header = {"facts": json.dumps(facts, ensure_ascii=False, allow_nan=False)}

    def write(target: Path) -> None:
        target.touch()
        mode = target.stat().st_mode  # safetensors gives it to its owner alone; whoever may read the run may read it
        save_file(dict(state.tensors), target, header)
        target.chmod(mode)

    try:
        replace_file(path, write, durable=durable)
    except SafetensorError as error:  # it wraps what the system said
        raise OSError(str(error)) from None
    return path


def thin_checkpoints(root: Path, megabytes: float) -> None:
    """Let older checkpoints go until the rest weigh so many megabytes (of a million bytes) at most; one always stays.

    Raises:
        OSError: one cannot be removed.
    """
    kept = checkpoint_updates(root)
    largest = max((checkpoint_path(root, update).stat().st_size for update in kept), default=1)
    limit = max(1, int(megabytes * 1_000_000 // max(1, largest)))
    while going := to_drop(kept, limit):
        for update in going:
            checkpoint_path(root, update).unlink()
        kept = [update for update in kept if update not in going]


def copy_checkpoints(files: Iterable[Path], target: Path) -> None:
    """Copy states into another folder; one that has been thinned out meanwhile is left out.

    Raises:
        RecordingError: one of them is no plain file of its folder.
        OSError: it cannot be read, or the target not be written.
    """
    for path in files:
        if path.exists():
            relative = Path(CHECKPOINTS_FOLDER, path.name)
            source = inside(path.parent.parent, str(relative), "choose another update.")
            (target / relative).parent.mkdir(exist_ok=True)
            replace_file(target / relative, partial(shutil.copyfile, source))


def read_checkpoint(root: Path, update: int, run: str) -> State:
    """The state after an update.

    Names, types and sizes are checked; whether they are those of a trainer is for ``explorer.ppo.state.restore``.

    Raises:
        RecordingError: it is missing, damaged, no plain file of this folder, of another run or of a newer form.
    """
    from safetensors import SafetensorError, safe_open

    from explorer.ppo.adaptive import Coefficients
    from explorer.ppo.state import State

    path = inside(root, str(checkpoint_path(Path(), update)), "choose another update.")
    try:
        _check_header(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            facts = _facts(file.metadata())
            if facts["version"] > CHECKPOINT_VERSION:
                raise RecordingError(
                    f"'{path}' is of checkpoint version {facts['version']}, and this PPO Explorer reads up to "
                    f"{CHECKPOINT_VERSION}: go on with a newer PPO Explorer."
                )
            if facts["run"] != run:
                raise RecordingError(f"'{path}' belongs to another run than '{root}': restore the run's own.")
            if facts["updates"] != update:
                raise ValueError(f"it holds update {facts['updates']}")
            for name in file.keys():  # noqa: SIM118  # not a dict
                _check_name(name, file.get_slice(name).get_dtype())
            # Read, not mapped: what a state holds is its own, whatever happens to the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        facts = facts_from(facts["version"], facts)
        return State(
            updates=update,
            config=Config.from_flat(facts["config"]),
            prompts=tuple(_texts(facts["prompts"])),
            coefficients=Coefficients(**facts["coefficients"]),
            born=tuple(facts["born"]),
            temperatures=tuple(facts["temperatures"]),
            torch=_known(facts["torch"], str),
            threads=_known(facts["threads"], int),
            tensors=tensors,
        )
    except RecordingError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise damaged(path, error, "restore it, or choose another update") from None


def _check_header(path: Path) -> None:
    """See that neither the file nor its header claims to be larger than there can be."""
    size = path.stat().st_size
    if size > MAX_CHECKPOINT_BYTES:
        raise ValueError("it is too large")
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if size < 8 or claimed > min(MAX_JSON_BYTES, size - 8):
        raise ValueError("its header is cut off or too large")


def _facts(metadata: Mapping[str, str] | None) -> dict[str, Any]:
    facts = json.loads((metadata or {})["facts"])
    if type(facts["version"]) is not int or facts["version"] < 1:
        raise ValueError(f"its version is {facts['version']!r}")
    known: dict[str, Any] = facts
    return known


def _check_name(name: str, kind: str) -> None:
    if not _NAME.fullmatch(name) or kind not in _TYPES:
        raise ValueError(f"it holds a '{name[:80]}' of type {kind}")


def _known(value: Any, kind: type) -> Any:
    """What a state says that it was made with; None where it is older and does not say."""
    if value is not None and type(value) is not kind:
        raise TypeError(f"it was made with {str(value)[:80]!r}")
    return value


def _texts(values: Any) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(text, str) for text in values):
        raise TypeError("its prompts are no list of texts")
    return values
