"""A second device that every machine has, to show that no tensor is forgotten on the CPU when a run is on a GPU.

Inside ``second_device()`` the device "meta", on which PyTorch keeps shapes alone, gets contents: a tensor there is a
wrapper around one on the CPU that does its work. As on a GPU it cannot become a numpy array, and meets tensors of the
CPU in a copy only, or where they are single numbers. This is stricter than CUDA in one place: it does not take an index
from the CPU either, which on a GPU would wait for a copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from explorer.ppo.policy import Policy

SECOND, CPU = torch.device("meta"), torch.device("cpu")

#: What may have tensors on both devices.
COPIES = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)


class TwoDevices(RuntimeError):
    """An operation was given tensors on both devices."""


class There(Tensor):
    """A tensor on the second device."""

    content: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, content: Tensor) -> There:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            content.size(),
            strides=content.stride(),
            storage_offset=content.storage_offset(),
            dtype=content.dtype,
            device=SECOND,
        )
        made.content = content
        return made

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def data_ptr(self) -> int:
        return self.content.data_ptr()


class _Mode(TorchDispatchMode):
    """What makes a tensor anew has none among its arguments: it comes this way."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class _FromNumbers(TorchFunctionMode):
    """What ``torch.tensor`` makes on "meta" comes not that way, and without its contents."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") == SECOND:
            return torch.tensor(*args, **{**kwargs, "device": CPU}).to(SECOND)
        return function(*args, **kwargs)


def _run(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, There)]
    if there and operation not in COPIES and any(t.ndim for t in tensors if not isinstance(t, There)):
        raise TwoDevices(f"{operation} was given tensors on the second device and on the CPU.")
    if operation is COPIES[0]:
        target = args[0].device
    else:
        target = torch.device(kwargs.get("device") or (SECOND if there else CPU))
    if "device" in kwargs:
        kwargs = {**kwargs, "device": CPU}
    result = operation(*tree_map(_content, args), **tree_map(_content, kwargs))
    known = {id(tensor.content): tensor for tensor in there}  # what works in place gives the very tensor back

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor) or target != SECOND:
            return value
        return known[id(value)] if id(value) in known else There(value)

    return tree_map(wrapped, result)


def _content(value: Any) -> Any:
    return value.content if isinstance(value, There) else value


@contextmanager
def second_device() -> Iterator[torch.device]:
    """The second device, usable inside the block."""
    with _Mode(), _FromNumbers():
        yield SECOND


def moved(policy: Policy) -> Policy:
    """The policy on the second device, inside the block."""
    policy = policy.to(SECOND)
    policy.lm.tie_weights()  # what a real device keeps as one tensor has become two wrappers
    return policy
