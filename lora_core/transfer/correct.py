"""The correction of a LoRA file that was trained on a quantised base, for the base in full precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch

from ..checkpoints.device import usable_device
from ..checks import known, typed
from ..deltas import Delta
from ..errors import LoraMismatchError, ModelError
from ..files.by_target import open_base
from ..files.correction import corrected
from ..files.read import read_lora
from ..files.weights import LoraWeights, outlines_of
from ..progress import Progress
from ..training.network.packed import PACKINGS, bitsandbytes

#: How the base of a training was packed.
Rounding = Literal["nf4", "fp8", "int8"]


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected LoRA.

    Attributes:
        rounding: how far packing moved the weights, by their norm, the mean over its layers.
        moved: how far the correction moved the changes, by their norm, the mean too.
    """

    weights: LoraWeights
    rounding: float
    moved: float

    def text(self) -> str:
        return (
            f"corrected {len(self.weights.deltas)} layers: the base was rounded by {self.rounding:.2%} of its weights, "
            f"the changes moved by {self.moved:.2%}"
        )


@typed(ModelError)
def correct_lora(
    lora: str | Path | LoraWeights,
    base: str | Path,
    rounding: str,
    *,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Correction:
    """Take out of a LoRA what only mended the rounding of the base it was trained on; see `files/correction.py`.

    Args:
        lora: a file, or its weights; LoRAs of linear layers alone.
        base: the checkpoint in full precision, which is packed again as the training packed it.
        rounding: how: nf4, fp8 or int8, as the trainer's `base` has it.
        device: where to compute.
        progress: told of every layer.
    """
    known(rounding, get_args(Rounding), "rounding", ModelError)
    if rounding == "nf4":
        bitsandbytes()
    weights = lora if isinstance(lora, LoraWeights) else read_lora(lora)
    if weights.low_noise_deltas is not None:
        remedy = "Split the file, one for each expert"
        raise LoraMismatchError(weights.name, "it has a LoRA for each expert, whose bases differ", remedy=remedy)
    opened, onto, packing = open_base(Path(base)), usable_device(device), PACKINGS[rounding]  # type: ignore[index]  # one of three
    if opened.parameters.is_8_bit:
        what = f"{opened.path.name} is itself in 8 bits"
        raise ModelError("base", what, expected="the checkpoint in 16 or 32 bits", remedy="Give that one")
    for target, delta in outlines_of(weights.deltas).items():
        if opened.shape(target) != delta.shape:
            what = f"its change of {target!r} does not fit {opened.path.name}"
            raise LoraMismatchError(weights.name, what, remedy="Give the checkpoint that it was trained on")
    deltas: dict[str, Delta] = {}
    rounded_by, moved_by = [], []
    for done, (target, delta) in enumerate(weights.deltas.items(), start=1):
        full = opened.weight(target).to(onto)
        parts = packing.pack(full)
        rounded = packing.unpack(parts, (full.shape[0], full.shape[1]), full.dtype)
        deltas[target] = corrected(delta.to(onto), full, rounded, where=target).to("cpu")
        before = delta.dense()
        rounded_by.append(float((full - rounded).norm() / full.norm()))
        moved_by.append(float((deltas[target].dense() - before).norm() / before.norm().clamp_min(1e-12)))
        if progress is not None:
            progress(done, len(weights.deltas), "layers")
    metadata = {**weights.metadata, "corrected_from": rounding}
    mean = [sum(values) / len(values) for values in (rounded_by, moved_by)]
    return Correction(replace(weights, deltas=deltas, metadata=metadata), mean[0], mean[1])
