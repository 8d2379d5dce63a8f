"""The fit of the formula that tells the colours of the pocket's latents (`families/wan/pocket_colours.py`).

Letters: B clips, T frames, C latent channels, H W latent height and width.
"""

import json

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from torch.nn import functional

from ..families.pieces.latents import LATENT_MEAN, LATENT_STD
from ..families.wan.pocket_colours import COLOURS_KEY, colour_terms
from .dense_vae import encode_clip
from .experts import LATENT_SHAPE
from .train_vae import to_batch

NUM_CLIPS = 400


@torch.no_grad()
def fit_colours(vae: AutoencoderKLWan, clips: np.ndarray) -> dict[str, str]:
    """Return the entry for the VAE's metadata, fitted to the first frames of uint8 clips (B, T, 64, 64, 3).

    A latent pixel stands for 8 x 8 pixels; their mean in [-1, 1] is what is told, with the least squared error.
    """
    shape = (1, LATENT_SHAPE[0], 1, 1)
    mean, deviation = (torch.tensor(table[LATENT_SHAPE[0]]).view(shape) for table in (LATENT_MEAN, LATENT_STD))
    frames = to_batch(clips[:NUM_CLIPS, :1])
    latents = torch.cat([encode_clip(vae, few)[0][:, :, 0] for few in frames.split(32)])
    terms = colour_terms((latents - mean) / deviation).movedim(1, -1).flatten(0, 2)
    shown = functional.avg_pool2d(frames[:, :, 0], 8).movedim(1, -1).flatten(0, 2)
    table = torch.linalg.lstsq(torch.cat([terms, torch.ones(len(terms), 1)], dim=1), shown).solution
    return {COLOURS_KEY: json.dumps([[round(value, 4) for value in row] for row in table.tolist()])}
