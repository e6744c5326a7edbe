"""What a redraw of the token strip costs in script at 64 responses of 64 tokens: `make bench`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from explorer import Config, Trainer
from tests.benchmarks.bench_page_speed import load
from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium
from tests.browser.explorer_page import ExplorerPage
from tests.browser.servers import replaying
from tests.browser.witness import Witness

#: Milliseconds of script that a redraw may take: a frame at 60 Hz.
AIM = 16

#: Redraws of each kind.
REDRAWS = 30


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page that shows a recorded run of three updates of 64 responses of up to 64 tokens."""
    folder = tmp_path_factory.mktemp("strip")
    config = Config(batch_size=64, response_length=64, learning_rate=3e-4)
    Trainer(config=config).train(3, out=folder / "run")
    path = find_chromium()
    with replaying(folder, folder / "run") as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        witness = Witness()
        witness.watch(context)
        page = context.new_page()
        page.goto(address)
        yield page
        witness.check()
        browser.close()


def test_redraws(page: Page) -> None:
    explorer = ExplorerPage(page)
    expect(explorer.part("curves").locator(".main-svg").first).to_be_visible()
    tokens = explorer.tokens.count()
    root = explorer.root.element_handle()
    found = {name: page.evaluate(script, [root, REDRAWS]) for name, script in KINDS.items()}
    print(f"\n\nScript of a redraw of {explorer.rows} responses, {tokens} tokens, in milliseconds ({load()}):")
    for name, times in found.items():
        (longest, p95), (whole, whole_p95) = (
            (statistics.median(some), statistics.quantiles(some, n=20)[-1]) for some in zip(*times, strict=True)
        )
        print(
            f"  {name:22}  longest in one frame: median {longest:5.1f} (aim {AIM}), 95th percentile {p95:5.1f}; "
            f"all frames: {whole:5.1f}, {whole_p95:5.1f}"
        )
    assert explorer.rows == 64 and tokens > 3000
    for name, times in found.items():
        assert statistics.quantiles([longest for longest, _ in times], n=20)[-1] < AIM, name


def test_the_clip_picture(page: Page) -> None:
    """The same tokens as glyphs: a redraw, and each frame in which they move from epoch to epoch."""
    explorer = ExplorerPage(page)
    picture = explorer.part("objective").locator(".ex-picture")
    page.evaluate(WATCH_CLIP)
    for view in ("objective", "probabilities"):
        explorer.press(f"view-{view}")
        for _ in range(4):
            for epoch in ("0", "1", "-1"):
                explorer.part("epoch").select_option(epoch)
                expect(picture).to_have_attribute("data-epoch", "5" if epoch == "-1" else str(int(epoch) + 1))
                expect(picture).to_have_attribute("data-moving", "false")
    redraws, frames = page.evaluate("Object.values(window.exTook)")
    assert len(redraws) >= 20 and len(frames) > 3 * len(redraws)
    print(f"\n\nScript of the clip picture with the same tokens, in milliseconds ({load()}):")
    for name, times in (("redraw", redraws), ("frame of a move", frames)):
        print(f"  {name:22}  median {statistics.median(times):5.1f} (aim {AIM}), highest {max(times):5.1f}")
        assert statistics.median(times) < AIM


#: Gathers the clip picture's measures in ``window.exTook``.
WATCH_CLIP = """() => {
  window.exTook = { 'explorer-clip': [], 'explorer-clip-frame': [] };
  new PerformanceObserver((list) => {
    for (const { name, duration } of list.getEntries()) window.exTook[name]?.push(duration);
  }).observe({ entryTypes: ['measure'] });
}"""

#: Takes the time of every redraw of the strip from now on, and waits for the next: its longest script in one frame, and
#: that of all frames that it takes.
NEXT = """
  const strip = root.querySelector('.explorer-tokens');
  const times = [];
  Object.defineProperty(strip, 'exMilliseconds', { configurable: true, set: (spent) => times.push(spent) });
  const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const wait = async (happened) => {
    while (!happened()) await rest(5);
    await rest(100); // what else is drawn for the same change
    const all = times.splice(0);
    return [Math.max(...all), all.reduce((sum, one) => sum + one)];
  };
  const choose = (menu, value) => {
    menu.value = value;
    menu.dispatchEvent(new Event('change'));
  };
  const spent = [];
"""

KINDS = {
    "another quantity": f"""async ([root, redraws]) => {{ {NEXT}
      const names = ['advantage', 'entropy', 'ratio', 'value', 'component/length', 'delta'];
      for (let i = 0; i < redraws; i += 1) {{
        choose(root.querySelector('.explorer-quantity'), names[i % names.length]);
        spent.push(await wait(() => times.length));
      }}
      return spent;
    }}""",
    "another order": f"""async ([root, redraws]) => {{ {NEXT}
      const names = ['score', 'length', 'ref_kl', 'zero', 'moved', 'sampled'];
      for (let i = 0; i < redraws; i += 1) {{
        choose(root.querySelector('.explorer-sort'), names[i % names.length]);
        spent.push(await wait(() => times.length));
      }}
      return spent;
    }}""",
    "a hovered token": f"""async ([root, redraws]) => {{ {NEXT}
      for (let i = 0; i < redraws; i += 1) {{
        const token = root.querySelector(`.ex-token[data-row="${{i % 3}}"][data-t="${{i % 7}}"]`);
        token.dispatchEvent(new MouseEvent('mouseover', {{ bubbles: true }}));
        spent.push(await wait(() => times.length));
      }}
      return spent;
    }}""",
    "another batch": f"""async ([root, redraws]) => {{ {NEXT}
      const scrubber = root.querySelector('.explorer-scrubber');
      for (let i = 0; i < redraws; i += 1) {{
        const update = String(1 + (i % 3));
        scrubber.value = update;
        scrubber.dispatchEvent(new Event('input', {{ bubbles: true }}));
        spent.push(await wait(() => strip.dataset.update === update && times.length));
      }}
      return spent.slice(1);
    }}""",
    "another epsilon": f"""async ([root, redraws]) => {{ {NEXT}
      const slider = root.querySelector('.explorer-clip_range input[type=range]');
      for (let i = 0; i <= redraws; i += 1) {{
        const value = (5 + ((i * 7) % 30)) / 100;
        const high = (1 + value).toFixed(4);
        slider.value = String(value);
        slider.dispatchEvent(new Event('input', {{ bubbles: true }}));
        spent.push(await wait(() => root.querySelector('.explorer-region').dataset.high === high && times.length));
      }}
      if (!root.querySelector('.ex-token[data-turned]')) throw new Error('no token is marked as changed');
      return spent.slice(1); // scoring was imported during the first
    }}""",
}
