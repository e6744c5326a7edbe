from __future__ import annotations

import json
import math

import pytest
import torch

from explorer.ppo.preferences.evaluation import Evaluation, evaluate

LN3 = math.log(3)


def test_by_hand():
    # Sure to ¾ three times, right twice; a draw; sure to 0.9 once and right.
    found = evaluate(torch.tensor([LN3, LN3, -LN3, 0.0, math.log(9)]), bins=2)
    assert found.pairs == 5
    assert found.accuracy == pytest.approx(3.5 / 5)
    losses = [-math.log(0.75)] * 2 + [-math.log(0.25), -math.log(0.5), -math.log(0.9)]
    assert found.log_loss == pytest.approx(sum(losses) / 5)
    low, high = found.calibration
    assert (low.low, low.high, low.pairs, low.predicted, low.observed) == (0.5, 0.75, 1, 0.5, 0.5)
    assert (high.low, high.high, high.pairs) == (0.75, 1.0, 4)
    assert high.predicted == pytest.approx((3 * 0.75 + 0.9) / 4) and high.observed == 0.75
    assert found.margins == pytest.approx((LN3, LN3, -LN3, 0, math.log(9)))


def test_a_model_that_says_what_it_knows_is_calibrated_and_one_that_boasts_is_not():
    random = torch.Generator().manual_seed(0)
    margins = 2 * torch.randn(20_000, generator=random)
    won = torch.where(torch.rand(20_000, generator=random) < margins.sigmoid(), margins, -margins)
    for bin in evaluate(won).calibration:
        assert bin.observed == pytest.approx(bin.predicted, abs=0.03) and bin.pairs > 1000
    boasting = evaluate(3 * won).calibration[-1]
    assert boasting.predicted - boasting.observed > 0.05
    assert evaluate(3 * won).accuracy == evaluate(won).accuracy


def test_every_pair_is_in_one_bin():
    found = evaluate(torch.tensor([0.0, 1e-9, 700.0, -700.0, 2.0]), bins=7)
    assert sum(bin.pairs for bin in found.calibration) == 5
    assert math.isfinite(found.log_loss)


def test_nothing_to_judge():
    found = evaluate(torch.zeros(0))
    assert found.pairs == 0 and math.isnan(found.accuracy)
    assert all(bin.pairs == 0 and math.isnan(bin.observed) for bin in found.calibration)


@pytest.mark.parametrize("margins", [[], [1.5, -0.5, 0.0]])
def test_there_and_back(margins):
    found = evaluate(torch.tensor(margins))
    again = Evaluation.from_plain(json.loads(json.dumps(found.plain(), allow_nan=False)))
    assert repr(again) == repr(found)
