"""A judge: what says how good a video is, of anybody's making, named by module and function.

It is called as `judge(frames, captions)`: frames (B, 3, T, rows, columns) float32 in [-1, 1] on the compute device,
captions B texts; it returns (B,) float32, the higher the better, through which gradients flow back to the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from torch import Tensor

from ...errors import TrainingError

Judge = Callable[[Tensor, Sequence[str]], Tensor]
_REMEDY = "Name an installed function, such as my_package.my_module:my_judge"


def find_judge(name: str) -> Judge:
    """Return the function that "package.module:function" names."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise TrainingError("reward", f"{name!r} names no function", expected="package.module:function", remedy=_REMEDY)
    try:
        found = getattr(import_module(module), function, None)
    except ImportError as error:
        raise TrainingError("reward", f"{module!r} cannot be imported: {error}", remedy=_REMEDY) from error
    if not callable(found):
        raise TrainingError("reward", f"{module!r} has no function {function!r}", remedy=_REMEDY)
    judge: Judge = found
    return judge
