"""One Explorer in a page, driven as its reader drives it: what can be seen is read, what can be pressed is pressed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

#: Milliseconds within which a re-scoring is on screen on a busy machine too; benchmarks say how soon on a quiet one.
AT_ONCE = 10_000

#: Milliseconds within which ε re-scores the batch while training goes on, measured in the page.
WHILE_TRAINING = 2000


@dataclass(frozen=True)
class Clip:
    """What the clip picture says: the ends of the region, and of ``tokens`` tokens how many are outside or stuck."""

    low: float
    high: float
    outside: int
    tokens: int
    zero: int


@dataclass(frozen=True)
class Chart:
    """One of the run's small charts: the number in its title, and where its marker stands between the axis's ends."""

    number: str
    update: float
    value: float
    low: float
    high: float


class ExplorerPage:
    """An Explorer.

    Args:
        page: the page that it is in.
        root: its root element, where there are several; the first otherwise.
    """

    def __init__(self, page: Page, root: Locator | None = None) -> None:
        self.page = page
        self.root = root if root is not None else page.locator(".explorer").first

    # ------------------------------------------------------------------ what can be seen

    def part(self, key: str) -> Locator:
        """A view, a control, a button, the status or the error, by the name in its class."""
        return self.root.locator(f".explorer-{key}")

    @property
    def player(self) -> Locator:
        """The head of the page; its attributes say what runs."""
        return self.part("player")

    @property
    def status(self) -> str:
        """The status line."""
        return self.part("status").text_content() or ""

    @property
    def update(self) -> int:
        """The update that the status line names."""
        found = re.search(r"update (\d+)", self.status)
        assert found, self.status
        return int(found[1])

    @property
    def newest(self) -> int:
        """The newest update of the run, as it stands beside the scrubber."""
        return int(self.player.locator(".ex-place").get_attribute("data-newest") or 0)

    @property
    def live(self) -> bool:
        """Whether the run on screen is this page's own and not a recorded one; while nothing trains."""
        return "record" not in self.status

    @property
    def tokens(self) -> Locator:
        """Every token of every response."""
        return self.part("tokens").locator(".ex-token")

    def token(self, row: int, t: int) -> Locator:
        """One token."""
        return self.part("tokens").locator(f'.ex-token[data-row="{row}"][data-t="{t}"]')

    @property
    def texts(self) -> list[str]:
        """The text of every token."""
        return self.tokens.all_text_contents()

    @property
    def pinned(self) -> tuple[int, int] | None:
        """The token that is outlined as pinned."""
        found = self.part("tokens").locator(".ex-token.ex-pinned")
        if not found.count():
            return None
        return int(found.get_attribute("data-row") or -1), int(found.get_attribute("data-t") or -1)

    @property
    def order(self) -> list[int]:
        """The responses from top to bottom, by their place in the batch."""
        firsts = self.part("tokens").locator('.ex-token[data-t="0"]')
        return [int(row) for row in firsts.evaluate_all("(spans) => spans.map((span) => span.dataset.row)")]

    @property
    def scores(self) -> list[float]:
        """The scores beside the responses, from top to bottom."""
        texts = self.part("tokens").locator(".ex-score").all_text_contents()
        return [float(text.replace("−", "-")) for text in texts]

    @property
    def clip(self) -> Clip:
        """What the clip picture says."""
        return Clip(**self.root.evaluate(CLIP))

    @property
    def charts(self) -> list[Chart]:
        """The run's small charts, as they are drawn."""
        return [Chart(**chart) for chart in self.root.evaluate(CHARTS)]

    def value(self, field: str) -> str:
        """What a setting's number shows."""
        return self.part(field).locator(".ex-number").input_value()

    @property
    def rows(self) -> int:
        """How many responses there are."""
        return self.part("tokens").locator(".ex-response").count()

    # ------------------------------------------------------------------ what can be done

    def press(self, button: str) -> None:
        """Press a button; that of the language, until the page speaks the other: a second press would be of that."""
        before = self.part(button).inner_text() if button == "language" else None
        self.part(button).click()
        if before is not None:
            expect(self.part(button)).not_to_have_text(before)

    def slide(self, field: str, value: float) -> None:
        """Drag a slider to a value: what the browser does for each step of a drag."""
        self.part(field).locator("input[type=range]").evaluate(SLIDE, value)

    def point_at(self, chart: int, update: float, value: float) -> None:
        """Move the pointer to where a small chart draws a value."""
        self.part("curves").scroll_into_view_if_needed()
        x, y = self.root.evaluate(PLACE_OF, [chart, update, value])
        self.page.mouse.move(x - 1, y)
        self.page.mouse.move(x, y)

    def type(self, field: str, text: str) -> None:
        """Type into a setting's number and press Enter."""
        number = self.part(field).locator(".ex-number")
        number.fill(text)
        number.press("Enter")
        number.blur()

    def scrub(self, update: int) -> None:
        """Drag the scrubber to an update."""
        self.part("scrubber").evaluate(SLIDE, update)
        expect(self.part("tokens")).to_have_attribute("data-update", str(update))

    def tab(self, key: str) -> None:
        """Show one of the two panels that share a place."""
        self.root.locator(f".explorer-tab-{key}:visible").click()
        expect(self.part(key)).to_be_visible()

    def train(self) -> None:
        """Press Train, and wait for the first update where a recorded run was on screen."""
        self._from_recorded_to_live("train")
        expect(self.player).to_have_attribute("data-mode", "running")

    def train_for(self, updates: int) -> None:
        """Train for so many updates, and wait until they are there."""
        self.part("train-for").select_option("n")
        self.part("train-number").fill(str(updates))
        before = self.newest if self.live else 0
        self._from_recorded_to_live("train")
        self.when(NEWEST, before + updates)
        self.settle()

    def stop(self) -> None:
        """End training with the update that is running, and wait until that is on screen.

        Step does so. Pause would stop in the middle of it, and says so while the running stage is still at work.
        """
        self.press("step")
        self.settle()

    def step(self) -> None:
        """Press Step and wait for one more update to be on screen; where nothing runs."""
        before = self.newest if self.live else 0
        self._from_recorded_to_live("step")
        self.when(NEWEST, before + 1)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing runs and the newest update is on screen, where the newest is followed."""
        expect(self.player).to_have_attribute("data-mode", "paused")
        self.when(SETTLED)

    def _from_recorded_to_live(self, button: str) -> None:
        recorded = None if self.live else self.player.locator(".ex-place").text_content()
        self.press(button)
        if recorded:
            expect(self.player.locator(".ex-place")).not_to_have_text(recorded)

    def train_to(self, updates: int) -> None:
        """Have at least so many updates of a live run."""
        if not self.live or self.newest < updates:
            self.train()
            self.when(NEWEST, updates)
            self.stop()

    @property
    def theme_sign(self) -> str:
        """What the theme button shows; the style sheet draws it."""
        return str(self.part("theme").evaluate("(node) => getComputedStyle(node, '::before').content")).strip('"')

    def train_as_set(self) -> None:
        """Have an update on screen that was trained under the settings as they are: nothing in it is re-scored."""
        self.train_to(1)
        while self.part("tokens").locator(".ex-badge").inner_text():
            self.step()

    def tidy(self) -> None:
        """Leave everything as a test likes to find it, but for the run and its updates."""
        self.page.mouse.move(0, 0)
        if self.part("confirm").is_visible():
            self.press("confirm-no")
        if self.part("language").inner_text() == "English":
            self.press("language")
            expect(self.part("train")).to_contain_text("Train")
        if self.part("slow").get_attribute("aria-pressed") == "true":
            self.press("slow")
        if self.part("follow").get_attribute("aria-pressed") == "false":
            self.press("follow")
        lit = self.player.locator('.ex-pill.ex-on:not([data-stage="repeat"])')
        if self.live and lit.count():  # in the middle of an update
            if self.player.get_attribute("data-mode") == "paused":
                self.train()
            self.stop()
        changed = self.part("controls").locator(".ex-back:not([hidden])")
        if changed.count() or self.part("preset").input_value() != "learn":
            self.part("preset").select_option("hack_the_reward")  # a menu tells of a change only
            self.part("preset").select_option("learn")
            expect(self.part("learning_rate").locator(".ex-number")).to_have_value("1.0e-4")
            expect(changed).to_have_count(0)
        self.part("quantity").select_option("ratio")
        self.part("find").fill("")
        for menu, value in (("sort", "sampled"), ("only", "all")):
            self.part(menu).select_option(value)
        for button in ("group", "rescale"):
            if self.part(button).get_attribute("aria-pressed") == "true":
                self.press(button)
        self.part("epoch").select_option("-1")
        if not self.part("advantages").is_visible():
            self.tab("advantages")
        self.part("kl").locator(".explorer-view-token").click()
        self.part("curves").locator(".explorer-view-curves").click()
        if self.part("error").is_visible():
            self.press("dismiss")
            expect(self.part("error")).to_be_hidden()

    # ------------------------------------------------------------------ what can be waited for

    def wait_for_region(self, epsilon: float) -> None:
        """Wait, not for long, until the region of the clip picture is the one of this ε."""
        self.when(REGION, f"{1 + epsilon:.4f}", milliseconds=AT_ONCE)

    def wait_for_charts(self, update: int) -> None:
        """Wait until every small chart is drawn with its marker at this update."""
        self.when(f"(root, n) => ({CHARTS})(root).every(({{ update }}) => Math.abs(update - n) < 0.1)", update)

    def wait_until_ready(self) -> None:
        """Wait until Train can be pressed and every panel is drawn."""
        expect(self.part("train")).to_be_enabled()
        expect(self.part("curves").locator(".main-svg").first).to_be_visible()

    def wait_for_update(self, number: int) -> None:
        """Wait until the status line names this update of a live run or a later one."""
        self.when(REACHED, number)

    def when(self, condition: str, argument: object = None, *, milliseconds: float | None = None) -> None:
        """Wait until a JavaScript function of the root element and an argument gives something true."""
        script = f"([root, argument]) => ({condition})(root, argument)"
        self.page.wait_for_function(script, arg=[self.root.element_handle(), argument], timeout=milliseconds)


#: Ends of the region, and the numbers above it: "44 of 768 tokens outside 0.80 to 1.20, 17 without gradient".
CLIP = """(root) => {
  const region = root.querySelector('.explorer-objective .explorer-region');
  const sentence = root.querySelector('.explorer-objective .ex-hint').textContent;
  // Under a new scoring "44 → 61 of 768 outside 0.80–1.20, 17 → 30 without gradient": the numbers that are now.
  const now = sentence.replace(/\\d+ → /g, '');
  const [outside, tokens, , , zero] = now.match(/\\d+(\\.\\d+)?/g).map(Number);
  return { low: Number(region.dataset.low), high: Number(region.dataset.high), outside, tokens, zero };
}"""

#: Where each marker is drawn, read back through the axes; NaN where there is none.
CHARTS = """(root) => {
  const plot = root.querySelector('.explorer-curves .ex-plot');
  return [...root.querySelectorAll('.ex-plot-title b')].map((number, i) => {
    const nth = i ? i + 1 : '';
    const point = plot.querySelector(`.subplot.x${nth}y${nth} .point`)?.getAttribute('transform') ?? '';
    const [left, top] = point.match(/[-.\\d]+/g)?.map(Number) ?? [NaN, NaN];
    const { width, height, [`xaxis${nth}`]: x, [`yaxis${nth}`]: y } = plot.layout;
    const per = ({ domain, range }, size) => (range[1] - range[0]) / (domain[1] - domain[0]) / size;
    const [low, high] = y.range;
    const [update, value] = [x.range[0] + left * per(x, width), high - top * per(y, height)];
    return { number: number.textContent, update, value, low, high };
  });
}"""

PLACE_OF = """(root, [chart, update, value]) => {
  const plot = root.querySelector('.explorer-curves .ex-plot');
  const nth = chart ? chart + 1 : '';
  const { width, height, [`xaxis${nth}`]: x, [`yaxis${nth}`]: y } = plot.layout;
  const share = ([low, high], v) => (v - low) / (high - low);
  const at = ({ domain, range }, v) => domain[0] + share(range, v) * (domain[1] - domain[0]);
  const box = plot.getBoundingClientRect();
  return [box.left + at(x, update) * width, box.bottom - at(y, value) * height];
}"""

SLIDE = """(input, value) => {
  input.value = String(value);
  input.dispatchEvent(new Event('input', { bubbles: true }));
}"""

REGION = "(root, high) => root.querySelector('.explorer-region').dataset.high === high"

#: The newest update is on screen, or nothing was ever trained.
SETTLED = """(root) => {
  const newest = Number(root.querySelector('.ex-place').dataset.newest);
  const shown = root.querySelector('.explorer-tokens').dataset.update;
  const following = root.querySelector('.explorer-follow').getAttribute('aria-pressed') === 'true';
  return newest === 0 || !following || Number(shown) >= newest;
}"""

NEWEST = "(root, n) => Number(root.querySelector('.ex-place').dataset.newest) >= n"

REACHED = """(root, n) =>
  Number(root.querySelector('.explorer-status').textContent.match(/update (\\d+)/)?.[1]) >= n"""
