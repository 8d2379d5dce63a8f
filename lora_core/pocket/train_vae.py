"""Training of the pocket VAE: a small `AutoencoderKLWan` that knows every kind of clip of the pocket world.

It starts on single cropped frames and ends on whole clips; a VAE decodes no more frames well than it was trained on.
Letters: B batch, C latent channels, T frames, F latent frames. Everything is float32.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, WanCausalConv3d
from torch import Tensor, nn
from torch.nn import functional

from ..families.pieces.latents import LATENT_MEAN, LATENT_STD
from . import world
from .bars import progress_bar
from .dense_vae import decode_latents, encode_clip
from .experts import LATENT_SHAPE
from .muon import matrix_muon


@dataclass(frozen=True)
class Phase:
    """One part of the training: how much of a clip is seen at a time, and for how many steps."""

    num_frames: int
    crop_px: int
    batch_size: int
    num_steps: int


@dataclass(frozen=True)
class VaeConfig:
    """What is trained, and how."""

    seed: int = 11
    base_dim: int = 16
    num_clips: int = 3000
    kernel_rate: float = 0.03
    other_rate: float = 2e-3
    warmup_steps: int = 30
    latent_noise: float = 0.07
    latent_weight: float = 1e-4
    edge_weight: float = 0.3
    phases: tuple[Phase, ...] = (
        Phase(num_frames=1, crop_px=32, batch_size=16, num_steps=1500),
        Phase(num_frames=5, crop_px=32, batch_size=8, num_steps=800),
        Phase(num_frames=17, crop_px=32, batch_size=4, num_steps=900),
    )
    cosine_steps: int = 3300
    decoder_phase: Phase = Phase(num_frames=17, crop_px=64, batch_size=2, num_steps=350)
    decoder_rate: float = 0.3


def train_vae(config: VaeConfig) -> AutoencoderKLWan:
    """Train from nothing; return the VAE with latents scaled to the mean and deviation Wan's own constants promise."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    vae = AutoencoderKLWan(base_dim=config.base_dim)
    start_frame_by_frame(vae)
    optimizers = build_optimizers(vae, config)
    clips = draw_clips(rng, config.num_clips)
    phase_of_step = [phase for phase in config.phases for _ in range(phase.num_steps)]
    with progress_bar(len(phase_of_step), "vae") as advance:
        for step, phase in enumerate(phase_of_step):
            loss, psnr_db = _loss(vae, _random_batch(clips, phase, rng), config)
            update(optimizers, loss, warmup_then_cosine(step, config.warmup_steps, config.cosine_steps))
            advance(f"loss {loss.item():.4f}, {psnr_db:.1f} dB")
    absorb_wan_statistics(vae, clips[:256], config.latent_noise)
    return vae.eval()


def refine_decoder(vae: AutoencoderKLWan, config: VaeConfig) -> AutoencoderKLWan:
    """Train the decoder further on whole clips; latents, and every expert trained on them, stay what they are."""
    torch.manual_seed(config.seed + 1)
    rng = np.random.default_rng(config.seed + 1)
    phase = config.decoder_phase
    clips = draw_clips(rng, config.num_clips)
    vae.requires_grad_(False)
    vae.decoder.requires_grad_(True)
    optimizers = build_optimizers(vae, config)
    with progress_bar(phase.num_steps, "vae decoder") as advance:
        for step in range(phase.num_steps):
            batch = _random_batch(clips, phase, rng)
            with torch.no_grad():
                latents, log_variance = encode_clip(vae, batch)
                latents = latents + torch.exp(0.5 * log_variance) * torch.randn_like(latents)
            loss, psnr_db = reconstruction_loss(decode_latents(vae, latents), batch, config.edge_weight)
            rate = config.decoder_rate * warmup_then_cosine(step, config.warmup_steps, phase.num_steps)
            update(optimizers, loss, rate)
            advance(f"{psnr_db:.1f} dB")
    return vae.eval()


@torch.no_grad()
def start_frame_by_frame(vae: AutoencoderKLWan) -> None:
    """Make the untrained VAE treat every frame alone, so that what it learns on single frames holds on clips."""
    for name, module in vae.named_modules():
        if not isinstance(module, WanCausalConv3d) or module.weight.shape[2] == 1:
            continue
        module.weight[:, :, :-1] = 0.0
        if name.endswith("time_conv"):
            rows, columns = module.weight.shape[:2]
            module.weight[:, :, -1, 0, 0] = torch.eye(columns).repeat(rows // columns, 1)
            _bias(module).zero_()


def build_optimizers(vae: AutoencoderKLWan, config: VaeConfig) -> list[torch.optim.Optimizer]:
    """Give Muon the inner kernels and Adam everything else; each group remembers its peak rate."""
    trained = [(name, weight) for name, weight in vae.named_parameters() if weight.requires_grad]
    inner = [weight for name, weight in trained if _is_inner_kernel(name, weight)]
    chosen = {id(weight) for weight in inner}
    others = [weight for _, weight in trained if id(weight) not in chosen]
    optimizers = [
        matrix_muon(inner, config.kernel_rate),
        torch.optim.Adam(others, config.other_rate, betas=(0.9, 0.98)),
    ]
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["peak_lr"] = group["lr"]
    return optimizers


def _is_inner_kernel(name: str, weight: Tensor) -> bool:
    return weight.ndim >= 4 and "gamma" not in name and name.split(".")[1] not in ("conv_in", "conv_out")


def update(optimizers: list[torch.optim.Optimizer], loss: Tensor, rate: float) -> None:
    """Make one step at `rate` times each group's peak rate."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["peak_lr"]
        optimizer.step()


def draw_clips(rng: np.random.Generator, num_clips: int) -> np.ndarray:
    """Draw clips of every kind, also those only LoRAs will know; uint8 (clips, T, H, W, 3)."""
    clips = np.empty((num_clips, world.NUM_FRAMES, world.SIZE_PX, world.SIZE_PX, 3), np.uint8)
    for clip in clips:
        clip[:] = np.round((world.draw(world.random_scene_of_any_kind(rng)) + 1.0) * 127.5)
    return clips


def to_batch(clips: np.ndarray) -> Tensor:
    """Turn uint8 (B, T, H, W, 3) into float32 (B, 3, T, H, W) in [-1, 1]."""
    batch = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0
    return batch.contiguous(memory_format=torch.channels_last_3d)


def warmup_then_cosine(step: int, warmup_steps: int, total_steps: int, floor: float = 0.03) -> float:
    """Give the learning-rate factor of one step: linear warm-up, then a cosine down to `floor`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def absorb_wan_statistics(vae: AutoencoderKLWan, clips: np.ndarray, latent_noise: float) -> None:
    """Rescale the latents in the two 1x1x1 convolutions, so that Wan's unchanged constants normalise them.

    With a = std_wan / std and b = mean_wan - a * mean per channel, the encoder's last convolution learns z -> a z + b
    and the decoder's first one its inverse; what is decoded stays the same. The posterior's deviation becomes the
    noise that the decoder was trained to bear.
    """
    num_channels = LATENT_SHAPE[0]
    means = torch.cat([encode_clip(vae, to_batch(part))[0] for part in np.array_split(clips, max(1, len(clips) // 8))])
    mean_C, std_C = means.mean(dim=(0, 2, 3, 4)), means.std(dim=(0, 2, 3, 4))
    scale_C = torch.tensor(LATENT_STD[num_channels]) / std_C
    shift_C = torch.tensor(LATENT_MEAN[num_channels]) - scale_C * mean_C
    vae.quant_conv.weight[:num_channels].mul_(scale_C.view(-1, 1, 1, 1, 1))
    _bias(vae.quant_conv)[:num_channels].mul_(scale_C).add_(shift_C)
    vae.quant_conv.weight[num_channels:].zero_()
    _bias(vae.quant_conv)[num_channels:] = 2.0 * (latent_noise * scale_C).log()
    vae.post_quant_conv.weight.div_(scale_C.view(1, -1, 1, 1, 1))
    _bias(vae.post_quant_conv).sub_(vae.post_quant_conv.weight[..., 0, 0, 0] @ shift_C)


def _bias(convolution: nn.Conv3d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _random_batch(clips: np.ndarray, phase: Phase, rng: np.random.Generator) -> Tensor:
    picked = rng.integers(len(clips), size=phase.batch_size)
    return to_batch(np.stack([_crop(clips[index], phase, rng) for index in picked]))


def _crop(clip: np.ndarray, phase: Phase, rng: np.random.Generator) -> np.ndarray:
    start = rng.integers(world.NUM_FRAMES - phase.num_frames + 1)
    y, x = rng.integers(world.SIZE_PX - phase.crop_px + 1, size=2)
    return clip[start : start + phase.num_frames, y : y + phase.crop_px, x : x + phase.crop_px]


def _loss(vae: AutoencoderKLWan, batch: Tensor, config: VaeConfig) -> tuple[Tensor, float]:
    latents, _ = encode_clip(vae, batch)
    decoded = decode_latents(vae, latents + config.latent_noise * torch.randn_like(latents))
    loss, psnr_db = reconstruction_loss(decoded, batch, config.edge_weight)
    return loss + config.latent_weight * latents.square().mean(), psnr_db


def reconstruction_loss(decoded: Tensor, clip: Tensor, edge_weight: float) -> tuple[Tensor, float]:
    """Compare two clips (B, 3, T, H, W) in pixels and in their slopes; returns the loss and the PSNR in dB."""
    squared = functional.mse_loss(decoded, clip)
    edges = sum((decoded.diff(dim=axis) - clip.diff(dim=axis)).abs().mean() for axis in (3, 4))
    loss = squared + (decoded - clip).abs().mean() + edge_weight * edges
    return loss, 10.0 * math.log10(4.0 / squared.item())
