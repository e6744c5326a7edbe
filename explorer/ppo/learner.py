"""A small GPT-2 and the optimisers that teach it to write: Muon for the blocks' matrices, AdamW for the rest.

Departs from the textbook in two places. Muon (Jordan et al. 2024) replaces AdamW where a parameter is a matrix that
maps one hidden state to another: in the same time it comes much further. And dropout is a number given to each step,
not part of the model, so that the saved policy has none.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

#: The recipe of the bundled policy.
MUON_LEARNING_RATE = 0.012
MUON_WEIGHT_DECAY = 0.1
MUON_MOMENTUM = 0.95
ADAMW_LEARNING_RATE = 0.006
ADAMW_BETAS = (0.9, 0.95)
MAX_GRAD_NORM = 1.0
WARMUP_STEPS = 60
DECAY_FRACTION = 0.27

#: Windows in one forward without gradient.
_WINDOWS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The size of the model: the bundled policy's by default.

    Attributes:
        vocabulary: entries of the tokenizer, at least 257.
        layers: transformer blocks.
        width: numbers in a hidden state, a multiple of ``heads``.
        heads: attention heads a block.
        positions: tokens in the context, and in a training window.
    """

    vocabulary: int = 2048
    layers: int = 4
    width: int = 128
    heads: int = 4
    positions: int = 128

    def __post_init__(self) -> None:
        least = {"vocabulary": 257, "layers": 1, "width": 1, "heads": 1, "positions": 2}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}, but must be at least {low}.")
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, but must be a multiple of the {self.heads} heads.")


def learning_rate_scale(step: int, steps: int) -> float:
    """What both learning rates are multiplied with at ``step`` (0 the first) of ``steps``.

    A linear warm-up of 60 steps (a quarter of the run, where that is fewer), then 1, then a linear decay over the
    last 27 % of the run that would reach 0 one step after its end.
    """
    warmup = max(1, min(WARMUP_STEPS, steps // 4))
    decay = max(1, round(DECAY_FRACTION * steps))
    return min(1.0, (step + 1) / warmup, (steps - step) / decay)


def token_losses(lm: GPT2LMHeadModel, windows: Tensor) -> Tensor:
    """Negative log-probability in nats of each token of ``windows [N, L]`` after its first: ``[N, L - 1]``."""
    inputs, targets = windows[:, :-1], windows[:, 1:]
    hidden = lm.transformer(input_ids=inputs, attention_mask=torch.ones_like(inputs), use_cache=False).last_hidden_state
    logits = lm.lm_head(hidden).float()
    return functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")


@torch.no_grad()
def mean_loss(lm: GPT2LMHeadModel, windows: Tensor, temperature: float = 1.0) -> float:
    """Mean loss in nats a token over ``windows [N, L]`` with dropout off; ``temperature`` divides the logits."""
    was_training = lm.training
    lm.train(False)
    # The head is linear and has no bias: to divide what the final layer norm gives is to divide the logits.
    scaling = lm.transformer.ln_f.register_forward_hook(lambda _module, _inputs, hidden: hidden / temperature)
    try:
        total = sum(token_losses(lm, some).double().sum().item() for some in torch.split(windows, _WINDOWS_AT_ONCE))
    finally:
        scaling.remove()
        lm.train(was_training)
    return total / (windows.shape[0] * (windows.shape[1] - 1))


class Learner:
    """A fresh GPT-2 and its two optimisers.

    Args:
        architecture: the size of the model; its vocabulary is the tokenizer's.
        seed: of the weights.
        bf16: forward passes in bfloat16; faster on processors that have it, slower on others.
    """

    def __init__(self, architecture: Architecture, *, seed: int, bf16: bool) -> None:
        config = GPT2Config(
            vocab_size=architecture.vocabulary,
            n_positions=architecture.positions,
            n_embd=architecture.width,
            n_layer=architecture.layers,
            n_head=architecture.heads,
            activation_function="gelu_pytorch_tanh",
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.lm = GPT2LMHeadModel(config).train()
        self.bf16 = bf16
        self._parameters = dict(self.lm.named_parameters())  # the tied embeddings count once
        matrices = [p for name, p in self._parameters.items() if ".h." in name and p.ndim == 2]
        others = [p for name, p in self._parameters.items() if not (".h." in name and p.ndim == 2)]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "muon": torch.optim.Muon(
                matrices,
                lr=MUON_LEARNING_RATE,
                weight_decay=MUON_WEIGHT_DECAY,
                momentum=MUON_MOMENTUM,
                adjust_lr_fn="match_rms_adamw",
            ),
            "adamw": torch.optim.AdamW(others, lr=ADAMW_LEARNING_RATE, betas=ADAMW_BETAS, weight_decay=0.0),
        }
        self._rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in self.optimisers.items()}

    def learn(self, windows: Tensor, *, rate_scale: float, dropout: float, dropout_seed: int) -> float:
        """One optimiser step on ``windows [N, L]``; returns the loss before it, in nats a token.

        Args:
            windows: token ids.
            rate_scale: multiplies both learning rates.
            dropout: probability, in every place where GPT-2 has one.
            dropout_seed: decides what is dropped; the global generator is left as it was.
        """
        for module in self.lm.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(dropout_seed)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
                loss = token_losses(self.lm, windows).mean()
            torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.lm.parameters(), MAX_GRAD_NORM)
        for name, optimiser in self.optimisers.items():
            optimiser.param_groups[0]["lr"] = self._rates[name] * rate_scale
            optimiser.step()
            optimiser.zero_grad()
        return float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name: weights and the optimisers' moments."""
        found = {f"weights/{name}": p.detach() for name, p in self._parameters.items()}
        for optimiser, name, parameter in self._optimised():
            state = self.optimisers[optimiser].state[parameter]
            found |= {f"{optimiser}/{name}/{key}": tensor for key, tensor in state.items()}
        return {name: tensor.contiguous() for name, tensor in found.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to what ``tensors()`` gave.

        Raises:
            KeyError: a weight is missing.
        """
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"weights/{name}"])
        for optimiser, name, parameter in self._optimised():
            prefix = f"{optimiser}/{name}/"
            self.optimisers[optimiser].state[parameter] = {
                key.removeprefix(prefix): tensor.clone() for key, tensor in tensors.items() if key.startswith(prefix)
            }

    def save_policy(self, folder: Path, tokenizer: PreTrainedTokenizerFast, temperature: float) -> None:
        """Write model and tokenizer in Hugging Face format as float16, its logits divided by ``temperature``.

        Rounds the learner's own weights: it is done with learning.
        """
        with torch.no_grad():
            # The head is linear, has no bias, and reads what this layer norm gives: its scale is the logits' scale.
            self.lm.transformer.ln_f.weight /= temperature
            self.lm.transformer.ln_f.bias /= temperature
        transformers_logging.disable_progress_bar()
        unfinished = folder / "policy.part"
        self.lm.train(False).half().save_pretrained(str(unfinished))
        tokenizer.save_pretrained(str(unfinished))
        for path in unfinished.iterdir():
            os.replace(path, folder / path.name)
        shutil.rmtree(unfinished)

    def _optimised(self) -> Iterator[tuple[str, str, nn.Parameter]]:
        """(optimiser, parameter's name, parameter) of every parameter."""
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        for optimiser in self.optimisers:
            for parameter in self.optimisers[optimiser].param_groups[0]["params"]:
                yield optimiser, names[id(parameter)], parameter
