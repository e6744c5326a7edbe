"""A seed grid: each seed the run that ``train`` makes of it, however the grid was broken off; other folders stay."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from explorer import cli, headless
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.ppo.rewards.score import RewardError
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.claim import Claim
from explorer.recording.folder import RecordingError
from explorer.recording.grid import read_grid, recorded_seeds, seed_folder
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.seed_grid import TOLD, SeedGrid, ends, spreads, table
from tests.conftest import TINY_PROMPTS
from tests.learned import learned

CONFIG = Config(
    batch_size=8, group_size=2, response_length=6, epochs=2, stop_sentences=1, learning_rate=1e-3, replay_rollouts=2
)

Make = Callable[..., SeedGrid]


@pytest.fixture
def make(make_tiny_policy: Callable[[], Policy], tmp_path: Path) -> Make:
    """``make(out, seeds=3, updates=4)``: a grid of the tiny policy into a folder below ``tmp_path``."""

    def grid(out: str = "grid", seeds: Any = range(3), updates: int = 4, **more: Any) -> SeedGrid:
        settings = {"config": CONFIG, "policy": make_tiny_policy(), "prompts": TINY_PROMPTS, "checkpoint_every": 2}
        settings |= more
        return SeedGrid(settings.pop("config"), seeds, updates, tmp_path / out, **settings)

    return grid


def made(grid: SeedGrid) -> dict[int, list[dict[str, Any]]]:
    """Everything that the runs in a grid's folder have learned, by seed."""
    return {seed: learned(list(run)) for seed, run in recorded_seeds(grid.out).items()}


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what it makes ---


def test_each_seed_is_the_run_that_a_trainer_makes_of_it(
    make: Make, make_tiny_policy: Callable[[], Policy], tmp_path: Path
) -> None:
    grid = make(seeds=[3, 0, 12], updates=3)
    list(grid.steps())
    assert list(recorded_seeds(grid.out)) == [0, 3, 12]
    for seed in (0, 3, 12):
        alone = Trainer(make_tiny_policy(), CONFIG.replace(seed=seed), prompts=TINY_PROMPTS)
        whole = alone.train(3, out=tmp_path / f"alone-{seed}", checkpoint_every=2)
        folder = seed_folder(grid.out, seed)
        own = Recording.load(folder)
        assert learned(list(own)) == learned(list(whole))
        assert checkpoint_updates(folder) == [0, 2, 3]
        assert own.info.keys() == whole.info.keys()
        assert (own.info["seed"], own.info["policy_digest"]) == (seed, whole.info["policy_digest"])
    ids = {run.info["id"] for run in recorded_seeds(grid.out).values()}
    assert len(ids) == 3


def test_two_grids_of_the_same_seeds_are_the_same_bit_by_bit(make: Make) -> None:
    one, other = make("one"), make("other", seeds=[2, 1, 0])
    list(one.steps())
    list(other.steps())
    found = made(one)
    assert found == made(other)
    assert found[0] != found[1]


def test_the_steps_say_how_far_it_is(make: Make) -> None:
    steps = list(make(seeds=[4, 9], updates=2).steps())
    assert [(step.seed, step.nth, step.update) for step in steps] == [
        *((4, 1, update) for update in (0, 1, 2)),
        *((9, 2, update) for update in (0, 1, 2)),
    ]
    assert [bool(step.metrics) for step in steps] == [False, True, True] * 2
    assert all(step.recording is None and step.error == "" for step in steps)
    recorded = Recording.load(seed_folder(make().out, 9)).metrics.to_pylist()
    assert [row["objective/score"] for row in recorded] == [step.metrics["objective/score"] for step in steps[4:]]


def test_the_policy_that_was_given_stays_untouched(make: Make, tiny_policy: Policy) -> None:
    before = {name: tensor.clone() for name, tensor in tiny_policy.state_dict().items()}
    list(make(policy=tiny_policy, seeds=range(2), updates=2, config=CONFIG.replace(critic="separate")).steps())
    after = tiny_policy.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_reward_of_the_users_own_counts_and_comes_along(make: Make) -> None:
    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return [len(text) / 50 for text in responses]

    grid = make(seeds=range(2), updates=1, rewards={"mine": mine})
    list(grid.steps())
    list(make(seeds=range(2), updates=2, rewards={"mine": mine}).steps())
    whole = make("whole", seeds=range(2), updates=2, rewards={"mine": mine})
    list(whole.steps())
    assert made(grid) == made(whole)
    assert recorded_seeds(grid.out)[0].config_at(1).weights["mine"] == 1.0


# --- going on ---


@pytest.fixture
def whole(make: Make) -> dict[int, list[dict[str, Any]]]:
    """What an unbroken grid makes."""
    grid = make("whole")
    list(grid.steps())
    return made(grid)


@pytest.mark.parametrize("after", [1, 2, 4, 5, 6, 9, 13, 15])  # of 15 steps, where a seed begins and in its middle
def test_a_grid_that_was_stopped_goes_on_where_it_was(make: Make, whole: Any, after: int) -> None:
    with closing(make().steps()) as steps:
        seen = list(islice(steps, after))
    again = make()
    begun = {seed: checkpoint_updates(seed_folder(again.out, seed)) for seed in recorded_seeds(again.out)}
    assert begun.get(seen[-1].seed, [0])[-1] == seen[-1].update  # its state was kept where it was stopped
    rest = list(again.steps())
    assert made(again) == whole
    computed = [(step.seed, step.update) for step in (*seen, *rest) if step.metrics]
    assert len(computed) == len(set(computed)) == 12  # nothing is computed twice


def test_a_finished_seed_is_left_as_it_is(make: Make) -> None:
    first = make(seeds=range(2))
    list(first.steps())
    before = files_of(first.out)
    steps = list(make(seeds=range(2)).steps())
    assert [(step.seed, step.update, bool(step.metrics)) for step in steps] == [(0, 4, False), (1, 4, False)]
    assert all(step.recording is not None and step.recording.metrics.num_rows == 4 for step in steps)
    list(make(seeds=range(2), updates=3).steps())  # fewer are no reason to throw any away
    assert files_of(first.out) == before


def test_a_grid_may_get_more_seeds_and_more_updates(make: Make, whole: Any) -> None:
    list(make(seeds=[1], updates=2).steps())
    grid = make()
    list(grid.steps())
    assert made(grid) == whole


def test_a_grid_from_before_a_setting_is_the_same_grid(make: Make, whole: Any) -> None:
    """One that was begun before there was a judge had none."""
    first = make(seeds=[0])
    list(first.steps())
    content = json.loads((first.out / "grid.json").read_text())
    assert (content["config"].pop("judge"), content["config"].pop("set_aside")) == ("", [])
    (first.out / "grid.json").write_text(json.dumps(content))
    list(make().steps())
    assert made(first) == whole
    with pytest.raises(RecordingError, match=r"another judge \( there, gendered here\)"):
        list(make(config=CONFIG.replace(judge="gendered")).steps())


def test_an_interrupt_in_the_middle_of_an_update_loses_that_update(
    make: Make, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = Trainer.stages

    def interrupted(trainer: Trainer, config: Config | None = None) -> Iterator[Any]:
        for stage in stages(trainer, config):
            if (trainer.config.seed, trainer.updates, stage.name) == (1, 2, "epoch"):
                raise KeyboardInterrupt
            yield stage

    grid = make()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "stages", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(grid.steps())
    assert {seed: len(run) for seed, run in recorded_seeds(grid.out).items()} == {0: 4, 1: 2}
    list(make().steps())
    assert made(grid) == whole


#: Runs a grid in one child after the other; in the n-th of them the n-th file is never given its name, as the process
#: is killed there.
KILLER = """
import multiprocessing, os, signal, sys
from pathlib import Path
import torch
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.loading import load_policy
from explorer.recording import folder
from explorer.seed_grid import SeedGrid

checkpoint, root, moments, config, prompts = sys.argv[1:]
torch.set_num_threads(1)
policy = load_policy(checkpoint)

def run(nth):
    grid = SeedGrid(Config.from_flat(eval(config)), range(2), 3, Path(root) / f"{nth:03d}", policy=policy,
                    prompts=eval(prompts), checkpoint_every=2)
    replace, calls = os.replace, []
    def counted(*paths):
        calls.append(paths)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)
    folder.os.replace = counted
    list(grid.steps())

for nth in eval(moments):
    child = multiprocessing.get_context("fork").Process(target=run, args=(nth,))
    child.start()
    child.join()
    print(nth, child.exitcode, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_a_grid_killed_at_any_file_goes_on_to_the_same_end(
    make: Make, tiny_checkpoint: Path, tmp_path: Path, every: int
) -> None:
    unbroken = make("unbroken", range(2), 3)
    list(unbroken.steps())
    # One grid.json, and of each run: twice run.json, three states, and five tables for each of three updates.
    files = 1 + 2 * (2 + 3 + 5 * 3)
    moments = [1, 2, 3, *range(4, files, every), files, files + 1]
    arguments = [str(tiny_checkpoint), str(tmp_path), repr(moments), repr(CONFIG.flat()), repr(TINY_PROMPTS)]
    command = [sys.executable, "-c", KILLER, *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(headless.__file__).parents[1])}
    told = subprocess.run(command, env=environment, check=True, timeout=170, stdout=subprocess.PIPE, text=True)
    codes = {int(nth): int(code) for nth, code in (line.split() for line in told.stdout.splitlines())}
    assert codes == {**dict.fromkeys(moments[:-1], -9), files + 1: 0}
    for nth in moments:
        grid = make(f"{nth:03d}", range(2), 3)
        list(grid.steps())
        assert made(grid) == made(unbroken), nth
        assert not list(grid.out.rglob("*.part"))


def test_a_seed_that_diverges_breaks_off_and_the_next_one_begins(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Trainer.update

    def poisoned(trainer: Trainer) -> Snapshot:
        if (trainer.config.seed, trainer.updates) == (1, 2):
            torch.nn.init.constant_(trainer.policy.value_head.weight, float("nan"))
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", poisoned)
    grid = make()
    steps = list(grid.steps())
    broken = [step for step in steps if step.error]
    assert [(step.seed, step.update) for step in broken] == [(1, 2)]
    assert {seed: len(run) for seed, run in recorded_seeds(grid.out).items()} == {0: 4, 1: 2, 2: 4}


# --- what is refused ---


def other_policy(policy: Policy) -> Policy:
    with torch.no_grad():
        policy.lm.transformer.ln_f.bias += 0.1
    return policy


def test_the_folder_of_another_grid_is_refused_and_left_as_it_is(make: Make, tiny_policy: Policy) -> None:
    first = make(seeds=[0], updates=1)
    list(first.steps())
    before = files_of(first.out)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"config": CONFIG.replace(clip_range=0.1)}, r"another clip_range \(0.2 there, 0.1 here\)"),
        ({"config": CONFIG.replace(weight_length=0.5)}, "another weight_length"),
        ({"prompts": ["The cat"]}, "other prompts"),
        ({"policy": other_policy(tiny_policy)}, "another policy"),
        ({"bf16": True}, "another precision"),
    ]
    for change, message in cases:
        with pytest.raises(RecordingError, match=f"holds a seed grid with {message}.*or another folder"):
            list(make(**change).steps())
    list(make(seeds=[0], updates=1, config=CONFIG.replace(seed=9)).steps())  # its own seed is not used
    assert files_of(first.out) == before


def test_a_folder_that_holds_something_else_is_refused(
    make: Make, make_tiny_policy: Callable[[], Policy], tmp_path: Path
) -> None:
    Trainer(make_tiny_policy(), CONFIG, prompts=TINY_PROMPTS).train(1, out=tmp_path / "run")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = files_of(tmp_path)
    for name, message in {"run": "a single run and no", "notes": "is not empty", "file": "is a file"}.items():
        with pytest.raises(RecordingError, match=message):
            list(make(name).steps())
    assert files_of(tmp_path) == before


def test_what_cannot_be_trained_leaves_no_folder(make: Make, tmp_path: Path) -> None:
    for change, message in (
        ({"prompts": ["One day, " * 20]}, "too long|at most"),
        ({"config": CONFIG.replace(weight_humour=1.0)}, "no reward component 'humour'"),
        ({"policy": str(tmp_path / "none")}, "There is no folder"),
    ):
        with pytest.raises(ValueError, match=message):
            list(make(**change).steps())
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [0, 1, 0]}, "twice"),
        ({"seeds": [-1]}, "a seed is -1, but must be a whole number from 0 to 2147483647"),
        ({"seeds": [1.5]}, "a seed is 1.5"),
        ({"updates": 0}, "updates is 0"),
        ({"updates": True}, "updates is True"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0"),
        ({"keep_every": 0}, "keep_every is 0"),
        ({"checkpoint_megabytes": 0}, "checkpoint_megabytes is 0, but must be above 0"),
        ({"checkpoint_megabytes": math.nan}, "checkpoint_megabytes is nan"),
    ],
)
def test_bad_input_is_refused_before_anything_is_loaded(make: Make, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_a_run_that_is_not_the_grids_is_refused(make: Make, make_tiny_policy: Callable[[], Policy]) -> None:
    grid = make(seeds=[0], updates=1)
    list(grid.steps())
    strangers = {
        1: (CONFIG, TINY_PROMPTS, r"seed is 0 there, and 1 in the grid"),
        2: (CONFIG.replace(seed=2, epochs=1), TINY_PROMPTS, "epochs is 1 there, and 2 in the grid"),
        3: (CONFIG.replace(seed=3), ["The cat"], "its prompts differ"),
    }
    for seed, (config, prompts, message) in strangers.items():
        Trainer(make_tiny_policy(), config, prompts=prompts).train(1, out=seed_folder(grid.out, seed))
        with pytest.raises(RecordingError, match=message):
            list(make(seeds=[seed], updates=2).steps())
    folder = seed_folder(grid.out, 4)
    (folder / "tokens").mkdir(parents=True)
    (folder / "tokens" / "mine.txt").write_text("mine")
    with pytest.raises(RecordingError, match="holds no run: move away what is in it"):
        list(make(seeds=[4]).steps())
    assert (folder / "tokens" / "mine.txt").read_text() == "mine"


def test_one_process_at_a_time(make: Make) -> None:
    grid = make(seeds=[0], updates=1)
    list(grid.steps())
    claim = Claim(grid.out)
    with pytest.raises(RecordingError, match="is being written to by another run"):
        list(make(seeds=[1]).steps())
    claim.release()
    list(make(seeds=[1], updates=1).steps())


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is damaged"), ("[]", "is damaged"), ('{"grid_version": 1}', "is damaged"), ("9" * 70, "is damaged")],
)
def test_a_damaged_grid_says_so(make: Make, content: str, message: str) -> None:
    grid = make(seeds=[0], updates=1)
    list(grid.steps())
    (grid.out / "grid.json").write_text(content)
    with pytest.raises(RecordingError, match=message):
        list(make(seeds=[0], updates=1).steps())


def test_a_newer_grid_is_refused_by_name(make: Make) -> None:
    grid = make(seeds=[0], updates=1)
    list(grid.steps())
    content = json.loads((grid.out / "grid.json").read_text())
    (grid.out / "grid.json").write_text(json.dumps({**content, "grid_version": 99}))
    with pytest.raises(RecordingError, match="of a newer PPO Explorer"):
        read_grid(grid.out)


def test_a_reward_that_fails_ends_the_grid_and_it_can_go_on(make: Make) -> None:
    def broken(prompts: list[str], responses: list[str]) -> list[float]:
        raise ZeroDivisionError("nothing to divide by")

    with pytest.raises(RewardError, match="nothing to divide by"):
        list(make(seeds=[0], updates=1, rewards={"mine": broken}).steps())
    list(make(seeds=[0], updates=1, rewards={"mine": lambda prompts, responses: [0.0] * len(prompts)}).steps())
    assert len(recorded_seeds(make().out)[0]) == 1


# --- the table ---


def run_of(**columns: list[float]) -> Recording:
    names = {"score": TOLD[0], "kl": TOLD[1], "clipped": TOLD[2]}
    rows = {
        nth: dict(zip((names[name] for name in columns), values, strict=True))
        for nth, values in enumerate(zip(*columns.values(), strict=True), start=1)
    }
    return Recording.in_memory([], info={}, metrics=rows, configs=dict.fromkeys(rows, CONFIG))


def test_the_ends_are_means_over_the_last_five_of_so_many_updates() -> None:
    runs = {
        0: run_of(score=[9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 80.0], kl=[1.0] * 7, clipped=[0.5] * 7),
        7: run_of(score=[1.0, 2.0], kl=[1.0, math.nan], clipped=[0.0, 0.1]),
    }
    found = ends(runs, 6)
    assert found[0] == {"updates": 6, TOLD[0]: 3.0, TOLD[1]: 1.0, TOLD[2]: 0.5}
    assert found[7] == {"updates": 2, TOLD[0]: 1.5, TOLD[1]: 1.0, TOLD[2]: pytest.approx(0.05)}
    assert spreads(found, 6)["highest"] == {TOLD[0]: 3.0, TOLD[1]: 1.0, TOLD[2]: 0.5}  # of whole runs alone


def test_the_table_by_hand() -> None:
    runs = {seed: run_of(score=[score], kl=[2.0 + seed], clipped=[0.1]) for seed, score in enumerate([0.5, -0.25, 0.2])}
    runs[3] = run_of(score=[], kl=[], clipped=[])
    assert table(ends(runs, 1), 1).splitlines() == [
        "3 of 4 seeds with 1 updates; means over the last 1 of them",
        "           updates    score  KL, nats  clip fraction",
        "seed 0           1   +0.500      2.00          10.0%",
        "seed 1           1   -0.250      3.00          10.0%",
        "seed 2           1   +0.200      4.00          10.0%",
        "seed 3           0        –         –              –",
        "mean                 +0.150      3.00          10.0%",
        "lowest               -0.250      2.00          10.0%",
        "highest              +0.500      4.00          10.0%",
    ]
    assert "mean" not in table(ends({3: runs[3]}, 1), 1).partition("\n")[2]


# --- the command ---

SMALL = ["--set", "batch_size=4", "--set", "response_length=4", "--set", "epochs=1"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(name, *arguments)``: a command on a tiny policy, in this process; gives exit code, stdout and stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ppo-explorer", *arguments, *SMALL, "--policy", str(tiny_checkpoint)])
        with pytest.raises(SystemExit) as exit_of:
            cli.main()
        printed = capsys.readouterr()
        return int(exit_of.value.code or 0), printed.out, printed.err

    return command


def test_a_seed_of_the_grid_is_what_train_makes_of_that_seed(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "seeds", "--seeds", "2", "--first-seed", "3", "--updates", "4", "--out", str(tmp_path / "grid")
    )
    assert (code, err) == (0, "")
    for seed in (3, 4):
        assert run("train", "--updates", "4", "--seed", str(seed), "--out", str(tmp_path / f"alone-{seed}"))[0] == 0
        one, other = seed_folder(tmp_path / "grid", seed), tmp_path / f"alone-{seed}"
        assert learned(list(Recording.load(one))) == learned(list(Recording.load(other)))
        assert checkpoint_updates(one) == checkpoint_updates(other)
    # The table, from the Parquet files as pandas reads them.
    columns = [pd.read_parquet(seed_folder(tmp_path / "grid", seed) / "metrics")["objective/score"] for seed in (3, 4)]
    means = [statistics.fmean(column.tail(5)) for column in columns]
    lines = {line.rsplit(maxsplit=3)[0].split("  ")[0]: line.split() for line in out.splitlines()[2:]}
    assert [float(lines[f"seed {seed}"][3]) for seed in (3, 4)] == pytest.approx(means, abs=5.1e-4)
    assert float(lines["mean"][1]) == pytest.approx(sum(means) / 2, abs=5.1e-4)
    assert (float(lines["lowest"][1]), float(lines["highest"][1])) == pytest.approx(sorted(means), abs=5.1e-4)


def test_how_much_of_each_run_is_kept_can_be_told(run: Run, tmp_path: Path) -> None:
    """With room for less than one state the newest alone is left."""
    amounts = ["--keep-every", "3", "--checkpoint-every", "2", "--checkpoint-megabytes", "0.001"]
    code, _, err = run("seeds", "--seeds", "1", "--updates", "5", "--out", str(tmp_path / "grid"), *amounts)
    assert (code, err) == (0, "")
    assert Recording.load(seed_folder(tmp_path / "grid", 0)).updates == [1, 3, 5]
    assert checkpoint_updates(seed_folder(tmp_path / "grid", 0)) == [5]


def test_json_is_a_line_an_update_and_one_for_the_end(run: Run, tmp_path: Path) -> None:
    arguments = ["seeds", "--seeds", "2", "--updates", "2", "--out", str(tmp_path / "grid"), "--json"]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    *updates, end = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    assert [(line["seed"], line["update"]) for line in updates] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    scores = [line["metrics"]["objective/score"] for line in updates]
    assert end["seeds"]["0"]["objective/score"] == pytest.approx((scores[0] + scores[1]) / 2)
    assert end["highest"]["objective/score"] == pytest.approx(max(sum(scores[:2]), sum(scores[2:])) / 2)
    assert run(*arguments)[1].splitlines() == [json.dumps(end)]  # nothing is left to do


def test_an_interrupted_command_says_that_it_goes_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update, arguments = Trainer.update, ["seeds", "--seeds", "2", "--updates", "2", "--out", str(tmp_path / "grid")]

    def interrupted(trainer: Trainer) -> Snapshot:
        if (trainer.config.seed, trainer.updates) == (1, 1):
            raise KeyboardInterrupt
        return update(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        code, out, err = run(*arguments)
    assert (code, err) == (130, "Interrupted: the same command goes on where it was.\n")
    assert out.startswith("1 of 2 seeds with 2 updates")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("2 of 2 seeds with 2 updates")


def test_a_seed_that_broke_off_is_told_and_the_code_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer.update

    def poisoned(trainer: Trainer) -> Snapshot:
        if trainer.config.seed == 0:
            torch.nn.init.constant_(trainer.policy.value_head.weight, float("nan"))
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", poisoned)
    code, out, err = run("seeds", "--seeds", "2", "--updates", "1", "--out", str(tmp_path / "grid"))
    assert code == 1
    assert err.startswith("error: seed 0 broke off: ") and len(err.splitlines()) == 1
    assert out.startswith("1 of 2 seeds with 1 updates")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--first-seed", "-1"], "a seed is -1"),
        (["--updates", "0"], "updates is 0"),
        (["--set", "seed=3"], "choose them with --seeds and --first-seed"),
        (["--set", "clip_range=3"], "clip_range is 3.0"),
        (["--preset", "no_such"], "there is no preset"),
        (["--checkpoint-every", "0"], "checkpoint_every is 0"),
        (["--checkpoint-megabytes", "0"], "checkpoint_megabytes is 0"),
        (["--device", "mars"], "device is 'mars'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, out, err = run("seeds", "--out", str(tmp_path / "grid"), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err and len(err.splitlines()) == 1
    assert not (tmp_path / "grid").exists()
