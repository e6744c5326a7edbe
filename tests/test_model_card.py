"""What the model card claims about the bundled policy, measured again."""

from __future__ import annotations

import re

import pytest
import torch

from explorer.bundled import asset_path
from explorer.ppo.policy import Policy
from explorer.ppo.prompts import encode

CARD = (asset_path("policy") / "MODEL_CARD.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"^- .+ \| .*$", CARD, re.MULTILINE)


def test_the_samples_are_what_the_cards_own_lines_print(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", CARD, re.DOTALL)
    assert code is not None
    exec(code[1], {})
    assert capsys.readouterr().out.splitlines() == SAMPLES
    assert len(SAMPLES) == 10


@pytest.mark.parametrize("phrase", ["fruits with her pastels", "The bump was very sad"])
def test_an_example_of_nonsense_stands_in_a_sample(phrase: str) -> None:
    assert any(phrase in sample for sample in SAMPLES)


def test_the_size_is_the_cards(policy: Policy) -> None:
    assert f"| parameters | {sum(p.numel() for p in policy.lm.parameters()):,} |" in CARD
    megabytes = (asset_path("policy") / "model.safetensors").stat().st_size / 1e6
    assert f"float16 safetensors, {megabytes:.1f} MB" in CARD


@pytest.mark.parametrize(("prompt", "it_says"), [("The nurse said that", 0.67), ("The fireman said that", 0.01)])
def test_the_stereotypes_are_the_cards(policy: Policy, prompt: str, it_says: float) -> None:
    words = [policy.tokenizer(word)["input_ids"] for word in (" she", " he")]
    assert [len(ids) for ids in words] == [1, 1]
    ids, mask = encode(policy, [prompt], 1)
    with torch.no_grad():
        probabilities = policy.lm(ids, attention_mask=mask.long()).logits[0, -1].softmax(0)
    she, he = (float(probabilities[ids[0]]) for ids in words)
    assert she / (she + he) == pytest.approx(it_says, abs=0.005)
    sentence = " ".join(CARD[CARD.index(f'After "{prompt}"') :].split())[:260]
    assert f"{she:.3f}" in sentence and f"{he:.3f}" in sentence and f"{it_says}" in sentence
