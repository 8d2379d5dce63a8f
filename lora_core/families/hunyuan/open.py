"""How a HunyuanVideo model is opened: from a diffusers folder or single files, with nothing ever fetched.

Dtype policy: the networks compute in `dtype`; unless given, in float32 on the CPU and in bfloat16 elsewhere.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from ...checkpoints.checkpoint import open_checkpoint
from ...checkpoints.device import usable_device
from ...checkpoints.residency import OFFLOADS, Offload, Residence, offline
from ...checks import known, typed
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from .model import HunyuanModel
from .sources import HunyuanSources, find_sources
from .text import TextEncoder, open_text_encoder
from .transformer import load_transformer, transformer_spec
from .vae import Vae, open_vae

#: What the networks compute in; whole and 8-bit numbers are forms of storage.
_DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)

_log = logging.getLogger(__name__)


@typed(ModelError)
def open_hunyuan(
    source: str | Path,
    *,
    low_noise: str | Path | None = None,
    text_encoder: str | Path | None = None,
    tokenizer: str | Path | None = None,
    vae: str | Path | None = None,
    image_encoder: str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    offload: Offload = "none",
) -> HunyuanModel:
    """Open a HunyuanVideo text-to-video model; only headers are read now, each network when it is first used.

    Args:
        source: a diffusers folder, or the transformer as one file: safetensors in ComfyUI's, the authors' or diffusers'
            naming, any float or 8-bit.
        low_noise: refused, for no HunyuanVideo has a second expert.
        text_encoder: Llama as a single file or folder, with CLIP-L beside it (`clip_l*.safetensors`, or the folder
            `text_encoder_2`); or the folder that has both folders.
        tokenizer: the folder that has `tokenizer` and `tokenizer_2`, or one of the two; else looked for beside the text
            encoder.
        vae: a single file or folder.
        image_encoder: refused, for text to video looks at no picture.
        dtype: what transformer and text encoders compute in.
        device: where networks compute; "auto" is the GPU if there is one.
        offload: "none" keeps every network on the device once used; "experts" only the one in use; "blocks" of the
            transformer only a block at a time (on the CPU the same as "experts").
    """
    known(offload, OFFLOADS, "offload", ModelError)
    if dtype not in (None, *_DTYPES):
        names = ", ".join(map(str, _DTYPES))
        what = said("experts cannot compute in {dtype}", dtype=dtype)
        expected = said("one of {names}", names=names)
        raise ModelError("dtype", what, expected=expected, remedy="Choose one of them")
    for argument, given in (("low_noise", low_noise), ("image_encoder", image_encoder)):
        if given is not None:
            what = said("is given as {argument}, and HunyuanVideo has none", argument=argument)
            raise ModelError(given, what, remedy="Leave it out")
    residence = Residence(usable_device(device), offload)
    dtype = dtype or (torch.float32 if residence.device.type == "cpu" else torch.bfloat16)
    with offline():
        sources = find_sources(source, text_encoder=text_encoder, tokenizer=tokenizer, vae=vae)
        model = _open(sources, residence, dtype)
    _log.info("opened %s from %s, %s", model.spec.name, source, model.dtype)
    return model


def _open(sources: HunyuanSources, residence: Residence, dtype: torch.dtype) -> HunyuanModel:
    checkpoint = open_checkpoint(sources.transformer)
    spec = transformer_spec(checkpoint)
    if sources.shift is not None:
        spec = dataclasses.replace(spec, default_shift=sources.shift)
    return HunyuanModel(
        spec=spec,
        transformer=residence.add(lambda: load_transformer(checkpoint, spec, dtype), grain="block_level"),
        text=_text(sources, spec, residence, dtype),
        vae=_vae(sources, spec, residence),
        residence=residence,
        dtype=dtype,
        sources=sources,
    )


def _text(sources: HunyuanSources, spec: ModelSpec, residence: Residence, dtype: torch.dtype) -> TextEncoder | None:
    if sources.text_encoder is None or not sources.text_encoder.exists():
        return None
    text = open_text_encoder(sources, residence, dtype)
    wanted = spec.text_width, spec.shapes["vector_in.in_layer"][1]
    if (text.width, text.pooled_width) != wanted:
        what = said(
            "text encoders of width {width} and {pooled} for {spec}",
            width=text.width,
            pooled=text.pooled_width,
            spec=spec.title,
        )
        expected = said("{width} and {pooled}", width=wanted[0], pooled=wanted[1])
        raise ModelError(sources.text_encoder, what, expected=expected, remedy="Choose the ones of this model")
    return text


def _vae(sources: HunyuanSources, spec: ModelSpec, residence: Residence) -> Vae | None:
    if sources.vae is None:
        return None
    vae = open_vae(sources.vae, residence)
    if vae.num_channels != spec.latent_channels:
        what = said(
            "a VAE of {num_channels} latent channels for {spec}", num_channels=vae.num_channels, spec=spec.title
        )
        expected = said("{count} channels", count=spec.latent_channels)
        raise ModelError(sources.vae, what, expected=expected, remedy="Choose the VAE of this model")
    return vae
