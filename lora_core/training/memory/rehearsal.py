"""A training step rehearsed without weights: the very code of a step, on tensors that have shapes and no data.

So what is counted is what will be allocated, for any family, method and adapter, and nothing was fitted. What PyTorch
computes otherwise without data than with, fused attention, has a stand-in that keeps what the kernel keeps.
Letters: B batch, H heads, L tokens, D width of a head.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...checkpoints.meter import MemoryMeter
from ...checkpoints.residency import Network
from ...families.base import ModelSpec
from ...families.registry import family_of
from ..config import TrainConfig
from ..network.targets import EVERYTHING, chosen_layers
from ..network.trainee import Trainee, make_trainee
from ..objectives.flow import flow
from ..settings.adapter import AdapterSettings
from .load import Load

#: Blocks that are rehearsed for all.
_FEW = 3


@dataclass(frozen=True)
class Usage:
    """The bytes that one expert in training takes.

    Attributes:
        frozen: weights that do not learn.
        packed: of them, those that may lie in system memory and come to the device layer by layer.
        learning: weights that learn; their gradients take as much.
        making: at most while the expert is made ready, beside `frozen` and `learning`.
        step: at most in a step's forward and backward passes, beside weights, gradients and optimiser.
        shapes: of the weights that learn, counted.
    """

    frozen: int
    packed: int
    learning: int
    making: int
    step: int
    shapes: Mapping[tuple[int, ...], int]

    def with_more(self, num_blocks: int, fewer: Usage) -> Usage:
        """Return the usage with more blocks, of which each adds what the last one added to `fewer`."""
        added = {
            name: getattr(self, name) + num_blocks * (getattr(self, name) - getattr(fewer, name))
            for name in ("frozen", "packed", "learning", "step")
        }
        counts = {shape: n + num_blocks * (n - fewer.shapes.get(shape, 0)) for shape, n in self.shapes.items()}
        return replace(self, shapes=counts, **added)


def rehearse(
    network: Network, spec: ModelSpec, config: TrainConfig, load: Load, dtype: torch.dtype, on_gpu: bool
) -> Usage:
    """Rehearse the making of an expert and one step of it.

    Args:
        network: the expert at rest; only its shapes and dtypes are read.
        spec: of its model.
        config: every key.
        load: what it is given.
        dtype: what it computes in.
        on_gpu: count what the kernels of a GPU take for themselves.
    """
    bare = without_data(network)
    stacks = _stacks(bare, spec)
    if len(stacks) != 1 or len(stacks[0]) <= _FEW or not _learns_alike(bare, spec, config.adapter):
        return _rehearse(bare, spec, config, load, dtype, on_gpu)
    (stack,) = stacks
    num_blocks = len(stack)
    del stack[_FEW:]
    many = _rehearse(copy.deepcopy(bare), spec, config, load, dtype, on_gpu)
    del stack[_FEW - 1 :]
    fewer = _rehearse(bare, spec, config, load, dtype, on_gpu)
    return many.with_more(num_blocks - _FEW, fewer)


def _rehearse(
    bare: nn.Module, spec: ModelSpec, config: TrainConfig, load: Load, dtype: torch.dtype, on_gpu: bool
) -> Usage:
    with MemoryMeter() as making:
        trainee = make_trainee(bare, config.adapter)
    if family_of(spec).folds_padding(spec):
        family_of(spec).fold_padding(trainee.network)
    trainee.checkpointing(config.learning.checkpointing)
    trainee.network.train()
    for block in chain(*_stacks(trainee.network, spec)):
        _let_attention_be_fused(block, on_gpu)
    learning = _num_bytes(trainee.weights.values())
    frozen = _num_bytes(chain(trainee.network.parameters(), trainee.network.buffers())) - learning
    made = learning + (0 if config.adapter.is_lent else frozen)
    return Usage(
        frozen=frozen,
        packed=packed_bytes(trainee.network),
        learning=learning,
        shapes=Counter(tuple(weight.shape) for weight in trainee.weights.values()),
        making=max(0, making.peak - made),
        step=_passes(trainee, spec, load, config, dtype) - learning,
    )


def without_data(network: Network) -> nn.Module:
    """Return a copy of a network that has the shapes and dtypes it computes with, and nothing in them."""
    module = network.module
    memo: dict[int, Any] = {}
    for name, parameter in module.named_parameters():
        dtype = network.dtypes.get(name, parameter.dtype)
        empty = torch.empty(parameter.shape, dtype=dtype, device="meta")
        memo[id(parameter)] = nn.Parameter(empty, requires_grad=False)
    memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    copied: nn.Module = copy.deepcopy(module, memo)
    return copied


def _passes(trainee: Trainee, spec: ModelSpec, load: Load, config: TrainConfig, dtype: torch.dtype) -> int:
    """Return the peak of one forward and backward pass; gradients that accumulate are there before."""
    from ..assembly import NetworkCall

    accumulates = config.learning.accumulation > 1
    for weight in trainee.weights.values():
        weight.grad = torch.empty_like(weight) if accumulates else None
    batch = load.batch(dtype)
    given = _num_bytes((batch.latents, batch.noise, *_tensors_of(batch.condition)))
    call = NetworkCall(trainee.network, spec)
    with MemoryMeter() as meter:
        for loss in flow(call, batch):
            loss.backward()
    return meter.peak + given + (_num_bytes(trainee.weights.values()) if accumulates else 0)


def _stacks(network: nn.Module, spec: ModelSpec) -> list[nn.ModuleList]:
    """Return the lists of a network's blocks; none where it has no blocks."""
    found: dict[str, nn.ModuleList] = {}
    for path, module in network.named_modules():
        is_list = isinstance(module, nn.ModuleList) and len(module) and not path.startswith(tuple(found))
        if is_list and _is_block(f"{path}.0", module[0], spec):
            found[f"{path}."] = module
    return list(found.values())


def _is_block(path: str, module: nn.Module, spec: ModelSpec) -> bool:
    """Say whether a module holds a block of the model, all of it."""
    names = (f"{path}.{inner}" for inner, part in module.named_modules() if isinstance(part, nn.Linear))
    first = next(names, None)
    target = None if first is None else spec.find(first.replace(".base_layer", ""))
    return target is not None and spec.block_of(target) is not None


def _learns_alike(network: nn.Module, spec: ModelSpec, settings: AdapterSettings) -> bool:
    """Say whether the same layers learn in every block, so that each further block adds the same."""
    if settings.used_blocks:
        return False
    if settings.targets == EVERYTHING:
        return True
    inside: defaultdict[int, set[str]] = defaultdict(set)
    for layer in chosen_layers(network, spec, settings.targets, ""):
        if found := spec.block_of(layer.target):
            inside[found[0]].add(found[1])
    return len(inside) == sum(map(len, _stacks(network, spec))) and len(set(map(frozenset, inside.values()))) == 1


def _tensors_of(condition: Any) -> Iterable[Tensor]:
    return (value for value in vars(condition).values() if isinstance(value, Tensor))


def _num_bytes(tensors: Iterable[Tensor]) -> int:
    return sum({id(tensor): tensor.nbytes for tensor in tensors}.values())


def packed_bytes(network: nn.Module) -> int:
    """Return the bytes of the weights that are kept packed."""
    from ..network.packed import PackedLinear

    return sum(module.num_packed_bytes for module in network.modules() if isinstance(module, PackedLinear))


# ---------------------------------------------------------------------------------------------- kernels


def _let_attention_be_fused(block: Any, on_gpu: bool) -> None:
    """Let a block attend as the kernels do whenever it runs, also when checkpointing runs it again in the backward."""
    plain = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with FusedKernels(on_gpu):
            return plain(*args, **kwargs)

    block.forward = forward


class FusedKernels(TorchFunctionMode):
    """Fused attention as the kernels do it, inside the block of code."""

    def __init__(self, on_gpu: bool) -> None:
        super().__init__()
        self._on_gpu = on_gpu

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}), on_gpu=self._on_gpu)
        return func(*args, **(kwargs or {}))


def _attention(query: Tensor, key: Tensor, value: Tensor, *more: Any, on_gpu: bool, **options: Any) -> Tensor:
    attended: Tensor = _FusedAttention.apply(query, key, value, on_gpu)
    return attended


class _FusedAttention(torch.autograd.Function):
    """What flash attention (Dao 2023, arXiv 2307.08691) keeps: its inputs, its output, and a number for each row."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, on_gpu: bool) -> Tensor:
        batch, heads, length, width = query.shape
        out_BLHD = query.new_empty(batch, length, heads, width)
        attended = out_BLHD.transpose(1, 2)
        ctx.save_for_backward(query, key, value, attended, query.new_empty(batch, heads, length, dtype=torch.float32))
        ctx.on_gpu = on_gpu
        return attended

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, _, _ = ctx.saved_tensors
        # On a GPU the gradient of the queries is summed up in float32 first.
        summed = torch.empty_like(query, dtype=torch.float32) if ctx.on_gpu else None
        d_query, d_key, d_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        del summed
        return d_query, d_key, d_value, None
