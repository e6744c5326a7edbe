"""The command line: what it says, how it fails, and that a served page leaves nothing running."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from explorer import bundled, cli
from explorer.recording.shelf import Shelf
from explorer.replay_page import replay_notebook
from explorer.serve import listen


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "explorer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "200"})


def failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command line prints on stderr when it fails with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["ppo-explorer", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    return capsys.readouterr().err


def test_help_names_the_commands():
    done = run("--help")
    assert done.returncode == 0
    assert {"serve", "replay", "pretrain"} <= set(done.stdout.split())


def test_serve_help_names_its_options():
    done = run("serve", "--help")
    assert done.returncode == 0
    assert {"--port", "--host", "--theme", "--no-browser"} <= set(done.stdout.split())


def test_how_much_a_page_keeps_is_told_to_its_kernels(monkeypatch, tmp_path):
    served, before = [], dict(os.environ)
    monkeypatch.setattr("explorer.serve.serve", lambda *shown, **options: served.append(dict(os.environ)))
    told = ["--keep-every", "5", "--checkpoint-every", "20", "--checkpoint-megabytes", "150"]
    try:
        cli.app(["serve", "--runs", str(tmp_path), *told], standalone_mode=False)
        shelf = Shelf()
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert len(served) == 1
    assert dict(served[0].items() - before.items()) == {
        "PPO_EXPLORER_RUNS": str(tmp_path),
        "PPO_EXPLORER_KEEP_EVERY": "5",
        "PPO_EXPLORER_CHECKPOINT_EVERY": "20",
        "PPO_EXPLORER_CHECKPOINT_MEGABYTES": "150.0",
    }
    assert (shelf.keep_every, shelf.checkpoint_every, shelf.checkpoint_megabytes) == (5, 20, 150.0)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--keep-every", "0", "keep_every is 0, but must be a whole number from 1"),
        ("--checkpoint-every", "0", "checkpoint_every is 0, but must be a whole number from 1"),
        ("--checkpoint-megabytes", "-1", "checkpoint_megabytes is -1.0, but must be above 0"),
        ("--checkpoint-megabytes", "inf", "checkpoint_megabytes is inf, but must be above 0"),
    ],
)
def test_an_amount_out_of_range_is_one_line_before_any_server_starts(monkeypatch, capsys, option, value, message):
    assert failure(monkeypatch, capsys, "serve", option, value) == f"error: {message}.\n"


def test_a_missing_notebook_is_one_line(monkeypatch, capsys, tmp_path):
    missing = tmp_path / "missing.ipynb"
    assert failure(monkeypatch, capsys, "serve", str(missing)) == f"error: there is no such notebook: {missing}\n"


def test_what_is_no_recording_is_one_line_before_any_server_starts(monkeypatch, capsys, tmp_path):
    missing = tmp_path / "missing"
    message = failure(monkeypatch, capsys, "replay", str(missing))
    assert message == f"error: There is no folder '{missing}': give the folder of a recorded run.\n"
    assert "it is not a recorded run" in failure(monkeypatch, capsys, "replay", str(tmp_path))
    for number in range(11):  # as in the folder of a seed grid
        (tmp_path / f"seed-{number:03d}").mkdir()
        (tmp_path / f"seed-{number:03d}" / "run.json").write_text("{}")
        if number == 0:
            one = failure(monkeypatch, capsys, "replay", str(tmp_path))
    seeds = ", ".join(f"seed-{number:03d}" for number in range(8))
    first = tmp_path / "seed-000"
    begin = f"error: '{tmp_path}' has no run.json: it is not a recorded run, but holds "
    assert one == f"{begin}the run seed-000: give the folder of one, as '{first}'.\n"
    assert failure(monkeypatch, capsys, "replay", str(tmp_path)) == (
        f"{begin}11 runs, {seeds} and 3 more: give the folder of one, as '{first}'.\n"
    )


def test_a_recording_is_shown_by_the_explorers_own_notebook_for_as_long_as_it_is_served(tmp_path, monkeypatch):
    run = tmp_path / 'it\'s "mine"'
    run.mkdir()
    monkeypatch.chdir(tmp_path)
    with replay_notebook(Path(run.name)) as made:
        shown = json.loads(made.read_text())
    assert not made.exists() and not made.parent.exists()
    explorers = json.loads(bundled.notebook_path("explorer.ipynb").read_text())
    (cell,) = shown["cells"]
    assert shown["metadata"] == explorers["metadata"]
    call = ast.parse(cell["source"]).body[-1].value
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert given == {"recording": str(run), "live": False}


def test_an_address_of_another_machine_is_one_line(monkeypatch, capsys):
    # 192.0.2.0/24 is kept for documentation: no machine has it (RFC 5737).
    message = failure(monkeypatch, capsys, "serve", "--host", "192.0.2.1", "--port", "0")
    assert re.fullmatch(r"error: cannot listen on 192\.0\.2\.1, port 0: .+\.\n", message)


def test_a_missing_corpus_is_one_line(monkeypatch, capsys, tmp_path):
    missing = tmp_path / "missing.txt"
    message = failure(monkeypatch, capsys, "pretrain", "--corpus", str(missing), "--out", str(tmp_path / "out"))
    assert message.startswith("error: ")
    assert str(missing) in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("serve", "--port", "70000"), "65535"), (("serve", "--theme", "blue"), "dark"), (("sevre",), "sevre")],
)
def test_wrong_usage_says_what_is_allowed(monkeypatch, capsys, arguments, named):
    assert named in failure(monkeypatch, capsys, *arguments)


def test_a_name_that_is_no_address_is_one_line(monkeypatch, capsys):
    message = failure(monkeypatch, capsys, "serve", "--host", "nowhere.invalid")
    assert message == "error: host is 'nowhere.invalid', which is no address of this machine: try 127.0.0.1.\n"


@pytest.mark.parametrize("error", [ValueError("two\n  lines"), TypeError("two lines"), OSError("two lines")])
def test_an_error_that_explains_itself_is_one_line(monkeypatch, capsys, error):
    def fails() -> None:
        raise error

    monkeypatch.delenv("PPO_EXPLORER_TRACEBACK", raising=False)
    monkeypatch.setattr(cli, "app", fails)
    assert failure(monkeypatch, capsys) == "error: two lines\n"
    monkeypatch.setenv("PPO_EXPLORER_TRACEBACK", "1")
    with pytest.raises(type(error)):
        cli.main()


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli, "app", lambda: {}["missing"])
    with pytest.raises(KeyError):
        cli.main()


def test_a_taken_port_gives_the_next_free_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with listen("127.0.0.1", port) as found:
            assert found.getsockname()[1] > port


def test_a_free_port_is_taken_as_it_is():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with listen("127.0.0.1", port) as found:
        assert found.getsockname()[1] == port


def test_the_last_port_taken_says_so(monkeypatch):
    def taken(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr("explorer.serve.socket.create_server", taken)
    with pytest.raises(ValueError, match="the ports 65500 to 65535 are all taken"):
        listen("127.0.0.1", 65500)


def test_our_notebooks_name_the_template_and_carry_no_outputs():
    notebooks = sorted(bundled.notebook_path("explorer.ipynb").parent.glob("*.ipynb"))
    assert notebooks
    for notebook in notebooks:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        assert content["metadata"]["voila"]["template"] == "ppo-explorer", notebook.name
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in content["cells"]), notebook.name


def test_the_page_template_asks_no_other_host():
    template = bundled.asset_path("jupyter/voila/templates/ppo-explorer")
    texts = {file.name: file.read_text(encoding="utf-8") for file in template.iterdir()}
    assert {"index.html.j2", "page.html", "conf.json"} <= set(texts)
    for name, text in texts.items():
        addresses = set(re.findall(r"https?://[^\s'\"]+", text)) - {"http://www.w3.org/2000/svg"}  # a name, not a link
        assert not addresses, name


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook whose only cell says which process it runs in."""
    import nbformat

    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import os, sys\nprint('kernel', os.getpid(), sys.executable)")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    path = tmp_path / "a folder" / "page.ipynb"
    path.parent.mkdir()
    nbformat.write(made, path)
    return path


@pytest.mark.kernel
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
def test_a_served_page_and_its_end(notebook: Path, end: signal.Signals, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "explorer", "serve", str(notebook), "--port", str(port), "--no-browser"]
        # Nothing in the working directory may be needed, and its connection files must not be left behind.
        environment = os.environ | {"PYTHONPATH": str(bundled.notebook_path("").parent), "TMPDIR": str(tmp_path)}
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            address = re.fullmatch(
                r"PPO Explorer is at (http://127\.0\.0\.1:(\d+)/)  \(Ctrl-C ends it\)\n", server.stdout.readline()
            )
            assert address is not None
            assert first == f"Port {port} is taken: using {address[2]}.\n"
            assert int(address[2]) > port

            page = urllib.request.urlopen(address[1], timeout=60).read().decode()
            assert "<title>PPO Explorer</title>" in page
            kernel = re.search(r"kernel (\d+) (.+)\n", page)
            assert kernel is not None
            assert Path(kernel[2]) == Path(sys.executable)
        finally:
            server.send_signal(end)
            rest = server.communicate(timeout=60)[0]
        assert server.returncode == 0
        assert rest == ""
        with pytest.raises(ProcessLookupError):
            os.kill(int(kernel[1]), 0)
        assert not list(tmp_path.glob("voila_*"))
