"""PPO Explorer: a small language model trains with PPO while you watch, stop it, and turn every knob.

Public names load on first use, so that ``import explorer`` costs milliseconds: PyTorch and transformers, which take
seconds, come only with the first name that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from explorer.config import Config

if TYPE_CHECKING:
    from explorer.app import Explorer
    from explorer.headless import Trainer
    from explorer.ppo.advantages import ADVANTAGES
    from explorer.ppo.loading import load_policy
    from explorer.ppo.metrics import METRICS
    from explorer.ppo.objectives import OBJECTIVES
    from explorer.ppo.rewards import REWARDS
    from explorer.presets import PRESETS
    from explorer.recording.shelf import Shelf
    from explorer.recording.storage import Recording

__version__ = "0.1.0"

__all__ = [
    "ADVANTAGES",
    "METRICS",
    "OBJECTIVES",
    "PRESETS",
    "REWARDS",
    "Config",
    "Explorer",
    "Recording",
    "Shelf",
    "Trainer",
    "load_policy",
]

_HOMES = {
    "ADVANTAGES": "explorer.ppo.advantages",
    "METRICS": "explorer.ppo.metrics",
    "OBJECTIVES": "explorer.ppo.objectives",
    "PRESETS": "explorer.presets",
    "REWARDS": "explorer.ppo.rewards",
    "Explorer": "explorer.app",
    "Recording": "explorer.recording.storage",
    "Shelf": "explorer.recording.shelf",
    "Trainer": "explorer.headless",
    "load_policy": "explorer.ppo.loading",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'explorer' has no attribute '{name}'; it offers {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # the next use no longer comes this way
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
