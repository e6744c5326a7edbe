"""Loading: what the bundled policy is, what any checkpoint becomes, and every way in which it can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from explorer.ppo.loading import PolicyError, load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.prompts import encode


def test_the_bundled_policy_is_small_and_float32(policy: Policy) -> None:
    assert policy.name == "bundled GPT-2"
    assert policy.positions == 128
    assert policy.lm.config.vocab_size == len(policy.tokenizer) == 2048
    assert policy.parameter_count < 1_500_000
    assert {p.dtype for p in policy.parameters()} == {torch.float32}


def test_dropout_is_off_whatever_the_checkpoint_says(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "dropping")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"attn_pdrop": 0.5, "embd_pdrop": 0.5, "resid_pdrop": 0.5}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    loaded = load_policy(folder)
    assert {module.p for module in loaded.modules() if isinstance(module, nn.Dropout)} == {0.0}
    assert not any(module.training for module in loaded.modules())
    ids, mask = encode(loaded, ["The cat"], 1)
    loaded.train()  # even then
    first, second = (loaded.trunk(ids, mask).last_hidden_state for _ in range(2))
    assert torch.equal(first, second)


def test_what_is_saved_loads_again_here_and_in_transformers(tiny_policy: Policy, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in tiny_policy.lm.parameters():
            parameter.add_(0.01)
    tiny_policy.save(tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    assert again.name == "saved"
    for name, tensor in tiny_policy.lm.state_dict().items():
        assert torch.equal(again.lm.state_dict()[name], tensor), name
    assert again.tokenizer.get_vocab() == tiny_policy.tokenizer.get_vocab()
    lm = AutoModelForCausalLM.from_pretrained(str(tmp_path / "saved"))
    assert type(lm) is GPT2LMHeadModel
    assert AutoTokenizer.from_pretrained(str(tmp_path / "saved"))("The cat")["input_ids"] == [1, 17]


def test_a_folder_may_be_given_as_text_or_path(tiny_checkpoint: Path) -> None:
    by_text, by_path = load_policy(str(tiny_checkpoint)), load_policy(tiny_checkpoint)
    assert torch.equal(by_text.lm.transformer.wte.weight, by_path.lm.transformer.wte.weight)


def test_a_half_precision_checkpoint_is_loaded_in_float32(tiny_policy: Policy, tmp_path: Path) -> None:
    tiny_policy.lm.half()
    tiny_policy.save(tmp_path)
    assert {p.dtype for p in load_policy(tmp_path).parameters()} == {torch.float32}


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


def _change_config(**values: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | values), encoding="utf-8")

    return change


def _cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _add_words(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    tokenizer.add_tokens([f" word{n}" for n in range(9)])
    tokenizer.save_pretrained(str(folder))


def _forget_the_end(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("eos_token")
    path.write_text(json.dumps(settings), encoding="utf-8")
    special = folder / "special_tokens_map.json"
    special.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(_remove("config.json"), "has no config.json", id="no config.json"),
        pytest.param(_write("config.json", "{broken"), "not valid JSON", id="broken JSON"),
        pytest.param(_write("config.json", "[1, 2]"), "not valid JSON", id="JSON that is no object"),
        pytest.param(_write("config.json", '{"model_type": "bert"}'), "of type 'bert', not a GPT-2", id="a BERT"),
        pytest.param(_write("config.json", "{}"), "of type 'None', not a GPT-2", id="no model type"),
        pytest.param(_remove("model.safetensors"), "could not be read", id="no weights"),
        pytest.param(_cut_weights, "could not be read", id="half the weights"),
        pytest.param(_change_config(n_embd=32), "could not be read", id="weights of another shape"),
        pytest.param(_remove("tokenizer.json"), "could not be read", id="no tokenizer"),
        pytest.param(_write("tokenizer.json", "{broken"), "could not be read", id="broken tokenizer"),
        pytest.param(_add_words, "use the tokenizer that the checkpoint was trained with", id="too many words"),
        pytest.param(_forget_the_end, "names no end-of-text token", id="no end-of-text"),
    ],
)
def test_a_checkpoint_that_cannot_be_used(
    damage: Callable[[Path], None], says: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(PolicyError, match=says) as refused:
        load_policy(folder)
    assert str(folder) in str(refused.value)
    assert_one_sentence(refused.value)


@pytest.mark.parametrize("missing", ["/no/such/folder", "./no_such_folder", "no/such/folder", Path("nothing")])
def test_a_folder_that_does_not_exist(missing: str | Path) -> None:
    with pytest.raises(PolicyError, match="There is no folder") as refused:
        load_policy(missing)
    assert str(missing) in str(refused.value)
    assert "or nothing for the bundled policy" in str(refused.value)


@pytest.mark.parametrize("name", ["no-such-model-anywhere", "no-one/no-such-model"])
def test_a_hub_name_without_a_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PolicyError, match="check the name and the network") as refused:
        load_policy(name)
    assert name in str(refused.value)
    assert_one_sentence(refused.value)


def assert_one_sentence(error: BaseException) -> None:
    message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 400
