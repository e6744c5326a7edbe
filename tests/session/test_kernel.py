"""What only a real kernel shows: threads, subshells, and cells that hold the event loop.

One kernel serves all tests but the last, each in names of its own. The tests poll with a deadline and never sleep.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]

#: Seconds after which a test gives up waiting; never waited for where all is well.
PATIENCE = 60


class Cells:
    """A kernel and a client that talks to it as a notebook does."""

    def __init__(self, folder: Path) -> None:
        spec = folder / "kernels" / "tested"
        spec.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "tested", "language": "python"}))
        specs = KernelSpecManager(kernel_dirs=[str(spec.parent)])
        self.manager = KernelManager(kernel_name="tested", kernel_spec_manager=specs)
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, "PYTHONPATH": paths})
        self.client = self.manager.client()
        self.client.start_channels(iopub=False, stdin=False, hb=False)

    def stop(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def _send(self, kind: str, content: dict[str, Any], metadata: Any = None, subshell: str | None = None) -> str:
        message = self.client.session.msg(kind, content, metadata=metadata)
        if subshell is not None:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def begin(self, code: str, cell: str | None = None, subshell: str | None = None, **expressions: str) -> str:
        """Send a cell and do not wait for it; ``cell`` is the notebook's id of it."""
        content = {"code": code, "silent": False, "store_history": False, "stop_on_error": False}
        metadata = {} if cell is None else {"cellId": cell}
        return self._send("execute_request", {**content, "user_expressions": expressions}, metadata, subshell)

    def end(self, request: str) -> dict[str, Any]:
        """Wait for a cell's reply."""
        deadline = time.monotonic() + PATIENCE
        while True:
            reply = self.client.get_shell_msg(timeout=max(0.1, deadline - time.monotonic()))
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"]

    def run(self, code: str, cell: str | None = None, subshell: str | None = None) -> None:
        """Run a cell to its end."""
        reply = self.end(self.begin(code, cell, subshell))
        assert reply["status"] == "ok", "\n".join(reply.get("traceback", []))

    def ask(self, expression: str, subshell: str | None = None) -> Any:
        """The value of an expression, which must be plain."""
        found = self.end(self.begin("", subshell=subshell, value=expression))["user_expressions"]["value"]
        assert found["status"] == "ok", found
        return ast.literal_eval(found["data"]["text/plain"])

    def until(self, expression: str, subshell: str | None = None) -> None:
        """Wait until an expression holds; between two looks at it the kernel's loop is free."""
        deadline = time.monotonic() + PATIENCE
        while not self.ask(f"bool({expression})", subshell):
            if time.monotonic() > deadline:
                pytest.fail(f"{expression} did not come true: {self.ask('faults()')}")

    def subshell(self) -> str:
        """Open a subshell, as JupyterLab does for widget messages."""
        self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
        reply = self.client.get_control_msg(timeout=PATIENCE)["content"]
        assert reply["status"] == "ok", reply
        return reply["subshell_id"]

    def answer_over(self, subshell: str, widget: str) -> None:
        """Let a widget speak on a subshell: ipykernel 7.4 sends what comes next from the browser to where it spoke."""
        self.run(f"{widget}.send({{'kind': 'nothing'}})", subshell=subshell)

    def tell(self, model: str, subshell: str | None = None, message: Any = None, **state: Any) -> None:
        """What the browser sends to a widget: new values of its traits, or a message."""
        data = {"method": "update", "state": state, "buffer_paths": []}
        if message is not None:
            data = {"method": "custom", "content": message}
        self._send("comm_msg", {"comm_id": model, "data": data}, subshell=subshell)


#: What every test's cells begin with.
SETUP = """
import random, sys, threading
import numpy as np
import explorer

CONFIG = explorer.Config(batch_size=4, response_length=4, epochs=2, learning_rate=1e-3)

class Counted:
    '''A reward that counts its calls, one an update, and says when there have been enough; it can be held up.'''

    def __init__(self, enough=10**9):
        self.calls, self.enough, self.reached, self.go_on = 0, enough, threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self, prompts, responses):
        self.go_on.wait(60)
        self.calls += 1
        if self.calls >= self.enough:
            self.reached.set()
        return [0.01 * len(text) for text in responses]

def page(**arguments):
    settings = dict(policy=CHECKPOINT, config=CONFIG, prompts=["The cat", "Lily went"])
    return explorer.Explorer(**{**settings, **arguments})

def faults():
    '''What has gone wrong on any page, to be shown with a test that fails.'''
    pages = [(name, p.session) for name, p in globals().items() if isinstance(p, explorer.Explorer)]
    return [(name, s.phase, s.mode, s.updates, dict(s.error)) for name, s in pages]

def texts(page):
    return [snapshot.tokens.responses for snapshot in page.session.history]

def logprobs(page):
    return [snapshot.final.new_logprobs.tobytes().hex() for snapshot in page.session.history]
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Cells]:
    made = Cells(tmp_path_factory.mktemp("kernel"))
    try:
        made.run(SETUP.replace("CHECKPOINT", repr(str(tiny_checkpoint))))
        yield made
    finally:
        made.stop()


def test_messages_over_a_subshell_land_on_the_main_thread(cells: Cells) -> None:
    """ipywidgets' private ``_handle_msg`` is what is overridden: should it change, this fails."""
    cells.run("""
import ipywidgets, traitlets
from explorer.widgets.on_loop import OnLoopWidget

class Home(OnLoopWidget):
    _esm = "export default { render() {} }"
    x = traitlets.Int().tag(sync=True)

class Plain(ipywidgets.Widget):
    x = traitlets.Int().tag(sync=True)

where = {"home": [], "plain": []}
home, plain = Home(), Plain()
for name, widget in (("home", home), ("plain", plain)):
    note = lambda *_, name=name: where[name].append(threading.current_thread() is threading.main_thread())
    widget.observe(note, "x")
    widget.on_msg(note)
""")
    subshell = cells.subshell()
    for name in ("home", "plain"):
        model = cells.ask(f"{name}.model_id")
        for content in ({"x": 1}, {"x": 2}, {"x": 3}, {"message": {"kind": "any"}}):
            cells.answer_over(subshell, name)
            cells.tell(model, subshell, **content)
    cells.until("len(where['home']) == len(where['plain']) == 4")
    assert cells.ask("where['home']") == [True] * 4
    assert cells.ask("where['plain']") == [False] * 4  # so they did come over the subshell
    assert cells.ask("home.x") == 3


@pytest.mark.parametrize("over", ["the main shell", "a subshell"])
def test_two_hundred_slider_events_lose_nothing_but_intermediate_values(cells: Cells, over: str) -> None:
    subshell = cells.subshell() if over == "a subshell" else None
    cells.run("""
held = Counted()
sliders = page(rewards={"held": held})
threads = set()
sliders.session.observe(lambda change: threads.add(threading.current_thread() is threading.main_thread()), "config")
arrived = set()
home = sliders.controls._home.post
sliders.controls._home.post = lambda *task: (arrived.add(threading.current_thread().name[:9]), home(*task))
""")
    cells.until("sliders.session.phase == 'ready'")
    cells.run("held.go_on.clear(); sliders.train()")  # an update is under way, and does not end
    cells.until("sliders.session.progress is not None and sliders.session.progress.finished == 'sample'")
    model = cells.ask("sliders.controls.model_id")
    if subshell is not None:
        cells.answer_over(subshell, "sliders.controls")
    edits: dict[str, dict[str, Any]] = {}
    begun = time.monotonic()
    for n in range(1, 201):
        field, value = ("clip_range", n / 500) if n % 2 else ("kl_coef", n / 400)
        edits = {**edits, field: {"value": value, "n": n}}
        cells.tell(model, subshell, edits=edits)
    assert time.monotonic() - begun < 1.0
    cells.until("sliders.controls.answered == 200")
    assert cells.ask("(sliders.config.clip_range, sliders.config.kl_coef)") == (199 / 500, 0.5)
    assert cells.ask("sliders.controls.values['clip_range']") == 199 / 500
    assert cells.ask("(threads, dict(sliders.session.error))") == ({True}, {})
    assert cells.ask("arrived") == (set() if subshell is None else {"subshell-"})
    cells.run("held.go_on.set()")
    cells.until("len(sliders.session.history) >= 2")
    cells.run("configs = [s.config for s in sliders.session.history]; sliders.close()")
    assert cells.ask("[(c.clip_range, c.kl_coef) for c in configs[:2]]") == [(0.2, 0.05), (199 / 500, 0.5)]


def test_training_goes_on_while_a_cell_runs_and_the_history_catches_up(cells: Cells) -> None:
    cells.run("busy_reward = Counted(enough=6); busy = page(rewards={'counted': busy_reward})")
    cells.until("busy.session.phase == 'ready'")
    cells.run(f"""
busy.train(8)
came = busy_reward.reached.wait({PATIENCE})   # the cell holds the loop; the worker trains
meanwhile = (busy_reward.calls, len(busy.session.history), busy.board.run["updates"])
""")
    came, (calls, in_history, on_the_page) = cells.ask("(came, meanwhile)")
    assert came
    assert calls >= 6
    assert (in_history, on_the_page) == (0, 0)  # only drawing waits
    cells.until("busy.board.batch.get('update') == 8 and busy.session.mode == 'paused'")
    assert cells.ask("busy.session.history.updates") == list(range(1, 9))
    cells.run("busy.close()")


def test_random_numbers_drawn_in_a_cell_change_nothing(cells: Cells) -> None:
    for name in ("calm", "noisy"):
        cells.run(f"{name} = page()")
        cells.until(f"{name}.session.phase == 'ready'")
    cells.run("calm.train(4)")
    cells.until("len(calm.session.history) == 4")
    for updates in (1, 2, 3, 4):
        cells.run(
            "import torch; torch.manual_seed(5); torch.rand(1000); random.seed(1); random.random(); np.random.seed(3)"
        )
        cells.run("noisy.train(1)")
        cells.until(f"len(noisy.session.history) == {updates} and noisy.session.mode == 'paused'")
    assert cells.ask("texts(calm) == texts(noisy)")
    assert cells.ask("logprobs(calm) == logprobs(noisy)")
    assert cells.ask("len(set(logprobs(calm)))") == 4
    cells.run("calm.close(); noisy.close()")


def test_an_exception_in_a_posted_callback_is_in_the_error_panel(cells: Cells) -> None:
    cells.run("failing = page()")
    cells.run("threading.Thread(target=failing.session.loop.post, args=([].pop,)).start()")
    cells.until("failing.board.run['error']")
    assert cells.ask("failing.board.run['error']['message']") == "IndexError: pop from empty list"
    cells.run("failing.close()")


def test_close_ends_the_worker(cells: Cells) -> None:
    cells.run("closing = page(); closing.train()")
    cells.until("len(closing.session.history) > 0")
    cells.run(f"closing.close(); ended = closing.session.worker.join({PATIENCE})")
    assert cells.ask("ended")
    assert cells.ask("closing.comm is None")


def test_running_a_cell_again_closes_what_it_made_before(cells: Cells) -> None:
    for name, cell in (("first", "cell-a"), ("elsewhere", "cell-b"), ("second", "cell-a")):
        cells.run(f"{name} = page()", cell=cell)
        cells.until(f"{name}.session.phase == 'ready'")
    assert cells.ask(f"first.session.worker.join({PATIENCE})")
    assert cells.ask("[p.session.worker.join(0) for p in (elsewhere, second)]") == [False, False]
    cells.run("second.train(1); elsewhere.train(1)")
    cells.until("len(second.session.history) == len(elsewhere.session.history) == 1")
    cells.run("second.close(); elsewhere.close()")


def test_one_cell_may_make_two(cells: Cells) -> None:
    cells.run("pair = [page(), page()]", cell="cell-c")
    assert cells.ask("[p.session.worker.join(0) for p in pair]") == [False, False]
    cells.run("again = [page(), page()]", cell="cell-c")
    assert cells.ask(f"[p.session.worker.join({PATIENCE}) for p in pair]") == [True, True]
    cells.run("[p.close() for p in again]")


def test_an_interrupt_stops_the_cell_and_not_the_training(cells: Cells) -> None:
    cells.run(
        "kept_reward = Counted(enough=2); kept = page(rewards={'counted': kept_reward}); held = threading.Event()"
    )
    cells.until("kept.session.phase == 'ready'")
    subshell = cells.subshell()
    cells.run("kept.train(6)")
    request = cells.begin("while True: in_cell = True; held.wait(1)")
    cells.until("kept_reward.reached.is_set() and 'in_cell' in globals()", subshell)
    cells.manager.interrupt_kernel()
    assert cells.end(request)["ename"] == "KeyboardInterrupt"
    cells.until("len(kept.session.history) == 6")
    assert cells.ask("dict(kept.session.error)") == {}
    cells.run("kept.close()")


def test_the_page_is_drawn_before_torch_has_been_imported(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    try:
        cells.run("""
import sys, threading
from explorer.session.engine import Engine

load, may_load = Engine.load, threading.Event()
Engine.load = lambda engine: (may_load.wait(60), load(engine))

import explorer
page = explorer.Explorer()
display(page)
imported = {"torch", "transformers"} & set(sys.modules)
""")
        assert cells.ask("sorted(imported)") == []
        assert cells.ask("page.session.phase") == "loading"
        assert cells.ask("len(page.board.batch['tokens']) > 0")
        assert cells.ask("page.board.run['updates'] > 1")
        cells.run("may_load.set()")
        cells.until("page.session.phase == 'ready'")
        assert cells.ask("len(page.curves.expressions) > 0")
        cells.run("page.close()")
    finally:
        cells.stop()


def test_the_display_is_the_live_page_and_a_still_that_is_renewed(cells: Cells) -> None:
    cells.run(
        """
kept_page = explorer.Explorer(config=CONFIG)
published = []
publisher = type(get_ipython().display_pub)
original = publisher.publish
def watched(self, data, *args, **options):
    published.append((data, bool(options.get('update'))))
    return original(self, data, *args, **options)
publisher.publish = watched
display(kept_page)
"""
    )
    try:
        widget = "application/vnd.jupyter.widget-view+json"
        forms = cells.ask("[(sorted(data), update) for data, update in published]")
        assert forms == [([widget, "text/plain"], False), (["text/html", "text/plain"], False)]
        assert cells.ask("'explorer-still-' + kept_page.board.model_id in published[1][0]['text/html']")
        assert cells.ask("published[0][0]['text/plain']") == "PPO Explorer"  # the still below it says where it stood
        assert "update 40" in cells.ask("published[1][0]['text/plain']")
        cells.until("kept_page.session.phase == 'ready'")
        cells.run("kept_page.train(1)")
        cells.until("any(update and 'update 1:' in data['text/plain'] for data, update in published)")
        assert cells.ask("max(len(data.get('text/html', '')) for data, _ in published)") < 200_000
        cells.run("kept_page.board.language = 'zh'")
        cells.until("'运行单元格' in published[-1][0]['text/plain']")
    finally:
        cells.run("publisher.publish = original; kept_page.close()")
