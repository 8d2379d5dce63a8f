"""The kinds of delta a file can hold: which tensors make one, whether they agree, and how it is built from them.

Letters: R rank, O output channels, I input channels, K the remaining axes of a weight (a convolution's kernel).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..checks import shape_text
from ..deltas import Boft, Delta, Dora, Full, GLora, LoHa, LoKr, Lora, Oft, Replacement, fits

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Kind:
    """One kind of delta as files store it.

    Attributes:
        forms: the sets of fields that make a whole one, the plainest first.
        check: returns why tensors of these shapes do not fit together, or "".
        build: makes the delta from its fields, its scale and the target's shape (None where that is not known).
        rank: returns the number that alpha is divided by; None where the kind has no scale of its own.
        constrained: whether alpha is no scale but a bound on what is learnt, which `build` gets as its scale.
    """

    forms: tuple[frozenset[str], ...]
    check: Callable[[Shapes], str]
    build: Callable[[Mapping[str, Tensor], float, Shape | None], Delta]
    rank: Callable[[Shapes], int | None]
    constrained: bool = False

    def missing(self, fields: frozenset[str]) -> frozenset[str]:
        """Return what these fields lack to be a whole delta; nothing when they are one."""
        if fields in self.forms:
            return frozenset()
        wider = [form - fields for form in self.forms if fields <= form]
        return min(wider, key=len, default=frozenset(self.forms[0] - fields))


def dora(inner: Delta, magnitude: Tensor, *, by_input: bool) -> Dora:
    """Wrap a delta with its magnitude, which comes as (O), (O, 1, ..), (1, O, 1, ..) in PEFT, or (1, I, ..)."""
    if by_input:
        return Dora(inner, magnitude.reshape(1, -1, *(1,) * (len(inner.shape) - 2)))
    return Dora(inner, magnitude.reshape(-1))


def is_by_input(magnitude: Shape, weight: Shape, leaf: str) -> bool:
    """Say whether a magnitude has one value per input; PEFT's convolutions put a 1 before one value per output."""
    return "dora_scale" in leaf and len(magnitude) > 1 and magnitude[0] == 1 and weight[0] != 1


def has_shares(delta: Delta) -> bool:
    """Say whether the part of a delta that some of the outputs get is a delta of its own; of an orthogonal one not."""
    return type(delta) in _SHARES and (not isinstance(delta, Dora) or has_shares(delta.inner))


def share_of(delta: Delta, rows: slice) -> Delta:
    """Return the part of a delta that makes these rows of its outputs, exactly."""
    return _SHARES[type(delta)](delta, rows)


def _lora_rows(delta: Any, rows: slice) -> Delta:
    return replace(delta, up=delta.up[rows])


def _loha_rows(delta: Any, rows: slice) -> Delta:
    # With Tucker cores the outputs are the columns of both a factors.
    halves = {name: getattr(delta, name) for name in ("w1a", "w2a")}
    cut = {name: half[rows] if delta.t1 is None else half[:, rows] for name, half in halves.items()}
    return replace(delta, **cut, target_shape=_rows_of(delta.target_shape, rows))


def _lokr_rows(delta: Any, rows: slice) -> Delta:
    """Cut the first factor where the share is whole rows of its blocks, the product where it is not."""
    outer = delta.w1 if delta.w1 is not None else delta.w1a
    block = delta.shape[0] // outer.shape[0]
    if rows.start % block or rows.stop % block:
        return Full(delta.dense()[rows])
    cut = outer[rows.start // block : rows.stop // block]
    field = "w1" if delta.w1 is not None else "w1a"
    return replace(delta, **{field: cut}, target_shape=_rows_of(delta.target_shape, rows))


def _dora_rows(delta: Any, rows: slice) -> Delta:
    return Dora(_SHARES[type(delta.inner)](delta.inner, rows), delta.magnitude.reshape(-1)[rows])


def _glora_rows(delta: Any, rows: slice) -> Delta:
    # What is multiplied with the base is multiplied with the share's own rows of it.
    return replace(delta, b1=delta.b1[rows], target_shape=_rows_of(delta.target_shape, rows))


def _rows_of(shape: Shape | None, rows: slice) -> Shape | None:
    return None if shape is None else (rows.stop - rows.start, *shape[1:])


_SHARES: Mapping[type[Delta], Callable[[Any, slice], Delta]] = {
    Lora: _lora_rows,
    LoHa: _loha_rows,
    LoKr: _lokr_rows,
    Dora: _dora_rows,
    Full: lambda delta, rows: Full(delta.diff[rows]),
    GLora: _glora_rows,
    Replacement: lambda delta, rows: Replacement(delta.value[rows]),
}


def _check_lora(shapes: Shapes) -> str:
    down, up, mid = shapes["down"], shapes["up"], shapes.get("mid")
    if min(len(down), len(up)) < 2 or (mid is not None and len(mid) < 3):
        return f"down is {_text(down)} and up {_text(up)}, which are no matrices"
    inner = (down[0], up[1]) if mid is None else (down[0], mid[1], mid[0], up[1])
    if any(first != second for first, second in zip(inner[::2], inner[1::2], strict=True)):
        text = f"down is {_text(down)} and up {_text(up)}"
        return text if mid is None else f"{text} and mid {_text(mid)}"
    outer = up[2:] if mid is None else up[2:] + down[2:]
    return "" if math.prod(outer) == 1 else f"up is {_text(up)}, which has a kernel of its own"


def _build_lora(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    down, up, mid = tensors["down"], tensors["up"], tensors.get("mid")
    delta = Lora(down, up, mid, scale)
    shape = _rearranged(delta.shape, target)
    if mid is not None or shape is None or shape[0] != delta.shape[0]:
        return delta
    # A convolution's factors may be stored flat, and a linear's as 1x1 convolutions.
    ones = (1,) * len(shape[2:])
    return Lora(down.reshape(down.shape[0], *shape[1:]), up.reshape(*up.shape[:2], *ones), None, scale)


def _check_loha(shapes: Shapes) -> str:
    w1a, w1b, w2a, w2b = (shapes[field] for field in ("w1a", "w1b", "w2a", "w2b"))
    t1, t2 = shapes.get("t1"), shapes.get("t2")
    first, second = _product_shape(w1a, w1b, t1), _product_shape(w2a, w2b, t2)
    if first is None or second is None or first != second:
        halves = f"{_text(w1a)} by {_text(w1b)} and {_text(w2a)} by {_text(w2b)}"
        return f"its halves are {halves}"
    return ""


def _build_loha(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    delta = LoHa(scale=scale, **tensors)  # type: ignore[arg-type]  # mypy takes any field for a tensor
    return replace(delta, target_shape=_rearranged(delta.shape, target))


def _check_lokr(shapes: Shapes) -> str:
    first = shapes["w1"] if "w1" in shapes else _product_shape(shapes["w1a"], shapes["w1b"], None)
    second = shapes["w2"] if "w2" in shapes else _product_shape(shapes["w2a"], shapes["w2b"], shapes.get("t2"))
    if first is None or second is None or len(first) != 2 or len(second) < 2:
        return "its factors are " + ", ".join(f"{field} {_text(shape)}" for field, shape in sorted(shapes.items()))
    return ""


def _build_lokr(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    delta = LoKr(scale=scale, **tensors)  # type: ignore[arg-type]  # mypy takes any field for a tensor
    return replace(delta, target_shape=_rearranged(delta.shape, target))


def _lokr_rank(shapes: Shapes) -> int | None:
    """Return the rank; a LoKr with both factors in full has none, and LyCORIS gives it the scale 1 whatever alpha."""
    decomposed = [shapes[field][0] for field in ("w2b", "w1b") if field in shapes]
    return decomposed[0] if decomposed else None


def _build_full(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    diff = tensors["diff"]
    if scale != 1.0:
        diff = diff.float() * scale
    shape = _rearranged(tuple(diff.shape), target)
    return Full(diff if shape is None else diff.reshape(shape))


def _check_glora(shapes: Shapes) -> str:
    a1, a2, b1, b2 = (shapes[field] for field in ("a1", "a2", "b1", "b2"))
    if min(map(len, (a1, a2, b1, b2))) >= 2:
        (a_up, a_down), (b_up, b_down) = ((a2, a1), (b2, b1)) if _is_old_glora(shapes) else ((a1, a2), (b1, b2))
        ranks_agree = a_up[1] == a_down[0] == b_up[1] == b_down[0]
        if ranks_agree and a_up[0] == a_down[1] and math.prod(b_down[1:]) % a_up[0] == 0:
            return ""
    return f"a1 is {_text(a1)}, a2 {_text(a2)}, b1 {_text(b1)} and b2 {_text(b2)}"


def _is_old_glora(shapes: Shapes) -> bool:
    """Say whether a1 and b1 come second in their products, as LyCORIS had it before 3.0."""
    return shapes["a1"][0] < shapes["a2"][0]


def _build_glora(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    a, b = (tensors["a1"], tensors["a2"]), (tensors["b1"], tensors["b2"])
    if _is_old_glora({field: tuple(tensor.shape) for field, tensor in tensors.items()}):
        a, b = a[::-1], b[::-1]
    delta = GLora(*a, *b, scale)
    return replace(delta, target_shape=_rearranged(delta.shape, target))


def _check_oft(shapes: Shapes) -> str:
    blocks, rescale = shapes["blocks"], shapes.get("rescale")
    if len(blocks) not in (3, 4) or blocks[-1] != blocks[-2] or (len(blocks) == 4 and blocks[-1] % 2):
        return f"its blocks are {_text(blocks)}"
    num_outputs = blocks[-3] * blocks[-2]
    if len(blocks) == 4 and num_outputs % (2 ** (blocks[0] - 1) * blocks[-1]):
        return f"{blocks[0]} butterfly factors do not fit {num_outputs} outputs"
    if rescale is not None and math.prod(rescale) != num_outputs:
        return f"its blocks have {num_outputs} outputs and its rescale {_text(rescale)}"
    return ""


def _build_oft(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    """Build OFT of (N, B, B) blocks or BOFT of (M, N, B, B), whose inputs are the target's."""
    blocks, rescale = tensors["blocks"], tensors.get("rescale")
    num_outputs = blocks.shape[-3] * blocks.shape[-2]
    shape = (num_outputs, *(target or ())[1:])
    return (Oft if blocks.ndim == 3 else Boft)(blocks, shape, rescale, scale)


def _glora_rank(shapes: Shapes) -> int:
    return shapes["a1"][0 if _is_old_glora(shapes) else 1]


def _no_rank(shapes: Shapes) -> None:
    return None


def _build_set(tensors: Mapping[str, Tensor], scale: float, target: Shape | None) -> Delta:
    value = tensors["value"]
    shape = _rearranged(tuple(value.shape), target)
    return Replacement(value if shape is None else value.reshape(shape))


def _product_shape(a: Shape, b: Shape, core: Shape | None) -> Shape | None:
    """Return the shape of a (O, R) by b (R, I), or by a core (R, R, *K) of a (R, O) and b (R, I); None if unfit."""
    if len(a) != 2 or len(b) < 2:
        return None
    if core is None:
        return (a[0], math.prod(b[1:])) if a[1] == b[0] else None
    if len(b) != 2 or len(core) < 3 or core[:2] != (a[0], b[0]):
        return None
    return (a[1], b[1], *core[2:])


def _rearranged(shape: Shape, target: Shape | None) -> Shape | None:
    """Return the target's shape where `shape` fits it and is another, else None."""
    return None if target is None or shape == target or not fits(shape, target) else target


def _text(shape: Shape) -> str:
    return shape_text(shape, empty="a single number")


def _forms(*forms: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(form.split()) for form in forms)


_LOKR_FORMS = (f"{first} {second}" for first in ("w1", "w1a w1b") for second in ("w2", "w2a w2b", "w2a w2b t2"))

KINDS: Mapping[str, Kind] = {
    "lora": Kind(_forms("down up", "down up mid"), _check_lora, _build_lora, lambda shapes: shapes["down"][0]),
    "loha": Kind(
        _forms("w1a w1b w2a w2b", "w1a w1b w2a w2b t1 t2"), _check_loha, _build_loha, lambda shapes: shapes["w1b"][0]
    ),
    "lokr": Kind(_forms(*_LOKR_FORMS), _check_lokr, _build_lokr, _lokr_rank),
    "glora": Kind(_forms("a1 a2 b1 b2"), _check_glora, _build_glora, _glora_rank),
    "oft": Kind(_forms("blocks", "blocks rescale"), _check_oft, _build_oft, _no_rank, constrained=True),
    "full": Kind(_forms("diff"), lambda shapes: "", _build_full, _no_rank),
    "lora_bias": Kind(_forms("diff"), lambda shapes: "", _build_full, _no_rank),
    "set": Kind(_forms("value"), lambda shapes: "", _build_set, _no_rank),
}
