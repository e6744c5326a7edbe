"""Named configurations, each chosen to make one phenomenon happen. What to look for is in ``text/labels.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from explorer.config import Config

PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "learn": Config(),
        "see_the_clip": Config(learning_rate=2.2e-4, kl_coef=0.03),
        "balanced": Config(
            learning_rate=1.5e-4,
            kl_coef=0.03,
            weights={"sentiment": 0.7, "coherence": 1.0, "diversity": 0.6, "unbiasedness": 1.0, "length": 0.0},
        ),
        "hack_the_reward": Config(learning_rate=3e-4, kl_coef=0.0),
    }
)
