"""What no file of weights exceeds that anybody made for use, so that a small file cannot cost minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: The largest models and LoRAs in use have a few thousand.
MAX_TENSORS = 50_000
#: A weight of a three-dimensional convolution has five.
MAX_DIMENSIONS = 8
MAX_NAME_LENGTH = 1000


def excess_of(shapes: Mapping[str, Sequence[int]]) -> tuple[str, str] | None:
    """Return (what is too much, what is allowed) of named tensors, or None."""
    if (count := too_many(len(shapes))) is not None:
        return count
    return next((found for name, shape in shapes.items() if (found := too_large(name, shape)) is not None), None)


def too_many(num_tensors: int) -> tuple[str, str] | None:
    """Return (what is too much, what is allowed) of a number of tensors, or None."""
    if num_tensors <= MAX_TENSORS:
        return None
    return f"it lists {num_tensors:,} tensors", f"at most {MAX_TENSORS:,}"


def too_large(name: str, shape: Sequence[int]) -> tuple[str, str] | None:
    """Return (what is too much, what is allowed) of one tensor's name and shape, or None."""
    if len(name) > MAX_NAME_LENGTH:
        return f"a tensor's name has {len(name):,} letters, {name[:40]!r}…", f"at most {MAX_NAME_LENGTH:,}"
    if len(shape) > MAX_DIMENSIONS:
        return f"tensor {name!r} has {len(shape):,} dimensions", f"at most {MAX_DIMENSIONS}"
    return None
