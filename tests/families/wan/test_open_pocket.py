"""The pocket model opens by the very path that users' files take."""

from __future__ import annotations

import pytest
import torch

from lora_core.checkpoints.residency import OFFLOADS
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.pocket import pocket_paths


@pytest.fixture(scope="module")
def pocket() -> WanModel:
    return open_wan("pocket")


def test_it_is_a_two_expert_text_model(pocket: WanModel) -> None:
    assert (pocket.spec.name, pocket.spec.boundary, list(pocket.experts)) == (
        "wan-pocket",
        0.875,
        ["high_noise", "low_noise"],
    )
    pocket.require(text=True, vae=True)


def test_its_files_open_as_anybodys(pocket: WanModel) -> None:
    paths = pocket_paths()
    model = open_wan(paths.high_noise, vae=paths.vae, text_encoder=paths.text_encoder)
    assert model.spec.shapes == pocket.spec.shapes
    assert model.spec.name == "wan-pocket", "told by its shapes"
    assert torch.equal(model.encode_text("a red circle"), pocket.encode_text("a red circle"))


def test_it_reports_the_words_it_does_not_know(pocket: WanModel) -> None:
    assert pocket.unknown_words("a red circle moves right") == ()
    assert pocket.unknown_words("a red circle moves on a giraffe") == ("giraffe",)


@pytest.mark.parametrize("offload", OFFLOADS)
def test_every_offload_mode_gives_the_same_result(pocket: WanModel, offload: str) -> None:
    model = open_wan("pocket", offload=offload)
    latents = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    outputs = []
    for opened in (pocket, model):
        text = opened.encode_text("a red circle moves right")
        with torch.no_grad():
            v = opened.expert("high_noise")(latents, torch.tensor([900.0]), text, return_dict=False)[0]
            v = opened.expert("low_noise")(v, torch.tensor([500.0]), text, return_dict=False)[0]
        outputs.append(opened.vae_decode(opened.denormalise(v)))
    assert torch.equal(*outputs)
