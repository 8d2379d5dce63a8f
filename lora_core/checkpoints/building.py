"""A module made from its class and a state dict, without ever holding random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ..checks import shape_text
from ..errors import ModelError
from ..wording import said


def build_module(build: Callable[[], Any], state: Mapping[str, Tensor], where: object) -> nn.Module:
    """Build a module on the meta device, then give it the tensors of `state` as they are (memory-mapped, any dtype).

    Tensors of `state` must name every parameter of the module, in its shape, and nothing else.
    """
    from accelerate import init_empty_weights

    try:
        with init_empty_weights(include_buffers=False):
            module: nn.Module = build()
    except (TypeError, ValueError) as error:
        raise ModelError(
            where,
            said("its configuration cannot be used: {error}", error=error),
            remedy="Download it again, or choose another file",
        ) from error
    check_state({name: tuple(t.shape) for name, t in module.state_dict().items()}, state, where)
    module.load_state_dict(dict(state), strict=True, assign=True)
    return module


def check_state(wanted: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor], where: object) -> None:
    """Raise one error that names what is missing, superfluous or of a wrong shape."""
    missing = [name for name in wanted if name not in state]
    superfluous = [name for name in state if name not in wanted]
    shapes = [name for name in wanted if name in state and tuple(state[name].shape) != wanted[name]]
    faults = [f"{len(missing)} tensors are missing, first {missing[0]!r}"] if missing else []
    if superfluous:
        faults.append(f"{len(superfluous)} tensors have no place in it, first {superfluous[0]!r}")
    if shapes:
        got = shape_text(state[shapes[0]].shape)
        expected = shape_text(wanted[shapes[0]])
        faults.append(f"{len(shapes)} tensors have another shape, first {shapes[0]!r} with {got}, not {expected}")
    if faults:
        raise ModelError(where, "; ".join(faults), remedy="Download it again, or choose another file")
