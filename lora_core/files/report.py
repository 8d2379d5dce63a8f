"""The report on a LoRA file: what `inspect` tells, from the header alone where that is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ..checks import number_text, typed
from ..deltas import Delta
from ..errors import LoraFileError
from ..experts import Expert
from ..families.base import ModelSpec
from ..wording import Said, expert_named, joined, said
from .account import Account
from .merged_from import merged_from
from .parameters import ParameterCounts, count_parameters
from .read import MAX_EAGER_BYTES, assembled, weights_of, with_values
from .trained_length import trained_length


@dataclass(frozen=True)
class LoraReport:
    """What a file is, what became of its tensors and what is wrong with it.

    Attributes:
        kinds: kind of delta -> how many.
        ranks, scales: rank, and scale of the product -> how many deltas have it.
        dtypes: dtype -> how many tensors.
        modules: kind of module (block numbers left out) -> how many targets.
        num_blocks: how many transformer blocks it touches.
        parameters: how many numbers it has, and their share of the model's.
        faults: what would make `read_lora` refuse it for this model; empty when nothing would.
    """

    path: Path
    num_bytes: int
    dialect: str
    expert: Expert | Literal["both"] | None
    expert_source: str
    base: str | None
    kinds: Mapping[str, int]
    ranks: Mapping[int, int]
    scales: Mapping[float, int]
    dtypes: Mapping[str, int]
    modules: Mapping[str, int]
    num_targets: int
    num_blocks: int
    parameters: ParameterCounts
    trigger_words: tuple[str, ...]
    metadata: Mapping[str, str]
    account: Account
    faults: tuple[str, ...]
    notes: tuple[str, ...]

    def text(self, *, every: bool = False) -> Said:
        """Return the report for people; with `every`, one line for each tensor."""
        modules = {"modules": _counts(self.modules) or said("none")}
        rows: list[tuple[Said, str]] = [
            (said("file           "), f"{self.path} ({self.num_bytes / 1e6:,.1f} MB)"),
            (said("dialect        "), self.dialect),
            (said("expert         "), self._expert()),
            (said("base           "), self.base or said("not told")),
            (said("deltas         "), _counts(self.kinds)),
            (
                said("targets        "),
                said(
                    "{count} in {blocks} blocks: {modules}", count=self.num_targets, blocks=self.num_blocks, **modules
                ),
            ),
            (said("parameters     "), self._parameters()),
            (said("rank           "), _counts(self.ranks)),
            (said("alpha / rank   "), _counts({round(scale, 6): count for scale, count in self.scales.items()})),
            (said("dtype          "), _counts(self.dtypes)),
            (said("length         "), self._length()),
            (said("merged from    "), self._merged()),
            (said("trigger words  "), ", ".join(self.trigger_words)),
            *((said("note           "), note) for note in self.notes),
            *((said("refused        "), fault) for fault in self.faults),
        ]
        lines = [joined("", [name, value]) for name, value in rows if value]
        return joined("\n", [*lines, self.account.table(every=every)])

    def _expert(self) -> Said:
        if self.expert is None:
            return said("not told")
        named = said("both") if self.expert == "both" else expert_named(self.expert)
        return joined("", [named, " (", self.expert_source, ")"])

    def _parameters(self) -> str:
        if not self.parameters.lora:
            return ""
        by_module = ", ".join(f"{name} {count:,}" for name, count in self.parameters.modules.items())
        return joined(": ", [self.parameters.summary(), by_module])

    def _length(self) -> str:
        told = trained_length(self.metadata)
        if told is None:
            return ""
        return said(
            "trained at {base} and {long} frames, the longer with radial attention (decay {decay}, "
            "{blocks} dense blocks)",
            long=told.num_frames,
            base=told.base_frames,
            decay=f"{told.decay:g}",
            blocks=told.dense_blocks,
        )

    def _merged(self) -> str:
        told = merged_from(self.metadata)
        if told is None:
            return ""
        sources = ", ".join(f"{name} {number_text(strength)}" for name, strength in told.sources)
        return said("{sources}; relative error {error}", sources=sources, error=f"{told.error:.3g}")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        account = {"counts": self.account.counts(), "tensors": [asdict(record) for record in self.account]}
        parts = {"metadata": dict(self.metadata), "parameters": self.parameters.to_dict(), "account": account}
        return asdict(self) | {"path": str(self.path), **parts}


@typed(LoraFileError)
def inspect_lora(path: str | Path, *, spec: ModelSpec | nn.Module | None = None) -> LoraReport:
    """Report on a file; a file that is damaged is an error, one that does not fit is a report that says so.

    Values are read of LoRAs up to 64 MiB only, to tell deltas that are all zero or not finite.
    """
    assembly = assembled(path, spec)
    weights = weights_of(assembly)
    faults = assembly.faults.texts()
    if assembly.num_bytes <= MAX_EAGER_BYTES:
        try:
            weights = with_values(weights, assembly)
        except LoraFileError as error:
            faults = (*faults, error.what)
    deltas = assembly.outlines
    targets = list(dict.fromkeys(address.target for address in deltas))
    return LoraReport(
        path=assembly.file.path,
        num_bytes=assembly.file.num_bytes,
        dialect=weights.dialect,
        expert=weights.expert,
        expert_source=weights.expert_source,
        base=weights.base,
        kinds=_tally(_kind(delta) for delta in deltas.values()),
        ranks=_tally(delta.rank for delta in deltas.values() if delta.rank),
        scales=_tally(delta.scale for delta in deltas.values() if delta.rank),
        dtypes=_tally(record.dtype for record in weights.account),
        modules=_tally(_module(target, assembly.spec) for target in targets),
        num_targets=len(targets),
        num_blocks=len({block[0] for target in targets if (block := assembly.spec.block_of(target))}),
        parameters=count_parameters(assembly, weights.base),
        trigger_words=weights.trigger_words,
        metadata=weights.metadata,
        account=weights.account,
        faults=faults,
        notes=weights.notes,
    )


def _kind(delta: Delta) -> str:
    inner = getattr(delta, "inner", None)
    return f"{delta.kind} of {inner.kind}" if inner is not None and inner.kind != "lora" else delta.kind


def _module(target: str, spec: ModelSpec) -> str:
    block = spec.block_of(target)
    return block[1] if block else target


def _tally(values: Any) -> dict[Any, int]:
    return dict(Counter(values).most_common())


def _counts(table: Mapping[Any, int]) -> str:
    if len(table) == 1:
        return str(next(iter(table)))
    return ", ".join(f"{name} ({count}x)" for name, count in table.items())
