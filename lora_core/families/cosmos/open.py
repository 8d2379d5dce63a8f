"""How a Cosmos model is opened: from the pocket, a diffusers folder or single files, with nothing ever fetched.

Dtype policy: the network computes in `dtype`; unless given, in float32 on the CPU and in bfloat16 elsewhere.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from ...checkpoints.checkpoint import open_checkpoint
from ...checkpoints.residency import Offload, Residence, offline
from ...checks import typed
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from ..pieces.model import PiecesModel, experts_by_name
from ..pieces.opening import fitting_text, open_fitting_vae, open_residence, written_config
from ..pieces.text import TextEncoder, as_it_is, open_text_encoder
from .config import transformer_config
from .sources import CosmosSources, find_sources
from .transformer import load_transformer, transformer_spec

_log = logging.getLogger(__name__)


@typed(ModelError)
def open_cosmos(
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
) -> PiecesModel:
    """Open a Cosmos Predict2 Video2World; only headers are read now, each network when it is first used.

    Args:
        source: "pocket-cosmos", a diffusers folder, or the transformer as one file: NVIDIA's `.pt`, or safetensors in
            native or diffusers naming, any float, 8-bit with or without scales.
        low_noise: what other families have; an error here.
        text_encoder: T5-11B as a single file or folder; like the next two it replaces what a folder has.
        tokenizer: `tokenizer.json`, `spiece.model` or a folder; a text encoder's file may carry its own.
        vae: the VAE of Wan 2.1, a single file or folder.
        image_encoder: what other families have; an error here.
        dtype: what the network computes in.
        device: where networks compute; "auto" is the GPU if there is one.
        offload: "none" keeps every network on the device once used; "experts" only the one in use; "blocks" of the
            transformer only a block at a time (on the CPU the same as "experts").
    """
    for name, piece in (("low_noise", low_noise), ("image_encoder", image_encoder)):
        if piece is not None:
            what = said("is given as {name}, and a Cosmos has none", name=name)
            raise ModelError(piece, what, remedy="Leave it out")
    residence, dtype = open_residence(device, offload, dtype)
    with offline():
        sources = find_sources(source, text_encoder=text_encoder, tokenizer=tokenizer, vae=vae)
        model = _open(sources, residence, dtype)
    _log.info("opened %s from %s, %s", model.spec.name, source, model.dtype)
    return model


def _open(sources: CosmosSources, residence: Residence, dtype: torch.dtype) -> PiecesModel:
    checkpoint = open_checkpoint(sources.high)
    spec = transformer_spec(checkpoint)
    config = transformer_config(spec, written_config(checkpoint), checkpoint.metadata, checkpoint.path)
    expert = residence.add(lambda: load_transformer(checkpoint, config, dtype), grain="block_level")
    return PiecesModel(
        spec=spec,
        experts=experts_by_name(expert, None),
        text=_text(sources, spec, residence, dtype),
        vae=open_fitting_vae(sources.vae, spec, residence),
        residence=residence,
        dtype=dtype,
        sources=sources,
    )


def _text(sources: CosmosSources, spec: ModelSpec, residence: Residence, dtype: torch.dtype) -> TextEncoder | None:
    if sources.text_encoder is None:
        return None
    text = open_text_encoder(sources.text_encoder, sources.tokenizer, residence, dtype, clean=as_it_is)
    return fitting_text(text, sources.text_encoder, spec)
