"""The trigger words of a stack: what its LoRAs ask to put into the prompt, by their files and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable

from ..files.weights import LoraWeights
from .loaded import LoadedStack
from .stack import LoraStack


def trigger_words_of(loaded: LoadedStack) -> tuple[str, ...]:
    """Return the words of the rows that are on, in their order, each once."""
    return words_of_files(weights for lora in loaded.loras for weights in lora.files)


def words_of_files(files: Iterable[LoraWeights]) -> tuple[str, ...]:
    """Return the words of LoRAs that were read, in their order, each once."""
    from ..files.card import read_card

    return _each_once(file.trigger_words if file.path is None else read_card(file.path).trigger_words for file in files)


def words_of_stack(stack: LoraStack) -> tuple[str, ...]:
    """Return the words of rows that are on, whose files were found and not read: of both of a pair, each once."""
    from ..files.card import read_card

    files = [file for entry in stack if entry.enabled for file in (entry.path, entry.low_noise_path)]
    return _each_once(read_card(file).trigger_words for file in files if file is not None)


def _each_once(told: Iterable[Iterable[str]]) -> tuple[str, ...]:
    words: dict[str, str] = {}
    for word in (word for several in told for word in several):
        words.setdefault(word.lower(), word)
    return tuple(words.values())
