"""The extraction of the LoRA in a post-trained checkpoint, whose base around it is never read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..checkpoints.hashes import file_sha256
from ..checks import number_text, typed
from ..errors import LoraFileError
from ..families.base import ModelSpec
from .agreement import module_names
from .assembly import Assembly
from .match import LoraMatch, matched
from .scale import KOHYA_ALPHA
from .stated import NOTHING_STATED, StatedLora
from .weights import LoraWeights

#: How NVIDIA names its checkpoints by their step.
_STEP = re.compile(r"iter_0*(\d+)$")


@dataclass(frozen=True)
class PostTrained:
    """A LoRA taken out of a checkpoint, and how it goes with the base inside."""

    weights: LoraWeights
    match: LoraMatch


@typed(LoraFileError)
def extract_post_trained(
    path: str | Path,
    *,
    spec: ModelSpec | nn.Module | None = None,
    stated: StatedLora = NOTHING_STATED,
    average: bool = False,
    dtype: torch.dtype | None = None,
) -> PostTrained:
    """Return the LoRA in a post-trained checkpoint, with what is known of it in its metadata.

    The file is read once more for its sha256; of its tensors those of the LoRA alone come into memory.

    Args:
        path: a file such as NVIDIA's `iter_000002000.pt`, or one that holds a LoRA alone.
        spec: the model it must fit; None takes the base inside the file.
        stated: rank, alpha and target modules; what the file or the model contradicts is an error.
        average: take the moving average (EMA) that the training kept, instead of the weights that it ended with.
        dtype: of the LoRA's tensors; None leaves them as they were trained.

    Raises:
        LoraFileError: the file is damaged or unsafe, or has no average.
        LoraMismatchError: it has no LoRA, one for another model, or another one than was stated.
    """
    match, weights, assembly = matched(path, spec=spec, stated=stated, average=average)
    metadata = _metadata(match, assembly, stated)
    deltas = weights.deltas if dtype is None else {t: delta.to(dtype) for t, delta in weights.deltas.items()}
    return PostTrained(replace(weights, deltas=deltas, metadata={**weights.metadata, **metadata}), match)


def _metadata(match: LoraMatch, assembly: Assembly, stated: StatedLora) -> Mapping[str, str]:
    """Return what the LoRA's file shall tell: rank, alpha and layers, and what it was taken out of."""
    path, spec = match.path, assembly.spec
    modules = stated.target_modules or module_names((address.target for address in assembly.parts), spec)
    told = {
        "target_modules": ",".join(modules),
        "base_model": spec.name,
        "ss_sd_model_name": spec.title,
        "extracted_from": path.name,
        "extracted_from_sha256": file_sha256(path),
        "extracted_weights": "moving average (EMA)" if match.average else "as trained",
    }
    if len(match.ranks) == 1:
        told["ss_network_dim"] = str(next(iter(match.ranks)))
    if len(match.alphas) == 1:
        told[KOHYA_ALPHA] = number_text(next(iter(match.alphas)))
    if (step := _STEP.search(path.stem)) is not None:
        told["num_training_steps"] = step[1]
    return told
