"""The trigger words of a stack: what its LoRAs ask to put into the prompt, by their files and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable

from ..files.weights import LoraWeights
from .loaded import LoadedStack


def trigger_words_of(loaded: LoadedStack) -> tuple[str, ...]:
    """Return the words of the rows that are on, in their order, each once."""
    return words_of_files(weights for lora in loaded.loras for weights in lora.files)


def words_of_files(files: Iterable[LoraWeights]) -> tuple[str, ...]:
    """Return the words of LoRAs that were read, in their order, each once."""
    from ..files.card import read_card

    words: dict[str, str] = {}
    for weights in files:
        told = weights.trigger_words if weights.path is None else read_card(weights.path).trigger_words
        for word in told:
            words.setdefault(word.lower(), word)
    return tuple(words.values())
