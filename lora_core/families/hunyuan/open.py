"""How a HunyuanVideo model is opened: from a diffusers folder or single files, with nothing ever fetched.

Dtype policy: the networks compute in `dtype`; unless given, in float32 on the CPU and in bfloat16 elsewhere.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from ...checkpoints.checkpoint import open_checkpoint
from ...checkpoints.residency import Offload, Residence, offline
from ...checks import typed
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from ..pieces.model import experts_by_name
from ..pieces.opening import fitting_vae, open_residence
from .model import HunyuanModel
from .sources import HunyuanSources, find_sources
from .text import TextEncoder, open_text_encoder
from .transformer import load_transformer, transformer_spec
from .vae import open_vae

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
    for argument, given in (("low_noise", low_noise), ("image_encoder", image_encoder)):
        if given is not None:
            what = said("is given as {argument}, and HunyuanVideo has none", argument=argument)
            raise ModelError(given, what, remedy="Leave it out")
    residence, dtype = open_residence(device, offload, dtype)
    with offline():
        sources = find_sources(source, text_encoder=text_encoder, tokenizer=tokenizer, vae=vae)
        model = _open(sources, residence, dtype)
    _log.info("opened %s from %s, %s", model.spec.name, source, model.dtype)
    return model


def _open(sources: HunyuanSources, residence: Residence, dtype: torch.dtype) -> HunyuanModel:
    checkpoint = open_checkpoint(sources.high)
    spec = transformer_spec(checkpoint)
    if sources.shift is not None:
        spec = dataclasses.replace(spec, default_shift=sources.shift)
    return HunyuanModel(
        spec=spec,
        experts=experts_by_name(
            residence.add(lambda: load_transformer(checkpoint, spec, dtype), grain="block_level"), None
        ),
        text=_text(sources, spec, residence, dtype),
        vae=None if sources.vae is None else fitting_vae(open_vae(sources.vae, residence), sources.vae, spec),
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
