"""Tiny native Wan models, opened by ComfyUI's own loader, and what the tests here do with a MODEL."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from safetensors.torch import save_file
from torch import Tensor, nn
from wanloom.lora_core import LoadedStack, LoraStack, LoraWeights, ModelSpec, load_stack, read_lora, route
from wanloom.lora_core.families.wan.spec import WanSize, shapes_of
from wanloom.lora_core.plan.routing import RoutedLora
from wanloom.nodes import bridge
from wanloom.nodes.kept_loras import kept_reader

#: Its linear layers are above 16 KiB in float32 and so take weight wrappers; its norms and tables do not.
WIDE = WanSize(width=128, ffn_width=256, num_blocks=2, text_width=64)
#: Most of its layers are below 16 KiB and so take the injection.
NARROW = WanSize(width=32, ffn_width=64, num_blocks=2, text_width=32)
SIGMAS = (1.0, 0.9375, 0.8333333, 0.625, 0.0)


@pytest.fixture(autouse=True)
def as_in_a_node() -> Iterator[None]:
    """Run a test as ComfyUI runs nodes: under inference mode, and with nothing loaded before."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for models as small as these, threads only wait for each other
    comfy.model_management.unload_all_models()
    with torch.inference_mode():
        yield
    comfy.model_management.unload_all_models()
    torch.set_num_threads(num_threads)


@dataclass(frozen=True)
class Host:
    """Write checkpoints into a folder and open them."""

    folder: Path

    def model(self, size: WanSize = WIDE, seed: int = 0, **options: object) -> ModelPatcher:
        """Open a tiny model with random weights through core's loader."""
        return self.open(save_model(self.folder / f"{size.width}_{seed}.safetensors", size, seed), **options)

    def open(self, path: Path, **options: object) -> ModelPatcher:
        with torch.inference_mode():
            return comfy.sd.load_diffusion_model(str(path), model_options=options)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def state_dict(size: WanSize = WIDE, seed: int = 0) -> dict[str, Tensor]:
    """Return random float32 tensors of a Wan transformer, scaled so that a forward keeps its numbers near 1."""
    generator = torch.Generator().manual_seed(seed)
    return {
        parameter_name(target): _random_parameter(target, shape, generator) for target, shape in shapes_of(size).items()
    }


def parameter_name(target: str) -> str:
    """Return the native parameter name of a target."""
    is_bare = target.endswith((".bias", "modulation", "emb_pos"))
    return target if is_bare else f"{target}.weight"


def _random_parameter(target: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=generator)
    if target.endswith((".bias", "modulation")):
        return 0.1 * noise
    if len(shape) == 1:
        return 1 + 0.1 * noise
    return noise / noise[0].numel() ** 0.5


def save_model(path: Path, size: WanSize = WIDE, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    return save_state({name: tensor.to(dtype) for name, tensor in state_dict(size, seed).items()}, path, size)


def save_state(
    state: Mapping[str, Tensor], path: Path, size: WanSize = WIDE, num_heads: int | None = None, **metadata: str
) -> Path:
    """Write a checkpoint; its metadata tell ComfyUI's loader what it cannot read off the shapes of so small a model."""
    transformer = {"num_heads": num_heads or max(1, size.width // 64), "text_dim": size.text_width}
    config = {"config": json.dumps({"transformer": transformer})}
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path, metadata=config | metadata)
    return path


#: A MODEL's network -> its spec, made once, as a loader's node makes it.
_SPECS: weakref.WeakKeyDictionary[nn.Module, ModelSpec] = weakref.WeakKeyDictionary()


def spec_of(patcher: ModelPatcher) -> ModelSpec:
    """Return the spec of a MODEL that is a single expert."""
    if patcher.model not in _SPECS:
        _SPECS[patcher.model] = bridge.spec_of(patcher, num_experts=1, where="test")
    return _SPECS[patcher.model]


def loaded(patcher: ModelPatcher, stack: LoraStack) -> LoadedStack:
    """Return a stack with its files read for a MODEL, as the nodes read them."""
    return load_stack(stack, spec_of(patcher), read=kept_reader(spec_of(patcher)))


def routed(patcher: ModelPatcher, stack: LoraStack) -> tuple[RoutedLora, ...]:
    """Return the LoRAs of a stack as they act on a MODEL."""
    return route(loaded(patcher, stack), spec_of(patcher)).for_expert("low_noise")


def bound(patcher: ModelPatcher, stack: LoraStack, sigmas: tuple[float, ...] = SIGMAS) -> ModelPatcher:
    """Bind a stack of LoRAs to a MODEL."""
    return bridge.bind(patcher, routed(patcher, stack), spec_of(patcher), sigmas)


def predict(
    patcher: ModelPatcher, sigma: float = 0.9375, x: Tensor | None = None, *, load: bool = True, **told: Tensor
) -> Tensor:
    """Return what a MODEL predicts at a noise level, for fixed latents unless given, run as samplers run it."""
    if load:
        comfy.model_management.load_models_gpu([patcher])
    network = patcher.model.diffusion_model
    x = start(network.out_dim) if x is None else x
    text = torch.randn(1, 5, network.text_embedding[0].in_features, generator=torch.Generator().manual_seed(8))
    options = patcher.model_options["transformer_options"] | {"wrappers": patcher.wrappers}
    return patcher.model.apply_model(x, torch.full((1,), sigma), c_crossattn=text, transformer_options=options, **told)


def start(num_channels: int = 16) -> Tensor:
    """Return fixed noise (1, C, 2, 6, 4)."""
    return torch.randn(1, num_channels, 2, 6, 4, generator=torch.Generator().manual_seed(7))


def set_weights(patcher: ModelPatcher, state: Mapping[str, Tensor]) -> None:
    """Overwrite parameters of a MODEL that nothing is bound to."""
    patcher.model.diffusion_model.load_state_dict(state, strict=False)


def relative_error(value: Tensor, reference: Tensor) -> float:
    """Return `|value - reference| / |reference|` (Frobenius)."""
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def unload() -> None:
    comfy.model_management.unload_all_models()


def read_without_file(path: Path, spec: ModelSpec) -> LoraWeights:
    """Return a LoRA whose weights do not say what file they come from."""
    return replace(read_lora(path, spec=spec), path=None)
