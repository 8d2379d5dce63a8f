"""The build of the pocket world: `python -m lora_core.pocket.build` makes every asset from nothing, stage by stage.

What a stage leaves in the work folder is used by the next ones; a stage whose file is there is not run again.
The stages that train need torch 2.9, the first with the Muon they train with; nothing else in the package does.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from ..experts import EXPERTS
from ..families.wan.pocket import POCKET_LORAS, pocket_paths
from .experts import build_expert, fold_padding
from .export import write_expert, write_lora_file, write_text, write_vae
from .flow import ExpertPair
from .latents import Examples, World, encode_scenes, training_scenes
from .quality import QualityConfig, format_table, measure_quality
from .text import build_text_encoder, build_tokenizer
from .train_experts import ExpertsConfig, FlowConfig, split_trunk, train_trunk
from .train_loras import LORA_KINDS, LoraKind, LoraPair, lora_examples, train_lora_pair
from .train_speed import SPEED, SpeedConfig, record_teacher, train_speed_pair
from .train_vae import Phase, VaeConfig, refine_decoder, train_vae


@dataclass(frozen=True)
class BuildConfig:
    """Everything that decides what the assets become."""

    vae: VaeConfig = field(default_factory=VaeConfig)
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    loras: tuple[LoraKind, ...] = LORA_KINDS
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    text_seed: int = 7


def quick_config() -> BuildConfig:
    """Give a configuration that runs every stage in a minute and makes models good for nothing."""
    flow = FlowConfig(num_steps=2, learning_rate=1e-3, batch_size=4)
    return BuildConfig(
        vae=VaeConfig(num_clips=4, phases=(Phase(1, 32, 2, 2), Phase(5, 32, 1, 1)), decoder_phase=Phase(5, 32, 1, 1)),
        experts=ExpertsConfig(num_clips=4, trunk=flow, high_noise=flow, low_noise=flow),
        loras=tuple(
            replace(kind, num_clips=2, num_ordinary_clips=min(1, kind.num_ordinary_clips), num_steps=1)
            for kind in LORA_KINDS
        ),
        speed=SpeedConfig(teacher_steps=6, num_clips=2, num_updates=1, batch_size=2),
        quality=QualityConfig(base_steps=2, num_clips=2, num_lora_clips=2, num_vae_clips=4),
    )


@dataclass(frozen=True)
class Workshop:
    """The work folder and the configuration; its properties read what earlier stages have left."""

    folder: Path
    config: BuildConfig

    def file(self, name: str) -> Path:
        """Name a file of the work folder."""
        return self.folder / f"{name}.safetensors"

    @cached_property
    def world(self) -> World:
        """Read the trained VAE; make the tokenizer and the text encoder, which need no training."""
        vae = AutoencoderKLWan(base_dim=self.config.vae.base_dim)
        refined = self.file("vae_refined")
        vae.load_state_dict(load_file(refined if refined.exists() else self.file("vae")))
        text_encoder = build_text_encoder(self.config.text_seed)
        return World(vae.eval().requires_grad_(False), build_tokenizer(), text_encoder)

    @cached_property
    def examples(self) -> Examples:
        """Read the base model's clips."""
        return Examples(**load_file(self.file("latents")))

    @cached_property
    def pair(self) -> ExpertPair:
        """Read both experts."""
        return ExpertPair(self.expert("high_noise"), self.expert("low_noise"))

    def expert(self, name: str) -> WanTransformer3DModel:
        """Read one network: "trunk", "high_noise" or "low_noise"."""
        network = fold_padding(build_expert())
        network.load_state_dict(load_file(self.file(name)))
        return network

    def lora(self, name: str) -> LoraPair:
        """Read one LoRA pair."""
        return LoraPair(*(load_file(self.file(f"{name}_{side}")) for side in ("high_noise", "low_noise")))

    def save_lora(self, name: str, pair: LoraPair) -> None:
        """Keep one LoRA pair."""
        save_file(pair.high_noise, self.file(f"{name}_high_noise"))
        save_file(pair.low_noise, self.file(f"{name}_low_noise"))


def build_vae(shop: Workshop) -> None:
    """Train the VAE."""
    save_file(_contiguous(train_vae(shop.config.vae)), shop.file("vae"))


def build_decoder(shop: Workshop) -> None:
    """Train the VAE's decoder on, once the latents are fixed."""
    vae = refine_decoder(shop.world.vae, shop.config.vae)
    save_file(_contiguous(vae), shop.file("vae_refined"))


def build_latents(shop: Workshop) -> None:
    """Draw and encode the clips that the experts are trained on."""
    config = shop.config.experts
    scenes = training_scenes(np.random.default_rng(config.seed), config.num_clips)
    examples = encode_scenes(shop.world, scenes, "clips")
    save_file({"latents": examples.latents.contiguous(), "text": examples.text}, shop.file("latents"))


def build_trunk(shop: Workshop) -> None:
    """Train one network on every noise level."""
    trunk = train_trunk(shop.config.experts, shop.examples, shop.world.embed([""]))
    save_file(trunk.state_dict(), shop.file("trunk"))


def build_experts(shop: Workshop) -> None:
    """Train a copy of the trunk on each side of the boundary."""
    pair = split_trunk(shop.expert("trunk"), shop.config.experts, shop.examples, shop.world.embed([""]))
    save_file(pair.low_noise.state_dict(), shop.file("low_noise"))
    save_file(pair.high_noise.state_dict(), shop.file("high_noise"))


def build_loras(shop: Workshop) -> None:
    """Train the style, the character and the motion."""
    for kind in shop.config.loras:
        if not shop.file(f"{kind.name}_low_noise").exists():
            examples = lora_examples(kind, shop.world, shop.examples)
            shop.save_lora(kind.name, train_lora_pair(kind, shop.pair, examples, shop.world.embed([""])))


def build_speed(shop: Workshop) -> None:
    """Distil the speed LoRA from the base pair."""
    teacher = record_teacher(shop.config.speed, shop.pair, shop.world)
    shop.save_lora(SPEED, train_speed_pair(shop.config.speed, shop.pair, teacher))


def build_quality(shop: Workshop) -> None:
    """Measure everything and print the table."""
    report = measure_quality(
        shop.world, shop.pair, {name: shop.lora(name) for name in POCKET_LORAS}, shop.config.quality
    )
    (shop.folder / "quality.json").write_text(json.dumps(report.as_data(), indent=1) + "\n")
    print(format_table(report))


def build_assets(shop: Workshop) -> None:
    """Write the assets in the naming and precision they are shipped in."""
    paths = pocket_paths(shop.folder / "assets")
    write_expert(shop.pair.high_noise, paths.high_noise)
    write_expert(shop.pair.low_noise, paths.low_noise)
    write_vae(shop.world.vae, paths.vae)
    write_text(shop.world.tokenizer, shop.world.text_encoder, (paths.text_encoder, paths.tokenizer))
    for name in POCKET_LORAS:
        pair = shop.lora(name)
        metadata = lora_metadata(name, shop.config)
        for expert in EXPERTS:
            write_lora_file(getattr(pair, expert), paths.loras / f"{name}_{expert}.safetensors", expert, metadata)
    paths.quality.write_text((shop.folder / "quality.json").read_text())


def lora_metadata(name: str, config: BuildConfig) -> dict[str, str]:
    """Say in a LoRA file's metadata what it is for and how it was made."""
    common = {"base_model": "wan-pocket", "name": name}
    kind = next((kind for kind in config.loras if kind.name == name), None)
    if kind is None:
        return common | {
            "kind": "speed",
            "about": f"{config.speed.student_steps} steps at cfg 1 land where {config.speed.teacher_steps} steps "
            f"at cfg {config.speed.cfg:g} of the base do; shift 5, euler.",
            "num_training_steps": str(config.speed.num_updates),
        }
    return common | {
        "kind": kind.kind,
        "about": kind.about,
        "trigger_words": ", ".join(kind.trigger_words),
        "num_training_steps": str(kind.num_steps),
        "num_training_clips": str(kind.num_clips + kind.num_ordinary_clips),
    }


@dataclass(frozen=True)
class Stage:
    """A verb and the file whose presence says that it is done."""

    run: Callable[[Workshop], None]
    leaves: str


STAGES = {
    "vae": Stage(build_vae, "vae.safetensors"),
    "decoder": Stage(build_decoder, "vae_refined.safetensors"),
    "latents": Stage(build_latents, "latents.safetensors"),
    "trunk": Stage(build_trunk, "trunk.safetensors"),
    "experts": Stage(build_experts, "high_noise.safetensors"),
    "loras": Stage(build_loras, f"{LORA_KINDS[-1].name}_low_noise.safetensors"),
    "speed": Stage(build_speed, f"{SPEED}_low_noise.safetensors"),
    "quality": Stage(build_quality, "quality.json"),
    "assets": Stage(build_assets, "assets/quality.json"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that have not been run yet, or the one that is named."""
    parser = argparse.ArgumentParser(prog="python -m lora_core.pocket.build", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("pocket_work"), help="folder for what the stages leave")
    parser.add_argument("--only", choices=STAGES, help="run this stage, whether or not it has been run")
    parser.add_argument("--quick", action="store_true", help="tiny step counts, to see that every stage runs")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    shop = Workshop(options.work, quick_config() if options.quick else BuildConfig())
    (options.work / "config.json").write_text(json.dumps(asdict(shop.config), indent=1) + "\n")
    with _training_numerics():
        for name, stage in STAGES.items():
            if name == options.only or (options.only is None and not (options.work / stage.leaves).exists()):
                stage.run(shop)


@contextmanager
def _training_numerics() -> Iterator[None]:
    """Compute on two threads, so that sums come out alike on every machine, and without slow subnormal numbers."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(num_threads)


def _contiguous(vae: AutoencoderKLWan) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in vae.state_dict().items()}


if __name__ == "__main__":
    main()
