"""``ppo-explorer train``: what it prints, what it writes, and what it says when it cannot."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from explorer import cli, headless
from explorer.config import Config
from explorer.ppo.loading import load_policy
from explorer.presets import PRESETS
from explorer.recording.branches import parting
from explorer.recording.checkpoints import checkpoint_updates
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.train_command import build_config, read_prompts
from tests.learned import learned

SMALL = ["--set", "batch_size=4", "--set", "response_length=4", "--set", "epochs=1"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(*arguments)``: the command on a tiny policy, in this process; gives exit code, stdout and stderr."""

    def command(*arguments: str, small: bool = True) -> tuple[int, str, str]:
        own = [] if "--policy" in arguments else ["--policy", str(tiny_checkpoint)]
        monkeypatch.setattr(sys, "argv", ["ppo-explorer", "train", *(SMALL if small else []), *own, *arguments])
        with pytest.raises(SystemExit) as exit_of:
            cli.main()
        printed = capsys.readouterr()
        return int(exit_of.value.code or 0), printed.out, printed.err

    return command


def test_json_is_one_line_an_update_and_nothing_else(run: Run, tiny_checkpoint: Path) -> None:
    code, out, err = run("--updates", "3", "--json")
    assert (code, err) == (0, "")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 3]
    trainer = headless.Trainer(str(tiny_checkpoint), Config(batch_size=4, response_length=4, epochs=1))
    for line, snapshot in zip(lines, trainer.train(3), strict=True):
        expected = {name: value for name, value in snapshot.metrics.items() if not name.startswith("throughput/")}
        assert expected.items() <= line["metrics"].items()


def test_a_bug_by_name_is_warned_of_on_the_side(run: Run) -> None:
    code, out, err = run("--updates", "1", "--set", "dropout_on=true")
    assert code == 0 and out.startswith("1 update, score ")
    assert err.startswith("warning: check failed: first_ratio in update 1, first ")


def test_a_metric_that_is_no_number_is_null_in_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    update = headless.Trainer.update

    def without_a_score(trainer: headless.Trainer) -> Snapshot:
        snapshot = update(trainer)
        return dataclasses.replace(snapshot, metrics={**snapshot.metrics, "objective/score": float("nan")})

    monkeypatch.setattr(headless.Trainer, "update", without_a_score)
    _, out, _ = run("--updates", "1", "--json")
    assert json.loads(out, parse_constant=pytest.fail)["metrics"]["objective/score"] is None


def test_it_runs_as_a_program_with_the_bundled_policy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "explorer", "train", "--updates", "2", "--json", "--out", "run", *SMALL]
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert [json.loads(line)["update"] for line in result.stdout.splitlines()] == [1, 2]
    assert Recording.load(tmp_path / "run").info["policy"] == "bundled GPT-2"


def test_it_computes_where_and_how_it_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, _, err = run("--updates", "1", "--device", "cpu", "--bf16", "--out", str(tmp_path / "run"))
    assert (code, err) == (0, "")
    info = Recording.load(tmp_path / "run").info
    assert (info["device"], info["bf16"]) == ("cpu", True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name, reason in {"cuda": "PyTorch finds no GPU here", "mars": "must be 'cpu', 'cuda'"}.items():
        code, out, err = run("--device", name)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: device is '{name}', but {reason}") and err.count("\n") == 1


def test_it_records_and_saves_the_policy(run: Run, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("The cat\n\n  Lily went to the \n", encoding="utf-8")
    arguments = ["--prompts", str(prompts), "--seed", "7", "--set", "clip_range=0.1", "--set", "weight_coherence=0.4"]
    folders = ["--out", str(tmp_path / "run"), "--save-policy", str(tmp_path / "policy")]
    code, out, _ = run("--updates", "5", "--keep-every", "4", *arguments, *folders)
    assert code == 0
    assert "5 updates" in out
    assert str(tmp_path / "run") in out
    recording = Recording.load(tmp_path / "run")
    assert (recording.updates, recording.metrics.num_rows) == ([1, 4, 5], 5)
    assert recording.info["prompts"] == ["The cat", "Lily went to the"]
    config = recording.config_at(1)
    assert (config.seed, config.clip_range, config.weights["coherence"]) == (7, 0.1, 0.4)
    assert (tmp_path / "policy" / "config.json").is_file()


def test_bundled_prompts_by_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gender_pairs").write_text("The cat\n", encoding="utf-8")
    for given, first in {"gender_pairs": "The boy wanted to be a", "./gender_pairs": "The cat"}.items():
        folder = tmp_path / str(len(given))
        code, _, err = run("--updates", "1", "--prompts", given, "--out", str(folder))
        assert (code, err) == (0, "")
        assert Recording.load(folder).info["prompts"][0] == first


def test_the_saved_policy_is_the_trained_one(run: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    run("--updates", "2", "--save-policy", str(tmp_path / "policy"))
    trainer = headless.Trainer(str(tiny_checkpoint), Config(batch_size=4, response_length=4, epochs=1))
    trainer.train(2)
    before = load_policy(tiny_checkpoint).lm.state_dict()
    saved, trained = load_policy(tmp_path / "policy").lm.state_dict(), trainer.policy.lm.state_dict()
    assert all((saved[name] == trained[name]).all() for name in trained)
    assert any((saved[name] != before[name]).any() for name in before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "clip_range=3"], "clip_range is 3.0, but must be from 0 to 1."),
        (["--set", "clip_range=wide"], "clip_range is 'wide', but must be a number"),
        (["--set", "clip_range"], "--set clip_range lacks a value"),
        (["--set", "clip_rnage=0.1"], "did you mean 'clip_range'"),
        (["--set", "weight_coherense=1"], "did you mean 'weight_coherence'"),
        (["--set", "weights=1"], "one by one"),
        (["--set", "components=1"], "one by one"),
        (["--set", "component_loud=words +"], "The component 'loud' cannot be made. At character 8, the end"),
        (["--set", 'component_dogs={"kind": "cats"}'], "choose one of expression, keywords"),
        (["--set", "whiten=maybe"], "whiten is 'maybe', but must be True or False."),
        (["--set", "objective=klip"], "must be one of clip"),
        (["--set", "epochs=none"], "epochs is None"),
        (["--set", "epochs=1.5"], "whole number"),
        (["--seed", "-1"], "seed is -1"),
        (["--preset", "no_such"], "there is no preset 'no_such'"),
        (["--updates", "0"], "--updates is 0"),
        (["--keep-every", "2"], "--out"),
        (["--keep-every", "0", "--out", "new"], "--keep-every is 0"),
        (
            ["--prompts", "none.txt"],
            "'none.txt' is neither a file nor a bundled set of prompts: the sets are stories, ",
        ),
        (["--prompts", "taken"], "'taken' is neither a file nor a bundled set"),
        (["--prompts", "empty.txt"], "has no prompt"),
        (["--prompts", "latin.txt"], "not text in UTF-8"),
        (["--policy", "./none"], "There is no folder './none'"),
        (["--out", "taken"], "'taken' is not empty"),
        (["--out", "empty.txt"], "'empty.txt' is a file"),
        (["--save-policy", "taken"], "'taken' is not empty"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_code_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "latin.txt").write_bytes("Das Mädchen".encode("latin-1"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]


def test_a_run_that_diverges_says_so_and_keeps_what_it_recorded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = headless.Trainer.update

    def poisoned(trainer: headless.Trainer) -> Snapshot:
        if trainer.updates == 2:
            torch.nn.init.constant_(trainer.policy.value_head.weight, float("nan"))
        return update(trainer)

    monkeypatch.setattr(headless.Trainer, "update", poisoned)
    code, _, err = run("--updates", "9", "--out", str(tmp_path / "run"))
    assert (code, err[:7], len(err.splitlines())) == (1, "error: ", 1)
    assert Recording.load(tmp_path / "run").updates == [1, 2]


def test_an_interrupted_run_keeps_what_there_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = headless.Trainer.update

    def interrupted(trainer: headless.Trainer) -> Snapshot:
        if trainer.updates == 2:
            raise KeyboardInterrupt
        return update(trainer)

    monkeypatch.setattr(headless.Trainer, "update", interrupted)
    code, out, err = run("--updates", "9", "--out", str(tmp_path / "run"))
    assert code == 130
    assert "2 updates" in out
    assert "after 2 of 9" in err
    assert Recording.load(tmp_path / "run").updates == [1, 2]


def test_a_run_is_resumed_in_place_and_forked(run: Run, tmp_path: Path) -> None:
    whole, cut, fork = (str(tmp_path / name) for name in ("whole", "cut", "fork"))
    assert run("--updates", "4", "--out", whole)[0] == 0
    assert run("--updates", "2", "--out", cut, "--checkpoint-every", "1")[0] == 0
    code, out, err = run("--resume", cut, "--updates", "2", small=False)
    assert (code, err) == (0, "")
    assert "4 updates" in out
    assert cut in out
    one, other = (learned(list(Recording.load(path))) for path in (whole, cut))
    assert one == other

    where = ("--resume", cut, "--from-update", "1", "--out", fork)
    code, out, err = run(*where, "--set", "epochs=3", "--seed", "5", "--updates", "1", "--json", small=False)
    assert (code, err) == (0, "")
    assert [json.loads(line)["update"] for line in out.splitlines()] == [2]
    parent = Recording.load(fork).info["parent"]
    assert (parent["folder"], parent["update"]) == ("cut", 1)
    assert parent["changed"] == {"epochs": [1, 3], "seed": [0, 5]}


@pytest.mark.filterwarnings("default")
def test_a_run_that_was_made_otherwise_goes_on_with_a_note(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 4)
        assert run("--updates", "1", "--out", str(tmp_path / "run"))[0] == 0
    code, out, err = run("--resume", str(tmp_path / "run"), "--updates", "1", small=False)
    assert (code, out.startswith("2 updates")) == (0, True)
    assert err.startswith(f"note: '{tmp_path / 'run'}' was made with 4 threads and goes on with 1 thread: ")
    assert len(err.splitlines()) == 1


def test_a_fork_tells_where_it_parts(run: Run, tmp_path: Path) -> None:
    cut, other, same = (str(tmp_path / name) for name in ("cut", "other", "same"))
    assert run("--updates", "3", "--out", cut, "--checkpoint-every", "1")[0] == 0
    where = ("--resume", cut, "--from-update", "1", "--updates", "2", "--out")
    code, out, err = run(*where, other, "--set", "epochs=3", small=False)
    assert (code, err) == (0, "")
    found = parting(Recording.load(cut), Recording.load(other))
    assert found is not None
    assert found.response is not None and found.token is not None
    place = f"update 2, {found.stage}, token {found.token + 1} of response {found.response + 1}"
    assert out.splitlines()[-1] == (
        f"First differs from '{cut}' in {place}: {found.quantity}, {found.parent!r} -> {found.child!r}."
    )
    code, out, err = run(*where, same, small=False)
    assert out.splitlines()[-1] == f"The same as '{cut}' so far, bit for bit, in every update that both have."
    assert run("--resume", cut, "--updates", "1", small=False)[1].count("irst differs") == 0


def test_after_a_kill_a_run_goes_on_after_its_last_update(run: Run, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run("--updates", "6", "--out", str(whole))[0] == 0
    assert run("--updates", "4", "--out", str(cut), "--checkpoint-every", "2")[0] == 0
    (cut / "checkpoints" / "000004.safetensors").unlink()  # as a kill leaves it
    code, out, err = run("--resume", str(cut), "--updates", "2", small=False)
    assert (code, err) == (0, "")
    assert "6 updates" in out
    assert learned(list(Recording.load(cut))) == learned(list(Recording.load(whole)))


def test_checkpoints_can_be_left_out_and_bounded(run: Run, tmp_path: Path) -> None:
    assert run("--updates", "2", "--out", str(tmp_path / "none"), "--checkpoint-every", "0")[0] == 0
    assert not (tmp_path / "none" / "checkpoints").exists()
    few = ("--checkpoint-every", "1", "--checkpoint-megabytes", "0.001")
    assert run("--updates", "2", "--out", str(tmp_path / "few"), *few)[0] == 0
    assert checkpoint_updates(tmp_path / "few") == [2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume", "none"], "There is no folder 'none'"),
        (["--resume", "run", "--from-update", "7"], "no checkpoint of update 7: choose one of 0, 1."),
        (["--resume", "run", "--set", "epochs=3"], "epochs is another than before: record into a new folder"),
        (["--resume", "run", "--set", "epochs=99", "--out", "new"], "epochs is 99"),
        (["--resume", "run", "--set", "response_length=9", "--out", "new"], "in the middle of the run"),
        (["--resume", "run", "--preset", "learn"], "--preset does not go with --resume"),
        (["--resume", "run", "--prompts", "p.txt"], "--prompts does not go with --resume"),
        (["--resume", "run", "--out", "taken"], "'taken' is not empty"),
        (["--from-update", "1"], "name the run with --resume"),
        (["--checkpoint-every", "-1", "--out", "new"], "--checkpoint-every is -1"),
        (["--checkpoint-megabytes", "0", "--out", "new"], "checkpoint_megabytes is 0"),
        (["--checkpoint-megabytes", "inf", "--out", "new"], "checkpoint_megabytes is inf"),
    ],
)
def test_what_cannot_be_resumed_is_one_line_and_code_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run("--updates", "1", "--out", "run")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    code, out, err = run(*arguments, small=False)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert Recording.load(tmp_path / "run").updates == [1]


def test_a_config_starts_from_a_preset_and_takes_each_kind_of_value() -> None:
    config = build_config(
        "hack_the_reward",
        ["objective=unclipped", "whiten=FALSE", "max_grad_norm=none", "epochs=2", "seed = 3", "weight_length=-1e0"],
        None,
    )
    expected = PRESETS["hack_the_reward"].replace(
        objective="unclipped", whiten=False, max_grad_norm=None, epochs=2, seed=3, weight_length=-1.0
    )
    assert config == expected
    assert config.learning_rate == PRESETS["hack_the_reward"].learning_rate


def test_components_are_added_by_an_expression_or_a_recipe_and_weighed() -> None:
    config = build_config(
        None,
        ["weight_loud=0.5", 'component_loud=count("!") - 1', 'component_dogs={"kind": "keywords", "words": ["dog"]}'],
        None,
    )
    expected = Config(
        components={
            "loud": {"kind": "expression", "expression": 'count("!") - 1'},
            "dogs": {"kind": "keywords", "words": ["dog"]},
        }
    )
    assert config == expected.replace(weight_loud=0.5)


def test_it_learns_from_labels_and_trains_on_what_it_learnt(run: Run, tmp_path: Path) -> None:
    pair = {"prompt": "Once", "chosen": "the happy dog ran", "rejected": "a sad cat sat"}
    lines = [json.dumps({**pair, "rejected": f"{pair['rejected']} {n}"}) + "\n" for n in range(6)]
    labels = tmp_path / "pairs.jsonl"
    labels.write_text("".join(lines))
    given = ("--labels", str(labels), "--updates", "1")
    code, _, err = run(*given, "--weight-learned", "0.5", "--out", str(tmp_path / "run"))
    assert (code, err) == (0, "")
    snapshot = Recording.load(tmp_path / "run")[0]
    assert snapshot.config.weights["learned"] == 0.5
    assert dict(snapshot.config.components["learned"])["decided"] == 6
    assert snapshot.credit.reward_components["learned"].shape == (4,)
    resumed = run(
        "--resume", str(tmp_path / "run"), "--weight-learned", "1", "--updates", "1", "--out", str(tmp_path / "fork")
    )
    assert resumed[0] == 0 and Recording.load(tmp_path / "fork")[0].config.weights["learned"] == 1.0
    labels.write_text(lines[0] + "{\n" + lines[1])
    code, _, err = run(*given)
    assert code == 2 and "has a line that is no label; mend or delete: line 2: it is not JSON" in err
    labels.write_text("".join(lines[:2]))
    code, _, err = run(*given)
    assert code == 2 and "at least 5 labels" in err and "there are 2: label some more" in err
    code, _, err = run("--weight-learned", "1")
    assert code == 2 and "name their file with --labels" in err


def test_it_tunes_the_trunk_to_the_labels_and_says_what_that_gained(run: Run, tmp_path: Path) -> None:
    pair = {"prompt": "Once", "chosen": "the happy dog ran", "rejected": "a sad cat sat"}
    labels = tmp_path / "pairs.jsonl"
    labels.write_text("".join(json.dumps({**pair, "rejected": f"{pair['rejected']} {n}"}) + "\n" for n in range(12)))
    given = ("--labels", str(labels), "--tune", "--updates", "1")
    code, out, err = run(*given, "--out", str(tmp_path / "run"))
    assert (code, err) == (0, "")
    recipe = dict(Recording.load(tmp_path / "run")[0].config.components["learned"])
    assert out.startswith("Of " if "trunk" in recipe else "The trunk stays frozen") and "held-out labels" in out
    code, out, err = run(*given, "--json", "--out", str(tmp_path / "again"))
    assert (code, err) == (0, "") and [json.loads(line)["update"] for line in out.splitlines()] == [1]
    assert Recording.load(tmp_path / "again")[0].config.components == {"learned": recipe}
    fork = run("--resume", str(tmp_path / "run"), *given, "--weight-learned", "0.5", "--out", str(tmp_path / "f"))
    assert (fork[0], fork[2]) == (0, "") and "held-out labels" in fork[1]
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:9]))
    code, _, err = run(*given)
    assert code == 2 and "at least 10 decided" in err
    code, _, err = run("--tune")
    assert code == 2 and "--tune tunes the trunk of what is learnt from labels: name their file with --labels" in err


def test_the_seed_option_goes_before_a_setting() -> None:
    assert build_config(None, ["seed=3"], 5) == Config(seed=5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_prompts_keep_their_order_and_lose_their_edges(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("  First one \r\n\nsecond: é\n", encoding=encoding)
    assert read_prompts(path) == ["First one", "second: é"]
