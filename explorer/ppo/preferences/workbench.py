"""What a page's annotator has at hand in the worker: responses to compare, and the model that the labels teach."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from explorer.config import Config
from explorer.ppo.policy import Policy
from explorer.ppo.preferences.annotator import SimulatedAnnotator
from explorer.ppo.preferences.choosing import choose_pairs
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError, counts
from explorer.ppo.preferences.contradictions import find_contradictions
from explorer.ppo.preferences.fitting import SAMPLES, check_enough
from explorer.ppo.preferences.learned import recipe_of
from explorer.ppo.preferences.pool import Pool, asked_pairs, draw_pool, pool_of
from explorer.ppo.preferences.reward_model import RewardModel, fit_reward_model
from explorer.ppo.preferences.splitting import FEWEST, Names, without
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.preferences.tuned_trunk import tune

#: Responses that are drawn at a time: as many as leave a run that is going on its worker again within half a second.
AT_ONCE = 64

#: Responses whose scores are drawn with the ensemble's spread.
SHOWN = 40

#: From so many labels on the penalty is chosen anew only when they have grown by a fifth.
MANY = 300

Text = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Asked:
    """A pair to be labelled.

    Attributes:
        prompt, a, b: the texts, in the order in which to show them.
        way: how it was chosen in fact: ``random``, ``disagreement`` or ``closest``.
        source: ``batch``, an update's responses, or ``fresh``, drawn from the policy since.
        update: of which the responses are.
    """

    prompt: str
    a: str
    b: str
    way: str
    source: str
    update: int

    @property
    def texts(self) -> frozenset[Text]:
        """Its two responses, whichever is shown first."""
        return frozenset([(self.prompt, self.a), (self.prompt, self.b)])


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What the labels have taught.

    Attributes:
        summary: plain values for the page, see ``Workbench.fit``.
        recipe: of the component; None as long as there is no model.
    """

    summary: dict[str, Any]
    recipe: dict[str, Any] | None = None


class Workbench:
    """Draws, chooses and fits; every call may take a while and belongs to the worker.

    Args:
        reference: the frozen policy.
        prompts: what is answered.
        config: response_length, temperature, stop_sentences and seed are read.
    """

    def __init__(self, reference: Policy, prompts: Sequence[str], config: Config) -> None:
        self.reference, self.prompts = reference, list(prompts)
        self._drawing = Config(
            batch_size=AT_ONCE,
            group_size=4,
            response_length=config.response_length,
            temperature=config.temperature,
            stop_sentences=config.stop_sentences,
            seed=config.seed,
        )
        self._samples: list[Pool] = []
        self._fresh: tuple[int, Pool] | None = None
        self._draws = 0
        self._features: Features | None = None
        self._model: RewardModel | None = None
        self._asked_of: Sequence[Text] = ()
        self._penalty: tuple[int, float] = (0, 1.0)  # and of how many labels it was chosen

    # ------------------------------------------------------------------ responses

    @property
    def measured(self) -> bool:
        """Whether there are enough samples of the reference to fit by."""
        return self._features is not None

    def draw_some(self) -> None:
        """Draw some of the reference's samples by which features and scores are measured; ask until ``measured``."""
        if self._features is not None:
            return
        self._samples.append(self._draw(self.reference))
        self._fresh = self._fresh or (0, self._samples[0])
        if sum(map(len, self._samples)) >= SAMPLES:
            self._samples = [_joined(self._samples)]
            self._features = Features(self.reference, self._samples[0])

    def refresh(self, policy: Policy, update: int, after: int = 5) -> None:
        """Draw responses from the policy as it is now, where those that are there are ``after`` updates old."""
        if self._fresh is None or not 0 <= update - self._fresh[0] < after:
            self._fresh = update, self._draw(policy)

    def draw_anew(self, policy: Policy, update: int) -> None:
        """Draw other responses from the policy as it is now."""
        self._fresh = update, self._draw(policy)

    def _draw(self, policy: Policy) -> Pool:
        seed = (self._drawing.seed + 7919 * self._draws) % 2**31
        self._draws += 1
        return draw_pool(policy, self.prompts, self._drawing.replace(seed=seed), 1)

    # ------------------------------------------------------------------ what to ask about

    def choose(
        self,
        count: int,
        way: str,
        batch: tuple[int, Sequence[Text]] | None,
        fresh: bool,
        done: Iterable[frozenset[Text]],
    ) -> list[Asked]:
        """Pairs to ask about next, most telling first.

        Args:
            count: how many; fewer where there are no more.
            way: of ``explorer.ppo.preferences.choosing.WAYS``; it is ``random`` as long as there is no model.
            batch: an update's number and its responses with their prompts; None leaves them out.
            fresh: whether those that were drawn from the policy are asked about.
            done: pairs that are not asked again.
        """
        known, pools = list(done), []
        self._asked_of = batch[1] if batch is not None else ()
        if batch is not None and _comparable(batch[1]):
            pools.append(("batch", batch[0], pool_of(self.reference, list(batch[1]))))
        if self._fresh is not None and (fresh or not pools):
            pools.append(("fresh", *self._fresh))
        found: list[list[Asked]] = []
        for source, update, pool in pools:
            try:
                chosen = choose_pairs(pool, count, way=way, model=self._model, seed=self._next_seed(), done=known)
            except PreferenceError:  # no prompt has two different answers any more: the policy says one thing
                continue
            found.append(
                [
                    Asked(pool.prompts[a], pool.texts[a], pool.texts[b], pair.way, source, update)
                    for pair in chosen
                    for a, b in [pair.rows]
                ]
            )
        mixed = [pair for pairs in itertools.zip_longest(*found) for pair in pairs if pair is not None]
        return list({pair.texts: pair for pair in reversed(mixed)}.values())[::-1][:count]

    def label(self, annotator: SimulatedAnnotator, count: int, first: int) -> list[Comparison]:
        """What a simulated annotator makes of so many pairs, drawn at random from the reference's responses.

        Args:
            annotator: who labels.
            count: how many pairs, ties among them.
            first: the number of its first question.
        """
        pool = self._draw(self.reference)
        for _ in range(min(7, count // AT_ONCE)):
            pool = _joined([pool, self._draw(self.reference)])
        return annotator.label(itertools.islice(asked_pairs(pool, self._next_seed()), count), first=first)

    def _next_seed(self) -> int:
        self._draws += 1
        return self._drawing.seed + 104_729 * self._draws

    # ------------------------------------------------------------------ what the labels teach

    def fit(self, labels: Sequence[Comparison], apart: Names = frozenset()) -> Fitted:
        """Fit a model to labels, and keep it to choose by.

        Args:
            labels: all there are; contradictions are counted among all of them.
            apart: the pairs of a judge, whose labels it is not fitted to.

        Returns:
            Its summary ``{said, decided, apart, fewest, contradictions, both_ways}`` and, where at least ``fewest`` are
            decided, ``{seconds, train, held_out, equal_tie, penalty, members, scores}``: ``train`` and ``held_out`` as
            ``Evaluation.plain``, ``equal_tie`` the probability of a tie between equals, ``scores`` pairs (score, spread
            of the ensemble) of fresh responses, lowest first.
        """
        wrong, every = find_contradictions(labels), counts(labels)
        labels = without(labels, apart) if apart else labels
        said = counts(labels)
        summary: dict[str, Any] = {
            "said": said,
            "decided": said["a"] + said["b"],
            "apart": every["a"] + every["b"] - said["a"] - said["b"],
            "fewest": FEWEST,
            "contradictions": wrong.count,
            "both_ways": wrong.both_ways,
        }
        if summary["decided"] < FEWEST or self._features is None:
            self._model = None
            return Fitted(summary)
        texts = [text for label in labels for text in ((label.prompt, label.a), (label.prompt, label.b))]
        self._features.keep_only([*texts, *self._fresh_texts(), *self._asked_of])
        self._features.rows_of(texts)
        started = time.perf_counter()
        self._model = model = fit_reward_model(self._features, labels, penalty=self._known_penalty(len(labels)))
        self._penalty = (len(labels), model.penalty) if self._known_penalty(len(labels)) is None else self._penalty
        summary |= {"seconds": time.perf_counter() - started, **self._learnt(model)}
        return Fitted(summary, recipe_of(model, self.reference, labels))

    def tune(self, labels: Sequence[Comparison], apart: Names = frozenset()) -> Fitted:
        """The same as ``fit``, with a trunk that is tuned to the labels; pairs are still chosen by the frozen one.

        Args:
            labels: as for ``fit``, and at least 10 of them decided.
            apart: as for ``fit``.

        Returns:
            As ``fit``, with ``{tuned: {pairs, held_out, frozen, epochs}}``: the share of so many held-out labels that
            the tuned trunk has right, and the frozen one, and how often each label was seen; 0 leaves the trunk as it
            was, which is then what the recipe has.

        Raises:
            PreferenceError: too few labels are decided.
        """
        fitted, started = self.fit(labels, apart), time.perf_counter()
        used = without(labels, apart)
        if self._model is None:
            check_enough(used)
        assert self._model is not None
        found = tune(self._model, self._samples[0], used)
        told = {
            "pairs": found.model.held_out.pairs,
            "held_out": found.model.held_out.accuracy,
            "frozen": found.frozen.accuracy,
            "epochs": found.epochs,
        }
        summary = fitted.summary | self._learnt(found.model)
        summary |= {"seconds": time.perf_counter() - started, "tuned": told}
        return Fitted(summary, recipe_of(found.model, self.reference, used))

    def _learnt(self, model: RewardModel) -> dict[str, Any]:
        tie = math.exp(min(model.log_tie, 50.0))
        return {
            "train": model.train.plain(),
            "held_out": model.held_out.plain(),
            "equal_tie": tie / (2 + tie),
            "penalty": model.penalty,
            "members": len(model.members),
            "scores": self._scores(model),
        }

    def fit_judge(self, labels: Sequence[Comparison]) -> dict[str, Any]:
        """A judge's recipe: a model of its own, fitted to its share of the labels; it is not chosen by."""
        while self._features is None:
            self.draw_some()
        return recipe_of(fit_reward_model(self._features, labels, members=0), self.reference, labels)

    def _known_penalty(self, labels: int) -> float | None:
        """The last choice, where there are many labels and hardly more than then: to choose takes most of a fit."""
        chosen_of, penalty = self._penalty
        return penalty if labels > MANY and chosen_of <= labels < 1.2 * chosen_of else None

    def _fresh_texts(self) -> list[Text]:
        return [] if self._fresh is None else list(zip(self._fresh[1].prompts, self._fresh[1].texts, strict=True))

    def _scores(self, model: RewardModel) -> list[tuple[float, float]]:
        if self._fresh is None:
            return []
        pool = self._fresh[1][range(min(SHOWN, len(self._fresh[1])))]
        rows = model.features.rows_of(zip(pool.prompts, pool.texts, strict=True))
        own, all_members = ((rows @ heads - model.centre) / model.stretch for heads in (model.head, model.members.T))
        return sorted(zip(own.tolist(), all_members.std(1).tolist(), strict=True))


def _comparable(texts: Sequence[Text]) -> bool:
    """Whether some prompt has two different responses."""
    by_prompt: dict[str, set[str]] = {}
    for prompt, text in texts:
        by_prompt.setdefault(prompt, set()).add(text)
    return any(len(found) > 1 for found in by_prompt.values())


def _joined(pools: Sequence[Pool]) -> Pool:
    length = max(pool.ids.shape[1] for pool in pools)
    ids, masks = (
        torch.cat([torch.nn.functional.pad(tensor, (0, length - tensor.shape[1])) for tensor in tensors])
        for tensors in zip(*((pool.ids, pool.mask) for pool in pools), strict=True)
    )
    return Pool(
        prompts=[prompt for pool in pools for prompt in pool.prompts],
        texts=[text for pool in pools for text in pool.texts],
        ids=ids,
        mask=masks,
    )
