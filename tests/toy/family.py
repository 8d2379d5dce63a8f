"""The Toy family, as the registry wants it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lora_core.checkpoints.residency import Network
from lora_core.experts import EXPERTS, Expert
from lora_core.families.base import UNKNOWN_SHAPE, DefaultClip, ModelSpec, target_of
from lora_core.families.condition import Condition
from lora_core.families.family import Customs, Family, LoraTraits, Naming, Origin, Pictures, Prefix, Texts

from .network import CHANNELS, TEXT_WIDTH, ToyNetwork

#: Toy's name of a module -> how other libraries spell it, in every layer.
_ELSEWHERE = {"mix.ask": "attention.q", "mix.show": "attention.k", "mix.tell": "attention.v", "read": "text_in"}
_KINDS = ((r"\.mix\.", "self_attn"), (r"\.read", "cross_attn"), (r"\.tint$", "modulation"))
_MAX_LAYERS = 4


def aliases() -> dict[str, str]:
    return {
        f"transformer_layers.{i}.{theirs}": f"stack.{i}.{ours}"
        for i in range(_MAX_LAYERS)
        for ours, theirs in _ELSEWHERE.items()
    }


@cache
def grammar() -> ModelSpec:
    shapes = dict.fromkeys(_targets(ToyNetwork(num_layers=_MAX_LAYERS)), UNKNOWN_SHAPE)
    return _spec("toy", "Toy (any size)", shapes)


@cache
def spec(name: str) -> ModelSpec:
    return _spec(name, "Toy One", _targets(ToyNetwork()))


def infer(shapes: Mapping[str, tuple[int, ...]], *, num_experts: int | None = None, where: object = "") -> ModelSpec:
    bare = {target_of(name.removeprefix("toy.")): tuple(shape) for name, shape in shapes.items()}
    return _spec("toy-1", "Toy One", bare, boundary=None if num_experts == 1 else 0.9)


def _spec(name: str, title: str, shapes: Mapping[str, tuple[int, ...]], boundary: float | None = 0.9) -> ModelSpec:
    return ModelSpec(
        name,
        title,
        shapes,
        aliases(),
        family="toy",
        module_kinds=_KINDS,
        block_pattern=r"stack\.(\d+)\.(.+)",
        boundary=boundary,
        default_clip=DefaultClip(3, 16, 24, 8.0),
        latent_channels=CHANNELS,
        vae_stride=(2, 4, 4),
        patch_size=(1, 1, 1),
    )


def _targets(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {target_of(name): tuple(parameter.shape) for name, parameter in network.named_parameters()}


def recognises(names: Iterable[str]) -> bool:
    return any(name.endswith("stack.0.mix.ask.weight") for name in names)


def width(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    return next((shape[0] for target, shape in shapes.items() if ".mix." in target and len(shape) > 1), None)


def base(traits: LoraTraits) -> str | None:
    return "toy-1" if width(traits.shapes) == 8 else None


def to_elsewhere(path: str) -> str:
    return next((theirs for theirs, ours in aliases().items() if ours == path), path)


def forward(
    network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float | Tensor, text: Tensor, condition: Condition
) -> Tensor:
    level = torch.as_tensor(sigma, dtype=torch.float32).expand(len(x))
    return network(picture=x, level=level, words=text.expand(len(x), -1, -1))


def condition(model: Any, texts: Texts, pictures: Pictures, num_frames: int) -> Condition:
    return Condition(*texts)


def condition_shapes(spec: ModelSpec, latents: tuple[int, ...], num_tokens: int) -> dict[str, tuple[int, ...]]:
    return {"positive": (latents[0], num_tokens, TEXT_WIDTH)}


@dataclass(frozen=True, eq=False)
class ToyModel:
    """An opened Toy: two networks of one file, letters for a text encoder, pooling for a VAE."""

    spec: ModelSpec
    networks: Mapping[Expert, nn.Module]
    files: Mapping[str, Path]
    dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")  # noqa: RUF009  # a device is a value
    offload: str = "none"
    max_tokens: int = 16
    lock: AbstractContextManager[object] = field(default_factory=RLock)

    def expert(self, name: Expert) -> nn.Module:
        return self.networks[name]

    def at_rest(self, name: Expert) -> Network:
        return Network(self.networks[name])

    def require(self, **pieces: bool) -> None: ...

    def encode_text(self, prompts: str) -> Tensor:
        letters = torch.tensor([[ord(letter) / 128] for letter in prompts or " "])
        return letters.expand(-1, TEXT_WIDTH)[None, : self.max_tokens]

    def num_tokens(self, prompt: str) -> int:
        return len(prompt)

    def unknown_words(self, prompt: str) -> tuple[str, ...]:
        return ()

    def normalise(self, latents: Tensor) -> Tensor:
        return latents / 2

    def denormalise(self, latents: Tensor) -> Tensor:
        return latents * 2

    def vae_encode(self, frames: Tensor) -> Tensor: ...

    def release(self) -> None: ...

    def vae_decode(self, latents: Tensor) -> Tensor:
        frames = latents[:, :3].repeat_interleave(4, 3).repeat_interleave(4, 4)
        return torch.cat([frames[:, :, :1], frames[:, :, 1:].repeat_interleave(2, 2)], dim=2).tanh()


def open_toy(source: str | Path, **pieces: Any) -> ToyModel:
    tensors = load_file(source)
    networks: dict[Expert, nn.Module] = {}
    for expert in EXPERTS:
        networks[expert] = ToyNetwork().requires_grad_(False)
        networks[expert].load_state_dict({name.removeprefix("toy."): tensor for name, tensor in tensors.items()})
    return ToyModel(infer({name: tuple(t.shape) for name, t in tensors.items()}), networks, {"high": Path(source)})


TOY = Family(
    name="toy",
    title="Toy",
    spec_names=("toy-1",),
    spec=spec,
    grammar=grammar,
    recognises=recognises,
    infer=infer,
    naming=Naming(to_elsewhere, is_bare=lambda target: target.endswith(".tint")),
    origin=Origin(
        (("toy_sequel_", "Toy Two"),), width, {8: "Toy One"}.get, base, lambda *_: None, lambda *_: "", lambda *_: ""
    ),
    customs=Customs(distilled_shift=3.0),
    forward=forward,
    condition=condition,
    condition_shapes=condition_shapes,
    open=open_toy,
    prefixes=(Prefix("toybox.", "toy"),),
)
