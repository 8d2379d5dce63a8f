"""Radial attention in HunyuanVideo: over video and text together, the text's tokens dense and its padding unseen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lora_core import GenerationRequest, generate
from lora_core.attention.controller import make_controller
from lora_core.attention.dense import DenseRule
from lora_core.attention.settings import RadialSettings
from lora_core.errors import ModelError
from lora_core.families.condition import Condition
from lora_core.families.hunyuan.forward import forward
from lora_core.families.hunyuan.model import HunyuanModel
from lora_core.families.hunyuan.self_attention import replace_self_attention
from lora_core.sampling.noise import draw_noise

SHAPE = (1, 4, 9, 8, 8)
#: 16 tokens in each of 9 latent frames, 1 block each.
SETTINGS = RadialSettings(decay=0.3, block_size=16, dense=DenseRule(0, 0, 1))
TEXTS = ["a red circle moves left", "a"]


def predict(model: HunyuanModel, texts: Tensor) -> Tensor:
    x = draw_noise(SHAPE, 0).expand(len(texts), -1, -1, -1, -1)
    with torch.no_grad():
        return forward(model.expert("low_noise"), model.spec, x, 0.8, texts, Condition(texts))


def dense(q: Tensor, k: Tensor, v: Tensor, num_text: int = 0, num_text_valid: Tensor | None = None) -> Tensor:
    """Attend to all of the video, and to as many of the text's tokens as are its own."""
    return F.scaled_dot_product_attention(q, k, v, own_tokens(q, num_text, num_text_valid)[:, None, None])


def own_tokens(q: Tensor, num_text: int, num_text_valid: Tensor | None) -> Tensor:
    """Return (1 or B, L): False for the padding of a text."""
    assert (num_text_valid is None) == (len(q) == 1), "of one text nothing is padding"
    counts = torch.tensor([num_text]) if num_text_valid is None else num_text_valid
    return torch.arange(q.shape[2]) < q.shape[2] - num_text + counts[:, None]


def sparse(seen: Tensor) -> Callable[..., Tensor]:
    """Attend by a mask of the video's tokens (L, L), to the text and from it densely."""

    def attend(q: Tensor, k: Tensor, v: Tensor, num_text: int = 0, num_text_valid: Tensor | None = None) -> Tensor:
        assert num_text == q.shape[2] - len(seen)
        pairs = F.pad(seen, (0, num_text, 0, num_text), value=True)
        own = own_tokens(q, num_text, num_text_valid)
        return F.scaled_dot_product_attention(q, k, v, (pairs & own[:, None, :])[:, None])

    return attend


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS], ids=["one", "two of different lengths"])
def test_dense_attention_in_its_place_gives_what_there_was(model: HunyuanModel, texts: list[str]) -> None:
    embedded = model.encode_text(texts)
    before = predict(model, embedded)
    with replace_self_attention(model.expert("low_noise"), lambda block: dense):
        replaced = predict(model, embedded)
        with pytest.raises(ModelError, match="its self-attention is replaced already"):  # noqa: SIM117  # the inner one
            with replace_self_attention(model.expert("low_noise"), lambda block: None):
                pass
    torch.testing.assert_close(replaced, before, rtol=1e-5, atol=1e-5)
    assert torch.equal(predict(model, embedded), before)


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS], ids=["one", "two of different lengths"])
def test_radial_attention_is_dense_attention_by_its_mask(model: HunyuanModel, texts: list[str]) -> None:
    embedded, network = model.encode_text(texts), model.expert("low_noise")
    controller = make_controller(model.spec, SHAPE, 1, SETTINGS)
    controller.at_step(0)
    seen = controller.block_map.blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
    with controller.on(network):
        radial = predict(model, embedded)
    asked: list[int] = []

    def choose(block: int) -> Callable[..., Tensor]:
        asked.append(block)
        return dense if block == 0 else sparse(seen)

    with replace_self_attention(network, choose):
        masked = predict(model, embedded)
    assert asked == [0, 1, 2, 3]  # two double blocks, then two single ones
    assert controller.num_radial == 3
    assert controller.block_map.density < 0.9
    torch.testing.assert_close(radial, masked, rtol=1e-4, atol=1e-5)
    assert (radial - predict(model, embedded)).abs().max() > 1e-3


def test_a_long_video_is_made_with_it(model: HunyuanModel) -> None:
    request = GenerationRequest(TEXTS[0], num_frames=17, height=64, width=64, num_steps=2, shift=7.0)
    video = generate(model, request, radial=SETTINGS)
    assert video.frames.shape[0] == 17
    assert any("radial attention" in note for note in video.notes)
    assert (video.latents - generate(model, request).latents).abs().max() > 1e-3
