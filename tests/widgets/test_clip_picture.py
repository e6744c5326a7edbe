"""The clip picture worked out in node: labels where autograd says, places, motion, handles, played epochs."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.config import CHOICES, RATIO_GRAINS, Config
from explorer.ppo.objectives import OBJECTIVES, curve
from explorer.widgets.scripts import script

NOTES = {f"clip.{key}.short": key for key in ("no_gradient", "pulls_back", "not_protected", "weight_held", "fades")}

#: What the batches are made of, and a clock of the test's own: ``until(t)`` lets it run to a time, in milliseconds.
PAGE = """
  import * as page from "./objective.mjs";
  const view = (values, Type = Float32Array) => new DataView(Type.from(values).buffer);
  const batchOf = ({ curve, ...rest }) => ({ ...rest, curve: Object.fromEntries(
    Object.entries(curve).map(([name, values]) => [name, view(values)])) });
  let now = 0;
  let due = [];
  const until = (time) => {
    for (;;) {
      due.sort((a, b) => a.at - b.at);
      if (!due.length || due[0].at > time) break;
      const next = due.shift();
      now = next.at;
      next.go(now);
    }
    now = time;
  };
  const later = (go, after) => {
    due.push({ at: now + after, go, ticket: due.length + 1 + now });
    return due.at(-1).ticket;
  };
  const never = (ticket) => (due = due.filter((one) => one.ticket !== ticket));
  globalThis.performance = { now: () => now };
  globalThis.requestAnimationFrame = (go) => later(go, 16);
  globalThis.setTimeout = later;
  globalThis.cancelAnimationFrame = globalThis.clearTimeout = never;
  let quiet = false;
  globalThis.matchMedia = () => ({ get matches() { return quiet; } });
"""
EXPORTED = (
    "notesOf, planeOf, planeScales, curveOf, placeNote, overlap, handleSpots, placesOnCurve, placesByProbability, "
    "squareScales, wedgeOf, placesBetween, emptyPlaces, nearestToken, cloudMotion, epochPlayer, valueAtEdge, "
    "valueAfter, valueOfKey, wayOf, ticksOf, edgeTicks, tickBox, tickText, edgeText, undrawnTokens, placeGhostName, "
    "handleBox"
)


def work_out(folder: Path, program: str, **given: Any) -> Any:
    """What a program, which has ``given``, puts in ``answer``."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH: the clip picture was NOT worked out")
    (folder / "objective.mjs").write_text(script("objective") + f"\nexport {{ {EXPORTED} }};", encoding="utf-8")
    givens = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    source = f"{PAGE}{givens}let answer;\n{program}\nconsole.log(JSON.stringify(answer));"
    (folder / "ask.mjs").write_text(source, encoding="utf-8")
    done = subprocess.run([node, "ask.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def batch_of(config: Config) -> dict[str, Any]:
    """What the picture of a config's objective is drawn from."""
    drawn = curve(config)
    high = "clip_range_high" if config.objective in ("clip_higher", "gspo", "cispo") else "clip_range"
    limit = {"dual_clip": "dual_clip", "two_sided": "delta"}.get(config.objective)
    return {
        "objective": config.objective,
        "clip": list(config.clip_band),
        "clip_fields": ["clip_range", high, limit],
        "ratio_grain": RATIO_GRAINS.get(config.objective, 0.0),
        "pull_limit": getattr(config, limit) if limit else None,
        "curve": {name: getattr(drawn, name).tolist() for name in ("ratios", "positive", "negative")},
    }


def pulls(config: Config, ratios: torch.Tensor, sign: int) -> torch.Tensor:
    """What each ratio's token is pulled by, d term / d log pi, as autograd has it."""
    log_ratios = ratios.log()[:, None].requires_grad_(True)
    everywhere = torch.ones_like(log_ratios, dtype=torch.bool)
    terms = OBJECTIVES[config.objective](log_ratios, torch.full_like(log_ratios, sign), config, everywhere)
    (found,) = torch.autograd.grad(terms.sum(), log_ratios)
    return found[:, 0]


RANGES = ({}, {"clip_range": 0.02, "clip_range_high": 0.05}, {"clip_range": 0.6, "clip_range_high": 1.0})


@pytest.mark.parametrize("changes", RANGES, ids=["usual", "narrow", "wide"])
@pytest.mark.parametrize("name", CHOICES["objective"])
def test_what_is_said_of_a_stretch_of_ratios_is_so_by_autograd(
    tmp_path: Path, name: str, changes: dict[str, float]
) -> None:
    config = Config(objective=name, **changes)  # type: ignore[arg-type]
    program = "answer = [1, -1].map((sign) => page.notesOf(batchOf(batch), sign));"
    step = 1.02  # ratio from one point of the curve to the next, and a little more
    for sign, notes in zip((1, -1), work_out(tmp_path, program, batch=batch_of(config)), strict=True):
        said = {"no_gradient": torch.zeros(400, dtype=torch.bool)}
        ratios = torch.logspace(-0.55, 0.9 if name in ("dual_clip", "two_sided") else 0.6, 400, dtype=torch.float64)
        found = pulls(config, ratios, sign)
        for note in notes:
            kind = NOTES[note["words"]]
            there = (ratios > note["from"] * step) & (ratios < note["to"] / step)
            if kind == "no_gradient":
                said[kind] |= (ratios > note["from"] / step) & (ratios < note["to"] * step)
                assert there.any() and (found[there] == 0).all()
            elif there.any():
                size, inner = found[there].abs(), found[there]
                assert (inner != 0).all()
                if kind == "pulls_back":  # towards 1
                    assert (inner * ratios[there].log() < 0).all()
                elif kind == "not_protected":
                    assert size.diff().min() > 0
                elif kind == "weight_held":
                    assert size.max() == pytest.approx(float(size.min()))
                elif kind == "fades":  # less and less of the pull rho A is let through
                    assert (size / ratios[there]).diff().max() < 0
        assert not ((found == 0) & ~said["no_gradient"]).any()  # no flat part goes without its label
        # Whose pull grows without end with the ratio is said not to be protected.
        far = pulls(config, torch.tensor([50.0, 100.0], dtype=torch.float64), sign).abs()
        unbounded = bool(far[1] > 1.5 * far[0] > 0)
        assert any(NOTES[note["words"]] == "not_protected" for note in notes) == unbounded


@pytest.mark.parametrize("size", [(370, 150), (409, 170), (640, 300), (1000, 420)], ids=str)
@pytest.mark.parametrize("changes", RANGES, ids=["usual", "narrow", "wide"])
def test_labels_keep_clear_of_tokens_edges_and_each_other(
    tmp_path: Path, size: tuple[int, int], changes: dict[str, float]
) -> None:
    words = {key: kind.replace("_", " ") for key, kind in NOTES.items()}
    batches = [batch_of(Config(objective=name, **changes)) for name in CHOICES["objective"]]  # type: ignore[arg-type]
    program = """
      answer = [];
      for (const one of batches) {
        const batch = batchOf(one);
        const scales = page.planeScales(batch, ...size);
        for (const sign of [1, -1]) {
          const own = scales[sign];
          const points = page.curveOf(batch, own, sign).map(([ratio, term]) => [own.x(ratio), own.y(term)]);
          const taken = [];
          for (const note of page.notesOf(batch, sign)) {
            const place = page.placeNote({ ...note, text: words[note.words] }, own, points, taken);
            const [start, end] = [own.x(note.from), own.x(note.to)];
            const over = (box) => points.filter(([px]) => px > box.left && px < box.right).map(([, py]) => py);
            answer.push({ name: one.objective, sign, start, end, ...note, place, panel: own,
              over: place && over(place.box), others: taken.map((box) => page.overlap(box, place?.box ?? box)) });
            if (place) taken.push(place.box);
          }
        }
      }
    """
    found = work_out(tmp_path, program, batches=batches, size=size, words=words)
    assert {one["name"] for one in found} == set(CHOICES["objective"]) - {"policy_gradient"}
    for one in found:
        told = (one["name"], one["sign"], one["words"])
        if one["end"] - one["start"] < 6:
            assert one["place"] is None, told  # off the picture
            continue
        box, panel = one["place"]["box"], one["panel"]
        assert panel["left"] < box["left"] and box["right"] < panel["left"] + panel["width"], told
        assert panel["top"] <= box["top"] and box["bottom"] <= panel["bottom"], told
        assert not any(one["others"]), told
        gaps = [max(box["top"] - py, py - box["bottom"]) for py in one["over"]]
        assert min(gaps, default=99) > 8, told  # never on the curve
        if "leader" not in one["place"]:  # then it is over its own stretch, and not across an edge of the band
            assert one["start"] - 1 <= box["left"] and box["right"] <= one["end"] + 1, told


BELOW = """
  answer = [];
  for (const one of batches) {
    const scales = page.planeScales(batchOf(one), ...size);
    for (const sign of [1, -1]) {
      const own = scales[sign];
      const edges = [...one.clip, sign < 0 ? one.pull_limit : null].filter(
        (edge) => edge > own.ends[0] && edge < own.ends[1]);
      const labels = page.edgeTicks(own, edges, one.clip);
      const ticks = page.ticksOf(own, labels);
      const boxes = [...labels.map(([edge, anchor]) => page.tickBox(own.x(edge), page.edgeText(edge), anchor)),
        ...ticks.map((tick) => page.tickBox(own.x(tick), page.tickText(tick)))];
      answer.push({ told: [one.objective, sign, one.clip], boxes, ticks: ticks.length });
    }
  }
"""

#: Epsilons of the slider's whole range; the upper one of objectives that have their own is a little larger.
EPSILONS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.28, 0.35, 0.42, 0.5, 0.6, 0.8, 1.0)


@pytest.mark.parametrize("size", [(370, 150), (409, 170), (640, 300), (1000, 420)], ids=str)
def test_numbers_below_the_axis_never_touch(tmp_path: Path, size: tuple[int, int]) -> None:
    epsilons = [(e, min(10.0, 1.3 * e)) for e in (3e-4, 1e-3, *EPSILONS)]
    batches = [
        batch_of(Config(objective=name, clip_range=low, clip_range_high=high))  # type: ignore[arg-type]
        for name in CHOICES["objective"]
        for low, high in epsilons
    ]
    found = work_out(tmp_path, BELOW, batches=batches, size=size)
    assert max(one["ticks"] for one in found) >= 3
    for one in found:
        boxes = sorted(one["boxes"], key=lambda box: box["left"])
        gaps = [after["left"] - before["right"] for before, after in itertools.pairwise(boxes)]
        assert min(gaps, default=9) >= 2, one["told"]


GHOSTLY = """
  answer = [];
  for (const one of batches) {
    const batch = batchOf(one);
    const own = page.planeScales(batch, ...size)[1];
    const points = page.curveOf(batch, own, 1).map(([ratio, term]) => [own.x(ratio), own.y(term)]);
    const spots = page.handleSpots(batch, own, 1);
    const taken = spots.map(({ part, edge }) => page.handleBox(part, own.x(edge), own.bottom));
    for (const note of page.notesOf(batch, 1)) {
      const place = page.placeNote({ ...note, text: words[note.words] }, own, points, taken);
      if (place) taken.push(place.box);
    }
    const name = page.placeGhostName("┄ as trained", own, points, taken);
    const over = taken.map((box) => page.overlap(box, name));
    answer.push({ told: [one.objective, one.clip], name, panel: own, over });
  }
"""


@pytest.mark.parametrize("size", [(370, 150), (409, 170), (640, 300), (1000, 420)], ids=str)
def test_the_name_of_the_ghost_lies_over_no_label_and_no_handle(tmp_path: Path, size: tuple[int, int]) -> None:
    words = {key: kind.replace("_", " ") for key, kind in NOTES.items()}
    batches = [
        batch_of(Config(objective=name, clip_range=epsilon, clip_range_high=min(10.0, 1.3 * epsilon)))  # type: ignore[arg-type]
        for name in CHOICES["objective"]
        for epsilon in EPSILONS
    ]
    found = work_out(tmp_path, GHOSTLY, batches=batches, size=size, words=words)
    assert len(found) == len(batches) and any(one["over"] for one in found)
    for one in found:
        assert not any(one["over"]), one["told"]
        name, panel = one["name"], one["panel"]
        assert panel["left"] <= name["left"] and name["right"] <= panel["left"] + panel["width"], one["told"]
        assert panel["top"] <= name["top"] and name["bottom"] <= panel["bottom"], one["told"]


# --- a clip as narrow as GSPO's ---

PUBLISHED = Config(objective="gspo", clip_range=3e-4, clip_range_high=4e-4)


@pytest.mark.parametrize("size", [(370, 150), (640, 300)], ids=str)
def test_a_band_of_a_few_ten_thousandths_can_be_seen_and_taken_hold_of(tmp_path: Path, size: tuple[int, int]) -> None:
    program = """
      answer = [1, -1].map((sign) => {
        const own = page.planeScales(batchOf(batch), ...size)[sign];
        const ratios = [0.4, 0.9, 0.9997, 1, 1.0001, 1.0004, 1.01, 1.2, 2.5];
        const edges = batch.clip;
        const points = page.curveOf(batchOf(batch), own, sign).map(([ratio, term]) => [own.x(ratio), own.y(term)]);
        return { x: ratios.map(own.x), back: ratios.map((ratio) => own.ratioAt(own.x(ratio)) / ratio), own,
          band: edges.map(own.x), heights: [sign, sign * edges[0], sign * edges[1]].map(own.y), points,
          ticks: page.ticksOf(own, page.edgeTicks(own, edges, edges)) };
      });
    """
    for sign, found in zip((1, -1), work_out(tmp_path, program, batch=batch_of(PUBLISHED), size=size), strict=True):
        low, high = found["band"]
        width = found["own"]["width"]
        assert 24 < high - low < width / 3  # wide enough for two handles, and most of the axis is left for the tokens
        assert found["x"] == sorted(found["x"])
        assert found["back"] == pytest.approx([1.0] * 9, abs=1e-9)
        assert found["x"][3] - low == pytest.approx(high - found["x"][3], rel=0.3)  # 1 is about the middle of the band
        # Height is as finely drawn as the ratio: from 1 to each edge of the band it is a good part of the panel.
        middle, *edges = found["heights"]
        panel = found["own"]["bottom"] - found["own"]["top"]
        assert all(abs(edge - middle) > panel / 12 for edge in edges)
        # The curve rises to its edge and is level beyond: within the band it is no single stroke.
        inside = [py for px, py in found["points"] if low < px < high]
        assert len(inside) >= 15
        level = [py for px, py in found["points"] if (px > high + 1 if sign > 0 else px < low - 1)]
        assert max(level) - min(level) < 0.01 and len(level) > 20
        assert len(found["ticks"]) >= 2


def test_tokens_of_a_narrow_clip_lie_on_its_curve(tmp_path: Path) -> None:
    program = """
      const ratios = [0.95, 0.9999, 1.0002, 1.0004, 1.05, 1.0002];
      const count = ratios.length;
      const arrays = { ratio: view(Array(count).fill(7)), advantage: view([1, 1, 1, 1, 1, -1]) };
      const batch = { ...batchOf(given), rows: count, length: 1, tokens: ratios.map(() => ["a"]), arrays,
        states: view(Array(count).fill(1), Uint8Array), response_ratios: ratios };
      const scales = page.planeScales(batch, 640, 300);
      const { x, y, beyond } = page.placesOnCurve(batch, scales);
      const terms = [0.95, 0.9999, 1.0002, 1.0004, 1.0004, -1.0002];
      answer = { x: [...x], y: [...y], beyond, across: ratios.map((s, i) => scales[i < 5 ? 1 : -1].x(s)),
        up: terms.map((term, i) => scales[i < 5 ? 1 : -1].y(term)) };
    """
    found = work_out(tmp_path, program, given=batch_of(PUBLISHED))
    assert found["x"] == pytest.approx(found["across"], abs=1e-3)  # the response's ratio, not the token's own
    assert found["y"] == pytest.approx(found["up"], abs=1.0)
    assert found["beyond"] == {"1": [0, 0], "-1": [0, 0]}


def test_an_edge_on_a_fine_axis_has_two_digits(tmp_path: Path) -> None:
    program = """
      answer = [["high", 1.000412], ["low", 0.99968], ["high", 1.0123], ["high", 1.00002], ["high", 3]].map(
        ([part, ratio]) => page.valueAtEdge(part, ratio, field, 1e-4));
    """
    assert work_out(tmp_path, program, field=FIELD) == [4.1e-4, 3.2e-4, 0.012, 1e-4, 0.6]


# --- places ---

#: Two responses of two tokens, of which the last is padding; states 1, 3, 2, 0.
TOKENS = """
  const arrays = (values) => Object.fromEntries(Object.entries(values).map(([name, list]) => [name, view(list)]));
  const batch = { rows: 2, length: 2, tokens: [["a", "b"], ["c"]], states: view([1, 3, 2, 0], Uint8Array),
    arrays: arrays({ ratio: [1, 1.5, 0.5, 0], advantage: [2, 1, -1, 0], old_probability: [0.4, 0.5, 0.8, 0],
      new_probability: [0.4, 0.75, 0.4, 0] }) };
"""


def test_a_token_lies_where_its_two_probabilities_say(tmp_path: Path) -> None:
    program = f"""{TOKENS}
      // 200 pixels wide and 100 high, from (36, 120) on and, for A < 0, from (291, 120) on
      const scales = page.squareScales(2 * 241 + 14, 150);
      const {{ x, y, state, sign }} = page.placesByProbability(batch, scales);
      const corner = [scales[1].x(0), scales[1].x(1), scales[1].y(0), scales[1].y(1), scales[-1].x(0)];
      answer = {{ corner, x: [...x], y: [...y], state: [...state], sign: [...sign],
        near: page.nearestToken({{ x, y, state }}, batch, 137, 44),
        none: page.nearestToken({{ x, y, state }}, batch, 0, 0) }};
    """
    found = work_out(tmp_path, program)
    assert found["corner"] == [36, 236, 120, 20, 291]
    # 36 + 200 p to the right, 120 - 100 p up; the third has A < 0.
    assert found["x"][:3] == pytest.approx([116, 136, 451])
    assert found["y"][:3] == pytest.approx([80, 45, 80])
    assert (found["state"], found["sign"]) == ([1, 3, 2, 0], [1, 1, -1, 0])
    assert (found["near"], found["none"]) == ([0, 1], None)


def test_tokens_without_advantage_have_no_place_and_are_counted(tmp_path: Path) -> None:
    program = f"""{TOKENS}
      const even = {{ ...batch, arrays: arrays({{ ratio: [1, 1.5, 0.5, 0], advantage: [0, 1, 0, 0],
        old_probability: [0.4, 0.5, 0.8, 0], new_probability: [0.4, 0.75, 0.4, 0] }}) }};
      const {{ state }} = page.placesByProbability(even, page.squareScales(400, 150));
      answer = [page.undrawnTokens(even), [...state], page.undrawnTokens(batch),
        page.undrawnTokens({{ ...batch, arrays: {{}} }})];
    """
    # The last of the four is padding, and so missed by nobody; before the advantages are known nothing is.
    assert work_out(tmp_path, program) == [2, [0, 3, 0, 0], 0, 0]


def test_the_wedge_of_a_fifth_is_cut_off_at_five_sixths(tmp_path: Path) -> None:
    found = work_out(tmp_path, "answer = [page.wedgeOf([0.8, 1.2]), page.wedgeOf([-0.5, 3])];")
    assert found[0]["edge"] == pytest.approx(5 / 6)
    assert found[0]["wedge"] == [[0, 0], [pytest.approx(5 / 6), 1], [1, 1], [1, 0.8]]
    assert found[0]["never"] == [
        [pytest.approx(5 / 6), pytest.approx(2 / 3)],
        [pytest.approx(5 / 6), 1],
        [1, 1],
        [1, 0.8],
    ]
    assert found[1]["wedge"][-1] == [1, 0]  # no probability is below 0


def test_tokens_of_one_ratio_are_piled_up_about_the_curve(tmp_path: Path) -> None:
    program = """
      const count = 9;
      const arrays = { ratio: view(Array(count).fill(1.0)), advantage: view([...Array(8).fill(1), -1]) };
      const batch = { ...batchOf(given), rows: 1, length: count, tokens: [Array(count).fill("a")],
        states: view(Array(count).fill(1), Uint8Array), arrays };
      const scales = page.planeScales(batch, 418, 150);
      const { x, y, beyond } = page.placesOnCurve(batch, scales);
      answer = { x: [...x], y: [...y], beyond,
        one: [scales[1].x(1), scales[1].y(1), scales[-1].x(1), scales[-1].y(-1)] };
    """
    found = work_out(tmp_path, program, given=batch_of(Config()))
    right, up, other, down = found["one"]
    assert found["x"] == pytest.approx([right] * 8 + [other], abs=1e-4)
    offsets = sorted(round(y - up, 1) for y in found["y"][:8])
    assert offsets == pytest.approx([-10.5, -7, -3.5, 0, 3.5, 7, 10.5, 14], abs=0.15)  # 28 pixels over eight
    assert found["y"][8] == pytest.approx(down, abs=0.15)
    assert found["beyond"] == {"1": [0, 0], "-1": [0, 0]}


# --- motion ---

CLOUD = """
  const at = (...xs) => ({ ...page.emptyPlaces(xs.length), x: Float32Array.from(xs), y: Float32Array.from(xs),
    state: Uint8Array.from(xs, () => 1), sign: Int8Array.from(xs, () => 1) });
  const painted = [];
  const cloud = page.cloudMotion((moving) => painted.push([now, cloud?.shown.x[0], moving]));
"""


def test_a_cloud_moves_from_epoch_to_epoch_and_arrives(tmp_path: Path) -> None:
    program = (
        CLOUD.replace("const cloud", "var cloud")
        + """
      cloud.go(at(0, 50), "jump");
      cloud.go(at(100, 50), "move");
      until(2000);
      answer = painted;
    """
    )
    painted = work_out(tmp_path, program)
    assert painted[0] == [0, None, False] or painted[0] == [0, 0, False]
    xs = [x for _, x, _ in painted[1:]]
    assert xs == sorted(xs) and xs[0] == 0 and xs[-1] == 100
    assert len(xs) > 20
    assert [moving for *_, moving in painted[1:]] == [True] * (len(xs) - 1) + [False]
    assert painted[-1][0] < 700
    halfway = min(painted[1:], key=lambda one: abs(one[0] - 325))
    assert halfway[1] == pytest.approx(50, abs=3)


def test_a_new_scoring_on_the_way_moves_its_end_only(tmp_path: Path) -> None:
    program = (
        CLOUD.replace("const cloud", "var cloud")
        + """
      cloud.go(at(0), "jump");
      cloud.go(at(100), "move");
      until(330);
      cloud.go(at(200), "keep");
      until(2000);
      cloud.go(at(10), "keep"); // at rest: at once
      answer = painted;
    """
    )
    painted = work_out(tmp_path, program)
    assert painted[-2][0] < 700 and painted[-2][1] == 200
    assert painted[-1][1:] == [10, False]


def test_whoever_wants_no_motion_sees_steps(tmp_path: Path) -> None:
    program = (
        "quiet = true;"
        + CLOUD.replace("const cloud", "var cloud")
        + """
      cloud.go(at(0), "jump");
      cloud.go(at(100), "move");
      answer = [painted.length, cloud.shown.x[0], due.length];
    """
    )
    assert work_out(tmp_path, program) == [2, 100, 0]


def test_half_way_a_token_takes_its_new_state(tmp_path: Path) -> None:
    program = (
        CLOUD.replace("const cloud", "var cloud")
        + """
      const [from, to] = [at(0, 7), { ...at(8, 9), state: Uint8Array.from([3, 3]) }];
      from.state[1] = 0; // had no place before
      answer = [0.25, 0.75].map((share) => {
        const { x, state } = page.placesBetween(from, to, share, page.emptyPlaces(2));
        return [...x, ...state];
      });
    """
    )
    # 8 * (3/16 - 1/32) = 1.25 and 8 - 1.25: slow at both ends.
    assert work_out(tmp_path, program) == [[1.25, 9, 1, 3], [6.75, 9, 3, 3]]


def test_only_another_epoch_of_the_same_update_is_moved_to(tmp_path: Path) -> None:
    program = """
      const batch = (update, epoch) => ({ update, epoch, tokens: [] });
      const words = {};
      const way = (was, now, view = "objective", width = 400) =>
        page.wayOf([was, "objective", 400, 200, words], [now, view, width, 200, words]);
      const one = batch(3, 1);
      answer = [way(one, batch(3, 2)), way(one, batch(3, 1)), way(one, batch(4, 2)), way({}, one),
        way(one, batch(3, 2), "probabilities"), way(one, batch(3, 2), "objective", 401)];
    """
    assert work_out(tmp_path, program) == ["move", "keep", "jump", "jump", "jump", "jump"]


# --- the epochs, played ---

PLAYER = """
  const asked = [];
  const changes = [];
  const player = page.epochPlayer((epoch) => asked.push([now, epoch]), () => changes.push(player.playing));
  const batch = (epoch, update = 7) => ({ update, epoch, epochs: 3, finished: true, tokens: [] });
"""


def test_the_epochs_are_played_from_before_the_first_step_to_after_the_last(tmp_path: Path) -> None:
    program = (
        PLAYER
        + """
      player.start(batch(4)); // which is after the last step
      player.heard(batch(4)); // drawn once more before the answer comes
      for (const epoch of [1, 2, 3, 4]) {
        now += 100;
        player.heard(batch(epoch));
        player.heard(batch(epoch)); // a new scoring of the same epoch
        until(now + 1250);
      }
      answer = { asked, changes, waiting: due.length };
    """
    )
    found = work_out(tmp_path, program)
    assert [epoch for _, epoch in found["asked"]] == [0, 1, 2, -1]  # as the page counts them
    times = [time for time, _ in found["asked"]]
    assert all(later - earlier >= 1250 for earlier, later in itertools.pairwise(times))
    assert (found["changes"], found["waiting"]) == ([True, False], 0)


@pytest.mark.parametrize(
    "interruption", ["player.stop()", "player.heard(batch(4))", "player.heard(batch(2, 8))", "player.heard({})"]
)
def test_playing_ends_where_something_else_is_chosen(tmp_path: Path, interruption: str) -> None:
    program = (
        PLAYER
        + f"""
      player.start(batch(1)); // from where it stands
      player.heard(batch(2));
      until(300);
      {interruption};
      until(9000);
      answer = {{ asked, changes }};
    """
    )
    assert work_out(tmp_path, program) == {"asked": [[0, 1]], "changes": [True, False]}


def test_an_unfinished_update_is_not_played(tmp_path: Path) -> None:
    program = PLAYER + "player.start({ ...batch(1), finished: false }); player.start({}); answer = [asked, changes];"
    assert work_out(tmp_path, program) == [[], []]


# --- handles ---

FIELD = {"low_shown": 0.01, "high_shown": 0.6, "step": 0.01}


def test_an_edge_on_the_axis_is_a_value_in_whole_steps(tmp_path: Path) -> None:
    program = """
      answer = [["low", 0.8], ["low", 0.7349], ["high", 1.236], ["high", 0.5], ["high", 2.4], ["low", 1.3]].map(
        ([part, ratio]) => page.valueAtEdge(part, ratio, field));
      answer.push(page.valueAtEdge("limit", 3.04, { low_shown: 1.1, high_shown: 6, step: 0.1 }));
    """
    assert work_out(tmp_path, program, field=FIELD) == [0.2, 0.27, 0.24, 0.01, 0.6, 0.01, 3.0]


def test_keys_move_an_edge_to_the_side_that_they_point_to(tmp_path: Path) -> None:
    keys = ["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "a", "Escape"]
    program = """
      answer = ["low", "high"].map((part) => keys.map((key) => page.valueOfKey(key, part, 0.2, field) ?? null));
    """
    low, high = work_out(tmp_path, program, keys=keys, field=FIELD)
    assert high == [0.21, 0.19, 0.21, 0.19, 0.25, 0.15, 0.01, 0.6, None, None]
    assert low == [0.19, 0.21, 0.19, 0.21, 0.15, 0.25, 0.6, 0.01, None, None]  # its left end is the largest ε


def test_a_tiny_value_is_stepped_in_its_own_decade(tmp_path: Path) -> None:
    program = """
      answer = moves.map(([value, steps]) => page.valueAfter(value, steps, field));
    """
    tiny = {(3e-4, 1): 4e-4, (3e-4, -1): 2e-4, (9e-4, 1): 1e-3, (1e-3, -1): 9e-4, (9e-3, 1): 0.01, (9e-3, 5): 0.01}
    usual = {(0.01, -1): 0.01, (0.01, 1): 0.02, (0.6, 1): 0.6, (0.015, -1): 0.01}
    expected = tiny | usual
    assert work_out(tmp_path, program, field=FIELD, moves=list(expected)) == list(expected.values())
