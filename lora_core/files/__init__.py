"""LoRA files: reading, writing, inspecting and finding their twins, in every dialect people use."""

from __future__ import annotations

from .account import Account, TensorRecord
from .expert import find_twin
from .read import read_lora
from .report import LoraReport, inspect_lora
from .weights import LoraWeights
from .write import write_lora

__all__ = [
    "Account",
    "LoraReport",
    "LoraWeights",
    "TensorRecord",
    "find_twin",
    "inspect_lora",
    "read_lora",
    "write_lora",
]
