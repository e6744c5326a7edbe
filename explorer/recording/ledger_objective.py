"""The ledger's second half: from the ratio to the objective's term, and to the token's share of the gradient.

The derivatives are worked out by hand, where the trainer asks autograd: so each can find the other wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from explorer.config import SAPO_TEMPERATURES, Config
from explorer.ppo.metrics import KL_ESTIMATORS
from explorer.ppo.records import Epoch
from explorer.ppo.streams import Rows
from explorer.recording.formula import Formula, exp, held, least, most, number, sigmoid, size, symbol, total
from explorer.recording.ledger_credit import kl_formula
from explorer.recording.ledger_line import TOLERANCE, Line, Note, Numbers, Terms, Token, line

#: Objectives that take the smaller of the plain and the clipped branch.
PESSIMISTIC = frozenset({"clip", "clip_higher", "dual_clip", "two_sided", "gspo"})

#: Objectives that hold a ratio within a band.
BANDED = PESSIMISTIC | {"cispo"}


def objective_lines(token: Token) -> list[Line]:
    """From the ratio to the share of the gradient; a line that says so before the first epoch."""
    if token.epoch is None:
        return [Line(key="ratio", notes=(("pending_ratio", {}),))]
    epoch, gspo = token.epoch, token.config.objective == "gspo"
    new, old = (symbol("ln π", token.of(logprobs), who) for logprobs, who in _logprobs(token, epoch))
    moved = np.asarray(epoch.new_logprobs[: len(token.rollout.old_logprobs)], np.float64) - token.rollout.old_logprobs
    lines = [line("ratio", ("ρ", "t"), exp(new - old), token.of(epoch.ratios))]
    logs = token.response(moved)
    if gspo:
        terms = Terms(
            places=[(token.row, u) for u in range(token.count)],
            columns={"log_ratio": logs.tolist()},
            holds=[None] * token.count,
        )
        mean = total([symbol("ln ρ", x, str(u)) for u, x in enumerate(logs)]) / number(token.count)
        lines.append(line("response_ratio", ("s", ""), exp(mean), terms=terms))
    ratio = symbol("s", lines[-1].value) if gspo else symbol("ρ", token.of(epoch.ratios), "t")
    log_ratio = symbol("ln ρ", float(logs[token.t]), "t")
    advantage = symbol("Â", token.of(epoch.advantages), "t")
    lines += _terms(token, epoch, ratio, log_ratio, advantage)
    return [*lines, *_gradient(token, epoch, ratio, advantage, moved)]


def _logprobs(token: Token, epoch: Epoch) -> list[tuple[Any, str]]:
    return [(epoch.new_logprobs, "new"), (token.rollout.old_logprobs, "old")]


def _band(config: Config) -> tuple[Formula, Formula]:
    low, high = config.clip_band
    return number(low), number(high)


def _terms(token: Token, epoch: Epoch, ratio: Formula, log_ratio: Formula, advantage: Formula) -> list[Line]:
    """The clipped ratio, the branches, the KL in the loss, and the term that they make."""
    config, lines, stored = token.config, [], token.of(epoch.policy_terms)
    clipped = symbol(f"clip({ratio.name})", held(ratio, *_band(config)).value)
    if config.objective in BANDED:
        lines.append(_clipped(token, epoch, ratio))
    else:
        lines.append(Line(key="clipped", notes=(("no_clip", {}),)))
    if config.objective in PESSIMISTIC:
        branches = _branches(config, ratio, clipped, advantage)
        lines += branches
        formula = _chosen(branches)
    else:
        formula = _smooth(config, ratio, log_ratio, clipped, advantage)
    if config.kl_in == "loss":
        new, ref = symbol("ln π", token.of(epoch.new_logprobs), "new"), token.of(token.rollout.ref_logprobs)
        apart = symbol("x", token.of(epoch.ref_log_ratios))
        lines.append(line("ref_log_ratio", ("x", ""), new - symbol("ln π", ref, "ref"), apart.value))
        kl = line("loss_kl", ("KL", "loss"), kl_formula(config.kl_estimator, apart))
        lines.append(kl)
        formula = formula - symbol("β", config.kl_coef) * symbol("KL", kl.value, "loss")
    return [*lines, line("term", ("L", "t"), formula, stored)]


def _clipped(token: Token, epoch: Epoch, ratio: Formula) -> Line:
    """The ratio held within the band; what is recorded of it is whether it lies outside."""
    low, high = token.config.clip_band
    found = held(ratio, *_band(token.config))
    single = np.float32(ratio.value)  # the trainer compares in single precision
    outside = bool(single < np.float32(low) or single > np.float32(high))
    recorded = bool(epoch.outside_range[token.row, token.t])
    notes: tuple[Note, ...] = (("outside" if outside else "inside", {}),)
    if outside != recorded:
        notes = (*notes, ("recorded_outside" if recorded else "recorded_inside", {}))
    return line("clipped", (f"clip({ratio.name})", ""), found, holds=outside == recorded, notes=notes)


def _branches(config: Config, ratio: Formula, clipped: Formula, advantage: Formula) -> list[Line]:
    """What the step has earned, and what it could have earned inside the band; and the floor, where there is one."""
    kept = least(ratio, number(config.delta)) if config.objective == "two_sided" else ratio
    both = [("plain_branch", kept * advantage), ("clipped_branch", clipped * advantage)]
    lowest = min(formula.value for _, formula in both)
    winner = next(key for key, formula in both if formula.value == lowest)
    if config.objective == "dual_clip" and advantage.value < 0:
        both.append(("floor_branch", symbol("c", config.dual_clip) * advantage))
        winner = "floor_branch" if both[-1][1].value > lowest else winner
    return [line(key, BRANCH_SYMBOLS[key], formula, wins=key == winner) for key, formula in both]


BRANCH_SYMBOLS = {"plain_branch": ("a", ""), "clipped_branch": ("b", ""), "floor_branch": ("d", "")}


def _chosen(branches: list[Line]) -> Formula:
    plain, clipped, *floor = (symbol(*_of(branch)) for branch in branches)
    return most(least(plain, clipped), *floor) if floor else least(plain, clipped)


def _of(branch: Line) -> tuple[str, float]:
    return branch.symbol[0], branch.value


def _smooth(config: Config, ratio: Formula, log_ratio: Formula, clipped: Formula, advantage: Formula) -> Formula:
    """The term of an objective without branches."""
    if config.objective == "unclipped":
        return ratio * advantage
    if config.objective == "policy_gradient":
        return log_ratio * advantage
    if config.objective == "cispo":
        return clipped * advantage * log_ratio
    if config.objective == "kl_penalty":
        return ratio * advantage - symbol("b", config.penalty_coef) * (ratio - number(1) - log_ratio)
    tau = symbol("τ", SAPO_TEMPERATURES[0 if advantage.value > 0 else 1])
    return number(4) / tau * sigmoid(tau * (ratio - number(1))) * advantage


# ---------------------------------------------------------------------------------------------------- the gradient


def _gradient(token: Token, epoch: Epoch, ratio: Formula, advantage: Formula, moved: Numbers) -> list[Line]:
    """The slope of the token's term, the weight of the token in the whole, and its share."""
    config, fresh = token.config, token.rollout.response_mask
    mask = np.asarray(epoch.ratios) > 0  # a replayed row's mask: a ratio is exactly 0 outside it
    mask[: len(fresh)] = fresh
    ratios = np.where(mask, np.asarray(epoch.ratios, np.float64), 1.0)
    logs = np.log(np.where(ratios > 0, ratios, 1.0))
    logs[: len(fresh)] = np.where(fresh, moved, 0.0)
    pulls = pulls_of(config, logs, ratios, np.asarray(epoch.advantages, np.float64), mask, epoch.ref_log_ratios)
    weights = token_weights(config, mask, token.steps)
    parts = np.where(mask, np.abs(weights * pulls), 0.0)
    pull = _pull(token, epoch, ratio, advantage, float(pulls[token.row, token.t]), logs)
    own = next(rows for rows in token.steps if token.row in rows)
    weight = _weight(config, mask[own], token.count)
    share = size(symbol("w", weight.value) * symbol("g", pull.value, "t")) / symbol("Σ|wg|", float(parts.sum()))
    if parts.sum() == 0:
        share = number(0)
    notes: tuple[Note, ...] = (("minibatches", {"count": len(token.steps)}),) if len(token.steps) > 1 else ()
    if len(mask) > len(fresh):
        notes = (*notes, ("replayed", {"count": len(mask) - len(fresh)}))
    recorded = float(epoch.gradient_shares[token.row, token.t])
    even = int(mask.sum())  # an even share is far below 1, so it is held against its own size
    holds = abs(share.value - recorded) * even <= 10 * TOLERANCE * max(1.0, even * recorded)
    return [pull, weight, line("share", ("share", ""), share, recorded, holds=holds, notes=notes)]


def _flows(config: Config, ratios: Numbers, advantages: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where the winning branch of a min or max is one that moves with the ratio, ``[rows, T]``."""
    low, high = (np.float32(edge) for edge in config.clip_band)
    single = ratios.astype(np.float32)
    flows = ~np.where(advantages > 0, single > high, single < low)
    if config.objective == "dual_clip":
        return np.asarray(flows & ~((advantages < 0) & (ratios > config.dual_clip)))
    if config.objective == "two_sided":
        return np.asarray(flows & ~(ratios > config.delta))
    return np.asarray(flows)


def pulls_of(
    config: Config, logs: Numbers, ratios: Numbers, advantages: Numbers, mask: Any, ref_log_ratios: Any
) -> Numbers:
    """The slope d term / d ln π_new of every token, ``[rows, T]``, before its weight in the whole.

    Under GSPO a token moves the terms of its whole response: what the others' terms get of it is counted in.
    """
    name = config.objective
    if name == "gspo":
        counts = np.maximum(mask.sum(axis=1, keepdims=True), 1)
        ratios = np.exp(np.where(mask, logs, 0.0).sum(axis=1, keepdims=True) / counts) * np.ones_like(logs)
        flowing = np.where(mask & _flows(config, ratios, advantages), advantages, 0.0)
        pulls = ratios * flowing.sum(axis=1, keepdims=True) / counts
    elif name in PESSIMISTIC:
        pulls = np.where(_flows(config, ratios, advantages), ratios * advantages, 0.0)
    elif name == "policy_gradient":
        pulls = advantages
    elif name == "cispo":
        pulls = np.clip(ratios, *config.clip_band) * advantages
    elif name == "kl_penalty":
        pulls = ratios * advantages - config.penalty_coef * (ratios - 1)
    elif name == "sapo":
        tau = np.where(advantages > 0, *SAPO_TEMPERATURES)
        gate = 1 / (1 + np.exp(-tau * (ratios - 1)))
        pulls = 4 * gate * (1 - gate) * ratios * advantages
    else:
        pulls = ratios * advantages
    if config.kl_in == "loss":
        apart = np.asarray(ref_log_ratios, np.float64)
        slopes = {"k1": np.ones_like(apart), "k2": apart, "k3": 1 - np.exp(-apart)}
        assert set(slopes) == set(KL_ESTIMATORS)
        pulls = pulls - config.kl_coef * slopes[config.kl_estimator]
    return np.asarray(pulls, np.float64)


def token_weights(config: Config, mask: Any, steps: Sequence[Rows]) -> Numbers:
    """``[rows, 1]`` how much of its own step each token of a response is, by the aggregation; ``steps``: their rows."""
    weights = np.zeros((len(mask), 1))
    for rows in steps:
        weights[rows] = _step_weights(config, mask[rows])
    return weights


def _step_weights(config: Config, mask: Any) -> Numbers:
    counts = np.maximum(mask.sum(axis=1, keepdims=True), 1).astype(np.float64)
    if config.aggregation == "sequence_mean":
        return np.asarray(1 / (len(mask) * counts))
    if config.aggregation == "fixed_length":
        return np.full_like(counts, 1 / (len(mask) * config.response_length))
    return np.full_like(counts, 1 / max(int(mask.sum()), 1))


def _weight(config: Config, mask: Any, count: int) -> Line:
    rows = symbol("B", len(mask))
    if config.aggregation == "sequence_mean":
        formula = number(1) / (rows * symbol("n", count))
    elif config.aggregation == "fixed_length":
        formula = number(1) / (rows * symbol("T", config.response_length))
    else:
        formula = number(1) / symbol("N", int(mask.sum()))
    return line("weight", ("w", ""), formula, notes=((f"weight_{config.aggregation}", {}),))


def _pull(token: Token, epoch: Epoch, ratio: Formula, advantage: Formula, pull: float, logs: Numbers) -> Line:
    """The token's own slope, as a formula; what is recorded of it is whether the objective leaves it none."""
    config = token.config
    formula = _pull_formula(token, epoch, ratio, advantage, logs)
    recorded = bool(epoch.zero_gradient[token.row, token.t])
    holds = abs(pull) <= TOLERANCE if recorded else pull != 0 or advantage.value == 0
    notes: list[Note] = []
    if pull == 0:
        notes.append(("zero_advantage" if advantage.value == 0 else "no_gradient", {}))
    if not holds:
        notes.append(("recorded_zero" if recorded else "recorded_flows", {}))
    if config.objective == "gspo":
        notes.append(("through_response", {}))
    return line("pull", ("g", "t"), formula, holds=holds, notes=tuple(notes))


def _pull_formula(token: Token, epoch: Epoch, ratio: Formula, advantage: Formula, logs: Numbers) -> Formula:
    config, name = token.config, token.config.objective
    one, value = np.array([[ratio.value]]), np.array([[advantage.value]])
    if name == "gspo":
        every = token.response(epoch.advantages)
        flowing = _flows(config, np.full_like(every, ratio.value), every)
        formula = ratio * symbol("ΣÂ", float(every[flowing].sum())) / number(token.count)
    elif name in PESSIMISTIC:
        formula = ratio * advantage if bool(_flows(config, one, value)[0, 0]) else number(0)
    elif name == "policy_gradient":
        formula = advantage
    elif name == "cispo":
        formula = symbol("clip(ρ)", held(ratio, *_band(config)).value) * advantage
    elif name == "kl_penalty":
        formula = ratio * advantage - symbol("b", config.penalty_coef) * (ratio - number(1))
    elif name == "sapo":
        tau = symbol("τ", SAPO_TEMPERATURES[0 if advantage.value > 0 else 1])
        gate = symbol("q", sigmoid(tau * (ratio - number(1))).value)
        formula = number(4) * gate * (number(1) - gate) * ratio * advantage
    else:
        formula = ratio * advantage
    if config.kl_in == "reward":
        return formula
    apart = symbol("x", token.of(epoch.ref_log_ratios))
    slope = {"k1": number(1), "k2": apart, "k3": number(1) - exp(-apart)}[config.kl_estimator]
    return formula - symbol("β", config.kl_coef) * slope
