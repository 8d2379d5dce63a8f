"""A cache of drawn clips for the pocket model, made without reading a single video file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from lora_core import open_wan
from lora_core.families.wan.model import WanModel
from lora_core.pocket import world
from lora_core.training.clips.cached import CachedClip, ClipCache


@cache
def pocket() -> WanModel:
    return open_wan("pocket")


def neon_clips(
    folder: Path, num_clips: int = 6, num_held_out: int = 2, num_frames: int = 17, **words: str | bool
) -> ClipCache:
    """Draw and encode clips in the neon style, which the base does not know."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    scenes = [world.random_scene(rng, **(words or {"neon": True})) for _ in range(num_clips)]
    clips = []
    for number, scene in enumerate(scenes):
        latents = _encoded(scene, num_frames)
        save_file({"latents": latents}, folder / f"{number}.safetensors")
        text = _write_text(world.caption(scene), folder / f"text_{number}.safetensors")
        shape: tuple[int, int, int, int] = tuple(latents.shape)  # type: ignore[assignment]
        name, held_out = f"clip_{number}", number >= num_clips - num_held_out
        file = folder / f"{number}.safetensors"
        clips.append(CachedClip(name, name, file, (text,), (world.caption(scene),), shape, num_frames, held_out))
    empty = _write_text("", folder / "text_empty.safetensors")
    return ClipCache(folder, tuple(clips), empty, f"neon {num_clips} {num_held_out}")


@cache
def _encoded(scene: world.Scene, num_frames: int) -> torch.Tensor:
    """Encode a clip, once for all tests: those of one kind begin with the same."""
    frames = torch.from_numpy(world.draw(scene, num_frames)).permute(3, 0, 1, 2)[None]
    return pocket().normalise(pocket().vae_encode(frames))[0].contiguous()


def _write_text(caption: str, file: Path) -> Path:
    text = pocket().encode_text(caption)[0]
    save_file({"text": text[: int(text.any(dim=1).sum())].contiguous()}, file)
    return file
