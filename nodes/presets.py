"""The nodes that keep stacks of LoRAs as presets in the user's folder, and bring them back."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_core import LoraStack, StackError
from ..lora_core.stack.hashes import sha256_of
from ..lora_core.wording import joined, said
from .base import Node, schema, shown
from .folders import fingerprint
from .preset_masks import with_written_masks
from .sockets import LoraStackType
from .stack_files import preset_files, presets


class SaveLoraStack(Node):
    """Save a stack of LoRAs as a preset, with the hash of each file, under a name in your user folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Save LoRA Stack",
            search_aliases=["save preset", "lora preset", "export stack", "pin loras", "stack to file"],
            is_output_node=True,
            inputs=[
                LoraStackType.Input("stack", tooltip="The LoRAs to save, from Apply LoRA Stack or Load LoRA Stack."),
                io.String.Input(
                    "name",
                    default="my stack",
                    tooltip="What to call the preset; '/' makes a sub-folder. A preset of that name is written over.",
                ),
            ],
            outputs=[
                io.String.Output("text", display_name="text", tooltip="Where it was saved, and what is in it."),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        return cls.checked(lambda: None if name is None else presets().file(name))

    @classmethod
    def fingerprint_inputs(cls, name: str | None = None, **_: object) -> object:
        """Return what the file holds, so that a preset removed or changed by hand is saved again."""
        file = None if name is None else presets().file(name)
        return sha256_of(file) if file is not None and file.is_file() else None

    @classmethod
    def execute(cls, stack: LoraStack, name: str) -> io.NodeOutput:
        if not len(stack):
            remedy = "Add LoRAs in Apply LoRA Stack and connect its output 'stack'"
            raise StackError(cls.name(), "the stack has no LoRAs", remedy=remedy)
        folder = presets()
        is_there = folder.file(name).is_file()
        file = str(folder.save(name, with_written_masks(stack, folder.file(name))))
        done = said(
            "preset '{name}' written over: {file}" if is_there else "preset '{name}' saved: {file}",
            name=name,
            file=file,
        )
        text = joined("\n", [done, folder.open(name).listing()])
        return io.NodeOutput(text, ui=shown(text))


class LoadLoraStack(Node):
    """Load a stack of LoRAs that was saved as a preset, and check that its files are still the same."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Load LoRA Stack",
            search_aliases=["load preset", "lora preset", "import stack", "stack from file"],
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=presets().names(),
                    tooltip="A preset that Save LoRA Stack made. Press R to see one that was saved just now.",
                ),
                io.Boolean.Input(
                    "verify",
                    default=True,
                    tooltip="Refuse LoRAs whose file is no longer the one that was saved. "
                    "Off takes whatever has the name now.",
                ),
            ],
            outputs=[
                LoraStackType.Output("stack", display_name="stack", tooltip="The LoRAs, for Apply LoRA Stack."),
                io.String.Output("text", display_name="text", tooltip="What is in the preset."),
            ],
        )

    @classmethod
    def validate_inputs(cls, preset: str | None = None) -> bool | str:
        return cls.checked(lambda: None if preset is None else presets().open(preset, verify=False))

    @classmethod
    def fingerprint_inputs(cls, preset: str | None = None, **_: object) -> object:
        return None if preset is None else fingerprint(preset_files(preset))

    @classmethod
    def execute(cls, preset: str, verify: bool) -> io.NodeOutput:
        stack = presets().open(preset, verify=verify)
        head = said(
            "preset '{name}': the files are those that were saved"
            if verify
            else "preset '{name}': the files were not compared with those saved",
            name=preset,
        )
        text = joined("\n", [head, stack.listing()])
        return io.NodeOutput(stack, text, ui=shown(text))
