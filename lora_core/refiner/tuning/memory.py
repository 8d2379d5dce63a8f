"""The memory that a tuning will take by each method, by component, before any weight is read.

The activations are those of the very step, rehearsed on tensors that have shapes and no data; the rest is counted from
the shapes. Not in it: transformers' copy of a base while it is read, which QLoRA needs whole on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoints.meter import MemoryMeter
from ...checkpoints.quiet import quietly
from ...checkpoints.residency import offline
from ...training.memory.choice import Choice, fits
from ...training.memory.machine import this_machine
from ...training.memory.optimizer_bytes import STATE_BYTES
from ...training.memory.plan import Plan
from ...training.memory.predict import Part, Prediction
from ...training.memory.rehearsal import FusedKernels
from ..rows.opening import config_of
from ..sources import LanguageSource
from .config import METHODS, Method, Optimizer, TuneConfig
from .lessons import Lessons
from .network import adapter_settings, computing_dtype, precision_of, resting_dtype

#: nf4 with double quantisation: half a byte each, a scale of 8 bits for 64, and one of 32 bits for 256 of those.
_PACKED_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
_STATES: Mapping[Optimizer, Any] = {
    "adamw": STATE_BYTES["adamw"],
    "paged_adamw": STATE_BYTES["adamw"],
    "adamw_8bit": STATE_BYTES["adamw8bit"],
    "paged_adamw_8bit": STATE_BYTES["adamw8bit"],
    "adafactor": STATE_BYTES["adafactor"],
    "sgd": lambda shape: 0,
}
_TILE_ROWS, _TILE_COLUMNS, _NUM_COPIES = 4096, 32768, 7
_REMEDY = "Use a smaller batch_size with more accumulation, checkpointing = true, shorter rows or a smaller model"


def memory_plan(config: TuneConfig, source: LanguageSource, lessons: Lessons, device: torch.device) -> Choice:
    """Predict what each method would take at its peak, for rows as long as the longest; the configuration's is chosen.

    `str()` of it is a table.
    """
    machine = this_machine(device)
    with quietly(), offline():
        made = tuple((Plan(method), _predicted(config, method, source, lessons, device)) for method in METHODS)
    own = next((plan, prediction) for plan, prediction in made if plan.name == config.method)
    return Choice(made, machine, own[0] if fits(own[1], machine) else None, _REMEDY)


def _predicted(
    config: TuneConfig, method: Method, source: LanguageSource, lessons: Lessons, device: torch.device
) -> Prediction:
    precision = precision_of(config, device)
    computing, resting = computing_dtype(precision), resting_dtype(precision, method)
    network = _without_data(source, config, method, computing)
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    frozen = [weight for weight in network.parameters() if not weight.requires_grad]
    width = resting.itemsize if method == "full" else 4
    learnt = width * _count(learning)
    packed = _packed(network) if method == "qlora" else 0
    rest = resting.itemsize * (_count(frozen) - packed)
    state = sum(_STATES[config.optimizer](tuple(weight.shape)) for weight in learning) * width // 4
    parts = {
        "frozen weights": ceil(packed * _PACKED_BYTES) + rest,
        "learning weights": learnt,
        "gradients": learnt,
        "optimiser": state,
        "activations, workspace": _passes(network, config, lessons, on_gpu=device.type != "cpu"),
    }
    on_device = device.type != "cpu"
    return Prediction({name: Part(device=n) if on_device else Part(system=n) for name, n in parts.items()})


def _without_data(source: LanguageSource, config: TuneConfig, method: Method, dtype: torch.dtype) -> Any:
    """Return the network of a method without anything in it; packed layers are as they are once unpacked."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config_of(source), dtype=dtype)
    if method != "full":
        from peft import get_peft_model

        network.requires_grad_(False)
        network = get_peft_model(network, adapter_settings(config), low_cpu_mem_usage=True)
    if config.checkpointing:
        network.gradient_checkpointing_enable()
        network.enable_input_require_grads()
    return network.train()


def _passes(network: Any, config: TuneConfig, lessons: Lessons, *, on_gpu: bool) -> int:
    """Return the peak of one forward and backward pass, beside weights and gradients."""
    whole = network.get_base_model() if hasattr(network, "get_base_model") else network
    size, length = config.batch_size, lessons.longest
    for weight in network.parameters():
        if weight.requires_grad:
            weight.grad = torch.empty_like(weight)
    head = _head(whole.get_output_embeddings().weight, size, lessons, on_gpu=on_gpu)
    with MemoryMeter() as meter, FusedKernels(on_gpu):
        tokens = torch.zeros(size, length, dtype=torch.long, device="meta")
        mask = torch.ones(size, 1, length, length, dtype=torch.bool, device="meta")  # as padding makes it
        hidden = whole.base_model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        kept = meter.num_bytes
        hidden.sum().backward()
    return max(meter.peak, kept + head)


def _head(weight: Tensor, size: int, lessons: Lessons, *, on_gpu: bool) -> int:
    """Return what TRL's head takes beside what is kept for the backward pass: logits only come tile by tile.

    The tiles, and what the CPU has of them at once in float32, are those of trl/kernels/chunked_logprob.py.
    A GPU only looks at tokens that are learnt from.
    """
    vocabulary, width = weight.shape
    learnt = max(example.num_learnt for example in lessons.examples)
    tokens = size * (learnt if on_gpu else lessons.longest)
    rows, columns = min(tokens, _TILE_ROWS), min(vocabulary, _TILE_COLUMNS)
    tile = rows * _TILE_COLUMNS * weight.dtype.itemsize + (0 if on_gpu else _NUM_COPIES * rows * columns * 4)
    own_gradient = 4 * weight.numel() if weight.requires_grad else 0
    return tile + own_gradient + 4 * tokens * width


def _packed(network: nn.Module) -> int:
    """Return how many numbers lie in linear layers that are packed: all but the head."""
    head = network.get_output_embeddings()  # type: ignore[operator]  # of transformers' models
    bases = (m for n, m in network.named_modules() if isinstance(m, nn.Linear) and m is not head and "lora_" not in n)
    return _count(module.weight for module in bases)


def _count(weights: Iterable[Tensor]) -> int:
    return sum(prod(weight.shape) for weight in weights)
