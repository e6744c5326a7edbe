"""Where a run computes: on the processor or on a GPU, in float32 or with forwards in bfloat16.

Random numbers are drawn on the CPU on every device, from the generators of (seed, update), and then moved: the same
seed means the same uniforms and the same minibatches everywhere. What is computed from them agrees to rounding and not
bit for bit, since a GPU adds in another order, and in some kernels in another one every time.
"""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A run cannot compute there, or not in that precision; the message says what to do."""


def find_device(name: str | torch.device) -> torch.device:
    """The device of a name: ``cpu``, ``cuda``, or one GPU of several, such as ``cuda:1``.

    Raises:
        DeviceError: there is no such device, or none on this machine.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device is '{name}', but must be 'cpu', 'cuda', or one GPU of several such as 'cuda:1'.")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        build = "" if torch.version.cuda else ", as this PyTorch was built without CUDA"
        raise DeviceError(f"device is '{name}', but PyTorch finds no GPU here{build}: choose 'cpu'.")
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        raise DeviceError(f"device is '{name}', but there is none beyond 'cuda:{count - 1}' here: choose one of those.")
    return torch.device("cuda", index)


def check_bf16(device: torch.device) -> None:
    """Whether a device computes in bfloat16 by itself.

    Raises:
        DeviceError: it does not.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            able = torch.cuda.is_bf16_supported(including_emulation=False)
        if not able:
            name = torch.cuda.get_device_name(device)
            raise DeviceError(f"bf16 is on, but '{device}' ({name}) does not compute in bfloat16: leave bf16 off.")
