"""LoRAs put on a model: read for it once, and what became of them reported."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_core import LoadedStack, LoraStack
from ..lora_core.plan.report import RowReport, StackReport, report_on_stack
from ..lora_core.wording import form_of
from .base import shown
from .kept_loras import kept_reader
from .sockets import WanModelHandle
from .stack_files import loaded_stack


def with_more(model: WanModelHandle, stack: LoraStack, *, allow_partial: bool = False) -> LoadedStack:
    """Return the LoRAs on a model with those of `stack` behind them, whose files are read now."""
    read = kept_reader(model.spec, allow_partial=allow_partial)
    return model.loaded.joined(loaded_stack(stack, model.spec, read))


def applied(model: WanModelHandle, loaded: LoadedStack, *further: str, allow_partial: bool = False) -> io.NodeOutput:
    """Return the outputs of a node that puts LoRAs on a model: model, report, stack, and its further ones."""
    changed = model.with_loras(loaded, allow_partial=allow_partial)
    report = report_on_stack(loaded, changed.route())
    return io.NodeOutput(changed, report.text(), loaded.stack, *further, ui=shown_report(report, model))


def words_of(loaded: LoadedStack) -> str:
    """Return the trigger words of the LoRAs that are on, as they go into a prompt."""
    from ..lora_core.stack.trigger_words import trigger_words_of

    return ", ".join(trigger_words_of(loaded))


def shown_report(report: StackReport, model: WanModelHandle) -> dict[str, object]:
    """Return what the page shows of LoRAs on a model: the report, an account of each, and how many blocks it has."""
    rows = [_shown_row(row) for row in report.rows]
    return {**shown(report.text()), "loras": rows, "num_blocks": [model.spec.num_blocks]}


def _shown_row(row: RowReport) -> dict[str, object]:
    said = [[form_of(text) for text in (file.summary, *file.reasons)] for file in row.files]
    return {**row.to_dict(), "said": said}
