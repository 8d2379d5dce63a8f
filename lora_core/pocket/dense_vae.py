"""Whole-clip passes through `AutoencoderKLWan`: the same function as its frame-by-frame cache, in one go and unclamped.

diffusers' `encode` and `decode` walk over a clip four frames at a time and remember the last two frames of every
causal convolution. Zero-padded causal convolutions over the whole clip compute the same thing; only the two temporal
resamplers treat the first latent frame specially. Training needs this form because it is faster, and because `decode`
clamps to [-1, 1], which gives a saturated pixel no gradient. A single frame meets zeros at every earlier tap, so its
3-d convolutions shrink to 2-d ones with the last tap.

Letters: B batch, C latent channels, T frames, F latent frames with T = 4 F - 3. Tensors stay in the module's dtype.
"""

from collections.abc import Callable
from typing import cast

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import (
    AutoencoderKLWan,
    WanAttentionBlock,
    WanCausalConv3d,
    WanMidBlock,
    WanResample,
    WanResidualBlock,
)
from torch import Tensor, nn
from torch.nn import functional


def encode_clip(vae: AutoencoderKLWan, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Encode (B, 3, T, H, W) to the posterior's mean and log-variance, each (B, C, F, H/8, W/8)."""
    encoder = vae.encoder
    x = _convolve(encoder.conv_in, clip)
    for layer in encoder.down_blocks:
        x = _apply(layer, x)
    x = _apply(encoder.mid_block, x)
    x = _convolve(encoder.conv_out, functional.silu(encoder.norm_out(x)))
    mean, log_variance = _convolve(vae.quant_conv, x).chunk(2, dim=1)
    return mean, log_variance.clamp(-30.0, 20.0)


def decode_latents(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Decode (B, C, F, H/8, W/8) to (B, 3, T, H, W), not clamped to [-1, 1]."""
    decoder = vae.decoder
    x = _convolve(decoder.conv_in, _convolve(vae.post_quant_conv, latents))
    x = _apply(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for layer in (child for group in block.children() for child in cast(nn.ModuleList, group)):
            x = _apply(layer, x)
    return _convolve(decoder.conv_out, functional.silu(decoder.norm_out(x)))


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    return _LAYERS[type(layer)](layer, x)


def _convolve(layer: WanCausalConv3d, x: Tensor) -> Tensor:
    if x.shape[2] > 1:
        return layer(x)
    weight, padding = layer.weight[:, :, -1], layer.weight.shape[-1] // 2
    return functional.conv2d(x.squeeze(2), weight, layer.bias, padding=padding).unsqueeze(2)


def _residual(block: WanResidualBlock, x: Tensor) -> Tensor:
    h = _convolve(block.conv1, functional.silu(block.norm1(x)))
    h = _convolve(block.conv2, functional.silu(block.norm2(h)))
    shortcut = x if isinstance(block.conv_shortcut, nn.Identity) else _convolve(block.conv_shortcut, x)
    return h + shortcut


def _middle(block: WanMidBlock, x: Tensor) -> Tensor:
    first, last = block.resnets
    return _apply(last, _apply(block.attentions[0], _apply(first, x)))


def _resample(layer: WanResample, x: Tensor) -> Tensor:
    if layer.mode == "upsample3d" and x.shape[2] > 1:
        later = layer.time_conv(x[:, :, 1:])
        later = later.unflatten(1, (2, -1)).movedim(1, 3).flatten(2, 3)
        x = torch.cat([x[:, :, :1], later], dim=2)
    num_clips = x.shape[0]
    x = layer.resample(x.movedim(1, 2).flatten(0, 1)).unflatten(0, (num_clips, -1)).movedim(1, 2)
    if layer.mode == "downsample3d" and x.shape[2] > 1:
        x = torch.cat([x[:, :, :1], layer.time_conv(x)], dim=2)
    return x


_LAYERS: dict[type[nn.Module], Callable[..., Tensor]] = {
    WanResidualBlock: _residual,
    WanMidBlock: _middle,
    WanResample: _resample,
    WanAttentionBlock: WanAttentionBlock.__call__,
}
