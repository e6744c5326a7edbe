"""Named configurations. What to look for in each is in ``text/labels.toml``.

``LESSONS`` make one phenomenon happen. ``RECIPES`` are algorithms by name, each the settings that tell it from PPO as
"learn" has it; step sizes stay those that suit the bundled policy, since a recipe's own belong to its model.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from explorer.config import Config

LESSONS: Mapping[str, Config] = MappingProxyType(
    {
        "learn": Config(),
        "see_the_clip": Config(learning_rate=2.2e-4, kl_coef=0.03),
        # The weights are of components normalised to about [-1, 1]: 1.0 of coherence is 0.4 a nat of log-probability.
        # Diversity and no bias weigh enough that they improve while the sentiment rises.
        "balanced": Config(
            learning_rate=1.5e-4,
            kl_coef=0.03,
            weights={"sentiment": 0.7, "coherence": 1.0, "diversity": 1.2, "unbiasedness": 1.0, "length": 0.0},
        ),
        "hack_the_reward": Config(learning_rate=3e-4, kl_coef=0.0),
    }
)

RECIPES: Mapping[str, Config] = MappingProxyType(
    {
        # Ouyang et al. 2022 (arXiv 2203.02155), appendix C.4: 8 minibatches, one inner epoch, a critic of its own,
        # KL coefficient 0.02. It names no limit of the gradient's norm, so there is none here; the range of the value's
        # clip is that of OpenAI's code of 2019. Not taken over: the pretraining gradients mixed in (PPO-ptx), a critic
        # that begins as the reward model, the learning rate's warm-up and the moving average of the weights.
        "ppo_instructgpt": Config(
            critic="separate", epochs=1, minibatches=8, kl_coef=0.02, value_clip_range=0.2, max_grad_norm=None
        ),
        # Ziegler et al. 2019 (arXiv 1909.08593), as their code has it by Huang et al. 2023: temperature 0.7, KL weight
        # 0.15 that adapts to a target of 6 nats a response, whitened rewards, clipped values, no gradient clipping, and
        # a learning rate that falls in a straight line to 0 over the run, here over 100 updates. Their horizon of
        # 10,000 responses is 20 of their batches; here it is 10 of this one, the paper's K of 0.1. Not taken over: the
        # score at the last position whatever was written, -1 for a text without a stop, tokens trained on past the
        # stop, and advantages whitened with n in each minibatch.
        "ppo_openai_2019": Config(
            temperature=0.7,
            kl_coef=0.15,
            kl_target=6.0,
            whiten_rewards=True,
            value_clip_range=0.2,
            max_grad_norm=None,
            lr_schedule="linear",
        ),
        # Shao et al. 2024 (arXiv 2402.03300): group-relative advantages, k3 in the loss, a mean of sequence means.
        "grpo": Config(
            estimator="grpo",
            whiten=False,
            kl_in="loss",
            kl_estimator="k3",
            kl_coef=0.04,
            aggregation="sequence_mean",
            epochs=1,
            vf_coef=0.0,
        ),
        # Liu et al. 2025 (arXiv 2503.20783): neither the division by the deviation nor that by the length, and no KL.
        "dr_grpo": Config(
            estimator="group_mean", whiten=False, kl_coef=0.0, aggregation="fixed_length", epochs=1, vf_coef=0.0
        ),
        # Ahmadian et al. 2024 (arXiv 2402.14740): plain REINFORCE, the other responses of the group as baseline.
        "rloo": Config(
            estimator="rloo", objective="policy_gradient", whiten=False, kl_coef=0.03, epochs=1, vf_coef=0.0
        ),
        # Hu et al. 2025 (arXiv 2501.03262): KL in the return, whitening over the whole batch, PPO's clip.
        "reinforce_pp": Config(estimator="reinforce_pp", epochs=1, minibatches=4, kl_coef=0.01, vf_coef=0.0),
        # Yu et al. 2025 (DAPO, arXiv 2503.14476): a higher upper clip, means over tokens, no KL. The paper takes 16
        # steps a batch; of this small one 8, with which the clip acts (with 4 hardly a ratio leaves 1.28 in time). Not
        # taken over: dropping the groups whose responses all score alike and drawing others (dynamic sampling), and the
        # lower reward of overlong responses (overlong reward shaping).
        "dapo_clip_higher": Config(
            estimator="grpo", objective="clip_higher", whiten=False, kl_coef=0.0, minibatches=8, epochs=1, vf_coef=0.0
        ),
        # Zheng et al. 2025 (arXiv 2507.18071), section 5.1: a ratio a response, clipped to within 3e-4 below and 4e-4
        # above 1, four minibatches a batch; equation 5 has GRPO's advantages, a mean over responses and no KL.
        "gspo": Config(
            estimator="grpo",
            objective="gspo",
            clip_range=3e-4,
            clip_range_high=4e-4,
            whiten=False,
            kl_coef=0.0,
            aggregation="sequence_mean",
            minibatches=4,
            epochs=1,
            vf_coef=0.0,
        ),
        # Schulman et al. 2017 (arXiv 1707.06347), section 4: a price on the step in the place of the clip.
        "ppo_penalty": Config(objective="kl_penalty"),
    }
)

#: All of them by name, in the order of the menu.
PRESETS: Mapping[str, Config] = MappingProxyType({**LESSONS, **RECIPES})
