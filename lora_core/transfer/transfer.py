"""The transfer of a LoRA from the base it was trained on to another of the same shapes.

Letters: O outputs, I inputs, R rank. Both bases are read layer by layer, and no more than one layer is in memory.
Dtype policy: weights and projections in float32; factors stay in the file's dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.device import usable_device
from ..checks import first_few, shape_text, typed, whole_number
from ..deltas import Delta, Lora, fits
from ..errors import LoraMismatchError, ModelError
from ..experts.twins import expert_of_path
from ..files.by_target import OpenedBase, open_base
from ..files.read import read_lora
from ..files.weights import LoraWeights, outlines_of
from ..progress import Progress
from .likeness import Likeness, likeness_rows, likeness_text, overlap, strength_hint
from .subspaces import Subspaces, alike, carried

#: Weights of a LoRA, None for none -> the loss on held-out clips with them.
Judge = Callable[[LoraWeights | None], float]

_STEER = "Let the model it was made for steer the other: lora-core generate --guide MODEL --guide-lora LORA"


@dataclass(frozen=True)
class Losses:
    """Held-out losses on the new base: alone, with the LoRA as it is, and projected."""

    base: float
    direct: float
    projected: float | None = None


@dataclass(frozen=True, eq=False)
class Transfer:
    """A LoRA for another base, and what is known of how it will do.

    Attributes:
        weights: for the new base.
        layers: its matrices, one row each.
        num_targets: how many changes the file has.
        left_out: those that the new base has no place for.
        projected: whether the projection was kept.
        losses: None where nobody measured.
    """

    weights: LoraWeights
    layers: tuple[Likeness, ...]
    num_targets: int
    left_out: tuple[str, ...]
    projected: bool
    losses: Losses | None
    notes: tuple[str, ...] = ()

    @property
    def strength(self) -> float:
        """The strength to begin with."""
        return strength_hint(self.layers)

    def text(self) -> str:
        """Return a report of a few lines."""
        lines = [f"used: {len(self.weights.deltas)} of {self.num_targets} changes"]
        if self.left_out:
            lines.append(f"left out, as the new base has no place for them: {first_few(self.left_out)}")
        return "\n".join((*lines, *likeness_text(self.layers), *self.notes))

    def to_dict(self) -> dict[str, object]:
        """Return the whole report as plain data."""
        return {
            "num_targets": self.num_targets,
            "num_used": len(self.weights.deltas),
            "left_out": list(self.left_out),
            "strength": self.strength,
            "projected": self.projected,
            "losses": None if self.losses is None else vars(self.losses).copy(),
            "layers": likeness_rows(self.layers),
            "notes": list(self.notes),
        }


@typed(ModelError)
def transfer_lora(
    lora: str | Path | LoraWeights,
    source: str | Path,
    target: str | Path,
    *,
    project: bool = False,
    num_directions: int = 16,
    device: str | torch.device = "cpu",
    judge: Judge | None = None,
    progress: Progress | None = None,
) -> Transfer:
    """Put a LoRA onto another base of the same shapes, and report layer by layer how alike the two are.

    Args:
        lora: a file, or its weights.
        source: the checkpoint it was trained on.
        target: the checkpoint it shall act on.
        project: carry each change from the old base's leading directions to the new one's, as ProLoRA does (arXiv
            2506.04244); with its mixed parts kept, so that equal bases give the LoRA back. With a judge it is kept only
            if the judge finds less loss than without.
        num_directions: how many leading directions of a weight are compared, and projected on.
        device: where matrices are decomposed.
        judge: measures held-out loss on the new base; `judging.py` makes one of clips.
        progress: told of every layer.

    Raises:
        LoraMismatchError: the bases' shapes differ where the LoRA acts, or it was not made for `source`.
    """
    whole_number(num_directions, "directions", ModelError, low=1)
    weights = _of_one_expert(lora if isinstance(lora, LoraWeights) else read_lora(lora), Path(target))
    old, new = open_base(Path(source)), open_base(Path(target))
    left_out = check_shapes(weights, old, new)
    kept = [name for name in weights.deltas if name not in left_out]
    work = _Work(old, new, usable_device(device), num_directions, project)
    layers, moved, notes = [], {}, []
    for done, name in enumerate(kept, start=1):
        layer, moved[name] = work.layer(name, weights.deltas[name])
        layers += [] if layer is None else [layer]
        if progress is not None:
            progress(done, len(kept), "layers")
    if not layers:
        what, remedy = "it changes no matrix", "Give a LoRA that does; this one has nothing to be moved"
        raise LoraMismatchError(weights.name, what, expected="a LoRA of linear layers", remedy=remedy)
    direct = _for_base(weights, {name: weights.deltas[name] for name in kept}, old, new)
    projected = replace(direct, deltas=moved, metadata={**direct.metadata, "projected": "arXiv 2506.04244"})
    if project and (num_other := sum(moved[name] is weights.deltas[name] for name in kept)):
        notes.append(f"not projected: {num_other} changes that are no LoRA of a layer's weight")
    losses, is_better = _judged(direct, projected if project else None, judge)
    notes += _said(losses, project, is_better)
    chosen = projected if project and is_better else direct
    return Transfer(chosen, tuple(layers), len(weights.deltas), left_out, project and is_better, losses, tuple(notes))


def check_shapes(weights: LoraWeights, old: OpenedBase, new: OpenedBase) -> tuple[str, ...]:
    """Return the targets that the new base lacks; raise where either base has one in another shape."""
    outlines = outlines_of(weights.deltas)
    for base, remedy in ((old, "Give the checkpoint that the LoRA was trained on"), (new, _STEER)):
        differing = [name for name, delta in outlines.items() if not _has_place(delta, base.shape(name))]
        if differing:
            ours, theirs = shape_text(outlines[differing[0]].shape), shape_text(base.shape(differing[0]) or ())
            more = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
            what = f"its change of {differing[0]!r} is {ours}, and {base.path.name} has {theirs} there{more}"
            expected = "a base of the same shapes: what one width learnt has no place in another"
            raise LoraMismatchError(weights.name, what, expected=expected, remedy=remedy)
    absent = [name for name in outlines if old.shape(name) is None]
    if absent:
        what = f"{old.path.name} has no {first_few(absent)}, which it changes"
        raise LoraMismatchError(weights.name, what, remedy="Give the checkpoint that the LoRA was trained on")
    return tuple(name for name in outlines if new.shape(name) is None)


def _has_place(delta: Delta, shape: tuple[int, ...] | None) -> bool:
    return shape is None or fits(delta.shape, shape)


@dataclass(frozen=True, eq=False)
class _Work:
    """What stays the same from layer to layer."""

    old: OpenedBase
    new: OpenedBase
    device: torch.device
    num_directions: int
    project: bool

    def layer(self, target: str, delta: Delta) -> tuple[Likeness | None, Delta]:
        """Return what is known of one layer, None of what is no matrix, and its change on the new base."""
        here, there = (base.weight(target).to(self.device) for base in (self.old, self.new))
        if here.ndim < 2 or target.endswith(".bias") or min(here.flatten(1).shape) < 2:
            return None, delta
        spaces = [Subspaces.of(weight, self.num_directions) for weight in (here, there)]
        change = delta.dense(here.cpu() if delta.needs_base else None).to(self.device).reshape(here.shape)
        found = _likeness(target, change, (here, there), spaces)
        return found, _carry(delta, spaces, self.device) if self.project else delta


def _likeness(target: str, change: Tensor, bases: tuple[Tensor, Tensor], spaces: list[Subspaces]) -> Likeness:
    (old, new), norm = spaces, float(change.norm())
    num_outputs, num_inputs = old.left.shape[0], old.right.shape[0]
    size, there = (norm / max(float(base.norm()), 1e-12) for base in bases)
    by_chance = old.left.shape[1] * (1 / num_outputs + 1 / num_inputs) / 2
    return Likeness(
        target,
        alike(old.left, new.left),
        alike(old.right, new.right),
        by_chance,
        size,
        there,
        norm,
        overlap(change, *bases),
    )


def _carry(delta: Delta, spaces: list[Subspaces], device: torch.device) -> Delta:
    """Return the change carried to the new base's directions, in the same rank; itself where it is no LoRA."""
    if not isinstance(delta, Lora):
        return delta
    old, new = spaces
    down, up = (factor.to(device, torch.float32) for factor in delta.factors())
    up, down = carried(up, old.left, new.left), carried(down.T, old.right, new.right).T
    up, down = up.to("cpu", delta.up.dtype), down.to("cpu", delta.down.dtype).contiguous()
    ones = [1] * (len(delta.shape) - 2)
    return Lora(down.reshape(-1, *delta.shape[1:]), up.reshape(*up.shape, *ones), scale=delta.scale)


def _judged(direct: LoraWeights, projected: LoraWeights | None, judge: Judge | None) -> tuple[Losses | None, bool]:
    """Return what a judge says, and whether the projection is to be kept."""
    if judge is None:
        return None, True
    losses = Losses(judge(None), judge(direct), None if projected is None else judge(projected))
    values = [value for value in vars(losses).values() if value is not None]
    if not all(map(math.isfinite, values)):
        raise ModelError("held-out loss", f"it came out as {max(values):g}", remedy="Check the clips and the bases")
    return losses, losses.projected is not None and losses.projected < losses.direct


def _said(losses: Losses | None, project: bool, is_better: bool) -> list[str]:
    if losses is None:
        return ["note: the projection was judged on nothing; give clips to keep it only if it helps"] if project else []
    gain = (losses.base - losses.direct) / losses.base
    lines = [f"held-out loss: {losses.base:.5f} without, {losses.direct:.5f} with the LoRA ({gain:+.2%} of it gone)"]
    if losses.projected is not None:
        verdict = "kept" if is_better else "not kept, for it is no better"
        lines.append(f"held-out loss with the projection: {losses.projected:.5f}, {verdict}")
    return lines


def _of_one_expert(weights: LoraWeights, target: Path) -> LoraWeights:
    if weights.low_noise_deltas is None:
        return weights
    told = expert_of_path(target)
    if told is None:
        what = f"it has a LoRA for each expert, and {target.name} does not tell which of them it is"
        raise LoraMismatchError(weights.name, what, remedy="Name the checkpoint by its expert, or split the LoRA")
    return weights.only(told[0])


def _for_base(weights: LoraWeights, deltas: Mapping[str, Delta], old: OpenedBase, new: OpenedBase) -> LoraWeights:
    told = expert_of_path(new.path)
    metadata = {**weights.metadata, "transferred_from": old.path.name, "ss_sd_model_name": new.path.name}
    expert = weights.expert if told is None else told[0]
    return replace(weights, deltas=dict(deltas), metadata=metadata, expert=expert)
