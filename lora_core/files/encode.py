"""The encoding of weights in a dialect: each delta as tensors under the names that the dialect's own readers look for.

A dialect with alpha tensors gets alpha = scale * rank, so that every reader that divides by the rank has the scale.
A dialect without them gets the scale multiplied into one of the tensors: exactly where it is a power of two, in
float32 otherwise. So alpha is the rank, and no reader that takes it for that needs metadata to get the scale right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..deltas import Delta, Dora, Full, LoHa, LoKr, Lora
from ..errors import UnsupportedLoraError
from ..families.wan.names import to_diffusers
from .faults import Faults, Heading
from .kinds import KINDS
from .weights import LoraWeights

#: (kind, field) -> leaf.
Leaves = dict[tuple[str, str], str]

_KOHYA_LEAVES: Leaves = {
    ("lora", "down"): "lora_down.weight",
    ("lora", "up"): "lora_up.weight",
    ("lora", "mid"): "lora_mid.weight",
    ("loha", "w1a"): "hada_w1_a",
    ("loha", "w1b"): "hada_w1_b",
    ("loha", "w2a"): "hada_w2_a",
    ("loha", "w2b"): "hada_w2_b",
    ("loha", "t1"): "hada_t1",
    ("loha", "t2"): "hada_t2",
    ("lokr", "w1"): "lokr_w1",
    ("lokr", "w1a"): "lokr_w1_a",
    ("lokr", "w1b"): "lokr_w1_b",
    ("lokr", "w2"): "lokr_w2",
    ("lokr", "w2a"): "lokr_w2_a",
    ("lokr", "w2b"): "lokr_w2_b",
    ("lokr", "t2"): "lokr_t2",
    ("dora", "magnitude"): "dora_scale",
    ("full", "diff"): "diff",
    ("bias", "diff"): "diff_b",
}
_PEFT_LEAVES: Leaves = {
    ("lora", "down"): "lora_A.weight",
    ("lora", "up"): "lora_B.weight",
    ("dora", "magnitude"): "lora_magnitude_vector",
    ("bias", "diff"): "lora_B.bias",
}
_LOHA_LEAVES: Leaves = {key: leaf for key, leaf in _KOHYA_LEAVES.items() if key[0] == "loha" and "t" not in key[1]}


@dataclass(frozen=True)
class Dialect:
    """One dialect's spelling of tensors.

    Attributes:
        prefixes: what stands before a name, for the only or high-noise expert and for the low-noise one (None where
            one file holds one expert).
        rename: turns a canonical module path into the dialect's.
        leaves: what it can express, and how.
        has_alpha: True where alpha is a tensor of its own.
        names_bare: True where its readers know bare parameters, which no module path leads to.
    """

    prefixes: tuple[str, str | None]
    rename: Callable[[str], str]
    leaves: Leaves
    has_alpha: bool
    names_bare: bool = True


def _native(path: str) -> str:
    return path


def _flat(path: str) -> str:
    return path.replace(".", "_")


def _diffusers(path: str) -> str:
    name = to_diffusers(f"{path}.weight")
    return name.removesuffix(".weight") if name else to_diffusers(path) or path


DIALECTS: Mapping[str, Dialect] = {
    "comfyui": Dialect(("diffusion_model.", None), _native, _KOHYA_LEAVES, has_alpha=True),
    "kohya": Dialect(("lora_unet_", None), _flat, _KOHYA_LEAVES, has_alpha=True, names_bare=False),
    "diffusers": Dialect(("transformer.", "transformer_2."), _diffusers, _PEFT_LEAVES, has_alpha=False),
    "peft": Dialect(("base_model.model.", None), _diffusers, _PEFT_LEAVES | _LOHA_LEAVES, has_alpha=False),
}


#: What to do about deltas that a dialect cannot express.
_REMEDY = "Write the comfyui dialect, which expresses every kind"

_KIND_WORDS: Mapping[str, str] = {
    "lora": "LoRA",
    "loha": "LoHa",
    "lokr": "LoKr",
    "full": "difference in full",
    "bias": "difference of a bias",
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
    table = DIALECTS[dialect]
    faults = Faults()
    text = f"{{n}} delta{{s}} cannot be written in the {dialect} dialect"
    heading = Heading(UnsupportedLoraError, text, remedy=_REMEDY)
    tensors: dict[str, Tensor] = {}
    for prefix, deltas in _by_prefix(weights, table, dialect, where):
        for target, delta in deltas.items():
            stored = stored_form(delta, is_bias=target.endswith(".bias"), fold=not table.has_alpha)
            problem = _problem(target, stored, deltas, table)
            if problem:
                faults.add(heading, f"{target} ({problem})")
                continue
            module = table.rename(target.removesuffix(".bias"))
            for leaf, tensor in _leaves(stored, table):
                tensors[f"{prefix}{module}.{leaf}"] = tensor.detach().cpu().contiguous()
    faults.raise_any(where)
    return tensors


def stored_form(delta: Delta, *, is_bias: bool = False, fold: bool = False) -> Stored:
    """Return a delta as tensors; with `fold`, or where no alpha can carry it, the scale is inside one of them."""
    if isinstance(delta, Dora):
        inner = stored_form(delta.inner, fold=fold)
        return replace(inner, magnitude=delta.magnitude, by_input=delta.on_inputs, num_axes=len(delta.shape))
    delta = _readable(delta, fold)
    kind = "bias" if is_bias and isinstance(delta, Full) else delta.kind
    wanted = [field for of, field in _KOHYA_LEAVES if of == kind]
    tensors = {field: tensor for field in wanted if (tensor := getattr(delta, field)) is not None}
    shapes = {field: tuple(tensor.shape) for field, tensor in tensors.items()}
    rank = None if kind == "bias" else KINDS[kind].rank(shapes)
    if delta.scale == 1.0 or (rank is not None and not fold):
        return Stored(kind, tensors, delta.scale, rank)
    first = next(field for field in ("up", "w1a", "w1") if field in tensors)
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
) -> list[tuple[str, Mapping[str, Delta]]]:
    """Return the deltas of each expert with the prefix that tells it."""
    high, low = table.prefixes
    if weights.low_noise_deltas is None:
        return [(high, weights.deltas)]
    if low is None:
        what = f"the weights hold both experts, and the {dialect} dialect has one expert per file"
        raise UnsupportedLoraError(where, what, remedy="Write weights.only('high_noise') and weights.only('low_noise')")
    return [(high, weights.deltas), (low, weights.low_noise_deltas)]


def _problem(target: str, stored: Stored, deltas: Mapping[str, Delta], table: Dialect) -> str:
    """Return why the dialect cannot express a delta, or ""."""
    fields = [(stored.kind, field) for field in stored.tensors]
    if stored.magnitude is not None:
        fields.append(("dora", "magnitude"))
    if any(field not in table.leaves for field in fields):
        name = "DoRA of " if stored.magnitude is not None else ""
        return f"a {name}{_KIND_WORDS[stored.kind]}" + (" with a Tucker core" if _has_core(stored) else "")
    if not table.has_alpha:
        return _peft_problem(target, stored, deltas)
    return "a bare parameter" if not table.names_bare and _is_bare(target) else ""


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
        yield "alpha", torch.tensor(stored.scale * stored.rank, dtype=torch.float32)


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


def _is_bare(target: str) -> bool:
    """Say whether a target of Wan is a parameter that no module of its own holds."""
    return not target.endswith(".bias") and to_diffusers(target) is not None
