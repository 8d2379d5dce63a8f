"""The convenient face: open a model once, load and unload LoRAs by name, make videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.residency import Offload
from ..errors import StackError
from ..families.wan.model import WanModel
from ..families.wan.open import open_wan
from ..plan.plan import Boundary
from ..plan.routing import route
from ..sampling.sample import StepCallback
from ..stack.entry import AppliesTo, LoraEntry
from ..stack.loading import load_stack
from ..stack.stack import LoraStack
from .generate import Video, generate
from .request import GenerationRequest, Picture

#: One LoRA of a list: a row as stack files have it, or (path, name, weight, applies_to) as far as needed.
LoraRow = Mapping[str, object] | Sequence[object]
_COLUMNS = ("path", "name", "weight", "applies_to")


class WanVideoGenerator:
    """Hold an opened model and a stack of LoRAs that may change from video to video; the model never reloads."""

    def __init__(
        self,
        source: str | Path | WanModel = "pocket",
        *,
        low_noise: str | Path | None = None,
        text_encoder: str | Path | None = None,
        tokenizer: str | Path | None = None,
        vae: str | Path | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device = "cpu",
        offload: Offload = "none",
    ) -> None:
        """Open a model as `open_wan` does, or take one that is open."""
        self.stack = LoraStack()
        if isinstance(source, WanModel):
            self.model = source
            return
        self.model = open_wan(
            source,
            low_noise=low_noise,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            vae=vae,
            dtype=dtype,
            device=device,
            offload=offload,
        )

    def load_specialized_lora(
        self,
        lora_path: str | Path,
        adapter_name: str | None = None,
        lora_weight: float = 1.0,
        applies_to: AppliesTo = "auto",
    ) -> LoraEntry:
        """Read a LoRA, check that it fits the model, and add it; one of the same name gives way to it.

        The other file of a pair is found by its name. Returns the entry, whose `weights.account` tells of every tensor.
        """
        entry = LoraEntry(adapter_name or Path(lora_path).stem, Path(lora_path), lora_weight, applies_to)
        return self._load([entry])[0]

    def load_multiple_loras(self, loras: Sequence[LoraRow]) -> tuple[LoraEntry, ...]:
        """Load several LoRAs, all of them or, if one is at fault, none."""
        return self._load([_entry(row, f"LoRA {i}") for i, row in enumerate(loras, 1)])

    def unload_loras(self, *names: str) -> None:
        """Take LoRAs off the stack by name; all of them when no name is given."""
        stack = self.stack if names else LoraStack()
        for name in names:
            stack = stack.without(name)
        self.stack = stack

    def generate_video(
        self,
        prompt: str,
        image: Picture | None = None,
        *,
        negative_prompt: str = "",
        last_image: Picture | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fps: float | None = None,
        num_steps: int = 6,
        shift: float = 5.0,
        sigmas: Sequence[float] | None = None,
        cfg: float | tuple[float, float] = 1.0,
        boundary: Boundary = "auto",
        seed: int = 0,
        solver: str = "euler",
        denoise: float = 1.0,
        latents: Tensor | None = None,
        callback: StepCallback | None = None,
    ) -> Video:
        """Make a video with the LoRAs that are loaded; the settings are those of `GenerationRequest`."""
        request = GenerationRequest(
            prompt,
            negative_prompt,
            image,
            last_image,
            num_frames=num_frames,
            height=height,
            width=width,
            fps=fps,
            num_steps=num_steps,
            shift=shift,
            sigmas=None if sigmas is None else tuple(sigmas),
            cfg=cfg,
            boundary=boundary,
            seed=seed,
            solver=solver,
            denoise=denoise,
            latents=latents,
        )
        return generate(self.model, request, self.stack, callback=callback)

    def _load(self, entries: Sequence[LoraEntry]) -> tuple[LoraEntry, ...]:
        """Read and check the entries, then put them on the stack."""
        loaded = load_stack(LoraStack(tuple(entries)), self.model.spec)
        route(loaded, self.model.spec)
        stack = self.stack
        for entry in loaded:
            taken = any(entry.name == other.name for other in stack)
            stack = stack.replace(entry.name, entry) if taken else stack.add(entry)
        self.stack = stack
        return loaded.entries


def _entry(row: LoraRow, where: str) -> LoraEntry:
    """Read one LoRA of a list."""
    if not isinstance(row, Mapping):
        if not 1 <= len(row) <= len(_COLUMNS):
            raise StackError(where, f"{len(row)} values", expected=f"({', '.join(_COLUMNS)}), or its beginning")
        row = dict(zip(_COLUMNS, row, strict=False))
    return LoraEntry.from_json({k: str(v) if isinstance(v, Path) else v for k, v in row.items()}, where)
