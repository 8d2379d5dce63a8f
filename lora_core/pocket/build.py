"""The build of the pocket world: `python -m lora_core.pocket.build` makes every asset from nothing, stage by stage.

The models and LoRAs are made by the trainer that everybody uses, from clips drawn to files; only the VAE has a training
of its own. What a stage leaves in the work folder is used by the next ones; a stage whose file is there is not run
again. It needs torch 2.9, the first with the Muon that it trains with; nothing else in the package does.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from ..experts import EXPERTS, Expert
from ..families.wan.pocket import POCKET_LORAS, PocketPaths, pocket_lora, pocket_paths
from .bars import shown_progress
from .clips import draw_clips, numbered
from .experts import SMALL, build_expert, with_image_channels
from .export import ship_expert, ship_lora, write_expert, write_text, write_vae
from .preview_colours import NUM_CLIPS, fit_colours
from .quality import QualityConfig, format_table, measure_quality
from .recipes import ABOUT, CLIPS, TRAININGS, Shown, Training, quick
from .scenes import training_scenes
from .text import build_text_encoder, build_tokenizer
from .train_vae import Phase, VaeConfig, refine_decoder, train_vae
from .train_vae import draw_clips as draw_vae_clips
from .trainings import open_model, run_training


def again(num_steps: int = 150) -> VaeConfig:
    """Say how the decoder is trained on once more: the same way, on other clips, for a part of the steps."""
    config = VaeConfig(seed=77, warmup_steps=10)
    return replace(config, decoder_phase=replace(config.decoder_phase, num_steps=num_steps))


@dataclass(frozen=True)
class BuildConfig:
    """Everything that decides what the assets become."""

    vae: VaeConfig = field(default_factory=VaeConfig)
    vae_again: VaeConfig = field(default_factory=again)
    clips: Mapping[str, Shown] = field(default_factory=lambda: CLIPS)
    trainings: tuple[Training, ...] = TRAININGS
    quality: QualityConfig = field(default_factory=QualityConfig)
    text_seed: int = 7


def quick_config() -> BuildConfig:
    """Give a configuration that runs every stage in a minute and makes models good for nothing."""
    return BuildConfig(
        vae=VaeConfig(num_clips=4, phases=(Phase(1, 32, 2, 2), Phase(5, 32, 1, 1)), decoder_phase=Phase(5, 32, 1, 1)),
        vae_again=replace(again(1), num_clips=4),
        clips={name: replace(shown, num_clips=3, num_ordinary=0) for name, shown in CLIPS.items()},
        trainings=tuple(quick(training) for training in TRAININGS),
        quality=QualityConfig(base_steps=2, num_clips=2, num_lora_clips=2, num_vae_clips=2),
    )


@dataclass(frozen=True)
class Workshop:
    """The work folder and the configuration; what earlier stages have left."""

    folder: Path
    config: BuildConfig

    def file(self, name: str) -> Path:
        """Name a file of the work folder."""
        return self.folder / f"{name}.safetensors"

    @cached_property
    def vae(self) -> AutoencoderKLWan:
        """Read the trained VAE."""
        vae = AutoencoderKLWan(base_dim=self.config.vae.base_dim)
        refined = self.file("vae_refined")
        vae.load_state_dict(load_file(refined if refined.exists() else self.file("vae")))
        return vae.eval().requires_grad_(False)

    def assets(self, model: str = "pocket") -> PocketPaths:
        """Name the assets that the build makes."""
        return pocket_paths(self.folder / "assets", model)

    def lora(self, name: str, expert: Expert | None = None) -> Path:
        """Name an asset: a LoRA for an expert, or for the first it has a file for."""
        return pocket_lora(name, expert, self.folder / "assets")

    def trained(self, name: str, expert: str = "") -> Path:
        """Name the file that a training leaves."""
        return self.folder / "runs" / name / f"{name}{expert and '_'}{expert}.safetensors"

    def keys(self, high: Path, low: Path | None = None) -> dict[str, str]:
        """Return the trainer's keys for a model of one expert or two, beside the common pieces."""
        common = self.assets()
        keys = {"model": high, "low_noise": low, "text_encoder": common.text_encoder, "tokenizer": common.tokenizer}
        return {key: str(path) for key, path in {**keys, "vae": common.vae}.items() if path is not None}


# ---------------------------------------------------------------- what a training starts from


def _pair_of(shop: Workshop, name: str, networks: Mapping[str, Callable[[], torch.nn.Module]]) -> dict[str, str]:
    """Write the experts that a training starts from, unless they are there, and return the trainer's keys for them."""
    files = {expert: shop.folder / "start" / f"{name}_{expert}.safetensors" for expert in networks}
    for expert, file in files.items():
        if not file.exists():
            write_expert(networks[expert](), file)
    return shop.keys(*files.values())


def _split(shop: Workshop, trunk: str) -> dict[str, str]:
    """Begin both experts with the weights of one network trained on every noise level."""
    opened = open_model(shop.keys(shop.trained(trunk)))
    return _pair_of(shop, trunk, dict.fromkeys(EXPERTS, lambda: opened.expert("low_noise")))


def _base(shop: Workshop) -> dict[str, str]:
    return shop.keys(shop.trained("base_high", "high_noise"), shop.trained("base_low", "low_noise"))


def _widened(shop: Workshop) -> dict[str, str]:
    """Begin the image pair with the base, which does not look at pictures yet."""
    base = open_model(_base(shop))
    return _pair_of(
        shop,
        "picture",
        {
            expert: partial(lambda e: with_image_channels(cast(WanTransformer3DModel, base.expert(e))), expert)
            for expert in EXPERTS
        },
    )


STARTS: Mapping[str, Callable[[Workshop], dict[str, str]]] = {
    "untrained": lambda shop: _pair_of(shop, "untrained", {"alone": build_expert}),
    "trunk": lambda shop: _split(shop, "trunk"),
    "base": _base,
    "picture_untrained": _widened,
    "small_untrained": lambda shop: _pair_of(shop, "small_untrained", {"alone": partial(build_expert, SMALL)}),
    "small_trunk": lambda shop: _split(shop, "small_trunk"),
}


# ---------------------------------------------------------------- the stages


def build_vae(shop: Workshop) -> None:
    """Train the VAE."""
    save_file(_contiguous(train_vae(shop.config.vae)), shop.file("vae"))


def build_decoder(shop: Workshop) -> None:
    """Train the VAE's decoder on, once the latents are fixed, and again; the mean of both is better than either."""
    once = {name: tensor.clone() for name, tensor in refine_decoder(shop.vae, shop.config.vae).state_dict().items()}
    twice = refine_decoder(shop.vae, shop.config.vae_again)
    mean = {name: ((once[name] + tensor) / 2).contiguous() for name, tensor in twice.state_dict().items()}
    save_file(mean, shop.file("vae_refined"))


def build_parts(shop: Workshop) -> None:
    """Write the VAE, and make the tokenizer and the text encoder, which need no training."""
    paths = shop.assets()
    clips = draw_vae_clips(np.random.default_rng(shop.config.vae.seed), min(NUM_CLIPS, shop.config.vae.num_clips))
    write_vae(shop.vae, paths.vae, fit_colours(shop.vae, clips))
    write_text(build_tokenizer(), build_text_encoder(shop.config.text_seed), (paths.text_encoder, paths.tokenizer))


def build_training(shop: Workshop, training: Training) -> None:
    """Draw what a training is shown, and train."""
    shown, folder = shop.config.clips[training.clips], shop.folder / "clips" / training.clips
    scenes = training_scenes(shown.seed, shown.num_clips, **shown.words)
    scenes += training_scenes(shown.seed + 1000, shown.num_ordinary)
    with shown_progress() as progress:
        draw_clips(numbered(scenes), folder, progress)
        out = shop.folder / "runs" / training.name
        run_training(training, STARTS[training.model](shop), folder, out, progress)


def build_assets(shop: Workshop) -> None:
    """Write the experts and LoRAs in the precision they are shipped in."""
    for model, trainings in SHIPPED.items():
        for name, expert in zip(trainings, EXPERTS, strict=True):
            ship_expert(shop.trained(name, expert), getattr(shop.assets(model), expert))
    for name, experts in POCKET_LORAS.items():
        for expert in experts:
            ship_lora(shop.trained(name, expert), shop.lora(name, expert), lora_metadata(name, shop.config))


#: The embedded models -> the trainings that made their high-noise and low-noise experts.
SHIPPED: Mapping[str, tuple[str, str]] = {
    "pocket": ("base_high", "base_low"),
    "pocket-i2v": ("picture", "picture"),
    "pocket-small": ("small", "small"),
}


def build_quality(shop: Workshop) -> None:
    """Measure the assets and print the table."""
    loras = {name: shop.lora(name) for name in POCKET_LORAS}
    pair, picture = (shop.assets(model) for model in ("pocket", "pocket-i2v"))
    base, image = (open_model(shop.keys(paths.high_noise, paths.low_noise)) for paths in (pair, picture))
    report = measure_quality(base, image, loras, shop.config.quality)
    shop.assets().quality.write_text(json.dumps(report.as_data(), indent=1) + "\n")
    print(format_table(report))


def lora_metadata(name: str, config: BuildConfig) -> dict[str, str]:
    """Say in a LoRA file's metadata what it is for and how it was made."""
    told, training = ABOUT[name], next(one for one in config.trainings if one.name == name)
    shown = config.clips[training.clips]
    metadata = {
        "base_model": "wan-pocket",
        "name": name,
        "kind": told.kind,
        "about": told.about,
        "num_training_steps": str(training.keys["steps"]),
        "num_training_clips": str(shown.num_clips + shown.num_ordinary),
    }
    return metadata | ({"trigger_words": ", ".join(told.trigger_words)} if told.trigger_words else {})


@dataclass(frozen=True)
class Stage:
    """A verb and the file whose presence says that it is done."""

    run: Callable[[Workshop], None]
    leaves: str


def stages_of(config: BuildConfig) -> dict[str, Stage]:
    """Return the stages in their order, by name."""
    return {
        "vae": Stage(build_vae, "vae.safetensors"),
        "decoder": Stage(build_decoder, "vae_refined.safetensors"),
        "parts": Stage(build_parts, "assets/tokenizer.json"),
        **{
            training.name: Stage(partial(build_training, training=training), f"runs/{training.name}/result.json")
            for training in config.trainings
        },
        "assets": Stage(build_assets, f"assets/loras/{[*POCKET_LORAS][-1]}_low_noise.safetensors"),
        "quality": Stage(build_quality, "assets/quality.json"),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that have not been run yet, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m lora_core.pocket.build", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("pocket_work"), help="folder for what the stages leave")
    parser.add_argument("--only", nargs="+", help="run these stages, whether or not they have been run")
    parser.add_argument("--threads", type=int, default=2, help="threads to compute on; another number rounds otherwise")
    parser.add_argument("--quick", action="store_true", help="tiny step counts, to see that every stage runs")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    shop = Workshop(options.work, quick_config() if options.quick else BuildConfig())
    stages = stages_of(shop.config)
    if unknown := set(options.only or ()) - set(stages):
        parser.error(f"no such stage: {', '.join(unknown)}; there are {', '.join(stages)}")
    (options.work / "config.json").write_text(json.dumps(asdict(shop.config), indent=1) + "\n")
    with _training_numerics(options.threads):
        for name, stage in stages.items():
            if name in options.only if options.only else not (options.work / stage.leaves).exists():
                print(f"{name} …", flush=True)
                stage.run(shop)


@contextmanager
def _training_numerics(num_threads: int) -> Iterator[None]:
    """Compute on so many threads, so that sums come out alike on every machine, and without slow subnormal numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def _contiguous(vae: AutoencoderKLWan) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in vae.state_dict().items()}


if __name__ == "__main__":
    main()
