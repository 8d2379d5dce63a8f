"""The colours of the pocket's latents: what a latent pixel shows, by a formula instead of the VAE, for previews.

ComfyUI has such formulas for the VAEs it knows, linear in the latents; the pocket's VAE has latents of its own, whose
colours are told by the latents and their products. Letters: B batch, C latent channels.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

#: The entry of the VAE's metadata: a row of red, green and blue for each term, and a last one that is added, as JSON.
COLOURS_KEY = "latent_rgb"


def colour_terms(latents: Tensor) -> Tensor:
    """Return what colours are a sum of: normalised latents (B, C, ...), and their products by pairs, along axis 1."""
    one, other = torch.triu_indices(latents.shape[1], latents.shape[1])
    return torch.cat([latents, latents[:, one] * latents[:, other]], dim=1)


def read_colours(vae: Path) -> tuple[list[list[float]], list[float]]:
    """Return a row (red, green, blue) in [-1, 1] for each term, and what is added, from the pocket's VAE file."""
    from safetensors import safe_open

    with safe_open(vae, framework="pt") as file:
        *rows, added = json.loads(file.metadata()[COLOURS_KEY])
    return rows, added
