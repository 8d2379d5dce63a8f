"""The keys that say what of a network is trained: an adapter and its form, or everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...checks import finite_number, known, whole_number
from ...errors import TrainingError
from ...wording import said

Method = Literal["lora", "qlora", "full"]
METHODS: tuple[Method, ...] = ("lora", "qlora", "full")
AdapterKind = Literal["lora", "dora", "loha", "lokr"]
ADAPTER_KINDS: tuple[AdapterKind, ...] = ("lora", "dora", "loha", "lokr")
BaseFormat = Literal["as_opened", "nf4", "int8", "fp8"]
CorrectFor = Literal["", "full"]
CORRECT_FOR: tuple[CorrectFor, ...] = ("", "full")
BASE_FORMATS: tuple[BaseFormat, ...] = ("as_opened", "nf4", "int8", "fp8")


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """What of a network is trained.

    Attributes:
        method: an adapter (`lora`), an adapter on a quantised base (`qlora`), or all weights (`full`).
        adapter: the form of the adapter.
        rank: of the adapter.
        alpha: the adapter's own scale is alpha / rank; 0 for half the rank.
        rslora: scale by alpha / sqrt(rank) instead.
        targets: which layers, as words (`attention`, `linear`), or regular expressions on Wan's own module paths.
        blocks: which blocks, such as "0-9,20-29"; "" for all.
        first_block: the first block that learns, the ones before it running without a backward; 0 for all.
        prune_width: experimental: train on a narrower copy, this share of its heads and feed-forward channels cut, and
            write the LoRA with zeros there; 0 for the whole network.
        dropout: the share of a LoRA's inputs that are dropped while training.
        base: how the block weights of a `qlora` base are kept.
        offload: keep them in system memory, and bring each layer's to the compute device whenever it computes.
        correct_for: `full` takes what only mended the rounding of a `qlora` base out of the files that are written, so
            that they act on the base as it was opened; "" writes what was trained.
    """

    method: Method = "lora"
    adapter: AdapterKind = "lora"
    rank: int = 32
    alpha: float = 0.0
    rslora: bool = False
    targets: tuple[str, ...] = ("linear",)
    blocks: str = ""
    first_block: int = 0
    prune_width: float = 0.0
    dropout: float = 0.0
    base: BaseFormat = "nf4"
    offload: bool = False
    correct_for: CorrectFor = ""

    def __post_init__(self) -> None:
        known(self.method, METHODS, "method", TrainingError)
        known(self.adapter, ADAPTER_KINDS, "adapter", TrainingError)
        known(self.base, BASE_FORMATS, "base", TrainingError)
        known(self.correct_for, CORRECT_FOR, "correct_for", TrainingError)
        whole_number(self.first_block, "first_block", TrainingError, low=0)
        if self.first_block and self.blocks:
            what = said("{first_block} beside blocks = {blocks}", first_block=self.first_block, blocks=self.blocks)
            raise TrainingError("first_block", what, expected="one way of saying it", remedy="Leave one out")
        whole_number(self.rank, "rank", TrainingError, low=1)
        if finite_number(self.alpha, "alpha", TrainingError) < 0:
            raise TrainingError(
                "alpha",
                said("{alpha:g} is negative", alpha=self.alpha),
                expected="a number above 0, or 0 for rank / 2",
                remedy="Raise it",
            )
        if not 0 <= finite_number(self.dropout, "dropout", TrainingError) < 1:
            raise TrainingError(
                "dropout",
                f"{self.dropout:g}",
                expected="0 up to 1, usually at most 0.1",
                remedy="Choose a number in that range",
            )
        self._check_form()
        self._check_pruned()

    def _check_form(self) -> None:
        """Raise where something is asked of a form of adapter that it cannot do."""
        if self.correct_for and self.adapter != "lora":
            what = said("{adapter} has no row space that the correction could keep", adapter=self.adapter)
            raise TrainingError("correct_for", what, expected="adapter lora", remedy="Leave it out")
        asked = {"rslora": self.rslora, "dropout": self.dropout > 0}
        for name, is_asked in asked.items():
            if is_asked and self.adapter not in ("lora", "dora"):
                remedy = said("Leave {name} out, or choose another adapter", name=name)
                raise TrainingError(
                    name,
                    said("{adapter} has none", adapter=self.adapter),
                    expected="adapter lora or dora",
                    remedy=remedy,
                )
        if self.method == "qlora" and self.base == "as_opened":
            formats = ", ".join(name for name in BASE_FORMATS if name != "as_opened")
            raise TrainingError(
                "base", "qlora is a LoRA on a quantised base", expected=formats, remedy="Or choose the method lora"
            )

    def _check_pruned(self) -> None:
        if not 0 <= finite_number(self.prune_width, "prune_width", TrainingError) < 1:
            raise TrainingError(
                "prune_width",
                f"{self.prune_width:g}",
                expected="a share from 0 up to 1, such as 0.5",
                remedy="Choose a number in that range",
            )
        if self.prune_width and self.adapter != "lora":
            what: str = said("the factors of a {adapter} cannot be put back to the whole width", adapter=self.adapter)
            raise TrainingError("prune_width", what, expected="adapter lora", remedy="Leave it out")
        if self.prune_width and self.correct_for:
            what = "a correction needs the layers that were trained on, and these are cut"
            raise TrainingError("prune_width", what, expected="one of the two", remedy="Leave correct_for out")

    @property
    def is_lent(self) -> bool:
        """Whether what is trained computes with the opened model's own tensors."""
        return self.method == "lora" and not self.prune_width

    @property
    def used_blocks(self) -> str:
        """The blocks that learn, as `blocks` spells them."""
        return f"{self.first_block}-" if self.first_block else self.blocks

    @property
    def used_alpha(self) -> float:
        """Alpha, half the rank where none is given."""
        return self.alpha or self.rank / 2
