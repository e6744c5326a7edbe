"""The policy's weights as of earlier updates, bounded, so that a prompt can be tried on any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from explorer.recording.thinning import to_drop

if TYPE_CHECKING:
    from torch import Tensor

    from explorer.ppo.policy import Policy
    from explorer.ppo.state import State

#: What the names of a state's weights begin with.
WEIGHTS = "weights/"


class Checkpoints:
    """Weights in half precision on the CPU by update; update 0 is the reference.

    About 2 MB each for the bundled policy, twice that with a separate critic. Past ``limit``, or past so many
    ``megabytes``, every second one of the older half is dropped. What a run that was opened keeps on the disk is read
    from there when it is asked for.
    """

    def __init__(self, limit: int = 40, megabytes: int = 400) -> None:
        self.limit, self.megabytes = limit, megabytes
        self._weights: dict[int, dict[str, Tensor]] = {}
        self._on_disk: dict[int, Callable[[int], State]] = {}

    def keep(self, update: int, policy: Policy) -> None:
        """Keep the policy's weights as those after ``update``; later ones, of a run that was reset, are forgotten."""
        for later in [n for n in self._weights if n >= update]:
            del self._weights[later]
        self._on_disk = {n: read for n, read in self._on_disk.items() if n < update}
        state = policy.state_dict()
        kept = {name: state[name].detach().half().to("cpu", copy=True) for name in set(_sources(state).values())}
        self._weights[update] = kept
        size = sum(tensor.nbytes for tensor in kept.values())
        limit = max(2, min(self.limit, self.megabytes * 1_000_000 // size)) if self.limit > 1 else 1
        for number in to_drop(list(self._weights), limit):
            del self._weights[number]

    def find_on_disk(self, updates: Iterable[int], read: Callable[[int], State]) -> None:
        """The states after these updates are on the disk; ``read`` gives one, or raises ValueError where it is gone."""
        self._on_disk.update(dict.fromkeys(updates, read))

    @property
    def updates(self) -> list[int]:
        """The updates that still have their weights, oldest first."""
        return sorted({*self._weights, *self._on_disk})

    def load_into(self, policy: Policy, update: int) -> None:
        """Give ``policy`` the weights of ``update``; without a critic in them, its own stays as it is.

        Raises:
            ValueError: that update's weights are not kept; says which is nearest.
        """
        weights = self._find(update)
        if weights is None:
            nearest = min(self.updates, key=lambda n: abs(n - update), default=None)
            hint = f"the nearest kept are those of update {nearest}." if nearest is not None else "none are kept."
            raise ValueError(f"The weights of update {update} are no longer kept: {hint}")
        own = policy.state_dict()
        weights |= {name: tensor for name, tensor in own.items() if name.startswith("critic.") and name not in weights}
        policy.load_state_dict({name: weights[source] for name, source in _sources(own).items()})

    def clear(self) -> None:
        """Forget all."""
        self._weights.clear()
        self._on_disk.clear()

    def _find(self, update: int) -> dict[str, Tensor] | None:
        if update in self._weights:
            return {name: tensor.float() for name, tensor in self._weights[update].items()}
        if update not in self._on_disk:
            return None
        try:
            found = self._on_disk[update](update).tensors
        except (ValueError, OSError):  # deleted meanwhile, or thinned out
            del self._on_disk[update]
            return None
        return {name.removeprefix(WEIGHTS): tensor for name, tensor in found.items() if name.startswith(WEIGHTS)}


def _sources(state: dict[str, Tensor]) -> dict[str, str]:
    """``{name: the first name of the same memory}``: tied weights, such as embeddings and output layer, are one."""
    first: dict[int, str] = {}
    return {name: first.setdefault(tensor.data_ptr(), name) for name, tensor in state.items()}
