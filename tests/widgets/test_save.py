"""A table as a CSV file, and what the browser remembers of the layout: run in node, read with Python's own csv."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explorer.widgets.scripts import script
from tests.node import node

PROGRAM = """
  import { readFileSync } from "node:fs";
  const [store, { kept, table, floats, fold }] = [new Map(), JSON.parse(readFileSync("asked.json", "utf-8"))];
  if (kept !== null) store.set("ppo-explorer-layout", kept);
  globalThis.localStorage = { getItem: (key) => store.get(key) ?? null, setItem: (key, text) => store.set(key, text) };
  globalThis.location = { search: "" };
  const { csvOf, layoutOf } = await import("./player.mjs");
  const heard = [];
  const layout = layoutOf({ trigger: (name) => heard.push(name) });
  const begun = ["objective", "lower", "kl", "curves", "tokens"].filter(layout.isFolded);
  for (const [name, yes] of fold ?? []) layout.fold(name, yes);
  console.log(JSON.stringify({
    csv: table && csvOf(table),
    floats: floats && csvOf({ columns: ["x"], rows: floats.map((x) => [Math.fround(x)]) }),
    big: layout.big, begun, folded: ["objective", "lower", "kl", "curves", "tokens"].filter(layout.isFolded),
    heard: heard.length, kept: store.get("ppo-explorer-layout") ?? null,
  }));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("save")
    exports = "\nexport { csvOf, layoutOf };\n"
    (place / "player.mjs").write_text(script("player") + exports, encoding="utf-8")
    (place / "program.mjs").write_text(PROGRAM, encoding="utf-8")
    return place


def ask(folder: Path, **asked: Any) -> dict[str, Any]:
    (folder / "asked.json").write_text(json.dumps({"kept": None, "table": None, **asked}), encoding="utf-8")
    done = subprocess.run([node(), "program.mjs"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_words_with_commas_quotes_and_line_breaks_come_back_as_they_were(folder: Path) -> None:
    words = [" the", 'say "no"', "a,b", "two\nlines", "", "plain", "词元", "=1+1"]
    found = ask(folder, table={"columns": ["n", "text"], "rows": [[i, word] for i, word in enumerate(words)]})
    rows = list(csv.reader(io.StringIO(found["csv"], newline="")))
    assert rows == [["n", "text"], *([str(i), word] for i, word in enumerate(words))]


def test_what_is_not_known_is_nothing(folder: Path) -> None:
    found = ask(folder, table={"columns": ["a", "b", "c"], "rows": [[1.5, None, True]]})
    assert found["csv"] == "a,b,c\r\n1.5,,true\r\n"


def test_a_float32_comes_back_bit_for_bit_and_is_no_longer_than_numpy_writes_it(folder: Path) -> None:
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.normal(size=200), 10.0 ** rng.uniform(-12, 12, 200), [0.1, 1.0, 1 / 3, -2.5e-7]])
    single = numbers.astype(np.float32)
    lines = ask(folder, floats=single.astype(float).tolist())["floats"].split()[1:]
    assert np.array_equal(np.array(lines, dtype=np.float32), single)
    digits = [len(line.split("e")[0].strip("-0.").replace(".", "")) for line in lines]
    assert max(digits) <= 9


@pytest.mark.parametrize("kept", [None, "", "no json", "[]", '{"folded": {"usual": "kl"}}', '{"folded": null}', "null"])
def test_at_first_and_where_nothing_sensible_is_kept_three_panels_are_open(folder: Path, kept: str | None) -> None:
    found = ask(folder, kept=kept)
    assert (found["begun"], found["big"]) == (["lower", "kl"], False)


def test_a_fold_is_kept_and_the_same_again_says_nothing(folder: Path) -> None:
    found = ask(folder, fold=[["kl", False], ["kl", False], ["tokens", True], ["objective", True]])
    assert found["folded"] == ["objective", "lower"]
    assert found["heard"] == 2
    assert ask(folder, kept=found["kept"])["begun"] == ["objective", "lower"]


def test_the_big_page_has_folds_of_its_own(folder: Path) -> None:
    kept = json.dumps({"big": True, "folded": {"usual": ["kl"]}})
    found = ask(folder, kept=kept, fold=[["curves", False]])
    assert (found["big"], found["begun"], found["folded"]) == (True, ["kl", "curves"], ["kl"])
    assert json.loads(found["kept"])["folded"]["usual"] == ["kl"]
