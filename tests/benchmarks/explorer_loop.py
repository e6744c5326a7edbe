"""The explorer's own update as a user runs it, ``Trainer.update()`` with its Snapshot: a contender of the benchmark."""

from __future__ import annotations

import time

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from explorer import Config, Trainer
from explorer.ppo.policy import DROPOUTS, Policy
from tests.benchmarks.contender import Work, from_the_command_line, serve
from tests.benchmarks.plain_loop import CLIP_RANGE, KL_COEF, LEARNING_RATE, TEMPERATURE, VALUE_COEF

END = "<end>"


def random_policy(work: Work) -> Policy:
    """A GPT-2 of random weights over the words w1, w2 …"""
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=work.vocabulary,
        n_positions=work.positions,
        n_embd=work.width,
        n_layer=work.layers,
        n_head=work.heads,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        **DROPOUTS,
    )
    words = {END: 0, **{f"w{i}": i for i in range(1, work.vocabulary)}}
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


def trainer(work: Work, critic: str) -> Trainer:
    """A Trainer of a random policy; arguments as of ``PlainLoop``."""
    draw = torch.Generator().manual_seed(1)
    numbers = torch.randint(1, work.vocabulary, (work.batch, work.prompt - 1), generator=draw)
    config = Config(
        batch_size=work.batch,
        group_size=1,
        response_length=work.response,
        epochs=work.epochs,
        minibatches=work.minibatches,
        critic=critic,
        learning_rate=LEARNING_RATE,
        temperature=TEMPERATURE,
        kl_coef=KL_COEF,
        clip_range=CLIP_RANGE,
        vf_coef=VALUE_COEF,
        weights={"even": 1.0},
    )
    return Trainer(
        random_policy(work),
        config,
        rewards={"even": even_words},
        prompts=[" ".join(f"w{i}" for i in row) for row in numbers.tolist()],  # end-of-text comes before each
        device=work.device,
        bf16=bool(work.bf16),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = trainer(*from_the_command_line())

    def update() -> dict[str, float]:
        """One update; gives the seconds of its stages by the trainer's own clock, and of what is outside of them."""
        started = time.perf_counter()
        stages = dict(made.update().seconds)
        return {**stages, "outside the stages": time.perf_counter() - started - sum(stages.values())}

    serve(update)
