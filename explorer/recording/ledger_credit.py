"""The ledger's first half: from what was measured of a response to the advantage that the objective sees.

Written a second time, in float64 and from the formulas, so that it can find the trainer wrong: it calls nothing of
``explorer.ppo``'s that made the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from explorer.config import GROUPED
from explorer.ppo.records import Credit
from explorer.recording.formula import Formula, exp, number, square, symbol, total
from explorer.recording.ledger_line import TOLERANCE, Line, Note, Numbers, Terms, Token, agrees, line

#: Under the root of a variance, so that a batch of equals can be whitened.
VARIANCE_FLOOR = 1e-8

#: GRPO adds it to a group's standard deviation.
STD_FLOOR = 1e-4

#: A mean and a difference in single precision are off by a few roundings of the largest number.
ROUNDINGS = 8


def credit_lines(token: Token) -> list[Line]:
    """From the reward components to the whitened advantage, as far as the update has come."""
    if token.scores is None:
        return [Line(key="score", notes=(("pending_score", {}),))]
    lines = [_score(token)]
    if token.credit is None:
        return [*lines, Line(key="reward", notes=(("pending_reward", {}),))]
    advantage = ADVANTAGE_LINES[token.config.estimator](token, token.credit)
    return [*lines, _ref_kl(token, token.credit), *_reward(token, token.credit), *advantage, _whitened(token)]


def _score(token: Token) -> Line:
    weights = {name: token.config.weights.get(name, 0.0) for name in token.components}
    used = [number(w) * symbol("c", token.components[name][token.row], name) for name, w in weights.items() if w]
    unused = len(weights) - len(used)
    notes: tuple[Note, ...] = (("unweighted", {"count": unused}),) if unused else ()
    return line("score", ("s", "i"), total(used), token.scores[token.row], notes=notes)


def kl_formula(estimator: str, log_ratio: Formula) -> Formula:
    """k1, k2 or k3 of a log-ratio."""
    if estimator == "k1":
        return log_ratio
    return square(log_ratio) / number(2) if estimator == "k2" else exp(-log_ratio) - number(1) + log_ratio


def _ref_kl(token: Token, credit: Credit) -> Line:
    rollout, estimator = token.rollout, token.config.kl_estimator
    notes: tuple[Note, ...] = (("kl_in_loss", {}),) if token.config.kl_in == "loss" else ()
    if estimator == "exact":
        formula = symbol("KL", token.of(rollout.exact_ref_kl), "exact")
        notes = (("exact_kl", {}), *notes)
    else:
        old, ref = (symbol("ln π", token.of(getattr(rollout, f"{who}_logprobs")), who) for who in ("old", "ref"))
        formula = kl_formula(estimator, old - ref)
    return line("ref_kl", ("KL", "t"), formula, token.of(credit.ref_kl), notes=notes)


def _reward(token: Token, credit: Credit) -> list[Line]:
    config, stored = token.config, token.of(credit.rewards)
    score = symbol("s", token.scores[token.row], "i")
    charged = config.kl_in == "reward"
    penalty = -(symbol("β", config.kl_coef) * symbol("KL", token.of(credit.ref_kl), "t"))
    formula = penalty if charged else number(0)
    if token.last:
        formula = penalty + score if charged else score
    notes: tuple[Note, ...] = (("score_here" if token.last else "score_at_the_end", {}),)
    if not config.whiten_rewards:
        return [line("reward", ("r", "t"), formula, stored, notes=notes)]
    mask = token.rollout.response_mask
    every = -config.kl_coef * np.asarray(credit.ref_kl, np.float64) if charged else np.zeros(mask.shape)
    ends = mask.sum(axis=1) - 1
    every[np.arange(len(ends)), ends] += np.asarray(token.scores, np.float64)
    mean, sd = moments(every[mask])
    raw = line("raw_reward", ("r", "raw"), formula, notes=notes)
    plain, about = symbol("r", formula.value, "raw"), symbol("μ", mean)
    whitened = (plain - about) / symbol("σ", sd) + about
    found = line("reward_whitened", ("r", "t"), whitened, stored, notes=(("keeps_mean", {}),))
    return [raw, _why_apart(found, every[mask], sd)]


def moments(values: Numbers) -> tuple[float, float]:
    """Mean, and the root of the unbiased variance with its floor: what whitening shifts and divides by."""
    spread = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()), (spread + VARIANCE_FLOOR) ** 0.5


def _why_apart(found: Line, values: Numbers, spread: float) -> Line:
    """The line with a word on rounding, where the numbers lie so close together that it is all that is left of them."""
    lost = ROUNDINGS * float(np.finfo(np.float32).eps) * float(np.abs(values).max())
    coarse = lost / spread > TOLERANCE
    return found if found.holds or not coarse else replace(found, notes=(*found.notes, ("rounding", {})))


def _whitened(token: Token) -> Line:
    assert token.credit is not None
    stored = token.of(token.credit.whitened_advantages)
    advantage = symbol("A", token.of(token.credit.advantages), "t")
    if not (token.config.whiten or token.config.estimator == "reinforce_pp"):
        return line("whitened", ("Â", "t"), advantage, stored, notes=(("not_whitened", {}),))
    mask = token.rollout.response_mask
    every = np.asarray(token.credit.advantages, np.float64)[mask]
    mean, sd = moments(every)
    formula = (advantage - symbol("μ", mean)) / symbol("σ", sd)
    found = line("whitened", ("Â", "t"), formula, stored, notes=(("whitened", {"count": int(mask.sum())}),))
    return _why_apart(found, every, sd)


# ---------------------------------------------------------------------------------------------------- advantages


def delta(token: Token, credit: Credit) -> Line:
    """What came at a token, less what the critic expected there."""
    values = token.response(token.rollout.old_values)
    reward, value = symbol("r", token.of(credit.rewards), "t"), symbol("V", values[token.t], "t")
    following = symbol("V", 0.0 if token.last else values[token.t + 1], "t+1")
    notes: tuple[Note, ...] = (("nothing_follows", {}),) if token.last else ()
    formula = reward + symbol("γ", token.config.gamma) * following - value
    return line("delta", ("δ", "t"), formula, token.of(credit.deltas), notes=notes)


def _gae(token: Token, credit: Credit) -> list[Line]:
    config, start = token.config, token.t
    rewards, values = token.response(credit.rewards), token.response(token.rollout.old_values)
    stored = token.response(credit.deltas)
    nexts = config.gamma * np.append(values[1:], 0.0)
    deltas = rewards + nexts - values
    decay = config.gamma * config.gae_lambda
    weights = decay ** np.arange(token.count - start)
    terms = Terms(
        places=[(token.row, u) for u in range(start, token.count)],
        columns={
            "reward": rewards[start:].tolist(),
            "next_value": nexts[start:].tolist(),
            "value": values[start:].tolist(),
            "delta": deltas[start:].tolist(),
            "decay": weights.tolist(),
            "product": (weights * stored[start:]).tolist(),
        },
        holds=[agrees(float(d), float(s)) for d, s in zip(deltas[start:], stored[start:], strict=True)],
    )
    formula = total([number(w) * symbol("δ", stored[start + i], _later(i)) for i, w in enumerate(weights)])
    notes: tuple[Note, ...] = () if token.last else (("decay", {"value": decay}),)
    summed = line("advantage", ("A", "t"), formula, token.of(credit.advantages), terms=terms, notes=notes)
    return [delta(token, credit), summed]


def _one_step_td(token: Token, credit: Credit) -> list[Line]:
    formula = symbol("δ", token.of(credit.deltas), "t")
    return [delta(token, credit), line("advantage", ("A", "t"), formula, token.of(credit.advantages))]


def to_go(token: Token, credit: Credit, start: int, index: str, stored: float | None) -> Line:
    """The discounted rewards of a response from ``start`` on, each with its weight."""
    rewards = token.response(credit.rewards)[start:]
    weights = token.config.gamma ** np.arange(len(rewards))
    terms = Terms(
        places=[(token.row, u) for u in range(start, token.count)],
        columns={"reward": rewards.tolist(), "discount": weights.tolist(), "product": (weights * rewards).tolist()},
        holds=[None] * len(rewards),
    )
    at = _later if index == "t" else str
    formula = total([number(w) * symbol("r", r, at(i)) for i, (w, r) in enumerate(zip(weights, rewards, strict=True))])
    return line("to_go" if index == "t" else "total", ("G", index), formula, stored, terms=terms)


def _later(steps: int) -> str:
    return f"t+{steps}" if steps else "t"


def _monte_carlo(token: Token, credit: Credit) -> list[Line]:
    later = to_go(token, credit, token.t, "t", token.of(credit.returns))
    return [later, line("advantage", ("A", "t"), symbol("G", later.value, "t"), token.of(credit.advantages))]


def _monte_carlo_value(token: Token, credit: Credit) -> list[Line]:
    later = to_go(token, credit, token.t, "t", token.of(credit.returns))
    formula = symbol("G", later.value, "t") - symbol("V", token.of(token.rollout.old_values), "t")
    return [later, line("advantage", ("A", "t"), formula, token.of(credit.advantages))]


def _total_return(token: Token, credit: Credit) -> list[Line]:
    whole = to_go(token, credit, 0, "0", float(credit.returns[token.row, 0]))
    formula = symbol("G", whole.value, "0")
    return [whole, line("advantage", ("A", "t"), formula, token.of(credit.advantages), notes=(("same_for_all", {}),))]


def _remax(token: Token, credit: Credit) -> list[Line]:
    later = to_go(token, credit, token.t, "t", token.of(credit.returns))
    group, weights = int(token.rollout.groups[token.row]), token.config.weights
    greedy = [
        number(weights.get(name, 0.0)) * symbol("c", values[group], name)
        for name, values in credit.greedy_components.items()
        if weights.get(name, 0.0)
    ]
    baseline = line("greedy", ("b", ""), total(greedy))
    formula = symbol("G", later.value, "t") - symbol("b", baseline.value)
    return [later, baseline, line("advantage", ("A", "t"), formula, token.of(credit.advantages))]


def _grouped(token: Token, credit: Credit) -> list[Line]:
    """Each response's sum of rewards, compared with those of its group."""
    estimator, row, mask = token.config.estimator, token.row, token.rollout.response_mask
    summed = np.where(mask, np.asarray(credit.rewards, np.float64), 0.0).sum(axis=1)
    rows = np.flatnonzero(token.rollout.groups == token.rollout.groups[row])
    compared = rows[rows != row] if estimator == "rloo" else rows
    rewards = token.response(credit.rewards)
    whole = line(
        "response_total",
        ("R", "i"),
        total([symbol("r", r, str(u)) for u, r in enumerate(rewards)]),
        terms=Terms(
            places=[(row, u) for u in range(token.count)],
            columns={"reward": rewards.tolist()},
            holds=[None] * token.count,
        ),
    )
    others = Terms(
        places=[(int(r), min(token.t, int(mask[r].sum()) - 1)) for r in compared],
        columns={"total": summed[compared].tolist()},
        holds=[None] * len(compared),
    )
    mean = total([symbol("R", summed[r], str(r + 1)) for r in compared]) / number(len(compared))
    lines = [whole, line("others_mean" if estimator == "rloo" else "group_mean", ("μ", "R"), mean, terms=others)]
    formula, divisor = symbol("R", whole.value, "i") - symbol("μ", mean.value, "R"), 1.0
    if estimator == "grpo":
        spread = symbol("σ", float(summed[rows].std(ddof=1)), "R")
        formula, divisor = formula / (spread + number(STD_FLOOR)), spread.value + STD_FLOOR
    notes: tuple[Note, ...] = (("same_for_all", {}),)
    found = line("advantage", ("A", "t"), formula, token.of(credit.advantages), notes=notes)
    return [*lines, _why_apart(found, summed[rows], divisor)]


#: How each estimator's advantage is reckoned.
ADVANTAGE_LINES: dict[str, Callable[[Token, Credit], list[Line]]] = {
    "gae": _gae,
    "one_step_td": _one_step_td,
    "monte_carlo": _monte_carlo,
    "monte_carlo_value": _monte_carlo_value,
    "total_return": _total_return,
    "reinforce_pp": _monte_carlo,
    "remax": _remax,
    **dict.fromkeys(GROUPED, _grouped),
}
