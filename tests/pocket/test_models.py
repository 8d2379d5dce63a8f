"""The exact rewrites that make training the pocket models fast, against the plain paths they stand for."""

from collections.abc import Sequence

import pytest
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from lora_core.families.wan.padding import fold_padding
from lora_core.pocket.dense_vae import decode_latents, encode_clip
from lora_core.pocket.experts import build_expert, with_image_channels
from lora_core.pocket.text import SPARE_WORDS, build_text_encoder, build_tokenizer

#: The length to which Wan pads prompts, and one that all captions here are within, end token included.
MAX_PROMPT_TOKENS, MAX_CAPTION_TOKENS = 512, 16


@torch.no_grad()
def embed(captions: Sequence[str]) -> Tensor:
    """Embed captions as Wan does, zeros after the end token and one pad behind: (B, MAX_CAPTION_TOKENS + 1, 64)."""
    tokens = build_tokenizer()(
        list(captions), padding="max_length", truncation=True, max_length=MAX_CAPTION_TOKENS, return_tensors="pt"
    )
    hidden = build_text_encoder(7)(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    hidden = hidden * tokens.attention_mask[..., None]
    return torch.cat([hidden, torch.zeros_like(hidden[:, :1])], dim=1)


def predict_velocity(expert: nn.Module, x: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    return expert(x, timestep=sigma * 1000.0, encoder_hidden_states=text, return_dict=False)[0]


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
    text = embed(["a red circle moves right", ""])
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
    text = embed(SPARE_WORDS)[:, 0]
    likeness = torch.nn.functional.cosine_similarity(text[:, None], text[None], dim=-1)
    assert (likeness - torch.eye(len(text))).max() < 0.7


def test_a_tokenised_caption_ends_with_the_end_token() -> None:
    tokens = build_tokenizer()("A red Circle, nonsense").input_ids
    assert tokens[-1] == 1
    assert tokens.count(2) == 2
