"""The loading of a stack whose files are held against the model and what is said of them, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..families.base import ModelSpec
from ..files.match import LoraMatch, matched
from ..files.stated import NOTHING_STATED, StatedLora
from ..files.weights import LoraWeights
from .loaded import LoadedStack
from .loading import load_stack
from .stack import LoraStack


def load_matched(
    stack: LoraStack,
    spec: ModelSpec,
    stated: StatedLora = NOTHING_STATED,
    *,
    lora_folders: Sequence[str | Path] = (),
    download: bool = False,
) -> tuple[LoadedStack, tuple[LoraMatch, ...]]:
    """Load a stack, and tell how each of its files goes with the model.

    Args:
        stack: the user's stack.
        spec: the model.
        stated: rank, alpha and target modules of every file; what a file or the model contradicts is an error.
        lora_folders: where its files lie, and nowhere else; without any, paths are taken as they are.
        download: fetch repositories on Hugging Face that the local cache lacks.

    Raises:
        LoraFileError, LoraMismatchError: a file has no LoRA, one for another model, or another one than was stated.
        StackError: the stack names files that are not there.
    """
    matches: list[LoraMatch] = []

    def read(path: Path) -> LoraWeights:
        match, weights, _ = matched(path, spec=spec, stated=stated)
        matches.append(match)
        return weights

    loaded = load_stack(stack, spec, lora_folders=lora_folders, read=read, download=download)
    return loaded, tuple(matches)
