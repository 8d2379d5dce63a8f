"""The work folder of the pocket's build, what decides what the assets become, and where each of them lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from safetensors.torch import load_file

from ..experts import Expert
from ..families.wan.pocket import PocketPaths, pocket_lora, pocket_paths
from .language_model import LanguageModelConfig, quick_language_model
from .quality import QualityConfig
from .recipes import CLIPS, TRAININGS, Shown, Training, quick
from .train_vae import Phase, VaeConfig


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
    language_model: LanguageModelConfig = field(default_factory=LanguageModelConfig)


def quick_config() -> BuildConfig:
    """Give a configuration that runs every stage in a minute and makes models good for nothing."""
    return BuildConfig(
        vae=VaeConfig(num_clips=4, phases=(Phase(1, 32, 2, 2), Phase(5, 32, 1, 1)), decoder_phase=Phase(5, 32, 1, 1)),
        vae_again=replace(again(1), num_clips=4),
        clips={name: replace(shown, num_clips=3, num_ordinary=0) for name, shown in CLIPS.items()},
        trainings=tuple(quick(training) for training in TRAININGS),
        quality=QualityConfig(base_steps=4, num_clips=2, num_lora_clips=2, num_vae_clips=2, lengths=(33,)),
        language_model=quick_language_model(),
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
