"""How a Wan model is opened: from the pocket, a diffusers folder, or single files, with nothing ever fetched.

Dtype policy: experts compute in `dtype`; unless given, in float32 on the CPU and in bfloat16 elsewhere.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch

from ...checkpoints.checkpoint import Checkpoint, open_checkpoint
from ...checkpoints.residency import Offload, Piece, Residence, offline
from ...checks import typed
from ...errors import ModelError
from ...wording import said
from ..base import ModelSpec
from ..pieces.model import experts_by_name
from ..pieces.opening import fitting_text, open_fitting_vae, open_residence, written_config
from ..pieces.text import TextEncoder, open_text_encoder
from .config import transformer_config
from .image_encoder import ImageEncoder, open_image_encoder
from .model import WanModel
from .pocket import POCKET_MODELS
from .sources import WanSources, find_sources
from .spec import wan_spec
from .transformer import load_transformer, transformer_spec

_log = logging.getLogger(__name__)


@typed(ModelError)
def open_wan(
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
) -> WanModel:
    """Open a Wan model; only headers are read now, each network when it is first used.

    Args:
        source: "pocket", a diffusers folder, or the (high-noise) expert as one file: safetensors in native or diffusers
            naming, any float, 8-bit with or without scales, or GGUF.
        low_noise: the other expert's file; else it is looked for beside `source` by its name.
        text_encoder: UMT5 as a single file or folder; like the next two it replaces what a folder or "pocket" has.
        tokenizer: `tokenizer.json`, `spiece.model` or a folder; a text encoder's file may carry its own.
        vae: a single file or folder.
        image_encoder: the CLIP vision encoder that Wan 2.1's image models look through, a single file or folder.
        dtype: what the experts compute in.
        device: where networks compute; "auto" is the GPU if there is one.
        offload: "none" keeps every network on the device once used; "experts" only the one in use; "blocks" of the
            experts only a block at a time (on the CPU the same as "experts").
    """
    residence, dtype = open_residence(device, offload, dtype)
    with offline():
        sources = find_sources(
            source,
            low_noise=low_noise,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            vae=vae,
            image_encoder=image_encoder,
        )
        model = _open(sources, residence, dtype)
    if image_encoder is not None and model.image_encoder is None:
        what = said("is given as image_encoder, and {spec} looks through none", spec=model.spec.title)
        raise ModelError(image_encoder, what, remedy="Leave it out")
    if str(source) in POCKET_MODELS:
        model = dataclasses.replace(model, spec=_pocket_spec(model.spec, str(source)))
    _log.info("opened %s from %s, %d expert(s), %s", model.spec.name, source, len(model.experts), model.dtype)
    return model


def _open(sources: WanSources, residence: Residence, dtype: torch.dtype) -> WanModel:
    num_experts = 1 if sources.low is None else 2
    high = open_checkpoint(sources.high)
    spec = transformer_spec(high, num_experts)
    low = None if sources.low is None else open_checkpoint(sources.low)
    if low is not None:
        spec.check_twin(transformer_spec(low, num_experts), sources.low, sources.high.name)
    return WanModel(
        spec=_with_stated(spec, sources),
        experts=experts_by_name(
            _expert(high, spec, residence, dtype), None if low is None else _expert(low, spec, residence, dtype)
        ),
        text=_text(sources, spec, residence, dtype),
        vae=open_fitting_vae(sources.vae, spec, residence),
        image_encoder=_image_encoder(sources, spec, residence),
        residence=residence,
        dtype=dtype,
        sources=sources,
    )


def _expert(checkpoint: Checkpoint, spec: ModelSpec, residence: Residence, dtype: torch.dtype) -> Piece:
    config = written_config(checkpoint) or transformer_config(spec, checkpoint.metadata, checkpoint.path)
    return residence.add(lambda: load_transformer(checkpoint, config, dtype), grain="block_level")


def _text(sources: WanSources, spec: ModelSpec, residence: Residence, dtype: torch.dtype) -> TextEncoder | None:
    if sources.text_encoder is None:
        return None
    text = open_text_encoder(sources.text_encoder, sources.tokenizer, residence, dtype, kind="umt5")
    return fitting_text(text, sources.text_encoder, spec)


def _image_encoder(sources: WanSources, spec: ModelSpec, residence: Residence) -> ImageEncoder | None:
    if sources.image_encoder is None or not spec.image_embeds:
        return None
    encoder = open_image_encoder(sources.image_encoder, residence)
    wanted = spec.shapes["img_emb.proj.0"][0]
    if encoder.width != wanted:
        what = said("an image encoder of width {width} for {spec}", width=encoder.width, spec=spec.title)
        raise ModelError(
            sources.image_encoder,
            what,
            expected=said("width {wanted}", wanted=wanted),
            remedy="Choose the image encoder of this model",
        )
    if spec.first_and_last and 2 * encoder.num_tokens != spec.shapes["img_emb.emb_pos"][1]:
        what = said(
            "an image encoder of {num_tokens} tokens for {spec}", num_tokens=encoder.num_tokens, spec=spec.title
        )
        raise ModelError(
            sources.image_encoder,
            what,
            expected=said("{count} tokens", count=spec.shapes["img_emb.emb_pos"][1] // 2),
            remedy="Choose the image encoder of this model",
        )
    return encoder


def _pocket_spec(spec: ModelSpec, model: str) -> ModelSpec:
    """Return a pocket model's spec with the shapes of the files themselves."""
    return dataclasses.replace(wan_spec(f"wan-{model}"), shapes=spec.shapes, aliases=spec.aliases)


def _with_stated(spec: ModelSpec, sources: WanSources) -> ModelSpec:
    """Return the spec with what a diffusers folder says of itself."""
    return dataclasses.replace(
        spec,
        boundary=sources.boundary if spec.boundary and sources.boundary else spec.boundary,
        default_shift=spec.default_shift if sources.shift is None else sources.shift,
        expand_timesteps=spec.expand_timesteps if sources.expand_timesteps is None else sources.expand_timesteps,
    )
