"""The cells of an evaluation: each length in each way of making it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A way of making the videos.

    Attributes:
        name: of its folder.
        title: what reports call it.
        with_lora: whether the LoRAs that are evaluated act.
        is_radial: whether attention is radial, as is usual for the model and the length.
    """

    name: str
    title: str
    with_lora: bool
    is_radial: bool


_ALL = (
    Variant("base-dense", "without LoRA, dense", with_lora=False, is_radial=False),
    Variant("base-radial", "without LoRA, radial", with_lora=False, is_radial=True),
    Variant("lora-dense", "with LoRA, dense", with_lora=True, is_radial=False),
    Variant("lora-radial", "with LoRA, radial", with_lora=True, is_radial=True),
)
#: By name; another host may add cells of variants that are not here.
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _ALL}


@dataclass(frozen=True)
class Cell:
    """One length in one way."""

    variant: Variant
    num_frames: int

    @property
    def name(self) -> str:
        return f"{self.variant.name}-{self.num_frames}"


def cells_of(frames: Sequence[int], *, has_lora: bool, is_radial: bool) -> tuple[Cell, ...]:
    """Return all cells, length by length.

    Args:
        frames: the lengths.
        has_lora: whether there is a LoRA to evaluate.
        is_radial: whether radial attention is evaluated too.
    """
    ways = [v for v in _ALL if (has_lora or not v.with_lora) and (is_radial or not v.is_radial)]
    return tuple(Cell(variant, count) for count in frames for variant in ways)
