"""The options of ``ppo-explorer train`` by which a run is trained on what labels teach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.config import Config

if TYPE_CHECKING:
    from explorer.ppo.policy import Policy
    from explorer.ppo.preferences.tuned_trunk import Tuned

Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Learn a reward model from a JSONL file of prompt, chosen and rejected, and train on it as the component "
        "'learned'.",
    ),
]
Tune = Annotated[
    bool,
    typer.Option(
        "--tune",
        help="With --labels: tune a copy of the policy's trunk to them too, where that makes the held-out ones "
        "likelier; takes seconds.",
    ),
]
LearnedWeight = Annotated[
    float | None, typer.Option(help="The weight of what is learnt from --labels.", show_default="1")
]


def check_label_options(labels: Path | None, tune: bool, weight: float | None, *, resumed: bool) -> None:
    """Raises ValueError where an option says how to learn from labels and there are none.

    Args:
        labels: the file that is learnt from.
        tune: whether the trunk is tuned.
        weight: of the component that is learnt.
        resumed: whether a recorded run is gone on with, which may have learnt from labels before.
    """
    if labels is None and tune:
        raise ValueError("--tune tunes the trunk of what is learnt from labels: name their file with --labels.")
    if labels is None and not resumed and weight is not None:
        raise ValueError("--weight-learned is the weight of what is learnt from labels: name their file with --labels.")


def learnt(
    labels: Path, policy: Policy, prompts: Sequence[str] | None, config: Config | None, *, tune: bool, told: bool
) -> dict[str, Any]:
    """What ``Config.replace`` takes to train on what a file of labels teaches.

    Args:
        labels: the file.
        policy: the policy that the run begins with.
        prompts: what the samples answer by which scores are measured; None is the stories.
        config: how they are drawn; None is the default.
        tune: whether the trunk is tuned to them.
        told: whether to print what tuning it gained.
    """
    from explorer.ppo.preferences.fitting import learn

    found = learn(labels, policy, "stories" if prompts is None else prompts, config, tuned=tune)
    if told and found.tuned is not None:
        print(_gained(found.tuned))
    return {"component_learned": found.recipe}


def _gained(tuned: Tuned) -> str:
    held, frozen = tuned.model.held_out, f"{tuned.frozen.accuracy:.2f}"
    if not tuned.epochs:
        return f"The trunk stays frozen: tuning it made the {held.pairs} held-out labels no likelier, {frozen} right."
    return f"Of {held.pairs} held-out labels the tuned trunk has {held.accuracy:.2f} right, the frozen one {frozen}."
