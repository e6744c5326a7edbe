"""The inspector's words as the browser lists them, against the snapshot; and its bars as geometry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.recording.snapshot import Snapshot
from explorer.views.batch import batch_picture
from explorer.views.inspector import inspector_picture
from explorer.widgets.scripts import script
from tests.node import node

if TYPE_CHECKING:
    from tests.conftest import MakeTrainer

#: Arrays cross into the program as lists of bytes, and are views there as in the page.
REVIVE = """(key, value) => (value?.bytes ? new DataView(new Uint8Array(value.bytes).buffer) : value)"""


def as_json(picture: Any) -> str:
    return json.dumps(picture, default=lambda data: {"bytes": list(data)})


def run(folder: Path, name: str, exported: str, program: str) -> Any:
    """What a program prints that has some of a view's functions."""
    (folder / "view.mjs").write_text(f"{script(name)}\nexport {{ {exported} }};", encoding="utf-8")
    (folder / "all.mjs").write_text(f'import {{ {exported} }} from "./view.mjs";\n{program}', encoding="utf-8")
    done = subprocess.run([node(), "all.mjs"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def snapshot(make_trainer: MakeTrainer, snapshot_of: Callable[..., Snapshot]) -> Snapshot:
    trainer = make_trainer()
    snapshot_of(trainer)
    return snapshot_of(trainer, trainer.config.replace(learning_rate=1e-2))


@pytest.fixture
def listed(snapshot: Snapshot, tmp_path: Path) -> Callable[[int], dict[tuple[int, int], Any]]:
    """``listed(epoch)``: what the inspector lists at every token."""
    tokens = np.argwhere(snapshot.rollout.response_mask).tolist()

    def at(epoch: int) -> dict[tuple[int, int], Any]:
        batch, seen = batch_picture(snapshot, epoch), inspector_picture(snapshot, epoch)
        (tmp_path / "data.json").write_text(f'{{"batch": {as_json(batch)}, "seen": {as_json(seen)}}}')
        program = f"""
          import {{ readFileSync }} from "node:fs";
          const {{ batch, seen }} = JSON.parse(readFileSync("data.json"), {REVIVE});
          console.log(JSON.stringify({json.dumps(tokens)}.map((token) => alternativesAt(batch, seen, token))));
        """
        found = run(tmp_path, "inspector", "alternativesAt", program)
        return {tuple(token): one for token, one in zip(tokens, found, strict=True)}

    return at


def test_the_words_are_the_recorded_ones_and_nothing_is_lost(
    snapshot: Snapshot, listed: Callable[[int], dict[tuple[int, int], Any]]
) -> None:
    rollout, final = snapshot.rollout, snapshot.final
    among = []
    for (row, t), found in listed(-1).items():
        words = found["listed"]
        texts = [word["word"] for word in words]
        k = rollout.top_ids.shape[2]
        assert texts[:k] == list(snapshot.tokens.top[row][t])
        (own,) = [word for word in words if word["sampled"]]
        among.append(len(words) == k)
        assert own["word"] == snapshot.tokens.responses[row][t]
        for policy, top, token in (
            ("old", rollout.top_logprobs, rollout.old_logprobs),
            ("new", final.top_logprobs, final.new_logprobs),
            ("ref", rollout.ref_top_logprobs, rollout.ref_logprobs),
        ):
            assert [word[policy] for word in words[:k]] == pytest.approx(np.exp(top[row, t].astype(float)), rel=1e-5)
            assert own[policy] == pytest.approx(np.exp(float(token[row, t])), rel=1e-5)
            whole = sum(word[policy] for word in words) + found["rest"][policy]
            assert whole == pytest.approx(1, abs=1e-5) and found["rest"][policy] >= 0
    assert {True, False} == set(among)  # both a token that is among the alternatives, and one that is not


def test_before_the_last_step_only_the_token_itself_has_a_new_probability(
    snapshot: Snapshot, listed: Callable[[int], dict[tuple[int, int], Any]]
) -> None:
    for (row, t), found in listed(1).items():
        assert found["rest"]["new"] is None and found["rest"]["ref"] is not None
        for word in found["listed"]:
            assert (word["new"] is None) is not word["sampled"]
            if word["sampled"]:
                assert word["new"] == pytest.approx(np.exp(float(snapshot.epochs[1].new_logprobs[row, t])), rel=1e-5)


@pytest.mark.parametrize(("width", "height", "count"), [(345, 225, 10), (345, 225, 9), (620, 420, 10), (180, 120, 10)])
def test_no_bar_leaves_its_column_and_no_row_the_picture(tmp_path: Path, width: int, height: int, count: int) -> None:
    program = f"""
      const at = wordRows({width}, {height}, {count});
      console.log(JSON.stringify({{ ...at, bottom: at.y({count}), x: ["old", "new", "ref"].map(at.x) }}));
    """
    at = run(tmp_path, "inspector", "wordRows", program)
    assert at["bottom"] <= height
    ends = [*at["x"][1:], width]
    assert at["x"][0] >= at["gutter"] > 30
    for start, end in zip(at["x"], ends, strict=True):
        assert start + at["length"] < end - 25 or width < 200  # room for the figure
