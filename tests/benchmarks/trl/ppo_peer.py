"""TRL's own PPO, as published: what it computes from token to loss (``golden``), and how fast it is (``speed``).

TRL 1.12 was the last release with a PPOTrainer. It runs here unchanged, on random GPT-2s, prompts without meaning and a
reward that takes no time: the share of even token ids. It needs an environment of its own and nothing of this project:

    python3 -m venv TRL && TRL/bin/pip install torch==2.13.0 && TRL/bin/pip install trl==1.12.0 transformers==5.23.0
    TRL/bin/python tests/benchmarks/trl/ppo_peer.py golden tests/ppo/golden

``golden`` trains a tiny policy for three updates, each of four epochs of two minibatches, with responses that stop and
are padded, and writes TRL's own tensors, as they were while it trained, to ``FOLDER/NAME.npz`` for each of ``GOLDEN``:
what it started from (tokens, log-probabilities, values, scores) and what it made of them (KL, rewards, returns,
advantages; ratios and losses of every minibatch). ``[U, B, T]`` are updates, responses and tokens, ``[U, M, b, T]``
minibatches and their rows. TRL marks what is padded with a log-probability of 1. Where every response of an update
stops early its tensors are shorter than the others' and nothing is written: choose another ``--seed``.

``speed`` answers orders: for each number n on a line of the standard input it runs one update to warm up and n more,
and prints their wall seconds as a line of JSON. A second trunk is TRL's only critic.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import types
import warnings
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRL_EXPERIMENTAL_SILENCE": "1"}
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from torch import nn  # noqa: E402
from transformers import (  # noqa: E402
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer  # noqa: E402

#: The size and the options of each golden file: TRL's defaults, and others. TRL refuses to whiten rewards where a
#: minibatch has fewer than eight rows.
GOLDEN: dict[str, dict[str, Any]] = {
    "trl_k1": {"batch": 4, "response": 16},
    "trl_k3_whitened_rewards": {
        "batch": 16,
        "response": 8,
        "kl_estimator": "k3",
        "whiten_rewards": True,
        "kl_coef": 0.2,
        "gamma": 0.97,
        "lam": 0.9,
        "cliprange": 0.1,
        "cliprange_value": 0.05,
        "vf_coef": 0.5,
    },
}

#: TRL's options that its numbers depend on, as they are kept beside them.
SETTINGS = "kl_coef kl_estimator whiten_rewards gamma lam cliprange cliprange_value vf_coef".split()

#: Names of TRL's tensors in ``train()``, and theirs in the golden file: of an update, and of a minibatch.
OF_UPDATE = {
    "responses": "response_ids",
    "logprobs": "old_logprobs",
    "ref_logprobs": "ref_logprobs",
    "values": "old_values",
    "scores": "scores",
    "kl": "ref_kl",
    "rewards": "rewards",
    "returns": "returns",
    "advantages": "whitened_advantages",
}
OF_MINIBATCH = {
    "micro_batch_inds": "rows",
    "new_logprobs": "new_logprobs",
    "vpred": "new_values",
    "ratio": "ratios",
    "pg_loss": "policy_losses",
    "vf_loss": "value_losses",
    "loss": "total_losses",
}


class EvenIds(nn.Module):
    """The reward: which share of the tokens so far has an even id. Has the parts that TRL asks a reward model for."""

    base_model_prefix = "trunk"

    class Trunk(nn.Module):
        def forward(self, input_ids: Any = None, attention_mask: Any = None, **_: Any) -> Any:
            counted = attention_mask.float()
            even = (input_ids % 2 == 0) * counted
            shares = even.cumsum(1) / counted.cumsum(1).clamp(min=1)
            return types.SimpleNamespace(hidden_states=(shares[..., None],))

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.score = self.Trunk(), nn.Identity()


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Words w1, w2 …; end-of-text is id 0, and padding the last: TRL tells them apart by their ids."""
    words = {"<end>": 0, **{f"w{i}": i for i in range(1, vocabulary - 1)}, "<pad>": vocabulary - 1}
    words_only = Tokenizer(models.WordLevel(words, unk_token="w1"))
    words_only.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words_only, eos_token="<end>", pad_token="<pad>", padding_side="left"
    )


def trainer(size: argparse.Namespace, updates: int, callback: TrainerCallback, **options: Any) -> PPOTrainer:
    """A PPOTrainer of random GPT-2s: policy, reference and critic."""
    torch.manual_seed(size.seed)
    np.random.seed(size.seed)
    padding = size.vocabulary - 1
    shape = GPT2Config(
        vocab_size=size.vocabulary,
        n_positions=max(128, size.prompt + size.response),
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=padding,
        num_labels=1,
    )
    policy, reference, critic = GPT2LMHeadModel(shape), GPT2LMHeadModel(shape), GPT2ForSequenceClassification(shape)
    reference.load_state_dict(policy.state_dict())
    for model in (policy, reference) if size.mode == "golden" else ():  # padding is no word to be said
        model.lm_head.register_forward_hook(
            lambda _module, _inputs, logits: logits.index_fill(-1, torch.tensor([padding]), -1e4)
        )
    numbers = torch.Generator().manual_seed(1)
    prompts = torch.randint(1, padding, (max(256, size.batch), size.prompt), generator=numbers)
    data = Dataset.from_dict({"input_ids": prompts.tolist()})
    settings = PPOConfig(
        output_dir=tempfile.gettempdir(),  # TRL wants a folder that exists, and leaves it empty
        use_cpu=size.device == "cpu",
        bf16=bool(size.bf16),
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        num_sample_generations=0,
        seed=size.seed,
        per_device_train_batch_size=size.batch,
        gradient_accumulation_steps=1,
        num_mini_batches=size.minibatches,
        num_ppo_epochs=size.epochs,
        response_length=size.response,
        total_episodes=size.batch * updates,
        learning_rate=1e-2 if size.mode == "golden" else 1e-4,  # golden: ratios shall leave their range
        local_rollout_forward_batch_size=size.batch,
        **options,
    )
    made = PPOTrainer(
        settings,
        tokenizer(size.vocabulary),
        model=policy,
        ref_model=reference,
        reward_model=EvenIds(),
        value_model=critic,
        train_dataset=data,
        eval_dataset=data.select(range(8)),
        callbacks=[callback],
    )
    made.callback_handler.pop_callback(PrinterCallback)
    return made


class Capture(TrainerCallback):
    """Copies what the running ``train()`` holds: at every backward pass and at the end of every update."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Any]] = {}
        self._minibatches: dict[str, list[Any]] = {}

    def attach(self, made: PPOTrainer) -> None:
        backward = made.accelerator.backward

        def captured(loss: torch.Tensor, **options: Any) -> None:
            self._copy(OF_MINIBATCH, self._minibatches)
            backward(loss, **options)

        made.accelerator.backward = captured

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._copy(OF_UPDATE, self.kept)
        for name, found in self._minibatches.items():
            self.kept.setdefault(name, []).append(np.stack(found))
        self._minibatches = {}

    @staticmethod
    def _copy(names: dict[str, str], into: dict[str, list[Any]]) -> None:
        frame = sys._getframe()
        while not (frame.f_code.co_name == "train" and frame.f_globals["__name__"] == ppo_trainer.__name__):
            assert frame.f_back is not None
            frame = frame.f_back
        for theirs, ours in names.items():
            found = frame.f_locals[theirs]
            into.setdefault(ours, []).append(np.array(found.detach() if torch.is_tensor(found) else found))


def golden(size: argparse.Namespace) -> None:
    """Write the golden files."""
    for name, chosen in GOLDEN.items():
        options, capture = dict(chosen), Capture()
        size.batch, size.response = options.pop("batch"), options.pop("response")
        made = trainer(size, 3, capture, stop_token="eos", missing_eos_penalty=1.0, **options)
        capture.attach(made)
        made.train()
        arrays = {key: np.stack(found) for key, found in capture.kept.items()}
        settings = {key: getattr(made.args, key) for key in SETTINGS}
        path = Path(size.folder) / f"{name}.npz"
        np.savez_compressed(path, settings=json.dumps(settings), **arrays)
        lengths = (arrays["old_logprobs"] != 1).sum(-1).tolist()
        print(f"{path}: {path.stat().st_size} bytes; tokens of each response {lengths}", file=sys.stderr)


class Orders(TrainerCallback):
    """Between two updates: answers the last order when it is done, and waits for the next."""

    def __init__(self) -> None:
        self.replies, sys.stdout = sys.stdout, sys.stderr  # TRL prints, too
        self.ends: list[float] = []
        self.wanted = 0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        if len(self.ends) <= self.wanted:
            return
        print(json.dumps({"seconds": np.diff(self.ends[1:]).tolist()}), file=self.replies, flush=True)
        order = sys.stdin.readline()
        if not order.strip():
            sys.exit()
        self.ends, self.wanted = [time.perf_counter()], int(order) + 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    tiny = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 20, "prompt": 4}
    small = {"layers": 4, "width": 128, "heads": 4, "vocabulary": 4096, "batch": 32, "prompt": 8, "response": 32}
    for mode, sizes in {"golden": tiny, "speed": small}.items():
        options = modes.add_parser(mode)
        for name, default in {**sizes, "epochs": 4, "minibatches": 2, "seed": 0}.items():
            options.add_argument(f"--{name}", type=int, default=default)
        options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        options.add_argument("--bf16", type=int, choices=(0, 1), default=0)
        if mode == "golden":
            options.add_argument("folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.mode == "golden":
        golden(arguments)
    else:
        trainer(arguments, 100_000, Orders()).train()
