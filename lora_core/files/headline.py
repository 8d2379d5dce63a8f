"""What the header of a LoRA file tells at once: its metadata, expert, base and ranks, by the tensors of one block.

The whole account of a file takes a tenth of a second, which is too long for a list of thousands. All blocks have the
same modules, so what one of them tells of the model is what all of them tell; no value is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..experts import Expert
from .containers.opening import CONTAINERS, open_tensor_file
from .containers.tensorfile import TensorFile
from .dialects import LEAVES

#: The number of a block in a tensor's name, however the name is written.
_BLOCK = re.compile(r"(?:blocks?|layers?)[._](\d+)")
_DOWNS = tuple(f".{leaf.text}" for leaf in LEAVES if (leaf.kind, leaf.field) == ("lora", "down"))
#: The entries in which trainers state the model, where no shape tells it.
_BASES = ("base_model", "ss_base_model_version", "modelspec.architecture")


@dataclass(frozen=True)
class Headline:
    """What a header tells.

    Attributes:
        ranks: the distinct ranks, ascending.
        kinds: the kinds of delta ("lora", "lokr"), as one block has them.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    expert: Expert | Literal["both"] | None = None
    expert_source: str = ""
    ranks: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    trigger_words: tuple[str, ...] = ()


def read_headline(path: Path) -> Headline:
    """Read the header of a safetensors file; of a pickle, which has none, only what its name and place tell.

    Raises:
        LoraFileError: the file is damaged or is no LoRA file.
    """
    from .expert import told_expert
    from .origin import foreign_model
    from .read import assembled_file, weights_of

    if CONTAINERS.get(path.suffix.lower()) == "pickle":
        told = told_expert(path, {}, None)
        return Headline(expert=told.expert, expert_source=told.source)
    file = open_tensor_file(path)
    assembly = assembled_file(_one_block(file), None)
    weights = weights_of(assembly)
    stated = next((file.metadata[key] for key in _BASES if file.metadata.get(key)), "")
    is_known = any(record.status == "applied" for record in weights.account)
    foreign = "" if is_known else foreign_model(file.infos, assembly.family)
    return Headline(
        metadata=file.metadata,
        base=weights.base or foreign or stated,
        expert=weights.expert,
        expert_source=weights.expert_source,
        ranks=tuple(sorted({*weights.ranks, *_ranks(file)})),
        kinds=tuple(dict.fromkeys(delta.kind for delta in assembly.outlines.values())),
        trigger_words=weights.trigger_words,
    )


def _one_block(file: TensorFile) -> TensorFile:
    """Return a file of the tensors of its first block and of those of none, whose alphas are not read."""
    blocks = {name: found[1] if (found := _BLOCK.search(name)) else None for name in file.infos}
    first = min((block for block in blocks.values() if block is not None), key=int, default=None)
    infos = {name: info for name, info in file.infos.items() if blocks[name] in (None, first)}
    return replace(file, infos=infos, read_numbers=lambda names: dict.fromkeys(names, 1.0))


def _ranks(file: TensorFile) -> set[int]:
    return {info.shape[0] for name, info in file.infos.items() if name.endswith(_DOWNS) and len(info.shape) > 1}
