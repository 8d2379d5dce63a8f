"""The refiner that a node's widgets stand for, run as the host runs things: its device, its progress, its cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import comfy.model_management
import comfy.utils

from ..lora_core import ModelSpec
from ..lora_core.refiner.endpoint import EndpointRefiner
from ..lora_core.refiner.instructions import instruction_names
from ..lora_core.refiner.local import LocalRefiner
from ..lora_core.refiner.refine import fitted, refine
from ..lora_core.refiner.refined import Refined
from ..lora_core.refiner.sources import find_language_source
from .language_models import language_model_path

#: What the list of language models has for one behind an address.
SERVER = "a server, at the url below"
AUTO, NONE = "auto", "none"

#: Bytes on the device for each byte on the disk: weights are held in 16 bits, and those of a GGUF in 4 to 8.
_UNPACKED = {".gguf": 4}
#: Beside the weights, for what is computed.
_BESIDE = 1 << 30
_PATIENCE = 0.1
T = TypeVar("T")


@dataclass(frozen=True)
class RefinerChoice:
    """What the widgets say of a refiner.

    Attributes:
        model: a name of `language_model_names`, or SERVER.
        url, url_model: the server, and what it calls the model; of no account elsewhere.
        write_for: instructions of ours, AUTO or NONE.
    """

    model: str
    url: str
    url_model: str
    write_for: str

    def refiner(self, spec: ModelSpec | None = None) -> LocalRefiner | EndpointRefiner:
        """Return the refiner; where it is left to us what it writes for, that is the video model at hand.

        Raises:
            LoraCoreError: there is no such model, or the address is none.
        """
        told = {AUTO: None, NONE: ""}.get(self.write_for, self.write_for)
        if self.model == SERVER:
            made: LocalRefiner | EndpointRefiner = EndpointRefiner(self.url, self.url_model.strip(), told)
        else:
            device = str(comfy.model_management.get_torch_device())
            made = LocalRefiner(language_model_path(self.model), instructions=told, device=device)
        return made if spec is None else fitted(made, spec)


def purposes() -> list[str]:
    """Return what a list offers to write for."""
    return [AUTO, *instruction_names(), NONE]


def refine_in_host(prompt: str, refiner: LocalRefiner | EndpointRefiner, words: tuple[str, ...]) -> Refined:
    """Refine a prompt; Cancel ends it at the next token, or leaves a server to itself.

    Raises:
        InterruptProcessingException: the user has cancelled.
    """
    if isinstance(refiner, EndpointRefiner):
        return _cancellable(lambda: refine(prompt, refiner, protected=words))
    _make_room(refiner)
    try:
        return refine(prompt, replace(refiner, watch=_Watch()), protected=words)
    finally:
        comfy.model_management.soft_empty_cache()


class _Watch:
    """What is done behind every token."""

    def __init__(self) -> None:
        self._bar: comfy.utils.ProgressBar | None = None

    def __call__(self, num_done: int, most: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._bar = self._bar or comfy.utils.ProgressBar(most)
        self._bar.update_absolute(num_done, most)


def _make_room(refiner: LocalRefiner) -> None:
    """Let the host move its own models off the device, where what is free there is too little."""
    device = comfy.model_management.get_torch_device()
    if device.type != "cpu":
        base = find_language_source(refiner.model).base
        comfy.model_management.free_memory(_num_bytes(base) + _BESIDE, device)


def _num_bytes(base: Path) -> int:
    files = [base] if base.is_file() else [*base.glob("*.safetensors"), *base.glob("*.bin")]
    return sum(file.stat().st_size * _UNPACKED.get(file.suffix.lower(), 1) for file in files)


def _cancellable(work: Callable[[], T]) -> T:
    """Return what work comes to; on Cancel it is left to end by itself, behind its time limit at the latest."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not wait([future], timeout=_PATIENCE).done:
        comfy.model_management.throw_exception_if_processing_interrupted()
    return future.result()
