"""The resizing of one LoRA: the nearest one of fewer ranks, with what that loses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..checks import typed
from ..deltas import Delta
from ..errors import StackError
from ..experts import EXPERTS, Expert
from ..experts.twins import twin_of
from ..files.dialects import WriteDialect
from ..files.merged_from import LAYERS_KEY, RECIPE_KEY
from ..files.read import read_lora
from ..files.weights import LoraWeights, outlines_of
from ..files.write import write_lora
from ..progress import Progress, unheard
from ..stack.hashes import sha256_of
from ..wording import joined, said
from .bases import ReadBaseOf
from .half import Addend, Half, merge_half
from .merged import Merged, MergedFile, merged_file, named
from .recipe import MergeRecipe
from .sources import Source, left_out

#: What trainers write of ranks and tensors that are no longer there.
_OF_OLD_TENSORS = frozenset(
    ("ss_network_dim", "ss_network_alpha", "sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
)


@dataclass(frozen=True, eq=False)
class Resized:
    """A LoRA of another size.

    Attributes:
        weights: the LoRA, of both experts if it was.
        made: the report on each expert's half.
        num_bytes_before: of its tensors.
    """

    weights: LoraWeights
    made: Merged
    num_bytes_before: int

    @property
    def is_smaller(self) -> bool:
        return self.weights.num_bytes < self.num_bytes_before

    def text(self, *, layers: bool = False) -> str:
        """Return the report, which says if nothing was gained."""
        before, after = (f"{size / 2**20:.2f}" for size in (self.num_bytes_before, self.weights.num_bytes))
        size = (
            said("{after} MiB instead of {before} MiB", after=after, before=before)
            if self.is_smaller
            else said(
                "no smaller: {after} MiB instead of {before} MiB. It has few ranks already, or is stored in a narrower "
                "dtype; ask for fewer ranks, or keep it as it is",
                after=after,
                before=before,
            )
        )
        return joined("\n", [size, self.made.text(layers=layers)])

    def write(self, path: str | Path, *, dialect: WriteDialect = "comfyui") -> Path:
        """Write it to a file."""
        return write_lora(named(self.weights, Path(path)), path, dialect=dialect)


@typed(StackError)
def resize_lora(
    lora: str | Path | LoraWeights,
    recipe: MergeRecipe,
    *,
    base: ReadBaseOf | None = None,
    progress: Progress | None = None,
) -> Resized:
    """Make a LoRA smaller: to a rank, to a share of its squares, or to the size of a file.

    LoHa and LoKr become the nearest LoRA too, and so do differences in full, DoRA and its relatives. A layer of no more
    ranks than asked for keeps them. A file of both experts stays one, and its size is that of both together.

    Args:
        lora: a file, or its weights.
        recipe: how small; its method has to be `svd`.
        base: reads the base's weights; DoRA and its relatives are refused without.
        progress: told of every layer.
    """
    if recipe.method != "svd" or not recipe.is_smaller:
        what = said("nothing says how small, with the method {method}", method=recipe.method)
        raise StackError("resize", what, expected="a rank, an energy or a size", remedy="Give one of them")
    weights = lora if isinstance(lora, LoraWeights) else read_lora(lora)
    halves: dict[Expert | None, Mapping[str, Delta]] = {None: weights.deltas}
    if weights.low_noise_deltas is not None:
        halves = {expert: weights.for_expert(expert) for expert in EXPERTS}
    own = recipe
    if recipe.num_bytes is not None:
        own = replace(recipe, num_bytes=max(1, recipe.num_bytes // len(halves)))
    given, words = (_source(weights),), {k: v for k, v in weights.metadata.items() if k not in _OF_OLD_TENSORS}
    files: dict[Expert | None, MergedFile] = {}
    for half, deltas in halves.items():
        made = _resized(weights, half, deltas, own, base, progress or unheard)
        files[half] = merged_file(made, given, recipe, weights.expert if half is None else half, words)  # type: ignore[arg-type]
    first, *second = [file.weights for file in files.values()]
    of_second = {f"{key}_low_noise": low.metadata[key] for low in second for key in (RECIPE_KEY, LAYERS_KEY)}
    resized = replace(
        weights,
        deltas=first.deltas,
        low_noise_deltas=second[0].deltas if second else None,
        metadata={**first.metadata, **of_second},
    )
    return Resized(resized, Merged(files, recipe, tuple(_notes(weights))), weights.num_bytes)


def _resized(
    weights: LoraWeights,
    half: Expert | None,
    deltas: Mapping[str, Delta],
    recipe: MergeRecipe,
    base: ReadBaseOf | None,
    progress: Progress,
) -> Half:
    expert = half or ("high_noise" if weights.expert == "high_noise" else "low_noise")
    read = None if base is None else lambda target: base(expert, target)
    addend = Addend(weights.name, deltas, dict.fromkeys(outlines_of(deltas), 1.0))
    return merge_half([addend], recipe, read, progress)


def _notes(weights: LoraWeights) -> Iterator[str]:
    """Say which tensors are left out, and that a file of one expert is only half of its pair."""
    yield from left_out([weights])
    if weights.path is not None and (twin := twin_of(weights.path)) is not None:
        yield said("note: its twin {file} stays as it is. Resize it too", file=twin.name)


def _source(weights: LoraWeights) -> Source:
    path = weights.path
    known = path is not None and path.is_file()
    return Source(weights.name, path.name if path else None, sha256_of(path) if known and path else None, 1.0)
