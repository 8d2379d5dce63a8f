"""A training as the page shows it at its node: what it does, its losses, its previews, told while it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_execution.utils import get_executing_context

from ..lora_core.checks import time_text
from ..lora_core.training.curves import loss_curves
from ..lora_core.training.log import LogRow, read_log
from ..lora_core.training.run_folder import RunFolder
from ..lora_core.wording import Said, expert_of, form_of, said

#: The event of the websocket; its data are `LiveTraining.state`.
EVENT = "wanloom.training"
#: Seconds between two tellings, and after which an unchanged state is told again, to pages that were opened meanwhile.
_PAUSE_S, _SILENCE_S = 0.5, 2.0
_Event = Mapping[str, Any]


@dataclass
class LiveTraining:
    """The state of a training, from the events that its process tells."""

    folder: RunFolder
    num_steps: int
    status: str = said("starting")
    step: int = 0
    rows: list[LogRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _stepped: str = ""
    _told_at: float = 0.0
    _is_told: bool = False

    def __post_init__(self) -> None:
        self.rows = list(read_log(self.folder.path))
        self.step = max((row.step for row in self.rows), default=0)
        context = get_executing_context()
        self._node = "" if context is None else context.node_id
        self._bar = comfy.utils.ProgressBar(self.num_steps)

    def hear(self, event: _Event) -> None:
        """Take an event in and tell the page; raise the host's interrupt if there is one."""
        hear = _HEARD.get(event["event"])
        if hear is not None:
            hear(self, event)
        self._is_told = False
        self.beat()

    def beat(self) -> None:
        """Tell the page what is new, or once in a while what is not; raise the host's interrupt if there is one."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        silence = time.monotonic() - self._told_at
        if silence >= (_SILENCE_S if self._is_told else _PAUSE_S):
            self.tell()

    def tell(self, *, is_running: bool = True) -> None:
        """Tell the page how it stands."""
        from server import PromptServer  # no module of ours may need it to be imported

        server = getattr(PromptServer, "instance", None)
        if server is not None:
            server.send_sync(EVENT, self.state(is_running=is_running), server.client_id)
        self._told_at, self._is_told = time.monotonic(), True

    def end(self, status: str) -> None:
        """Tell the page that nothing runs any more."""
        self.status = status
        self.tell(is_running=False)

    def state(self, *, is_running: bool = True) -> dict[str, Any]:
        """Return what the page draws, as plain values."""
        return {
            "node": self._node,
            "running": is_running,
            "status": str(self.status),
            "said": form_of(self.status),
            "step": self.step,
            "steps": self.num_steps,
            "curves": loss_curves(self.rows),
            "sheet": shown_file(self.folder.previews / "sheet.png"),
        }

    def _step(self, event: _Event) -> None:
        self.step = event["step"]
        self.rows = [row for row in self.rows if row.step < self.step]  # a resume takes some steps again
        loss = float("nan") if event["loss"] is None else event["loss"]
        self.rows.append(LogRow(step=self.step, expert=event["expert"], loss=loss))
        self.status = self._stepped = said(
            "step {step} of {steps}, {expert}: {seconds} s/step, {time} left",
            step=self.step,
            steps=event["num_steps"],
            expert=expert_of(event["expert"]),
            seconds=f"{event['seconds']:.2f}",
            time=time_text(event["remaining"]),
        )
        self._bar.update_absolute(self.step, event["num_steps"])

    def _measured(self, event: _Event) -> None:
        losses = {f"held_out_{expert}": loss for expert, loss in event["held_out"].items() if loss is not None}
        expert = next(iter(event["held_out"]))
        last = next((row for row in self.rows if row.step == event["step"]), LogRow(step=event["step"], expert=expert))
        self.rows = [row for row in self.rows if row.step != event["step"]]
        self.rows.append(LogRow(step=last.step, expert=last.expert, loss=last.loss, **losses))

    def _phase(self, event: _Event) -> None:
        is_turn = event["what"].startswith("training ") and self._stepped  # each step tells whose turn it is
        self.status = self._stepped if is_turn else _heard(event, "what")

    def _progress(self, event: _Event) -> None:
        what = {"what": _heard(event, "what"), "done": event["done"], "total": event["total"]}
        self.status = said("{what}: {done} of {total}", **what)

    def _note(self, event: _Event) -> None:
        self.notes.append(_heard(event, "text"))


def _heard(event: _Event, name: str) -> str:
    """Return a text that an event tells, with the form it had there."""
    forms = event.get("forms", {})
    return Said(event[name], forms[name]) if name in forms else event[name]


_HEARD = {
    "step": LiveTraining._step,
    "measured": LiveTraining._measured,
    "phase": LiveTraining._phase,
    "progress": LiveTraining._progress,
    "note": LiveTraining._note,
}


def shown_file(path: Path) -> dict[str, str] | None:
    """Return what the page asks the host for to see a file in its output folder; None where there is none."""
    if not path.is_file():
        return None
    inside = os.path.relpath(path.parent, folder_paths.get_output_directory()).replace(os.sep, "/")
    return {"filename": path.name, "subfolder": inside, "type": "output", "changed": str(path.stat().st_mtime_ns)}
