"""The policy against a plain GPT-2 forward of transformers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from explorer.ppo.policy import Policy, longest
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
        torch.testing.assert_close(scores.all_logprobs[row, : len(response)].double(), words.logits, rtol=0, atol=2e-5)
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


def test_nothing_is_computed_past_the_longest_response(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    nn.init.ones_(tiny_policy.value_head.bias)
    prompt_ids, prompt_mask, response_ids, mask = tokens
    seen: list[tuple[int, int]] = []
    tiny_policy.lm.transformer.register_forward_hook(
        lambda module, args, kwargs, output: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    expected = tiny_policy.score_tokens(*tokens, 1.0)
    long = (prompt_ids, prompt_mask, pad(response_ids, (0, 50), value=5), pad(mask, (0, 50)))
    found = tiny_policy.score_tokens(*long, 1.0)
    # The last token that is scored is predicted, never read.
    read = (4, prompt_ids.shape[1] + longest(mask) - 1)
    assert seen == [read, read]
    for one, other in zip(expected[:3], found[:3], strict=True):
        assert torch.equal(other[:, :6], one)
        assert other.shape == (4, 56) and not other[:, 6:].any()
    assert found.all_logprobs.shape[:2] == (4, longest(mask))


def test_the_longest_row_by_hand() -> None:
    def rows(*lengths: int) -> Tensor:
        return torch.arange(5) < torch.tensor(lengths)[:, None]

    assert [longest(rows(*lengths)) for lengths in [(1, 3, 2), (5, 0), (1,), (0, 0)]] == [3, 5, 1, 1]
    assert longest(torch.tensor([[True, False, False, True, False]])) == 4  # a hole shortens nothing


def test_the_cached_steps_of_sampling_agree_with_the_whole_forward(
    tiny_policy: Policy, tokens: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    prompt_ids, prompt_mask, response_ids, mask = tokens
    whole = tiny_policy.score_tokens(*tokens, 1.0).all_logprobs
    cache, ids, seen = DynamicCache(config=tiny_policy.lm.config), prompt_ids, prompt_mask
    with torch.no_grad():
        for t in range(longest(mask)):
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
