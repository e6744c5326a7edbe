"""A reward model on disk: numbers as safetensors, all else as JSON; nothing is ever unpickled.

    reward_model.safetensors    head [D], members [M, D], mean [D], scale [D] float64; of a tuned trunk its weights too
    reward_model.json           version, blocks, centre, stretch, log_tie, penalty, said, the digest of the policy whose
                                hidden states it reads, and how well it did

The policy is not in it. A model reads one policy's hidden states and would see nonsense in another's: the digest of the
weights tells.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from explorer.ppo.policy import Policy
from explorer.ppo.preferences.comparisons import CHOICES, PreferenceError
from explorer.ppo.preferences.evaluation import Evaluation
from explorer.ppo.preferences.features import Block
from explorer.ppo.preferences.reward_model import RewardModel
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.state import weights_digest

VERSION = 1

NUMBERS, FACTS = "reward_model.safetensors", "reward_model.json"

#: Far more than any head has to say.
MAX_JSON_BYTES = 50_000_000

_TRUNK = "trunk/"


def save_reward_model(model: RewardModel, folder: str | Path, reference: Policy) -> None:
    """Write a reward model into a folder; one that is there is replaced, the JSON last.

    Args:
        model: what to write.
        folder: made where there is none.
        reference: the frozen policy that the model, or the trunk that was tuned for it, came from.

    Raises:
        PreferenceError: it cannot be written.
    """
    features, target = model.features, Path(folder)
    digest, own = weights_digest(reference.lm), weights_digest(features.policy.lm)
    tensors = {"head": model.head, "members": model.members, "mean": features.mean, "scale": features.scale}
    if own != digest:
        trunk = features.policy.lm.transformer.state_dict()
        tensors |= {_TRUNK + name: weight.detach().cpu() for name, weight in trunk.items()}
    facts = {
        "version": VERSION,
        "reference": digest,
        "policy": own,
        "blocks": [list(block) for block in features.blocks],
        "centre": model.centre,
        "stretch": model.stretch,
        "log_tie": None if math.isinf(model.log_tie) else model.log_tie,
        "penalty": model.penalty,
        "said": dict(model.said),
        "train": model.train.plain(),
        "held_out": model.held_out.plain(),
    }
    text = json.dumps(facts, indent=1, allow_nan=False) + "\n"
    try:
        target.mkdir(parents=True, exist_ok=True)
        _replace(target / NUMBERS, lambda path: save_file({k: v.contiguous() for k, v in tensors.items()}, path))
        _replace(target / FACTS, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        raise PreferenceError(
            f"The reward model cannot be saved in '{folder}' ({error}): name another folder."
        ) from None


def load_reward_model(folder: str | Path, reference: Policy) -> RewardModel:
    """Read a reward model.

    Args:
        folder: where it was saved.
        reference: the frozen policy that it was made from.

    Raises:
        PreferenceError: it is missing, damaged, of a newer form, or was made from another policy.
    """
    source = Path(folder)
    try:
        if (source / FACTS).stat().st_size > MAX_JSON_BYTES:
            raise ValueError
        facts = json.loads((source / FACTS).read_text(encoding="utf-8"))
        if facts["version"] > VERSION:
            raise PreferenceError(f"'{folder}' was saved by a newer PPO Explorer: open it with that one.")
        if facts["reference"] != weights_digest(reference.lm):
            raise PreferenceError(
                f"The reward model in '{folder}' was made from another policy: load that policy, or fit it anew."
            )
        tensors = load_file(source / NUMBERS)
        blocks = [Block(str(name), str(pooling), float(share)) for name, pooling, share in facts["blocks"]]
        policy = _policy(reference, tensors, tuned=facts["policy"] != facts["reference"], digest=facts["policy"])
        return _model(facts, tensors, Features.of(policy, blocks, tensors["mean"], tensors["scale"]))
    except PreferenceError:
        raise
    except FileNotFoundError:
        raise PreferenceError(f"There is no reward model in '{folder}': it needs {NUMBERS} and {FACTS}.") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError, RecursionError):
        raise PreferenceError(f"The reward model in '{folder}' is damaged: save it again, or fit it anew.") from None


def _policy(reference: Policy, tensors: dict[str, Tensor], *, tuned: bool, digest: str) -> Policy:
    if not tuned:
        return reference
    policy = reference.frozen_copy("tuned trunk")
    weights = {name.removeprefix(_TRUNK): weight for name, weight in tensors.items() if name.startswith(_TRUNK)}
    policy.lm.transformer.load_state_dict(weights)
    if weights_digest(policy.lm) != digest:
        raise ValueError
    return policy


def _model(facts: dict[str, Any], tensors: dict[str, Tensor], features: Features) -> RewardModel:
    head, members = tensors["head"].double(), tensors["members"].double()
    numbers = {name: float(facts[name]) for name in ("centre", "stretch", "penalty")}
    log_tie = -math.inf if facts["log_tie"] is None else float(facts["log_tie"])
    finite = all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    finite &= all(math.isfinite(number) for number in numbers.values()) and not math.isnan(log_tie)
    if head.shape != (features.width,) or members.shape[1:] != head.shape or not finite or numbers["stretch"] <= 0:
        raise ValueError
    return RewardModel(
        features=features,
        head=head,
        members=members,
        log_tie=log_tie,
        train=Evaluation.from_plain(facts["train"]),
        held_out=Evaluation.from_plain(facts["held_out"]),
        said={choice: int(facts["said"][choice]) for choice in CHOICES},
        **numbers,
    )


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write under another name first, so that a cut leaves the old file whole."""
    unfinished = path.with_name(path.name + ".part")
    write(unfinished)
    os.replace(unfinished, path)
