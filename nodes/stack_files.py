"""The files that stacks and presets name, found in the folders of the host."""

from __future__ import annotations

from ..lora_core import LoraStack
from ..lora_core.stack.preset_folder import PresetFolder
from ..lora_core.stack.row_files import files_of
from .folders import fingerprint, lora_folders, preset_folder


def parse_stack(text: str, where: str) -> LoraStack:
    """Return the stack that the text of the widget `loras` stands for, every file found in the LoRA folders."""
    return LoraStack.from_json(text.strip() or "[]", where).resolved(lora_folders())


def presets() -> PresetFolder:
    """Return the user's presets, as the host's folders are now."""
    return PresetFolder(preset_folder(), tuple(lora_folders()))


def preset_files(name: str) -> list[object]:
    """Return the file of a preset and those of its LoRAs."""
    folder = presets()
    return [folder.existing(name), *files_of(folder.open(name, verify=False))]


def fingerprint_stack(text: str) -> object:
    """Return the sizes and times of a stack's files, the twins' and those that tell of their words included."""
    from ..lora_core.files.card import files_of_card

    return fingerprint(file for lora in files_of(parse_stack(text, "loras")) for file in files_of_card(lora))
