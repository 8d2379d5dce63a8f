"""The ways to refine without any tuning, which a tuning has to beat or the report admits that it does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from ...pocket import world
from ...pocket.requests.dictionary import build_dictionary
from ...pocket.requests.rows import RequestRow
from ...refiner.opening import Base, open_language_model
from .asking import MAX_TOKENS, Answers, answers_of_function, answers_of_model
from .config import RefinersConfig
from .questions import HANDWRITTEN, TOLD, VIDEOS

if TYPE_CHECKING:
    from ...refiner.language_model import LanguageModel

Ask = Callable[[Sequence[str]], Answers]


@dataclass(frozen=True)
class Baseline:
    """A way without tuning.

    Attributes:
        title: what reports call it.
        begin: of the comparison, the rows that a tuning would learn, and what may raise to stop -> what answers.
        sets: the sets of questions that it is asked.
    """

    title: str
    begin: Callable[[RefinersConfig, Sequence[RequestRow], Callable[[], None]], Ask]
    sets: tuple[str, ...] = (*TOLD, VIDEOS)


def _raw(config: RefinersConfig, rows: Sequence[RequestRow], stop: Callable[[], None]) -> Ask:
    return lambda prompts: answers_of_function(str, prompts)


def _dictionary(*words: str) -> Callable[[RefinersConfig, Sequence[RequestRow], Callable[[], None]], Ask]:
    def begin(config: RefinersConfig, rows: Sequence[RequestRow], stop: Callable[[], None]) -> Ask:
        dictionary = build_dictionary(words)
        return lambda prompts: answers_of_function(dictionary, prompts)

    return begin


def _nearest(config: RefinersConfig, rows: Sequence[RequestRow], stop: Callable[[], None]) -> Ask:
    def answer(prompt: str) -> str:
        stop()
        return nearest_caption(prompt, rows)

    return lambda prompts: answers_of_function(answer, prompts)


def nearest_caption(prompt: str, rows: Sequence[RequestRow]) -> str:
    """Return the caption of the row whose request is most alike by difflib's ratio, the first of equals."""
    matcher, best, caption = SequenceMatcher(b=prompt, autojunk=False), -1.0, ""
    for row in rows:
        matcher.set_seq1(row.prompt)
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and (ratio := matcher.ratio()) > best:
            best, caption = ratio, row.completion
    return caption


def _untuned(base: Base) -> Callable[[RefinersConfig, Sequence[RequestRow], Callable[[], None]], Ask]:
    def begin(config: RefinersConfig, rows: Sequence[RequestRow], stop: Callable[[], None]) -> Ask:
        model = open_language_model(config.model, base=base, device=_device(config))
        return lambda prompts: answers_of_model(model, prompts, config.system, before_each=stop)

    return begin


def _shown(config: RefinersConfig, rows: Sequence[RequestRow], stop: Callable[[], None]) -> Ask:
    return _ask_with_examples(config, config.model, config.system, rows, stop)


def _prompted(config: RefinersConfig, rows: Sequence[RequestRow], stop: Callable[[], None]) -> Ask:
    return _ask_with_examples(config, config.settings.prompted, INSTRUCTIONS, rows, stop)


def _ask_with_examples(
    config: RefinersConfig, name: str, system: str, rows: Sequence[RequestRow], stop: Callable[[], None]
) -> Ask:
    model = open_language_model(name, device=_device(config))
    examples = [(row.prompt, row.completion) for row in rows[: config.settings.num_examples]]

    def ask(prompts: Sequence[str]) -> Answers:
        return answers_of_model(model, prompts, system, fitting(model, prompts, system, examples), stop)

    return ask


def fitting(
    model: LanguageModel, prompts: Sequence[str], system: str, examples: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str]]:
    """Return as many of the examples as leave the longest request room for an answer."""
    longest = max(prompts, key=model.count)
    while examples and model.count(model.text_of(longest, system, examples)) + MAX_TOKENS > model.max_positions:
        examples = examples[:-1]
    return examples


def _device(config: RefinersConfig) -> str | None:
    return "cpu" if config.common.get("device") == "cpu" else None


#: What a language model is told that has never been tuned for captions.
INSTRUCTIONS = (
    "Rewrite the request of the user as one caption, and write nothing else. A caption reads: a COLOUR SHAPE moves "
    f"DIRECTION on a BACKGROUND background. COLOUR is one of {', '.join(world.COLOURS)}. SHAPE is one of "
    f"{', '.join(world.SHAPES)}. DIRECTION is one of {', '.join(world.DIRECTIONS)}; it may be 'orbits' "
    f"instead of 'moves DIRECTION'. BACKGROUND is one of {', '.join(world.BACKGROUNDS)}. Names that are no words are "
    "copied."
)
BASELINES: Mapping[str, Baseline] = {
    "raw": Baseline("the raw prompt", _raw),
    "nearest": Baseline("the caption of the nearest row", _nearest),
    "dictionary": Baseline("dictionary of known words", _dictionary("known")),
    "dictionary-new": Baseline("dictionary of known and new words", _dictionary("known", "new")),
    "untuned": Baseline("the model untuned", _untuned("full")),
    "untuned-nf4": Baseline("the model untuned, packed in nf4", _untuned("nf4")),
    "shown": Baseline("the model untuned, shown what examples fit", _shown),
    "prompted": Baseline("another model, instructed and shown examples", _prompted, (HANDWRITTEN,)),
}


def planned_baselines(config: RefinersConfig) -> dict[str, Baseline]:
    """Return those that are asked in a comparison."""
    left_out = {
        "untuned-nf4": "qlora" not in config.settings.methods,
        "shown": not config.settings.num_examples,
        "prompted": not (config.settings.prompted and config.settings.handwritten),
    }
    return {name: baseline for name, baseline in BASELINES.items() if not left_out.get(name, False)}
