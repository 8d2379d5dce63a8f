"""The pocket's CLIP: through core's nodes it gives what lora_core's own text encoder gives."""

import logging
from collections.abc import Callable
from types import SimpleNamespace

import comfy.model_management
import nodes
import pytest
import torch
from comfy.sd import CLIP
from comfy_extras.nodes_cond import T5TokenizerOptions
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from transformers import UMT5Config, UMT5EncoderModel
from wanloom.lora_core.families.pieces.config import t5_config
from wanloom.lora_core.families.pieces.text import TextEncoder
from wanloom.lora_core.families.pieces.tokenizers import open_tokenizer
from wanloom.lora_core.families.wan.pocket import pocket_paths
from wanloom.nodes import pocket_clip

PROMPT = "a red circle moves right on a plain background"
PROMPTS = {
    "empty": "",
    "plain": PROMPT,
    "capitals and punctuation": "A RED circle, moves right; on a plain background!",
    "white space": "  zibbo\n\n jumps\tup ",
    "unknown words": "a dragon plays chess with zibbo, 静态",
    "parentheses that are no pair": "a red circle :) moves ( up",
    "long": f"{PROMPT} and " * 20,
    "as long as can be": "red blue star " * 170 + "zibbo",
    "cut, its end mark too": "red blue star " * 170 + "zibbo moves",
    "far too long": "red blue star " * 300,
}


@pytest.fixture(scope="module")
def clip() -> CLIP:
    return pocket_clip.load_pocket_clip()


@pytest.fixture
def lora_core_encode() -> Callable[[str], Tensor]:
    """lora_core's encoding, on transformers' UMT5; ftfy and accelerate, which a bare ComfyUI lacks, are kept out."""
    paths = pocket_paths()
    tensors = {name: tensor.float() for name, tensor in load_file(paths.text_encoder).items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    network = UMT5EncoderModel(UMT5Config(**t5_config(shapes, {}, "umt5", paths.text_encoder))).eval()
    network.load_state_dict(tensors | {"encoder.embed_tokens.weight": tensors["shared.weight"]})
    piece = SimpleNamespace(use=lambda: network, residence=SimpleNamespace(device="cpu"))
    encoder = TextEncoder(piece, open_tokenizer(paths.tokenizer), 64, lambda prompt: " ".join(prompt.split()))
    return lambda prompt: encoder.encode([prompt])


def encode(clip: CLIP, prompt: str) -> Tensor:
    (((embeddings, options),),) = nodes.CLIPTextEncode().encode(clip, prompt)
    assert not any(value is not None for value in options.values())
    return embeddings


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_comes_out_as_lora_core_encodes_it(
    clip: CLIP, lora_core_encode: Callable[[str], Tensor], prompt: str
) -> None:
    embeddings = encode(clip, prompt)
    assert embeddings.shape == (1, 512, 64)
    assert embeddings.dtype == torch.float32
    assert_close(embeddings, lora_core_encode(prompt), atol=1e-5, rtol=0)


def test_what_follows_the_text_is_zero(clip: CLIP) -> None:
    embeddings = encode(clip, "a red circle")
    assert embeddings[0, :4].abs().amin(dim=1).gt(0).all()
    assert not embeddings[0, 4:].any()


def test_emphasis_moves_a_word_away_from_the_empty_prompt(clip: CLIP) -> None:
    plain, empty = encode(clip, "a red circle")[0], encode(clip, "")[0]
    wanted = plain.clone()
    wanted[1] = empty[1] + 1.5 * (plain[1] - empty[1])
    assert_close(encode(clip, "a (red:1.5) circle")[0], wanted)
    wanted[0], wanted[1] = empty[0] + 1.1 * (plain[0] - empty[0]), plain[1]
    assert_close(encode(clip, "(a) red circle")[0], wanted)


def test_an_escaped_parenthesis_is_no_emphasis(clip: CLIP, lora_core_encode: Callable[[str], Tensor]) -> None:
    assert_close(encode(clip, r"a \(red\) circle"), lora_core_encode("a (red) circle"), atol=1e-5, rtol=0)


def test_unknown_words_are_named_in_the_log(clip: CLIP, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, pocket_clip.__name__):
        clip.tokenize("a (dragon:1.2) circle")
    assert caplog.messages == ["prompt: the pocket's text encoder does not know 'dragon'"]


def test_a_cut_prompt_is_named_in_the_log(clip: CLIP, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, pocket_clip.__name__):
        clip.tokenize("red " * 511)
        assert not caplog.messages
        clip.tokenize("red " * 512)
    assert caplog.messages == ["prompt: of its 513 tokens only the first 512 are read"]


@pytest.mark.parametrize("is_installed", [True, False])
def test_a_prompt_is_cleaned_where_ftfy_is_installed(
    clip: CLIP, monkeypatch: pytest.MonkeyPatch, is_installed: bool
) -> None:
    monkeypatch.setattr(pocket_clip, "find_spec", lambda name: is_installed or None)
    monkeypatch.setattr(pocket_clip, "clean_prompt", lambda prompt: prompt.replace("&nbsp;", " "))
    is_cleaned = torch.equal(encode(clip, "red&nbsp;circle"), encode(clip, "red circle"))
    assert is_cleaned == is_installed


def test_no_tokenizer_option_makes_it_longer_than_wan_reads(clip: CLIP) -> None:
    (padded,) = T5TokenizerOptions.execute(clip, min_padding=600, min_length=600).args
    assert torch.equal(encode(padded, PROMPT), encode(clip, PROMPT))


def test_the_weights_are_those_of_the_file(clip: CLIP) -> None:
    tensors = clip.get_sd()
    for name, tensor in load_file(pocket_paths().text_encoder).items():
        assert torch.equal(tensors[f"umt5xxl.transformer.{name}"], tensor)


def test_a_patched_clone_leaves_the_clip_as_it_was(clip: CLIP) -> None:
    before, clone = encode(clip, PROMPT), clip.clone()
    name = "umt5xxl.transformer.shared.weight"
    clone.add_patches({name: ("diff", (torch.ones_like(clip.get_sd()[name]),))})
    assert not torch.equal(encode(clone, PROMPT), before)
    assert torch.equal(encode(clip, PROMPT), before)


def test_it_encodes_the_same_after_the_host_unloaded_it(clip: CLIP) -> None:
    before = encode(clip, PROMPT)
    comfy.model_management.unload_all_models()
    assert torch.equal(encode(clip, PROMPT), before)


def test_a_host_with_dynamic_vram_can_ask_for_a_plain_patcher(clip: CLIP) -> None:
    make, arguments = clip.patcher.cached_patcher_init
    plain = make(*arguments, disable_dynamic=True)
    assert not plain.is_dynamic()
    assert plain.model_size() == clip.patcher.model_size() > 0
