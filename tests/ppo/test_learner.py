"""The model that is pretrained and its optimisers."""

from __future__ import annotations

import json
import math

import pytest
import torch
from transformers import GPT2LMHeadModel

from explorer.bundled import asset_path
from explorer.ppo.learner import Architecture, Learner, learning_rate_scale, mean_loss, token_losses

TINY = Architecture(vocabulary=300, layers=2, width=16, heads=2, positions=12)


@pytest.fixture
def learner() -> Learner:
    return Learner(TINY, seed=0, bf16=False)


@pytest.fixture
def windows() -> torch.Tensor:
    return torch.randint(TINY.vocabulary, (6, TINY.positions), generator=torch.Generator().manual_seed(1))


def learn(learner: Learner, windows: torch.Tensor, dropout: float = 0.0, dropout_seed: int = 0) -> float:
    return learner.learn(windows, rate_scale=1.0, dropout=dropout, dropout_seed=dropout_seed)


def test_the_default_is_the_bundled_policys_size() -> None:
    lm = Learner(Architecture(), seed=0, bf16=False).lm
    assert sum(p.numel() for p in lm.parameters()) == 1_071_872
    bundled = json.loads((asset_path("policy") / "config.json").read_text(encoding="utf-8"))
    ours = lm.config.to_dict()
    shape = [name for name in bundled if name.startswith("n_") or name.endswith(("_id", "pdrop"))]
    for name in [*shape, "vocab_size", "activation_function", "tie_word_embeddings"]:
        assert ours[name] == bundled[name], name


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"layers": 0}, "layers is 0, but must be at least 1"),
        ({"vocabulary": 256}, "vocabulary is 256, but must be at least 257"),
        ({"positions": 1}, "positions is 1, but must be at least 2"),
        ({"width": 130}, "width is 130, but must be a multiple of the 4 heads"),
    ],
)
def test_a_size_that_cannot_be_names_its_range(sizes: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Architecture(**sizes)


@pytest.mark.parametrize(
    ("step", "steps", "scale"),
    [
        (0, 1000, 1 / 60),
        (29, 1000, 0.5),
        (59, 1000, 1.0),
        (730, 1000, 1.0),
        (865, 1000, 0.5),
        (999, 1000, 1 / 270),
        (0, 8, 0.5),
        (1, 8, 1.0),
        (7, 8, 0.5),
        (0, 1, 1.0),
    ],
)
def test_the_learning_rate_warms_up_stays_and_decays(step: int, steps: int, scale: float) -> None:
    assert learning_rate_scale(step, steps) == pytest.approx(scale)


def test_losses_are_those_of_the_transformers_library(learner: Learner, windows: torch.Tensor) -> None:
    losses = token_losses(learner.lm, windows)
    assert losses.shape == (6, TINY.positions - 1)
    theirs = learner.lm(input_ids=windows, attention_mask=torch.ones_like(windows), labels=windows).loss
    assert float(losses.mean().detach()) == pytest.approx(float(theirs.detach()), abs=1e-5)


def test_a_model_that_knows_nothing_loses_ln_v(learner: Learner, windows: torch.Tensor) -> None:
    with torch.no_grad():
        learner.lm.transformer.wte.weight.zero_()
    assert mean_loss(learner.lm, windows) == pytest.approx(math.log(300), abs=1e-5)


def test_the_mean_loss_is_a_mean_over_tokens_without_dropout(learner: Learner, windows: torch.Tensor) -> None:
    learn(learner, windows, dropout=0.5)
    assert learner.lm.training
    first = mean_loss(learner.lm, windows)
    assert learner.lm.training
    assert mean_loss(learner.lm, windows) == first
    one_by_one = [mean_loss(learner.lm, row[None]) for row in windows]
    assert sum(one_by_one) / 6 == pytest.approx(first, abs=1e-5)
    assert mean_loss(learner.lm, windows.repeat(20, 1)) == pytest.approx(first, abs=1e-5)


def test_a_temperature_divides_the_logits(learner: Learner, windows: torch.Tensor) -> None:
    before = mean_loss(learner.lm, windows)
    hot = mean_loss(learner.lm, windows, temperature=1e6)
    assert hot == pytest.approx(math.log(300), abs=1e-4)
    assert mean_loss(learner.lm, windows) == before


def test_every_parameter_has_one_optimiser_and_muon_has_the_blocks_matrices(learner: Learner) -> None:
    names = {parameter: name for name, parameter in learner.lm.named_parameters()}
    groups = {
        kind: [names[p] for group in optimiser.param_groups for p in group["params"]]
        for kind, optimiser in learner.optimisers.items()
    }
    assert sorted(groups["muon"] + groups["adamw"]) == sorted(names.values())
    kinds = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert sorted(groups["muon"]) == sorted(f"transformer.h.{n}.{kind}.weight" for n in (0, 1) for kind in kinds)


def test_the_first_step_is_as_long_as_the_optimisers_promise(learner: Learner, windows: torch.Tensor) -> None:
    before = {name: p.detach().clone() for name, p in learner.lm.named_parameters()}
    learner.learn(windows, rate_scale=0.5, dropout=0.0, dropout_seed=0)
    moved = {name: p.detach() - before[name] for name, p in learner.lm.named_parameters()}
    # Adam's first step is the learning rate wherever the gradient is not tiny.
    assert float(moved["transformer.wte.weight"].abs().max()) == pytest.approx(0.003, rel=0.01)
    # Muon's is orthogonal, scaled to the root mean square of 0.2 that AdamW's steps have later on.
    for name in ("transformer.h.0.mlp.c_fc.weight", "transformer.h.1.attn.c_proj.weight"):
        assert float(moved[name].square().mean().sqrt()) == pytest.approx(0.2 * 0.006, rel=0.3), name


def test_a_huge_gradient_is_cut_to_norm_one(learner: Learner, windows: torch.Tensor) -> None:
    with torch.no_grad():
        learner.lm.transformer.ln_f.weight *= 100
    learn(learner, windows)
    # The first moments are (1 - beta) times the gradient that was used: 0.05 for Muon, 0.1 for AdamW.
    first = learner.tensors()
    muon = sum(float(t.square().sum()) for name, t in first.items() if name.endswith("/momentum_buffer")) / 0.05**2
    adamw = sum(float(t.square().sum()) for name, t in first.items() if name.endswith("/exp_avg")) / 0.1**2
    assert math.sqrt(muon + adamw) == pytest.approx(1.0, abs=1e-3)


def test_learning_lowers_the_loss_and_leaves_the_global_generator(learner: Learner, windows: torch.Tensor) -> None:
    state = torch.get_rng_state()
    losses = [learn(learner, windows, dropout=0.1, dropout_seed=step) for step in range(25)]
    assert torch.equal(torch.get_rng_state(), state)
    assert losses[0] == pytest.approx(math.log(300), abs=0.2)
    assert losses[-1] < losses[0] - 2


def test_dropout_belongs_to_its_seed(windows: torch.Tensor) -> None:
    def loss(dropout: float, seed: int) -> float:
        return learn(Learner(TINY, seed=0, bf16=False), windows, dropout, seed)

    assert loss(0.2, 3) == loss(0.2, 3)
    assert loss(0.2, 3) != loss(0.2, 4)
    assert loss(0.0, 3) == loss(0.0, 4)


def test_bfloat16_is_near_float32(windows: torch.Tensor) -> None:
    exact = Learner(TINY, seed=0, bf16=False)
    rounded = Learner(TINY, seed=0, bf16=True)
    for _ in range(3):
        pair = learn(exact, windows), learn(rounded, windows)
    assert pair[0] != pair[1]
    assert pair[1] == pytest.approx(pair[0], abs=0.05)
    assert {p.dtype for p in rounded.lm.parameters()} == {torch.float32}


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_restored_learner_goes_on_as_if_nothing_had_happened(steps: int, windows: torch.Tensor) -> None:
    whole = Learner(TINY, seed=0, bf16=False)
    for step in range(steps):
        learn(whole, windows, 0.1, step)
    kept = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    restored = Learner(TINY, seed=99, bf16=False)
    learn(restored, windows.flip(0))
    restored.restore(kept)
    for step in range(steps, steps + 2):
        assert learn(whole, windows, 0.1, step) == learn(restored, windows, 0.1, step)
    first, second = whole.tensors(), restored.tensors()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_seed_decides_the_weights() -> None:
    def embeddings(seed: int) -> torch.Tensor:
        lm: GPT2LMHeadModel = Learner(TINY, seed=seed, bf16=False).lm
        return lm.transformer.wte.weight

    assert torch.equal(embeddings(1), embeddings(1))
    assert not torch.equal(embeddings(1), embeddings(2))
