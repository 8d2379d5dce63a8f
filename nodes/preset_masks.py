"""Masks that other nodes made, written beside the preset of the stack that they belong to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ..lora_core import LoraStack
from ..lora_core.stack.region import Region


def with_written_masks(stack: LoraStack, preset: Path) -> LoraStack:
    """Write every mask in memory beside a preset, in 8 bits; return the stack with their files in their places.

    A mask of one frame becomes a picture, one of several a lossless video.
    """
    for number, row in enumerate(stack, 1):
        if row.region is not None and row.region.pixels is not None:
            region = _written(row.region, preset.with_suffix(f".mask{number}"))
            stack = stack.replace(row.name, replace(row, region=region, mask_sha256=None))
    return stack


def _written(region: Region, stem: Path) -> Region:
    assert region.pixels is not None, "a mask in memory"
    grey = np.rint(region.pixels * 255).astype(np.uint8)
    frames = np.repeat(grey[..., None], 3, axis=-1)
    stem.parent.mkdir(parents=True, exist_ok=True)
    file = stem.with_name(f"{stem.name}.{'png' if len(frames) == 1 else 'mkv'}")
    from ..lora_core.media.video import save_video  # the host's start waits for no codecs

    if len(frames) == 1:
        Image.fromarray(grey[0]).save(file)
    else:
        save_video(frames, file)
    return Region(path=file, soft=region.soft, inverted=region.inverted)
