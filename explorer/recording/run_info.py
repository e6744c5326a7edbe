"""What a recording says of its run as a whole: the ``info`` of ``run.json``."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from explorer.config import Config

if TYPE_CHECKING:
    from explorer.ppo.trainer import Trainer
    from explorer.recording.origin import Origin

#: The packages that a run's numbers depend on.
PACKAGES = ("torch", "transformers")


def run_info(live: Trainer, config: Config, prompts: Sequence[str], origin: Origin | None = None) -> dict[str, Any]:
    """What there is to say of a run that a trainer is about to make.

    Its id, when it was begun (UTC), versions, PyTorch's number of threads, seed, policy and the digest of its weights
    at the very start, device, precision and prompts; and its parent, where it is a branch.

    Args:
        live: the trainer that makes it.
        config: the knobs of its first update.
        prompts: the training prompts of its first update.
        origin: the checkpoint from which the trainer goes on, where it was put back to one.
    """
    import torch

    import explorer
    from explorer.ppo.state import weights_digest

    parent = {} if origin is None else {"parent": origin.parent(config, prompts)}
    return parent | {
        "id": uuid.uuid4().hex,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"explorer": explorer.__version__, **{name: version(name) for name in PACKAGES}},
        "threads": torch.get_num_threads(),
        "seed": config.seed,
        "policy": live.policy.name,
        "policy_digest": weights_digest(live.reference),
        "device": str(live.policy.device),
        "bf16": live.policy.bf16,
        "prompts": list(prompts),
    }
