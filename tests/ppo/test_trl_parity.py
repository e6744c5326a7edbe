"""The same numbers as TRL 1.12's PPO, step by step, from its tokens, log-probabilities, values and scores.

The golden files hold what TRL itself computed (``golden/README.md``). From what TRL started with, this project's own
functions must come to the same KL, rewards, returns, advantages, ratios and losses, each from the ones before it and
not from TRL's. They are those that an update calls, under TRL's options as a Config: ``assign_credit``, which shapes
and whitens rewards, estimates advantages and whitens them; ``join`` and ``Batch.take`` for the minibatches; ``losses``
and ``record_epoch``. No formula is written down here. TRL counts one position after the stop for values and rewards,
and puts the score there: that is a mask passed in, ``value_mask``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo import credit as credit_module
from explorer.ppo.credit import assign_credit
from explorer.ppo.losses import losses
from explorer.ppo.masked import whiten
from explorer.ppo.optimiser import record_epoch
from explorer.ppo.policy import TokenScores
from explorer.ppo.records import Credit, Rollout
from explorer.ppo.replay import Batch, Experience, join

FOLDER = Path(__file__).parent / "golden"
FILES = {"trl_k1": "trl_k1.npz", "trl_k3_whitened_rewards": "trl_k3_whitened_rewards.npz"}
TOLERANCE = 1e-5
END_OF_TEXT = 0

#: TRL's names of the losses, and those of ``Losses``.
LOSSES = {"policy_losses": "policy", "value_losses": "value", "total_losses": "total"}

#: TRL's gradients are not in the files.
NOT_OURS = {"grad_norm": float("nan"), "grad_scale": float("nan")}


@dataclasses.dataclass
class Golden:
    """One golden file; ``trl`` has the shapes ``[U, B, T]`` for updates and ``[U, M, b, T]`` for minibatches."""

    trl: dict[str, Tensor]
    settings: dict[str, Any]

    @property
    def config(self) -> Config:
        """TRL's options by this project's names."""
        return Config(
            clip_range=self.settings["cliprange"],
            kl_coef=self.settings["kl_coef"],
            kl_estimator=self.settings["kl_estimator"],
            gamma=self.settings["gamma"],
            gae_lambda=self.settings["lam"],
            value_clip_range=self.settings["cliprange_value"],
            vf_coef=self.settings["vf_coef"],
            whiten_rewards=self.settings["whiten_rewards"],
        )

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        """``[U, B, T]`` up to and with the stop token, and TRL's, with one position more where there is one."""
        stops = (self.trl["response_ids"] == END_OF_TEXT).cumsum(-1)
        mask = torch.cat([torch.zeros_like(stops[..., :1]), stops[..., :-1]], dim=-1) == 0
        return mask, torch.cat([torch.ones_like(mask[..., :1]), mask[..., :-1]], dim=-1)


@pytest.fixture(scope="module", params=FILES.values(), ids=FILES)
def golden(request: pytest.FixtureRequest) -> Golden:
    with np.load(FOLDER / request.param) as arrays:
        settings = json.loads(str(arrays["settings"]))
        return Golden({name: torch.from_numpy(arrays[name]) for name in arrays if name != "settings"}, settings)


def rollout(golden: Golden, update: int, *, counted: Tensor | None = None) -> Rollout:
    """An update's responses as TRL sampled and scored them; ``counted [B, T]`` is another mask than TRL's."""
    trl = {name: tensors[update] for name, tensors in golden.trl.items()}
    mask = golden.masks[0][update]
    rows, length = mask.shape
    return Rollout(
        prompt_ids=torch.zeros(rows, 1, dtype=torch.long),
        prompt_mask=torch.ones(rows, 1, dtype=torch.bool),
        response_ids=trl["response_ids"],
        response_mask=mask if counted is None else counted,
        stopped=~mask.all(-1),
        old_logprobs=trl["old_logprobs"],
        ref_logprobs=trl["ref_logprobs"],
        old_values=trl["old_values"],
        entropies=torch.zeros(rows, length),
        groups=torch.arange(rows),
        top_ids=torch.zeros(rows, length, 1, dtype=torch.long),
        top_logprobs=torch.zeros(rows, length, 1),
    )


def credit(
    golden: Golden, update: int, *, counted: Tensor | None = None, valued: Tensor | None = None, **changes: Any
) -> Credit:
    """An update's rewards and advantages.

    ``counted [B, T]``, ``valued [B, T]`` and ``changes`` of the Config replace one of TRL's conventions by another.
    """
    scores = golden.trl["scores"][update]
    return assign_credit(
        golden.config.replace(**changes),
        rollout(golden, update, counted=counted),
        {"trl": scores},
        scores,
        value_mask=golden.masks[1][update] if valued is None else valued,
    )


def distances(golden: Golden, update: int, ours: Credit) -> dict[str, float]:
    """How far each of our tensors is from TRL's at the worst token, the padded ones included."""
    return {
        name: float((getattr(ours, name) - golden.trl[name][update]).abs().max())
        for name in ("ref_kl", "rewards", "returns", "whitened_advantages")
    }


def minibatch(golden: Golden, update: int, number: int) -> tuple[Batch, TokenScores, Tensor]:
    """What the optimiser is given: the rows, their tokens under the policy by then, and where TRL's values count."""
    rows = golden.trl["rows"][update, number]
    records = rollout(golden, update), credit(golden, update)
    batch = join([Experience.of(*records, born=update, temperature=1.0)], update)
    new = {name: golden.trl[f"new_{name}"][update, number] for name in ("logprobs", "values")}
    scores = TokenScores(**new, entropies=torch.zeros_like(new["values"]), all_logprobs=torch.zeros(*rows.shape, 0, 0))
    return batch.take(rows), scores, golden.masks[1][update, rows]


@pytest.mark.parametrize("update", range(3))
def test_kl_rewards_returns_and_advantages(golden: Golden, update: int) -> None:
    found = distances(golden, update, credit(golden, update))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("update", range(3))
def test_ratios_and_losses(golden: Golden, update: int, number: int) -> None:
    part, scores, valued = minibatch(golden, update, number)
    found = losses(part, scores, golden.config, value_mask=valued)
    record = record_epoch(part, scores.logprobs, scores.values, scores.entropies, golden.config, **NOT_OURS)
    trl = {name: golden.trl[name][update, number] for name in ("ratios", *LOSSES)}
    for name, ours in {name: getattr(found, ours) for name, ours in LOSSES.items()}.items():
        torch.testing.assert_close(ours, trl[name], rtol=0, atol=TOLERANCE, msg=name)
    torch.testing.assert_close(record.ratios[part.mask], trl["ratios"][part.mask], rtol=0, atol=TOLERANCE)
    assert bool((trl["ratios"][~part.mask] == 1).all())  # TRL's mark; a ratio that does not count is 0 here
    # What the trainer reports of the minibatch is what it went down.
    assert record.policy_loss == pytest.approx(float(trl["policy_losses"]), abs=TOLERANCE)


def test_the_mask_is_trls(golden: Golden) -> None:
    mask, _ = golden.masks
    assert torch.equal(mask, golden.trl["old_logprobs"] != 1)  # TRL's mark of what is padded


def test_each_of_trls_conventions_shows(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, each moves some token a hundred times further than is allowed: the files would tell."""
    whitens_rewards = golden.settings["whiten_rewards"]
    for update in range(3):
        mask, with_one_more = (masks[update] for masks in golden.masks)
        others: list[dict[str, Any]] = [
            {"valued": mask},
            {"counted": with_one_more},
            {"whiten_rewards": not whitens_rewards},
        ]
        for other in others:
            found = distances(golden, update, credit(golden, update, **other))
            assert max(found.values()) > 100 * TOLERANCE, other
    if whitens_rewards:
        monkeypatch.setattr(credit_module, "whiten", lambda values, counted, **_: whiten(values, counted))
        for update in range(3):
            found = distances(golden, update, credit(golden, update))
            assert found["rewards"] > 100 * TOLERANCE, "the mean is lost and nobody sees it"


def test_the_files_put_everything_to_the_test(golden: Golden) -> None:
    mask, with_one_more = golden.masks
    lengths = mask.sum(-1)
    assert 1 in lengths and mask.shape[-1] - 1 in lengths and mask.shape[-1] in lengths
    assert mask.all(-1).any() and not mask.all()
    config, update = golden.config, torch.arange(3)[:, None, None]
    advantages = golden.trl["whitened_advantages"][update, golden.trl["rows"]]
    ratios, counted = golden.trl["ratios"], mask[update, golden.trl["rows"]]
    for sign in (-1, 1):  # both sides of the range, for tokens that should become likelier and for others
        chosen = ratios[counted & (advantages.sign() == sign)]
        assert (chosen > 1 + config.clip_range).any() and (chosen < 1 - config.clip_range).any()
    moved = golden.trl["new_values"] - golden.trl["old_values"][update, golden.trl["rows"]]
    assert config.value_clip_range is not None
    assert (moved.abs() > config.value_clip_range)[with_one_more[update, golden.trl["rows"]]].any()
    assert golden.trl["ref_kl"][1:].abs().max() > 100 * TOLERANCE


def test_the_files_are_small_and_of_different_options() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.npz")) == sorted(FILES.values())
    assert all((FOLDER / name).stat().st_size < 30_000 for name in FILES.values())
    settings = []
    for name in FILES.values():
        with np.load(FOLDER / name) as arrays:
            settings.append(json.loads(str(arrays["settings"])))
    assert [(each["kl_estimator"], each["whiten_rewards"]) for each in settings] == [("k1", False), ("k3", True)]
