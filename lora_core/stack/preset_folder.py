"""The folder of presets: stacks under plain names, none of which leads out of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checks import nearest
from ..errors import OutputError, StackError
from ..wording import said
from .stack import LoraStack

_SUFFIX = ".json"
_MAX_NAME_BYTES = 200
_FORBIDDEN = '<>:"|?*'
#: What Windows takes for a device, whatever follows behind a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class PresetFolder:
    """The presets below one folder.

    A name is what a person may call a file on any system, without its suffix; sub-folders are divided by `/`.

    Attributes:
        root: the folder; made when the first preset is saved.
        lora_folders: where the LoRAs of its presets lie, and nowhere else.
        mask_folders: where the masks of their regions may lie too, beside those in the folder itself.
    """

    root: Path
    lora_folders: tuple[Path, ...]
    mask_folders: tuple[Path, ...] = ()

    def names(self) -> list[str]:
        """Return the names of all presets in it, sorted."""
        files = [path for path in self.root.rglob(f"*{_SUFFIX}") if path.is_file()]
        return sorted(name for file in files if (name := self._name_of(file)) is not None)

    def file(self, name: str) -> Path:
        """Return the file of a preset, there or not."""
        parts = _parts(name)
        file = self.root.joinpath(*parts[:-1], parts[-1] + _SUFFIX)
        if not file.resolve().is_relative_to(self.root.resolve()):
            raise _refusal(name, f"a link in it leads out of the folder, to {file.resolve()}")
        return file

    def existing(self, name: str) -> Path:
        """Return the file of a preset that is there, or name the nearest that is."""
        file = self.file(name)
        if not file.is_file():
            names = self.names()
            remedy = "Choose another, or save it first"
            expected = nearest(name, names) if names else "none has been saved yet"
            raise StackError(
                f"preset {name!r}", said("there is none in {root}", root=self.root), expected=expected, remedy=remedy
            )
        return file

    def save(self, name: str, stack: LoraStack) -> Path:
        """Write a stack under a name, in the place of what has that name; see `preset.write_preset`."""
        file = self.file(name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                file.parent, said("cannot be made: {error}", error=error), remedy="Choose another name"
            ) from error
        return stack.write_preset(file, self.lora_folders, mask_folders=(self.root, *self.mask_folders))

    def open(self, name: str, *, verify: bool = True) -> LoraStack:
        """Read a preset, its LoRAs found and compared with their hashes; see `preset.read_preset`."""
        folders = (self.root, *self.mask_folders)
        return LoraStack.read_preset(self.existing(name), self.lora_folders, mask_folders=folders, verify=verify)

    def _name_of(self, file: Path) -> str | None:
        """Return the name that leads to a file, or None where none does."""
        name = file.relative_to(self.root).with_suffix("").as_posix()
        try:
            return name if self.file(name) == file else None
        except StackError:
            return None


def _parts(name: str) -> Sequence[str]:
    """Return the sub-folders of a name and its last part."""
    if not isinstance(name, str) or not name.strip():
        raise _refusal(name, "it is empty")
    parts = name.removesuffix(_SUFFIX).replace("\\", "/").split("/")
    for part in parts:
        if (fault := _fault(part)) is not None:
            raise _refusal(name, fault)
    if (num_bytes := len(name.encode())) > _MAX_NAME_BYTES:
        raise _refusal(name, f"it is {num_bytes} bytes long, more than {_MAX_NAME_BYTES}")
    return parts


def _fault(part: str) -> str | None:
    """Return why one part of a name is no plain name, or None."""
    if not part:
        return "it has an empty part, or begins or ends with '/'"
    if part.startswith("."):
        return f"{part!r} begins with a dot"
    if part != part.strip().rstrip("."):
        return f"{part!r} begins or ends with a space, or ends with a dot"
    if _DEVICE.fullmatch(part):
        return f"{part!r} is a device on Windows"
    sign = next((sign for sign in part if sign in _FORBIDDEN or not sign.isprintable()), None)
    return None if sign is None else f"{part!r} holds {sign!r}"


def _refusal(name: object, fault: str) -> StackError:
    expected = said(
        "a plain name such as 'my style' or 'trips/my style', without {forbidden}", forbidden=" ".join(_FORBIDDEN)
    )
    return StackError(f"preset name {name!r}", fault, expected=expected, remedy="Choose another name")
