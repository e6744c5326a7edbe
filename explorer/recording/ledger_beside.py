"""The ledger's third part: numbers of the token that no step of the way from reward to gradient has as its own.

Each is reckoned from the records where they hold what it takes; of what was measured over the whole vocabulary, or by
the critic, they keep the result alone, and the line says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from explorer.config import GROUPED
from explorer.recording.formula import exp, number, square, symbol, total
from explorer.recording.ledger_credit import delta, kl_formula, to_go
from explorer.recording.ledger_line import TOLERANCE, Line, Note, Numbers, Terms, Token, agrees, line

#: Estimators that are made of the surprises: that of the token is a step of the way.
ONE_STEP = frozenset({"gae", "one_step_td"})

#: Where the recorded words leave no more of the probability than this, the words that are left add less to an entropy
#: than ``TOLERANCE``, whatever the vocabulary.
NOTHING_LEFT = 2e-7

#: How far a sum of probabilities in single precision may be off.
ROUNDING = 1e-6

#: The KL to the reference by each estimator, and its sum over the response.
KL_LINES = {name: f"response_{name}" for name in ("exact_kl", "k1", "k2", "k3")}


def beside_lines(token: Token) -> list[Line]:
    """Probabilities, distances to both policies with their sums, value, return, entropy, age; as far as there are."""
    lines = [*_probabilities(token), *_distances(token), *_expected(token), _entropy(token)]
    if token.epoch is not None:
        lines += [_age(token, int(token.epoch.ages[token.row])), Line(key="gradient_part", notes=(("on_demand", {}),))]
    return [replace(found, beside=True) for found in lines]


# ---------------------------------------------------------------------------------------------------- probabilities


def _probabilities(token: Token) -> list[Line]:
    rollout, epoch = token.rollout, token.epoch
    lines = [_probability(token, "old_probability", "old", rollout.old_logprobs)]
    if epoch is not None:
        lines.append(_probability(token, "new_probability", "new", epoch.new_logprobs))
    lines.append(_probability(token, "ref_probability", "ref", rollout.ref_logprobs))
    return lines


def _probability(token: Token, key: str, whose: str, logprobs: Numbers) -> Line:
    return line(key, ("π", whose), exp(symbol("ln π", token.of(logprobs), whose)))


# ---------------------------------------------------------------------------------------------------- distances


def _distances(token: Token) -> list[Line]:
    """How far the token is from the reference, how far the update has moved it, and the sums of both."""
    rollout, epoch = token.rollout, token.epoch
    old, ref = token.response(rollout.old_logprobs), token.response(rollout.ref_logprobs)
    lines = []
    if rollout.exact_ref_kl is not None:
        every = token.response(rollout.exact_ref_kl)
        notes: tuple[Note, ...] = (("exact_kl", {}),)
        formula = symbol("KL", every[token.t], "exact")
        lines.append(line("exact_kl", ("KL", "t"), formula, every[token.t], holds=None, notes=notes))
        lines.append(_summed(token, "response_exact_kl", "KL", every))
    for name in ("k1", "k2", "k3"):
        pair = symbol("ln π", old[token.t], "old") - symbol("ln π", ref[token.t], "ref")
        every = np.array([kl_formula(name, number(each)).value for each in old - ref])
        # k1 has the two logarithms; k3, which would have them twice, is wider than a panel with them.
        apart = pair if name == "k1" else symbol("ln ρ", pair.value, "ref")
        lines.append(line(name, (name, "t"), kl_formula(name, apart)))
        lines.append(_summed(token, KL_LINES[name], name, every))
    if epoch is not None:
        moved = token.response(epoch.new_logprobs) - old
        change = symbol("ln π", token.of(epoch.new_logprobs), "new") - symbol("ln π", old[token.t], "old")
        lines.append(line("log_ratio", ("ln ρ", "t"), change))
        lines.append(line("step", ("k2", "t"), square(symbol("ln ρ", moved[token.t], "t")) / number(2)))
        lines.append(_summed(token, "response_step", "k2", moved**2 / 2))
    return lines


def _summed(token: Token, key: str, name: str, every: Numbers) -> Line:
    """The sum of a number over the response's tokens; those of the KL that was charged are held against the record."""
    charged = token.credit is not None and key == KL_LINES.get(_charged(token))
    stored = token.response(token.credit.ref_kl) if charged and token.credit is not None else None
    holds = [None if stored is None else agrees(float(value), float(stored[u])) for u, value in enumerate(every)]
    terms = Terms(
        places=[(token.row, u) for u in range(token.count)],
        columns={"nats": every.tolist()},
        holds=holds,
    )
    formula = total([symbol(name, value, str(u)) for u, value in enumerate(every)])
    return line(key, (f"Σ {name}", "i"), formula, terms=terms)


def _charged(token: Token) -> str:
    estimator = token.config.kl_estimator
    return "exact_kl" if estimator == "exact" else estimator


# ---------------------------------------------------------------------------------------------------- value, return


def _expected(token: Token) -> list[Line]:
    """What the critic expected, and what it should have said; the surprise and the return where no step has them."""
    value = token.of(token.rollout.old_values)
    measured: tuple[Note, ...] = (("measured_value", {}),)
    lines = [line("value", ("V", "t"), symbol("V", value, "t"), value, holds=None, notes=measured)]
    credit, estimator = token.credit, token.config.estimator
    if credit is None:
        return lines
    if estimator in ONE_STEP:
        formula = symbol("A", token.of(credit.advantages), "t") + symbol("V", value, "t")
        return [*lines, line("return", ("R", "t"), formula, token.of(credit.returns))]
    if estimator in GROUPED or estimator == "total_return":
        lines.append(to_go(token, credit, token.t, "t", token.of(credit.returns)))
    return [*lines, delta(token, credit)]


# ---------------------------------------------------------------------------------------------------- entropy, age


def _entropy(token: Token) -> Line:
    """``-sum p ln p``: the part of the recorded words anew, and what the recorded sum leaves for all the others."""
    stored = token.of(token.rollout.entropies)
    logs = np.asarray(token.rollout.top_logprobs[token.row, token.t], np.float64)
    logs = logs[np.isfinite(logs)]  # a word that cannot come adds nothing
    chances = np.exp(logs)
    words = enumerate(zip(chances, logs, strict=True), start=1)
    parts = [symbol("π", p, str(i)) * symbol("−ln π", -log, str(i)) for i, (p, log) in words]
    known = total(parts)
    left = 1.0 - float(chances.sum())
    if left <= NOTHING_LEFT:
        return line("entropy", ("H", "t"), known, stored, notes=(("entropy_whole", {"count": len(logs)}),))
    # Of so much probability in words each of which is no likelier than the last recorded one.
    sure = max(0.0, left - ROUNDING)
    least = -sure * float(np.log(min(sure, float(chances.min())))) if sure else 0.0
    rest = stored - known.value
    possible = rest >= least - 10 * TOLERANCE * max(1.0, stored)
    formula = total([*parts, symbol("H", rest, "rest")])
    told = {"count": len(logs), "share": float(chances.sum()), "left": left, "least": least}
    key = "entropy_part" if possible else "entropy_impossible"
    return line("entropy", ("H", "t"), formula, stored, holds=None if possible else False, notes=((key, told),))


def _age(token: Token, recorded: int) -> Line:
    """The rows that can be pinned are those that this very update has sampled; the replayed ones stand behind them."""
    formula = symbol("u", token.update, "now") - symbol("u", token.update, "sampled")
    return line("age", ("age", ""), formula, recorded, notes=(("age_fresh", {}),))
