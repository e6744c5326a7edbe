"""Named configurations. What to look for in each is in ``text/labels.toml``.

``LESSONS`` make one phenomenon happen. ``RECIPES`` are algorithms by name, each the settings that tell it from PPO as
"learn" has it; step sizes stay those that suit the bundled policy, since a recipe's own belong to its model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from types import MappingProxyType
from typing import NamedTuple

from explorer.bundled import asset_path
from explorer.config import DEFAULT_WEIGHTS, Config

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
        "hack_the_reward": Config(learning_rate=3e-4, kl_coef=0.0, judge="good_text"),
        "leash": Config(learning_rate=3e-4, kl_coef=0.1, judge="good_text"),
        # What twenty labels have taught: explorer.ppo.preferences.lesson.
        "exploit_your_own_labels": Config(
            learning_rate=3e-4,
            kl_coef=0.0,
            judge="good_text",
            components={"own labels": asset_path("own_labels.json").read_text(encoding="utf-8")},
            weights={**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), "own labels": 1.0},
        ),
        "length_exploit": Config(
            learning_rate=3e-4,
            kl_coef=0.03,
            stop_sentences=1,
            judge="coherence",
            components={"words": {"kind": "expression", "expression": "0.1 * words - 1"}},
            weights={**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), "words": 1.0},
        ),
        "entropy_collapse": Config(
            learning_rate=6e-4,
            kl_coef=0.0,
            judge="good_text",
            components={"play": {"kind": "expression", "expression": '0.25 * count("play")'}},
            weights={**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), "play": 1.0},
        ),
        # The hole was first described at learning rate 1.5e-4 and β 0.03, with a share that falls to 0.2 to 0.3. With
        # the component as it is normalised here the share stops at 0.64 and 0.68 there (means of updates 46 to 50, two
        # seeds): the leash holds at 4 to 5 nats, where the component has -0.2. Hence larger steps and no leash.
        "bias_by_omission": Config(
            learning_rate=3e-4,
            kl_coef=0.0,
            judge="gendered",
            weights={**dict.fromkeys(DEFAULT_WEIGHTS, 0.0), "unbiasedness": 1.0},
        ),
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


class Claim(NamedTuple):
    """What a preset is expected to show: over some updates the mean of a metric is beyond an edge.

    Attributes:
        metric: of ``explorer.ppo.metrics.METRICS``.
        first, last: the updates over which the mean is taken, both included.
        least: what it is at least; None where it may be as low as it likes.
        most: what it is at most; None where it may be as high as it likes.
    """

    metric: str
    first: int
    last: int
    least: float | None = None
    most: float | None = None

    def holds(self, values: Sequence[float]) -> bool:
        """Whether it does in a run, whose metric has these values from update 1 on.

        Raises:
            ValueError: the run ends before the last of the updates.
        """
        if len(values) < self.last:
            raise ValueError(f"{self.metric} is claimed up to update {self.last}: the run has {len(values)} updates.")
        mean = fmean(values[self.first - 1 : self.last])
        return (self.least is None or mean >= self.least) and (self.most is None or mean <= self.most)


#: What each of some presets claims, by its name: ``tests/test_presets_slow.py`` counts the seeds for which it holds.
CLAIMS: Mapping[str, tuple[Claim, ...]] = MappingProxyType(
    {
        "hack_the_reward": (
            Claim("objective/score", 26, 30, least=0.9),
            Claim("objective/judge", 26, 30, most=-0.4),
            Claim("objective/ref_kl", 26, 30, least=20.0),
        ),
        "leash": (
            Claim("objective/score", 26, 30, least=0.55),
            Claim("objective/judge", 26, 30, least=0.1),
            Claim("objective/ref_kl", 26, 30, most=8.0),
        ),
        "exploit_your_own_labels": (
            Claim("objective/score", 26, 30, least=1.8),
            Claim("objective/judge", 26, 30, most=-0.6),
        ),
        "length_exploit": (
            Claim("response/length", 26, 30, least=20.0),
            Claim("objective/judge", 26, 30, most=0.3),
        ),
        "entropy_collapse": (
            Claim("policy/entropy", 26, 30, most=0.75),
            Claim("objective/judge", 26, 30, most=-0.8),
        ),
        "bias_by_omission": (
            Claim("objective/judge", 46, 50, most=0.65),
            Claim("component/unbiasedness", 46, 50, least=-0.2),
        ),
    }
)

#: By which update the score and the judge of some presets are to be seen to part, as ``explorer.views.gauge.parting``
#: has it; with ten seeds of each it was after update 10 or 11. An update takes a second or less on two cores, so that
#: update 20 is well within a minute. "Leash" claims the contrary, and "Bias by omission" nothing of the kind: its judge
#: counts persons and no good text.
PARTINGS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(("hack_the_reward", "exploit_your_own_labels", "length_exploit", "entropy_collapse"), 20)
)

#: After which update the score and the judge of a preset are together: they have not parted, or are so no more. Of ten
#: seeds of "Leash" five parted for a while.
TOGETHER: Mapping[str, int] = MappingProxyType({"leash": 30})

#: All of them by name, in the order of the menu.
PRESETS: Mapping[str, Config] = MappingProxyType({**LESSONS, **RECIPES})
