"""What a panel's ⤓ saves: downloaded in the browser and read again as somebody would who was sent the file."""

from __future__ import annotations

import csv
import html
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image
from playwright.sync_api import expect

from explorer.bundled import asset_path
from explorer.ppo.metrics import UNITS
from explorer.recording.storage import Recording
from tests.browser.explorer_page import ExplorerPage

pytestmark = pytest.mark.browser

SVG = "{http://www.w3.org/2000/svg}"
LAST = 40


@pytest.fixture(scope="module")
def truth():  # type: ignore[no-untyped-def]
    """The recording itself, read without the page."""
    return Recording.load(asset_path("recording"))


def save(explorer: ExplorerPage, panel: str, kind: str, folder: Path) -> Path:
    """Press ⤓ and a kind of file; where the file has come to lie."""
    explorer.root.locator(f".explorer-save-{panel}:visible").click()
    with explorer.page.expect_download() as coming:
        explorer.press(f"save-as-{kind}")
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    ending = r"-(answers|probabilities)\.csv" if kind == "more" else rf"\.{kind}"
    assert re.fullmatch(rf"ppo-explorer-[\w.-]+-update-\d+-{panel}{ending}", path.name)
    return path


PANELS = (
    "tokens",
    "objective",
    "advantages",
    "reward",
    "annotate",
    "kl",
    "curves",
    "ledger",
    "ladder",
    "inspector",
    "time",
    "samples",
    "toy",
    "runs",
)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_as_a_picture(recorded: ExplorerPage, panel: str, tmp_path: Path) -> None:
    if panel not in ("tokens", "objective", "kl", "curves"):
        recorded.tab(panel)
        if panel == "toy":
            recorded.part("toy").locator("svg path").first.wait_for()
    png, svg = (save(recorded, panel, kind, tmp_path) for kind in ("png", "svg"))
    box = recorded.part(panel).bounding_box()
    assert box is not None

    with Image.open(png) as picture:
        assert picture.format == "PNG"
        assert picture.width == pytest.approx(2 * box["width"], abs=3)
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None and len(colours) > 20
    assert max(count for count, _ in colours) < 0.995 * sum(count for count, _ in colours)  # not blank

    text = svg.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg" and root.get("width") and root.get("viewBox")
    assert root.findtext(f"{SVG}title")
    outside = re.findall(
        r"""(?:href|src)=["'](?!#|data:)[^"']+|url\(["']?(?!["']?(?:#|data:))[^)]+""", html.unescape(text)
    )
    assert outside == []  # nothing is fetched from anywhere
    assert "@import" not in text and "<script" not in text


def test_drawn_panels_hold_their_words_as_text(recorded: ExplorerPage, tmp_path: Path) -> None:
    root = ElementTree.parse(save(recorded, "objective", "svg", tmp_path)).getroot()
    assert root.find(f".//{SVG}foreignObject") is None
    words = " ".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    assert "Clip" in words and "tokens outside" in words and "ratio ρ" in words
    assert len(root.findall(f".//{SVG}path")) >= 6


def test_the_strip_is_saved_whole(recorded: ExplorerPage, tmp_path: Path) -> None:
    """All responses, not only those that are scrolled into sight."""
    root = ElementTree.parse(save(recorded, "tokens", "svg", tmp_path)).getroot()
    words = "".join(root.itertext())
    last = recorded.token(recorded.rows - 1, 0).text_content() or ""
    assert last.strip() in words
    shown = recorded.part("tokens").bounding_box()
    assert shown is not None and float(root.get("height", 0)) > 2 * shown["height"]


def test_a_row_a_token_with_every_quantity(recorded: ExplorerPage, truth: Recording, tmp_path: Path) -> None:
    path = save(recorded, "tokens", "csv", tmp_path)
    table = pandas.read_csv(path, keep_default_na=False, dtype={"text": str, "prompt": str})
    last = truth[len(truth) - 1]
    mask = last.rollout.response_mask
    assert len(table) == recorded.tokens.count() == int(mask.sum())
    assert set(table["update"]) == {LAST}
    assert list(table["text"]) == [text for response in last.tokens.responses for text in response]
    rows, places = np.nonzero(mask)
    assert (list(table["response"] - 1), list(table["token"] - 1)) == (rows.tolist(), places.tolist())
    for column, stored in (
        ("ratio", last.final.ratios),
        ("advantage", last.credit.whitened_advantages),
        ("reward", last.credit.rewards),
        ("value", last.rollout.old_values),
        ("exact_kl [nats]", last.rollout.exact_ref_kl),
        ("gradient_share [share]", last.final.gradient_shares),
    ):
        assert np.array_equal(table[column].to_numpy(np.float32), np.asarray(stored, np.float32)[mask]), column
    assert table["score"].to_numpy() == pytest.approx(last.credit.scores[rows], abs=1e-6)
    assert int((table["clip state"] == "no gradient").sum()) == recorded.clip.zero


def test_a_row_an_update_with_every_metric(recorded: ExplorerPage, truth: Recording, tmp_path: Path) -> None:
    table = pandas.read_csv(save(recorded, "curves", "csv", tmp_path))
    assert list(table["update"]) == list(range(1, LAST + 1))
    for metric in ("objective/score", "objective/ref_kl", "policy/clipfrac_final", "policy/entropy"):
        column = f"{metric} [{UNITS[metric]}]" if metric in UNITS else metric
        assert table[column].to_numpy() == pytest.approx(truth.metrics[metric], rel=1e-5), metric
    shown = recorded.charts[0].number
    assert f"{table['objective/score'].iloc[-1]:.2f}" == shown


def test_the_clip_picture_s_tokens(recorded: ExplorerPage, tmp_path: Path) -> None:
    table = pandas.read_csv(save(recorded, "objective", "csv", tmp_path))
    clip = recorded.clip
    assert len(table) == clip.tokens
    outside = (table["ratio"] < clip.low) | (table["ratio"] > clip.high)
    assert int(outside.sum()) == clip.outside
    held = (table["ratio"] > clip.high) & (table["advantage"] > 0) | (table["ratio"] < clip.low) & (
        table["advantage"] < 0
    )
    assert (held == (table["clip state"] == "no gradient")).all()


def test_the_pinned_response_and_the_ledger_of_its_token(recorded: ExplorerPage, tmp_path: Path) -> None:
    recorded.tab("advantages")
    pinned = recorded.pinned
    assert pinned is not None
    table = pandas.read_csv(save(recorded, "advantages", "csv", tmp_path))
    assert set(table["response"]) == {pinned[0] + 1}
    recorded.tab("ledger")
    lines = recorded.part("ledger").locator(".ex-ledger-value")
    expect(lines.first).to_be_visible()
    recorded.part("ledger").locator('[data-fold="beside"]').click()
    ledger = pandas.read_csv(save(recorded, "ledger", "csv", tmp_path))
    shown = [float(value or "nan") for value in lines.evaluate_all("(nodes) => nodes.map((n) => n.dataset.value)")]
    assert ledger["value"].dropna().to_list() == pytest.approx(shown)
    at = table[table["token"] == pinned[1] + 1].iloc[0]
    ratio = ledger[ledger["line"] == "ratio"].iloc[0]
    assert ratio["value"] == pytest.approx(at["ratio"], rel=1e-5)


def test_the_ladder_sums_to_the_advantage(recorded: ExplorerPage, tmp_path: Path) -> None:
    recorded.tab("ladder")
    expect(recorded.part("ladder").locator("[data-estimator] [data-value]").first).to_be_attached()
    table = pandas.read_csv(save(recorded, "ladder", "csv", tmp_path))
    strip = pandas.read_csv(save(recorded, "tokens", "csv", tmp_path))
    pinned = recorded.pinned
    assert pinned is not None
    at = strip[(strip["response"] == pinned[0] + 1) & (strip["token"] == pinned[1] + 1)].iloc[0]
    part = f"part of the advantage of token {pinned[1] + 1}"
    assert table[part].sum() == pytest.approx(at["raw_advantage"], abs=1e-5)
    own = strip[strip["response"] == pinned[0] + 1]
    assert list(table["token"]) == list(own["token"])
    assert table["advantage by gae"].to_numpy() == pytest.approx(own["raw_advantage"].to_numpy(), abs=1e-5)
    assert list(table["return"]) == list(own["return"])


def test_the_kl_of_each_token_response_and_update(recorded: ExplorerPage, truth: Recording, tmp_path: Path) -> None:
    """At each level the recording's own numbers, to the reference and to the old policy."""
    last = truth[len(truth) - 1]
    mask, rollout = last.rollout.response_mask, last.rollout
    to_reference = rollout.old_logprobs.astype(float) - rollout.ref_logprobs
    to_old = rollout.old_logprobs.astype(float) - last.final.new_logprobs
    tables = {}
    for level in ("token", "response", "update"):
        recorded.press(f"view-{level}")
        tables[level] = pandas.read_csv(save(recorded, "kl", "csv", tmp_path), keep_default_na=False)
    recorded.press("view-token")
    tokens, responses, updates = tables.values()
    exact = tokens["exact_kl to reference [nats]"].to_numpy(np.float32)
    assert np.array_equal(exact, rollout.exact_ref_kl.astype(np.float32)[mask])
    assert tokens["k1 to reference [nats]"].to_numpy() == pytest.approx(to_reference[mask], abs=1e-6)
    assert tokens["k2 to old policy [nats]"].to_numpy() == pytest.approx(to_old[mask] ** 2 / 2, abs=1e-6)
    assert list(responses["tokens"]) == mask.sum(1).tolist()
    sums = rollout.exact_ref_kl.astype(float).sum(1, where=mask)
    assert responses["exact_kl to reference [nats]"].to_numpy() == pytest.approx(sums, abs=1e-5)
    moved = to_old.sum(1, where=mask)
    assert responses["k1 to old policy [nats]"].to_numpy() == pytest.approx(moved, abs=1e-5)
    assert "exact_kl to old policy [nats]" not in responses  # it is not recorded
    assert list(updates["update"]) == list(range(1, LAST + 1))
    for metric, unit in (("objective/ref_kl", "nats a response"), ("policy/approx_kl_final", "nats a token")):
        assert updates[f"{metric} [{unit}]"].to_numpy() == pytest.approx(truth.metrics[metric], rel=1e-5), metric


def test_the_frontier_and_the_label_tab_s_table(recorded: ExplorerPage, truth: Recording, tmp_path: Path) -> None:
    recorded.press("view-frontier")
    dots = pandas.read_csv(save(recorded, "curves", "csv", tmp_path))
    recorded.press("view-curves")
    assert dots["score"].to_numpy() == pytest.approx(truth.metrics["objective/score"], rel=1e-5)
    assert (dots["√KL [√nats]"] ** 2).to_numpy() == pytest.approx(
        dots["KL to reference [nats a response]"].clip(lower=0)
    )
    recorded.tab("annotate")
    recorded.press("annotate-table")
    with save(recorded, "annotate", "csv", tmp_path).open(encoding="utf-8", newline="") as file:
        learnt = [[rule, *(float(n) for n in numbers if n)] for rule, *numbers in list(csv.reader(file))[1:]]
    kept = json.loads(asset_path("preferences/table.json").read_text(encoding="utf-8"))["rows"]
    assert learnt == kept
    recorded.press("annotate-pairs")
    recorded.tab("advantages")


def test_the_words_of_a_place_and_the_epochs(recorded: ExplorerPage, truth: Recording, tmp_path: Path) -> None:
    last, pinned = truth[len(truth) - 1], recorded.pinned
    assert pinned is not None
    recorded.tab("inspector")
    expect(recorded.part("inspector").locator('rect[data-policy="ref"]').first).to_be_attached()
    words = pandas.read_csv(save(recorded, "inspector", "csv", tmp_path), keep_default_na=False)
    for policy in ("old", "new", "ref"):
        assert words[f"probability {policy}"].sum() == pytest.approx(1, abs=1e-4)
    assert np.float32(words["exact_kl [nats]"].iloc[0]) == np.float32(last.rollout.exact_ref_kl[pinned])
    assert words["written"].astype(str).str.lower().tolist().count("true") == 1

    recorded.tab("time")
    expect(recorded.part("time").locator(f'.ex-step[data-update="{LAST}"]')).to_have_count(len(last.epochs))
    epochs = pandas.read_csv(save(recorded, "time", "csv", tmp_path))
    own = epochs[epochs["update"] == LAST]
    assert list(own["epoch"]) == list(range(1, len(last.epochs) + 1))
    assert own["KL to old policy [nats a token]"].iloc[-1] == pytest.approx(
        last.metrics["policy/approx_kl_final"], rel=1e-4
    )
    assert own["outside the clip range"].iloc[-1] == recorded.clip.outside
    bars = [name for name in own if name.startswith("ρ ")]
    assert (own[bars].sum(axis=1) == own["tokens"]).all() and set(own["tokens"]) == {recorded.clip.tokens}
    answers = pandas.read_csv(save(recorded, "time", "more", tmp_path), keep_default_na=False)
    assert list(answers["update"]) == sorted(answers["update"], reverse=True) and len(answers) >= 3
    for _, answer in answers.iterrows():
        told = truth[truth.updates.index(answer["update"])]
        row = ["".join(response) for response in told.tokens.responses].index(answer["text"])
        assert told.tokens.prompts[row] == answer["prompt"] == last.tokens.prompts[pinned[0]]
        assert told.credit.scores[row] == pytest.approx(answer["score"], abs=1e-6)

    recorded.tab("toy")
    recorded.part("toy").locator("svg path").first.wait_for()
    toy = pandas.read_csv(save(recorded, "toy", "more", tmp_path))
    assert list(toy["word"]) == ["is", "was"]
    for when in ("before", "now"):
        assert toy[f"probability {when}"].sum() == pytest.approx(1, abs=1e-9)
    assert toy["ratio"].to_numpy() == pytest.approx(toy["probability now"] / toy["probability before"])
    recorded.tab("advantages")


def test_before_there_are_samples_their_numbers_cannot_be_saved(recorded: ExplorerPage) -> None:
    recorded.tab("runs")
    recorded.root.locator(".explorer-save-runs:visible").click()
    disabled = recorded.part("save-as-csv").is_disabled()
    assert disabled == (recorded.part("runs").locator("button.ex-run-row").count() == 0)
    recorded.page.keyboard.press("Escape")
    recorded.tab("advantages")
