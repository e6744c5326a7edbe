"""The policy's weights as of earlier updates, bounded, so that a prompt can be tried on any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.recording.thinning import to_drop

if TYPE_CHECKING:
    from torch import Tensor

    from explorer.ppo.policy import Policy


class Checkpoints:
    """Weights in half precision by update; update 0 is the reference.

    About 2 MB each for the bundled policy. Past ``limit`` every second one of the older half is dropped.
    """

    def __init__(self, limit: int = 40) -> None:
        self.limit = limit
        self._weights: dict[int, dict[str, Tensor]] = {}

    def keep(self, update: int, policy: Policy) -> None:
        """Keep the policy's weights as those after ``update``; later ones, of a run that was reset, are forgotten."""
        for later in [n for n in self._weights if n >= update]:
            del self._weights[later]
        self._weights[update] = {name: tensor.detach().half().clone() for name, tensor in policy.state_dict().items()}
        for number in to_drop(list(self._weights), self.limit):
            del self._weights[number]

    @property
    def updates(self) -> list[int]:
        """The updates that still have their weights, oldest first."""
        return list(self._weights)

    def load_into(self, policy: Policy, update: int) -> None:
        """Give ``policy`` the weights of ``update``.

        Raises:
            ValueError: that update's weights are not kept; says which is nearest.
        """
        if update not in self._weights:
            nearest = min(self._weights, key=lambda n: abs(n - update), default=None)
            hint = f"the nearest kept are those of update {nearest}." if nearest is not None else "none are kept."
            raise ValueError(f"The weights of update {update} are no longer kept: {hint}")
        policy.load_state_dict({name: tensor.float() for name, tensor in self._weights[update].items()})

    def clear(self) -> None:
        """Forget all."""
        self._weights.clear()
