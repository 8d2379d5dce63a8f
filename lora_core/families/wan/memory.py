"""The memory a Wan model takes on the compute device, computed from its spec for each way of offloading.

Letters: L tokens, D width, F width inside a feed-forward, b bytes of the activations' dtype.
The formulas follow diffusers' modules operation by operation and were fitted to nothing; a test compares them with the
allocations that those modules make. Not in them: attention kernels' workspace, the allocator's fragments, LoRAs (their
own bytes, plus one layer's weight as scratch).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ...checkpoints.residency import Offload
from ..base import ModelSpec

#: UMT5-XXL, the text encoder of every published Wan: all parameters, and its largest layer, the embedding.
_TEXT_PARAMETERS, _TEXT_LARGEST = 5_680_910_336, 256_384 * 4096
#: Latent channels -> (parameters of the VAE, bytes per pixel of a frame at the decoder's peak in float32).
_VAES: Mapping[int, tuple[int, int]] = {16: (126_892_531, 18_500), 48: (704_688_668, 20_550)}
#: What diffusers keeps in float32: the time embedding, the modulation and the one norm with weights.
_WIDE_PARTS = ("time_embedding.", "modulation", "norm3")
_GIB = 2**30


@dataclass(frozen=True)
class PeakMemory:
    """The bytes on the compute device at the peak of each phase of making one video."""

    text_encoding: int
    sampling: int
    decoding: int

    @property
    def peak(self) -> int:
        """The largest of the phases."""
        return max(self.text_encoding, self.sampling, self.decoding)

    def __str__(self) -> str:
        phases = (self.text_encoding, self.sampling, self.decoding)
        return " / ".join(f"{num_bytes / _GIB:.1f}" for num_bytes in phases) + " GiB"


def computed_peak(
    spec: ModelSpec,
    offload: Offload,
    dtype: torch.dtype = torch.bfloat16,
    *,
    num_frames: int = 81,
    height: int = 480,
    width: int = 832,
    weight_bits: float | None = None,
) -> PeakMemory:
    """Compute the peak of text encoding, sampling (batch 1, cfg 1 or two passes in turn) and decoding.

    Args:
        spec: the model, its shapes known.
        offload: what stays on the device beside the network in use.
        dtype: of the experts and the text encoder.
        num_frames: of the video.
        height: of the video in pixels.
        width: of the video in pixels.
        weight_bits: bits per block weight where they are packed, such as 8 for fp8 or 4.5 for GGUF's Q4_K.
    """
    expert, block = _expert_bytes(spec, dtype, weight_bits)
    text, text_leaf = (n * dtype.itemsize for n in (_TEXT_PARAMETERS, _TEXT_LARGEST))
    vae = _VAES[spec.latent_channels][0] * torch.float32.itemsize
    activations = _activation_bytes(spec, dtype, num_frames, height, width)
    decoding = _decoding_bytes(spec, num_frames, height, width)
    if offload == "none":
        everything = text + spec.num_experts * expert + vae
        return PeakMemory(text, text + spec.num_experts * expert + activations, everything + decoding)
    if offload == "experts":
        return PeakMemory(text, expert + activations, vae + decoding)
    num_blocks = len({target.split(".")[1] for target in spec.shapes if target.startswith("blocks.")})
    # Beside the block that computes, the next one is on its way.
    return PeakMemory(text_leaf, expert - (num_blocks - 2) * block + activations, vae + decoding)


def _expert_bytes(spec: ModelSpec, dtype: torch.dtype, weight_bits: float | None) -> tuple[int, int]:
    """Return the bytes of one expert, and of one of its blocks."""
    expert = block = 0
    for target, shape in spec.shapes.items():
        in_block = target.startswith("blocks.")
        packed = weight_bits is not None and in_block and len(shape) == 2
        wide = any(part in target for part in _WIDE_PARTS)
        bits = weight_bits if packed and weight_bits else 8 * (4 if wide else dtype.itemsize)
        num_bytes = int(math.prod(shape) * bits / 8)
        expert += num_bytes
        block += num_bytes if target.startswith("blocks.0.") else 0
    return expert, block


def _activation_bytes(spec: ModelSpec, dtype: torch.dtype, num_frames: int, height: int, width: int) -> int:
    """Return what one forward holds at its peak, which lies in a block's modulation or in its feed-forward."""
    stride, patch = spec.vae_stride, spec.patch_size
    frames = (num_frames - 1) // stride[0] + 1
    tokens = frames // patch[0] * (height // stride[1] // patch[1]) * (width // stride[2] // patch[2])
    d, f = spec.shapes["blocks.0.ffn.0"][::-1]
    b = dtype.itemsize
    # Modulation: three activations, and in half precision four float32 temporaries of the residual stream.
    modulation = 3 * b * d + (16 if b < 4 else 12) * d
    # Feed-forward: stream, its norm, attention's output and one temporary; before and after the nonlinearity.
    feed_forward = b * (4 * d + 2 * f)
    rotary = 2 * 4 * 128
    return tokens * (max(modulation, feed_forward) + rotary)


def _decoding_bytes(spec: ModelSpec, num_frames: int, height: int, width: int) -> int:
    """Return what the decoder holds: its features for a few frames, and all finished frames twice (it joins them)."""
    finished = 2 * num_frames * 3 * torch.float32.itemsize
    return height * width * (_VAES[spec.latent_channels][1] + finished)
