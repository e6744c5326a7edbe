"""What an import loads. Each check runs in an interpreter of its own: in this one everything is loaded already."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import explorer

PACKAGE = Path(explorer.__file__).parent

WIDGETS = ("IPython", "anywidget", "ipywidgets", "plotly", "traitlets")

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
"""


def in_fresh_interpreter(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_of(package: str) -> list[str]:
    files = sorted((PACKAGE / package).rglob("*.py"))
    parts = [file.relative_to(PACKAGE.parent).with_suffix("").parts for file in files]
    return [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]


def imports(modules: list[str]) -> str:
    return "\n".join(f"import {module}" for module in modules)


def loaded_after(code: str) -> set[str]:
    """The names of the top-level packages that the code has loaded."""
    return set(
        in_fresh_interpreter(f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})").split()
    )


def test_the_algorithm_needs_no_widgets():
    modules = modules_of("ppo")
    assert "explorer.ppo.masked" in modules
    in_fresh_interpreter(BLOCKER.format(blocked=WIDGETS) + imports(modules))


def test_the_blocker_blocks():
    with pytest.raises(AssertionError, match="ipywidgets is blocked"):
        in_fresh_interpreter(BLOCKER.format(blocked=WIDGETS) + "import ipywidgets")


def test_importing_the_package_is_cheap():
    assert loaded_after("import explorer").isdisjoint({"torch", "transformers", "pyarrow", *WIDGETS})


def test_what_is_known_without_pytorch():
    code = "import explorer\nexplorer.Config(clip_range=0.1)\nexplorer.PRESETS\ndir(explorer)"
    assert loaded_after(code).isdisjoint({"torch", "transformers", *WIDGETS})


def test_the_command_line_answers_without_pytorch():
    assert loaded_after("import explorer.cli").isdisjoint({"torch", "transformers", "voila", *WIDGETS})


@pytest.mark.parametrize("module", modules_of("recording"))
def test_a_recording_is_read_without_pytorch_and_widgets(module: str):
    assert loaded_after(f"import {module}").isdisjoint({"torch", "transformers", *WIDGETS})


@pytest.mark.parametrize("package", ["session", "text", "views", "widgets"])
def test_the_page_is_drawn_before_pytorch_has_loaded(package: str):
    assert loaded_after(imports(modules_of(package))).isdisjoint({"torch", "transformers"})


def test_a_recording_is_replayed_without_pytorch():
    page = "page = Explorer(live=False)"
    scrub = "page._command({'kind': 'scrub', 'update': 2})\nassert page.board.batch['update'] == 2"
    code = f"from explorer import Explorer\n{page}\n{scrub}\npage.close()"
    assert loaded_after(code).isdisjoint({"torch", "transformers"})
    server = "from explorer.recording.storage import Recording\nimport explorer.replay_page, explorer.serve"
    assert loaded_after(server).isdisjoint({"torch", "transformers"})


#: Opens every tab of the lower half, as the page does, but those that the README names; then sees that these load it.
EVERY_TAB = """
import sys
from explorer import Explorer
page, asked = Explorer(live=False), []
page.session.load_scoring = lambda: asked.append(page.board.lower)
for key in {tabs!r}:
    page.board.lower, page.board.wants_samples = key, key == "samples"
    page._command({{"kind": "scrub", "update": 2}})
    page._command({{"kind": "scrub", "update": 40}})
    page.board.pinned = [1, 2]
    page.session.cursor.epoch = 1
assert page.session.error == {{}}, page.session.error
page.close()
print("asked:", *sorted(set(asked)), "loaded:", *sys.modules)
"""


def test_every_tab_of_a_replay_but_two_does_without_pytorch():
    listed = re.search(r"^const LOWER = (\[.*?\]);$", (PACKAGE / "widgets" / "frame.js").read_text("utf-8"), re.M)
    tabs = json.loads(listed[1])
    assert len(tabs) == 10
    asked, _, loaded = in_fresh_interpreter(EVERY_TAB.format(tabs=tabs)).partition("loaded:")
    assert {name.partition(".")[0] for name in loaded.split()}.isdisjoint({"torch", "transformers"})
    assert asked.split() == ["asked:", "ladder", "toy"]
    assert "or open the tab *Ladder* or *Toy*" in " ".join((PACKAGE.parent / "README.md").read_text("utf-8").split())


def test_a_server_starts_without_the_grammar_that_nothing_asks_for():
    code = "from explorer.quick_imports import *\nwith without_address_grammar():\n    import explorer.serve"
    assert "voila" in loaded_after(code)
    assert "rfc3987_syntax" not in loaded_after(code)


def test_public_names():
    assert set(explorer.__all__) <= set(dir(explorer))
    assert {"Config", "Explorer", "Trainer", "Recording", "load_policy", "REWARDS", "METRICS"} <= set(explorer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Confg'; it offers .*Config"):
        explorer.Confg  # noqa: B018


@pytest.mark.parametrize("name", explorer.__all__)
def test_a_public_name_loads(name: str):
    value = getattr(explorer, name)
    assert value is getattr(explorer, name)
    assert getattr(value, "__name__", name) == name
