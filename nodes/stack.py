"""The node that puts a stack of LoRAs on a Wan model."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..lora_core import LoraStack, load_stack
from ..lora_core.experts import expert_in_name, twin_names
from ..lora_core.plan.report import report_on_stack
from .folders import fingerprint, lora_files, lora_folders
from .hosting import Node, advanced, schema
from .kept_loras import kept_reader
from .sockets import LoraStackType, WanModelHandle, WanModelType


class ApplyLoraStack(Node):
    """Put a stack of LoRAs on a Wan model: each on the expert it is made for, none merged into the weights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            cls,
            display_name="Apply LoRA Stack",
            search_aliases=["lora loader", "power lora", "multi lora", "lora stack", "wan lora", "lightx2v"],
            has_intermediate_output=True,
            inputs=[
                WanModelType.Input("model", tooltip="The model; LoRAs already on it stay on it."),
                stack_widget(),
                LoraStackType.Input(
                    "stack",
                    optional=True,
                    tooltip="More LoRAs, from Load LoRA Stack or another Apply LoRA Stack; they come first.",
                ),
                io.Boolean.Input(
                    "allow_partial",
                    default=False,
                    optional=True,
                    tooltip="Let a file through although some of its tensors match nothing in the model. "
                    "The report still names them.",
                    extra_dict=advanced(),
                ),
            ],
            outputs=[
                WanModelType.Output("model", display_name="model", tooltip="The model with the LoRAs on it."),
                io.String.Output("report", display_name="report", tooltip="What became of every file and tensor."),
                LoraStackType.Output(
                    "stack", display_name="stack", tooltip="All LoRAs on the model, to save or reuse."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, loras: str | None = None) -> bool | str:
        return cls.checked(lambda: None if loras is None else parse_stack(loras, cls.name()))

    @classmethod
    def fingerprint_inputs(cls, loras: str | None = None, **_: object) -> object:
        return None if loras is None else fingerprint_stack(loras)

    @classmethod
    def execute(
        cls, model: WanModelHandle, loras: str, stack: LoraStack | None = None, allow_partial: bool = False
    ) -> io.NodeOutput:
        rows = parse_stack(loras, cls.name())
        whole = joined(joined(model.stack, stack or LoraStack()), rows)
        return applied(model, whole, allow_partial=allow_partial)


def applied(model: WanModelHandle, stack: LoraStack, *, allow_partial: bool = False) -> io.NodeOutput:
    """Return the outputs of a node that puts `stack` on a model: the model, the report, the stack."""
    read = kept_reader(model.spec, allow_partial=allow_partial)
    loaded = load_stack(stack, model.spec, lora_folders=lora_folders(), read=read)
    changed = model.with_stack(loaded, allow_partial=allow_partial)
    report = report_on_stack(loaded, changed.route())
    ui = {"text": [report.text()], "loras": [row.to_dict() for row in report.rows]}
    return io.NodeOutput(changed, report.text(), loaded, ui=ui)


def stack_widget() -> io.String.Input:
    """Return the widget of a stack: JSON text, which the extension's JavaScript shows as rows."""
    files = lora_files()
    return io.String.Input(
        "loras",
        multiline=True,
        default="[]",
        tooltip='The LoRAs as a JSON list: [{"path": "style_high.safetensors", "weight": 0.8}]. '
        "Further keys: name, low_noise_weight, applies_to (auto, high_noise, low_noise, both), schedule (fade_out, "
        "keyframes:1=0.2,0.5=1), targets, low_noise_path, find_twin, enabled.",
        extra_dict={"lora_files": files, "twins": _twins(files)},
    )


def parse_stack(text: str, where: str) -> LoraStack:
    """Return the stack that the widget's text stands for, every file found in the LoRA folders."""
    return LoraStack.from_json(text.strip() or "[]", where).resolved(lora_folders())


def joined(first: LoraStack, second: LoraStack) -> LoraStack:
    """Return one stack of both; a LoRA of the second whose name is taken gets a number."""
    for entry in second:
        first = first.add(entry.renamed({row.name for row in first}))
    return first


def fingerprint_stack(text: str) -> object:
    """Return the sizes and times of a stack's files, the twins' included."""
    return fingerprint(files_of(parse_stack(text, "loras")))


def files_of(stack: LoraStack) -> list[Path]:
    """Return the files of a stack, and those that would be found as twins."""
    files = []
    for entry in stack:
        files += [entry.path, entry.low_noise_path]
        if entry.path is not None:
            files += [entry.path.with_name(name) for name in twin_names(entry.path)[:1]]
    return [file for file in files if file is not None]


def _twins(files: list[str]) -> dict[str, str]:
    """Return high-noise file -> the low-noise file beside it, for the rows to show."""
    present = set(files)
    found = {}
    for name in files:
        path = Path(name)
        if expert_in_name(path.stem) == "high_noise":
            twin = next(
                (str(path.with_name(twin)) for twin in twin_names(path) if str(path.with_name(twin)) in present), None
            )
            if twin is not None:
                found[name] = twin
    return found
