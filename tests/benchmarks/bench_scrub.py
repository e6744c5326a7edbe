"""A run of 2,000 updates, scrubbed in the browser: from a move to the page painted, and memory: `make bench`.

The run is the bundled one over and over under other numbers, as in ``bench_long_run``. Painted means that the update's
number, its tokens and the clip picture are on screen; the other panels take their turns after that, and how long until
the last of them, the curves, is printed beside. With the panel of time open, its pictures of other updates are read
while the page rests.
"""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from explorer.bundled import asset_path
from explorer.recording.storage import Recording, RunWriter
from tests.benchmarks.bench_page_speed import load
from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import replaying
from tests.browser.witness import Witness

UPDATES = 2_000

#: Moves of the scrubber with each panel open: far jumps all over the run.
MOVES = 80

#: What is aimed for: milliseconds from a move to the paint, at the 95th percentile; and by how many megabytes the
#: kernel and the page's own heap may grow over all the moves.
PAINT, KERNEL, HEAP = 100, 100, 20


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run of so many updates: 0.43 GB, deleted afterwards."""
    root = tmp_path_factory.mktemp("scrub") / "run"
    snapshots = cycle(list(Recording.load(asset_path("recording"))))
    with RunWriter(root, {"policy": "bundled GPT-2"}) as writer:
        for update in range(1, UPDATES + 1):
            writer.append(dataclasses.replace(next(snapshots), update=update))
    yield root
    for path in root.rglob("*.parquet"):
        path.unlink()


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page that shows it."""
    path = find_chromium()
    with replaying(tmp_path_factory.mktemp("page"), run) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        expect.set_options(timeout=120_000)
        witness = Witness()
        witness.watch(context)
        page = context.new_page()
        page.goto(address)
        yield page
        witness.check()
        browser.close()


def test_scrubbing_a_long_run(page: Page) -> None:
    explorer = ExplorerPage(page)
    expect(explorer.part("curves").locator(".main-svg").first).to_be_visible()
    root = explorer.root.element_handle()
    found = {}
    before: tuple[float, float] | None = None
    for panel in ("advantages", "time"):
        if panel != "advantages":
            explorer.tab(panel)
        page.evaluate(SCRUB, [root, UPDATES, 20])  # to warm up
        before = before or memory(page)
        found[panel] = page.evaluate(SCRUB, [root, UPDATES, MOVES])
    after = memory(page)
    assert before is not None
    print(f"\n\nScrubbing a run of {UPDATES} updates, {MOVES} far jumps with each panel ({load()}), in milliseconds:")
    late = {}
    for panel, times in found.items():
        for what, each in zip(("tokens", "curves, the last"), zip(*times, strict=True), strict=True):
            late[panel, what] = statistics.quantiles(each, n=20)[-1]
            told = f"median {statistics.median(each):5.1f}, 95th percentile {late[panel, what]:5.1f}"
            print(f"  {panel:11} {what:17} {told}{f' (aim {PAINT})' if what == 'tokens' else ''}")
    for what, old, new in zip(("the kernel", "the page's heap"), before, after, strict=True):
        print(f"  {what:16} {old:6.1f} MB before, {new:6.1f} MB after {len(found) * MOVES} moves")
    assert all(late[panel, "tokens"] <= PAINT for panel in found)
    assert after[0] - before[0] < KERNEL and after[1] - before[1] < HEAP


def memory(page: Page) -> tuple[float, float]:
    """Megabytes: the resident memory of the page's kernel, and the page's heap with what is free given back."""
    kernels = [p for p in psutil.Process().children(recursive=True) if re.search("ipykernel", " ".join(p.cmdline()))]
    kernel = max(kernels, key=lambda process: process.cpu_times().user)  # Voila keeps one more, which does nothing
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return kernel.memory_info().rss / 1e6, used / 1e6


#: Moves the scrubber as a drag does, again and again after a rest, and times each until the frame has been painted in
#: which the tokens show that update, and that in which every panel does: a message sent from within a frame is
#: delivered after it.
SCRUB = """async ([root, last, count]) => {
  const scrubber = root.querySelector('.explorer-scrubber');
  const open = root.querySelector('.explorer-time').offsetParent !== null;
  const clip = root.querySelector('.explorer-objective .ex-picture');
  const first = (update) =>
    root.querySelector('.explorer-tokens').dataset.update === update
    && root.querySelector('.explorer-status').dataset.update === update && clip.firstChild !== clip.exSeen;
  const rest_of = (update) => !open || root.querySelector('.explorer-time').dataset.update === update;
  const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const plot = root.querySelector('.explorer-curves .ex-plot');
  const markers = () => [...plot.querySelectorAll('.point')].map((point) => point.getAttribute('transform')).join();
  const state = () => ['tokens', 'time'].map((key) => root.querySelector(`.explorer-${key}`).dataset.update).join();
  const times = [];
  let update = 1;
  for (let i = 0; i < count; i += 1) {
    update = 1 + ((update + 733 + 97 * i) % last);
    const before = markers();
    const started = performance.now();
    scrubber.value = String(update);
    scrubber.dispatchEvent(new Event('input', { bubbles: true }));
    clip.exSeen = clip.firstChild;
    const painted = (there) => new Promise((done, failed) => {
      const look = () => {
        if (performance.now() - started > 10000) return failed(new Error(`waiting for ${update}, there is ${state()}`));
        if (!there()) return requestAnimationFrame(look);
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => done(performance.now() - started);
        port2.postMessage(null);
      };
      requestAnimationFrame(look);
    });
    const soon = await painted(() => first(String(update)));
    times.push([soon, await painted(() => rest_of(String(update)) && markers() !== before)]);
    await rest(60 + ((i * 97) % 200));
  }
  return times;
}"""
