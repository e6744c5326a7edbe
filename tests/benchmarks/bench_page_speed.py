"""How fast training is with the page open, how soon a slider shows, and how soon the page is there: `make bench`.

Every figure is taken with all default panels visible and drawing. Headless training and training in the page take turns
in the order A B B A, so that a machine that slows down or speeds up meanwhile favours neither; the one that waits is
idle. The load average is printed beside, since both cores are needed.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium
from tests.browser.conftest import ALL_UNFOLDED
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import serving
from tests.browser.witness import Traffic, Witness

#: Turns of each kind, and updates in each after one to warm up.
TURNS, UPDATES = 6, 10

#: Slider movements while training.
MOVEMENTS = 80

#: What is aimed for: the page's rate over the headless one, the 95th percentile of slider to paint in milliseconds,
#: seconds from the page's JavaScript to the first picture, and from there until Train can be pressed.
RATIO, PAINT, PICTURE, TRAIN = 0.9, 100, 3, 10

Measure = Callable[[], list[float]]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """An empty page and the address to go to."""
    path = find_chromium()
    with serving(tmp_path_factory.mktemp("voila")) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=address)
        context.add_init_script(ALL_UNFOLDED)  # every panel draws, those too that are folded at first
        context.set_default_timeout(300_000)
        expect.set_options(timeout=300_000)
        witness = Witness()
        witness.watch(context)
        yield context.new_page()
        witness.check()
        browser.close()


def test_start(page: Page) -> None:
    page.add_init_script(MARKS)
    traffic = Traffic(page)
    page.goto("/")
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    names = ["scripts", "picture", "train", "curves"]
    page.wait_for_function("(names) => names.every((name) => name in window.benchmark)", arg=names)
    marks = page.evaluate("window.benchmark")
    ready, picture, train, curves = (marks[name] / 1000 for name in names)
    print(f"\n\nThe page's start ({load()}), in seconds from the navigation:")
    print(f"  the page's own JavaScript is ready   {ready:6.2f}")
    print(f"  the first picture                    {picture:6.2f}   {picture - ready:5.2f} later (aim {PICTURE})")
    print(f"  Train can be pressed                 {train:6.2f}   {train - picture:5.2f} later (aim {TRAIN})")
    print(f"  the run's curves are drawn           {curves:6.2f}")
    print(f"  received: {traffic.http / 1e6:.2f} MB over HTTP, {traffic.websocket / 1e6:.2f} MB over the WebSocket")
    assert ready < picture < ready + PICTURE
    assert picture < train < picture + TRAIN


def test_rate(page: Page) -> None:
    explorer = _opened(page)
    seconds: dict[str, list[float]] = {"headless": [], "page": []}
    with headless() as measure:
        measures: dict[str, Measure] = {"headless": measure, "page": lambda: updates_in(explorer)}
        for turn in range(TURNS):
            for kind in ("headless", "page") if turn % 2 == 0 else ("page", "headless"):
                seconds[kind] += measures[kind]()
    means = {kind: statistics.fmean(each) for kind, each in seconds.items()}
    ratio = means["headless"] / means["page"]
    print(f"\n\nTraining, {len(seconds['page'])} updates of each kind in {TURNS} turns ({load()}):")
    for kind, each in seconds.items():
        print(f"  {kind:8}  {means[kind]:.3f} s an update (median {statistics.median(each):.3f})")
    medians = statistics.median(seconds["headless"]) / statistics.median(seconds["page"])
    print(f"  the page's rate over the headless one: {ratio:.3f}; by medians {medians:.3f} (aim {RATIO})")
    assert min(len(each) for each in seconds.values()) >= TURNS * UPDATES
    assert ratio >= RATIO


def test_slider_to_paint(page: Page) -> None:
    page.goto("/")  # a kernel and a page that have done nothing yet
    explorer = _opened(page)
    print(f"\n\nFrom moving ε to its region painted ({load()}), in milliseconds:")
    explorer.stop()
    _print_latencies("paused", page.evaluate(MOVE, [explorer.root.element_handle(), MOVEMENTS // 2]))
    started = explorer.newest
    explorer.train()
    explorer.wait_for_update(started + 1)
    p95 = _print_latencies("training", page.evaluate(MOVE, [explorer.root.element_handle(), MOVEMENTS]))
    assert explorer.player.get_attribute("data-mode") == "running"
    trained = explorer.newest - started
    explorer.stop()
    print(f"  {trained} updates were trained meanwhile")
    assert trained > MOVEMENTS // 40
    assert p95 <= PAINT


def load() -> str:
    """The load of this machine, in words."""
    return f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"


@contextmanager
def headless() -> Iterator[Measure]:
    """A plain trainer in a process of its own, on one thread; gives what measures the seconds of each update."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEADLESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    given, taken = process.stdin, process.stdout

    def measure() -> list[float]:
        print(UPDATES, file=given, flush=True)
        return [float(seconds) for seconds in taken.readline().split()]

    assert taken.readline().strip() == "ready"
    yield measure
    given.close()
    assert process.wait(60) == 0


def updates_in(explorer: ExplorerPage) -> list[float]:
    """The seconds between updates as they appear in the page, after one to warm up."""
    explorer.train()
    times: list[float] = explorer.page.evaluate(APPEARANCES, [explorer.root.element_handle(), UPDATES + 2])
    explorer.stop()
    return [(after - before) / 1000 for before, after in itertools.pairwise(times[1:])]


def _opened(page: Page) -> ExplorerPage:
    if page.url == "about:blank":
        page.goto("/")
    explorer = ExplorerPage(page)
    explorer.wait_until_ready()
    for key in ("player", "controls", "tokens", "objective", "advantages", "kl", "curves"):
        expect(explorer.part(key)).to_be_visible()
    for key in ("objective", "advantages", "kl", "curves"):  # a folded panel has no picture
        expect(explorer.part(key).locator("svg").filter(visible=True).first).to_be_visible()
    return explorer


def _print_latencies(when: str, latencies: list[float]) -> float:
    """The 95th percentile."""
    ordered = sorted(latencies)
    p95 = statistics.quantiles(ordered, n=20)[-1]
    aim = f" (aim {PAINT})" if when == "training" else ""
    print(
        f"  {when:8}  median {statistics.median(ordered):5.0f}, 95th percentile {p95:5.0f}{aim}, "
        f"largest {ordered[-1]:5.0f}, of {len(ordered)} movements"
    )
    return p95


HEADLESS = """
import sys, time
import torch
from explorer import Trainer
from explorer.memory import keep_freed_memory
from explorer.presets import PRESETS

torch.set_num_threads(1)
keep_freed_memory()
trainer = Trainer(config=PRESETS["learn"])
trainer.update()
print("ready", flush=True)
for line in sys.stdin:
    trainer.update()
    seconds = []
    for _ in range(int(line)):
        started = time.perf_counter()
        trainer.update()
        seconds.append(time.perf_counter() - started)
    print(*seconds, flush=True)
"""

#: Notes when the widgets' own script has run, and when the page first shows tokens, a Train button that can be pressed,
#: and the curves; all in milliseconds from the navigation.
MARKS = """
window.benchmark = {};
const note = (name) => (window.benchmark[name] ??= performance.now());
window._JUPYTERLAB = new Proxy({}, {
  set(scripts, name, script) {
    if (name.includes('manager')) note('scripts');
    scripts[name] = script;
    return true;
  },
});
const look = () => {
  if (document.querySelector('.ex-token')) note('picture');
  if (document.querySelector('.explorer-train:not(:disabled)')?.textContent) note('train');
  if (document.querySelector('.explorer-curves .js-line')) note('curves');
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""

#: When so many further updates appeared beside the scrubber, in milliseconds.
APPEARANCES = """([root, count]) => new Promise((done) => {
  const place = root.querySelector('.ex-place');
  const newest = () => place.dataset.newest;
  const times = [];
  let last = newest();
  new MutationObserver((_, observer) => {
    if (newest() === last) return;
    last = newest();
    times.push(performance.now());
    if (times.length < count) return;
    observer.disconnect();
    done(times);
  }).observe(place, { childList: true, characterData: true, subtree: true });
})"""

#: Moves ε as a drag does, again and again after a varying rest, and times each until the frame in which the end of its
#: region has that value has been painted: a message sent from within a frame is delivered after it.
MOVE = """async ([root, count]) => {
  const input = root.querySelector('.explorer-clip_range input[type=range]');
  const picture = root.querySelector('.explorer-objective .ex-picture');
  const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const latencies = [];
  for (let i = 0; i < count; i += 1) {
    const value = (5 + ((i * 17) % 50)) / 100;
    const high = (1 + value).toFixed(4);
    const started = performance.now();
    await new Promise((done) => {
      new MutationObserver((_, observer) => {
        if (root.querySelector('.explorer-region')?.dataset.high !== high) return;
        observer.disconnect();
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = () => done(latencies.push(performance.now() - started));
        port2.postMessage(null);
      }).observe(picture, { childList: true, subtree: true, attributes: true });
      input.value = String(value);
      input.dispatchEvent(new Event('input', { bubbles: true }));
    });
    await rest(150 + ((i * 97) % 300));
  }
  return latencies;
}"""
