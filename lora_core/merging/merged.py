"""A merged LoRA: its files, what went into each and what each lost, with the report and the metadata that tell it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..experts import Expert
from ..files.dialects import WriteDialect
from ..files.extract import Fit
from ..files.merged_from import LAYERS_KEY, RECIPE_KEY, SOURCES_KEY
from ..files.weights import LoraWeights
from ..files.write import write_lora
from ..wording import expert_named, joined, said
from .half import Half
from .recipe import MergeRecipe
from .sources import Source

_NUM_WORST = 3


@dataclass(frozen=True, eq=False)
class MergedFile:
    """One file of a merge.

    Attributes:
        fits: of every parameter that was changed, whether the file still changes it or not.
        sources: what went into it.
    """

    weights: LoraWeights
    fits: tuple[Fit, ...]
    sources: tuple[Source, ...]

    @property
    def error(self) -> float:
        """The norm of all that was lost, by that of the whole change."""
        return relative_error(self.fits)


@dataclass(frozen=True, eq=False)
class Merged:
    """What a merge led to.

    Attributes:
        files: by the expert each of them is for; None for one that serves all.
        notes: what could not be held.
    """

    files: Mapping[Expert | None, MergedFile]
    recipe: MergeRecipe
    notes: tuple[str, ...] = ()

    def text(self, *, layers: bool = False) -> str:
        """Return the report: each file's error, its sources, ranks and worst layers, or all of its layers."""
        lines = [line for expert, file in self.files.items() for line in _file_lines(expert, file, layers=layers)]
        return joined("\n", [*lines, *self.notes])

    def to_dict(self) -> dict[str, object]:
        """Return the whole report as plain data."""
        return {
            "recipe": self.recipe.to_dict(),
            "files": [
                {
                    "expert": expert,
                    "error": file.error,
                    "sources": [source.to_dict() for source in file.sources],
                    "layers": {fit.target: {"rank": fit.rank, "error": fit.error} for fit in file.fits},
                }
                for expert, file in self.files.items()
            ],
            "notes": [str(note) for note in self.notes],
        }

    def write(self, path: str | Path, *, dialect: WriteDialect = "comfyui") -> tuple[Path, ...]:
        """Write its file, or its pair with each expert in the name, with sources, hashes and errors in the metadata."""
        files = zip(output_paths(path, self.files, dialect), self.files.values(), strict=True)
        return tuple(write_lora(named(file.weights, out), out, dialect=dialect) for out, file in files)


def output_paths(
    path: str | Path, experts: Iterable[Expert | None], dialect: WriteDialect = "comfyui"
) -> tuple[Path, ...]:
    """Return the file for each expert: the path itself where there is one, else with the expert behind its name.

    A pair in PEFT's form has a folder for each, as a config lies beside an adapter.
    """
    path, experts = Path(path), tuple(experts)
    if len(experts) == 1:
        return (path,)
    pair = [path.with_name(f"{path.stem}_{expert}{path.suffix}") for expert in experts]
    return tuple(file.with_suffix("") / file.name if dialect == "peft" else file for file in pair)


def merged_file(
    half: Half, sources: Sequence[Source], recipe: MergeRecipe, expert: Expert | None, words: Mapping[str, str]
) -> MergedFile:
    """Return a file of merged changes, with metadata that tell where they are from and what they lost."""
    layers = {fit.target: [fit.rank, round(fit.error, 7)] for fit in half.fits}
    told = {
        SOURCES_KEY: json.dumps([source.to_dict() for source in sources], ensure_ascii=False),
        RECIPE_KEY: json.dumps({**recipe.to_dict(), "relative_error": relative_error(half.fits)}),
        LAYERS_KEY: json.dumps(layers, separators=(",", ":")),
    }
    weights = LoraWeights(None, "merged", half.deltas, metadata={**words, **told}, expert=expert)
    return MergedFile(weights, half.fits, tuple(sources))


def relative_error(fits: Sequence[Fit]) -> float:
    """Return the norm of all that was lost, by that of the whole change."""
    whole = _joined(fit.norm for fit in fits)
    return _joined(fit.residual for fit in fits) / whole if whole else 0.0


def named(weights: LoraWeights, path: Path) -> LoraWeights:
    """Return the weights under the name of the file that they are written to."""
    return replace(weights, path=path, name=path.stem)


def _file_lines(expert: Expert | None, file: MergedFile, *, layers: bool) -> Iterator[str]:
    ranks = [fit.rank for fit in file.fits if fit.rank]
    head = said(
        "relative error {error} over {count} layers, rank {ranks}",
        error=f"{file.error:.2e}",
        count=len(ranks),
        ranks=_span(ranks),
    )
    yield head if expert is None else joined(": ", [expert_named(expert), head])
    for source in file.sources:
        yield said("  {name} at {strength}", name=source.name, strength=f"{source.strength:g}")
    left_out = sum(not fit.rank and fit.residual == fit.norm for fit in file.fits)
    if in_full := len(file.fits) - len(ranks) - left_out:
        yield said("  biases, norms, tables and differences in full: {count}", count=in_full)
    if left_out:
        yield said("  layers left out, as nothing of them fits the size: {count}", count=left_out)
    worst = sorted((fit for fit in file.fits if fit.residual), key=lambda fit: -fit.error)[:_NUM_WORST]
    shown = file.fits if layers else worst
    for fit in shown:
        yield said("  {target}: rank {rank}, error {error}", target=fit.target, rank=fit.rank, error=f"{fit.error:.2e}")


def _span(ranks: Sequence[int]) -> str:
    if not ranks:
        return "0"
    low, high = min(ranks), max(ranks)
    return f"{low}" if low == high else f"{low}-{high}"


def _joined(norms: Iterable[float]) -> float:
    return math.sqrt(math.fsum(norm * norm for norm in norms))
