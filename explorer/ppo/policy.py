"""The policy: a GPT-2 with a value head on its trunk, and the frozen reference it started from.

Departs from the textbook in three places, each to keep the ratio honest: dropout is off and the model never leaves
eval mode, so the first ratio of an update is 1 (``dropping_out`` is the mistake, kept for lessons); logits are computed
for response positions only, and nothing past the longest response; the temperature divides the logits in every forward,
in sampling and in optimising alike.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import GPT2LMHeadModel
from transformers.activations import NewGELUActivation

from explorer.ppo.device import check_bf16, find_device

#: The dropouts of a GPT-2 configuration, all set to 0 on loading.
DROPOUTS: dict[str, Any] = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}


#: GPT-2's own dropout: what a training loop that forgets to switch it off has.
GPT2_DROPOUT = 0.1


class TokenScores(NamedTuple):
    """What one forward says about the response tokens, ``[B, T]`` but for the last."""

    logprobs: Tensor  # log-probability of the token that was written, in nats
    entropies: Tensor  # entropy of the whole next-token distribution, in nats
    values: Tensor  # the value head's estimate before the token is written
    all_logprobs: Tensor  # [B, longest, V] the whole next-token distributions, as far as the longest response goes

    def at(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Log-probabilities of other tokens that could have stood there: ``ids [B, T, K]`` to ``[B, T, K]``.

        Of the first B rows, without gradient; exactly 0 where ``mask [B, T]`` is False, so behind the longest too.
        """
        scored = self.all_logprobs.shape[1]
        found = self.all_logprobs.detach()[: len(ids)].gather(2, ids[:, :scored])
        found = torch.where(mask[:, :scored, None], found, 0.0)
        return pad(found, (0, 0, 0, ids.shape[1] - scored))

    def detached(self) -> TokenScores:
        """The same numbers without their gradient."""
        return TokenScores(*(tensor.detach() for tensor in self))


class Policy(nn.Module):
    """A GPT-2 language model, its tokenizer, and a zero-initialised scalar value head.

    The head reads the language model's own trunk, or, after ``use_critic("separate")``, one of its own: ``critic``.

    Args:
        lm: the language model; its dropouts must be 0.
        tokenizer: its Hugging Face tokenizer.
        name: what to call it on screen.

    Attributes:
        bf16: whether the transformers, policy's and critic's, compute in bfloat16. Weights and gradients, the output
            layer, the value head and all that is made of what they give are float32 all the same.
    """

    def __init__(self, lm: GPT2LMHeadModel, tokenizer: Any, name: str = "policy") -> None:
        super().__init__()
        self.lm = lm
        self.tokenizer = tokenizer
        self._texts: dict[int, str] = {}  # to spell a batch's alternatives anew took 6 ms an update
        self.name = name
        self.bf16 = False
        _use_fused_gelu(lm)
        # Zero at the start, as OpenAI (2019) and Huang et al. do: the first advantages are then plain returns.
        self.value_head = nn.Linear(lm.config.n_embd, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.register_module("critic", None)
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.value_head.weight.device

    def place(self, device: str | torch.device | None = None, bf16: bool | None = None) -> Policy:
        """Move it to a device and choose its precision; None leaves either as it is. Returns the policy itself.

        Raises:
            DeviceError: there is no such device here, or it does not compute in bfloat16.
        """
        target = self.device if device is None else find_device(device)
        wanted = self.bf16 if bf16 is None else bf16
        if wanted:
            check_bf16(target)
        self.bf16 = wanted
        return self.to(target)

    @property
    def positions(self) -> int:
        """The most tokens, prompt and response together, that the model can attend to."""
        return int(self.lm.config.n_positions)

    @property
    def end_of_text(self) -> int:
        """The id that starts a prompt and may end a response."""
        return int(self.tokenizer.eos_token_id)

    @property
    def changes(self) -> int:
        """How often its weights have been changed in place, by autograd's count: a forward from before is stale."""
        return sum(parameter._version for parameter in self.parameters())

    @property
    def parameter_count(self) -> int:
        """Trainable numbers, value head and critic included; tied embeddings count once."""
        return sum(p.numel() for p in self.parameters())

    def use_critic(self, kind: str) -> None:
        """Give the value head a trunk of its own (``separate``), a copy of the policy's as it is now, or none.

        A critic that is there already is kept.
        """
        if kind == "shared":
            self.critic = None
        elif self.critic is None:
            self.critic = copy.deepcopy(self.lm.transformer).requires_grad_(True)

    @contextmanager
    def dropping_out(self, rate: float, seed: int) -> Iterator[None]:
        """Dropout at ``rate`` in every forward inside the block, as in a loop that forgot to switch it off.

        Args:
            rate: probability, in every place where GPT-2 has one; 0 changes nothing.
            seed: decides what is dropped; the global generator is left as it was.
        """
        if not rate:
            yield
            return
        modules = [module for module in self.modules() if isinstance(module, nn.Dropout)]
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            self.train()
            for module in modules:
                module.p = rate
            try:
                yield
            finally:
                for module in modules:
                    module.p = 0.0
                self.eval()

    def trunk(self, ids: Tensor, mask: Tensor, **cache: Any) -> Any:
        """The transformer's last hidden states for ``ids [B, L]`` under ``mask [B, L]`` (False on left padding)."""
        with self._precision():
            return _hidden_states(self.lm.transformer, ids, mask, **cache)

    def _precision(self) -> AbstractContextManager[Any]:
        # The transformer alone. The output layer stays in float32, as in MiniMax-M1 (arXiv 2506.13585): a logit of 20
        # is known to 0.06 only in bfloat16, and so would be every log-probability.
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def score_tokens(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        response_ids: Tensor,
        response_mask: Tensor,
        temperature: float,
        *,
        entropy_grad: bool = True,
        upto: int | None = None,
    ) -> TokenScores:
        """Score every response token under this policy, with gradient unless the caller forbids it.

        Args:
            prompt_ids: ``[B, P]``, left-padded.
            prompt_mask: ``[B, P]`` bool.
            response_ids: ``[B, T]``.
            response_mask: ``[B, T]`` bool; results are exactly 0 where it is False.
            temperature: divides the logits.
            entropy_grad: whether the entropies carry a gradient; an objective without a bonus needs none.
            upto: how many response tokens to read, all that count among them; None is as far as the longest of these
                responses. Some rows of a batch add up as the whole of it did where they are read as far: the last bits
                of a sum depend on how many terms it has.

        Returns:
            TokenScores of shape ``[B, T]``. Position t is predicted from the state at ``P - 1 + t``. Past ``upto``
            nothing is computed and all is 0: ``all_logprobs`` ends there.
        """
        missing = response_ids.shape[1] - (longest(response_mask) if upto is None else upto)
        prompt_length = prompt_ids.shape[1]
        response_ids, response_mask = (
            tokens[:, : tokens.shape[1] - missing] for tokens in (response_ids, response_mask)
        )
        ids = torch.cat([prompt_ids, response_ids], dim=1)
        mask = torch.cat([prompt_mask, response_mask], dim=1)
        # The last response token is predicted, never read: drop it from the forward.
        read = (ids[:, :-1], mask[:, :-1])
        hidden = self.trunk(*read, use_cache=False).last_hidden_state[:, prompt_length - 1 :]
        judged = hidden
        if self.critic is not None:
            with self._precision():
                judged = _hidden_states(self.critic, *read, use_cache=False).last_hidden_state[:, prompt_length - 1 :]
        # Dividing the hidden states is dividing the logits.
        all_logprobs = torch.log_softmax(self.lm.lm_head(hidden / temperature), dim=-1)
        logprobs = all_logprobs.gather(2, response_ids[..., None])[..., 0]
        with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
            entropies = -torch.linalg.vecdot(all_logprobs.exp(), all_logprobs)
        values = self.value_head(judged)[..., 0]

        def keep(tokens: Tensor) -> Tensor:
            return pad(torch.where(response_mask, tokens, 0.0), (0, missing))

        return TokenScores(keep(logprobs), keep(entropies), keep(values), all_logprobs)

    @torch.no_grad()
    def text_logprobs(self, texts: Sequence[str], temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Summed log-probability of each whole text after end-of-text, and its number of tokens: both ``[N]``.

        One batched forward. Texts past the model's positions are cut at the right.
        """
        encoded = [self.tokenizer(text)["input_ids"][: self.positions - 1] for text in texts]
        longest = max(1, max((len(ids) for ids in encoded), default=1))
        rows = torch.zeros(len(encoded), longest, dtype=torch.long)
        mask = torch.zeros(len(encoded), longest, dtype=torch.bool)
        for row, ids in enumerate(encoded):
            rows[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
            mask[row, : len(ids)] = True
        rows, mask = rows.to(self.device), mask.to(self.device)
        start = torch.full((len(encoded), 1), self.end_of_text, device=self.device)
        ids, counted = torch.cat([start, rows], dim=1), torch.cat([torch.ones_like(start, dtype=torch.bool), mask], 1)
        hidden = self.trunk(ids[:, :-1], counted[:, :-1], use_cache=False).last_hidden_state[mask]
        logits = self.lm.lm_head(hidden) / temperature
        written = logits.gather(1, rows[mask][:, None])[:, 0] - logits.logsumexp(1)
        sums = written.new_zeros(len(encoded)).index_add_(0, mask.nonzero()[:, 0], written)
        return sums, mask.sum(1)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens, end-of-text left out."""
        return str(self.tokenizer.decode([i for i in ids if i != self.end_of_text]))

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """One string a token that together spell the text; bytes that are no whole character show as U+FFFD."""
        for new in {int(i) for i in ids} - self._texts.keys():
            self._texts[new] = self.tokenizer.decode([new])
        return [self._texts[int(i)] for i in ids]

    def frozen_copy(self, name: str = "reference") -> Policy:
        """A copy that never learns, its critic included: the reference."""
        frozen = copy.deepcopy(self)
        frozen.name = name
        for parameter in frozen.parameters():
            parameter.requires_grad_(False)
        return frozen

    def save(self, folder: str | Path) -> None:
        """Write the language model and tokenizer in Hugging Face format, so that any tool can load them.

        The value head and its critic are not part of that format and are left out.

        Raises:
            NotADirectoryError: a file of that name is in the way.
        """
        if Path(folder).is_file():
            raise NotADirectoryError(f"'{folder}' is a file: name a folder to save the policy in.")
        self.lm.save_pretrained(str(folder))
        self.tokenizer.save_pretrained(str(folder))


def longest(mask: Tensor) -> int:
    """How many tokens of ``mask [B, T]`` the longest row has, counted up to its last True; at least 1."""
    counted = mask.any(dim=0).nonzero()
    return int(counted[-1]) + 1 if len(counted) else 1


def _use_fused_gelu(lm: nn.Module) -> None:
    """Compute GPT-2's own GELU, the tanh form, in one kernel: the same function."""
    for module in list(lm.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def _hidden_states(transformer: nn.Module, ids: Tensor, mask: Tensor, **cache: Any) -> Any:
    """A GPT-2's output for ``ids [B, L]`` under ``mask [B, L]``, positions counted from each row's first real token."""
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    return transformer(input_ids=ids, attention_mask=mask.long(), position_ids=positions, **cache)
