"""The names of the parameters of HunyuanVideo's VAE: ComfyUI's, which are Stable Diffusion's, to diffusers'."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

#: The levels of both halves; the decoder's are counted from the other end.
NUM_LEVELS = 4

#: Regular expression on the beginning of a name -> how diffusers begins it; the first that matches.
_BEGINNINGS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"encoder\.down\.(\d)\.block\.(\d)\.", lambda m: f"encoder.down_blocks.{m[1]}.resnets.{m[2]}."),
    (r"encoder\.down\.(\d)\.downsample\.", lambda m: f"encoder.down_blocks.{m[1]}.downsamplers.0."),
    (r"decoder\.up\.(\d)\.block\.(\d)\.", lambda m: f"decoder.up_blocks.{_from_top(m[1])}.resnets.{m[2]}."),
    (r"decoder\.up\.(\d)\.upsample\.", lambda m: f"decoder.up_blocks.{_from_top(m[1])}.upsamplers.0."),
    (r"(encoder|decoder)\.mid\.block_(\d)\.", lambda m: f"{m[1]}.mid_block.resnets.{int(m[2]) - 1}."),
    (r"(encoder|decoder)\.mid\.attn_1\.", lambda m: f"{m[1]}.mid_block.attentions.0."),
    (r"(encoder|decoder)\.norm_out\.", lambda m: f"{m[1]}.conv_norm_out."),
)
_ATTENTION: Mapping[str, str] = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def vae_to_diffusers(name: str) -> str:
    """Return diffusers' name of a whole parameter name; one that is diffusers' already, or is unknown, stays."""
    for beginning, renamed in _BEGINNINGS:
        if match := re.match(beginning, name):
            rest = name[match.end() :]
            if ".mid.attn_1." in name:
                module, leaf = rest.split(".")[0], rest.rpartition(".")[2]
                rest = f"{_ATTENTION.get(module, module)}.{leaf}"
            return renamed(match) + rest.replace("nin_shortcut", "conv_shortcut")
    return name


def _from_top(level: str) -> int:
    return NUM_LEVELS - 1 - int(level)
