"""A network in training: what of it learns, and the change it has learnt.

The network shares the base's tensors with the opened model and writes to none of them; what is learnt has its own.
Dtype policy: what learns is float32; the network computes in the dtype it was opened in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...deltas import Delta, Full
from ...errors import TrainingError
from ...families.base import ModelSpec
from ...families.registry import spec_of_module
from ..settings.adapter import AdapterSettings, Method
from ..shards import is_part, whole
from .adapters import adapter_parts, delta_of, inject_adapter
from .packed import PackedLinear, pack_layers
from .place import HERE, Place
from .targets import EVERYTHING, Layer, block_layers, check_rank, chosen_blocks, chosen_layers


@dataclass(frozen=True, eq=False)
class Trainee:
    """A network with parameters that learn.

    Attributes:
        network: called as the base network is, with inputs of the dtype it was opened in.
        weights: name -> the parameters that learn, float32, in the network's order. Names are the model's own: of an
            adapter `blocks.0.self_attn.q.lora_A`, of the network's own weights those of a checkpoint.
        base: the network of the opened model, as it was.
        layers: those with an adapter; empty where the network's own weights learn.
        dtypes: of the base, the dtype that each tensor computes in, where it is stored in another.
    """

    network: nn.Module
    weights: Mapping[str, nn.Parameter]
    settings: AdapterSettings
    base: nn.Module
    layers: tuple[Layer, ...] = ()
    dtypes: Mapping[str, torch.dtype] = field(default_factory=dict)

    def deltas(self) -> Mapping[str, Delta]:
        """Return target -> the change that has been learnt; the tensors are copies on the CPU.

        Where the network's own weights learn, each change is computed when it is looked up, and not kept.
        """
        if self.settings.method == "full":
            is_sharded = any(map(is_part, self.weights.values()))
            weights = self.learnt() if is_sharded else self.weights  # all processes give their parts in the same order
            return _Differences(weights, self.base, spec_of_module(self.base), Place(dtypes=self.dtypes))
        learnt = self.learnt()
        parts = {layer.target: adapter_parts(self.network.get_submodule(layer.path)) for layer in self.layers}
        return {
            target: delta_of({name: learnt[f"{target}.{name}"] for name in names}, self.settings)
            for target, names in parts.items()
        }

    def learnt(self, *, keep: bool = True) -> dict[str, Tensor]:
        """Return copies on the CPU of what learns, by its name.

        Of a network that is shared out among processes each has to ask; one that does not `keep` them gets none.
        """
        tensors = {name: whole(weight, keep=keep) for name, weight in self.weights.items()}
        return {name: tensor.clone() for name, tensor in tensors.items() if tensor is not None}

    def own_name(self, path: str) -> str:
        """Return the model's own full name of a parameter of the base network."""
        return _own_name(path, spec_of_module(self.base))

    def checkpointing(self, on: bool) -> None:
        """Keep a block's activations until its backward (off), or compute them again then (on)."""
        if on:
            self.network.enable_gradient_checkpointing()  # type: ignore[operator]  # a diffusers model
        else:
            self.network.disable_gradient_checkpointing()  # type: ignore[operator]

    def to(self, device: torch.device | str, may_move: Callable[[Tensor], bool] = lambda tensor: True) -> None:
        """Move what the trainee itself owns and may move; what it shares with the opened model moves with that.

        Packed weights that are kept in system memory stay there.
        """
        packed = (module for module in self.network.modules() if isinstance(module, PackedLinear))
        staying = _tensor_ids(self.base) | {id(part) for module in packed for part in module.parts_off()}
        for tensor in chain(self.network.parameters(), self.network.buffers()):
            if id(tensor) not in staying and may_move(tensor):
                tensor.data = tensor.data.to(device)


#: The methods whose trainees own every tensor and share none with the opened model, which may so stay at rest.
OWNING: frozenset[Method] = frozenset({"qlora", "full"})


def make_trainee(
    network: nn.Module, settings: AdapterSettings, *, seed: int = 0, place: Place | None = None
) -> Trainee:
    """Return a network that learns, beside one of an opened model, which stays as it is.

    Args:
        network: ready on the device it will be trained on; with a place it may be at rest.
        settings: what of it learns.
        seed: of the untrained adapter; the same seed gives the same bits.
        place: for a network at rest, where it will be trained, and the dtypes it computes in. The tensors of the
            network that is returned are then other objects than the base's, though they may share what is in them.
    """
    spec = spec_of_module(network)
    return _MAKERS[settings.method](network, spec, settings, seed, place or HERE)


def _make_adapted(network: nn.Module, spec: ModelSpec, settings: AdapterSettings, seed: int, place: Place) -> Trainee:
    layers = _layers_with_adapter(network, spec, settings)
    shared = sharing_copy(network)
    if place is not HERE:
        _lend_tensors(shared, place)
    return Trainee(shared, _new_adapter(shared, layers, settings, seed), settings, network, layers, place.dtypes)


def _make_quantised(network: nn.Module, spec: ModelSpec, settings: AdapterSettings, seed: int, place: Place) -> Trainee:
    layers = _layers_with_adapter(network, spec, settings)
    own = sharing_copy(network)
    pack_layers(own, block_layers(network, spec), settings.base, place, offload=settings.offload)
    own_tensors(own, network, place)
    return Trainee(own, _new_adapter(own, layers, settings, seed), settings, network, layers, place.dtypes)


def _layers_with_adapter(network: nn.Module, spec: ModelSpec, settings: AdapterSettings) -> tuple[Layer, ...]:
    layers = chosen_layers(network, spec, settings.targets, settings.blocks)
    check_rank(settings.rank, layers)
    return layers


def _new_adapter(
    network: nn.Module, layers: tuple[Layer, ...], settings: AdapterSettings, seed: int
) -> dict[str, nn.Parameter]:
    """Put an untrained adapter into a network, and return what of it learns."""
    inject_adapter(network, layers, settings, seed)
    from .fast_lora import make_fast  # imports peft

    weights = {}
    for layer in layers:
        module = network.get_submodule(layer.path)
        weights.update({f"{layer.target}.{name}": part for name, part in adapter_parts(module).items()})
        make_fast(module)
    return weights


def _make_full(network: nn.Module, spec: ModelSpec, settings: AdapterSettings, seed: int, place: Place) -> Trainee:
    learning = _learning_parameters(network, spec, settings)
    shared = sharing_copy(network)
    weights = {}
    for path, name in learning.items():
        owner_path, _, leaf = path.rpartition(".")
        owner = shared.get_submodule(owner_path)
        narrow = place.copy(path, getattr(owner, leaf))
        weights[name] = nn.Parameter(narrow.float())
        setattr(owner, leaf, weights[name])
        if narrow.dtype != torch.float32:  # autocast would also narrow what its authors keep wide, such as the time
            parametrize.register_parametrization(owner, leaf, _Narrowed(narrow.dtype), unsafe=True)
    own_tensors(shared, network, place)
    return Trainee(shared, weights, settings, network, dtypes=place.dtypes)


_MAKERS: Mapping[Method, Callable[[nn.Module, ModelSpec, AdapterSettings, int, Place], Trainee]] = {
    "lora": _make_adapted,
    "qlora": _make_quantised,
    "full": _make_full,
}


def sharing_copy(network: nn.Module) -> nn.Module:
    """Copy a network's modules around the very same parameters and buffers, which so move and rest for both."""
    memo = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    copied: nn.Module = copy.deepcopy(network, memo)
    return copied


def own_tensors(network: nn.Module, base: nn.Module, place: Place = HERE) -> None:
    """Give a network copies of all tensors that it shares with the base, which may then be let go."""
    shared = _tensor_ids(base)
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in shared:
                copied = place.copy(f"{path}.{name}".lstrip("."), parameter)
                setattr(module, name, nn.Parameter(copied, requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if id(buffer) in shared:
                setattr(module, name, place.copy("", buffer))


def _lend_tensors(network: nn.Module, place: Place) -> None:
    """Let a network hold a base's tensors as objects of its own, in the place; those already there are not copied."""
    for path, module in network.named_modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            brought = place.bring(f"{path}.{name}".lstrip("."), parameter)
            setattr(module, name, nn.Parameter(brought, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, place.bring("", buffer))


def _tensor_ids(network: nn.Module) -> frozenset[int]:
    return frozenset(id(tensor) for tensor in chain(network.parameters(), network.buffers()))


def _learning_parameters(network: nn.Module, spec: ModelSpec, settings: AdapterSettings) -> dict[str, str]:
    """Return full name in the network -> full name in the model's own words, of the network's weights that learn."""
    names = {path: _own_name(path, spec) for path, _ in network.named_parameters()}
    if settings.targets != EVERYTHING:
        layers = chosen_layers(network, spec, settings.targets, settings.blocks)
        wanted = {f"{layer.path}.{leaf}" for layer in layers for leaf in ("weight", "bias")}
        names = {path: name for path, name in names.items() if path in wanted}
    elif settings.blocks:
        numbers = chosen_blocks(settings.blocks, spec)
        names = {p: n for p, n in names.items() if (found := spec.block_of(n)) and found[0] in numbers}
    for path in names:
        parameter = network.get_parameter(path)
        if not parameter.is_floating_point() or parameter.element_size() < 2:
            what = f"the weights of {names[path]!r} are packed ({parameter.dtype}), and cannot learn themselves"
            remedy = "Open the model from weights of 16 or 32 bits, or train a LoRA"
            raise TrainingError("method full", what, remedy=remedy)
    return names


def _own_name(path: str, spec: ModelSpec) -> str:
    """Return the model's own full name of a parameter."""
    module_path, _, leaf = path.rpartition(".")
    if leaf in ("weight", "bias") and (own := spec.find(module_path)):
        return f"{own}.{leaf}"
    return spec.find(path) or path


class _Narrowed(nn.Module):
    """A wide weight in the dtype that its network computes in."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, weight: Tensor) -> Tensor:
        return weight.to(self.dtype)


class _Differences(Mapping[str, Delta]):
    """Target -> what a weight that learns now differs by from the base's, computed when it is looked up."""

    def __init__(self, weights: Mapping[str, Tensor], base: nn.Module, spec: ModelSpec, place: Place) -> None:
        self._place = place
        self._weights = {name.removesuffix(".weight"): weight for name, weight in weights.items()}
        self._base = base
        self._spec = spec

    def __getitem__(self, target: str) -> Delta:
        learnt = self._weights[target].detach().cpu()
        path, leaf = self._spec.parameter_path(target, self._base)
        stored = self._base.get_submodule(path).get_parameter(leaf)
        return Full(learnt - self._place.bring(f"{path}.{leaf}".lstrip("."), stored).cpu().float())

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
