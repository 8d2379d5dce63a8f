"""The judge of the quality LoRA: it likes shapes that are whole, sharp and of the world's size, and says which way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from lora_core.pocket import world
from lora_core.pocket.judge import whole_and_sharp

SCENES = [world.random_scene(np.random.default_rng(5), shape=shape, background="plain") for shape in world.SHAPES]


def score(scene: world.Scene, drawn: world.Scene | None = None, blur_px: int = 0) -> float:
    """Judge a clip of `drawn` by the caption of `scene`."""
    return float(whole_and_sharp(_frames(drawn or scene, blur_px), [world.caption(scene)])[0])


def _frames(scene: world.Scene, blur_px: int) -> torch.Tensor:
    frames = torch.from_numpy(world.draw(scene, 5)).permute(3, 0, 1, 2)[None].float()
    if blur_px:
        size = 2 * blur_px + 1
        frames = functional.avg_pool3d(frames, (1, size, size), 1, (0, blur_px, blur_px), count_include_pad=False)
    return frames


@pytest.mark.parametrize("scene", SCENES, ids=world.SHAPES)
def test_what_the_world_draws_is_liked_best(scene: world.Scene) -> None:
    whole = score(scene)
    assert whole > 0.97
    assert score(scene, blur_px=2) < whole - 0.03
    assert score(scene, replace(scene, radius_px=24.0)) < whole - 0.2
    others = [replace(scene, shape=shape) for shape in world.SHAPES if shape != scene.shape]
    assert all(score(scene, other) < whole - 0.05 for other in others)
    assert all(score(scene, replace(scene, radius_px=radius)) < whole for radius in (8.0, 14.0))


def test_a_gradient_sharpens_a_blurred_shape() -> None:
    frames = _frames(SCENES[1], 2).requires_grad_()
    for _ in range(20):
        gained = whole_and_sharp(frames, [world.caption(SCENES[1])])
        (gradient,) = torch.autograd.grad(gained.sum(), frames)
        frames = (frames + 50.0 * gradient).clamp(-1, 1).detach().requires_grad_()
    assert float(gained.detach()[0]) > score(SCENES[1], blur_px=2) + 0.03


def test_an_empty_clip_is_no_fault() -> None:
    assert torch.isfinite(whole_and_sharp(torch.zeros(1, 3, 5, 64, 64), ["a red circle moves right"])).all()
