"""The pocket model's colours in ComfyUI's previews: the usual formula shows the latents of its own VAE wrongly."""

from __future__ import annotations

import comfy.latent_formats
from comfy.model_patcher import ModelPatcher

from ..lora_core.families.wan.pocket import pocket_paths
from ..lora_core.families.wan.pocket_colours import colour_terms, read_colours


class PocketLatents(comfy.latent_formats.Wan21):
    """Wan's latents, with the formula that tells the pocket's colours."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_rgb_factors, self.latent_rgb_factors_bias = read_colours(pocket_paths().vae)
        self.latent_rgb_factors_reshape = colour_terms
        self.taesd_decoder_name = None  # a small decoder for Wan's own latents


def show_true_colours(expert: ModelPatcher) -> None:
    """Let the previews of a pocket expert, just loaded, have its colours."""
    expert.model.latent_format = PocketLatents()
