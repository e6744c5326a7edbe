"""The reward model of a run: which components there are under a config, and what they and the judge give a rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.learned import Learned
from explorer.ppo.records import Rollout
from explorer.ppo.rewards.making import REWARDS, judge_name, judge_of, recipes_made
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.rewards.score import from_texts, run_component, score
from explorer.ppo.rollouts import GreedyAnswers


class RewardModel:
    """Turns responses into components, each in about [-1, 1]; the config's weights make one score of them.

    Args:
        policy: spells the responses.
        reference: the frozen reference, which some components ask how likely a text is.
        rewards: components of the user's own, ``{name: fn(prompts, responses) -> B floats}``, beside the built-in ones.

    Attributes:
        components: by name, the built-in ones and the user's own; those of a config's recipes come in ``under`` it.

    Raises:
        ValueError: a reward has a built-in component's name.
        TypeError: ``rewards`` does not map names to functions.
    """

    def __init__(self, policy: Policy, reference: Policy, rewards: Mapping[str, Callable[..., Any]]) -> None:
        self.policy, self.reference = policy, reference
        self.components: dict[str, Callable[[Responses], Tensor]] = {**REWARDS, **_from_functions(rewards)}

    def check(self, config: Config) -> None:
        """Whether every component and judge that a config names can be made and run here.

        Raises:
            ValueError: a weight is that of no component, or a recipe's component cannot be made, or was learnt on
                another policy.
        """
        components = self.under(config)
        for name, weight in config.weights.items():
            if weight and name not in components and name not in config.set_aside:
                known = ", ".join(components)
                raise ValueError(f"There is no reward component '{name}' to give a weight to: there are {known}.")
        checked = list(components.items())
        if config.judge and judge_name(config.judge) not in config.set_aside:
            checked.append((judge_name(config.judge), judge_of(config.judge, components)))
        for name, component in checked:
            if isinstance(component, Learned):
                component.check_for(name, self.reference)

    def under(self, config: Config) -> dict[str, Callable[[Responses], Tensor]]:
        """Every reward component under a config: the built-in ones, those given as functions, those of its recipes.

        Those that the config sets aside are left out.

        Raises:
            ValueError: a recipe's component cannot be made, or has the name of another; the message names it.
        """
        for name in config.components:
            if name in self.components:
                raise ValueError(f"There is a component '{name}' already: give the other one another name.")
        found = {**self.components, **recipes_made(config.components)}
        return {name: component for name, component in found.items() if name not in config.set_aside}

    def score(self, config: Config, rollout: Rollout | GreedyAnswers, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Every reward component of a rollout, ``{name: [B]}``, before the weights.

        Raises:
            RewardError: a component failed; names it and shows the offending text.
        """
        found = score(self.under(config), self.responses(config, rollout, prompts))
        return {name: values.to(self.policy.device) for name, values in found.items()}

    def judge(
        self,
        config: Config,
        rollout: Rollout | GreedyAnswers,
        prompts: Sequence[str],
        components: Mapping[str, Tensor],
    ) -> Tensor | None:
        """What the config's held-out judge gives each response ``[B]``; None without one, or where it is set aside.

        One that is among the ``components``, which have been measured, is not measured again.

        Raises:
            ValueError: there is no such judge.
            RewardError: it fails.
        """
        if not config.judge or judge_name(config.judge) in config.set_aside:
            return None
        if config.judge in components:
            return components[config.judge]
        judge = judge_of(config.judge, self.under(config))
        found = run_component(judge_name(config.judge), judge, self.responses(config, rollout, prompts))
        return found.to(self.policy.device)

    def score_greedy(self, config: Config, prompts: Sequence[str], greedy: GreedyAnswers | None) -> dict[str, Tensor]:
        """The components of the greedy answer to each group's prompt, ``{name: [groups]}``; empty without any.

        They are scored as a batch of their own and change no other score.
        """
        if greedy is None:
            return {}
        components = self.score(config, greedy, [prompts[row] for row in greedy.rows.tolist()])
        return {name: values[greedy.of_group] for name, values in components.items()}

    def responses(self, config: Config, rollout: Rollout | GreedyAnswers, prompts: Sequence[str]) -> Responses:
        """A rollout as its reward components see it; ``prompts`` has the prompt that each row answers."""
        ids, mask = rollout.response_ids.cpu(), rollout.response_mask.cpu()
        return Responses(
            prompts=list(prompts),
            texts=[self.policy.decode(row[kept].tolist()) for row, kept in zip(ids, mask, strict=True)],
            ids=ids,
            mask=mask,
            ref_logprobs=rollout.ref_logprobs.cpu(),
            reference=self.reference,
            config=config,
        )


def _from_functions(rewards: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[[Responses], Tensor]]:
    for name, fn in rewards.items():
        if name in REWARDS:
            raise ValueError(f"a reward named '{name}' is built in: give yours another name.")
        if not callable(fn):
            raise TypeError(f"the reward '{name}' is not a function (prompts, responses) -> one float a response.")
    return {name: from_texts(fn) for name, fn in rewards.items()}
