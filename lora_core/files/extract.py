"""The extraction of a LoRA from two checkpoints: the best change of a given rank in the place of each whole one.

Letters: O output channels, I input channels, K a convolution's kernel, R rank, S singular values.
Of all matrices of rank R the first R singular vectors make the nearest (Eckart and Young 1936, doi 10.1007/BF02288367).
Dtype policy: differences and their decomposition in float32; factors in the dtype asked for, whose rounding counts in
the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.device import usable_device
from ..checkpoints.parameters import Parameters
from ..checks import first_few, shape_text, typed, whole_number
from ..deltas import Delta, Full, Lora
from ..errors import ModelError
from ..experts import Expert
from ..experts.twins import expert_of_path
from ..families.family import Family
from ..families.registry import family_of_targets
from ..progress import Progress
from .by_target import OpenedBase, open_base
from .singular import first_singular
from .values import num_not_finite
from .weights import LazyDeltas, LoraWeights

_NUM_WORST = 3


@dataclass(frozen=True)
class Fit:
    """How well a change of one parameter is kept.

    Attributes:
        rank: of the factors; 0 where it is kept in full, or left out.
        norm: of the whole change (Frobenius).
        residual: of what is lost of it.
    """

    target: str
    rank: int
    norm: float
    residual: float

    @property
    def error(self) -> float:
        return self.residual / self.norm


@dataclass(frozen=True, eq=False)
class Extraction:
    """A LoRA, and what of the whole change it holds.

    Attributes:
        fits: of everything in the LoRA.
        left_out: the changed biases, norms and tables that are not in it.
        num_equal: how many parameters are the same in both.
    """

    weights: LoraWeights
    fits: tuple[Fit, ...]
    left_out: tuple[Fit, ...] = ()
    num_equal: int = 0
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """The norm of all that is lost, by the norm of the whole change."""
        everything = (*self.fits, *self.left_out)
        return _joined(fit.residual for fit in everything) / _joined(fit.norm for fit in everything)

    @property
    def worst(self) -> tuple[Fit, ...]:
        """The layers that lose most of their change, the worst first."""
        return tuple(sorted(self.fits, key=lambda fit: -fit.error)[:_NUM_WORST])

    def text(self) -> str:
        """Return a report of a few lines."""
        num_layers = sum(fit.rank > 0 for fit in self.fits)
        lines = [f"relative error {self.error:.4f} over {num_layers} layers; {self.num_equal} parameters are equal"]
        lines.append(f"worst: {', '.join(f'{fit.target} {fit.error:.4f}' for fit in self.worst)}")
        if in_full := len(self.fits) - num_layers:
            lines.append(f"in full: {in_full} biases, norms and tables")
        if self.left_out:
            share = _joined(fit.norm for fit in self.left_out) / _joined(f.norm for f in (*self.fits, *self.left_out))
            lines.append(f"left out: {len(self.left_out)} biases, norms and tables, {share:.4f} of the change")
        return "\n".join((*lines, *self.notes))


@typed(ModelError)
def extract_checkpoints(
    base: str | Path,
    tuned: str | Path,
    rank: int,
    *,
    dtype: torch.dtype = torch.float32,
    with_biases: bool = False,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> Extraction:
    """Return the LoRA of a rank that takes one checkpoint nearest to another of the same architecture.

    Both are read parameter by parameter: safetensors in one file, sharded or a folder, PyTorch's files, 8-bit ones, in
    native or diffusers naming. A file of another shape, or a LoRA, is an error.

    Args:
        base: the checkpoint that the LoRA will act on.
        tuned: the one that it shall become.
        rank: of every layer; a layer with fewer rows or columns gets as many.
        dtype: of the factors.
        with_biases: keep the changes of biases, norms and tables too, in full.
        device: where matrices are decomposed.
        progress: told of every parameter.
    """
    base, tuned = Path(base), Path(tuned)
    first, second = open_base(base), open_base(tuned)
    changes = _differences(first, second)
    name = tuned.stem
    done = extract_lora(
        changes, rank, dtype=dtype, with_biases=with_biases, device=device, progress=progress, where=str(tuned)
    )
    weights = replace(done.weights, name=name, expert=_expert_of(base, tuned), metadata=_told(base, tuned, rank, done))
    return replace(done, weights=weights, notes=tuple(_notes(first.parameters, second.parameters)))


@typed(ModelError)
def extract_lora(
    changes: Mapping[str, Delta],
    rank: int,
    *,
    dtype: torch.dtype = torch.float32,
    with_biases: bool = False,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    where: str = "extract",
) -> Extraction:
    """Return the LoRA of a rank that is nearest to changes given in full, with what it loses of each.

    Args:
        changes: target -> the change; those of a `LazyDeltas` are made one at a time.
        rank: of every layer; a layer with fewer rows or columns gets as many.
        dtype: of the factors.
        with_biases: keep the changes of biases, norms and tables too, in full.
        device: where matrices are decomposed.
        progress: told of every parameter.
        where: the file or argument that errors name.
    """
    whole_number(rank, "rank", ModelError, low=1)
    onto = usable_device(device)
    family = family_of_targets(changes)
    deltas: dict[str, Delta] = {}
    fits, left_out = [], []
    for done, (target, change) in enumerate(_each(changes), start=1):
        difference = change.dense()
        norm = _norm_of(difference, target, where)
        if norm == 0:
            pass
        elif is_matrix(target, difference.ndim, family):
            deltas[target], residual = _low_rank(difference.to(onto), rank, dtype)
            fits.append(Fit(target, deltas[target].rank, norm, residual))
        elif with_biases:
            deltas[target] = Full(difference.to(dtype))
            fits.append(Fit(target, 0, norm, float((deltas[target].dense() - difference).norm())))
        else:
            left_out.append(Fit(target, 0, norm, norm))
        if progress is not None:
            progress(done, len(changes), "parameters")
    _check_found(fits, left_out, len(changes), where)
    num_equal = len(changes) - len(fits) - len(left_out)
    return Extraction(LoraWeights(None, "extracted", deltas), tuple(fits), tuple(left_out), num_equal)


# ---------------------------------------------------------------------------------------------- one matrix


def _low_rank(difference: Tensor, rank: int, dtype: torch.dtype) -> tuple[Lora, float]:
    """Return the nearest Lora of a rank, and the norm of what it loses, the rounding of its factors included."""
    matrix = difference.flatten(1)
    rank = min(rank, *matrix.shape)
    left, values, right = first_singular(matrix, rank)
    half = values.sqrt()
    up, down = (left * half).to(dtype), (half[:, None] * right).to(dtype)
    residual = float((matrix - up.float() @ down.float()).norm())
    ones = [1] * (difference.ndim - 2)
    up, down = up.cpu().contiguous(), down.cpu().contiguous()
    return Lora(down.reshape(rank, *difference.shape[1:]), up.reshape(-1, rank, *ones)), residual


def is_matrix(target: str, num_axes: int, family: Family | None) -> bool:
    """Say whether a parameter multiplies, as a layer's weight does, and so can have a LoRA."""
    is_bare = family is not None and family.naming.is_bare(target)
    return num_axes > 1 and not target.endswith(".bias") and not is_bare


def _each(changes: Mapping[str, Delta]) -> Iterable[tuple[str, Delta]]:
    return changes.stream() if isinstance(changes, LazyDeltas) else changes.items()


def _norm_of(difference: Tensor, target: str, where: str) -> float:
    if count := num_not_finite(difference):
        what = f"{count:,} of {difference.numel():,} differences of {target!r} are NaN or infinite"
        raise ModelError(where, what, expected="finite numbers", remedy="Use checkpoints that are sound")
    return float(difference.norm())


def _joined(norms: Iterable[float]) -> float:
    return math.sqrt(math.fsum(norm * norm for norm in norms))


def _check_found(fits: Sequence[Fit], left_out: Sequence[Fit], num_parameters: int, where: str) -> None:
    if fits:
        return
    if not left_out:
        what = f"all {num_parameters} parameters are the same in both"
        raise ModelError(where, what, expected="a checkpoint that was trained on", remedy="Choose another")
    what = f"only {len(left_out)} biases, norms and tables differ, first {left_out[0].target!r}"
    raise ModelError(where, what, expected="a layer's weight", remedy="Keep them in full, with --with-biases")


# ---------------------------------------------------------------------------------------------- two checkpoints


def _differences(base: OpenedBase, tuned: OpenedBase) -> LazyDeltas:
    """Return target -> what a parameter of `tuned` has more than that of `base`, each made when it is looked up."""
    targets = {**base.names, **tuned.names}
    differing = next((target for target in targets if base.shape(target) != tuned.shape(target)), None)
    if differing is not None:
        theirs, ours = (
            "missing" if shape is None else shape_text(shape, "one number")
            for shape in (tuned.shape(differing), base.shape(differing))
        )
        num = sum(base.shape(target) != tuned.shape(target) for target in targets)
        what = f"is of another architecture than {base.path.name}: its {differing!r} is {theirs}"
        more = f" and {num - 1} more differ" if num > 1 else ""
        raise ModelError(tuned.path, what + more, expected=ours, remedy="Give two checkpoints of one model")
    shapes = {target: base.parameters.checkpoint.shapes[name] for target, name in base.names.items()}
    outlines = {target: Full(torch.empty(shape, device="meta")) for target, shape in shapes.items()}

    def build(target: str) -> Delta:
        return Full(tuned.parameters[tuned.names[target]] - base.parameters[base.names[target]])

    return LazyDeltas(outlines, build)


def _expert_of(base: Path, tuned: Path) -> Expert | None:
    """Return the expert that the LoRA will act on: the base's, else the other's, as far as their names tell."""
    told = expert_of_path(base) or expert_of_path(tuned)
    return None if told is None else told[0]


def _told(base: Path, tuned: Path, rank: int, done: Extraction) -> dict[str, str]:
    """Return what the metadata of the LoRA tell of its origin; the base's name is what readers know the model by."""
    return {
        "extracted_from": tuned.name,
        "ss_sd_model_name": base.name,
        "relative_error": f"{done.error:.6f}",
        "ss_network_dim": str(rank),
    }


def _notes(base: Parameters, tuned: Parameters) -> Iterator[str]:
    packed = [own.checkpoint.path.name for own in (base, tuned) if own.is_8_bit]
    if packed:
        yield f"note: {first_few(packed)} in 8 bits: what was rounded counts as a change"
