"""A network in training: what of it learns, and the change it has learnt.

What is not changed is shared with the opened model, whose tensors are never written; what is learnt has its own.
Dtype policy: what learns is float32; the network computes in the dtype it was opened in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoints.residency import Network
from ...deltas import Delta
from ...errors import TrainingError
from ...families.base import ModelSpec, logical_shape
from ...families.family import Kept
from ...families.registry import spec_of_module
from ...files.correction import corrected
from ...wording import said
from ..settings.adapter import AdapterSettings
from ..shards import is_part, whole
from .adapters import adapter_parts, delta_of, inject_adapter
from .packed import PACKINGS, PackedLinear, pack_layers, unpacked
from .pruned import narrower, scattered
from .sharing import own_tensors, sharing_copy, tensor_ids
from .targets import Layer, block_layers, check_rank, chosen_layers
from .whole import Differences, widen


@dataclass(frozen=True, eq=False)
class Trainee:
    """A network with parameters that learn.

    Attributes:
        network: called as the base network is, with inputs of the dtype it was opened in.
        base: the network of the opened model, as it was.
        paths: name of a parameter that learns -> its full name inside `network`. Names are the model's own: of an
            adapter `blocks.0.self_attn.q.lora_A`, of the network's own weights those of a checkpoint.
        layers: those with an adapter; empty where the network's own weights learn.
        kept: target -> what is left of its layer, of a network that was made narrower for the training.
    """

    network: nn.Module
    base: nn.Module
    settings: AdapterSettings
    paths: Mapping[str, str]
    layers: tuple[Layer, ...] = ()
    kept: Mapping[str, Kept] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, float32, in the network's order; looked up anew, for FSDP replaces them."""
        return {name: self.network.get_parameter(path) for name, path in self.paths.items()}

    def deltas(self) -> Mapping[str, Delta]:
        """Return target -> the change that has been learnt; the tensors are copies on the CPU.

        Where the network's own weights learn, each change is computed when it is looked up, and not kept.
        """
        if self.settings.method == "full":
            is_sharded = any(map(is_part, self.weights.values()))  # then all have to look up the same
            return Differences(self.learnt() if is_sharded else self.weights, self.base, spec_of_module(self.base))
        learnt = self.learnt()
        parts = {layer.target: adapter_parts(self.network.get_submodule(layer.path)) for layer in self.layers}
        deltas = {
            target: delta_of({name: learnt[f"{target}.{name}"] for name in names}, self.settings)
            for target, names in parts.items()
        }
        if self.kept:
            return {target: self._whole_width(target, delta) for target, delta in deltas.items()}
        if self.settings.correct_for != "full":
            return deltas
        return {layer.target: self._for_full_base(layer, deltas[layer.target]) for layer in self.layers}

    def _whole_width(self, target: str, delta: Delta) -> Delta:
        """Return a layer's change for the whole network, zero where its channels were cut."""
        if target not in self.kept:
            return delta
        path, parameter = spec_of_module(self.base).parameter_path(target, self.base)
        return scattered(delta, self.kept[target], logical_shape(self.base.get_submodule(path), parameter))

    @torch.no_grad()
    def _for_full_base(self, layer: Layer, delta: Delta) -> Delta:
        """Return a layer's change without what only mended the rounding of its packed weight."""
        module: Any = self.network.get_submodule(layer.path)
        packed = module.get_base_layer()
        if not isinstance(packed, PackedLinear):  # outside the blocks, where nothing is packed
            return delta
        full = unpacked(self.base.get_submodule(layer.path), layer).cpu().to(packed.dtype).float()
        if is_part(packed.packed):  # shared out among processes, so packed once more
            rounded = PACKINGS[packed.base_format]
            parts = rounded.pack(full.to(packed.dtype))
            return corrected(delta, full, rounded.unpack(parts, layer.shape, torch.float32), where=layer.target)
        return corrected(delta, full, packed.dequantised_weight(torch.float32).cpu(), where=layer.target)

    def learnt(self, *, keep: bool = True) -> dict[str, Tensor]:
        """Return copies on the CPU of what learns, by its name.

        Of a network that is shared out among processes each has to ask; one that does not `keep` them gets none.
        """
        tensors = {name: whole(weight, keep=keep) for name, weight in self.weights.items()}
        return {name: tensor.clone() for name, tensor in tensors.items() if tensor is not None}

    def checkpointing(self, on: bool) -> None:
        """Keep a block's activations until its backward (off), or compute them again then (on)."""
        if on:
            self.network.enable_gradient_checkpointing()  # type: ignore[operator]  # a diffusers model
        else:
            self.network.disable_gradient_checkpointing()  # type: ignore[operator]

    def compile(self) -> None:
        """Let torch.compile make the blocks faster; the first steps, with each new shape, take long."""
        self.network.compile_repeated_blocks()  # type: ignore[operator]  # a diffusers model

    def to(self, device: torch.device | str, may_move: Callable[[Tensor], bool] = lambda tensor: True) -> None:
        """Move what the trainee itself owns and may move; what it shares with the opened model moves with that.

        Packed weights that are kept in system memory stay there.
        """
        packed = (module for module in self.network.modules() if isinstance(module, PackedLinear))
        staying = tensor_ids(self.base) | {id(part) for module in packed for part in module.parts_off()}
        for tensor in chain(self.network.parameters(), self.network.buffers()):
            if id(tensor) not in staying and may_move(tensor):
                tensor.data = tensor.data.to(device)


@dataclass(frozen=True)
class _Start:
    """What a trainee is made of."""

    base: Network
    spec: ModelSpec
    settings: AdapterSettings
    seed: int
    device: torch.device | str | None


def make_trainee(
    network: nn.Module | Network,
    settings: AdapterSettings,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Trainee:
    """Return a network that learns, beside one of an opened model, which stays as it is.

    A `lora` shares the base, which has to be in use whenever the trainee is. A `qlora`, a `full` network of all weights
    or a narrower copy owns every tensor: the base may be released, and need not even come onto the device, if it is
    given at rest.

    Args:
        network: ready on the device it will be trained on; or at rest (`Piece.at_rest()`), for `qlora` and `full`.
        settings: what of it learns.
        seed: of the untrained adapter; the same seed gives the same bits, on every device.
        device: where the tensors that the trainee owns shall be; where the base's are unless given.
    """
    base = network if isinstance(network, Network) else Network(network)
    if settings.is_lent and (isinstance(network, Network) or device is not None):
        remedy = "Give the network in use, without a device"
        raise TrainingError(
            "method lora", "it shares the weights of the opened model, wherever they are", remedy=remedy
        )
    start = _Start(base, spec_of_module(base.module), settings, seed, device)
    if not settings.prune_width:
        return _MAKERS[settings.method](start)
    narrow, kept = narrower(base, start.spec, settings.prune_width, device)
    trainee = _MAKERS[settings.method](replace(start, base=Network(narrow), spec=spec_of_module(narrow)))
    return replace(trainee, base=base.module, kept=kept)


def _make_adapted(start: _Start) -> Trainee:
    layers = _layers_with_adapter(start)
    copied = sharing_copy(start.base.module)
    return Trainee(copied, start.base.module, start.settings, _new_adapter(copied, layers, start), layers)


def _make_packed(start: _Start) -> Trainee:
    layers = _layers_with_adapter(start)
    copied = packed_copy(start.base, start.spec, start.settings, start.device)
    return Trainee(copied, start.base.module, start.settings, _new_adapter(copied, layers, start), layers)


def packed_copy(
    base: Network, spec: ModelSpec, settings: AdapterSettings, device: torch.device | str | None = None
) -> nn.Module:
    """Return a network like the base whose blocks' weights are packed, as a `qlora` trains on; all tensors its own."""
    copied = sharing_copy(base.module)
    pack_layers(copied, block_layers(base.module, spec), settings.base, base.dtypes, device, offload=settings.offload)
    own_tensors(copied, base, device)
    return copied


def _make_whole(start: _Start) -> Trainee:
    copied = sharing_copy(start.base.module)
    paths = widen(copied, start.base, start.spec, start.settings, start.device)
    own_tensors(copied, start.base, start.device)
    return Trainee(copied, start.base.module, start.settings, paths)


_MAKERS: Mapping[str, Callable[[_Start], Trainee]] = {
    "lora": _make_adapted,
    "qlora": _make_packed,
    "full": _make_whole,
}


def _layers_with_adapter(start: _Start) -> tuple[Layer, ...]:
    layers = chosen_layers(start.base.module, start.spec, start.settings.targets, start.settings.used_blocks)
    check_rank(start.settings.rank, layers)
    return layers


def _new_adapter(copied: nn.Module, layers: tuple[Layer, ...], start: _Start) -> dict[str, str]:
    """Put an untrained adapter into a network; return the name of each parameter -> its name in the network."""
    _check_weights_are_plain(copied, layers, start.settings)
    inject_adapter(copied, layers, start.settings, start.seed)
    from .fast_lora import make_fast  # imports peft

    full_names = {id(parameter): path for path, parameter in copied.named_parameters()}
    paths = {}
    for layer in layers:
        module = copied.get_submodule(layer.path)
        for name, parameter in adapter_parts(module).items():
            paths[f"{layer.target}.{name}"] = full_names[id(parameter)]
        make_fast(module)
    return paths


def _check_weights_are_plain(copied: nn.Module, layers: tuple[Layer, ...], settings: AdapterSettings) -> None:
    """Raise where a form of adapter would read a weight as numbers that is stored as something else."""
    if settings.adapter == "lora":
        return
    for layer in layers:
        module = copied.get_submodule(layer.path)
        weight: Any = module.weight
        if not isinstance(module, PackedLinear) and not (weight.is_floating_point() and weight.element_size() > 1):
            what = said(
                "{adapter} has to read the weight of {target!r}, which is packed ({dtype})",
                adapter=settings.adapter,
                target=layer.target,
                dtype=weight.dtype,
            )
            remedy = "Open the model from weights of 16 bits, choose the method qlora, or the adapter lora"
            raise TrainingError("adapter", what, remedy=remedy)
