"""Another device gives the same run. Without a GPU, a device that only the tests have shows that nothing is forgotten.

What is parametrised with ``ON_EACH`` runs on the CPU everywhere and on a GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.config import Config
from explorer.ppo.checks import FIRST_RATIO, FIRST_RATIO_BF16
from explorer.ppo.device import DeviceError, check_bf16, find_device
from explorer.ppo.loading import load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.streams import TRIAL
from explorer.ppo.trainer import Trainer
from explorer.recording.snapshot import take_snapshot
from explorer.session.engine import Engine
from tests.conftest import TINY_PROMPTS
from tests.ppo.comparing import same, weights
from tests.ppo.second_device import There, TwoDevices, moved, second_device

if TYPE_CHECKING:
    from explorer.ppo.records import Update
    from tests.conftest import MakeTrainer, RunUpdate

NO_GPU = "NO GPU HERE: nothing has been run on CUDA. Run tests/ppo/test_device.py on a machine that has one."
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
ON_EACH = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=on_a_gpu)])
CRITICS = pytest.mark.parametrize("critic", ["shared", "separate"])

#: Together they take every path on which the trainer makes a tensor.
CHOICES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "separate critic": {"critic": "separate", "minibatches": 3},
    "remax": {"estimator": "remax", "group_size": 2},
    "grpo, KL in the loss": {"estimator": "grpo", "group_size": 4, "kl_in": "loss", "kl_estimator": "k3"},
    "rloo, gspo": {"estimator": "rloo", "objective": "gspo", "aggregation": "sequence_mean"},
    "PPO-penalty, adaptive KL": {"objective": "kl_penalty", "kl_target": 3.0},
    "entropy bonus, early stop": {"ent_coef": 0.01, "target_kl": 1e-9},
    "whole responses": {"stop_sentences": 0, "estimator": "monte_carlo_value", "value_clip_range": None},
    "sapo, greedy weights": {"objective": "sapo", "whiten": False, "weight_coherence": 0.5, "weight_unbiasedness": 0.5},
}


def arrays(update: Update) -> list[Tensor]:
    found: list[Tensor] = []
    update.map(lambda array: found.append(array.detach().cpu()) or array)
    return found


def devices(update: Update) -> set[torch.device]:
    """Where its records lie; the curve belongs to no token."""
    found: set[torch.device] = set()
    for record in (update.rollout, update.credit, *update.epochs):
        record.map(lambda array: found.add(array.device) or array)
    return found


def assert_close(one: Update, other: Update, tolerance: float) -> None:
    """The same tokens, and numbers that differ by rounding."""
    pairs = list(zip(arrays(one), arrays(other), strict=True))
    assert len(pairs) > 30
    assert torch.equal(one.rollout.response_ids.cpu(), other.rollout.response_ids.cpu())
    for a, b in pairs:
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.is_floating_point():
            torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
    assert one.checks.keys() == other.checks.keys()
    assert all(holds for holds, _ in other.checks.values()), other.checks


# --- without a GPU: a device that refuses what a GPU refuses ---


def test_the_second_device_refuses_what_a_gpu_refuses() -> None:
    with second_device() as there:
        far = torch.arange(6.0).reshape(2, 3).to(there)
        assert isinstance(far, There) and far.device == there
        for forgotten in (
            lambda: far + torch.ones(3),
            lambda: torch.where(far > 2, torch.ones(2, 3), 0.0),
            lambda: torch.ones(6)[far.long()],
            lambda: torch.cat([far, torch.zeros(1, 3)]),
            lambda: torch.zeros(2, 3).add_(far),
        ):
            with pytest.raises(TwoDevices):
                forgotten()
        with pytest.raises((RuntimeError, TypeError)):
            far.numpy()


def test_the_second_device_computes_as_the_cpu_does() -> None:
    with second_device() as there:
        far = torch.zeros(2, 3, device=there)
        far[:, 1] = torch.tensor([1.0, 2.0], device=there)  # through a view of it
        far += torch.tensor(0.5)  # a single number may come from anywhere
        weight = torch.ones(3, 1).to(there).requires_grad_(True)
        (far @ weight).sum().backward()
        assert far.tolist() == [[0.5, 1.5, 0.5], [0.5, 2.5, 0.5]]
        assert isinstance(weight.grad, There) and weight.grad.tolist() == [[1.0], [4.0], [1.0]]


@pytest.mark.parametrize("name", CHOICES)
def test_every_tensor_follows_the_policy(
    name: str, make_trainer: MakeTrainer, make_tiny_policy: Callable[[], Policy], run_update: RunUpdate
) -> None:
    # Small steps: the clip's edges would turn a difference in rounding into one in kind.
    config = Config(batch_size=8, group_size=2, response_length=6, epochs=2, stop_sentences=1, learning_rate=1e-4)
    config = config.replace(**{"minibatches": 2, **CHOICES[name]})
    here = make_trainer(config)
    expected = [run_update(here), run_update(here)]
    with second_device() as there:
        trainer = make_trainer(config, policy=moved(make_tiny_policy()))
        for one in expected:
            update = run_update(trainer)
            assert devices(update) == {there}
            assert_close(one, update, 1e-4)
        assert {p.device for p in (*trainer.policy.parameters(), *trainer.reference.parameters())} == {there}


def test_replay_dropout_and_parts_follow_too(
    make_trainer: MakeTrainer,
    make_tiny_policy: Callable[[], Policy],
    run_update: RunUpdate,
    tiny_config: Config,
) -> None:
    config = tiny_config.replace(replay_rollouts=2, dropout_on=True, learning_rate=1e-4)

    def run(trainer: Trainer) -> tuple[list[Update], Tensor]:
        first = run_update(trainer)
        trainer.set_prompts(["The cat"])  # shorter: the replayed prompts widen the batch
        second = run_update(trainer)
        return [first, second], trainer.gradient_parts(second.rollout, second.credit)

    expected, parts = run(make_trainer(config))
    with second_device():
        found, far_parts = run(make_trainer(config, policy=moved(make_tiny_policy())))
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one.rollout.response_ids, other.rollout.response_ids.cpu())
            assert one.metrics["optim/grad_norm"] == pytest.approx(other.metrics["optim/grad_norm"], rel=1e-3)
        torch.testing.assert_close(far_parts.cpu(), parts, atol=1e-3, rtol=1e-2)


@pytest.mark.filterwarnings("ignore:.*to a meta parameter in the current model, which is a no-op")  # here it is not
def test_what_a_session_asks_of_it_follows_too(
    make_tiny_policy: Callable[[], Policy], tiny_config: Config, run_update: RunUpdate
) -> None:
    def ask(policy: Policy) -> tuple[Any, ...]:
        snapshots: list[Any] = []
        engine = Engine(policy, tiny_config, None, TINY_PROMPTS, lambda progress: None, snapshots.append)
        engine.load()
        engine.show_stages = True
        while not engine.advance():
            pass
        engine.advance()  # in the middle of the second, the first is asked
        answers = (
            engine.answers.compare(),
            engine.answers.try_prompt("The cat", 0),
            engine.answers.try_prompt("One day", 1),
        )
        kept = engine.checkpoints._weights[1]
        assert {tensor.device.type for tensor in kept.values()} == {"cpu"}
        assert not any(isinstance(tensor, There) for tensor in kept.values())
        engine.restart()
        snapshot = snapshots[0]
        assert type(snapshot.rollout.response_ids) is np.ndarray
        return *answers, snapshot.tokens, weights(engine.trainer.policy)

    *expected, start = ask(make_tiny_policy())
    with second_device():
        *found, far_start = ask(moved(make_tiny_policy()))
        assert found == expected
        assert same(start, {name: tensor.cpu() for name, tensor in far_start.items()})


def test_an_update_that_breaks_off_is_taken_back_there_too(
    make_trainer: MakeTrainer, make_tiny_policy: Callable[[], Policy], run_update: RunUpdate
) -> None:
    with second_device():
        trainer = make_trainer(policy=moved(make_tiny_policy()))
        run_update(trainer)
        before = weights(trainer.policy)
        stages = trainer.stages()
        while next(stages).name != "epoch":
            pass
        assert not same(weights(trainer.policy), before)
        stages.close()
        assert same(weights(trainer.policy), before)
        run_update(trainer)


# --- on a GPU where there is one; the same on the CPU, so that the tests themselves are tested ---


@ON_EACH
@CRITICS
def test_an_update_on_the_device_is_that_of_the_cpu(
    device: str, critic: str, make_trainer: MakeTrainer, run_update: RunUpdate
) -> None:
    config = Config(batch_size=8, group_size=2, response_length=6, epochs=2, learning_rate=1e-4, critic=critic)
    here, trainer = make_trainer(config), make_trainer(config, device=device)
    for _ in range(2):
        one, update = run_update(here), run_update(trainer)
        assert_close(one, update, 1e-3)
        assert update.checks["first_ratio"][1] < FIRST_RATIO
    everything = (*trainer.policy.parameters(), *trainer.reference.parameters())
    assert {found.type for found in (*devices(update), *(tensor.device for tensor in everything))} == {device}
    assert trainer.optimiser.adam.defaults["fused"] is True


@ON_EACH
@CRITICS
def test_a_run_on_the_device_is_recorded_on_the_cpu(
    device: str, critic: str, make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    trainer = make_trainer(tiny_config.replace(critic=critic), device=device)
    update = run_update(trainer)
    snapshot = take_snapshot(update, trainer.config, trainer.policy)
    assert torch.equal(torch.from_numpy(np.array(snapshot.final.ratios)), update.final.ratios.cpu())
    assert snapshot.tokens.prompts


@ON_EACH
@CRITICS
def test_a_state_brings_the_run_back(
    device: str, critic: str, make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config
) -> None:
    trainer = make_trainer(tiny_config.replace(critic=critic, learning_rate=1e-4), device=device)
    run_update(trainer)
    state = trainer.optimiser.state()
    once = run_update(trainer)
    trainer.optimiser.restore(state)
    trainer.updates = 1
    again = run_update(trainer)
    assert trainer.optimiser.steps == 4
    assert_close(once, again, 1e-4)


@ON_EACH
def test_answers_come_from_the_device(device: str, make_trainer: MakeTrainer) -> None:
    here, trainer = make_trainer(), make_trainer(device=device)
    for each in (lambda t: t.policy, lambda t: t.reference):
        answers = [t.answer(each(t), TINY_PROMPTS, TRIAL, t.config) for t in (here, trainer)]
        assert answers[0] == answers[1]


# --- bfloat16 ---


@ON_EACH
@CRITICS
def test_bf16_keeps_records_in_float32_and_the_first_ratio_within_its_bound(
    device: str, critic: str, run_update: RunUpdate
) -> None:
    config = Config(batch_size=16, response_length=12, epochs=2, minibatches=2, critic=critic, replay_rollouts=2)
    trainer = Trainer(load_policy(), config, prompts=["One day, a little boy named Tim went"], device=device, bf16=True)
    assert trainer.policy.bf16 and trainer.reference.bf16
    first = run_update(trainer)
    # Shorter prompts: the batch is wider than the fresh rows were, and its forward adds up in another order.
    trainer.set_prompts(["The cat"])
    second = run_update(trainer)
    for update in (first, second):
        for array in arrays(update):
            assert array.dtype in (torch.float32, torch.int64, torch.bool)
        assert all(np.isfinite(value) for name, value in update.metrics.items() if name != "optim/max_grad_norm")
        assert all(holds for holds, _ in update.checks.values()), update.checks
    assert {p.dtype for p in trainer.policy.parameters()} == {torch.float32}
    off = second.checks["first_ratio"][1]
    assert off < FIRST_RATIO_BF16
    assert off > FIRST_RATIO or device != "cpu"  # what else would need a bound of its own
    r = first.rollout
    exact = load_policy(device=device).score_tokens(r.prompt_ids, r.prompt_mask, r.response_ids, r.response_mask, 1.0)
    assert 0 < (exact.logprobs - r.old_logprobs).abs().max() < FIRST_RATIO_BF16


def test_bf16_is_of_both_trunks_and_of_neither_head(policy: Policy) -> None:
    policy.use_critic("separate")
    seen: dict[str, torch.dtype] = {}
    layers = {"policy": policy.lm.transformer.h[0].mlp.c_fc, "critic": policy.critic.h[0].mlp.c_fc}
    for name, layer in {**layers, "output": policy.lm.lm_head, "value": policy.value_head}.items():
        layer.register_forward_hook(lambda module, inputs, out, name=name: seen.update({name: out.dtype}))
    ids, mask = torch.tensor([[0, 5, 6]]), torch.ones(1, 3, dtype=torch.bool)
    half, full = torch.bfloat16, torch.float32
    for bf16, trunk in ((True, half), (False, full)):
        policy.place(bf16=bf16).score_tokens(ids, mask, ids, mask, 1.0)
        assert seen == {"policy": trunk, "critic": trunk, "output": full, "value": full}


def test_a_ratio_that_is_really_off_is_seen_in_bf16_too(
    make_trainer: MakeTrainer, run_update: RunUpdate, tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny_config, bf16=True)
    forward = trainer.optimiser._forward

    def warmer(batch: Any, config: Config, *upto: int) -> Any:
        return forward(batch, config.replace(temperature=1.5), *upto)  # forgotten in one of the two forwards

    monkeypatch.setattr(trainer.optimiser, "_forward", warmer)
    assert not run_update(trainer).checks["first_ratio"][0]


# --- what cannot be ---


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:x", "", 3.5])
def test_an_unknown_device_is_refused(name: Any) -> None:
    with pytest.raises(DeviceError, match=rf"^device is '{name}', but must be 'cpu', 'cuda', or one GPU"):
        find_device(name)


def test_without_a_gpu_cuda_is_refused(monkeypatch: pytest.MonkeyPatch, make_trainer: MakeTrainer) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for ask in (find_device, lambda name: load_policy(device=name), lambda name: make_trainer(device=name)):
        with pytest.raises(DeviceError, match=r"^device is 'cuda', but PyTorch finds no GPU here.*: choose 'cpu'\.$"):
            ask("cuda")


def test_a_gpu_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert [str(find_device(name)) for name in ("cuda:0", "cuda", "cpu")] == ["cuda:0", "cuda:1", "cpu"]
    with pytest.raises(DeviceError, match=r"^device is 'cuda:2', but there is none beyond 'cuda:1' here"):
        find_device("cuda:2")


def test_bf16_is_refused_where_it_would_be_imitated(monkeypatch: pytest.MonkeyPatch, tiny_policy: Policy) -> None:
    class Chosen:
        def __init__(self, device: torch.device) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.cuda, "device", Chosen)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Old Card")
    able = {True: True, False: False}  # PyTorch says yes to what it can imitate unless asked not to
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: able[including_emulation])
    with pytest.raises(DeviceError, match=r"^bf16 is on, but 'cuda:0' \(Old Card\) does not compute in bfloat16"):
        check_bf16(torch.device("cuda:0"))
    check_bf16(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for ask in (tiny_policy.place, lambda *where: load_policy(None, *where)):
        with pytest.raises(DeviceError, match="^bf16 is on, but 'cuda:0'"):
            ask("cuda:0", True)


def test_nothing_has_changed_where_a_device_was_refused(tiny_policy: Policy) -> None:
    with pytest.raises(DeviceError):
        tiny_policy.place("mars", bf16=True)
    assert (tiny_policy.device.type, tiny_policy.bf16) == ("cpu", False)
    assert tiny_policy.place() is tiny_policy
    assert tiny_policy.place("cpu", bf16=True).frozen_copy().bf16
