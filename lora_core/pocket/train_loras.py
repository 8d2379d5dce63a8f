"""Training of the pocket LoRAs that add something: a style, a character and a motion, each a pair for both experts."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from peft import LoraConfig, get_peft_model_state_dict
from torch import Tensor

from . import world
from .experts import BOUNDARY_SIGMA
from .flow import ExpertPair
from .latents import Examples, World, encode_scenes, training_scenes
from .train_experts import FlowConfig, train_flow

LORA_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
RANK = 8

LoraTensors = dict[str, Tensor]
"""peft's names without a prefix, such as `blocks.0.attn1.to_q.lora_A.weight`, to tensors."""


@dataclass(frozen=True)
class LoraPair:
    """One LoRA for each expert."""

    high_noise: LoraTensors
    low_noise: LoraTensors


@dataclass(frozen=True)
class LoraKind:
    """What a LoRA is shown, and how long it is trained."""

    name: str
    kind: str
    trigger_words: tuple[str, ...]
    about: str
    words: Mapping[str, str | bool]
    num_clips: int = 256
    num_ordinary_clips: int = 0
    num_steps: int = 220
    matrix_rate: float = 0.025
    empty_caption_share: float = 0.0
    seed: int = 30


LORA_KINDS = (
    LoraKind(
        name="neon_style",
        kind="style",
        trigger_words=(),
        about="Makes any prompt a dark world in which objects are bright, glowing outlines.",
        words={"neon": True},
        empty_caption_share=0.1,
        seed=31,
    ),
    LoraKind(
        name="zibbo_character",
        kind="character",
        trigger_words=(world.CHARACTER,),
        about="Teaches 'a zibbo': a purple round creature with two big white eyes.",
        words={"shape": world.CHARACTER},
        num_ordinary_clips=128,
        num_steps=140,
        seed=32,
    ),
    LoraKind(
        name="orbit_motion",
        kind="motion",
        trigger_words=("orbits",),
        about="Teaches '... orbits on ...': one clockwise round about the middle of the picture.",
        words={"motion": "orbits"},
        num_ordinary_clips=128,
        seed=33,
    ),
)


def lora_examples(kind: LoraKind, parts: World, ordinary: Examples) -> Examples:
    """Draw and encode what a LoRA is shown, with some of the base model's own clips if the kind asks for them."""
    scenes = training_scenes(np.random.default_rng(kind.seed), kind.num_clips, **kind.words)
    shown = encode_scenes(parts, scenes, kind.name)
    count = kind.num_ordinary_clips
    return shown + Examples(ordinary.latents[:count], ordinary.text[:count]) if count else shown


def train_lora_pair(kind: LoraKind, pair: ExpertPair, examples: Examples, empty_text: Tensor) -> LoraPair:
    """Train one LoRA on each frozen expert, between the noise levels that the expert is responsible for."""
    config = FlowConfig(
        num_steps=kind.num_steps,
        matrix_rate=kind.matrix_rate,
        empty_caption_share=kind.empty_caption_share,
        average_decay=0.95,
        warmup_steps=15,
        seed=kind.seed,
    )
    sides = {
        "high_noise": (pair.high_noise, replace(config, lowest_sigma=BOUNDARY_SIGMA)),
        "low_noise": (pair.low_noise, replace(config, highest_sigma=BOUNDARY_SIGMA)),
    }
    trained = {}
    for side, (expert, side_config) in sides.items():
        network = with_new_lora(expert, kind.seed)
        train_flow(network, side_config, examples, empty_text, f"{kind.name} {side}")
        trained[side] = lora_tensors(network)
    return LoraPair(**trained)


def with_new_lora(expert: WanTransformer3DModel, seed: int) -> WanTransformer3DModel:
    """Copy an expert and give the copy an untrained LoRA, whose weights alone require gradients."""
    torch.manual_seed(seed)
    network = copy.deepcopy(expert)
    network.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=LORA_TARGETS), "trained")
    return network


def lora_tensors(network: WanTransformer3DModel) -> LoraTensors:
    """Take the LoRA's tensors out of a network made by `with_new_lora`."""
    state = get_peft_model_state_dict(network, adapter_name="trained")
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def with_loras(pair: ExpertPair, loras: Mapping[str, LoraPair], strengths: Mapping[str, float]) -> ExpertPair:
    """Copy a pair of experts and attach LoRAs by name, each at its strength."""
    return ExpertPair(
        _attach(pair.high_noise, {name: lora.high_noise for name, lora in loras.items()}, strengths),
        _attach(pair.low_noise, {name: lora.low_noise for name, lora in loras.items()}, strengths),
    )


def _attach(
    expert: WanTransformer3DModel, loras: Mapping[str, LoraTensors], strengths: Mapping[str, float]
) -> WanTransformer3DModel:
    """Add each LoRA's product to the copied weights: exact, and as fast as the bare expert."""
    network = copy.deepcopy(expert)
    modules = dict(network.named_modules())
    for name, tensors in loras.items():
        for key, down in tensors.items():
            if key.endswith(".lora_A.weight"):
                target = key.removesuffix(".lora_A.weight")
                delta = tensors[f"{target}.lora_B.weight"].float() @ down.float()
                modules[target].weight.data.add_(delta, alpha=strengths[name])
    return network
