"""The guardrail of a run: what looks at its prompt and its video, and stops what should not be made.

Letters: T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..checkpoints.residency import offline
from ..checks import first_line, shape_text
from ..errors import ModelError, RequestError
from ..families.opened import OpenedModel
from ..families.registry import customs_of
from ..refiner.naming import name_of
from ..wording import Said, said

_INSTALL = 'Install it with `pip install "wanloom[cosmos-guardrail]"`, or pass --no-guardrail'
_WEIGHTS = "`hf download nvidia/Cosmos-1.0-Guardrail` and `hf download Qwen/Qwen3Guard-Gen-0.6B`"


class SafetyChecker(Protocol):
    """What judges prompts and videos, such as cosmos-guardrail's `CosmosSafetyChecker`.

    Where it has `to(device)` too, it is brought to the model's device for each check, and taken back to the CPU behind
    it if the model is offloaded.
    """

    def check_text_safety(self, prompt: str) -> bool:
        """Say whether a prompt may be made."""

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray | None:
        """Return frames (T, H, W, 3) uint8 as they may be shown, faces blurred for example; None for none of it."""


@dataclass(frozen=True)
class NoGuardrail:
    """That no guardrail runs, and why, for output and record."""

    why: str


#: A checker, or why there is none; None where nobody said anything of it.
Guardrail: TypeAlias = "SafetyChecker | NoGuardrail | None"


@dataclass(frozen=True, eq=False)
class Guard:
    """The guardrail of one run on one model."""

    checker: SafetyChecker | None
    why_none: str
    model: OpenedModel

    @classmethod
    def of(cls, guardrail: Guardrail, model: OpenedModel) -> Guard:
        """Return the guard of a run.

        Raises:
            RequestError: the guardrail is nothing that checks.
        """
        if guardrail is None or isinstance(guardrail, NoGuardrail):
            return cls(None, said("none was given") if guardrail is None else guardrail.why, model)
        for method in ("check_text_safety", "check_video_safety"):
            if not callable(getattr(guardrail, method, None)):
                what = said("{kind} has no {method}", kind=type(guardrail).__name__, method=method)
                raise RequestError("guardrail", what, expected="a safety checker", remedy="Give one, or none")
        return cls(guardrail, "", model)

    def check_text(self, prompt: str, where: str) -> None:
        """Raise where the guardrail does not let a prompt pass."""
        if self.checker is None:
            return
        with self._in_place(self.checker):
            passes = self.checker.check_text_safety(prompt)
        if not passes:
            what = said("the guardrail blocks {prompt!r:.200}", prompt=prompt)
            raise RequestError(where, what, remedy="Ask for something else")

    def check_video(self, frames: np.ndarray) -> np.ndarray:
        """Return frames (T, H, W, 3) as the guardrail lets them be shown, or raise where it blocks them."""
        if self.checker is None:
            return frames
        with self._in_place(self.checker):
            shown = self.checker.check_video_safety(frames.copy())  # it may blur in place
        if shown is None:
            what = "the guardrail blocks what came out, and nothing is written"
            raise RequestError("video", what, remedy="Ask for something else")
        shown = np.asarray(shown)
        if shown.shape != frames.shape or shown.dtype != np.uint8:
            what = said("the guardrail gave {shape} of {dtype} back", shape=shape_text(shown.shape), dtype=shown.dtype)
            expected = said("{shape} of uint8", shape=shape_text(frames.shape))
            raise RequestError("guardrail", what, expected=expected, remedy="Take another one")
        return shown

    def row(self, num_changed: int = 0) -> dict[str, object] | None:
        """Return what the record says of it; None where none runs and the model's licence asks for none."""
        if self.checker is not None:
            return {"by": name_of(self.checker), "num_changed_frames": num_changed}
        licence = customs_of(self.model.spec).guardrail_licence(self.model.spec)
        return {"by": None, "why": str(self.why_none), "licence": licence} if licence else None

    def notes(self, num_changed: int = 0) -> tuple[Said, ...]:
        """Return what is to be said of it, as the record has it."""
        row = self.row(num_changed)
        if row is None:
            return ()
        if row["by"] is None:
            return (said("guardrail: none ran, {why}; the {licence} asks for one", **row | {"why": self.why_none}),)
        if num_changed:
            return (said("guardrail: {by} changed {num_changed_frames} frames", **row),)
        return (said("guardrail: {by} lets prompt and video pass", by=row["by"]),)

    @contextmanager
    def _in_place(self, checker: Any) -> Iterator[None]:
        """Keep a checker that can be moved on the model's device inside the block."""
        move = getattr(checker, "to", None)
        if move is None:
            yield
            return
        move(self.model.device)
        try:
            yield
        finally:
            if self.model.offload != "none":
                move("cpu")


def open_guardrail() -> SafetyChecker:
    """Open cosmos-guardrail's checker with the weights in the local Hugging Face cache; nothing is fetched.

    Raises:
        ModelError: it or its weights are not there.
    """
    try:
        with offline():
            from cosmos_guardrail import CosmosSafetyChecker

            checker: SafetyChecker = CosmosSafetyChecker()
            return checker
    except ModuleNotFoundError as error:
        if error.name == "cosmos_guardrail":
            raise ModelError("guardrail", "cosmos-guardrail is not installed", remedy=_INSTALL) from None
        raise _cannot_open(error) from error
    except OSError as error:
        what = said("its weights are not in the local cache: {why}", why=first_line(error))
        remedy = said("Accept their licence and fetch them: {commands}", commands=_WEIGHTS)
        raise ModelError("guardrail", what, remedy=remedy) from error
    except Exception as error:  # somebody else's packages, of which many things may be missing
        raise _cannot_open(error) from error


def find_guardrail() -> SafetyChecker | NoGuardrail:
    """Open cosmos-guardrail's checker where it and its weights are there, and say why not where they are not."""
    try:
        return open_guardrail()
    except ModelError as error:
        return NoGuardrail(error.what)


def _cannot_open(error: Exception) -> ModelError:
    what = said("cosmos-guardrail cannot be opened: {why}", why=first_line(error))
    return ModelError("guardrail", what, remedy="Install it anew, or pass --no-guardrail")
