"""The exact rewrites that make training the pocket models fast, against the plain paths they stand for."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from lora_core.families.wan.padding import fold_padding
from lora_core.pocket.dense_vae import decode_latents, encode_clip
from lora_core.pocket.experts import build_expert, predict_velocity, with_image_channels
from lora_core.pocket.text import (
    MAX_CAPTION_TOKENS,
    MAX_PROMPT_TOKENS,
    SPARE_WORDS,
    build_text_encoder,
    build_tokenizer,
    embed,
)


@pytest.mark.parametrize("num_frames", [1, 5, 17])
def test_a_whole_clip_pass_equals_the_frame_by_frame_cache(num_frames: int) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=4).eval()
    clip = torch.rand(1, 3, num_frames, 16, 16) * 2 - 1
    with torch.no_grad():
        mean, _ = encode_clip(vae, clip)
        torch.testing.assert_close(mean, vae.encode(clip).latent_dist.mean, atol=1e-5, rtol=1e-4)
        decoded = decode_latents(vae, mean).clamp(-1.0, 1.0)
        torch.testing.assert_close(decoded, vae.decode(mean).sample, atol=1e-5, rtol=1e-4)


def test_one_folded_pad_equals_hundreds_of_pads() -> None:
    torch.manual_seed(0)
    expert = build_expert().eval()
    torch.nn.init.normal_(expert.proj_out.weight)
    x, sigma = torch.randn(2, 16, 2, 4, 4), torch.tensor([0.95, 0.4])
    text = embed(["a red circle moves right", ""], build_tokenizer(), build_text_encoder(7))
    padded = torch.cat([text[:, :-1], text.new_zeros(2, MAX_PROMPT_TOKENS - MAX_CAPTION_TOKENS, text.shape[-1])], dim=1)
    with torch.no_grad():
        plain = predict_velocity(expert, x, sigma, padded)
        fold_padding(expert)
        folded = predict_velocity(expert, x, sigma, text)
    torch.testing.assert_close(folded, plain, atol=1e-3, rtol=1e-4)


def test_an_image_expert_begins_as_the_one_it_was_made_of_whatever_its_picture() -> None:
    expert = build_expert().eval()
    torch.nn.init.normal_(expert.proj_out.weight)
    x, sigma, text = torch.randn(2, 16, 2, 4, 4), torch.tensor([0.95, 0.4]), torch.randn(2, 5, 64)
    told = torch.cat([x, torch.randn(2, 20, 2, 4, 4)], dim=1)
    with torch.no_grad():
        plain = predict_velocity(expert, x, sigma, text)
        image = predict_velocity(with_image_channels(expert).eval(), told, sigma, text)
    torch.testing.assert_close(image, plain, atol=1e-5, rtol=1e-5)


def test_every_word_keeps_an_embedding_of_its_own() -> None:
    text = embed(list(SPARE_WORDS), build_tokenizer(), build_text_encoder(7))[:, 0]
    likeness = torch.nn.functional.cosine_similarity(text[:, None], text[None], dim=-1)
    assert (likeness - torch.eye(len(text))).max() < 0.7


def test_a_tokenised_caption_ends_with_the_end_token() -> None:
    tokens = build_tokenizer()("A red Circle, nonsense").input_ids
    assert tokens[-1] == 1
    assert tokens.count(2) == 2
