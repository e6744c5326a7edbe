"""The whole state of a trainer between two updates: what the next update, and every one after it, depends on.

    weights/NAME                a parameter of the policy, its value head and its critic; tied weights once
    adam/NAME/step, exp_avg, exp_avg_sq    Adam's step count and moments of that parameter, where it has taken a step
    replay/I/FIELD              the I-th newest experience kept for replay, nine tensors each

and as plain values the number of updates, when and at which temperature those batches were sampled, the adapted
coefficients, the config and the prompts; and what it was made with, which changes nothing but the last digits of what
follows: the version of PyTorch, and its number of threads.

There is no generator's state in it, and none is missing: every random number belongs to (seed, update, purpose), see
``explorer.ppo.sampling``. So a trainer that is put back to update 12 draws in update 13 the numbers that it drew
before, whatever else has been drawn since, and two branches of a run draw the same numbers as long as their seeds are
the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from explorer.config import Config
from explorer.ppo.adaptive import Coefficients
from explorer.ppo.optimiser import Optimiser
from explorer.ppo.policy import Policy
from explorer.ppo.prompts import check_prompts, encode
from explorer.ppo.replay import Experience

if TYPE_CHECKING:
    from explorer.ppo.trainer import Trainer

#: What Adam keeps for a parameter.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")

_CRITIC = "critic."


class StateError(ValueError):
    """A state does not belong to this trainer, or is damaged; the message says what is wrong."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """A trainer's state between two updates.

    Attributes:
        updates: how many updates have been made.
        config: the knobs of the next one.
        prompts: the training prompts.
        coefficients: those that adapt, as the last update has left them.
        born: the update in which each replayed experience was sampled, newest first.
        temperatures: the temperature of each replayed experience.
        torch: the version of PyTorch that made it; None where that is not known.
        threads: how many threads it did that with; None likewise.
        tensors: by name, as the module says; on the CPU, and nobody else's.
    """

    updates: int
    config: Config
    prompts: tuple[str, ...]
    coefficients: Coefficients
    born: tuple[int, ...]
    temperatures: tuple[float, ...]
    torch: str | None
    threads: int | None
    tensors: Mapping[str, Tensor]

    @property
    def nbytes(self) -> int:
        """What its tensors weigh, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def capture(trainer: Trainer, config: Config | None = None) -> State:
    """A copy of a trainer's state. Ask between two updates: in the middle of one the weights are half way.

    Args:
        trainer: what to copy; its tensors may lie on a GPU.
        config: the knobs of the next update; None is ``trainer.config``.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in trainer.policy.named_parameters():
        tensors[f"weights/{name}"] = _copy(parameter)
        for moment, value in trainer.optimiser.adam.state.get(parameter, {}).items():
            tensors[f"adam/{name}/{moment}"] = _copy(value)
    for i, experience in enumerate(trainer.replay):
        tensors |= {f"replay/{i}/{field}": _copy(value) for field, value in experience.tensors().items()}
    return State(
        updates=trainer.updates,
        config=config or trainer.config,
        prompts=tuple(trainer.prompts),
        coefficients=trainer.coefficients,
        born=tuple(experience.born for experience in trainer.replay),
        temperatures=tuple(experience.temperature for experience in trainer.replay),
        torch=str(torch.__version__),
        threads=torch.get_num_threads(),
        tensors=tensors,
    )


def restore(trainer: Trainer, state: State) -> None:
    """Go back to a state, or on to it: the next update is then the one that followed it, bit for bit.

    Everything is checked before anything is changed. The reference stays: it is the policy that the run was begun with.

    Raises:
        StateError: a tensor is missing, unknown, or has another shape or type than this trainer's; or a number cannot
            be. The trainer is as it was.
        ValueError: the config or the prompts do not suit this trainer, as ``Trainer.check`` says.
    """
    _check_numbers(trainer, state)
    _check_tensors(trainer.policy, state)
    prompts = check_prompts(state.prompts)
    encode(trainer.policy, prompts, state.config.response_length)
    trainer.check(state.config)

    device = trainer.policy.device
    moments = {n: t.to(device, copy=True) for n, t in state.tensors.items() if n.startswith("adam/")}
    replay = [
        Experience(
            **{f: state.tensors[f"replay/{i}/{f}"].to(device, copy=True) for f in Experience.FIELDS},
            born=born,
            temperature=temperature,
        )
        for i, (born, temperature) in enumerate(zip(state.born, state.temperatures, strict=True))
    ]
    # From here on nothing can fail.
    trainer.policy.use_critic("separate" if _has_critic(state) else "shared")
    trainer.optimiser = Optimiser(trainer.policy)
    with torch.no_grad():
        for name, parameter in trainer.policy.named_parameters():
            parameter.copy_(state.tensors[f"weights/{name}"])
            if f"adam/{name}/step" in moments:
                trainer.optimiser.adam.state[parameter] = {m: moments[f"adam/{name}/{m}"] for m in MOMENTS}
    trainer.replay.clear()
    trainer.replay.extend(replay)
    trainer.coefficients, trainer.config, trainer.prompts = state.coefficients, state.config, prompts
    trainer.updates = state.updates


def weights_digest(policy: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of a policy's parameters, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, parameter in sorted(policy.named_parameters()):
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _has_critic(state: State) -> bool:
    return any(name.startswith(f"weights/{_CRITIC}") for name in state.tensors)


def _check_numbers(trainer: Trainer, state: State) -> None:
    coefficients = dataclasses.astuple(state.coefficients)
    if not all(type(c) is float and math.isfinite(c) and c >= 0 for c in coefficients):
        raise StateError(f"the coefficients of the state are {coefficients}, which cannot be: use another checkpoint.")
    if type(state.updates) is not int or state.updates < 0:
        raise StateError(f"the state is of update {state.updates!r}, which cannot be: use another checkpoint.")
    births = [state.updates + 1, *state.born]
    ordered = all(type(b) is int and 1 <= b < a for a, b in pairwise(births))
    if not ordered or len(state.born) > (trainer.replay.maxlen or 0):
        raise StateError(
            f"the state of update {state.updates} replays updates {list(state.born)}, which cannot be: use another "
            "checkpoint."
        )
    possible = all(type(t) is float and math.isfinite(t) and t > 0 for t in state.temperatures)
    if not possible or len(state.temperatures) != len(state.born):
        raise StateError(
            f"the state of update {state.updates} replays responses of temperatures {list(state.temperatures)}, which "
            "cannot be: use another checkpoint."
        )


def _check_tensors(policy: Policy, state: State) -> None:
    """Whether the names, shapes and types are those of this policy, and the replayed ids those of its vocabulary."""
    expected: dict[str, tuple[torch.Size, torch.dtype]] = {}
    for name, parameter in _parameters(policy, _has_critic(state)):
        form = (parameter.shape, parameter.dtype)
        expected[f"weights/{name}"] = form
        if any(f"adam/{name}/{moment}" in state.tensors for moment in MOMENTS):  # a frozen head never took a step
            forms = ((torch.Size(), torch.float32), form, form)
            expected |= {f"adam/{name}/{moment}": f for moment, f in zip(MOMENTS, forms, strict=True)}
    for i in range(len(state.born)):
        for field in Experience.FIELDS:
            prompts, tokens = (_shape(state, f"replay/{i}/{of}_ids") for of in ("prompt", "response"))
            shape, dtype = Experience.form(field, prompts, tokens)
            expected[f"replay/{i}/{field}"] = (torch.Size(shape), dtype)
    if missing := [name for name in expected if name not in state.tensors]:
        raise StateError(f"the state has no '{missing[0]}', which this policy needs: use a checkpoint of its own run.")
    if unknown := [name for name in state.tensors if name not in expected]:
        raise StateError(
            f"the state has a '{unknown[0]}', which this policy does not: use a checkpoint of its own run."
        )
    for name, (shape, dtype) in expected.items():
        found = state.tensors[name]
        if found.shape != shape or found.dtype != dtype:
            raise StateError(
                f"'{name}' in the state is {_form(found.shape, found.dtype)}, but this policy's is "
                f"{_form(shape, dtype)}: use a checkpoint of its own run."
            )
    for i in range(len(state.born)):
        length = sum(state.tensors[f"replay/{i}/{of}_ids"].shape[1] for of in ("prompt", "response"))
        if length > policy.positions + 1:  # the last token is predicted, never read
            raise StateError(f"'replay/{i}' in the state is longer than this policy can read: use another checkpoint.")
    vocabulary = int(policy.lm.config.vocab_size)
    for name, found in state.tensors.items():
        is_ids = name.endswith(("/prompt_ids", "/response_ids"))
        if is_ids and (int(found.min()) < 0 or int(found.max()) >= vocabulary):
            raise StateError(f"'{name}' in the state has a token that this policy does not: use another checkpoint.")
        if name.endswith("/step") and not (math.isfinite(float(found)) and float(found) >= 1):
            raise StateError(f"'{name}' in the state is {float(found)}, which cannot be: use another checkpoint.")


def _parameters(policy: Policy, critic: bool) -> Iterator[tuple[str, Tensor]]:
    """The policy's parameters as they are with a critic of its own, or without one."""
    yield from ((name, p) for name, p in policy.named_parameters() if not name.startswith(_CRITIC))
    if critic:
        yield from ((f"{_CRITIC}{name}", p) for name, p in policy.lm.transformer.named_parameters())


def _shape(state: State, name: str) -> tuple[int, ...]:
    found = state.tensors.get(name)
    shape = () if found is None else tuple(found.shape)
    return shape if len(shape) == 2 and 0 not in shape else (1, 1)  # the check of every shape then says what is wrong


def _form(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"
