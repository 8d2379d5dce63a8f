"""The encoding of weights in a dialect: each delta as tensors under the names that the dialect's own readers look for.

A dialect with alpha tensors gets alpha = scale * rank, so that every reader that divides by the rank has the scale.
A dialect without them gets the scale multiplied into one of the tensors: exactly where it is a power of two, in
float32 otherwise. So alpha is the rank, and no reader that takes it for that needs metadata to get the scale right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ..deltas import Boft, Delta, Dora, Full, LoHa, LoKr, Lora, Oft, Stacked
from ..errors import UnsupportedLoraError
from ..families.family import Naming
from ..families.registry import family_of_targets
from .dialects import DIALECTS, Dialect, Prefix
from .faults import Faults, Heading
from .kinds import KINDS
from .weights import LoraWeights

#: What to do about deltas that a dialect cannot express.
_REMEDY = "Write the comfyui dialect, which expresses every kind"

_KIND_WORDS: Mapping[str, str] = {
    "lora": "LoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "full": "difference in full",
    "bias": "difference of a bias",
    "glora": "GLoRA",
    "oft": "OFT",
    "boft": "BOFT",
    "set": "replacement of a weight",
}


@dataclass(frozen=True)
class Stored:
    """A delta as it is stored: tensors by field, the scale of their product, the rank that alpha is divided by."""

    kind: str
    tensors: Mapping[str, Tensor]
    scale: float
    rank: int | None
    magnitude: Tensor | None = None
    by_input: bool = False
    num_axes: int = 2


def encode(weights: LoraWeights, dialect: str, where: object) -> dict[str, Tensor]:
    """Return tensor name -> tensor; all that the dialect cannot express is refused in one message."""
    table, family = DIALECTS[dialect], family_of_targets(weights.deltas)
    naming = None if family is None else family.naming
    faults = Faults()
    text = f"{{n}} delta{{s}} cannot be written in the {dialect} dialect"
    heading = Heading(UnsupportedLoraError, text, remedy=_REMEDY)
    tensors: dict[str, Tensor] = {}
    for prefix, deltas in _by_prefix(weights, table, dialect, where):
        for target, delta in deltas.items():
            stored = stored_form(delta, is_bias=target.endswith(".bias"), fold=not table.has_alpha)
            problem = _problem(target, stored, deltas, table, naming)
            if problem:
                faults.add(heading, f"{target} ({problem})")
                continue
            module = _spelled(target.removesuffix(".bias"), prefix, table, naming)
            for leaf, tensor in _leaves(stored, table):
                tensors[f"{prefix.text}{module}.{leaf}"] = tensor.detach().cpu().contiguous()
    faults.raise_any(where)
    return tensors


def stored_form(delta: Delta, *, is_bias: bool = False, fold: bool = False) -> Stored:
    """Return a delta as tensors; with `fold`, or where no alpha can carry it, the scale is inside one of them."""
    if isinstance(delta, Stacked):
        return Stored(delta.kind, {}, 1.0, None)
    if isinstance(delta, Dora):
        inner = stored_form(delta.inner, fold=fold)
        return replace(inner, magnitude=delta.magnitude, by_input=delta.on_inputs, num_axes=len(delta.shape))
    delta = _readable(delta, fold)
    kind = "bias" if is_bias and isinstance(delta, Full) else delta.kind
    values = ((field.name, getattr(delta, field.name)) for field in fields(delta))
    tensors = {name: value for name, value in values if isinstance(value, Tensor)}
    if isinstance(delta, (Oft, Boft)):
        return Stored("oft", tensors, delta.constraint, 1 if delta.constraint else None)
    rank = KINDS[delta.kind].rank({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    if delta.scale == 1.0 or (rank is not None and not fold):
        return Stored(kind, tensors, delta.scale, rank)
    first = next(field for field in ("up", "w1a", "w1", "b1") if field in tensors)
    return Stored(kind, {**tensors, first: _times(tensors[first], delta.scale)}, 1.0, rank)


def _readable(delta: Delta, fold: bool) -> Delta:
    """Rearrange what readers know for images only: ComfyUI takes a kernel for one of two axes, PEFT has no `mid`."""
    if isinstance(delta, Lora) and delta.mid is not None and (fold or delta.mid.ndim > 4):
        down = delta.factors()[0].reshape(-1, *delta.shape[1:])
        return Lora(down, delta.up, None, delta.scale)
    if isinstance(delta, LoKr) and delta.w2 is not None and delta.w2.ndim > 4:
        return replace(delta, w2=delta.w2.flatten(1), target_shape=delta.shape)
    return delta


def _times(tensor: Tensor, scale: float) -> Tensor:
    """Multiply in the tensor's own dtype where that is exact, in float32 where it is not."""
    product = tensor.float() * scale
    narrow = product.to(tensor.dtype)
    return narrow if torch.equal(narrow.float() / scale, tensor.float()) else product


def _by_prefix(
    weights: LoraWeights, table: Dialect, dialect: str, where: object
) -> list[tuple[Prefix, Mapping[str, Delta]]]:
    """Return the deltas of each expert with the prefix that tells it."""
    high, low = table.prefixes
    if weights.low_noise_deltas is None:
        return [(high, weights.deltas)]
    if low is None:
        what = f"the weights hold both experts, and the {dialect} dialect has one expert per file"
        raise UnsupportedLoraError(where, what, remedy="Write weights.only('high_noise') and weights.only('low_noise')")
    return [(high, weights.deltas), (low, weights.low_noise_deltas)]


def _spelled(module: str, prefix: Prefix, table: Dialect, naming: Naming | None) -> str:
    """Return a canonical module path as the dialect spells it behind a prefix."""
    if table.modules == "diffusers" and naming is not None:
        module = naming.to_diffusers(module)
    return module.replace(".", "_") if prefix.flat else module


def _problem(target: str, stored: Stored, deltas: Mapping[str, Delta], table: Dialect, naming: Naming | None) -> str:
    """Return why the dialect cannot express a delta, or ""."""
    if stored.kind == "stacked":
        return "a DoRA of a part of a module that this dialect has in one"
    keys = [(stored.kind, field) for field in stored.tensors]
    if stored.magnitude is not None:
        keys.append(("dora", "magnitude"))
    if any(key not in table.leaves for key in keys):
        name = "DoRA of " if stored.magnitude is not None else ""
        return f"a {name}{_KIND_WORDS[stored.kind]}" + (" with a Tucker core" if _has_core(stored) else "")
    if not table.has_alpha:
        return _peft_problem(target, stored, deltas)
    is_bare = naming is not None and naming.is_bare(target)
    return "a bare parameter" if is_bare and not table.names_bare else ""


def _peft_problem(target: str, stored: Stored, deltas: Mapping[str, Delta]) -> str:
    """Return why PEFT, which has one kind of layer per adapter, cannot hold a delta among the others, or ""."""
    if stored.by_input:
        return "a DoRA whose magnitude belongs to the inputs"
    if stored.kind == "bias" and not isinstance(deltas.get(target.removesuffix(".bias")), Lora):
        return "the difference of a bias whose weight has no LoRA"
    if stored.kind == "loha" and any(not isinstance(delta, LoHa) for delta in deltas.values()):
        return "a LoHa beside other kinds, and PEFT has one kind per adapter"
    is_plain = stored.kind == "lora" and stored.magnitude is None
    if is_plain and any(isinstance(delta, Dora) for delta in deltas.values()):
        return "a LoRA beside a DoRA, and PEFT has one kind per adapter"
    return ""


def _leaves(stored: Stored, table: Dialect) -> Iterator[tuple[str, Tensor]]:
    """Yield (leaf, tensor) of one delta, alpha last."""
    for field, tensor in stored.tensors.items():
        yield table.leaves[stored.kind, field], tensor
    if stored.magnitude is not None:
        yield table.leaves["dora", "magnitude"], _magnitude(stored, table)
    if table.has_alpha and stored.rank is not None:
        yield table.leaves["scale", "alpha"], torch.tensor(stored.scale * stored.rank, dtype=torch.float32)


def _magnitude(stored: Stored, table: Dialect) -> Tensor:
    """Shape a magnitude as its readers want it: ComfyUI (O, 1, ..) or (1, I, ..), PEFT (O) or (1, O, 1, ..)."""
    assert stored.magnitude is not None
    if stored.by_input:
        return stored.magnitude
    if table.has_alpha:
        return stored.magnitude.reshape(-1, *(1,) * (stored.num_axes - 1))
    kernel = (1,) * (stored.num_axes - 2)
    return stored.magnitude.reshape(1, -1, *kernel) if kernel else stored.magnitude.reshape(-1)


def _has_core(stored: Stored) -> bool:
    return any(field in stored.tensors for field in ("mid", "t1", "t2"))
