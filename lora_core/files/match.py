"""The match of a LoRA, a model and what is said of the LoRA, found from headers before any network is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import nn

from ..checks import number_text, typed
from ..errors import LoraFileError
from ..families.base import ModelSpec
from ..wording import Said, joined, said
from .agreement import check_stated, layers_of, module_names, named_by
from .alpha import AlphaSource
from .assembly import Assembly
from .containers.opening import open_tensor_file
from .parameters import ParameterCounts, count_parameters, parameters_of, spec_inside
from .read import assembled_file, weights_of, with_values
from .stated import NOTHING_STATED, StatedLora
from .weights import LoraWeights


class Matched(NamedTuple):
    """How many layers of a kind have a LoRA, of how many that the model has; 0 of these where no model is known."""

    num_layers: int
    num_in_model: int
    num_parameters: int


@dataclass(frozen=True)
class LoraMatch:
    """How a LoRA goes with a model.

    Attributes:
        model: the title of the model it was held against.
        ranks, alphas: rank or alpha -> how many layers have it.
        alpha_source: "file", "job" (its config.yaml), "stated", or "none": then alpha is the rank.
        average: whether it is the moving average (EMA) of the LoRA.
        modules: target module, as it was stated or else its path inside a block -> layers.
        num_zero: how many layers change nothing, because a factor is zero: `lora_B`, where nothing was trained.
        num_base: how many base weights, and other entries that are no part of a LoRA, lie in the file, not read.
        parameters: how many numbers it has.
    """

    path: Path
    model: str
    ranks: Mapping[int, int]
    alphas: Mapping[float, int]
    alpha_source: AlphaSource
    average: bool
    modules: Mapping[str, Matched]
    num_zero: int
    num_base: int
    parameters: ParameterCounts

    @property
    def num_layers(self) -> int:
        return sum(self.ranks.values())

    def text(self) -> Said:
        """Return the match for people, in a few lines."""
        sources = {
            "file": said("as the file says"),
            "job": said("as the config.yaml of its job says"),
            "stated": said("as stated"),
            "none": said("nobody says it: the rank is taken, state it if the training had another"),
        }
        rows: list[tuple[str, str]] = [
            (said("model          "), self.model),
            (said("rank           "), _counts(self.ranks)),
            ("alpha          ", joined("", [_counts(self.alphas), " (", sources[self.alpha_source], ")"])),
            (said("parameters     "), self.parameters.summary()),
        ]
        lines = [joined("", row) for row in rows]
        lines.extend(joined("", [f"  {name:30} ", _layers(counts)]) for name, counts in self.modules.items())
        return joined("\n", [*lines, *self.notes()])

    def notes(self) -> list[Said]:
        """Return what a user should know, one line each."""
        notes = []
        if self.average:
            notes.append(said("note: this is the moving average (EMA) of its LoRA"))
        if self.num_base:
            notes.append(
                said("note: {count} base weights lie in the file and were not read", count=f"{self.num_base:,}")
            )
        if self.num_zero:
            counts = {"count": self.num_zero, "all": self.num_layers}
            notes.append(
                said(
                    "warning: {count} of {all} layers are untrained: their lora_B is zero and changes nothing", **counts
                )
            )
        return notes


@typed(LoraFileError)
def match_lora(
    path: str | Path,
    *,
    spec: ModelSpec | nn.Module | None = None,
    stated: StatedLora = NOTHING_STATED,
    average: bool = False,
) -> LoraMatch:
    """Hold a LoRA, or a post-trained checkpoint with one inside, against a model and what is said of it.

    Of base weights no value is read.

    Args:
        path: the file.
        spec: the model; None takes the base inside the checkpoint, or any model of the family that the names tell.
        stated: rank, alpha and target modules; what the file or the model contradicts is an error.
        average: take the moving average (EMA), where a file has both.

    Raises:
        LoraFileError: the file is damaged or unsafe, or has no average.
        LoraMismatchError: it has no LoRA, one for another model, or another one than was stated.
    """
    return matched(path, spec=spec, stated=stated, average=average)[0]


def matched(
    path: str | Path,
    *,
    spec: ModelSpec | nn.Module | None = None,
    stated: StatedLora = NOTHING_STATED,
    average: bool = False,
) -> tuple[LoraMatch, LoraWeights, Assembly]:
    """Return the match with the weights and the assembly that it was made of; arguments as of `match_lora`."""
    file = open_tensor_file(path)
    assembly = assembled_file(file, spec, stated.alpha, average=average)
    if spec is None and (inside := spec_inside(assembly)) is not None:
        assembly = assembled_file(file, inside, stated.alpha, average=average)
    assembly.faults.raise_any(file.path)
    check_stated(stated, assembly)
    weights = with_values(weights_of(assembly), assembly)
    zero = {record.target for record in weights.account if record.status == "zero"}
    own = [parts for parts in assembly.parts.values() if parts.rank is not None]
    match = LoraMatch(
        path=file.path,
        model=assembly.spec.title,
        ranks=Counter(parts.rank for parts in own if parts.rank is not None),
        alphas=Counter(round(parts.scale * (parts.rank or 0), 6) for parts in own),
        alpha_source=assembly.alpha_source,
        average=average,
        modules=_modules(assembly, stated),
        num_zero=len(zero),
        num_base=len(assembly.base),
        parameters=count_parameters(assembly, weights.base),
    )
    return match, weights, assembly


def _modules(assembly: Assembly, stated: StatedLora) -> dict[str, Matched]:
    """Return the layers of each stated module, or of each path inside a block where none is stated."""
    spec = assembly.spec
    in_file, in_model = [address.target for address in assembly.parts], layers_of(spec)
    names = stated.target_modules or tuple(module_names(in_file, spec))
    counts, knows_model = parameters_of(assembly), all(spec.shapes.values())
    found = {}
    for name in names:
        layers = named_by(name, in_file, spec)
        num_in_model = len(named_by(name, in_model, spec)) if knows_model else 0
        found[name] = Matched(len(layers), num_in_model, sum(counts[target] for target in layers))
    return found


def _counts(table: Mapping[int, int] | Mapping[float, int]) -> Said | str:
    if len(table) == 1:
        return number_text(float(next(iter(table))))
    return joined(", ", [f"{number_text(float(number))} ({count}x)" for number, count in table.items()])


def _layers(counts: Matched) -> Said:
    numbers = {"count": counts.num_layers, "own": f"{counts.num_parameters:,}"}
    if not counts.num_in_model:
        return said("{count} layers, {own} parameters", **numbers)
    return said("{count} of {all} layers, {own} parameters", all=counts.num_in_model, **numbers)
