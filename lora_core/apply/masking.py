"""The placing of masked LoRAs on a network: which of its modules are patched how, by the tokens that each one meets."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from ..errors import LoraMismatchError
from ..families.base import ModelSpec, logical_shape
from ..families.region_rules import Met, RegionRules
from ..families.registry import region_rules
from .crossing import Crossing, OfText, Output, Query
from .factors import Term
from .fused import FusedDelta
from .layers import multiplies
from .masked import MaskedModule, MaskedProduct
from .masks import Masks
from .patched import PatchedModule
from .strengths import Strengths

#: Parameter name of a module -> its changes.
Changes = Mapping[str, Sequence[Term]]
#: How a module is patched that no mask divides.
Patch = Callable[[nn.Module, Mapping[str, FusedDelta], Strengths], PatchedModule]


@dataclass(frozen=True, eq=False)
class Placing:
    """A stack with masked LoRAs on a network.

    Attributes:
        module: the network.
        spec: what it is called.
        masks: those of the stack, with its strengths.
        patch: what patches the modules that no mask divides.
        beside: the modules that somebody else changes too, for LoRAs without a mask.
    """

    module: nn.Module
    spec: ModelSpec
    masks: Masks
    patch: Patch
    beside: Container[str] = ()

    def apart(self, changes: Mapping[str, Changes]) -> tuple[dict[str, Changes], dict[str, Changes]]:
        """Take changes of a stack apart: those that a weight may hold for all tokens, and those left to `patches`."""
        rules = region_rules(self.spec)
        for_weights: dict[str, Changes] = {}
        for_patches: dict[str, Changes] = {}
        for path, parameters in changes.items():
            if not self._masked(parameters):
                for_weights[path] = parameters
            elif rules.met_by(_targets(parameters)[0]) in ("text", "global"):
                for_patches[path] = parameters
            else:
                for_patches[path] = _only(parameters, lambda term: self.masks.has(term.index))
                if unmasked := _only(parameters, lambda term: not self.masks.has(term.index)):
                    for_weights[path] = unmasked
        return for_weights, for_patches

    def patches(self, changes: Mapping[str, Changes]) -> list[PatchedModule]:
        """Return the patches for module path -> its changes, to be installed in this order and removed in the other."""
        rules, found = region_rules(self.spec), []
        crossings: dict[str, list[tuple[str, Changes]]] = {}
        for path, parameters in changes.items():
            met = rules.met_by(_targets(parameters)[0])
            if not self._masked(parameters):
                found.append(self._plain(path, parameters, self.masks.strengths))
            elif met == "text":
                crossings.setdefault(path.rpartition(".")[0], []).append((path, parameters))
            elif met == "global":
                found.append(self._plain(path, parameters, self.masks.mean_strengths))
            else:
                found += self._divided(path, parameters, met)
        for path, inner in crossings.items():
            found += self._crossing(path, inner, rules)
        return found

    def _plain(self, path: str, parameters: Changes, strengths: Strengths) -> PatchedModule:
        module = self.module.get_submodule(path)
        deltas = {name: FusedDelta(logical_shape(module, name), terms) for name, terms in parameters.items()}
        return self.patch(module, deltas, strengths)

    def _divided(self, path: str, parameters: Changes, met: Met) -> Iterable[PatchedModule]:
        """Yield what the LoRAs without a mask do to a module, and above it what those with a mask do."""
        module, masks = self.module.get_submodule(path), self.masks
        unmasked = _only(parameters, lambda term: not masks.has(term.index))
        masked = _only(parameters, lambda term: masks.has(term.index))
        if unmasked:
            yield self._plain(path, unmasked, masks.strengths)
        if "weight" in parameters and multiplies(module):
            is_alone = not unmasked and path not in self.beside
            yield MaskedProduct(module, masked, masks, met, is_alone=is_alone)
        else:
            yield MaskedModule(module, masked, masks, met)

    def _crossing(self, path: str, inner: Sequence[tuple[str, Changes]], rules: RegionRules) -> list[PatchedModule]:
        """Return the patches of a cross-attention: those of its modules of the text, and what runs it for each set."""
        indices = sorted({term.index for _, parameters in inner for term in self._masked(parameters)})
        crossing = Crossing(self.module.get_submodule(path), indices, self.masks)
        attention = _targets(inner[0][1])[0].removesuffix(".bias").rpartition(".")[0]
        output = self._found(f"{attention}.{rules.output}")
        assert output is not None, "a cross-attention has an output"
        queries = [module for name in rules.queries if (module := self._found(f"{attention}.{name}")) is not None]
        return [
            *(patch for part, parameters in inner for patch in self._of_text(part, parameters, crossing)),
            *(Query(module, crossing, is_last=module is queries[-1]) for module in queries),
            Output(output, crossing),
            crossing,
        ]

    def _of_text(self, path: str, parameters: Changes, crossing: Crossing) -> Iterable[PatchedModule]:
        """Yield the patches of a module of the text; where masked LoRAs are thin, theirs is above all others."""
        module = self.module.get_submodule(path)
        masked = _only(parameters, lambda term: self.masks.has(term.index))
        unmasked = _only(parameters, lambda term: not self.masks.has(term.index))
        if set(masked) == {"weight"} and multiplies(module):
            delta = FusedDelta(logical_shape(module, "weight"), masked["weight"])
            if delta.is_thin and not delta.needs_base:
                if unmasked:
                    yield self._plain(path, unmasked, self.masks.strengths)
                yield OfText(module, delta, crossing)
                return
        yield self._plain(path, parameters, crossing.text)

    def _masked(self, parameters: Changes) -> list[Term]:
        return [term for terms in parameters.values() for term in terms if self.masks.has(term.index)]

    def _found(self, target: str) -> nn.Module | None:
        """Return the module of a target; None where the model has none, as some have no norm."""
        try:
            return self.module.get_submodule(self.spec.parameter_path(target, self.module)[0])
        except LoraMismatchError:
            return None


def _targets(parameters: Changes) -> list[str]:
    return [term.target for terms in parameters.values() for term in terms]


def _only(parameters: Changes, wanted: Callable[[Term], bool]) -> dict[str, list[Term]]:
    chosen = {name: [term for term in terms if wanted(term)] for name, terms in parameters.items()}
    return {name: terms for name, terms in chosen.items() if terms}
