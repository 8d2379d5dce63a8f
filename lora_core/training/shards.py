"""Tensors of which every process has a part: made whole for files, and taken apart again.

Every process has to ask at the same place for the same tensor, for each gives its part. A tensor that is whole already
is none of anybody's business, so one process alone never waits.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor


def whole(value: Any, *, keep: bool = True) -> Any:
    """Return a tensor as one process would have it, on the CPU; of mappings every value, the keys as they are.

    Args:
        value: a tensor, a mapping, or anything else, which is returned as it is.
        keep: whether this process wants it; one that only gives its part gets None in the place of tensors.
    """
    if isinstance(value, dict):
        return {name: whole(inner, keep=keep) for name, inner in value.items()}
    if not isinstance(value, Tensor):
        return value
    tensor: Any = value.detach()
    if is_part(tensor):
        tensor = tensor.full_tensor()
    return tensor.cpu() if keep else None


def parted(value: Tensor, like: Tensor) -> Tensor:
    """Return of a whole tensor what `like` is of another of its shape: this process's part, or all of it."""
    moved, part = value.to(like.device), cast(Any, like)
    if not is_part(like):
        return moved
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(moved, part.device_mesh, part.placements)


def is_part(tensor: Tensor) -> bool:
    """Say whether a tensor is one of torch's distributed ones; the class is not imported where nothing is shared."""
    return hasattr(tensor, "full_tensor")
