"""The videos that texts lead to: which requests are made into some, by whom, and what is read from them, text by text.

Each request has a noise of its own, the same for whatever was made of it, and a text that several made of it is one
video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...families.registry import opener
from ...plan.settings import RunSettings
from ...pocket import world
from ...pocket.measure import Reading, read_clip
from ...pocket.requests.rows import RequestRow
from ...pocket.samples import BATCH_SIZE, Sampler
from ...stack.stack import LoraStack
from ..folder import read_json, write_json
from .baselines import planned_baselines
from .best import best_rates
from .config import RefinersConfig, Run
from .folder import RefinersFolder
from .judging import BASES
from .questions import HANDWRITTEN, VIDEOS

#: The pocket's LoRA for few steps, which is made for no guidance.
LORA, CFG, SEED = "speed_6steps", 1.0, 5000
#: Subjects beside those that refine: the request as it is, and the caption that it means.
RAW, RIGHT = "raw", "right"
#: What of a caption its video has to show.
SHOWN = ("colour", "shape", "motion")
_WITHOUT = ("shown", "prompted")


@dataclass(frozen=True)
class Asked:
    """One request that is made into videos.

    Attributes:
        place: in the set that it is of.
    """

    set: str
    place: int
    row: RequestRow


def asked_videos(config: RefinersConfig, questions: Mapping[str, Sequence[RequestRow]]) -> list[Asked]:
    """Return the requests whose caption says all that a video shows: those written by hand, then drawn ones."""
    every = [
        Asked(name, place, row) for name in (HANDWRITTEN, VIDEOS) for place, row in enumerate(questions.get(name, ()))
    ]
    return [asked for asked in every if _is_definite(asked.row)][: config.settings.num_videos]


def _is_definite(row: RequestRow) -> bool:
    """Say whether a request states colour, shape and direction, and nothing that the pocket cannot draw."""
    slots = row.slots
    is_drawn = slots.shape in world.SHAPES and slots.motion in world.DIRECTIONS and bool(slots.colour)
    return row.kind == "ordinary" and is_drawn and not slots.others


def subjects_of(config: RefinersConfig, folder: RefinersFolder, asked: Sequence[Asked]) -> dict[str, list[str]]:
    """Return who refined -> the text of each request, as far as known; the best of each method with each seed."""
    found = {RAW: [one.row.prompt for one in asked], RIGHT: [one.row.completion for one in asked]}
    for name in planned_baselines(config):
        told = read_json(folder.baseline(name))
        if told is not None and name not in (RAW, *_WITHOUT):
            found[name] = _texts(told["answers"], asked)
    for run in watched_runs(config, folder):
        judged = read_json(folder.judged(run)) or {}
        if "answers" in judged:
            found[run.name] = _texts(judged["answers"][BASES[run.method][0]], asked)
    return found


def watched_runs(config: RefinersConfig, folder: RefinersFolder) -> Iterator[Run]:
    """Yield the trainings whose answers are made into videos: the best rate of each method, with all seeds."""
    best = best_rates(config, folder)
    chosen = [run for run in config.sweep if best.get((run.method, run.rehearsal)) == run.lr]
    every = {*chosen, *config.repeats(best)}
    for run in config.planned(best):
        if run in every and best.get((run.method, run.rehearsal)) == run.lr:
            yield run


def _texts(answers: Mapping[str, Sequence[str]], asked: Sequence[Asked]) -> list[str]:
    return [answers[one.set][one.place] for one in asked]


def read_missing(
    config: RefinersConfig,
    folder: RefinersFolder,
    questions: Mapping[str, Sequence[RequestRow]],
    before_each: Callable[[], None],
) -> None:
    """Make the videos that nothing was read from yet, and write what is read from them, batch by batch.

    Args:
        config: says how many, and in how many steps.
        folder: where the answers are, and readings go.
        questions: set -> its questions.
        before_each: called before each batch; may raise to stop.
    """
    asked = asked_videos(config, questions)
    texts = subjects_of(config, folder, asked)
    readings = known_readings(config, folder)
    wanted = {(place, text): None for own in texts.values() for place, text in enumerate(own)}
    missing = [(place, text) for place, text in wanted if text not in readings.get(str(place), {})]
    sampler, stack = Sampler(opener("pocket")("pocket"), SEED), LoraStack().add(LORA)
    for start in range(0, len(missing), BATCH_SIZE):
        before_each()
        few = missing[start : start + BATCH_SIZE]
        clips = sampler.clips_of_texts(few, RunSettings(num_steps=config.settings.video_steps, cfg=CFG), stack)
        for (place, text), clip in zip(few, clips, strict=True):
            readings.setdefault(str(place), {})[text] = _shown(read_clip(clip))
        write_json({"steps": config.settings.video_steps, "readings": readings}, folder.videos)


def known_readings(config: RefinersConfig, folder: RefinersFolder) -> dict[str, dict[str, list[str | None]]]:
    """Return number of the request -> text -> colour, shape and motion that its video shows."""
    found = read_json(folder.videos) or {}
    return found["readings"] if found.get("steps") == config.settings.video_steps else {}


def _shown(reading: Reading) -> list[str | None]:
    return [getattr(reading, what) for what in SHOWN]


def successes(
    asked: Sequence[Asked], texts: Sequence[str], readings: Mapping[str, Mapping[str, Sequence[str | None]]]
) -> dict[str, Any] | None:
    """Return the share of videos that show each thing as asked, and all of them; None where some are missing."""
    found = [readings.get(str(place), {}).get(text) for place, text in enumerate(texts)]
    if not asked or any(reading is None for reading in found):
        return None
    rows = [
        [seen == getattr(one.row.slots, what) for seen, what in zip(reading, SHOWN, strict=True)]
        for one, reading in zip(asked, found, strict=True)
        if reading is not None
    ]
    num, whole = len(rows), [all(row) for row in rows]
    shares: dict[str, Any] = {what: sum(row[place] for row in rows) / num for place, what in enumerate(SHOWN)}
    parts = {
        "by_hand": [right for one, right in zip(asked, whole, strict=True) if one.set == HANDWRITTEN],
        "drawn": [right for one, right in zip(asked, whole, strict=True) if one.set != HANDWRITTEN],
    }
    own = {"all": sum(whole) / num, "num": num, "num_by_hand": len(parts["by_hand"])}
    return {**shares, **own, **{name: sum(part) / len(part) if part else None for name, part in parts.items()}}
