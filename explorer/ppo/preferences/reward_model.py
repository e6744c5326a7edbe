"""A reward model learnt from comparisons: one number a text, and how sure it is of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from explorer.ppo.preferences.bradley_terry import TIE, A, B, fit
from explorer.ppo.preferences.comparisons import Comparison, PreferenceError
from explorer.ppo.preferences.cross_validation import PENALTIES, choose_penalty, folds, reduce
from explorer.ppo.preferences.evaluation import Evaluation, evaluate
from explorer.ppo.preferences.pool import Pool
from explorer.ppo.preferences.standardise import Features
from explorer.ppo.rewards.responses import Responses
from explorer.ppo.sampling import generator
from explorer.ppo.streams import LABELLING

#: How many heads judge the same text, each fitted to labels of its own drawing.
MEMBERS = 8

#: The part of the reference's own samples that gets a score from -1 to 1.
INSIDE = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class RewardModel:
    """A head on a policy's frozen features; a reward component as it stands.

    Its scores are the head's, moved and stretched so that the reference's samples have a mean of 0 and 95 in 100 of
    them lie from -1 to 1. They are not cut off there: what the policy finds beyond is for the learner to see.

    Attributes:
        features: what the head reads.
        head: ``[D]`` float64; a text's reward in logits is its features times this, so that of two texts
            P(a beats b) = sigmoid(the difference).
        members: ``[M, D]`` the ensemble's heads.
        centre: mean reward of the reference's samples, in logits.
        stretch: logits that are one point of score.
        log_tie: log ν of Davidson's ties; minus infinity where none was seen.
        penalty: on the squared weights.
        train: how well the head agrees with the labels that it was fitted to.
        held_out: how well heads agree with the labels that they were not fitted to, by folds.
    """

    features: Features
    head: Tensor
    members: Tensor
    centre: float
    stretch: float
    log_tie: float
    penalty: float
    train: Evaluation
    held_out: Evaluation
    said: dict[str, int] = field(default_factory=dict)

    def __call__(self, responses: Responses) -> Tensor:
        """``[B]`` float32 scores, mean 0 and mostly from -1 to 1 on the reference's samples; a reward component."""
        return self.scores(_pool(responses))

    def scores(self, pool: Pool) -> Tensor:
        """``[N]`` float32 scores of responses."""
        return self._score(self.features.rows(pool), self.head)

    def spread(self, pool: Pool) -> Tensor:
        """``[N]`` how far the ensemble's members are apart about each response: the standard deviation of its score."""
        return self._score(self.features.rows(pool), self.members.T).std(1)

    def token_parts(self, responses: Responses | Pool) -> tuple[Tensor, Tensor]:
        """What each token adds to its response's score: ``[B, T]``, and what is no token's: ``[B]``.

        Exact: the two add up to the score. What a token adds depends on the words before it too, as its hidden states
        do. What is no token's is where every response starts, and what the head makes of the response as a whole.
        """
        pool = responses if isinstance(responses, Pool) else _pool(responses)
        parts, rest = self.features.token_parts(pool, self.head)
        return parts / self.stretch, (rest - self.centre) / self.stretch

    def margins(self, comparisons: Sequence[Comparison]) -> Tensor:
        """``[n]`` reward of a minus reward of b of each comparison, in logits, whatever was chosen."""
        return _differences(self.features, comparisons) @ self.head

    def probabilities(self, comparisons: Sequence[Comparison]) -> Tensor:
        """``[n]`` the probability that a beats b, given that it is no tie."""
        return self.margins(comparisons).sigmoid()

    def member_probabilities(self, comparisons: Sequence[Comparison]) -> Tensor:
        """``[n, M]`` the same as each member sees it."""
        return (_differences(self.features, comparisons) @ self.members.T).sigmoid()

    def evaluate(self, comparisons: Sequence[Comparison]) -> Evaluation:
        """How well it agrees with other comparisons; ties and skips are passed over."""
        decided = [comparison for comparison in comparisons if comparison.decided]
        return evaluate(self.margins(decided) * _signs(decided))

    def _score(self, rows: Tensor, heads: Tensor) -> Tensor:
        return ((rows @ heads - self.centre) / self.stretch).float()


def fit_reward_model(
    features: Features,
    comparisons: Sequence[Comparison],
    *,
    ties: str = "davidson",
    penalty: float | None = None,
    members: int = MEMBERS,
    seed: int = 0,
) -> RewardModel:
    """Fit a reward model to comparisons. The same comparisons in the same order give the same model.

    Args:
        features: of the frozen reference or a tuned copy, with samples of the reference to measure scores by.
        comparisons: skips are passed over.
        ties: ``davidson`` gives a tie a probability of its own, the higher the closer the two rewards are; ``half``
            counts it as half a comparison won and half a comparison lost, as chess does; ``ignore`` passes it over.
        penalty: on the squared weights; None lets the labels choose, by folds.
        members: heads of the ensemble, each fitted to as many labels drawn with replacement (Efron 1979).
        seed: of the folds and of the ensemble's drawings.

    Raises:
        PreferenceError: nothing was decided, or an argument is out of its range.
    """
    if ties not in ("davidson", "half", "ignore"):
        raise PreferenceError(f"ties is '{ties}', but must be one of davidson, half, ignore.")
    if penalty is not None and not penalty > 0:
        raise PreferenceError(f"penalty is {penalty}, but must be above 0.")
    if members < 0 or members == 1:
        raise PreferenceError(f"members is {members}, but must be 0 or from 2: one head has nobody to disagree with.")
    used = [c for c in comparisons if c.decided or (c.choice == "tie" and ties != "ignore")]
    if not any(comparison.decided for comparison in used):
        raise PreferenceError("No response was preferred to another yet: choose A or B at least once.")

    differences, outcomes, counts, origin = _as_numbers(features, used, ties)
    coordinates, basis = reduce(differences)
    fold = folds([frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in used], seed)[origin]
    chosen = choose_penalty(coordinates, outcomes, fold, counts, PENALTIES if penalty is None else (penalty,))
    found = fit(coordinates, outcomes, chosen.penalty, counts)
    heads = [
        fit(coordinates, outcomes, chosen.penalty, counts * drawn[origin], start=found.weights).weights @ basis
        for drawn in (_drawn(used, seed, member) for member in range(members))
    ]
    head = found.weights @ basis
    decided = torch.tensor([comparison.decided for comparison in used])[origin]
    sign = torch.where(outcomes == A, 1.0, -1.0)[decided]
    own = features.sample_rows @ head
    unseen = chosen.margins[decided] * sign
    return RewardModel(
        features=features,
        head=head,
        members=torch.stack(heads) if heads else head.new_zeros(0, len(head)),
        centre=float(own.mean()),
        stretch=max(float((own - own.mean()).abs().quantile(INSIDE)), 1e-6),
        log_tie=found.log_tie,
        penalty=chosen.penalty,
        train=evaluate((coordinates @ found.weights)[decided] * sign),
        held_out=evaluate(unseen[~unseen.isnan()]),
        said={choice: sum(c.choice == choice for c in comparisons) for choice in ("a", "b", "tie", "skip")},
    )


def _as_numbers(features: Features, used: Sequence[Comparison], ties: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Differences ``[m, D]``, outcomes ``[m]``, how often each counts ``[m]``, and which comparison it came from."""
    places = {"a": [(A, 1.0)], "b": [(B, 1.0)], "tie": [(TIE, 1.0)] if ties == "davidson" else [(A, 0.5), (B, 0.5)]}
    rows = [(n, outcome, count) for n, c in enumerate(used) for outcome, count in places[c.choice]]
    origin, outcomes, counts = (list(column) for column in zip(*rows, strict=True))
    picked = torch.tensor(origin)
    return (
        _differences(features, used)[picked],
        torch.tensor(outcomes),
        torch.tensor(counts, dtype=torch.float64),
        picked,
    )


def _differences(features: Features, comparisons: Sequence[Comparison]) -> Tensor:
    a = features.rows_of((comparison.prompt, comparison.a) for comparison in comparisons)
    return a - features.rows_of((comparison.prompt, comparison.b) for comparison in comparisons)


def _drawn(used: Sequence[Comparison], seed: int, member: int) -> Tensor:
    """How often each comparison is drawn for a member: as many drawings as comparisons, each alike."""
    places = torch.randint(len(used), (len(used),), generator=generator(seed, member, LABELLING, 4))
    return torch.bincount(places, minlength=len(used)).double()


def _signs(comparisons: Sequence[Comparison]) -> Tensor:
    return torch.tensor([1.0 if comparison.choice == "a" else -1.0 for comparison in comparisons], dtype=torch.float64)


def _pool(responses: Responses) -> Pool:
    return Pool(prompts=responses.prompts, texts=responses.texts, ids=responses.ids, mask=responses.mask)
