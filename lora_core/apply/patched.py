"""One module whose forward a stack has taken over, for as long as the stack is attached.

Nothing of the module is replaced but its `forward`, and that on the instance alone. While it runs, changed values
*shadow* parameters: an entry in the instance's `__dict__` is found before `nn.Module` looks among its parameters, so
the module's own code reads the changed value, while `parameters()`, `state_dict()` and every offloader still see the
base. The entry is gone when the call returns. That serves norms, biases, bare tables such as `modulation`, convolutions
and linear layers alike, and leaves the module's arithmetic to the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .fused import FusedDelta, Strengths

#: The module's own forward, for one call, with the given parameters shadowed.
Run = Callable[[Mapping[str, Tensor]], Any]


class PatchedModule:
    """One module with the changes of a stack.

    Args:
        deltas: parameter name -> its changes.
    """

    def __init__(self, module: nn.Module, deltas: Mapping[str, FusedDelta], strengths: Strengths) -> None:
        self.module = module
        self.deltas = dict(deltas)
        self.strengths = strengths
        self.slot = forward_slot(module)
        self.original: Callable[..., Any] = getattr(*self.slot)
        self._was_on_instance = "forward" in vars(module)
        self._installed: Callable[..., Any] | None = None

    def install(self) -> None:
        """Take the forward over, that of another patch of the module too."""
        self.original = getattr(*self.slot)
        self._was_on_instance = "forward" in vars(self.module)
        self._installed = self.forward
        setattr(*self.slot, self._installed)

    def remove(self) -> None:
        """Give the forward back; harmless when repeated, and when somebody has hooked the module in the meantime."""
        self.deltas = {}
        # Hooks that came or went since then have moved our forward, or left it in two places.
        for owner, name in (self.slot, forward_slot(self.module), (self.module, "forward")):
            if self._installed is None or getattr(owner, name) is not self._installed:
                continue
            below, was_on_instance = self._forward_below()
            if owner is self.module and name == "forward" and not was_on_instance:
                del vars(owner)[name]
            else:
                setattr(owner, name, below)
        self._installed = None

    def _forward_below(self) -> tuple[Callable[..., Any], bool]:
        """Return the forward taken over, past what was removed meanwhile, and whether it was the instance's own."""
        lower = getattr(self.original, "__self__", None)
        if isinstance(lower, PatchedModule) and lower._installed is None:
            return lower._forward_below()
        return self.original, self._was_on_instance

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Do what the module's forward does, with the parameters changed."""
        acting = {name: delta for name, delta in self.deltas.items() if delta.acts(self.strengths)}
        if not acting:
            return self.original(*args, **kwargs)
        tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        x = next(tensors, getattr(self.module, next(iter(acting))))
        if self.strengths.rows == "second_half":
            return self._by_halves(acting, x, args, kwargs)
        return self._compute(acting, x, lambda shadows: self._run(shadows, args, kwargs))

    def _compute(self, acting: dict[str, FusedDelta], x: Tensor, run: Run) -> Any:
        return run({name: self._changed(name, delta, x) for name, delta in acting.items()})

    def _by_halves(
        self, acting: dict[str, FusedDelta], x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run the first half of the batch as without a stack, the second half with it; the modules inside follow."""
        half, odd = divmod(len(x), 2)
        assert not odd, "a batch of two halves"

        def part(value: Any, rows: slice) -> Any:
            return value[rows] if isinstance(value, Tensor) and value.ndim and len(value) == len(x) else value

        outputs = []
        for rows, acts in ((slice(half), "none"), (slice(half, None), "all")):
            with self.strengths.acting_on(acts):  # type: ignore[arg-type]  # both are Rows
                inputs = [part(value, rows) for value in args], {k: part(value, rows) for k, value in kwargs.items()}
                outputs.append(self.forward(*inputs[0], **inputs[1]))
        return _joined(*outputs)

    def _changed(self, name: str, delta: FusedDelta, x: Tensor) -> Tensor:
        """Return the changed value of a parameter where the input is, in a dtype to compute with."""
        parameter = getattr(self.module, name).detach()
        return delta.changed_weight(parameter.to(x.device, compute_dtype(parameter, x)), self.strengths)

    def _run(self, shadows: Mapping[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        instance = self.module.__dict__
        instance.update(shadows)
        try:
            return self.original(*args, **kwargs)
        finally:
            for name in shadows:
                instance.pop(name, None)


def _joined(first: Any, second: Any) -> Any:
    """Put the outputs of two halves of a batch together, each tensor of several by itself."""
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    return tuple(_joined(*halves) for halves in zip(first, second, strict=True))


def compute_dtype(parameter: Tensor, x: Tensor) -> torch.dtype:
    """Return the parameter's own dtype, or the input's where its own is for storage alone (8 bits)."""
    return parameter.dtype if parameter.element_size() > 1 else x.dtype


def forward_slot(module: nn.Module) -> tuple[Any, str]:
    """Return (object, attribute) where the module's own forward hangs, below the hooks of offloaders.

    diffusers' and accelerate's hooks wrap `module.forward` on the instance and move weights around the call. Below them
    the weights are where they have to be; above, they may be on another device, or on their way.
    """
    references = getattr(getattr(module, "_diffusers_hook", None), "_fn_refs", None)
    if references:
        inner = references[0]
        return inner, "forward" if inner.original_forward is None else "original_forward"
    return module, "_old_forward" if "_old_forward" in vars(module) else "forward"


def is_patched(module: nn.Module) -> bool:
    """Return whether a stack is attached to `module` itself."""
    return isinstance(getattr(getattr(*forward_slot(module)), "__self__", None), PatchedModule)
