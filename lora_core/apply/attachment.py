"""A stack attached to a network, and taken off again without a trace."""

from __future__ import annotations

import threading
from collections.abc import Container, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Protocol

from torch import Tensor, nn

from ..checks import finite_number, first_few, typed
from ..deltas import Delta, Placed, fits
from ..errors import LoraMismatchError, StackError
from ..families.base import ModelSpec, logical_shape
from ..families.registry import spec_of_module
from .fused import FusedDelta, Strengths, Term
from .layers import Scratch, SideChoice, patch
from .masking import Changes, Placing
from .masks import Masks, everywhere
from .patched import PatchedModule, is_patched
from .strengths import Rows

#: Held between the look for a stack and the attaching of another.
_ATTACHING = threading.Lock()
#: How many faults a message names before it only counts them.
_NUM_FAULTS_SHOWN = 5


class ActingLora(Protocol):
    """What attaching needs of a LoRA; `plan.route.RoutedLora` has it."""

    @property
    def name(self) -> str: ...
    @property
    def strength(self) -> float: ...
    @property
    def deltas(self) -> Mapping[str, Delta]:
        """Target -> its change."""

    @property
    def factors(self) -> Mapping[str, float]:
        """Target -> the target filter's factor; 1 where it says nothing."""


class Attachment:
    """A stack at work on a network, until `detach` or the end of the `with` block."""

    def __init__(
        self,
        names: Sequence[str],
        strengths: Strengths,
        scratch: Scratch,
        patched: list[PatchedModule],
        masks: Masks | None = None,
    ) -> None:
        self.names = tuple(names)
        self._masks = masks
        self._strengths = strengths
        self._scratch = scratch
        self._patched = patched
        with ExitStack() as undo:
            for module in patched:
                undo.callback(module.remove)
                module.install()
            self._undo = undo.pop_all()

    @property
    def strengths(self) -> tuple[float, ...]:
        return self._strengths.values

    @property
    def num_layers(self) -> int:
        """The number of modules that compute differently."""
        return len({id(patched.module) for patched in self._patched if patched.deltas})

    @property
    def num_bytes(self) -> int:
        """The size of the LoRAs' tensors, as their files store them."""
        return sum(delta.num_bytes for module in self._patched for delta in module.deltas.values())

    @property
    def num_scratch_bytes(self) -> int:
        """The size of the scratch buffers lent so far: about one layer's weight, however large the network."""
        return self._scratch.num_bytes

    def set_strengths(self, strengths: Sequence[float]) -> None:
        """Set the strength of every LoRA, in the order they were attached in; takes effect at the next forward."""
        if len(strengths) != len(self.names):
            expected = f"{len(self.names)}: {', '.join(self.names)}"
            raise StackError(
                "strengths",
                f"{len(strengths)} values for the attached LoRAs",
                expected=expected,
                remedy="Give one for each",
            )
        values = zip(self.names, strengths, strict=True)
        self._strengths.set([finite_number(value, f"{name}: strength", StackError) for name, value in values])

    def set_masks(self, masks: Mapping[str, Tensor]) -> None:
        """Replace the masks (F, H, W) of all LoRAs that were attached with one, where another part of a clip comes."""
        if self._masks is None:
            raise StackError("masks", "no LoRA is attached with one", remedy="Attach the stack with masks")
        self._masks.set(masks)

    def acting_on(self, rows: Rows) -> AbstractContextManager[None]:
        """Let the stack act on these rows of every batch inside a `with` block: all, the second half, or none.

        A batch of which the second half alone is changed costs about what one without LoRAs does: layers multiply the
        whole of it with the base where their change is a thin branch, and run once for each half where it is not.
        """
        return self._strengths.acting_on(rows)

    def detach(self) -> None:
        """Give every module its forward back; harmless when repeated."""
        self._undo.close()
        self._patched = []

    def __enter__(self) -> Attachment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()


@typed(StackError)
def attach(
    module: nn.Module,
    entries: Sequence[ActingLora],
    spec: ModelSpec | None = None,
    *,
    side: SideChoice = "auto",
    masks: Mapping[str, Tensor] | None = None,
) -> Attachment:
    """Let `module` compute as if every weight were `W + sum(strength_i * factor_i * delta_i)`.

    No parameter is written, and no LoRA tensor moved before the layer that needs it runs; it then stays on that layer's
    device. A network carries one stack at a time.

    Args:
        module: the network, in native or diffusers naming, its weights in any form that `base_weights` knows.
        entries: the LoRAs; their `strength` is what they start with.
        spec: what the network is called; read off its parameters if None.
        side: where linear and convolution layers are changed; "auto" chooses at every call.
        masks: name of a LoRA -> how strongly it acts on each token of the video (latent frames, rows, columns of
            tokens); LoRAs that are not there act everywhere. A mask of ones is as none, one of zeros as strength 0.
            What of a masked LoRA has no place in the clip acts at the mean of its mask.

    Raises:
        LoraMismatchError: a target is missing or has another shape; nothing is attached then.
        ModelError: LoRAs have masks, and nobody knows what the tokens of the model are.
        StackError: a stack is attached already.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    entries = tuple(entries)
    _refuse_attached(module)
    strengths = Strengths([finite_number(entry.strength, f"{entry.name}: strength", StackError) for entry in entries])
    names, spec, scratch = [entry.name for entry in entries], spec or spec_of_module(module), Scratch()
    given = dict(masks or {})
    numbers = {name: everywhere(mask) for name, mask in given.items()}
    terms = terms_by_parameter(module, entries, spec, without=[name for name in names if numbers.get(name) == 0])
    dividing = {name: mask for name, mask in given.items() if numbers[name] is None}
    at_work = Masks(strengths, names, dividing) if dividing else None

    def patched_plainly(part: nn.Module, deltas: Mapping[str, FusedDelta], own: Strengths) -> PatchedModule:
        return patch(part, deltas, own, side, scratch)

    with _ATTACHING:
        _refuse_attached(module)
        if at_work is not None:
            patched = Placing(module, spec, at_work, patched_plainly).patches(terms)
        else:
            changes = fused(module, terms).items()
            patched = [patched_plainly(module.get_submodule(path), deltas, strengths) for path, deltas in changes]
        return Attachment(names, strengths, scratch, patched, at_work)


def _refuse_attached(module: nn.Module) -> None:
    for path, part in module.named_modules():
        if is_patched(part):
            raise StackError(
                path or type(module).__name__,
                "a stack is attached already",
                remedy="Detach it first, or attach both stacks as one list",
            )


def fused_deltas(module: nn.Module, entries: Sequence[ActingLora], spec: ModelSpec) -> dict[str, dict[str, FusedDelta]]:
    """Return module path -> parameter name -> what the stack does to it, after checking that every change fits."""
    return fused(module, terms_by_parameter(module, entries, spec))


def fused(module: nn.Module, terms: Mapping[str, Changes]) -> dict[str, dict[str, FusedDelta]]:
    """Return module path -> parameter name -> all its changes as one."""
    return {
        path: {
            name: FusedDelta(logical_shape(module.get_submodule(path), name), changes)
            for name, changes in parameters.items()
        }
        for path, parameters in terms.items()
    }


def terms_by_parameter(
    module: nn.Module, entries: Sequence[ActingLora], spec: ModelSpec, *, without: Container[str] = ()
) -> dict[str, dict[str, list[Term]]]:
    """Return module path -> parameter name -> its changes, after checking that every change fits.

    LoRAs that are named in `without` keep their place in the stack and change nothing.
    """
    found: dict[str, dict[str, list[Term]]] = {}
    for index, entry in enumerate(entries):
        faults = []
        if entry.name in without:
            continue
        for target, delta in entry.deltas.items():
            factor = entry.factors.get(target, 1.0)
            if factor == 0:
                continue
            try:
                path, parameter, delta = _placed(target, delta, module, spec)
            except LoraMismatchError as error:
                faults.append(f"{target}: {error.what}" + (f" ({error.expected})" if error.expected else ""))
                continue
            found.setdefault(path, {}).setdefault(parameter, []).append(Term(index, delta, factor, target))
        if faults:
            raise _mismatch(entry.name, faults, type(module).__name__)
    return found


def _placed(target: str, delta: Delta, module: nn.Module, spec: ModelSpec) -> tuple[str, str, Delta]:
    """Return (module path, parameter name, the change of the whole parameter) for the change of a target.

    Raises LoraMismatchError unless the change fits.
    """
    path, parameter = spec.parameter_path(target, module)
    whole = wanted = logical_shape(module.get_submodule(path), parameter)
    section = spec.sections.get(target)
    if section is not None:
        wanted = spec.shapes[target]
    if not fits(delta.shape, wanted):
        what = f"its change has shape {tuple(delta.shape)}"
        raise LoraMismatchError(
            delta.kind, what, expected=f"the parameter has {wanted}", remedy="Read the file for this model"
        )
    if section is not None:
        delta = Placed(delta, whole, section.first, section.order)
    return path, parameter, delta


def _mismatch(name: str, faults: Sequence[str], model: str) -> LoraMismatchError:
    shown = first_few(faults, _NUM_FAULTS_SHOWN, between="; ")
    what = f"{len(faults)} of its changes do not fit {model}: {shown}"
    return LoraMismatchError(
        name, what, remedy="Read the file with the model as `spec`, or use the model it was made for"
    )
