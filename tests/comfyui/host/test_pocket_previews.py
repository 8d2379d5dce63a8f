"""Previews of the pocket models: in the colours of the video, which Wan's own formula does not make of its latents."""

import comfy.cli_args
import comfy.latent_formats
import latent_preview
import numpy as np
import pytest
import torch
from wanloom.lora_core.pocket import world
from wanloom.nodes.load import AUTO, NONE, POCKETS, LoadWanModel

SCENES = [
    world.random_scene(np.random.default_rng(7), colour=colour, shape=shape, background="plain")
    for colour, shape in zip(world.COLOURS, [*world.SHAPES, "circle"], strict=True)
]


@pytest.fixture(autouse=True)
def _shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfy.cli_args.args, "preview_method", comfy.cli_args.LatentPreviewMethod.Auto)


def preview_of(latents: torch.Tensor, latent_format: comfy.latent_formats.LatentFormat) -> np.ndarray:
    """Return what the host shows of a VAE's latents while it samples, (8, 8, 3) in [0, 1]."""
    previewer = latent_preview.get_previewer(torch.device("cpu"), latent_format)
    return np.asarray(previewer.decode_latent_to_preview(latent_format.process_in(latents))) / 255


@pytest.mark.parametrize("choice", POCKETS)
def test_a_preview_has_the_colours_of_the_frame(choice: str) -> None:
    model, _, vae = LoadWanModel.execute(choice, AUTO, NONE, NONE, "default").args
    for scene in SCENES:
        frame = (world.draw(scene, num_frames=1) + 1) / 2
        latents = vae.encode(torch.from_numpy(frame).float())
        seen = frame[0].reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
        for _, expert in model.experts():
            off = np.abs(preview_of(latents, expert.model.latent_format) - seen).mean()
            usual = np.abs(preview_of(latents, comfy.latent_formats.Wan21()) - seen).mean()
            assert off < 0.06, scene
            assert off < usual / 2, scene
