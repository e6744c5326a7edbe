"""The wheel: unpacked into an empty folder it trains and serves, far from any checkout."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import explorer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

SMALL = ["--set", "batch_size=4", "--set", "response_length=4", "--set", "epochs=1"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: the wheel was NOT built")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    """The folder that the wheel was unpacked into."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "unpacked")
    return wheel.parent / "unpacked"


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The command of the wheel installed by pip into an environment of its own, in a folder with spaces in its name.

    What the explorer needs comes from the environment of the tests, whose folder is named in a .pth file: behind the
    environment's own packages, and without the checkout that may be installed there.
    """
    home = wheel.parent / "a folder with spaces" / "venv"
    venv.create(home, with_pip=True, symlinks=os.name != "nt")
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    command = [str(scripts / "python"), "-m", "pip", "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, env=_without_paths())
    assert done.returncode == 0, done.stderr
    (packages,) = {path.parent for path in home.rglob("explorer/__init__.py")}
    (packages.parent / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts / "ppo-explorer"


def _without_paths() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture
def own_folders(tmp_path: Path) -> dict[str, str]:
    """Jupyter's and IPython's folders for one test."""
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    return own | {"IPYTHONDIR": str(tmp_path / "ipython")}


@pytest.fixture
def environment(unpacked: Path, own_folders: dict[str, str]) -> dict[str, str]:
    """With the unpacked wheel first on Python's path, before the checkout that may be installed."""
    return os.environ | own_folders | {"PYTHONPATH": str(unpacked)}


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


def test_the_command_works_from_a_folder_with_spaces(
    installed: Path, own_folders: dict[str, str], tmp_path: Path
) -> None:
    needed = {"JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}  # the templates of Voila and nbconvert
    environment = _without_paths() | own_folders | needed
    code = "import explorer; print(explorer.__file__)"
    python = str(installed.with_name("python"))
    found = subprocess.run([python, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert str(installed.parents[1]) in found.stdout and " " in found.stdout, found.stderr  # its own, not the checkout
    command = [str(installed), "train", "--updates", "1", "--json", "--out", "a run", *SMALL]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["update"] for line in done.stdout.splitlines()] == [1]
    assert (tmp_path / "a run" / "run.json").is_file()
    with served([str(installed)], environment, tmp_path) as address:
        assert_the_page_is_drawn(address)


@contextmanager
def served(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[str]:
    """Where the command serves its page, until the end of the block."""
    server = subprocess.Popen(
        [*command, "serve", "--port", "0", "--no-browser"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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


def test_it_serves_its_own_notebook(environment: dict[str, str], tmp_path: Path) -> None:
    with served([sys.executable, "-m", "explorer"], environment, tmp_path) as address:
        assert_the_page_is_drawn(address)


def assert_the_page_is_drawn(address: str) -> None:
    with urllib.request.urlopen(address, timeout=120) as answer:
        page = answer.read().decode()
    assert "Traceback" not in page
    assert "application/vnd.jupyter.widget-view+json" in page  # the cell has run, with the bundled recording in it
