"""The numbers in the titles of the run's charts, which have room for a few characters: run in node."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path

from explorer.widgets.scripts import script
from tests.node import node

#: What critics' explained variances come to: of one that is right, of one that says nothing, of those worse than that.
VARIANCES = {
    1.0: "1.00",
    0.126: "0.13",
    0.004: "0.00",
    -0.004: "0.00",
    -0.34: "−0.34",
    -9.9: "−9.90",
    -9.996: "−10",
    -57.2: "−57",
    -123.4: "< −99",
    math.nan: "–",
}


def test_an_explained_variance_has_five_characters_however_far_below_0_it_is(tmp_path: Path) -> None:
    (tmp_path / "curves.mjs").write_text(f"{script('curves')}\nexport {{ besideText }};", encoding="utf-8")
    values = json.dumps([None if math.isnan(value) else value for value in VARIANCES])
    program = f"""
      import {{ besideText }} from "./curves.mjs";
      const shown = (value) => besideText({{ values: [value ?? NaN], at: 0 }});
      console.log(JSON.stringify({values}.map(shown)));
    """
    (tmp_path / "ask.mjs").write_text(program, encoding="utf-8")
    done = subprocess.run([node(), "ask.mjs"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == list(VARIANCES.values())
    assert max(map(len, found)) == 5
