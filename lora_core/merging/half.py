"""The merging of all changes that act on one expert, parameter by parameter, so that no more than one is in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..checks import first_few
from ..deltas import Delta
from ..errors import StackError
from ..families.family import Family
from ..families.registry import family_of_targets
from ..files.extract import Fit, is_matrix
from ..files.weights import LazyDeltas, outlines_of
from ..progress import Progress, unheard
from ..wording import said
from .changes import Change, widest_dtype
from .layer import as_it_is, cut, merged_in_full, side_by_side, spectrum_of
from .recipe import MergeRecipe
from .sizes import Cost, ranks_within

#: Returns the base weight of a target.
ReadBase = Callable[[str], Tensor]


@dataclass(frozen=True, eq=False)
class Addend:
    """One LoRA as it acts on one expert.

    Attributes:
        deltas: target -> its change.
        factors: target -> strength times the target filter's factor.
    """

    name: str
    deltas: Mapping[str, Delta]
    factors: Mapping[str, float]

    def change(self, target: str, read_base: ReadBase | None) -> Change:
        """Read its change of a target, and the base where that is needed."""
        deltas = self.deltas
        delta = deltas.once(target) if isinstance(deltas, LazyDeltas) else deltas[target]
        base = read_base(target).reshape(delta.shape) if delta.needs_base and read_base is not None else None
        return Change.of(self.name, delta, self.factors[target], base)


@dataclass(frozen=True, eq=False)
class Half:
    """What the changes on one expert became, and what each of them lost."""

    deltas: Mapping[str, Delta]
    fits: tuple[Fit, ...]


def merge_half(
    addends: Sequence[Addend], recipe: MergeRecipe, read_base: ReadBase | None, progress: Progress = unheard
) -> Half:
    """Make one change of all changes of each parameter."""
    _refuse_unreadable(addends, recipe, read_base)
    targets = list(dict.fromkeys(target for addend in addends for target in addend.factors))
    work = _Work(addends, recipe, read_base, family_of_targets(targets))
    ranks = work.ranks(targets, progress) if recipe.num_bytes is not None else {}
    deltas, fits = {}, []
    for done, target in enumerate(targets, start=1):
        delta, fit = work.merged(target, ranks.get(target))
        if delta is not None:
            deltas[target] = delta
        fits += [fit] if fit.norm else []
        progress(done, len(targets), "layers")
    if not deltas:
        remedy = "Give LoRAs and strengths that change something"
        raise StackError("merge", "the changes add up to nothing", remedy=remedy)
    return Half(deltas, tuple(fits))


@dataclass(frozen=True, eq=False)
class _Work:
    """The merging of any one target."""

    addends: Sequence[Addend]
    recipe: MergeRecipe
    read_base: ReadBase | None
    family: Family | None

    def changes(self, target: str) -> list[Change]:
        return [addend.change(target, self.read_base) for addend in self.addends if target in addend.factors]

    def is_cut(self, target: str, changes: Sequence[Change]) -> bool:
        return self.recipe.method != "concat" and is_matrix(target, len(changes[0].delta.shape), self.family)

    def merged(self, target: str, rank: int | None) -> tuple[Delta | None, Fit]:
        """Merge one target, to a rank that was found for it or to what the recipe asks for."""
        changes, recipe = self.changes(target), self.recipe
        if not is_matrix(target, len(changes[0].delta.shape), self.family):
            return merged_in_full(target, changes, recipe)
        if recipe.method == "concat":
            return side_by_side(target, changes, recipe)
        limit = rank if rank is not None else recipe.rank
        if limit is not None and (kept := as_it_is(target, changes, limit, recipe)) is not None:
            return kept
        spectrum = spectrum_of(target, changes, recipe)
        if rank is None:
            rank = spectrum.rank_for(recipe.energy or 1.0)
            rank = min(rank, recipe.rank or rank)
        return cut(target, spectrum, rank, changes, recipe)

    def ranks(self, targets: Sequence[str], progress: Progress) -> dict[str, int]:
        """Look at the singular values of every layer, and return the ranks that fill the file best."""
        costs, in_full = {}, 0
        for done, target in enumerate(targets, start=1):
            changes = self.changes(target)
            stored = self.recipe.dtype or widest_dtype(changes)
            outline = changes[0].delta.shape
            if self.is_cut(target, changes):
                spectrum = spectrum_of(target, changes, self.recipe)
                size = (spectrum.core.left.shape[0] + spectrum.core.right.shape[1]) * stored.itemsize
                costs[target] = Cost(spectrum.values[: spectrum.rank].tolist(), size)
            else:
                in_full += _count(outline) * 4
            progress(done, len(targets), "layers looked at")
        assert self.recipe.num_bytes is not None
        return ranks_within(costs, self.recipe.num_bytes, in_full)


def _count(shape: Sequence[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _refuse_unreadable(addends: Sequence[Addend], recipe: MergeRecipe, read_base: ReadBase | None) -> None:
    """Refuse by name what depends on a base that is not given, or that concat cannot hold."""
    for kind, addend, targets in _on_base(addends):
        named = said(
            "{count} of its changes, such as {first}, are {kind}", count=len(targets), first=targets[0], kind=kind
        )
        if recipe.method == "concat":
            what = said("{named}, which is no sum of ranks", named=named)
            remedy = "Give a rank, an energy or a size, to have the nearest change of that many ranks"
            raise StackError(addend.name, what, remedy=remedy)
        if read_base is None:
            what = said("{named}, and how much that changes depends on the base", named=named)
            raise StackError(addend.name, what, expected="the base's weights", remedy="Give the model's checkpoint")


def _on_base(addends: Sequence[Addend]) -> Iterator[tuple[str, Addend, list[str]]]:
    for addend in addends:
        outlines = outlines_of(addend.deltas)
        found = [target for target in addend.factors if outlines[target].needs_base]
        kinds = {outlines[target].kind for target in found}
        if found:
            yield first_few(sorted(_KINDS.get(kind, kind) for kind in kinds)), addend, found


_KINDS = {"dora": "DoRA", "glora": "GLoRA", "oft": "OFT", "boft": "BOFT", "set": "replacements"}
