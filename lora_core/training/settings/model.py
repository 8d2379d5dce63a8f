"""The keys that say which model is trained, and where it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...checks import known
from ...errors import TrainingError

MemoryPlan = Literal["auto", "as_asked"]
MEMORY_PLANS: tuple[MemoryPlan, ...] = ("auto", "as_asked")
Precision = Literal["auto", "float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The model's files, as `lora-core generate` takes them.

    Attributes:
        model: an embedded model's word, a diffusers folder, or the (high-noise) expert's file.
        low_noise: the low-noise expert's file; "" to find it beside `model`.
        text_encoder, tokenizer, vae, image_encoder: the other pieces; "" where they lie in the folder.
        device: auto, cpu, cuda or mps.
        dtype: what the networks compute in; what learns is float32 whatever this says. auto: float32 on the CPU,
            bfloat16 elsewhere.
        memory_plan: auto changes other keys where the memory does not suffice, the least of a list of changes that
            does; as_asked never does.
    """

    model: str = "pocket"
    low_noise: str = ""
    text_encoder: str = ""
    tokenizer: str = ""
    vae: str = ""
    image_encoder: str = ""
    device: str = "auto"
    dtype: Precision = "auto"
    memory_plan: MemoryPlan = "auto"

    def __post_init__(self) -> None:
        known(self.dtype, PRECISIONS, "dtype", TrainingError)
        known(self.memory_plan, MEMORY_PLANS, "memory_plan", TrainingError)
