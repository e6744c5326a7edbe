"""The same numbers as TRL 1.12's PPO, step by step, from its tokens, log-probabilities, values and scores.

The golden files hold what TRL itself computed (``golden/README.md``). From what TRL started with, this project's own
functions must come to the same KL, rewards, returns, advantages, ratios and losses, each from the ones before it and
not from TRL's. Rewards and advantages come from ``assign_credit``, which a run calls, under TRL's options as a Config,
whitened rewards among them. TRL counts one position after the stop for values and rewards, and puts the score there:
the mask of the responses has it here. Advantages it whitens over the tokens up to the stop alone.
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
from explorer.ppo.masked import masked_mean, whiten
from explorer.ppo.objectives import clip, total_loss, unclipped, value_terms
from explorer.ppo.records import Rollout

FOLDER = Path(__file__).parent / "golden"
FILES = {"trl_k1": "trl_k1.npz", "trl_k3_whitened_rewards": "trl_k3_whitened_rewards.npz"}
TOLERANCE = 1e-5
END_OF_TEXT = 0


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


@dataclasses.dataclass
class OurCredit:
    """What this project makes of an update of TRL's, ``[B, T]`` each."""

    ref_kl: Tensor
    rewards: Tensor
    returns: Tensor
    whitened_advantages: Tensor


@pytest.fixture(scope="module", params=FILES.values(), ids=FILES)
def golden(request: pytest.FixtureRequest) -> Golden:
    with np.load(FOLDER / request.param) as arrays:
        settings = json.loads(str(arrays["settings"]))
        return Golden({name: torch.from_numpy(arrays[name]) for name in arrays if name != "settings"}, settings)


def credit(
    golden: Golden, update: int, *, counted: Tensor | None = None, whitened: Tensor | None = None, **changes: Any
) -> OurCredit:
    """An update's rewards and advantages.

    ``counted [B, T]``, ``whitened [B, T]`` and ``changes`` of the Config replace one of TRL's conventions by another.
    """
    trl = {name: tensors[update] for name, tensors in golden.trl.items()}
    mask, with_one_more = (masks[update] for masks in golden.masks)
    counted = with_one_more if counted is None else counted
    rows, length = mask.shape
    rollout = Rollout(
        prompt_ids=torch.zeros(rows, 1, dtype=torch.long),
        prompt_mask=torch.ones(rows, 1, dtype=torch.bool),
        response_ids=trl["response_ids"],
        response_mask=counted,
        stopped=~mask.all(-1),
        old_logprobs=trl["old_logprobs"],
        ref_logprobs=trl["ref_logprobs"],
        old_values=trl["old_values"],
        entropies=torch.zeros(rows, length),
        groups=torch.arange(rows),
        top_ids=torch.zeros(rows, length, 1, dtype=torch.long),
        top_logprobs=torch.zeros(rows, length, 1),
    )
    scores = trl["scores"]
    found = assign_credit(golden.config.replace(**changes), rollout, {"trl": scores}, scores)
    return OurCredit(
        ref_kl=found.ref_kl,
        rewards=found.rewards,
        returns=found.returns,
        whitened_advantages=whiten(found.advantages, mask if whitened is None else whitened),
    )


def distances(golden: Golden, update: int, ours: OurCredit) -> dict[str, float]:
    """How far each of our tensors is from TRL's at the worst token, the padded ones included."""
    return {
        field.name: float((getattr(ours, field.name) - golden.trl[field.name][update]).abs().max())
        for field in dataclasses.fields(ours)
    }


@pytest.mark.parametrize("update", range(3))
def test_kl_rewards_returns_and_advantages(golden: Golden, update: int) -> None:
    found = distances(golden, update, credit(golden, update))
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize("minibatch", range(8))
@pytest.mark.parametrize("update", range(3))
def test_ratios_and_losses(golden: Golden, update: int, minibatch: int) -> None:
    config, ours = golden.config, credit(golden, update)
    seen = {name: golden.trl[name][update, minibatch] for name in ("rows", "new_logprobs", "new_values")}
    rows = seen["rows"]
    mask, with_one_more = (masks[update, rows] for masks in golden.masks)
    log_ratios = seen["new_logprobs"] - golden.trl["old_logprobs"][update, rows]
    terms = clip(log_ratios, ours.whitened_advantages[rows], config, mask)
    old_values = golden.trl["old_values"][update, rows]
    squares = value_terms(seen["new_values"], old_values, ours.returns[rows], config.value_clip_range)
    policy_loss, value_loss = -masked_mean(terms, mask), masked_mean(squares, with_one_more)
    found = {
        "ratios": unclipped(log_ratios, torch.ones_like(log_ratios), config, mask),  # at an advantage of 1
        "policy_losses": policy_loss,
        "value_losses": value_loss,
        "total_losses": total_loss(policy_loss, value_loss, None, config),
    }
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, golden.trl[name][update, minibatch], rtol=0, atol=TOLERANCE, msg=name)


def test_the_mask_is_trls(golden: Golden) -> None:
    mask, _ = golden.masks
    assert torch.equal(mask, golden.trl["old_logprobs"] != 1)  # TRL's mark of what is padded


def test_each_of_trls_conventions_shows(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out, each moves some token a hundred times further than is allowed: the files would tell."""
    whitens_rewards = golden.settings["whiten_rewards"]
    for update in range(3):
        mask, with_one_more = (masks[update] for masks in golden.masks)
        others: list[dict[str, Any]] = [
            {"counted": mask},
            {"whitened": with_one_more},
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
