"""Loading: what the bundled policy is, what any checkpoint becomes, and every way in which it can fail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from explorer.ppo.loading import PolicyError, load_policy
from explorer.ppo.policy import Policy
from explorer.ppo.prompts import encode
from explorer.ppo.state import weights_digest


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


@pytest.fixture
def hub(tiny_checkpoint: Path) -> Iterator[str]:
    """The address of a hub on this machine that has one model, "someone/tiny"."""
    server = Hub(tiny_checkpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Hub(ThreadingHTTPServer):
    """Answers as the Hugging Face hub does where it is asked for a file of a model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        path = self.server.folder / self.path.rpartition("/")[2]
        known = path.is_file() and self.path == f"/someone/tiny/resolve/main/{path.name}"
        body = path.read_bytes() if known else b""
        self.send_response(200 if known else 404)
        if known:
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        else:
            self.send_header("X-Error-Code", "EntryNotFound" if "/someone/tiny/" in self.path else "RepoNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_GET = do_HEAD

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@contextmanager
def refusing_socket() -> Iterator[str]:
    """The address of a port that is taken, by one who takes no call."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def loaded_from(address: str, names: list[str], home: Path) -> dict[str, list[Any]]:
    """``{name: [digest of the weights or the error's words, seconds]}``, in a process that takes this for the hub.

    The client reads where the hub and its cache are when it is imported, in several places.
    """
    code = (
        "import json, sys, time\n"
        "from explorer.ppo.loading import PolicyError, load_policy\n"
        "from explorer.ppo.state import weights_digest\n"
        "def load(name, begun):\n"
        "    try:\n"
        "        return weights_digest(load_policy(name)), time.perf_counter() - begun\n"
        "    except PolicyError as error:\n"
        "        return str(error), time.perf_counter() - begun\n"
        "print(json.dumps({name: load(name, time.perf_counter()) for name in sys.argv[1:]}))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *names],
        env=environment | {"HF_ENDPOINT": address, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return found


def test_the_hub_is_asked_once_where_there_is_no_network(hub: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    expected = weights_digest(load_policy(tiny_checkpoint))
    online = loaded_from(hub, ["someone/tiny", "no-one/nothing"], tmp_path)
    assert online["someone/tiny"][0] == expected
    assert "'no-one/nothing'" in online["no-one/nothing"][0]
    assert "check the name" in online["no-one/nothing"][0]
    with refusing_socket() as address:
        offline = loaded_from(address, ["someone/tiny", "someone/else"], tmp_path)
    assert offline["someone/tiny"][0] == expected  # from the cache
    message, seconds = offline["someone/else"]
    assert "refused" in message and "check the name and the network" in message
    assert_one_sentence(PolicyError(message))
    assert seconds < 5  # transformers alone tries six times, for 23 s


def assert_one_sentence(error: BaseException) -> None:
    message = str(error)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 400
