"""One PPO update as a generator of named stages, in the order of the paper.

    1  sample      draw a response to every prompt from the old policy
    2  score       every reward component, weighted into one score a response
    3  shape       scores and the KL penalty become one reward a token
    4  advantage   rewards and values become advantages
    5  epoch 1..K  maximise the clipped objective on the same responses
       done        the update as one record; repeat

Departs from the textbook in this: old log-probabilities come from a forward of the trainer and not from the sampler,
so the first ratio of an update is exactly 1, and where the first step is over all the responses at once it goes back
through that very forward; and an update that fails or is abandoned half way leaves the policy, the
optimiser and the counter as they were before it.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from explorer.config import FIELDS, Config
from explorer.ppo.adaptive import Coefficients
from explorer.ppo.checks import check_update, first_minibatch, first_ratio_bound
from explorer.ppo.clock import Clock
from explorer.ppo.credit import assign_credit
from explorer.ppo.loading import load_policy
from explorer.ppo.masked import masked_mean
from explorer.ppo.metrics import approx_kl, measure
from explorer.ppo.objectives import curve
from explorer.ppo.optimiser import Optimiser
from explorer.ppo.policy import GPT2_DROPOUT, Policy
from explorer.ppo.prompts import check_prompts, encode, rows_for
from explorer.ppo.records import Credit, Epoch, Rollout, Update
from explorer.ppo.replay import Batch, Experience, join, reuse
from explorer.ppo.rewards.model import RewardModel
from explorer.ppo.rewards.score import weighted
from explorer.ppo.rollouts import Collected, collect
from explorer.ppo.sampling import generator, sample, sentence_ends
from explorer.ppo.schedule import scheduled
from explorer.ppo.state import State, capture, restore
from explorer.ppo.streams import DROPOUT, ROLLOUT, minibatches
from explorer.ppo.surrogates import step_kl

#: Older rollouts kept for replay: the most that ``replay_rollouts`` can ask for, beside the fresh one.
MAX_REPLAYED = int(FIELDS["replay_rollouts"].metadata["high"]) - 1


class Stage(NamedTuple):
    """One finished stage of an update, with the records so far.

    Attributes:
        name: ``sample``, ``score``, ``shape``, ``advantage``, ``epoch`` or ``done``.
        epoch: which epoch has finished, 0 before the first.
        epochs: how many there will be; fewer than asked for once one has reached ``target_kl``.
        rollout: the responses.
        components: raw reward components, from ``score`` on.
        credit: rewards from ``shape`` on, and advantages.
        trained: the epochs finished so far.
        update: the whole update, at ``done``.
    """

    name: str
    epoch: int
    epochs: int
    rollout: Rollout
    components: Mapping[str, Tensor] | None = None
    credit: Credit | None = None
    trained: tuple[Epoch, ...] = ()
    update: Update | None = None


class Trainer:
    """Trains a policy with PPO, headless.

    Args:
        policy: a ``Policy``, or what ``load_policy`` takes; None is the bundled one.
        config: the knobs; ``self.config`` may be replaced between updates.
        rewards: components of your own, ``{name: fn(prompts, responses) -> B floats}``, beside the built-in ones; each
            with weight 1 unless the config has another.
        prompts: the training prompts, as a list or as the name of a bundled set (``explorer.prompt_sets``): "stories",
            "openings" or "gender_pairs"; None is "stories".
        device: where to compute, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; a Policy is moved there. None leaves it where
            it is, and loads to the CPU.
        bf16: whether the transformers compute in bfloat16; None leaves a Policy as it is, and loads without.

    Raises:
        ValueError: a prompt is empty or too long, or a reward has a built-in component's name.
        PolicyError: the policy cannot be loaded.
        DeviceError: there is no such device here, or it does not compute in bfloat16.
        TypeError: ``rewards`` does not map names to functions.
    """

    def __init__(
        self,
        policy: Policy | str | None = None,
        config: Config | None = None,
        rewards: Mapping[str, Callable[..., Any]] | None = None,
        prompts: Sequence[str] | None = None,
        device: str | torch.device | None = None,
        bf16: bool | None = None,
    ) -> None:
        if rewards is not None and not isinstance(rewards, Mapping):
            raise TypeError(f"rewards is a {type(rewards).__name__}, but must map each reward's name to its function.")
        self.config = _weighing(config or Config(), rewards or {})
        self.policy = (
            policy.place(device, bf16) if isinstance(policy, Policy) else load_policy(policy, device, bool(bf16))
        )
        self.reference = self.policy.frozen_copy()
        self.policy.use_critic(self.config.critic)
        self.reward_model = RewardModel(self.policy, self.reference, rewards or {})
        self.optimiser = Optimiser(self.policy)
        self.updates = 0
        self.coefficients = Coefficients.of(self.config)
        self.replay: deque[Experience] = deque(maxlen=MAX_REPLAYED)
        self._ends = sentence_ends(self.policy)
        self.set_prompts("stories" if prompts is None else prompts)

    def set_prompts(self, prompts: Sequence[str]) -> None:
        """Train on other prompts from the next update on. Raises ValueError as ``encode`` does, changing nothing."""
        checked = check_prompts(prompts)
        encode(self.policy, checked, self.config.response_length)
        self.prompts = checked

    def check(self, config: Config) -> None:
        """Whether this trainer can run a config.

        Raises:
            ValueError: prompt and response do not fit the policy's positions, or as ``RewardModel.check``.
        """
        encode(self.policy, self.prompts, config.response_length)
        self.reward_model.check(config)

    def _stops(self, config: Config) -> Tensor:
        """``[V]`` bool: the tokens with which a response may end by itself."""
        ends = self._ends.ends
        stops = ends.clone() if config.stop_sentences else torch.zeros_like(ends)
        stops[self.policy.end_of_text] = True
        return stops

    def reset(self) -> None:
        """Go back to the untouched policy: the reference's weights, a fresh optimiser, no experience, update 0.

        Coefficients that adapt start again from the config.
        """
        self.policy.use_critic("shared" if self.reference.critic is None else "separate")
        self.policy.load_state_dict(self.reference.state_dict())
        self.policy.use_critic(self.config.critic)
        self.optimiser = Optimiser(self.policy)
        self.coefficients = Coefficients.of(self.config)
        self.replay.clear()
        self.updates = 0

    def state(self, config: Config | None = None) -> State:
        """A copy of all that the next updates depend on; ask between two updates. ``config`` as in ``stages``."""
        return capture(self, config)

    def load_state(self, state: State) -> None:
        """Go back, or on, to a state; raises as ``explorer.ppo.state.restore``, and is then as it was."""
        restore(self, state)

    def stages(self, config: Config | None = None) -> Iterator[Stage]:
        """One update, stage by stage, each yielded when it has finished.

        The config is fixed for the whole update; where ``kl_target`` or the objective has coefficients adapt, the
        adapted ones (``self.coefficients``) stand in for its own, and the metrics say what they were. An exception, or
        closing the generator before ``done``, restores the policy and the optimiser as they were.

        Where an epoch is one minibatch, what its backward pass needs is kept from ``sample`` to the first epoch: the
        activations and ``[B, T, V]`` log-probabilities, as much as the epoch itself takes.

        Raises:
            ValueError: as ``check``; or the config has another critic than the run was begun with, or another response
                length than a rollout that is to be replayed.
            RewardError: a component failed; names it and shows the offending text.
            FloatingPointError: the loss or its gradient is no number any more.
        """
        config = config or self.config
        self.check(config)
        self._follow_critic(config)
        older = self._replayed(config)
        optimiser, number = self.optimiser, self.updates + 1
        before = optimiser.state()
        try:
            yield from self._stages(config, self.coefficients.under(config), older)
        except BaseException:
            # A generator dropped after ``done`` has done its work; one from before a reset has nothing to restore.
            if self.updates < number and self.optimiser is optimiser:
                optimiser.restore(before)
            raise

    def _follow_critic(self, config: Config) -> None:
        """Before the first update the policy takes the critic that is asked for; later it is too late for another."""
        if (config.critic == "separate") == (self.policy.critic is not None):
            return
        if self.updates:
            raise ValueError(
                f"critic is {config.critic!r}, and the run was begun with another: make that the trainer's config and "
                "call reset(), which begins anew."
            )
        self.policy.use_critic(config.critic)
        self.optimiser = Optimiser(self.policy)

    def _replayed(self, config: Config) -> list[Experience]:
        """The older experience of the next update, newest first. Raises ValueError where it is of another length."""
        older = reuse(self.replay, config.replay_rollouts - 1)
        for experience in older:
            if (length := experience.response_ids.shape[1]) != config.response_length:
                raise ValueError(
                    f"response_length is {config.response_length}, and replay_rollouts asks for responses of update "
                    f"{experience.born}, which were sampled with {length}: set response_length to {length}, or "
                    "replay_rollouts to 1, or call reset(), which begins anew."
                )
        return older

    def _stages(self, config: Config, coefficients: Coefficients, older: Sequence[Experience]) -> Iterator[Stage]:
        number, clock = self.updates + 1, Clock(self.policy.device)
        config = scheduled(coefficients.put_into(config), number)

        # 1. Collect trajectories: sample responses from the old policy, and score every token under it and under
        #    the reference.
        # One step over exactly these rows starts from this very forward: it is not made twice, unless dropout would
        # make another one of it.
        once = config.minibatches == 1 and not older and not config.dropout_on
        (rollout, greedy, forward), prompts = self._draw(config, number, clock, keep_graph=once)
        untouched = self.policy.changes
        yield Stage("sample", 0, config.epochs, rollout)

        # 2. The reward model: components in about [-1, 1], weighted into one score a response.
        clock.start()
        components = self.reward_model.score(config, rollout, prompts)
        judged = self.reward_model.judge(config, rollout, prompts, components)
        greedy_components = self.reward_model.score_greedy(config, prompts, greedy)
        scores = weighted(components, config.weights)
        clock.mark("score")
        yield Stage("score", 0, config.epochs, rollout, components)

        # 3. and 4. A reward a token, then an advantage a token.
        clock.start()
        credit = assign_credit(config, rollout, components, scores, greedy_components)
        credit = dataclasses.replace(credit, judge=judged)  # recorded, and nothing is made of it
        clock.mark("advantage")
        yield Stage("shape", 0, config.epochs, rollout, components, credit)
        yield Stage("advantage", 0, config.epochs, rollout, components, credit)

        # 5. Optimise: K epochs of minibatches over the same responses, and over replayed ones where asked.
        clock.start()
        fresh = Experience.of(rollout, credit, born=number, temperature=config.temperature)
        batch = self._joined(fresh, older, number)
        clock.mark("reference")  # which the replayed rows may ask anew
        trained: list[Epoch] = []
        steps_before, clipped_before = self.optimiser.steps, self.optimiser.clipped
        first_ratios, epochs_wanted = torch.ones(0), config.epochs
        for k in range(1, config.epochs + 1):
            clock.start()
            drawn = minibatches(config.seed, number, k, rows=batch.rows, count=config.minibatches)
            parts = [torch.from_numpy(rows).to(self.policy.device) for rows in drawn]
            if forward is not None:
                # Kept only if it is what the policy would still say: one response, another in every update, is asked
                # anew, which is what the check of the first ratio measures then.
                one = torch.tensor([number % batch.rows], device=self.policy.device)
                first_ratios = self.optimiser.ratios(batch, one, config)
                still = (first_ratios - 1).abs().max() < first_ratio_bound(self.policy.bf16)
                forward = forward if still and self.policy.changes == untouched else None
            again = k == 1 and forward is None
            with self._dropout(config, number, k):
                epoch = self.optimiser.epoch(batch, parts, config, forward)
            forward = None
            if again:
                fresh_rows = rollout.response_mask.shape[0]
                first_ratios = first_minibatch(epoch.ratios, parts[0], batch.mask, fresh_rows)
            trained.append(epoch)
            # Compared once an epoch's steps are done, as CleanRL does: the epoch that goes too far is never undone.
            if config.target_kl is not None and approx_kl(rollout, epoch) > config.target_kl:
                epochs_wanted = k  # the policy has moved far enough: no further epoch
            clock.mark(f"epoch {k}")
            yield Stage("epoch", k, epochs_wanted, rollout, components, credit, tuple(trained))
            if k == epochs_wanted:
                break

        # Repeat: record what the policy has become, and let the next update begin.
        clock.start()
        with self._dropout(config, number, len(trained) + 1):
            epochs = (*trained, self.optimiser.final(batch, config, rollout.top_ids))
        steps = self.optimiser.steps - steps_before
        checks = check_update(
            config,
            rollout,
            credit,
            first_ratios,
            update=number,
            steps=steps,
            expected=epochs_wanted * min(config.minibatches, batch.rows),
            final=epochs[-1],
            stops=self._stops(config),
            bf16=self.policy.bf16,
        )
        metrics = measure(config, rollout, credit, epochs, steps)
        clock.mark("record")
        metrics["optim/steps_clipped"] = (self.optimiser.clipped - clipped_before) / steps
        metrics["throughput/seconds"] = sum(clock.seconds.values())
        moved = epochs[-1].new_logprobs[: len(rollout.stopped)] - rollout.old_logprobs
        step = float(masked_mean(step_kl(moved), rollout.response_mask))
        self.coefficients = coefficients.after(config, ref_kl=metrics["objective/ref_kl"], step_kl=step)
        self.replay.appendleft(fresh)
        self.updates = number
        update = Update(
            update=number,
            rollout=rollout,
            credit=credit,
            epochs=epochs,
            curve=curve(config),
            metrics=metrics,
            checks=checks,
            seconds=clock.seconds,
        )
        yield Stage("done", len(trained), epochs_wanted, rollout, components, credit, tuple(trained), update)

    def gradient_parts(
        self,
        rollout: Rollout,
        credit: Credit,
        config: Config | None = None,
        policy: Policy | None = None,
        replayed: Sequence[Experience] = (),
    ) -> Tensor:
        """Each token's exact part of the gradient of one step over all these responses, from the policy as it is now.

        Args:
            rollout: the responses, from any stage of ``stages()``.
            credit: theirs, from the stage ``advantage`` on.
            config: the knobs, with the coefficients that are meant; None is ``self.config`` with those in force.
            policy: another policy than the one that is trained, such as an earlier one.
            replayed: older experience in the same step, such as ``reuse(self.replay, n)``; none by default.

        Returns:
            ``[rows, T]``, the replayed rows after the others: ``<g_t, g> / |g|^2``. They sum to 1; a negative one
            pulls against the batch.
        """
        number = self.updates + 1
        if config is None:
            config = self.coefficients.under(self.config).put_into(self.config)
        optimiser = self.optimiser if policy is None else Optimiser(policy)
        fresh = Experience.of(rollout, credit, born=number, temperature=config.temperature)
        return optimiser.parts(self._joined(fresh, replayed, number), config)

    def _joined(self, fresh: Experience, older: Sequence[Experience], number: int) -> Batch:
        """One batch, with the reference's log-probabilities of every row at the fresh rows' temperature."""
        return join([fresh, *(experience.at(fresh.temperature, self.reference) for experience in older)], number)

    def sample(self, config: Config, number: int) -> tuple[Rollout, list[str]]:
        """Draw the responses of update ``number``; also the prompt that each row answers."""
        collected, prompts = self._draw(config, number)
        return collected.rollout, prompts

    def _draw(
        self, config: Config, number: int, clock: Clock | None = None, *, keep_graph: bool = False
    ) -> tuple[Collected, list[str]]:
        """The responses of update ``number`` with what ``collect`` gives beside them, and the prompt of each."""
        rows = rows_for(
            len(self.prompts), config.batch_size, seed=config.seed, update=number, group_size=config.group_size
        )
        prompt_ids, prompt_mask = encode(self.policy, self.prompts, config.response_length)
        shape = (config.batch_size, config.response_length)
        # Drawn on the CPU on every device, so that a seed means the same numbers everywhere.
        uniforms = torch.rand(*shape, generator=generator(config.seed, number, ROLLOUT)).to(self.policy.device)
        answered = rows.to(self.policy.device)
        with self._dropout(config, number, 0):
            collected = collect(
                self.policy,
                self.reference,
                prompt_ids[answered],
                prompt_mask[answered],
                uniforms,
                config,
                self._ends,
                answered,
                clock,
                keep_graph=keep_graph,
            )
        return collected, [self.prompts[int(row)] for row in rows]

    def _dropout(self, config: Config, number: int, part: int) -> AbstractContextManager[None]:
        """Dropout in the policy's forwards where the config leaves it on; ``part`` is 0 in sampling, else the epoch."""
        seed = generator(config.seed, number, DROPOUT, part).initial_seed()
        return self.policy.dropping_out(GPT2_DROPOUT if config.dropout_on else 0.0, seed)

    def answer(self, policy: Policy, prompts: Sequence[str], purpose: int, config: Config, draw: int = 0) -> list[str]:
        """Answers of a policy to some prompts, drawn with random numbers of (seed, purpose, draw) alone.

        Two policies, or one at two times, so get the same numbers: where their answers differ, the policies do.

        Raises:
            ValueError: a prompt is too long.
        """
        prompt_ids, prompt_mask = encode(policy, prompts, config.response_length)
        uniforms = torch.rand(len(prompts), config.response_length, generator=generator(config.seed, 0, purpose, draw))
        ids, mask, _ = sample(
            policy,
            prompt_ids,
            prompt_mask,
            uniforms.to(policy.device),
            temperature=config.temperature,
            stop_sentences=config.stop_sentences,
            ends=self._ends,
        )
        return [policy.decode(row[kept].tolist()) for row, kept in zip(ids, mask, strict=True)]


def _weighing(config: Config, rewards: Mapping[str, Any]) -> Config:
    """Give a reward of the user's own the weight 1 where the config has none for it."""
    return config.replace(weights={**dict.fromkeys(rewards, 1.0), **config.weights})
