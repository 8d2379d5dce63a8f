"""How a Wan model is opened: from the pocket, a diffusers folder, or single files, with nothing ever fetched.

Dtype policy: experts compute in `dtype`; unless given, in float32 on the CPU and in bfloat16 elsewhere.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError
from .base import ModelSpec
from .checkpoint import Checkpoint, open_checkpoint, read_json
from .offline import offline
from .residency import OFFLOADS, Offload, Piece, Residence
from .wan import wan_spec
from .wan_config import transformer_config
from .wan_model import WanModel, experts_by_name
from .wan_sources import WanSources, find_sources
from .wan_text import TextEncoder, open_text_encoder
from .wan_transformer import load_transformer, transformer_spec
from .wan_vae import Vae, open_vae

_log = logging.getLogger(__name__)


def open_wan(
    source: str | Path,
    *,
    low_noise: str | Path | None = None,
    text_encoder: str | Path | None = None,
    tokenizer: str | Path | None = None,
    vae: str | Path | None = None,
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
        dtype: what the experts compute in.
        device: where networks compute.
        offload: "none" keeps every network on the device once used; "experts" only the one in use; "blocks" of the
            experts only a block at a time.
    """
    if offload not in OFFLOADS:
        raise ModelError("offload", f"unknown mode {offload!r}", expected=f"one of {', '.join(OFFLOADS)}")
    with offline():
        sources = find_sources(source, low_noise=low_noise, text_encoder=text_encoder, tokenizer=tokenizer, vae=vae)
        opening = _Opening(sources, _device(device), dtype, Residence(offload))
        model = opening.model(is_pocket=str(source) == "pocket")
    _log.info("opened %s from %s, %d expert(s), %s", model.spec.name, source, len(model.experts), model.dtype)
    return model


class _Opening:
    """The steps of opening one model, with what they share."""

    def __init__(
        self, sources: WanSources, device: torch.device, dtype: torch.dtype | None, residence: Residence
    ) -> None:
        self.sources = sources
        self.device = device
        self.dtype = dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
        self.residence = residence
        self.in_blocks = residence.offload == "blocks"

    def model(self, *, is_pocket: bool) -> WanModel:
        sources = self.sources
        num_experts = 1 if sources.low is None else 2
        high = open_checkpoint(sources.high)
        spec = transformer_spec(high, num_experts)
        if sources.low is not None:
            _check_pair(spec, transformer_spec(open_checkpoint(sources.low), num_experts), sources)
        experts = experts_by_name(
            self._expert(sources.high, spec), None if sources.low is None else self._expert(sources.low, spec)
        )
        return WanModel(
            spec=_stated(_pocket_spec(spec) if is_pocket else spec, sources),
            experts=experts,
            text=self._text(),
            vae=self._vae(spec),
            residence=self.residence,
            dtype=self.dtype,
            device=self.device,
            expected={"text": sources.text_expected, "vae": sources.vae_expected},
        )

    def _expert(self, path: Path, spec: ModelSpec) -> Piece:
        checkpoint = open_checkpoint(path)
        config = _expert_config(checkpoint, spec)
        in_blocks = False if self.in_blocks else None
        return self.residence.add(
            Piece(lambda: load_transformer(checkpoint, config, self.dtype), self.device, by_leaf=in_blocks)
        )

    def _text(self) -> TextEncoder | None:
        path = self.sources.text_encoder
        if path is None:
            return None
        return open_text_encoder(
            path, self.sources.tokenizer, self.residence, self.device, self.dtype, by_leaf=self.in_blocks
        )

    def _vae(self, spec: ModelSpec) -> Vae | None:
        if self.sources.vae is None:
            return None
        vae = open_vae(self.sources.vae, self.residence, self.device)
        if vae.num_channels != spec.latent_channels:
            what = f"a VAE of {vae.num_channels} latent channels for {spec.title}"
            raise ModelError(self.sources.vae, what, expected=f"{spec.latent_channels} channels")
        return vae


def _expert_config(checkpoint: Checkpoint, spec: ModelSpec) -> dict[str, Any]:
    """Return what a component folder states, or infer it from the shapes."""
    stated = checkpoint.path / "config.json"
    if stated.is_file():
        return {name: value for name, value in read_json(stated).items() if not name.startswith("_")}
    return transformer_config(spec, checkpoint.metadata, checkpoint.path)


def _check_pair(high: ModelSpec, low: ModelSpec, sources: WanSources) -> None:
    if dict(high.shapes) != dict(low.shapes):
        differing = next(t for t in {**high.shapes, **low.shapes} if high.shapes.get(t) != low.shapes.get(t))
        raise ModelError(
            str(sources.low),
            f"is no twin of {sources.high.name}: {differing!r} has shape {low.shapes.get(differing)}",
            expected=str(high.shapes.get(differing)),
        )


def _pocket_spec(spec: ModelSpec) -> ModelSpec:
    pocket = wan_spec("wan-pocket")
    return dataclasses.replace(pocket, shapes=spec.shapes, aliases=spec.aliases)


def _stated(spec: ModelSpec, sources: WanSources) -> ModelSpec:
    """Return the spec with what a diffusers folder says of itself."""
    return dataclasses.replace(
        spec,
        boundary=sources.boundary if spec.boundary and sources.boundary else spec.boundary,
        default_shift=spec.default_shift if sources.shift is None else sources.shift,
        expand_timesteps=spec.expand_timesteps if sources.expand_timesteps is None else sources.expand_timesteps,
    )


def _device(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        remedy = "Choose cpu, cuda or mps, whichever this machine has"
        raise ModelError("device", f"{str(device)!r} cannot be used: {_first(error)}", remedy=remedy) from error
    return chosen


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
