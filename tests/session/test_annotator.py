"""The annotator in the page: asked, labelled, taken back, kept, fitted, trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from explorer.ppo.loading import load_policy
from explorer.ppo.preferences.splitting import unpacked
from explorer.presets import PRESETS
from explorer.recipes import learned_judge
from explorer.recording.shelf import Shelf
from explorer.session.annotator import AHEAD
from explorer.session.labels import FOLDER
from explorer.session.session import Session

if TYPE_CHECKING:
    from tests.session.conftest import MakeSession


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def asked(make_session: MakeSession, root: Path) -> Session:
    """A session whose annotator is on screen."""
    session = make_session(shelf=Shelf(root))
    session.annotator.wanted = True
    return session


def first(session: Session) -> dict[str, Any]:
    found: dict[str, Any] = session.annotator.state["queue"][0]
    return found


def label(session: Session, choices: str) -> None:
    words = {"a": "a", "b": "b", "t": "tie", "s": "skip"}
    for choice in choices:
        session.annotator.choose(first(session)["id"], words[choice])


def kept(root: Path, who: str = "you") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / FOLDER / f"{who}.jsonl").read_text().splitlines()]


def test_nothing_is_drawn_before_anybody_looks(make_session: MakeSession, root: Path) -> None:
    session = make_session(shelf=Shelf(root))
    assert session.annotator.state == {} and not root.exists()


def test_pairs_are_ready_ahead_and_are_two_answers_to_one_prompt(asked: Session) -> None:
    queue = asked.annotator.state["queue"]
    assert len(queue) == AHEAD and asked.annotator.state["measured"]
    assert all(pair["a"] != pair["b"] and pair["prompt"] in asked.prompts for pair in queue)
    assert {(pair["way"], pair["source"]) for pair in queue} == {("random", "fresh")}
    assert len({pair["id"] for pair in queue}) == AHEAD


def test_a_label_is_on_disk_before_the_next_pair_is_shown(asked: Session, root: Path) -> None:
    for choice in "abts":
        pair = first(asked)
        label(asked, choice)
        line = kept(root)[-1]
        assert line["prompt"] == pair["prompt"]
        texts = {"a": (pair["a"], pair["b"]), "b": (pair["b"], pair["a"])}.get(choice)
        if texts:
            assert (line["chosen"], line["rejected"]) == texts
        else:
            assert (line["a"], line["b"], line["choice"]) == (pair["a"], pair["b"], {"t": "tie", "s": "skip"}[choice])
    assert asked.annotator.state["labels"] == 4
    assert asked.annotator.state["fitted"]["said"] == {"a": 1, "b": 1, "tie": 1, "skip": 1}


def test_a_press_for_a_pair_that_is_gone_changes_nothing(asked: Session, root: Path) -> None:
    gone = first(asked)["id"]
    label(asked, "a")
    asked.annotator.choose(gone, "b")
    assert [line["choice"] for line in kept(root)] == ["a"]
    with pytest.raises(ValueError, match="'choice' is 'c'"):
        asked.annotator.choose(first(asked)["id"], "c")


def test_a_label_for_a_pair_that_the_model_has_replaced_meanwhile_still_counts(asked: Session, root: Path) -> None:
    last = asked.annotator.state["queue"][-1]
    label(asked, "ababab")  # the browser may be ahead of what comes back from the kernel
    assert last["id"] not in [pair["id"] for pair in asked.annotator.state["queue"]]
    asked.annotator.choose(last["id"], "b")
    assert (kept(root)[-1]["chosen"], kept(root)[-1]["rejected"]) == (last["b"], last["a"])


def test_undo_asks_about_the_same_pair_again(asked: Session, root: Path) -> None:
    pair = first(asked)
    label(asked, "ab")
    asked.annotator.undo()
    asked.annotator.undo()
    again = first(asked)
    assert {**again, "id": 0} == {**pair, "id": 0}
    assert kept(root) == [] and not asked.annotator.state["undo"]
    asked.annotator.undo()


def test_labels_survive_a_reload_and_are_not_asked_again(asked: Session, make_session: MakeSession, root: Path) -> None:
    label(asked, "abababab")
    before = kept(root)
    asked.close()
    later = make_session(shelf=Shelf(root))
    later.annotator.wanted = True
    assert later.annotator.state["labels"] == 8
    assert later.annotator.state["fitted"]["train"]["pairs"] == 8
    known = {(line["prompt"], frozenset([line["chosen"], line["rejected"]])) for line in before}
    assert not known & {(p["prompt"], frozenset([p["a"], p["b"]])) for p in later.annotator.state["queue"]}
    later.annotator.undo()
    assert kept(root) == before[:-1]


def test_informative_pairs_are_chosen_once_there_is_a_model_and_say_so(asked: Session) -> None:
    label(asked, "aabbab")
    assert asked.annotator.state["fitted"]["members"] == 8
    assert asked.annotator.state["queue"][-1]["way"] == "disagreement"
    asked.annotator.follow(way="closest")
    assert asked.annotator.state["queue"][-1]["way"] == "closest"
    asked.annotator.follow(way="random")
    assert asked.annotator.state["queue"][-1]["way"] == "random"
    with pytest.raises(ValueError, match="way is 'best', but must be one of disagreement"):
        asked.annotator.follow(way="best")


def test_pairs_come_from_the_batch_on_screen_where_that_is_asked_for(asked: Session) -> None:
    asked.set(batch_size=12, group_size=6)
    asked.train(1)
    asked.annotator.follow(source="batch")
    label(asked, "a")
    engine = asked.engine
    texts = set(engine.batches.texts_of(asked.recorded))
    own = [pair for pair in asked.annotator.state["queue"] if pair["source"] == "batch"]
    assert own and all({(p["prompt"], p["a"]), (p["prompt"], p["b"])} <= texts and p["update"] == 1 for p in own)


def test_the_fitted_model_becomes_a_component_and_a_refit_replaces_it(asked: Session) -> None:
    with pytest.raises(ValueError, match="no fitted model yet"):
        asked.annotator.train_on_it()
    label(asked, "aaabbb")
    asked.annotator.train_on_it()
    assert asked.config.weights["learned"] == 1.0
    recipe = asked.config.components["learned"]
    assert recipe["decided"] == 6
    asked.train(1)
    assert asked.recorded.credit.reward_components["learned"].shape == (asked.config.batch_size,)
    asked.set(weight_learned=0.5)
    label(asked, "ab")
    assert asked.config.components["learned"] == recipe  # until it is replaced
    asked.annotator.train_on_it()
    assert asked.config.components["learned"]["decided"] == 8
    assert asked.config.weights["learned"] == 0.5


def test_a_renamed_component_is_still_the_one_that_is_replaced(asked: Session) -> None:
    label(asked, "aaabbb")
    asked.annotator.train_on_it()
    asked.components.put("my taste", asked.config.components["learned"], was="learned")
    label(asked, "a")
    asked.annotator.train_on_it()
    assert set(asked.config.components) == {"my taste"}
    assert asked.config.components["my taste"]["decided"] == 7


def test_what_it_is_trained_on_counts_whatever_a_preset_has_left(asked: Session) -> None:
    """A preset takes the weight of what it does not know; to train on the labels then means to give it one again."""
    label(asked, "ababab")
    asked.annotator.train_on_it()
    name = asked.annotator.component
    asked.use_preset("hack_the_reward")
    assert asked.config.weights[name] == 0
    asked.annotator.train_on_it()
    assert asked.annotator.component == name and asked.config.weights[name] == 1
    asked.set(**{f"weight_{name}": 0.25})
    asked.annotator.train_on_it()
    assert asked.config.weights[name] == 0.25
    # Of two learnt components that which counts is the one that is replaced.
    asked.components.put("another", asked.config.components[name], 0.5)
    asked.set(**{f"weight_{name}": 0.0})
    assert asked.annotator.component == "another"


def test_ones_own_labels_take_the_place_of_those_that_a_preset_brings(make_session: MakeSession, root: Path) -> None:
    """What the preset is named after, on the policy that ships, to which its own labels belong."""
    session = make_session(policy=load_policy(), shelf=Shelf(root))
    session.use_preset("exploit_your_own_labels")
    name, brought = "own labels", PRESETS["exploit_your_own_labels"].components["own labels"]
    assert session.annotator.component == name and session.config.components == {name: brought}
    session.train(1)
    session.annotator.wanted = True
    label(session, "aabbab")
    assert session.config.components[name] == brought  # nothing is replaced before it is asked for
    session.annotator.train_on_it()
    assert set(session.config.components) == {name} and session.annotator.component == name
    mine = session.config.components[name]
    assert mine["decided"] == 6 and mine["head"] != brought["head"]
    assert {n: weight for n, weight in session.config.weights.items() if weight} == {name: 1.0}
    session.train(1)
    assert session.error == {} and session.updates == 2
    assert session.recorded.config.components[name] == mine
    scored = session.recorded.credit
    assert np.ptp(scored.scores) > 0  # the responses are told apart
    assert scored.scores == pytest.approx(scored.reward_components[name])


def test_a_simulated_annotator_labels_in_a_file_of_its_own(asked: Session, root: Path) -> None:
    with pytest.raises(ValueError, match="You are the annotator"):
        asked.annotator.simulate(5)
    label(asked, "a")
    asked.annotator.follow(who="short_words")
    asked.annotator.simulate(30)
    lines = kept(root, "short_words")
    assert len(lines) == 30 and len(kept(root)) == 1
    assert asked.annotator.state["labels"] == 30
    from explorer.ppo.preferences.rules import RULES

    rule = RULES["short_words"]
    assert all(rule(line["chosen"]) > rule(line["rejected"]) for line in lines if "chosen" in line)
    asked.annotator.follow(who="you")
    assert asked.annotator.state["labels"] == 1
    for bad in (0, 1001, 2.5, True):
        asked.annotator.follow(who="sentiment")
        with pytest.raises(ValueError, match="give a number from 1 to 1000"):
            asked.annotator.simulate(bad)
    with pytest.raises(ValueError, match="noise is 2"):
        asked.annotator.simulate(5, 2)


def test_a_file_is_taken_in_and_its_bad_lines_are_named(asked: Session, root: Path) -> None:
    pair = {"prompt": "The cat", "chosen": "sat", "rejected": "<b>ran</b>"}
    content = "\n".join([json.dumps(pair), "{", json.dumps({"prompt": "x"}), json.dumps(pair | {"choice": "b"})])
    added, bad = asked.annotator.take_in(content)
    assert added == 2
    assert [line.split(":")[0] for line in bad] == ["line 2", "line 3"]
    assert asked.annotator.as_lines() == (root / FOLDER / "you.jsonl").read_text()
    assert asked.annotator.take_in(asked.annotator.as_lines())[0] == 2
    assert asked.annotator.state["labels"] == 4
    with pytest.raises(ValueError, match="cut it up"):
        asked.annotator.take_in("x" * 4_000_001)


def test_contradictions_are_counted(asked: Session) -> None:
    texts = {"prompt": "The cat", "chosen": "sat", "rejected": "ran"}
    back = {"prompt": "The cat", "chosen": "ran", "rejected": "sat"}
    asked.annotator.take_in(json.dumps(texts) + "\n" + json.dumps(back))
    assert asked.annotator.state["fitted"]["contradictions"] == 2
    assert asked.annotator.state["fitted"]["both_ways"] == 1


def test_a_damaged_line_in_the_kept_file_is_named_and_the_others_count(make_session: MakeSession, root: Path) -> None:
    (root / FOLDER).mkdir(parents=True)
    line = json.dumps({"prompt": "p", "chosen": "x", "rejected": "y"})
    (root / FOLDER / "you.jsonl").write_text(f"{line}\nnonsense\n")
    session = make_session(shelf=Shelf(root))
    session.annotator.wanted = True
    assert session.annotator.state["labels"] == 1
    assert session.annotator.state["bad"][0].startswith("line 2: ")


def test_without_a_shelf_labels_last_as_long_as_the_page(session: Session) -> None:
    session.annotator.wanted = True
    label(session, "ab")
    session.annotator.undo()
    assert session.annotator.state["labels"] == 1 and session.annotator.state["saved"] is None


def test_the_learning_curve_grows_with_the_labels(asked: Session) -> None:
    label(asked, "ababab")
    assert [point[0] for point in asked.annotator.state["curve"]] == [5, 6]
    asked.annotator.undo()
    assert [point[0] for point in asked.annotator.state["curve"]] == [5]


# --- a judge of its own ---


def judge_of(session: Session) -> dict[str, Any]:
    found = learned_judge(session.config.judge)
    assert found is not None
    return dict(found)


def test_a_judge_is_fitted_to_every_second_pair_and_the_rest_is_trained_on(asked: Session) -> None:
    label(asked, "abababab")
    with pytest.raises(ValueError, match="at least 5 choices of A or B among them; there are 4"):
        asked.annotator.hold_out()
    label(asked, "abababab")
    asked.annotator.hold_out()
    judge = judge_of(asked)
    assert judge["decided"] == 8
    fitted = asked.annotator.state["fitted"]
    assert (fitted["decided"], fitted["apart"]) == (8, 8)
    assert asked.annotator.state["judge"] == {
        "decided": 8,
        "held_out": judge["held_out"],
        "pairs": 8,
        "shared": 0,
    }
    asked.annotator.train_on_it()
    mine, own = unpacked(asked.config.components["learned"]), unpacked(judge)
    assert mine and own and not mine & own and len(mine | own) == 16
    assert asked.annotator.state["judge"]["shared"] == 0
    asked.train(2)
    values = asked.recorded.credit
    assert values.judge.shape == (asked.config.batch_size,)
    assert values.judge.tolist() != values.reward_components["learned"].tolist()
    # More labels teach what is trained on; the judge stays as it was, until it is held out anew.
    label(asked, "ab")
    assert (asked.annotator.state["fitted"]["decided"], judge_of(asked)) == (10, judge)


def test_pairs_that_judge_and_are_trained_on_too_are_told_until_the_model_is_replaced(asked: Session) -> None:
    label(asked, "abababababab")
    asked.annotator.train_on_it()
    asked.annotator.hold_out()
    assert asked.annotator.state["judge"] | {"held_out": 0} == {"decided": 6, "held_out": 0, "pairs": 6, "shared": 6}
    asked.annotator.train_on_it()
    assert asked.config.components["learned"]["decided"] == 6
    assert asked.annotator.state["judge"]["shared"] == 0
    asked.set(weight_learned=0.0)
    assert asked.annotator.state["judge"]["shared"] == 0


def test_a_judge_takes_the_pairs_that_came_after_those_that_are_trained_on(asked: Session) -> None:
    label(asked, "ababab")
    asked.annotator.train_on_it()
    trained = unpacked(asked.config.components["learned"])
    label(asked, "bababa")
    asked.annotator.hold_out()
    judge = unpacked(judge_of(asked))
    assert trained and judge and len(judge) == 6 and not trained & judge
    assert asked.annotator.state["judge"]["shared"] == 0


def test_another_judge_gives_the_pairs_back(asked: Session) -> None:
    label(asked, "ababababab")
    asked.annotator.hold_out()
    assert asked.annotator.state["fitted"]["decided"] == 5
    asked.set(judge="good_text")
    assert asked.annotator.state["fitted"]["decided"] == 10
    assert asked.annotator.state["judge"] is None


def test_whose_pairs_are_not_known_is_told_to_be_so(asked: Session) -> None:
    label(asked, "ababababab")
    asked.annotator.train_on_it()
    recipe = {part: value for part, value in asked.config.components["learned"].items() if part != "pairs"}
    asked.components.put("learned", recipe, was="learned")
    asked.annotator.hold_out()
    assert asked.annotator.state["judge"]["shared"] is None


# --- a tuned trunk ---


def test_the_trunk_is_tuned_on_demand_trained_on_and_frozen_again_with_the_next_label(asked: Session) -> None:
    with pytest.raises(ValueError, match="no fitted model yet"):
        asked.annotator.tune()
    label(asked, "abababababab")
    frozen = asked.annotator.state["recipe"]
    asked.annotator.tune()
    state = asked.annotator.state
    found = state["fitted"]["tuned"]
    assert not state["tuning"] and found["pairs"] > 0
    assert 0 <= found["held_out"] <= 1 and 0 <= found["frozen"] <= 1
    assert ("trunk" in state["recipe"]) == (found["epochs"] > 0)
    asked.annotator.train_on_it()
    assert dict(asked.config.components["learned"]) == state["recipe"]
    asked.train(1)
    assert asked.recorded.credit.reward_components["learned"].shape == (asked.config.batch_size,)
    label(asked, "a")
    assert "tuned" not in asked.annotator.state["fitted"] and "trunk" not in asked.annotator.state["recipe"]
    asked.annotator.undo()
    assert asked.annotator.state["recipe"] == frozen


def test_too_few_labels_to_tune_by_are_told(asked: Session) -> None:
    label(asked, "ababab")
    with pytest.raises(ValueError, match="at least 10 choices, and there are 6"):
        asked.annotator.tune()
    assert not asked.annotator.state["tuning"] and "tuned" not in asked.annotator.state["fitted"]
