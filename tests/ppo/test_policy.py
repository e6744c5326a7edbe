"""The policy against a plain GPT-2 forward of transformers, and every way in which loading can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GPT2Config, GPT2LMHeadModel

from explorer.ppo.policy import Policy, PolicyError, load_policy
from explorer.ppo.prompts import encode

RESPONSES = [" saw the dog.", " and a cat", " not", " was happy and good!"]


@pytest.fixture
def tokens(tiny_policy: Policy) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four prompts, padded on the left, and four responses, padded on the right."""
    prompt_ids, prompt_mask = encode(
        tiny_policy, ["The cat", "One day, a little boy", "Lily went to the", "Tim saw a big old dog and"], 6
    )
    rows = [tiny_policy.tokenizer(text)["input_ids"] for text in RESPONSES]
    response_ids = torch.tensor([row + [0] * (6 - len(row)) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return prompt_ids, prompt_mask, response_ids, torch.arange(6) < lengths[:, None]


def plain_logits(lm: GPT2LMHeadModel, prompt: Tensor, response: Tensor) -> Tensor:
    """Logits that predict each response token: one unpadded row through transformers' own forward."""
    with torch.no_grad():
        return lm(torch.cat([prompt, response])[None]).logits[0, len(prompt) - 1 : -1]


Tokens = tuple[Tensor, Tensor, Tensor, Tensor]


def test_a_separate_critic_begins_as_the_policy_and_then_goes_its_own_way(tiny_policy: Policy, tokens: Tokens) -> None:
    nn.init.normal_(tiny_policy.value_head.weight)
    shared, count = tiny_policy.score_tokens(*tokens, 1.0), tiny_policy.parameter_count
    tiny_policy.use_critic("separate")
    separate = tiny_policy.score_tokens(*tokens, 1.0)
    assert torch.equal(separate.values, shared.values)
    trunk = sum(p.numel() for p in tiny_policy.lm.transformer.parameters())
    assert tiny_policy.parameter_count == count + trunk
    with torch.no_grad():
        tiny_policy.critic.ln_f.weight *= 2
    apart = tiny_policy.score_tokens(*tokens, 1.0)
    assert torch.equal(apart.logprobs, shared.logprobs)
    assert not torch.allclose(apart.values, shared.values, atol=1e-3)
    # Asked for again it is kept; a frozen copy has one of its own; without one the head reads the policy again.
    tiny_policy.use_critic("separate")
    copied = tiny_policy.frozen_copy()
    for policy in (tiny_policy, copied):
        torch.testing.assert_close(policy.score_tokens(*tokens, 1.0).values, apart.values)
    assert not any(p.requires_grad for p in copied.parameters())
    assert all(p.requires_grad for p in tiny_policy.parameters())
    tiny_policy.use_critic("shared")
    assert torch.equal(tiny_policy.score_tokens(*tokens, 1.0).values, shared.values)
    assert tiny_policy.parameter_count == count


def test_the_values_error_reaches_the_trunk_that_it_came_from(tiny_policy: Policy, tokens: Tokens) -> None:
    nn.init.normal_(tiny_policy.value_head.weight)
    tiny_policy.use_critic("separate")
    tiny_policy.score_tokens(*tokens, 1.0).values.sum().backward()
    reached = {name.split(".")[0] for name, p in tiny_policy.named_parameters() if p.grad is not None}
    assert reached == {"critic", "value_head"}


def test_dropout_is_on_inside_the_block_only(tiny_policy: Policy, tokens: Tokens) -> None:
    def logprobs() -> Tensor:
        with torch.no_grad():
            return tiny_policy.score_tokens(*tokens, 1.0).logprobs

    expected, state = logprobs(), torch.get_rng_state()
    with tiny_policy.dropping_out(0.1, seed=5):
        noisy = [logprobs(), logprobs()]
    assert not torch.allclose(noisy[0], expected, atol=1e-2)
    assert not torch.allclose(noisy[0], noisy[1], atol=1e-2)
    with tiny_policy.dropping_out(0.1, seed=5):
        assert torch.equal(logprobs(), noisy[0])  # what is dropped belongs to the seed
    assert torch.equal(logprobs(), expected)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ZeroDivisionError), tiny_policy.dropping_out(0.1, seed=5):
        raise ZeroDivisionError
    assert torch.equal(logprobs(), expected)
    with tiny_policy.dropping_out(0.0, seed=5):
        assert torch.equal(logprobs(), expected)


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_scores_equal_a_plain_forward_of_each_row(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor], temperature: float
) -> None:
    prompt_ids, prompt_mask, response_ids, mask = tokens
    nn.init.normal_(tiny_policy.value_head.weight)
    scores = tiny_policy.score_tokens(*tokens, temperature)
    for row in range(4):
        prompt, response = prompt_ids[row][prompt_mask[row]], response_ids[row][mask[row]]
        logits = plain_logits(tiny_policy.lm, prompt, response).double() / temperature
        words = torch.distributions.Categorical(logits=logits)
        kept = mask[row]
        torch.testing.assert_close(scores.logprobs[row][kept].double(), words.log_prob(response), rtol=0, atol=2e-5)
        torch.testing.assert_close(scores.entropies[row][kept].double(), words.entropy(), rtol=0, atol=2e-5)
        torch.testing.assert_close(scores.all_logprobs[row][kept].double(), words.logits, rtol=0, atol=2e-5)
        with torch.no_grad():
            states = tiny_policy.lm.transformer(torch.cat([prompt, response])[None]).last_hidden_state[0]
            before = states[len(prompt) - 1 : -1]  # the state before each token is written
            values = before @ tiny_policy.value_head.weight[0] + tiny_policy.value_head.bias
        torch.testing.assert_close(scores.values[row][kept], values, rtol=0, atol=2e-5)


def test_outside_the_mask_scores_are_exactly_zero(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    nn.init.ones_(tiny_policy.value_head.bias)
    scores = tiny_policy.score_tokens(*tokens, 1.0)
    mask = tokens[3]
    for name in ("logprobs", "entropies", "values"):
        assert (getattr(scores, name)[~mask] == 0).all(), name
        assert (getattr(scores, name)[mask] != 0).all(), name


def test_neither_more_padding_nor_what_stands_in_it_matters(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    prompt_ids, prompt_mask, response_ids, mask = tokens
    expected = tiny_policy.score_tokens(*tokens, 1.0)
    wider = (
        pad(prompt_ids.masked_fill(~prompt_mask, 9), (3, 0), value=7),
        pad(prompt_mask, (3, 0)),
        pad(response_ids.masked_fill(~mask, 11), (0, 2), value=5),
        pad(mask, (0, 2)),
    )
    found = tiny_policy.score_tokens(*wider, 1.0)
    torch.testing.assert_close(found.logprobs[:, :6], expected.logprobs, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.entropies[:, :6], expected.entropies, rtol=0, atol=1e-5)


def test_the_cached_steps_of_sampling_agree_with_the_whole_forward(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    prompt_ids, prompt_mask, response_ids, mask = tokens
    whole = tiny_policy.score_tokens(*tokens, 1.0).all_logprobs
    cache, ids, seen = DynamicCache(config=tiny_policy.lm.config), prompt_ids, prompt_mask
    with torch.no_grad():
        for t in range(6):
            hidden = tiny_policy.trunk(ids, seen, past_key_values=cache, use_cache=True).last_hidden_state[:, -1]
            step = torch.log_softmax(tiny_policy.lm.lm_head(hidden), dim=-1)
            running = mask[:, t]
            torch.testing.assert_close(step[running], whole[running, t], rtol=0, atol=1e-5)
            ids = response_ids[:, t : t + 1]
            seen = torch.cat([seen, torch.ones(4, 1, dtype=torch.bool)], dim=1)


def test_the_shipped_policy_agrees_with_a_plain_forward_too(policy: Policy) -> None:
    prompt_ids, prompt_mask = encode(policy, ["Once upon a time", "One day, a boy named Tim went"], 4)
    response_ids = torch.tensor([policy.tokenizer(" there was a little")["input_ids"][:4]] * 2)
    mask = torch.ones_like(response_ids, dtype=torch.bool)
    scores = policy.score_tokens(prompt_ids, prompt_mask, response_ids, mask, 1.0)
    for row in range(2):
        logits = plain_logits(policy.lm, prompt_ids[row][prompt_mask[row]], response_ids[row])
        expected = torch.distributions.Categorical(logits=logits).log_prob(response_ids[row])
        torch.testing.assert_close(scores.logprobs[row], expected, rtol=0, atol=2e-5)
    assert scores.logprobs.exp().mean() > 0.2  # and it has read stories


def test_a_texts_log_probability_is_the_sum_over_its_tokens(tiny_policy: Policy) -> None:
    texts = ["The cat saw a dog.", "Tim", "", "Lily was happy and good and not sad!"]
    sums, counts = tiny_policy.text_logprobs(texts)
    assert counts.tolist() == [6, 1, 0, 9]
    start = torch.tensor([tiny_policy.end_of_text])
    for text, total in zip(texts, sums.tolist(), strict=True):
        ids = torch.tensor(tiny_policy.tokenizer(text)["input_ids"], dtype=torch.long)
        logits = plain_logits(tiny_policy.lm, start, ids)
        expected = torch.distributions.Categorical(logits=logits).log_prob(ids).sum() if len(ids) else 0.0
        assert total == pytest.approx(float(expected), abs=1e-4)


def test_a_text_past_the_models_positions_is_cut(tiny_policy: Policy) -> None:
    sums, counts = tiny_policy.text_logprobs(["The" + " cat" * 99])
    assert counts.tolist() == [tiny_policy.positions - 1]
    assert torch.isfinite(sums).all()


def test_a_fresh_value_head_says_zero_and_learns(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    values = tiny_policy.score_tokens(*tokens, 1.0).values
    assert (values == 0).all()
    values.sum().backward()
    assert tiny_policy.value_head.bias.grad is not None
    assert tiny_policy.value_head.bias.grad.item() == tokens[3].sum().item()


def test_the_reference_is_a_copy_that_never_learns(tiny_policy: Policy) -> None:
    reference = tiny_policy.frozen_copy()
    assert not any(p.requires_grad for p in reference.parameters())
    assert all(p.requires_grad for p in tiny_policy.parameters())
    with torch.no_grad():
        tiny_policy.lm.transformer.wte.weight.zero_()
    assert reference.lm.transformer.wte.weight.abs().sum() > 0


def test_token_texts_spell_the_text(policy: Policy) -> None:
    text = 'Once upon a time, Lily\'s mom said: "Look, 3 dogs!"\nThey ran.'
    ids = policy.tokenizer(text)["input_ids"]
    assert "".join(policy.token_texts(ids)) == text
    assert policy.decode(ids) == text
    assert policy.decode([policy.end_of_text, *ids, policy.end_of_text]) == text


def test_half_a_character_shows_as_a_replacement(policy: Policy) -> None:
    pieces = policy.token_texts(policy.tokenizer("\u2603")["input_ids"])  # a snowman: three bytes, and in no story
    assert len(pieces) > 1
    assert set("".join(pieces)) == {"\ufffd"}


# --- loading ---


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


def test_a_fused_activation_is_the_checkpoints_own() -> None:
    torch.manual_seed(0)
    shape = GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2, activation_function="gelu_new")
    lm = GPT2LMHeadModel(shape).eval()
    with torch.no_grad():
        for weight in lm.parameters():
            weight.mul_(8)  # into the curved part of the function
        ids = torch.arange(12)[None]
        before = lm(ids).logits
        Policy(lm, None, "random")
        assert any(isinstance(module, torch.nn.GELU) for module in lm.modules())
        assert torch.allclose(lm(ids).logits, before, atol=1e-4, rtol=1e-5)
    assert lm.config.activation_function == "gelu_new"  # what is saved is what was loaded


def test_entropies_carry_a_gradient_only_when_asked_for(tiny_policy: Policy) -> None:
    ids = torch.randint(1, 20, (2, 5), generator=torch.Generator().manual_seed(1))
    everything = torch.ones_like(ids, dtype=torch.bool)
    tokens = (ids[:, :2], everything[:, :2], ids[:, 2:], everything[:, 2:], 0.7)
    with_it, without = tiny_policy.score_tokens(*tokens), tiny_policy.score_tokens(*tokens, entropy_grad=False)
    assert with_it.entropies.requires_grad and not without.entropies.requires_grad
    assert without.logprobs.requires_grad
    assert torch.equal(with_it.entropies, without.entropies)
    with torch.no_grad():
        assert not tiny_policy.score_tokens(*tokens).entropies.requires_grad
