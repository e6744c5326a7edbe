"""The explorer's own update as a user runs it, ``Trainer.update()`` with its Snapshot: a contender of the benchmark."""

from __future__ import annotations

import time

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from explorer import Config, Trainer
from explorer.config import FIELDS
from explorer.ppo.policy import DROPOUTS, Policy
from tests.benchmarks.contender import serve, sizes_from_the_command_line
from tests.benchmarks.plain_loop import CLIP_RANGE, KL_COEF, LEARNING_RATE, SIZES, TEMPERATURE, VALUE_COEF

END = "<end>"


def random_policy(layers: int, width: int, heads: int, vocabulary: int) -> Policy:
    """A GPT-2 of random weights over the words w1, w2 …"""
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=vocabulary,
        n_positions=128,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        **DROPOUTS,
    )
    words = {END: 0, **{f"w{i}": i for i in range(1, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Policy(GPT2LMHeadModel(shape), PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END), "random")


def even_words(_prompts: list[str], responses: list[str]) -> list[float]:
    """The share of words with an even number."""
    shares = []
    for response in responses:
        words = response.split()
        shares.append(sum(word[-1] in "02468" for word in words) / max(1, len(words)))
    return shares


def trainer(
    *,
    layers: int,
    width: int,
    heads: int,
    vocabulary: int,
    batch: int,
    prompt: int,
    response: int,
    epochs: int,
    minibatches: int,
    critic: str,
) -> Trainer:
    """A Trainer of a random policy; arguments as of ``PlainLoop``."""
    numbers = torch.randint(1, vocabulary, (batch, prompt - 1), generator=torch.Generator().manual_seed(1))
    config = Config(
        batch_size=batch,
        response_length=response,
        epochs=epochs,
        minibatches=minibatches,
        learning_rate=LEARNING_RATE,
        temperature=TEMPERATURE,
        kl_coef=KL_COEF,
        clip_range=CLIP_RANGE,
        vf_coef=VALUE_COEF,
        weights={"even": 1.0},
        **{name: value for name, value in {"critic": critic, "group_size": 1}.items() if name in FIELDS},
    )
    return Trainer(
        random_policy(layers, width, heads, vocabulary),
        config,
        rewards={"even": even_words},
        prompts=[" ".join(f"w{i}" for i in row) for row in numbers.tolist()],  # end-of-text comes before each
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = trainer(**vars(sizes_from_the_command_line(SIZES)))

    def update() -> dict[str, float]:
        """One update; gives the seconds of its stages by the trainer's own clock, and of what is outside of them."""
        started = time.perf_counter()
        stages = dict(made.update().seconds)
        return {**stages, "outside the stages": time.perf_counter() - started - sum(stages.values())}

    serve(update)
