"""A stack put on a model: joined to what is there, its files read, what became of them reported."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_core import LoraStack, load_stack
from ..lora_core.plan.report import report_on_stack
from .folders import lora_folders
from .kept_loras import kept_reader
from .sockets import WanModelHandle


def joined(first: LoraStack, second: LoraStack) -> LoraStack:
    """Return one stack of both; a LoRA of the second whose name is taken gets a number."""
    for entry in second:
        first = first.add(entry.renamed({row.name for row in first}))
    return first


def applied(model: WanModelHandle, stack: LoraStack, *, allow_partial: bool = False) -> io.NodeOutput:
    """Return the outputs of a node that puts `stack` on a model: the model, the report, the stack."""
    read = kept_reader(model.spec, allow_partial=allow_partial)
    loaded = load_stack(stack, model.spec, lora_folders=lora_folders(), read=read)
    changed = model.with_stack(loaded, allow_partial=allow_partial)
    report = report_on_stack(loaded, changed.route())
    ui = {"text": [report.text()], "loras": [row.to_dict() for row in report.rows]}
    return io.NodeOutput(changed, report.text(), loaded, ui=ui)
