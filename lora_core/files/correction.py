"""The correction of a LoRA that was trained beside a rounded weight, for use beside the weight itself.

Letters: O outputs, I inputs, R rank. Training beside W_q finds B A so that W_q + B A does what is wanted; part of it
mends the rounding. With Q (R, I) an orthonormal basis of A's rows and B A = B' Q, the LoRA

    B_c = B' - (W - W_q) Q'        A_c = Q

makes W + B_c A_c do exactly what W_q + B A does to every input in A's row space, which is all that B A reads
(Lin et al. 2025, EMLoC, arXiv 2506.12015, section 3.3, there for a base that is compressed by rank).
Dtype policy: float32; the factors come back in the dtype that they came in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..deltas import Delta, Lora
from ..errors import UnsupportedLoraError

#: A correction is cut, row by row, at this many times the mean size of B' there, as in EMLoC's code: where the rounding
#: outweighs what was learnt, less of it is undone rather than the LoRA drowned in it.
CLAMP = 3.0


def corrected(delta: Delta, full: Tensor, rounded: Tensor, *, clamp: float | None = CLAMP, where: str = "") -> Lora:
    """Return the LoRA that acts beside `full` as `delta` does beside `rounded`, on the inputs that it reads.

    Args:
        delta: a `Lora` of a matrix; others have no row space that stays.
        full: W (O, I).
        rounded: W_q (O, I), as the training computed with it.
        clamp: the cut, None for none; without it the identity holds to rounding.
        where: the target, for messages.
    """
    if not isinstance(delta, Lora) or delta.mid is not None or len(delta.shape) != 2:
        what = f"a change of kind {delta.kind} has no row space that could be kept"
        raise UnsupportedLoraError(
            where or delta.kind, what, expected="a LoRA of a linear layer", remedy="Choose another LoRA"
        )
    down, up = (factor.double() for factor in delta.factors())
    left, values, basis_RI = torch.linalg.svd(down, full_matrices=False)
    coordinates_OR = delta.scale * (up @ (left * values))
    excess_OR = (full.double() - rounded.double()) @ basis_RI.T
    if clamp is not None:
        limit_O1 = clamp * coordinates_OR.abs().mean(dim=1, keepdim=True)
        excess_OR = excess_OR.clamp(-limit_O1, limit_O1)
    return Lora(basis_RI.to(delta.down.dtype), (coordinates_OR - excess_OR).to(delta.up.dtype))
