"""Loading a policy: the bundled one, a checkpoint in a folder, or a name on the hub; and what to say if it fails."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, GPT2LMHeadModel
from transformers.utils import logging as transformers_logging

from explorer.bundled import asset_path
from explorer.ppo.device import check_bf16, find_device
from explorer.ppo.policy import DROPOUTS, Policy

#: Transformers loads a model through states that all threads share: two at once end up with tensors of no content.
_ONE_AT_A_TIME = threading.Lock()

_NOT_GPT2 = "'{source}' holds a model of type '{kind}', not a GPT-2: only GPT-2 checkpoints can be trained here."


class PolicyError(ValueError):
    """A checkpoint cannot be used as a policy; the message says what to do."""


def load_policy(
    path_or_name: str | Path | None = None, device: str | torch.device | None = None, bf16: bool = False
) -> Policy:
    """A policy ready to train.

    Args:
        path_or_name: None for the bundled policy; a folder with a GPT-2 checkpoint and its tokenizer in Hugging Face
            format; or a name on the Hugging Face hub, such as ``"gpt2"``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None is the CPU.
        bf16: whether its transformer computes in bfloat16; its weights are float32 in any case.

    Returns:
        The policy in float32 with dropout off and a fresh value head.

    Raises:
        PolicyError: the folder is missing, the checkpoint is no GPT-2, the tokenizer does not fit its vocabulary, or
            the hub cannot be reached.
        DeviceError: there is no such device here, or it does not compute in bfloat16.
    """
    target = find_device("cpu" if device is None else device)
    if bf16:
        check_bf16(target)
    source = asset_path("policy") if path_or_name is None else path_or_name
    folder = Path(source).expanduser()
    is_folder = folder.is_dir()
    if not is_folder and (isinstance(source, Path) or _looks_like_a_path(str(source))):
        raise PolicyError(
            f"There is no folder '{source}': give a folder that holds a GPT-2 checkpoint (config.json, "
            "model.safetensors, tokenizer.json), a hub name such as 'gpt2', or nothing for the bundled policy."
        )
    if folder.is_file():
        raise PolicyError(f"'{source}' is a file: give the folder that holds the checkpoint.")
    if is_folder:
        source = folder
        _check_checkpoint(folder)
    silence = None if is_folder else _silence_of_the_hub(str(source))
    where: dict[str, Any] = {"local_files_only": silence is not None}
    try:
        transformers_logging.disable_progress_bar()
        kind = AutoConfig.from_pretrained(str(source), **where).model_type
        if kind != "gpt2":
            raise PolicyError(_NOT_GPT2.format(source=source, kind=kind))
        with _ONE_AT_A_TIME:
            loaded: Any = GPT2LMHeadModel.from_pretrained(
                str(source), dtype=torch.float32, output_loading_info=True, **DROPOUTS, **where
            )
        lm, report = loaded
        tokenizer = AutoTokenizer.from_pretrained(str(source), **where)
    except PolicyError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise PolicyError(_why_it_did_not_load(source, is_folder, silence or _first_line(error))) from error
    missing = sorted(name for name in report["missing_keys"] if name != "lm_head.weight")  # tied to the embeddings
    if missing:
        raise PolicyError(
            f"The checkpoint in '{source}' lacks {len(missing)} of its weights, such as '{missing[0]}': save the whole "
            "model again."
        )
    if not tokenizer("The cat")["input_ids"]:
        raise PolicyError(
            f"'{source}' has no tokenizer: put the tokenizer.json that the checkpoint was trained with beside it."
        )
    if len(tokenizer) > lm.config.vocab_size:
        raise PolicyError(
            f"The tokenizer in '{source}' has {len(tokenizer)} tokens but the model's vocabulary has "
            f"{lm.config.vocab_size}: use the tokenizer that the checkpoint was trained with."
        )
    if tokenizer.eos_token_id is None:
        raise PolicyError(
            f"The tokenizer in '{source}' names no end-of-text token: set eos_token in its tokenizer_config.json."
        )
    return Policy(lm, tokenizer, "bundled GPT-2" if path_or_name is None else folder.name).place(target, bf16)


def _looks_like_a_path(source: str) -> bool:
    return source.startswith((".", "/", "~", "\\")) or source.count("/") > 1 or "\\" in source


def _check_checkpoint(folder: Path) -> None:
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError:
        raise PolicyError(f"'{folder}' has no config.json: it is not a checkpoint in Hugging Face format.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        raise PolicyError(f"config.json in '{folder}' is not valid JSON: save the checkpoint again.") from None
    if kind != "gpt2":
        raise PolicyError(_NOT_GPT2.format(source=folder, kind=kind))


def _silence_of_the_hub(name: str) -> str | None:
    """Why the hub cannot be asked for a model; None where it answers, be it with a no.

    After one try: for a model that is not cached transformers would try six times, 23 s in all, before it says that
    there is no network; and for one that is, ask in vain for every single file.
    """
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except (HfHubHTTPError, HFValidationError):  # transformers knows better what to make of these
        return None
    except Exception as error:  # of the client's own kinds, which change with its version
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _why_it_did_not_load(source: str | Path, is_folder: bool, reason: str) -> str:
    if is_folder:
        return (
            f"The checkpoint in '{source}' could not be read ({reason}): it needs config.json, model.safetensors and "
            "tokenizer.json as save_pretrained writes them."
        )
    return (
        f"'{source}' is not in the local cache and the Hugging Face hub could not give it ({reason}): check the name "
        "and the network, or give a folder with a checkpoint."
    )
