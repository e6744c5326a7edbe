"""Where the run stands, in plain values: what the player's status line, stage row and scrubber show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from explorer.config import Config
from explorer.presets import CLAIMS, PARTINGS, PRESETS, TOGETHER, Claim
from explorer.recording.snapshot import Snapshot
from explorer.recording.what_if import lacking
from explorer.views.error_words import in_words
from explorer.views.stages import stage_picture


def run_picture(session: Any, language: str = "en") -> dict[str, Any]:
    """The run's state as the browser needs it; an error names the settings as the page does in this language."""
    progress = session.progress
    return {
        "phase": session.phase,
        "id": session.runs.run if session.live else "",
        "broken": session.live and session.runs.broken,
        "opening": session.live and session.runs.opening,
        "live": session.live and not session.waiting,
        "mode": session.mode,
        "rate": round(session.rate, 2),
        "updates": session.updates,
        "newest": session.history.updates[-1] if len(session.history) else 0,
        "cursor": session.cursor.update if session.shown is None else session.shown.update,
        "epoch": session.cursor.epoch,
        "follow": session.cursor.follow,
        "stage": progress.running if progress else "",
        "finished": progress.finished if progress else "",
        "stage_update": progress.update if progress else 0,
        "stage_epoch": progress.epoch if progress else 0,
        "epochs": progress.epochs if progress else session.config.epochs,
        "stages": session.stages_shown,
        "waiting": progress.waiting if progress else False,
        "did": stage_picture(session),
        "fraction": progress.fraction if progress else 0.0,
        "seconds": step_seconds(session.recorded),
        "error": _named(session.error, language),
        "note": session.note,
        "edited": session.recorded is not None and bool(session.tried.differences(session.recorded.config)),
        "later": waiting_fields(session),
        "held": list(session.held),
        "preset": session.preset,
        "claims": claims_in_force(session),
        "unclaimed": _as_preset(session) and not _as_preset_from_the_start(session),
        "prompts": list(session.prompts),
        "weights_kept": session.weights_kept,
    }


def _named(error: Mapping[str, Any], language: str) -> dict[str, Any]:
    return {**error, "message": in_words(str(error["message"]), language)} if error else {}


#: To which of the loop's five steps each timed stage belongs; the epochs are one.
STEPS = {
    **dict.fromkeys(("sample", "old", "reference", "score"), "collect"),
    **{"advantage": "advantage", "epoch": "epoch", "record": "repeat"},
}


def step_seconds(shown: Any) -> dict[str, dict[str, float]]:
    """``{step: {stage: wall seconds}}`` of the update on screen; empty before it is over."""
    found: dict[str, dict[str, float]] = {}
    for name, seconds in shown.seconds.items() if isinstance(shown, Snapshot) else ():
        stage = name.split()[0]  # "epoch 2"
        if stage in STEPS:
            step = found.setdefault(STEPS[stage], {})
            step[stage] = step.get(stage, 0.0) + seconds
    return found


def claims_in_force(session: Any) -> list[dict[str, Any]]:
    """What the preset on the page claims, in a run that has had its settings since its first update, whatever the seed.

    Returns:
        As ``presets.Claim``, each with ``of``: "" for a claim that has an edge; "parted" or "together" for one that has
        none, that score and judge have parted by ``last``, or are together after it.
    """
    return _claimed(session.preset) if _as_preset(session) and _as_preset_from_the_start(session) else []


def _claimed(preset: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{**claim._asdict(), "of": ""} for claim in CLAIMS.get(preset, ())]
    for of, when in (("parted", PARTINGS.get(preset)), ("together", TOGETHER.get(preset))):
        if when is not None:
            found.append({**Claim("objective/judge", when - 1, when)._asdict(), "of": of})
    return found


def _as_preset(session: Any) -> bool:
    """Whether something is claimed of the settings in the page: that they are the preset's own."""
    return session.preset in CLAIMS and _is_of(session.config, session.preset)


def _as_preset_from_the_start(session: Any) -> bool:
    """Whether the run's updates, if it has any, are all of the preset, beginning with the first."""
    history = session.history
    if history.updates[:1] not in ([], [1]):
        return False
    seen: Config | None = None
    for config in history.configs():
        if config is None or (config is not seen and not _is_of(config, session.preset)):
            return False
        seen = config
    return True


def _is_of(config: Config, preset: str) -> bool:
    # A component of the reader's own that counts nothing changes nothing.
    own = PRESETS[preset]
    idle = {f"component_{n}" for n in config.components if n not in own.components and not config.weights.get(n)}
    return not set(config.differences(own)) - {"seed", *idle}


def waiting_fields(session: Any) -> dict[str, str]:
    """The fields that were changed and that the batch on screen lacks something for, each with what.

    A field that re-scores, as the estimator when it becomes ReMax's, then takes effect from the next update; another
    critic comes with the run that is begun with it.
    """
    if session.phase != "ready" or not isinstance(session.recorded, Snapshot):
        return {}
    shown = session.shown  # an update in the making has its components before its credit
    measured = (
        shown.components if shown.credit is None else shown.credit.reward_components
    )  # with those that have been measured on this batch since
    found = {
        field: lack
        for field, lack in lacking(session.tried, session.recorded).items()
        if lack != "component" or field.removeprefix("weight_") not in measured
    }
    return found | ({"critic": "critic"} if session.tried.critic != session.recorded.config.critic else {})
