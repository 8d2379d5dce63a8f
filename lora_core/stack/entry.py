"""One row of a stack: a LoRA (a file, or a pair of files), how strongly it acts, on which expert and when."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Literal, cast, get_args

from ..checks import finite_number, known
from ..errors import StackError, located
from ..experts import Expert
from ..files.containers.opening import CONTAINERS
from ..wording import Said, joined, said
from .region import Region
from .rows import our_row
from .schedule import StrengthSchedule
from .target_filter import TargetFilter
from .time_curve import TimeCurve

if TYPE_CHECKING:
    from ..files.weights import LoraWeights

AppliesTo = Literal["high_noise", "low_noise", "both", "auto"]
_EXPERTS: Mapping[AppliesTo, Said] = {
    "high_noise": said("high_noise"),
    "low_noise": said("low_noise"),
    "both": said("both"),
    "auto": said("auto"),
}


@dataclass(frozen=True)
class LoraEntry:
    """One row of a stack: what a LoRA does there; valid when built.

    Attributes:
        name: what the stack calls it, unique there.
        path: the file; the high-noise one of a pair.
        strength: any real number; what the file's change is multiplied with.
        applies_to: the expert it acts on; "auto" is what the file says of itself.
        low_noise_path: the pair's other file, for the low-noise expert.
        low_noise_strength: the strength on the low-noise expert where it differs.
        schedule: a factor on the strength, by noise level.
        target_filter: a factor on the strength, by block and module kind.
        region: where in the picture it acts; everywhere if None.
        over_time: a factor on the strength, by the clip's time.
        enabled: False keeps the row and lets it do nothing.
        find_twin: let an "auto" high-noise file bring the low-noise file beside it along.
        found_twin: `low_noise_path` was found beside the file, not given.
        sha256, low_noise_sha256, mask_sha256: what the files must hash to, from a preset or a record; the last is
            that of its region's mask.
        weights, low_noise_weights: a LoRA that is given in memory instead of, or read already from, a file.
    """

    name: str
    path: Path | None = None
    strength: float = 1.0
    applies_to: AppliesTo = "auto"
    low_noise_path: Path | None = None
    low_noise_strength: float | None = None
    schedule: StrengthSchedule | None = None
    target_filter: TargetFilter | None = None
    region: Region | None = None
    over_time: TimeCurve | None = None
    enabled: bool = True
    find_twin: bool = True
    found_twin: bool = False
    sha256: str | None = None
    low_noise_sha256: str | None = None
    mask_sha256: str | None = None
    weights: LoraWeights | None = field(default=None, repr=False, compare=False)
    low_noise_weights: LoraWeights | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = f"LoRA {self.name!r}"
        if not isinstance(self.name, str) or not self.name.strip():
            raise StackError(
                "LoRA name", said("{name!r} is empty", name=self.name), expected="a text", remedy="Write a name"
            )
        if self.path is None and self.weights is None:
            raise StackError(where, "it has neither a file nor weights", remedy="Give it a path")
        for name in ("path", "low_noise_path"):
            if (path := getattr(self, name)) is not None:
                if not isinstance(path, (str, Path)):
                    raise StackError(
                        where,
                        said("{name} {path!r:.60} is no path", name=name, path=path),
                        expected="a text or Path",
                        remedy="Give a path",
                    )
                object.__setattr__(self, name, Path(path))
        object.__setattr__(self, "strength", finite_number(self.strength, f"{where} strength", StackError))
        if self.low_noise_strength is not None:
            number = finite_number(self.low_noise_strength, f"{where} low_noise_strength", StackError)
            object.__setattr__(self, "low_noise_strength", number)
        for name, kind in _PARSED:
            if (value := getattr(self, name)) is not None and not isinstance(value, kind):
                raise StackError(
                    f"{where} {name}",
                    said("{value!r:.60} is none", value=value),
                    expected=f"{kind.__name__}.parse(text)",
                    remedy="Parse it first",
                )
        known(self.applies_to, get_args(AppliesTo), f"{where} applies_to", StackError)
        self._check_second_file(where)

    def _check_second_file(self, where: str) -> None:
        """Refuse a second file, strength or hash that could never act."""
        second = self.low_noise_path or ("weights in memory" if self.low_noise_weights else None)
        if second is not None and self.applies_to in ("high_noise", "low_noise"):
            what = said(
                "its second file {second} would do nothing with applies_to {applies_to!r}",
                second=second,
                applies_to=self.applies_to,
            )
            raise StackError(
                where, what, expected="'both' or 'auto'", remedy="Change applies_to, or leave the second file out"
            )
        if self.low_noise_strength is not None and self.applies_to == "high_noise":
            what = said(
                "low_noise_strength {low_noise_strength:g} would do nothing with applies_to 'high_noise'",
                low_noise_strength=self.low_noise_strength,
            )
            raise StackError(
                where,
                what,
                expected="'both', 'auto' or 'low_noise'",
                remedy="Change applies_to, or leave the strength out",
            )
        if self.low_noise_sha256 is not None and self.low_noise_path is None:
            raise StackError(where, "low_noise_sha256 without a low_noise_path", remedy="Name the file it is of")

    @property
    def is_masked(self) -> bool:
        """Whether it acts on a part of the clip alone: of its picture, or of its time."""
        return self.region is not None or self.over_time is not None

    def renamed(self, taken: Container[str]) -> LoraEntry:
        """Return the entry under a name that is not taken: its own, or that with a number."""
        return replace(self, name=free_name(self.name, taken))

    def strength_on(self, expert: Expert) -> float:
        """Return the strength on one expert."""
        own = self.low_noise_strength if expert == "low_noise" else None
        return self.strength if own is None else own

    def listing(self) -> Said:
        """Return the row in words, before its files are read or a model is known."""
        own = self.low_noise_strength
        low = "" if own is None else said(" (low_noise {strength})", strength=f"{own:g}")
        row = said(
            "{name}: {strength}{low} on {expert}" if self.enabled else "{name}: off, {strength}{low} on {expert}",
            name=self.name,
            strength=f"{self.strength:g}",
            low=low,
            expert=_EXPERTS[self.applies_to],
        )
        files = " + ".join(path.name for path in (self.path, self.low_noise_path) if path is not None)
        schedule = said("schedule {schedule}", schedule=str(self.schedule)) if self.schedule is not None else ""
        targets = said("targets {targets}", targets=str(self.target_filter)) if self.target_filter is not None else ""
        region = said("region {region}", region=self.region.shown) if self.region is not None else ""
        time = said("time {time}", time=str(self.over_time)) if self.over_time is not None else ""
        return joined("; ", filter(None, [row, files, schedule, targets, region, time]))

    def to_json(self) -> dict[str, object]:
        """Return the row as people write it: path, name, weight, applies_to, and what else differs from the default."""
        if self.path is None:
            raise StackError(
                f"LoRA {self.name!r}", "it has no file to refer to", remedy="Write its weights to one first"
            )
        form: dict[str, object] = {
            "path": self.path.as_posix(),
            "name": self.name,
            "weight": self.strength,
            "applies_to": self.applies_to,
        }
        for key, attribute, to_text in _OPTIONAL:
            value = getattr(self, attribute)
            if value is not None and value != getattr(LoraEntry, attribute):
                form[key] = to_text(value)
        return form

    @classmethod
    def from_json(cls, form: object, where: str = "stack") -> LoraEntry:
        """Read one row; `where` names it in messages."""
        row = our_row(form, where)
        path = _text(row, "path", where)
        name = _text(row, "name", where) or (name_of_file(path) if path else None)
        if path is None or name is None:
            raise StackError(where, "it has no path", expected='{"path": ..., "weight": 1.0}', remedy="Give it a path")
        low_noise_path = _text(row, "low_noise_path", where)
        schedule, targets = row.get("schedule"), row.get("targets")
        region, over_time = row.get("region"), row.get("time")
        with located(where):
            return cls(
                name=name,
                path=Path(path),
                strength=finite_number(row.get("weight", 1.0), "weight", StackError),
                applies_to=cast(AppliesTo, row.get("applies_to", "auto")),
                low_noise_path=Path(low_noise_path) if low_noise_path else None,
                low_noise_strength=cast("float | None", row.get("low_noise_weight")),
                schedule=None if schedule is None else StrengthSchedule.from_json(schedule),
                target_filter=None if targets is None else TargetFilter.from_json(targets),
                region=None if region is None else Region.from_json(region),
                over_time=None if over_time is None else TimeCurve.from_json(over_time),
                enabled=_flag(row, "enabled"),
                find_twin=_flag(row, "find_twin"),
                sha256=_sha256(row, "sha256"),
                low_noise_sha256=_sha256(row, "low_noise_sha256"),
                mask_sha256=_sha256(row, "mask_sha256"),
            )


def name_of_file(path: str | Path) -> str:
    """Return what a row of this file is called: its last part, on Windows too, without a LoRA file's suffix."""
    name = PureWindowsPath(path).name
    suffix = PureWindowsPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in CONTAINERS else name


def free_name(wanted: str, taken: Container[str]) -> str:
    """Return `wanted`, with a number behind it if another LoRA has that name."""
    numbered = (f"{wanted} {number}" for number in count(2))
    return next(name for name in chain([wanted], numbered) if name not in taken)


#: Attributes that are parsed from a text before they come here, and what they are then.
_PARSED: tuple[tuple[str, type], ...] = (
    ("schedule", StrengthSchedule),
    ("target_filter", TargetFilter),
    ("region", Region),
    ("over_time", TimeCurve),
)

#: Our keys beside the four that everybody uses: JSON key, attribute, how its value is written.
_OPTIONAL: tuple[tuple[str, str, Callable[[object], object]], ...] = (
    ("low_noise_path", "low_noise_path", lambda path: Path(str(path)).as_posix()),
    ("low_noise_weight", "low_noise_strength", lambda number: number),
    ("schedule", "schedule", str),
    ("targets", "target_filter", str),
    ("region", "region", lambda region: cast(Region, region).to_json()),
    ("time", "over_time", str),
    ("enabled", "enabled", bool),
    ("find_twin", "find_twin", bool),
    ("sha256", "sha256", str),
    ("low_noise_sha256", "low_noise_sha256", str),
    ("mask_sha256", "mask_sha256", str),
)


def _text(row: Mapping[str, object], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise StackError(
            where, said("{key} {value!r} is no text", key=key, value=value), expected="a text", remedy="Write a text"
        )
    return value


def _flag(row: Mapping[str, object], key: str) -> bool:
    value = row.get(key, True)
    if not isinstance(value, bool):
        raise StackError(key, said("{value!r} is neither true nor false", value=value), remedy="Write true or false")
    return value


def _sha256(row: Mapping[str, object], key: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise StackError(
            key,
            said("{value!r} is no sha256", value=value),
            expected="64 hexadecimal digits",
            remedy="Correct it, or leave it out",
        )
    return value.lower()
