"""Where the files of the pocket models lie, the tiny Wans that `lora_core/pocket` draws, trains and ships."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...experts import EXPERTS, Expert
from ..pieces.pocket import ASSETS, pocket_pieces

__all__ = ["POCKET", "POCKET_LORAS", "POCKET_MODELS", "PocketPaths", "pocket_lora", "pocket_paths"]

POCKET = "pocket"
POCKET_MODELS: Mapping[str, str] = {
    POCKET: "wan_pocket",
    "pocket-i2v": "wan_pocket_i2v",
    "pocket-small": "wan_pocket_small",
}
"""What to say instead of a path for a model that comes with the package -> how its files begin."""

POCKET_LORAS: Mapping[str, tuple[Expert, ...]] = {
    "speed_6steps": EXPERTS,
    "neon_style": EXPERTS,
    "zibbo_character": EXPERTS,
    "orbit_motion": EXPERTS,
    "sharp_quality": ("low_noise",),
    "longer": EXPERTS,
}
"""The shipped LoRAs by name, and the experts that each has a file for."""


@dataclass(frozen=True)
class PocketPaths:
    """Where the files of a pocket model are; all but the experts are the same for every one."""

    high_noise: Path
    low_noise: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    loras: Path
    quality: Path


def pocket_paths(assets: Path | None = None, model: str = POCKET) -> PocketPaths:
    """Name a pocket model's files, the shipped ones or those of another assets folder; nothing is opened."""
    assets = assets or ASSETS
    pieces = pocket_pieces(assets)
    return PocketPaths(
        high_noise=assets / f"{POCKET_MODELS[model]}_high_noise.safetensors",
        low_noise=assets / f"{POCKET_MODELS[model]}_low_noise.safetensors",
        vae=pieces.vae,
        text_encoder=pieces.text_encoder,
        tokenizer=pieces.tokenizer,
        loras=assets / "loras",
        quality=assets / "quality.json",
    )


def pocket_lora(name: str, expert: Expert | None = None, assets: Path | None = None) -> Path:
    """Name the file of a shipped LoRA (one of `POCKET_LORAS`) for an expert, or for the first that it has one for."""
    return pocket_paths(assets).loras / f"{name}_{expert or POCKET_LORAS[name][0]}.safetensors"
