"""Resume and fork: without a change a resumed run is the unbroken one bit by bit, however it was cut off."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from explorer import headless
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.policy import Policy
from explorer.recording import compacting
from explorer.recording import folder as recording_folder
from explorer.recording.branches import parting
from explorer.recording.checkpoints import checkpoint_path, checkpoint_updates
from explorer.recording.folder import RecordingError
from explorer.recording.index import read_index
from explorer.recording.shelf import Shelf
from explorer.recording.snapshot import Snapshot
from explorer.recording.storage import Recording
from explorer.session.session import Session
from tests.conftest import TINY_PROMPTS
from tests.learned import learned
from tests.taught import taught

SMALL: dict[str, Any] = {
    **{"batch_size": 8, "group_size": 2, "response_length": 6, "epochs": 2},
    **{"learning_rate": 1e-3, "stop_sentences": 1},
}
CONFIGS = {
    "default": Config(**SMALL),
    "early stop": Config(**{**SMALL, "epochs": 6}, target_kl=0.002),
    "one epoch": Config(**{**SMALL, "epochs": 1}),
    "minibatches": Config(**SMALL, minibatches=3),
    "replay": Config(**SMALL, replay_rollouts=3),
    "separate critic, adaptive KL": Config(**SMALL, critic="separate", kl_target=0.5, kl_horizon=8),
    "PPO-penalty": Config(**SMALL, objective="kl_penalty", penalty_target=0.001),
    "linear rate, dropout": Config(**SMALL, lr_schedule="linear", lr_decay_updates=9, dropout_on=True),
}

Make = Callable[..., Trainer]
Resume = Callable[..., Trainer]


@pytest.fixture
def make(make_tiny_policy: Callable[[], Policy]) -> Make:
    """``make(config)``: a headless trainer of a fresh tiny policy."""
    return lambda config=CONFIGS["default"], **more: Trainer(make_tiny_policy(), config, prompts=TINY_PROMPTS, **more)


@pytest.fixture
def resume(make_tiny_policy: Callable[[], Policy]) -> Resume:
    """``Trainer.resume`` with the tiny policy."""
    return lambda *where, **more: Trainer.resume(*where, **{"policy": make_tiny_policy(), **more})


def numbers_of(trainer: Trainer) -> dict[str, bytes]:
    """Every weight, moment and replayed number of a trainer."""
    return {name: t.numpy().tobytes() for name, t in trainer.state().tensors.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_resuming_is_bit_identical_to_never_having_stopped(
    make: Make, resume: Resume, tmp_path: Path, name: str
) -> None:
    unbroken, stopped = make(CONFIGS[name]), make(CONFIGS[name])
    whole = unbroken.train(7, out=tmp_path / "whole", checkpoint_every=3)
    stopped.train(5, out=tmp_path / "run", checkpoint_every=3)
    if name == "early stop":
        assert {len(s.trained) for s in whole} & {1, 2, 3, 4, 5}

    middle = resume(tmp_path / "run", 3)  # in memory, from the middle
    assert learned(list(middle.train(4))) == learned(list(whole))[3:]
    assert numbers_of(middle) == numbers_of(unbroken)

    last = resume(tmp_path / "run")  # in place, from the last
    assert last.updates == 5
    recording = last.train(2, out=tmp_path / "run", checkpoint_every=3)
    assert learned(list(recording)) == learned(list(whole))
    assert numbers_of(last) == numbers_of(unbroken)
    assert last.coefficients == unbroken.coefficients
    assert parting(whole, recording) is None


@pytest.mark.parametrize("change", [{"epochs": 1}, {"minibatches": 3}, {"target_kl": 0.0}, {"replay_rollouts": 3}])
def test_a_fork_draws_the_same_random_numbers(
    make: Make, resume: Resume, tmp_path: Path, change: dict[str, Any]
) -> None:
    parent = make(Config(**{**SMALL, "epochs": 4})).train(4, out=tmp_path / "run", checkpoint_every=2)
    fork = resume(tmp_path / "run", 2, change).train(2, out=tmp_path / "fork")
    assert fork.updates == [3, 4]
    ours, theirs = parent[2], fork[0]
    for field in dataclasses.fields(ours.rollout):
        assert np.array_equal(getattr(ours.rollout, field.name), getattr(theirs.rollout, field.name)), field.name
    assert np.array_equal(ours.credit.advantages, theirs.credit.advantages)
    assert learned([ours]) != learned([theirs])
    found = parting(parent, fork)
    assert found is not None
    assert found.update == 3
    assert found.stage.startswith(("epoch", "final"))
    assert found.parent != found.child


#: What is changed at update 2 of four, from which settings, and where the fork must part by what the change does.
FORKS: dict[str, tuple[Config, dict[str, Any], str, str]] = {
    # A limit of 0 ends an update with its second epoch, the first that sees a ratio other than 1.
    "early stop": (Config(**{**SMALL, "epochs": 4}), {"target_kl": 0.0}, "final", "new_logprobs"),
    "other K": (Config(**SMALL), {"epochs": 3}, "final", "new_logprobs"),
    # The whole batch is looked at before the first step; with minibatches the later rows after it.
    "other minibatches": (Config(**SMALL), {"minibatches": 4}, "epoch 1", "new_logprobs"),
    # Rows that the parent has not: they come after the fresh ones, in the first epoch already.
    "replay on": (Config(**SMALL), {"replay_rollouts": 2}, "epoch 1", "new_logprobs"),
    # The critic's rate moves the critic alone, in its first step.
    "separate critic": (Config(**SMALL, critic="separate"), {"value_learning_rate": 0.05}, "epoch 2", "values"),
    "learning rate": (Config(**SMALL), {"learning_rate": 2e-3}, "epoch 2", "new_logprobs"),
    "schedule, minibatches": (
        *(Config(**SMALL, minibatches=2, lr_schedule="linear"), {"lr_decay_updates": 50}),
        *("epoch 1", "new_logprobs"),
    ),
    "temperature": (Config(**SMALL), {"temperature": 0.3}, "sample", "response_ids"),
}

#: The columns in the order in which an update computes them, by what the numerics say and not by the code.
SAMPLED = (
    *("response_ids", "response_mask", "old_logprobs", "old_values", "entropies", "ref_logprobs"),
    *("ref_kl", "rewards", "deltas", "advantages", "returns", "whitened_advantages"),
)
SEEN = ("new_logprobs", "values", "ratios", "entropies", "advantages", "zero_gradient", "policy_terms")


def first_place(parent: Path, fork: Path, update: int, quantity: str, epoch: int | None) -> tuple[Any, ...] | None:
    """Where a column of the files first differs, row by row in the plain order of responses and positions.

    ``epoch`` is None for what is sampled, else that epoch's rows; 0 is the final one. Gives response, position and both
    values; a row that only one of the files has is None in the other.
    """
    rows: list[dict[tuple[int, int], Any]] = []
    for run in (parent, fork):
        table = pq.read_table(run / ("tokens" if epoch is None else "epochs") / f"{update:06d}.parquet").to_pylist()
        wanted = [row for row in table if epoch is None or (row["final"] if epoch == 0 else row["epoch"] == epoch)]
        rows.append({(row["response"], row["position"]): row[quantity] for row in wanted})
    for place in sorted({*rows[0], *rows[1]}):
        one, other = (run.get(place) for run in rows)
        if repr(one) != repr(other):  # as Python writes a number it comes back bit for bit, and -0.0 is not 0.0
            return *place, one, other
    return None


@pytest.mark.parametrize("name", FORKS)
def test_a_fork_parts_at_the_first_number_that_the_files_of_both_tell(
    make: Make, resume: Resume, tmp_path: Path, name: str
) -> None:
    config, change, stage, quantity = FORKS[name]
    run, other = tmp_path / "run", tmp_path / "fork"
    parent = make(config).train(4, out=run, checkpoint_every=2)
    same = resume(run, 2).train(2)
    assert learned(list(same)) == learned(list(parent))[2:]
    assert parting(parent, same) is None

    fork = resume(run, 2, change).train(2, out=other)
    assert fork.info["parent"]["update"] == 2
    assert {knob: after for knob, (_, after) in fork.info["parent"]["changed"].items()} == change
    found = parting(parent, fork)
    assert found is not None
    assert (found.update, found.stage, found.quantity) == (3, stage, quantity)
    epoch = None if stage == "sample" else 0 if stage == "final" else int(stage.removeprefix("epoch "))
    assert (found.response, found.token, found.parent, found.child) == first_place(run, other, 3, quantity, epoch)
    # Nothing that is computed before has moved.
    before = SAMPLED[: SAMPLED.index(quantity)] if epoch is None else SAMPLED
    assert [column for column in before if first_place(run, other, 3, column, None)] == []
    if epoch is not None:
        both = min(len(parent[2].trained), len(fork[0].trained))
        earlier = range(1, epoch if epoch else both + 1)
        assert [(k, column) for k in earlier for column in SEEN if first_place(run, other, 3, column, k)] == []
        there = SEEN[: SEEN.index(quantity)]
        assert [column for column in there if first_place(run, other, 3, column, epoch)] == []
    else:
        spelled = (parent[2].tokens.responses, fork[0].tokens.responses)
        assert found.words == tuple(texts[found.response][found.token] for texts in spelled)


def test_other_threads_or_another_pytorch_are_told_and_do_not_keep_a_run_from_going_on(
    make: Make, resume: Resume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 3)
        patch.setattr(torch, "__version__", "2.0.1")
        made = make().train(2, out=run)
    assert made.info["threads"] == 3
    with pytest.warns(
        UserWarning, match=r"with PyTorch 2\.0\.1, 3 threads and goes on with PyTorch .*, 1 thread: "
    ) as told:
        trainer = resume(run)
    assert "not bit for bit" in str(told[0].message) and len(told) == 1
    assert trainer.train(1, out=run).updates == [1, 2, 3]
    assert resume(run).updates == 3  # its newest state has been made here


def test_a_fork_names_its_parent_and_what_was_changed(make: Make, resume: Resume, tmp_path: Path) -> None:
    parent = make().train(4, out=tmp_path / "run", checkpoint_every=2)
    trainer = resume(tmp_path / "run", 2, {"clip_range": 0.3, "weight_length": 0.5})
    fork = trainer.train(2, out=tmp_path / "fork")
    assert fork.info["parent"] == {
        "folder": "run",
        "id": parent.info["id"],
        "update": 2,
        "changed": {"clip_range": [0.2, 0.3], "weight_length": [0.0, 0.5]},
    }
    assert fork.info["id"] != parent.info["id"]
    assert fork.info["policy_digest"] == parent.info["policy_digest"]
    assert fork.config_at(3).clip_range == 0.3
    assert "parent" not in parent.info
    # A fork stands on its own: it goes on from where it began, and can be forked again.
    assert checkpoint_updates(tmp_path / "fork") == [2, 4]
    grandchild = resume(tmp_path / "fork", 2).train(2, out=tmp_path / "again")
    assert learned(list(grandchild)) == learned(list(fork))
    assert grandchild.info["parent"]["id"] == fork.info["id"]
    assert grandchild.info["parent"]["changed"] == {}
    assert "parent" not in trainer.train(1).info  # it has moved on since


def test_a_change_of_reward_parts_at_the_score(make: Make, resume: Resume, tmp_path: Path) -> None:
    parent = make().train(2, out=tmp_path / "run", checkpoint_every=1)
    fork = resume(tmp_path / "run", 1, {"weight_length": 1.0}).train(1)
    found = parting(parent, fork)
    assert found is not None
    assert (found.stage, found.quantity, found.token) == ("score", "scores", None)
    assert found.parent == parent[1].credit.scores[found.response]
    assert found.child == fork[0].credit.scores[found.response]


def test_another_seed_parts_at_the_prompts_or_the_tokens(make: Make, resume: Resume, tmp_path: Path) -> None:
    parent = make().train(2, out=tmp_path / "run", checkpoint_every=1)
    found = parting(parent, resume(tmp_path / "run", 1, {"seed": 1}).train(1))
    assert found is not None
    assert found.stage == "sample"


def test_knobs_that_a_callback_turned_are_turned_again(make: Make, resume: Resume, tmp_path: Path) -> None:
    trainer = make()

    def turn(snapshot: Snapshot) -> None:
        trainer.config = trainer.config.replace(clip_range=snapshot.update / 10)

    whole = trainer.train(4, out=tmp_path / "run", checkpoint_every=2, on_snapshot=turn)
    resumed = resume(tmp_path / "run", 2)
    assert resumed.config.clip_range == 0.2
    assert learned([resumed.update()]) == learned([whole[2]])


def test_prompts_and_rewards_come_along(make: Make, resume: Resume, tmp_path: Path) -> None:
    def mine(prompts: list[str], responses: list[str]) -> list[float]:
        return [len(text) / 50 for text in responses]

    trainer = make(rewards={"mine": mine})
    trainer.set_prompts(["The cat"])
    whole = trainer.train(2, out=tmp_path / "run", checkpoint_every=1)
    with pytest.raises(ValueError, match="no reward component 'mine'"):
        resume(tmp_path / "run", 1)
    resumed = resume(tmp_path / "run", 1, rewards={"mine": mine})
    assert resumed.prompts == ["The cat"]
    assert learned([resumed.update()]) == learned([whole[1]])


def test_a_judge_that_was_learnt_is_recorded_and_comes_along_to_a_run_gone_on_with_and_to_a_branch(
    make: Make, resume: Resume, make_tiny_policy: Callable[[], Policy], tmp_path: Path
) -> None:
    config = CONFIGS["default"]
    first, second = (taught(make_tiny_policy(), config, TINY_PROMPTS, seed) for seed in (0, 1))
    whole = list(make(config.replace(judge=first)).train(4))
    make(config.replace(judge=first)).train(2, out=tmp_path / "run")
    recorded = Recording.load(tmp_path / "run")
    assert [snapshot.config.judge for snapshot in recorded] == [config.replace(judge=first).judge] * 2
    assert all(snapshot.credit.judge is not None for snapshot in recorded)
    resume(tmp_path / "run").train(2, out=tmp_path / "run")
    assert learned(list(Recording.load(tmp_path / "run"))) == learned(whole)

    branch = resume(tmp_path / "run", 2)
    branch.config = branch.config.replace(judge=second)
    made = list(branch.train(2, out=tmp_path / "branch"))
    assert [made[-1].credit.judge.tobytes() == whole[-1].credit.judge.tobytes()] == [False]
    assert made[-1].credit.scores.tobytes() == whole[-1].credit.scores.tobytes()  # another judge changes nothing else
    assert Recording.load(tmp_path / "branch")[-1].config.judge == config.replace(judge=second).judge


def test_a_component_that_was_learnt_with_a_tuned_trunk_comes_along_to_a_run_gone_on_with_and_to_a_branch(
    make: Make, resume: Resume, make_tiny_policy: Callable[[], Policy], tmp_path: Path
) -> None:
    recipe, frozen = (
        taught(make_tiny_policy(), CONFIGS["default"], TINY_PROMPTS, tuned=tuned) for tuned in (True, False)
    )
    assert recipe["trunk"] and "trunk" not in frozen
    config = CONFIGS["default"].replace(component_learned=recipe)
    unbroken = make(config)
    whole = list(unbroken.train(4))
    make(config).train(2, out=tmp_path / "run")
    last = resume(tmp_path / "run")
    assert last.config.components == config.components
    last.train(2, out=tmp_path / "run")
    assert learned(list(Recording.load(tmp_path / "run"))) == learned(whole)
    assert numbers_of(last) == numbers_of(unbroken)

    # A branch that changes nothing is the run again; one that takes the trunk away parts from it at the scores.
    same = resume(tmp_path / "run", 2).train(2, out=tmp_path / "same")
    assert learned(list(same)) == learned(whole[2:])
    other = resume(tmp_path / "run", 2, {"component_learned": frozen}).train(2, out=tmp_path / "other")
    found = parting(Recording.load(tmp_path / "run"), other)
    assert found is not None and (found.update, found.stage) == (3, "score")
    assert other[-1].config.components == {"learned": frozen}


def test_where_a_run_ends_its_state_is_kept(make: Make, tmp_path: Path) -> None:
    make().train(5, out=tmp_path / "whole", checkpoint_every=2)
    assert checkpoint_updates(tmp_path / "whole") == [0, 2, 4, 5]

    def interrupt(snapshot: Snapshot) -> None:
        if snapshot.update == 3:
            raise KeyboardInterrupt

    make().train(5, out=tmp_path / "interrupted", on_snapshot=interrupt)
    assert checkpoint_updates(tmp_path / "interrupted") == [0, 3]

    def fail(snapshot: Snapshot) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make().train(5, out=tmp_path / "failed", on_snapshot=fail)
    assert checkpoint_updates(tmp_path / "failed") == [0, 1]
    make().train(2, out=tmp_path / "none", checkpoint_every=0)
    assert not (tmp_path / "none" / "checkpoints").exists()


def test_checkpoints_stay_within_their_megabytes(make: Make, tmp_path: Path) -> None:
    make().train(1, out=tmp_path / "one", checkpoint_every=1)
    size = checkpoint_path(tmp_path / "one", 1).stat().st_size
    megabytes = 5.5 * size / 1e6
    make().train(12, out=tmp_path / "run", checkpoint_every=1, checkpoint_megabytes=megabytes)
    kept = checkpoint_updates(tmp_path / "run")
    assert 3 <= len(kept) <= 5
    assert kept[-2:] == [11, 12]
    assert sum(p.stat().st_size for p in (tmp_path / "run" / "checkpoints").iterdir()) <= megabytes * 1e6


# --- what cannot be done ---


def test_a_folder_is_gone_on_with_only_where_nothing_was_changed(make: Make, resume: Resume, tmp_path: Path) -> None:
    make().train(4, out=tmp_path / "run", checkpoint_every=2)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    cases: list[tuple[Trainer, str]] = [
        (resume(tmp_path / "run", None, {"epochs": 3}), "epochs is another than before"),
        (resume(tmp_path / "run", 2), "later checkpoints than that of update 2"),
        (resume(tmp_path / "run", bf16=True), "bf16 is another"),
    ]
    other = resume(tmp_path / "run")
    other.set_prompts(["The cat"])
    moved = resume(tmp_path / "run")
    moved.update()
    cases += [(other, "prompts is another"), (moved, "the trainer is at update 5")]
    for trainer, message in cases:
        with pytest.raises(RecordingError, match=message):
            trainer.train(1, out=tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("name", "value"), [("critic", "separate"), ("response_length", 5)])
def test_what_belongs_to_the_run_cannot_be_changed(
    make: Make, resume: Resume, tmp_path: Path, name: str, value: Any
) -> None:
    make().train(1, out=tmp_path / "run")
    with pytest.raises(RecordingError, match=f"{name} is .* and cannot become {value} in the middle of the run"):
        resume(tmp_path / "run", None, {name: value})


def test_another_base_policy_is_refused(make: Make, resume: Resume, tmp_path: Path, tiny_policy: Policy) -> None:
    make().train(1, out=tmp_path / "run")
    with torch.no_grad():
        tiny_policy.lm.transformer.ln_f.bias += 0.1
    with pytest.raises(RecordingError, match="was begun with another policy"):
        resume(tmp_path / "run", policy=tiny_policy)


def test_a_checkpoint_that_is_not_there_is_told_with_those_that_are(make: Make, resume: Resume, tmp_path: Path) -> None:
    make().train(3, out=tmp_path / "run", checkpoint_every=2)
    with pytest.raises(RecordingError, match=r"no checkpoint of update 1: choose one of 0, 2, 3\."):
        resume(tmp_path / "run", 1)
    make().train(1, out=tmp_path / "none", checkpoint_every=0)
    with pytest.raises(RecordingError, match="keeps no checkpoint to go on from"):
        resume(tmp_path / "none")
    with pytest.raises(RecordingError, match="There is no folder"):
        resume(tmp_path / "nothing")


def test_a_checkpoint_of_another_run_is_refused(make: Make, resume: Resume, tmp_path: Path) -> None:
    for name in ("one", "other"):
        make().train(1, out=tmp_path / name)
    checkpoint_path(tmp_path / "one", 1).write_bytes(checkpoint_path(tmp_path / "other", 1).read_bytes())
    with pytest.raises(RecordingError, match="belongs to another run"):
        resume(tmp_path / "one")


def test_a_checkpoint_of_an_update_that_has_not_happened_does_not_count(
    make: Make, resume: Resume, tmp_path: Path
) -> None:
    make().train(1, out=tmp_path / "run")
    checkpoint_path(tmp_path / "run", 9).write_bytes(checkpoint_path(tmp_path / "run", 1).read_bytes())
    assert resume(tmp_path / "run").updates == 1


def test_a_recording_of_an_older_schema_goes_on_elsewhere(make: Make, resume: Resume, tmp_path: Path) -> None:
    make().train(1, out=tmp_path / "run")
    run = tmp_path / "run" / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "schema_version": 1}))
    with pytest.raises(RecordingError, match="schema 1, .* go on in another folder"):
        resume(tmp_path / "run").train(1, out=tmp_path / "run")


# --- a run that is cut off ---


@pytest.mark.parametrize("errors", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("at", [1, 3, 9, 14, 22])
def test_a_full_disk_is_one_sentence_and_loses_nothing_before(
    make: Make, resume: Resume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, errors: int
) -> None:
    whole = make().train(5)
    replace, calls = os.replace, []

    def full(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) >= at:
            raise OSError(errors, os.strerror(errors))
        replace(source, target)

    trainer, seen = make(), []
    with monkeypatch.context() as patch:
        patch.setattr(recording_folder.os, "replace", full)
        with pytest.raises(RecordingError, match=os.strerror(errors)) as refused:
            trainer.train(5, out=tmp_path / "run", checkpoint_every=2, on_snapshot=seen.append)
    message = str(refused.value)
    assert str(tmp_path / "run") in message
    assert len(message.splitlines()) == 1
    # The run in memory is whole, and goes on.
    made = trainer.updates
    assert len(seen) <= made <= len(seen) + 1
    assert learned(seen) == learned(list(whole))[: len(seen)]
    if made < 5:
        assert learned(list(trainer.train(5 - made))) == learned(list(whole))[made:]
    if at <= 2:
        assert not (tmp_path / "run" / "run.json").exists()
        return
    held = Recording.load(tmp_path / "run")
    assert learned(list(held)) == learned(list(whole))[: len(held)]
    assert f"every update up to {len(held)}" in message or (len(held) == 0 and "no update yet" in message)
    lost = [*range(len(held) + 1, made + 1)]
    assert ("lost" in message) == bool(lost)
    assert not lost or (f"{lost[0]} to {made} are lost" if lost[1:] else f"update {made} is lost") in message
    assert "make room there and resume the run" in message
    assert len(held) >= made - 2  # all but the one that failed, and the one computed meanwhile
    resumed = resume(tmp_path / "run")
    again = resumed.train(5 - resumed.updates, out=tmp_path / "run")
    assert learned(list(again)) == learned(list(whole))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_disk_that_takes_no_more_bytes(make: Make, resume: Resume, tmp_path: Path) -> None:
    import resource

    trainer, limits = make(), resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(snapshot: Snapshot) -> None:
        if snapshot.update == 3:  # from now on the system cuts every file off here
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))

    try:
        with pytest.raises(RecordingError, match="cannot be written to"):
            trainer.train(9, out=tmp_path / "run", on_snapshot=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    held = Recording.load(tmp_path / "run")
    whole = make().train(5)
    assert 2 <= len(held) <= 3
    assert learned(list(held)) == learned(list(whole))[: len(held)]
    assert not list((tmp_path / "run").rglob("*.part"))
    assert trainer.updates in (3, 4, 5)
    resumed = resume(tmp_path / "run")
    assert learned(list(resumed.train(5, out=tmp_path / "run"))) == learned(list(whole))


# --- after a kill: what is recorded after the newest state is made once more ---


def without_states_after(root: Path, update: int) -> dict[str, bytes]:
    """Make of a run what a kill leaves of it; gives every other file."""
    for number in checkpoint_updates(root):
        if number > update:
            checkpoint_path(root, number).unlink()
    return {str(path): path.read_bytes() for path in root.rglob("*.parquet") if path.parent.name != "metrics"}


@pytest.mark.parametrize("more", [1, 3, 5])
def test_going_on_after_a_kill_loses_nothing_however_few_updates_it_makes(
    make: Make, resume: Resume, tmp_path: Path, more: int
) -> None:
    trainer = make()

    def turn(snapshot: Snapshot) -> None:
        trainer.config = trainer.config.replace(clip_range=snapshot.update / 10)

    run = tmp_path / "run"
    trainer.train(6, out=run, checkpoint_every=2, on_snapshot=turn)
    whole = [*Recording.load(run), trainer.update()]
    before = without_states_after(run, 2)
    assert resume(run).origin.ahead == 4
    trainer = resume(run)
    again = trainer.train(more, out=run, checkpoint_every=2, on_snapshot=turn if more > 4 else None)
    assert trainer.updates == 2 + more
    assert again.updates == [*range(1, max(6, 2 + more) + 1)]
    assert learned(list(again)) == learned(whole[: len(again)])
    assert before.items() <= {str(path): path.read_bytes() for path in run.rglob("*.parquet")}.items()
    assert checkpoint_updates(run)[-1] == 2 + more


def test_what_comes_out_otherwise_is_refused_in_place_and_changes_nothing(
    make: Make, resume: Resume, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    make().train(6, out=run, checkpoint_every=2)
    without_states_after(run, 2)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    trainer, seen = resume(run), []
    other = resume(run)
    with torch.no_grad():  # as another version of PyTorch would have it
        trainer.policy.value_head.bias += 1e-3
    with pytest.raises(RecordingError, match=r"update 3, made once more from the newest state, is not the one"):
        trainer.train(9, out=run, on_snapshot=seen.append)
    assert seen == []
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    fork = other.train(1, out=tmp_path / "fork")  # elsewhere it is a run of its own
    assert fork.info["parent"]["update"] == 2


def test_the_newest_state_is_kept_in_passing_until_the_next_one(
    make: Make, resume: Resume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that after a kill only a few seconds are to be made once more."""
    monkeypatch.setattr(headless, "PASSING_SECONDS", 0.0)
    there: list[list[int]] = []
    made = make().record(8, tmp_path / "run", checkpoint_every=3)
    for _ in made:
        there.append(checkpoint_updates(tmp_path / "run"))
    for update, states in enumerate(there, start=1):
        passing = [n for n in states if n % 3]
        assert states[-1] >= update - 2  # the one on its way, and the one before
        assert len(passing) <= 2  # the one before goes when the next is safe
    assert checkpoint_updates(tmp_path / "run") == [0, 3, 6, 8]
    assert learned(list(Recording.load(tmp_path / "run"))) == learned(list(make().train(8)))


#: How many updates the killed runs put together: with four, kills come before, in and after it within twelve updates.
BLOCK_OF_KILLED = 4

#: Records runs, one child after the other, and kills each with SIGKILL at a random moment. One that has ended before is
#: drawn again; every second folder is gone on with and killed once more. One process imports torch for all of them.
#: Beside each folder a file lists the updates that had been handed over to be written.
KILLER = """
import multiprocessing, random, shutil, sys, time
from pathlib import Path
import torch
from explorer.config import Config
from explorer.headless import Trainer
from explorer.ppo.loading import load_policy
from explorer.recording import compacting
from explorer.recording.shelf import Shelf
from explorer.session.session import Session

checkpoint, root, moments, total, seed, config, prompts, kind, block = sys.argv[1:]
torch.set_num_threads(1)
compacting.BLOCK = int(block)
total, config, prompts = int(total), Config.from_flat(eval(config)), eval(prompts)
policy = load_policy(checkpoint)  # each child has a copy of its own

def handed_over(out, update):
    with out.with_suffix(".seen").open("a") as file:
        file.write(f"{update}\\n")

def command(out):
    if (out / "run.json").exists():
        trainer = Trainer.resume(out, policy=policy)
        missing = total - trainer.updates
    else:
        trainer, missing = Trainer(policy, config, prompts=prompts), total
    if missing > 0:
        trainer.train(missing, out=out, checkpoint_every=2, on_snapshot=lambda s: handed_over(out, s.update))

def page(out):
    shelf = Shelf(out, checkpoint_every=3)
    session = Session(policy, config, None, prompts, threaded=False, shelf=shelf)
    after_update = session.recorder.after_update

    def then(live, snapshot, *more):
        after_update(live, snapshot, *more)
        handed_over(out, snapshot.update)

    session.recorder.after_update = then
    for entry in shelf.entries():
        session.runs.open(entry.id)
    if session.updates < total:
        session.train(total - session.updates)
    session.close()
    assert not session.error, session.error

def killed(out, seconds):
    child = multiprocessing.get_context("fork").Process(target=dict(command=command, page=page)[kind], args=(out,))
    child.start()
    child.join(seconds)
    child.kill()
    child.join()
    return child.exitcode

began = time.perf_counter()
assert killed(Path(root) / "timed", None) == 0
length = time.perf_counter() - began
draw = random.Random(int(seed))
for moment in range(int(moments)):
    out, code = Path(root) / f"{moment:02d}", 0
    while code == 0:
        shutil.rmtree(out, ignore_errors=True)
        out.with_suffix(".seen").unlink(missing_ok=True)
        code = killed(out, draw.uniform(0, length))
    print(moment, code, flush=True)
    if moment % 2:
        print(moment, killed(out, draw.uniform(0, length)), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.parametrize("kind", ["command", "page"])
@pytest.mark.parametrize("moments", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_moment_opens_and_goes_on_to_the_same_end(
    make: Make,
    resume: Resume,
    make_tiny_policy: Callable[[], Policy],
    tiny_checkpoint: Path,
    tmp_path: Path,
    moments: int,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compacting, "BLOCK", BLOCK_OF_KILLED)
    total, config, seed = 12, CONFIGS["replay"], random.SystemRandom().randrange(10**6)
    print(f"the moments are drawn with seed {seed}")
    unbroken = make(config)
    whole = learned(list(unbroken.train(total)))
    numbers = numbers_of(unbroken)
    whole += learned([unbroken.update()])
    arguments = [str(tiny_checkpoint), str(tmp_path), str(moments), str(total), str(seed), repr(config.flat())]
    command = [sys.executable, "-c", KILLER, *arguments, repr(TINY_PROMPTS), kind, str(BLOCK_OF_KILLED)]
    environment = os.environ | {"PYTHONPATH": str(Path(headless.__file__).parents[1])}
    told = subprocess.run(command, env=environment, check=True, timeout=300, stdout=subprocess.PIPE, text=True).stdout
    codes = [tuple(map(int, line.split())) for line in told.splitlines()]
    first = dict(reversed(codes))  # of each moment the first one
    assert first == dict.fromkeys(range(moments), -signal.SIGKILL)
    assert {code for _, code in codes} <= {-signal.SIGKILL, 0}  # none ended by an error
    lengths, blocks = [], []
    for moment in range(moments):
        out = tmp_path / f"{moment:02d}"
        entries = Shelf(out).entries() if kind == "page" else []
        folder = out if kind == "command" else entries[0].folder if entries else out
        assert len(entries) <= 1
        held = learned(list(Recording.load(folder))) if (folder / "run.json").exists() else []
        assert held == whole[: len(held)], moment
        seen = out.with_suffix(".seen")
        last = max(map(int, seen.read_text().split())) if seen.exists() else 0
        # Lost is the update in progress, and that before it only where it was still being written.
        assert len(held) >= last - 1, moment
        lengths.append(len(held))
        blocks.append(where_it_was(folder))
        if kind == "command":
            trainer = resume(out) if (out / "run.json").exists() else make(config)
            if trainer.updates < total:
                trainer.train(total - trainer.updates, out=out, checkpoint_every=2)
                assert {len(block.updates) for block in read_index(out)} == {BLOCK_OF_KILLED}, moment
            assert numbers_of(trainer) == numbers, moment
            assert learned(list(Recording.load(out))) == whole[:total], moment
            continue
        session = Session(
            make_tiny_policy(), config, None, TINY_PROMPTS, threaded=False, shelf=Shelf(out, checkpoint_every=3)
        )
        if entries:  # also where it was killed before its first update
            session.runs.open(entries[0].id)
        session.step()
        session.close()
        assert session.error == {}
        after = Shelf(out).entries()
        assert [run.updates for run in after] == [len(held) + 1], moment  # a step adds one, and nothing is lost
        assert learned(list(Recording.load(after[0].folder))) == whole[: len(held) + 1], moment
    print(f"they left {sorted(lengths)} updates; blocks: {Counter(blocks)}")
    if moments >= 50:
        assert len(set(lengths)) >= 5  # the moments were spread over the run
        assert set(blocks) == {"before", "in", "after"}


def where_it_was(folder: Path) -> str:
    """Whether a kill came before, in or after putting updates together."""
    if any(folder.glob("tokens/.*-.parquet.part")):
        return "in"
    return "after" if (folder / "index.json").exists() and read_index(folder) else "before"
