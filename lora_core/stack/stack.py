"""A LoRA stack: the user's ordered, immutable list of LoRAs, before anything is known of the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import nearest, typed
from ..errors import StackError
from ..wording import Said, joined, said
from . import preset
from .blend import blend
from .entry import AppliesTo, LoraEntry, free_name, name_of_file
from .region import Region
from .schedule import StrengthSchedule
from .target_filter import TargetFilter
from .time_curve import TimeCurve

if TYPE_CHECKING:
    from ..files.weights import LoraWeights


@dataclass(frozen=True)
class LoraStack:
    """LoRAs in the user's order; their effects add, so the order is for people only.

    Every method that changes something returns a new stack.
    """

    entries: tuple[LoraEntry, ...] = ()

    def __post_init__(self) -> None:
        is_one = isinstance(self.entries, str) or not isinstance(self.entries, Iterable)
        object.__setattr__(self, "entries", (self.entries,) if is_one else tuple(self.entries))
        if odd := [row for row in self.entries if not isinstance(row, LoraEntry)]:
            remedy = "Build it with LoraStack().add(...) or LoraStack.from_json(...)"
            raise StackError(
                "stack", said("{first!r:.60} is no row of a stack", first=odd[0]), expected="LoraEntry", remedy=remedy
            )
        names = [entry.name for entry in self.entries]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise StackError(
                "stack", said("two LoRAs are named {twice!r}", twice=twice), remedy="Give one of them another name"
            )

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[LoraEntry]:
        return iter(self.entries)

    def __getitem__(self, name: str) -> LoraEntry:
        return self.entries[self._index(name)]

    @typed(StackError)
    def add(
        self,
        source: LoraEntry | LoraWeights | str | Path,
        strength: float = 1.0,
        applies_to: AppliesTo = "auto",
        *,
        name: str | None = None,
        low_noise: LoraWeights | str | Path | None = None,
        low_noise_strength: float | None = None,
        schedule: StrengthSchedule | str | None = None,
        target_filter: TargetFilter | str | None = None,
        region: Region | str | None = None,
        over_time: TimeCurve | str | None = None,
        find_twin: bool = True,
    ) -> LoraStack:
        """Append a LoRA: a file, a pair of files, weights already read, or a finished entry taken as it is.

        The file is the high-noise expert's if `low_noise` gives another for the low-noise one. The name is the file's
        unless given, with a number if it is taken. Schedule, filter, region and time may be in their text forms
        ("fade_out", "0-9=0.5,ffn=0", "left", "from 2s"). The rest is as in `LoraEntry`.
        """
        if isinstance(source, LoraEntry):
            return LoraStack((*self.entries, source))
        path, weights = _file_or_weights(source)
        low_path, low_weights = (None, None) if low_noise is None else _file_or_weights(low_noise)
        own_name = weights.name if weights else name_of_file(path or "LoRA")
        entry = LoraEntry(
            name=name or free_name(own_name, {row.name for row in self}),
            path=path,
            strength=strength,
            applies_to=applies_to,
            low_noise_path=low_path,
            low_noise_strength=low_noise_strength,
            schedule=StrengthSchedule.parse(schedule) if isinstance(schedule, str) else schedule,
            target_filter=TargetFilter.parse(target_filter) if isinstance(target_filter, str) else target_filter,
            region=Region.parse(region) if isinstance(region, str) else region,
            over_time=TimeCurve.parse(over_time) if isinstance(over_time, str) else over_time,
            find_twin=find_twin,
            weights=weights,
            low_noise_weights=low_weights,
        )
        return LoraStack((*self.entries, entry))

    def without(self, name: str) -> LoraStack:
        """Leave one LoRA out."""
        return self.replace(name)

    def replace(self, name: str, *entries: LoraEntry) -> LoraStack:
        """Put other entries, any number of them, in the place of one."""
        index = self._index(name)
        return LoraStack((*self.entries[:index], *entries, *self.entries[index + 1 :]))

    def with_strength(self, name: str, strength: float, low_noise_strength: float | None = None) -> LoraStack:
        """Give one LoRA another strength, on the low-noise expert too unless that has its own."""
        entry = replace(self[name], strength=strength, low_noise_strength=low_noise_strength)
        return self.replace(name, entry)

    def blend(self, name: str, other: str, by: float | StrengthSchedule | str) -> LoraStack:
        """Interpolate between two LoRAs of the stack, in a fixed ratio or cross-fading; see `blend.blend`."""
        if name == other:
            raise StackError(
                "stack",
                said("{name!r} cannot be blended with itself", name=name),
                expected="two LoRAs of the stack",
                remedy="Choose another LoRA",
            )
        first, second = blend(self[name], self[other], by)
        return self.replace(name, first).replace(other, second)

    @typed(StackError)
    def joined(self, other: LoraStack) -> LoraStack:
        """Return one stack of both; a LoRA of the other whose name is taken gets a number."""
        stack = self
        for entry in other:
            stack = stack.add(entry.renamed({row.name for row in stack}))
        return stack

    def listing(self) -> Said:
        """Return a line for each row: its name, strength and expert, its files, and whatever else was said of it."""
        return joined("\n", [entry.listing() for entry in self]) if len(self) else said("no LoRAs")

    def to_json(self) -> str:
        """Return the stack as the JSON list people use."""
        return json.dumps([entry.to_json() for entry in self.entries], ensure_ascii=False)

    @classmethod
    def from_json(cls, form: object, where: str = "stack") -> LoraStack:
        """Read a stack from JSON text, or from what it stands for: rows, one alone, or as other tools write them.

        Files are not touched.
        """
        return cls(preset.entries_from_json(form, where))

    def resolved(self, lora_folders: Sequence[str | Path], *, mask_folders: Sequence[str | Path] = ()) -> LoraStack:
        """Find every file in the LoRA folders, and masks in theirs before.

        Of rows that are off, what is not there stays as it was given.
        """
        found = (preset.with_found_files(row, lora_folders, mask_folders=mask_folders) for row in self.entries)
        return LoraStack(tuple(found))

    @classmethod
    def read_preset(
        cls,
        path: str | Path,
        lora_folders: Sequence[str | Path] = (),
        *,
        mask_folders: Sequence[str | Path] = (),
        verify: bool = True,
        download: bool = False,
    ) -> LoraStack:
        """Read a preset or stack file; see `preset.read_preset`."""
        return cls(preset.read_preset(path, lora_folders, mask_folders=mask_folders, verify=verify, download=download))

    def write_preset(
        self,
        path: str | Path,
        lora_folders: Sequence[str | Path] = (),
        *,
        mask_folders: Sequence[str | Path] = (),
    ) -> Path:
        """Write the stack with the hash of each file; see `preset.write_preset`."""
        return preset.write_preset(self.entries, path, lora_folders, mask_folders=mask_folders)

    def _index(self, name: str) -> int:
        names = [entry.name for entry in self.entries]
        if name not in names:
            raise StackError(
                "stack",
                said("no LoRA is named {name!r}", name=name),
                expected=nearest(name, names) if names else "empty",
                remedy="Choose one that there is",
            )
        return names.index(name)


def _file_or_weights(source: LoraWeights | str | Path) -> tuple[Path, None] | tuple[Path | None, LoraWeights]:
    if isinstance(source, (str, Path)):
        return Path(source), None
    if not hasattr(source, "deltas"):
        raise StackError(
            "stack",
            said("{source!r:.60} is no LoRA", source=source),
            expected="a path, LoraWeights or LoraEntry",
            remedy="Give a path",
        )
    return source.path, source
