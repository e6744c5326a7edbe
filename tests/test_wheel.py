"""The wheel: unpacked into an empty folder it trains and serves, far from any checkout."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import explorer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

SMALL = ["--set", "batch_size=4", "--set", "response_length=4", "--set", "epochs=1"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel of this checkout was unpacked into."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: the wheel was NOT built")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture
def environment(unpacked: Path, tmp_path: Path) -> dict[str, str]:
    """With the unpacked wheel first on Python's path, before the checkout that may be installed."""
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    return os.environ | own | {"PYTHONPATH": str(unpacked), "IPYTHONDIR": str(tmp_path / "ipython")}


def test_it_carries_the_package_and_nothing_of_the_workshop(unpacked: Path) -> None:
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    ours = {file.removeprefix("explorer/") for file in files if file.startswith("explorer/")}
    assert {"assets/policy/model.safetensors", "assets/recording/run.json", "notebooks/explorer.ipynb"} <= ours
    assert {file for file in ours if file.endswith((".py", ".js", ".css", ".toml"))} == {
        path.relative_to(ROOT / "explorer").as_posix()
        for path in (ROOT / "explorer").rglob("*")
        if path.suffix in (".py", ".js", ".css", ".toml") and path.name != "ruff.toml"
    }
    named = f"ppo_explorer-{explorer.__version__}"
    assert {path.name for path in unpacked.iterdir()} == {"explorer", f"{named}.dist-info", f"{named}.data"}


def test_it_trains_with_its_own_policy(unpacked: Path, environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("policy", "recording"):
        code = f"from explorer.bundled import asset_path; print(asset_path('{name}'))"
        found = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert found.stdout.strip() == str(unpacked / "explorer" / "assets" / name), found.stderr
    command = [sys.executable, "-m", "explorer", "train", "--updates", "1", "--json", "--out", "run", *SMALL]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["update"] for line in done.stdout.splitlines()] == [1]
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["info"]["policy"] == "bundled GPT-2"


@pytest.fixture
def address(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """Where the unpacked wheel's own page is served."""
    command = [sys.executable, "-m", "explorer", "serve", "--port", "0", "--no-browser"]
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert server.stdout is not None
    printed = server.stdout.readline()
    found = re.search(r"PPO Explorer is at (http://\S+)", printed)
    try:
        assert found, printed + server.stdout.read()
        yield found[1]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def test_it_serves_its_own_notebook(address: str, unpacked: Path) -> None:
    with urllib.request.urlopen(address, timeout=120) as answer:
        page = answer.read().decode()
    assert "Traceback" not in page
    assert "application/vnd.jupyter.widget-view+json" in page  # the cell has run, with the bundled recording in it
