"""The files that stacks and presets name, found in the folders of the host."""

from __future__ import annotations

from pathlib import Path

from ..lora_core import LoadedStack, LoraStack, ModelSpec, load_stack
from ..lora_core.stack.finding import A_MASK, find_lora
from ..lora_core.stack.loading import Reader
from ..lora_core.stack.preset_folder import PresetFolder
from ..lora_core.stack.row_files import files_of
from .folders import fingerprint, lora_folders, mask_folders, preset_folder


def parse_stack(text: str, where: str) -> LoraStack:
    """Return the stack that the text of the widget `loras` stands for, every file found in the host's folders."""
    return found(LoraStack.from_json(text.strip() or "[]", where))


def found(stack: LoraStack) -> LoraStack:
    """Return a stack with its files found in the host's folders: LoRAs, and masks of regions."""
    return stack.resolved(lora_folders(), mask_folders=mask_folders())


def loaded_stack(stack: LoraStack, spec: ModelSpec, read: Reader) -> LoadedStack:
    """Return a stack with its files, found in the host's folders, read for a model."""
    return load_stack(stack, spec, lora_folders=lora_folders(), mask_folders=mask_folders(), read=read)


def presets() -> PresetFolder:
    """Return the user's presets, as the host's folders are now."""
    return PresetFolder(preset_folder(), tuple(lora_folders()), tuple(mask_folders()))


def preset_files(name: str) -> list[object]:
    """Return the file of a preset and those of its LoRAs."""
    folder = presets()
    return [folder.existing(name), *files_of(folder.open(name, verify=False))]


def fingerprint_stack(text: str) -> object:
    """Return the sizes and times of a stack's files, the twins' and those that tell of their words included."""
    from ..lora_core.files.card import files_of_card

    return fingerprint(file for lora in files_of(parse_stack(text, "loras")) for file in files_of_card(lora))


def mask_file(path: Path) -> Path:
    """Return the file of a region's mask in the host's folders."""
    return find_lora(path, [*mask_folders(), *lora_folders()], wanted=A_MASK)
