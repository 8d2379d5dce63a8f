"""Where the files of the pocket model lie, the tiny Wan pair that `lora_core/pocket` draws, trains and ships."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["POCKET_LORAS", "PocketPaths", "pocket_lora", "pocket_paths"]

POCKET_LORAS = ("speed_6steps", "neon_style", "zibbo_character", "orbit_motion")
"""The shipped LoRA pairs, by name."""


@dataclass(frozen=True)
class PocketPaths:
    """Where the files of the pocket model are."""

    high_noise: Path
    low_noise: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    loras: Path
    quality: Path


def pocket_paths(assets: Path | None = None) -> PocketPaths:
    """Name the pocket model's files, the shipped ones or those of another assets folder; nothing is opened."""
    assets = assets or Path(__file__).parents[2] / "pocket" / "assets"
    return PocketPaths(
        high_noise=assets / "wan_pocket_high_noise.safetensors",
        low_noise=assets / "wan_pocket_low_noise.safetensors",
        vae=assets / "wan_pocket_vae.safetensors",
        text_encoder=assets / "umt5_pocket.safetensors",
        tokenizer=assets / "tokenizer.json",
        loras=assets / "loras",
        quality=assets / "quality.json",
    )


def pocket_lora(name: str, expert: Literal["high_noise", "low_noise"]) -> Path:
    """Name the file of a shipped LoRA (one of `POCKET_LORAS`) for one expert."""
    return pocket_paths().loras / f"{name}_{expert}.safetensors"
