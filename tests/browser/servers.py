"""Starts what a browser is pointed at: the explorer's own page, and JupyterLab. Ends them with all their kernels."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from explorer.recording.shelf import RUNS_VARIABLE

ROOT = Path(__file__).parents[2]

#: Seconds: to the line with the address on a busy machine, and from SIGTERM to the end of the last kernel.
START, END = 120, 60


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """``ppo-explorer serve`` on a free port; gives its address."""
    command = ["-m", "explorer", "serve", "--port", "0", "--no-browser", *options]
    with _running(command, folder, r"PPO Explorer is at (http://\S+)") as address:
        yield address


@contextmanager
def serving_impatiently(folder: Path, abandoned: int) -> Iterator[str]:
    """The same, whose kernels are ended after so many seconds without a page; looked for every second."""
    program = f"""
import explorer.serve
explorer.serve.ABANDONED_SECONDS, explorer.serve.LOOKED_FOR_SECONDS = {abandoned}, 1
from explorer.cli import main
main()
"""
    command = ["-c", program, "serve", "--port", "0", "--no-browser"]
    with _running(command, folder, r"PPO Explorer is at (http://\S+)") as address:
        yield address


@contextmanager
def replaying(folder: Path, run: Path) -> Iterator[str]:
    """``ppo-explorer replay`` of a recorded run on a free port; gives its address."""
    command = ["-m", "explorer", "replay", str(run), "--port", "0", "--no-browser"]
    with _running(command, folder, r"PPO Explorer is at (http://\S+)") as address:
        yield address


@contextmanager
def jupyterlab(folder: Path, *notebooks: Path) -> Iterator[str]:
    """JupyterLab on a free port, in a root folder of its own with copies of the notebooks; gives its address."""
    with _jupyter(folder, notebooks, "lab", r"(http://127\.0\.0\.1:\d+/lab)") as address:
        yield address


@contextmanager
def notebook_7(folder: Path, *notebooks: Path) -> Iterator[str]:
    """Notebook 7 on a free port, likewise; gives its address."""
    with _jupyter(folder, notebooks, "notebook", r"(http://127\.0\.0\.1:\d+)/tree") as address:
        yield address


@contextmanager
def _jupyter(folder: Path, notebooks: tuple[Path, ...], program: str, pattern: str) -> Iterator[str]:
    root = folder / "root"
    root.mkdir(parents=True)
    for notebook in notebooks:
        shutil.copy(notebook, root)
    settings = folder / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}))
    options = {
        "ServerApp.root_dir": root,
        "IdentityProvider.token": "",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    command = ["-m", "jupyter", program, "--no-browser", "--allow-root", "--port=0"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with _running(command, folder, pattern) as address:
        yield address


@contextmanager
def _running(command: list[str], folder: Path, pattern: str) -> Iterator[str]:
    """A Python program that prints its address; what a user has configured for Jupyter has no say in it."""
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own[RUNS_VARIABLE] = str(folder / "runs")
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=os.environ | own | {"IPYTHONDIR": str(folder / "ipython"), "PYTHONUNBUFFERED": "1"},
    )
    output = _Output(process)
    try:
        yield output.wait_for(pattern)
    finally:
        _end(process)


class _Output:
    """What a process has printed; read by a thread, so that the process never waits for its reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> str:
        """The first group of the first line that matches."""
        seen = []
        while (line := self._lines.get(timeout=START)) is not None:
            seen.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise RuntimeError("The server ended without printing its address:\n" + "".join(seen))


def _end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, which a server passes on to its kernels; a kernel that outlives it is an error, and is killed."""
    kernels = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(kernels, timeout=END)
    for kernel in alive:
        kernel.kill()
    assert not alive, f"left behind by {process.args}: {alive}"
