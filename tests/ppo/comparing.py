"""Whether two policies or two updates are the same, bit by bit."""

from __future__ import annotations

from torch import Tensor, equal

from explorer.ppo.policy import Policy
from explorer.ppo.records import Update


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(equal(a[name], b[name]) for name in a)


def assert_equal(one: Update, other: Update) -> None:
    """Bit by bit, but for the wall time."""
    arrays: list[list[Tensor]] = [[], []]
    for update, found in zip((one, other), arrays, strict=True):
        update.map(lambda array, found=found: found.append(array) or array)
    assert len(arrays[0]) == len(arrays[1]) > 30
    assert all(equal(a, b) for a, b in zip(*arrays, strict=True))
    assert {k: v for k, v in one.metrics.items() if k != "throughput/seconds"} == {
        k: v for k, v in other.metrics.items() if k != "throughput/seconds"
    }
    assert one.checks == other.checks
