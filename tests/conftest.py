"""Fixtures that every test may use: two policies, the stages of an update, and one thread for torch.

``tiny_policy`` is random and takes milliseconds an update: for everything that must hold for any policy. ``policy`` is
the one that ships: for everything that is claimed about it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from hypothesis import settings
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from explorer.config import Config
from explorer.ppo.loading import load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.records import Update
from explorer.ppo.trainer import Trainer
from explorer.recording.shelf import RUNS_VARIABLE
from explorer.recording.snapshot import Snapshot, take_snapshot

MakeTrainer: TypeAlias = Callable[..., Trainer]
RunUpdate: TypeAlias = Callable[..., Update]

# A deadline would time the machine, not the code: beside another worker it is now and then a slow one.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

END = "<|endoftext|>"

#: A word with a space before it is another token than the same word without.
WORDS = (
    *"the a little big old boy girl cat dog duck and was were went saw had said to in on with her his she he".split(),
    *("it happy sad good bad great love hate sun park tree house run play jump day one very not".split()),
)
TINY_VOCABULARY = [END, "The", "One", "Tim", "Lily", ".", "!", "?", ",", '"', *(f" {word}" for word in WORDS), " Tim"]

#: Of different lengths in tokens, so that every batch is padded on the left.
TINY_PROMPTS = ["The cat", "One day, a little boy", "Lily went to the", "Tim saw a big old dog and"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # the tests share few cores, and the models are small


@pytest.fixture(scope="session", autouse=True)
def _shelves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """No test, and no kernel that one starts, writes to the runs of whoever starts it; gives places for others."""
    root = tmp_path_factory.mktemp("shelves")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUNS_VARIABLE, str(root / "shared"))
        yield (root / str(n) for n in count())


@pytest.fixture(autouse=True)
def _own_shelf(_shelves: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a shelf of its own, which is there with its first run."""
    monkeypatch.setenv(RUNS_VARIABLE, str(next(_shelves)))


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word or punctuation mark; end-of-text, padding and unknown are one id, 0, as in the shipped one."""
    vocabulary = {word: number for number, word in enumerate(TINY_VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|[^\w\s]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder in Hugging Face format with a random GPT-2, 2 layers of 16, that has strong opinions."""
    shape = GPT2Config(
        vocab_size=len(tiny_tokenizer),
        n_positions=32,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,  # at the usual 0.02 every word would be about as likely as every other
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        lm = GPT2LMHeadModel(shape)
    folder = tmp_path_factory.mktemp("tiny")
    lm.save_pretrained(str(folder))
    tiny_tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def make_tiny_policy(tiny_checkpoint: Path) -> Callable[[], Policy]:
    """Gives a fresh tiny policy at every call; for hypothesis, which runs one test many times."""
    loaded = load_policy(tiny_checkpoint)
    return lambda: copy.deepcopy(loaded)


@pytest.fixture
def tiny_policy(make_tiny_policy: Callable[[], Policy]) -> Policy:
    """A fresh random tiny GPT-2, loaded by ``load_policy``."""
    return make_tiny_policy()


@pytest.fixture
def policy() -> Policy:
    """The bundled policy, freshly loaded."""
    return load_policy()


@pytest.fixture(scope="session")
def tiny_config() -> Config:
    """A batch that takes milliseconds; responses end with their first sentence, so that some are padded."""
    return Config(batch_size=8, group_size=2, response_length=6, epochs=2, stop_sentences=1, learning_rate=1e-3)


@pytest.fixture(scope="session")
def make_trainer(make_tiny_policy: Callable[[], Policy], tiny_config: Config) -> MakeTrainer:
    """``make_trainer(config=None, **trainer_arguments)``: a trainer of a fresh tiny policy."""

    def make(config: Config | None = None, **arguments: object) -> Trainer:
        settings = {"policy": make_tiny_policy(), "prompts": TINY_PROMPTS, **arguments}
        return Trainer(config=config or tiny_config, **settings)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def run_update() -> RunUpdate:
    """``run_update(trainer, config=None)``: all stages of one update; gives the whole Update."""

    def run(trainer: Trainer, config: Config | None = None) -> Update:
        update = [stage.update for stage in trainer.stages(config)][-1]
        assert update is not None
        return update

    return run


@pytest.fixture(scope="session")
def snapshot_of(run_update: RunUpdate) -> Callable[..., Snapshot]:
    """``snapshot_of(trainer, config=None)``: one update, recorded."""

    def run(trainer: Trainer, config: Config | None = None) -> Snapshot:
        return take_snapshot(run_update(trainer, config), config or trainer.config, trainer.policy)

    return run
