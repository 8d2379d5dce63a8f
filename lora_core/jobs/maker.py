"""One opened model that makes the videos of jobs, one after the other, each with LoRAs of its own."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..atomic import check_target, write_text
from ..checkpoints.hashes import hashes_of
from ..engine.checked import check_request
from ..engine.generate import generate
from ..engine.guarding import Guard, Guardrail
from ..engine.record import asked_rows
from ..families.base import ModelSpec
from ..families.opened import OpenedModel
from ..media.video import check_output
from ..refiner.naming import name_of
from ..refiner.refine import fitted, held_open, refine, refiner_name
from ..refiner.refined import Refiner
from ..stack.loaded import LoadedStack
from ..stack.stack import LoraStack
from ..stack.trigger_words import trigger_words_of
from .ended import Done
from .finished import is_finished, output_row
from .item import Item

#: Opens the model of all jobs; other processes call it too.
OpenModel = Callable[[], OpenedModel]


@dataclass(frozen=True)
class HowToMake:
    """What the makers of all jobs have in common, for processes that make one of it.

    Attributes:
        allow_partial, download, guardrail, refiner: as in `generate`.
        load: reads a job's LoRAs for the model, where that is not `generate`'s own reading.
    """

    open_model: OpenModel
    allow_partial: bool = False
    download: bool = False
    guardrail: Guardrail = None
    refiner: Refiner | None = None
    load: Callable[[LoraStack, ModelSpec], LoadedStack] | None = None


class Maker:
    """A model, opened once, that stays open from job to job."""

    def __init__(self, how: HowToMake) -> None:
        self.how = how
        self.model = how.open_model()
        self._to_refine: list[tuple[str, Refiner, Sequence[str]]] = []
        self.name = f"process {os.getpid()} on {platform.node() or 'this machine'}"

    def is_finished(self, item: Item) -> bool:
        """Check a job without running a network, and say whether it was made as it is asked for now.

        Raises:
            LoraCoreError: what `generate` would raise before a network runs.
        """
        check_output(item.output)
        check_target(item.record_file)
        checked = check_request(
            self.model,
            item.request,
            self._stack(item),
            allow_partial=self.how.allow_partial,
            download=self.how.download,
            radial=item.radial,
        )
        if item.record_file.is_file():
            hashes = hashes_of(self.model.files)
            asked = asked_rows(self.model, item.request, checked.clip, checked.loaded, hashes, radial=checked.radial)
            if is_finished(item.output, item.record_file, {"scale": item.scale, **self._helpers(item), **asked}):
                return True
        if getattr(refiner := self._refiner(item), "is_cached", False):
            self._to_refine.append((item.request.prompt, refiner, trigger_words_of(checked.loaded)))
        return False

    def refine(self) -> None:
        """Let a refiner that keeps its answers be opened once for all the jobs that are not finished."""
        with held_open(self.how.refiner):
            for prompt, refiner, words in self._to_refine:
                refine(prompt, refiner, protected=words)
        self._to_refine.clear()

    def do(self, item: Item) -> Done:
        """Make a job's video and record; each appears whole or not at all, the record last."""
        video = generate(
            self.model,
            item.request,
            self._stack(item),
            allow_partial=self.how.allow_partial,
            download=self.how.download,
            radial=item.radial,
            guardrail=self.how.guardrail,
            refiner=self.how.refiner,
        )
        video.save(item.output, scale=item.scale)
        record = {**video.record, "scale": item.scale, "output": output_row(item.output)}
        write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", item.record_file)
        return Done(item.number, item.output, self.name, video.seconds, video.notes)

    def _stack(self, item: Item) -> LoraStack | LoadedStack:
        return item.stack if self.how.load is None else self.how.load(item.stack, self.model.spec)

    def _refiner(self, item: Item) -> Any:
        """Return the refiner as it writes for a job; None where there is none."""
        refiner = self.how.refiner
        return refiner and fitted(refiner, self.model.spec, has_picture=item.request.has_picture)

    def _helpers(self, item: Item) -> dict[str, str | None]:
        """Return who checks and refines, as `finished` compares it."""
        checker = Guard.of(self.how.guardrail, self.model).checker
        refiner = self._refiner(item)
        return {
            "guardrail": None if checker is None else name_of(checker),
            "refiner": None if refiner is None else refiner_name(refiner),
        }

    def close(self) -> None:
        """Take the model off its device."""
        self.model.release()
