from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import DEFAULT_WEIGHTS
from explorer.ppo.rewards import REWARDS, RewardError, from_texts, score
from explorer.ppo.rewards.score import weighted

TEXTS = ["one", "", "a third text\nwith two lines", "four"]


def scored(batch_of, fn, texts=TEXTS):
    return score({"mine": from_texts(fn)}, batch_of(texts=texts))["mine"]


def failure(batch_of, fn, texts=TEXTS):
    with pytest.raises(RewardError) as caught:
        scored(batch_of, fn, texts)
    message = str(caught.value)
    assert "'mine'" in message
    assert message.count("\n") == 0 and message.endswith(".")
    return message


def test_the_function_sees_prompts_and_responses(batch_of):
    batch = batch_of(texts=["abc", "d"], prompts=["p", "qq"])
    values = score(
        {
            "mine": from_texts(
                lambda prompts, texts: [len(p) * 10 + len(t) for p, t in zip(prompts, texts, strict=True)]
            )
        },
        batch,
    )
    assert values["mine"].tolist() == [13.0, 21.0]


def test_the_function_cannot_change_the_batch(batch_of):
    batch = batch_of(texts=list(TEXTS))

    def emptying(prompts, texts):
        values = [0.5] * len(texts)
        prompts.clear(), texts.clear()
        return values

    assert score({"mine": from_texts(emptying)}, batch)["mine"].tolist() == [0.5] * 4
    assert batch.texts == TEXTS


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, 1, 0],
        (True, False, True, False),
        np.array([1, 0, 1, 0]),
        np.array([True, False, True, False]),
        torch.tensor([1.0, 0.0, 1.0, 0.0], requires_grad=True),
        [torch.tensor(1.0), np.float32(0), Fraction(1), np.bool_(False)],
        (number % 2 for number in range(1, 5)),
    ],
    ids=lambda values: type(values).__name__,
)
def test_kinds_of_sequences(batch_of, values):
    found = scored(batch_of, lambda prompts, texts: values)
    assert found.dtype == torch.float32 and not found.requires_grad
    assert found.tolist() == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("values", [3.0, None, "four", {"a": 1}, torch.tensor(1.0), np.float64(2)])
def test_no_sequence(batch_of, values):
    message = failure(batch_of, lambda prompts, texts: values)
    assert type(values).__name__ in message and "one number for each of the 4 responses" in message


@pytest.mark.parametrize(("count", "said"), [(0, "only 0 of 4"), (3, "only 3 of 4"), (5, "more than 4")])
def test_wrong_number_of_values(batch_of, count, said):
    assert said in failure(batch_of, lambda prompts, texts: [0.0] * count)


def test_endless_values(batch_of):
    def forever(prompts, texts):
        while True:
            yield 1.0

    assert "more than 4" in failure(batch_of, forever)


@pytest.mark.parametrize("value", [None, "0.5", [1.0], 1j, np.array([1.0])])
def test_not_numbers(batch_of, value):
    message = failure(batch_of, lambda prompts, texts: [0.0, 0.0, value, 0.0])
    assert "a third text" in message and "no number" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300, 10**400])
def test_not_finite_shows_that_very_response(batch_of, value):
    message = failure(batch_of, lambda prompts, texts: [0.0, 0.0, value, 0.0])
    assert "a third text\\nwith two lines" in message and "finite" in message


def test_raising_shows_the_text_that_raises_alone(batch_of):
    message = failure(batch_of, lambda prompts, texts: [1 / len(text) for text in texts])
    assert "ZeroDivisionError: division by zero on the response ''" in message


def test_raising_on_the_batch_only_falls_back_to_the_first(batch_of):
    calls = []

    def fussy(prompts, texts):
        calls.append(len(texts))
        if len(texts) > 1:
            raise ValueError
        return [0.0]

    message = failure(batch_of, fussy)
    assert "ValueError on a batch that begins with the response 'one'" in message
    assert calls == [4, 1, 1, 1, 1]


def test_the_cause_is_kept(batch_of):
    with pytest.raises(RewardError) as caught:
        scored(batch_of, lambda prompts, texts: {}["x"])
    assert isinstance(caught.value.__cause__, KeyError)


def test_long_texts_and_long_reasons_are_shortened(batch_of):
    def complaining(prompts, texts):
        raise RuntimeError("no " * 500)

    assert len(failure(batch_of, complaining, ["story " * 2000] * 2)) < 450


def test_a_component_of_tensors_is_checked_too(batch_of):
    batch = batch_of(texts=TEXTS)
    with pytest.raises(RewardError, match="'odd'.*only 2 of 4"):
        score({"odd": lambda responses: torch.zeros(2)}, batch)
    with pytest.raises(RewardError, match="'odd'.*AttributeError.*begins with the response 'one'"):
        score({"odd": lambda responses: responses.nothing}, batch)
    with pytest.raises(RewardError, match="'odd'.*no number"):
        score({"odd": lambda responses: torch.zeros(4, 1)}, batch)


def test_called_by_itself_it_goes_by_its_own_name(batch_of):
    def exclamations(prompts, texts):
        return None

    with pytest.raises(RewardError, match="'exclamations'"):
        from_texts(exclamations)(batch_of(texts=TEXTS))


def test_built_in_components(batch_of):
    found = score(REWARDS, batch_of(texts=TEXTS))
    assert list(found) == list(REWARDS) == list(DEFAULT_WEIGHTS)
    assert all(values.shape == (4,) for values in found.values())


def test_weighted():
    components = {"a": torch.tensor([1.0, -1.0]), "b": torch.tensor([0.5, 0.25]), "c": torch.tensor([9.0, 9.0])}
    assert weighted(components, {"a": 2.0, "b": -1.0, "gone": 3.0}).tolist() == [1.5, -2.25]
    assert weighted(components, {}).tolist() == [0.0, 0.0]
    frozen = {name: values.numpy() for name, values in components.items()}
    assert weighted(frozen, {"a": 2.0, "b": -1.0}).tolist() == [1.5, -2.25]
    with pytest.raises(ValueError, match="at least one"):
        weighted({}, {"a": 1.0})


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=5), st.floats(-2, 2), st.floats(-2, 2))
def test_weights_add_up(values, one, two):
    component = {"a": torch.tensor(values)}
    total = weighted(component, {"a": one}) + weighted(component, {"a": two})
    assert torch.allclose(total, weighted(component, {"a": one + two}), atol=1e-5)
