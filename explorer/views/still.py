"""A still of the page: what a notebook shows of it where no kernel runs. SVG, drawn from what the page itself draws.

It has no script and asks for nothing. As an image it also passes the cleaning that JupyterLab gives to a notebook that
it does not trust, which an SVG element does not.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from explorer.text import text
from explorer.views.scoring import INSIDE, MASKED, OUTSIDE_ZERO

#: The page's colours (``widgets/explorer.css``): an image cannot see its page's.
THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "card": "#ffffff",
        "ink": "#1c2430",
        "muted": "#5b6572",
        "line": "#d9dee5",
        "+": "#2166ac",
        "-": "#b5500f",
    },
    "dark": {
        "card": "#1b2027",
        "ink": "#e6e9ee",
        "muted": "#a3adba",
        "line": "#343c47",
        "+": "#6aaee8",
        "-": "#f0924a",
    },
}
WIDTH, HEIGHT = 900, 250
TOP, BOTTOM = 62, 214

#: The metrics that are drawn over the run, by the chart whose words and axis they have.
LINES = {"score": "objective/score", "ref_kl": "objective/ref_kl"}


def still_svg(batch: Mapping[str, Any], series: Mapping[str, Any], language: str, theme: str = "light") -> str:
    """The clip picture with the batch's tokens, the score and the KL over the run, and the update's number.

    Args:
        batch: what ``explorer.views.batch.batch_picture`` gives; empty before the first update.
        series: what ``explorer.views.curves.Series.picture`` gives.
        language: ``"en"`` or ``"zh"``.
        theme: ``"light"`` or ``"dark"``.
    """
    colours = THEMES[theme]
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{colours["card"]}" stroke="{colours["line"]}"/>']
    parts.append(_text(16, 26, text(language, "ui.title"), colours["ink"], size=16, weight=700))
    if batch:
        update = text(language, "ui.update", update=batch["update"])
        parts.append(_text(WIDTH - 16, 26, update, colours["ink"], size=14, weight=700, anchor="end"))
        for sign, left in (("+", 16), ("-", 246)):
            parts += _clip_panel(batch, sign, left, 214, language, colours)
    for key, left in zip(LINES, (496, 706), strict=True):
        parts += _run_chart(series, key, left, 178, language, colours)
    style = "font-family:system-ui,'Noto Sans','DejaVu Sans','Noto Sans CJK SC',sans-serif"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'{head} style="{style}">{"".join(parts)}</svg>'


def still_html(batch: Mapping[str, Any], series: Mapping[str, Any], language: str, model: str) -> str:
    """The still, above one line that says how to go live.

    The rules that come with it are dropped where a notebook is not trusted: it is then light in the dark theme too.

    Args:
        batch: as for ``still_svg``.
        series: as for ``still_svg``.
        language: ``"en"`` or ``"zh"``.
        model: the id of the page's Board: a live page hides its own still, by the class that ends in it. Where the
            page is not live, the still hides the line in its place that says so: JupyterLab's words for a widget
            without a kernel are "Loading widget..." or "model not found".
    """
    line = still_line(batch, language)
    light, dark = (_as_address(still_svg(batch, series, language, theme)) for theme in ("light", "dark"))
    own = f"explorer-still-{model}"
    rules = (
        f".{own} img {{ max-width: 100%; }}"
        f'body[data-jp-theme-light="false"] .{own} img {{ content: url("{dark}"); }}'
        f".jp-OutputArea-child:has(+ .jp-OutputArea-child .{own}):not(:has(.explorer)) {{ display: none; }}"
    )
    image = f'<img alt={quoteattr(line)} src="{light}">'
    return f'<style>{rules}</style><div class="explorer-still {own}">{image}<p>{escape(line)}</p></div>'


def still_line(batch: Mapping[str, Any], language: str) -> str:
    """What the picture is of, and how to go live."""
    shown = text(language, "ui.update", update=batch["update"]) if batch else text(language, "ui.still.nothing")
    return text(language, "ui.still.line", shown=shown)


def _as_address(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _clip_panel(
    batch: Mapping[str, Any], sign: str, left: float, width: float, language: str, colours: Mapping[str, str]
) -> Iterator[str]:
    """The objective against the ratio for advantages of one sign, the band shaded, and the tokens on the line."""
    positive = sign == "+"
    arrow, words = ("▲", "clip.positive.long") if positive else ("▼", "clip.negative.long")
    yield _text(left, 52, f"{arrow} {text(language, words)}", colours[sign], size=12, weight=600)
    if batch["curve"] is None:
        return
    ratios = np.frombuffer(batch["curve"]["ratios"], np.float32)
    terms = np.frombuffer(batch["curve"]["positive" if positive else "negative"], np.float32)
    low, high = batch["clip"]
    seen = (ratios >= low / 2) & (ratios <= max(2 * high, 1.2 * (batch["pull_limit"] or 0.0)))
    ratios, terms = ratios[seen], terms[seen]
    grain, middle = batch["ratio_grain"], 1.0 if positive else -1.0
    ends = _widened(np.log(ratios[[0, -1]]), grain)
    floor, ceiling = _widened(terms.min() - middle, grain), _widened(terms.max() - middle, grain)

    def x(ratio: Any) -> Any:
        return left + width * (np.clip(_widened(np.log(ratio), grain), *ends) - ends[0]) / (ends[1] - ends[0])

    def y(term: Any) -> Any:
        place = _widened(term - middle, grain)
        return BOTTOM - 12 - (BOTTOM - TOP - 24) * (place - floor) / max(ceiling - floor, 1e-9)

    band = f'x="{x(low):.1f}" width="{x(high) - x(low):.1f}" y="{TOP}" height="{BOTTOM - TOP}"'
    yield f'<rect {band} fill="{colours["+"]}" fill-opacity="0.13"/>'
    yield f'<path d="M{left} {BOTTOM}h{width}" stroke="{colours["line"]}"/>'
    yield f'<path d="{_path(x(ratios), y(terms))}" fill="none" stroke="{colours["ink"]}" stroke-width="1.5"/>'
    for edge, anchor in ((low, "end"), (high, "start")):
        digits = 4 if abs(edge - 1) < 0.01 else 2
        yield _text(x(edge), BOTTOM + 14, f"{edge:.{digits}f}", colours["ink"], size=11, anchor=anchor)
    yield _text(
        left,
        BOTTOM + 28,
        text(language, "ui.response_ratio_axis" if grain else "ui.ratio_axis"),
        colours["muted"],
        size=11,
    )
    rows, length = batch["rows"], batch["length"]
    own, advantages = (np.frombuffer(batch["arrays"].get(name, b""), np.float32) for name in ("ratio", "advantage"))
    if not len(own) or not len(advantages):
        return
    if batch["response_ratios"] is not None:  # GSPO's are whole responses'
        own = np.repeat(np.asarray(batch["response_ratios"], np.float32), length)
    states = np.frombuffer(batch["states"], np.uint8)
    here = (states != MASKED) & (advantages * (1 if positive else -1) > 0)
    own, states = own[: rows * length][here], states[here]
    at = np.interp(np.log(np.maximum(own, 1e-9)), np.log(ratios), terms)
    across, up = x(own), y(at)
    up = up + _stacked(np.round(across / 5).astype(int), own)
    tip = 3.4 if positive else -3.4
    for state in range(INSIDE, OUTSIDE_ZERO + 1):
        which = states == state
        marks = "".join(
            f"M{px:.1f} {py - tip:.1f}l3 {1.75 * tip:.1f}h-6z" for px, py in zip(across[which], up[which], strict=True)
        )
        fill = colours["card"] if state == OUTSIDE_ZERO else colours[sign]
        opacity = 0.4 if state == INSIDE else 0.9
        yield (
            f'<path d="{marks}" data-count="{int(which.sum())}" data-state="{state}" fill="{fill}" '
            f'stroke="{colours[sign]}" stroke-width="0.8" opacity="{opacity}"/>'
        )


def _widened(distance: Any, grain: float) -> Any:
    """A distance along an axis that is finer within ``grain`` of its middle; as it is where there is none."""
    return np.arcsinh(distance / grain) if grain else distance


def _stacked(columns: Any, ratios: Any) -> Any:
    """How far each mark is moved, so that those of one column lie about their place and their number can be seen."""
    offsets = np.zeros(len(columns))
    lift = min(4.0, 28.0 / max(np.bincount(columns).max(initial=1), 1))
    for column in np.unique(columns):
        members = np.flatnonzero(columns == column)
        nth = np.arange(len(members))
        offsets[members[np.argsort(ratios[members])]] = np.where(nth % 2, 1, -1) * ((nth + 1) // 2) * lift
    return offsets


def _run_chart(
    series: Mapping[str, Any], key: str, left: float, width: float, language: str, colours: Mapping[str, str]
) -> Iterator[str]:
    """One metric over the run, on the axis that the page has for it."""
    line = series.get("lines", {}).get(LINES[key], {"updates": b"", "values": b""})
    updates, values = np.frombuffer(line["updates"], np.int32), np.frombuffer(line["values"], np.float32)
    there = np.isfinite(values)
    updates, values = updates[there], values[there]
    title = text(language, f"ui.charts.{key}")
    yield _text(left, 52, title, colours["muted"], size=12)
    left, width = left + 18, width - 18  # the numbers of the axis stand left of it
    yield f'<path d="M{left} {TOP}V{BOTTOM}h{width}" fill="none" stroke="{colours["line"]}"/>'
    if not len(values):
        return
    yield _text(
        left + width, 52, f"{values[-1]:.2f}".replace("-", "−"), colours["ink"], size=12, weight=700, anchor="end"
    )
    (low, high), (first, last) = series["ranges"][key], series["span"]
    x = left + width * (updates - first) / max(last - first, 1)
    y = BOTTOM - (BOTTOM - TOP) * (values - low) / (high - low)
    yield f'<path d="{_path(x, y)}" fill="none" stroke="{colours["+"]}" stroke-width="1.7" data-metric="{LINES[key]}"/>'
    yield f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="3" fill="{colours["ink"]}"/>'
    for number, at in ((high, TOP + 8), (low, BOTTOM + 2)):
        yield _text(left - 4, at, f"{number:g}".replace("-", "−"), colours["muted"], size=10.5, anchor="end")
    yield _text(left + width, BOTTOM + 14, str(last), colours["muted"], size=10.5, anchor="end")


def _path(x: Any, y: Any) -> str:
    return "M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in zip(x, y, strict=True))


def _text(x: float, y: float, words: str, fill: str, *, size: float, weight: int = 400, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}" font-size="{size}" font-weight="{weight}">{escape(words)}</text>'
