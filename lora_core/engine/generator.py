"""The convenient face: open a model once, load and unload LoRAs by name, make videos."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..attention.settings import RadialSettings
from ..attention.wishes import RadialWishes
from ..checkpoints.residency import Offload
from ..checks import from_settings, showing_settings, typed
from ..errors import ModelError, RequestError, StackError
from ..families.opened import OpenedModel
from ..families.registry import opener
from ..plan.routing import route
from ..refiner.refine import check_refiner
from ..refiner.refined import Refiner
from ..sampling.sample import StepCallback
from ..stack.entry import AppliesTo, LoraEntry, name_of_file
from ..stack.loaded import LoadedLora, LoadedStack
from ..stack.loading import load_stack
from ..stack.rows import rows_of
from ..stack.stack import LoraStack
from .generate import Video, generate
from .guarding import Guardrail
from .guide import Guide
from .request import GenerationRequest, Picture

#: One LoRA of a list: a file, a row as stack files have it, or (path, name, weight, applies_to) as far as needed.
LoraRow = str | Path | Mapping[str, object] | Sequence[object]
_COLUMNS = ("path", "name", "weight", "applies_to")


class WanVideoGenerator:
    """An opened model and a stack of LoRAs that may change from video to video; the model never reloads.

    Threads may share it: they take turns at the model, and a video has the LoRAs that are loaded when it is asked for.
    """

    @typed(ModelError)
    def __init__(
        self,
        source: str | Path | OpenedModel = "pocket",
        *,
        low_noise: str | Path | None = None,
        text_encoder: str | Path | None = None,
        tokenizer: str | Path | None = None,
        vae: str | Path | None = None,
        image_encoder: str | Path | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        offload: Offload | None = None,
        allow_partial: bool = False,
        download: bool = False,
        refiner: Refiner | None = None,
    ) -> None:
        """Open a model as `open_wan` does, whatever its family, or take one that is open and has all this already.

        With `allow_partial`, LoRA files in which some tensors match nothing are let through; with `download`,
        repositories on Hugging Face that the local cache lacks are fetched. `refiner` writes every prompt more fully,
        where `generate_video` is given no other.
        """
        pieces = {
            "low_noise": low_noise,
            "text_encoder": text_encoder,
            "tokenizer": tokenizer,
            "vae": vae,
            "image_encoder": image_encoder,
            "dtype": dtype,
            "device": device,
            "offload": offload,
        }
        given = {name: piece for name, piece in pieces.items() if piece is not None}
        if isinstance(source, (str, Path)):
            self.model: OpenedModel = opener(source)(source, **given)  # type: ignore[arg-type]  # a dictionary of several types
        else:
            if given:
                what = f"{next(iter(given))} is given for a model that is open already"
                raise ModelError(source.spec.title, what, remedy="Open the model with it")
            self.model = source
        check_refiner(refiner)
        self.allow_partial, self.download, self.refiner = allow_partial, download, refiner
        self.loaded = load_stack(LoraStack(), self.model.spec)
        self._changing = threading.RLock()

    @property
    def stack(self) -> LoraStack:
        """The rows of the LoRAs that are loaded."""
        return self.loaded.stack

    @stack.setter
    def stack(self, stack: LoraStack) -> None:
        self.loaded = self._read(stack)

    @typed(StackError)
    def load_specialized_lora(
        self,
        lora_path: str | Path,
        adapter_name: str | None = None,
        lora_weight: float = 1.0,
        applies_to: AppliesTo = "auto",
    ) -> LoadedLora:
        """Read a LoRA, check that it fits the model, and add it; one of the same name gives way to it.

        The other file of a pair is found by its name. What is returned tells of every tensor in its `weights.account`.
        """
        entry = LoraEntry(adapter_name or name_of_file(lora_path), Path(lora_path), lora_weight, applies_to)
        return self._load(LoraStack((entry,)))[0]

    @typed(StackError)
    def load_multiple_loras(self, loras: Sequence[LoraRow]) -> tuple[LoadedLora, ...]:
        """Load several LoRAs, all of them or, if one is at fault, none; one alone need not stand in a list."""
        rows = [loras] if isinstance(loras, Path) else rows_of(loras, "load_multiple_loras")
        forms = [_form(row, f"load_multiple_loras entry {i}") for i, row in enumerate(rows, 1)]
        return self._load(LoraStack.from_json(forms, "load_multiple_loras"))

    def unload_loras(self, *names: str) -> None:
        """Take LoRAs off the stack by name; all of them when no name is given."""
        with self._changing:
            self.loaded = self.loaded.without(*(names or (entry.name for entry in self.stack)))

    @showing_settings(GenerationRequest)
    def generate_video(
        self,
        prompt: str,
        image: Picture | None = None,
        *,
        guide: Guide | None = None,
        radial: RadialSettings | RadialWishes | None = None,
        guardrail: Guardrail = None,
        refiner: Refiner | None = None,
        callback: StepCallback | None = None,
        **settings: Any,  # they are spelt once, in GenerationRequest, and a name it does not have is refused
    ) -> Video:
        """Make a video with the LoRAs that are loaded; the settings are those of `GenerationRequest`.

        With a guide, the LoRAs of a smaller model steer it besides; with `radial`, long clips take less attention.
        `guardrail` and `refiner` look at the prompt first, as in `generate`.
        """
        named = {"prompt": prompt, "image": image, **settings}
        request = from_settings(GenerationRequest, named, "generate_video", RequestError)
        return generate(
            self.model,
            request,
            self.loaded,
            guide=guide,
            radial=radial,
            guardrail=guardrail,
            refiner=self.refiner if refiner is None else refiner,
            callback=callback,
        )

    def _read(self, stack: LoraStack) -> LoadedStack:
        return load_stack(stack, self.model.spec, allow_partial=self.allow_partial, download=self.download)

    def _load(self, rows: LoraStack) -> tuple[LoadedLora, ...]:
        """Read and check the rows, then put them on the stack; one of the same name gives way in its place."""
        new = self._read(rows)
        route(new, self.model.spec)
        with self._changing:
            self.loaded = self.loaded.updated(new)
        return new.loras


def _form(row: Any, where: str) -> object:
    """Return one LoRA of a list as stack files have it."""
    if isinstance(row, str | Path):
        return str(row)
    if isinstance(row, list | tuple):
        if not 1 <= len(row) <= len(_COLUMNS):
            what, expected = f"{len(row)} values", f"({', '.join(_COLUMNS)}), or its beginning"
            raise StackError(where, what, expected=expected, remedy="Give what else a row has in a dict")
        row = dict(zip(_COLUMNS, row, strict=False))
    if not isinstance(row, Mapping):
        return row
    return {key: str(value) if isinstance(value, Path) else value for key, value in row.items()}
