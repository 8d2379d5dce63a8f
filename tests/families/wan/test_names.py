"""The name tables against diffusers' own converters, on tiny models."""

from __future__ import annotations

import pytest
import tiny
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers, convert_wan_vae_to_diffusers

from lora_core.families.pieces.vae_names import vae_to_diffusers, vae_to_native
from lora_core.families.wan.names import aliases, rows, to_diffusers, to_native

#: diffusers' converter leaves the position embeddings of first-and-last-frame models alone; its model calls them so.
FLF = {"img_emb.emb_pos": "condition_embedder.image_embedder.pos_embed"}


@pytest.mark.parametrize("image_branch", [False, True])
def test_transformer_names_are_those_of_diffusers_converter(image_branch: bool) -> None:
    names = tiny.transformer(0, in_channels=36, image_branch=image_branch).state_dict()
    native = [to_native(name) for name in names]
    assert list(convert_wan_transformer_to_diffusers(dict.fromkeys(native))) == list(names)
    assert [to_diffusers(name) for name in native] == list(names)


def test_position_embeddings_of_first_and_last_frame_models_are_in_the_table() -> None:
    assert {native: to_diffusers(native) for native in FLF} == FLF


def test_small_vae_names_are_those_of_diffusers_converter() -> None:
    names = tiny.vae().state_dict()
    native = [vae_to_native(name) for name in names]
    assert list(convert_wan_vae_to_diffusers(dict.fromkeys(native))) == list(names)
    assert [vae_to_diffusers(name) for name in native] == list(names)


def test_large_vae_names_go_to_native_and_back() -> None:
    names = tiny.vae(large=True).state_dict()
    native = [vae_to_native(name, nested=True) for name in names]
    assert [vae_to_diffusers(name) for name in native] == list(names)
    assert "encoder.downsamples.1.downsamples.2.time_conv.weight" in native
    assert "decoder.upsamples.3.upsamples.2.residual.6.bias" in native


def test_unknown_names_are_not_guessed() -> None:
    for translate in (to_native, to_diffusers, vae_to_native, vae_to_diffusers):
        assert translate("blocks.0.self_attn.q.lora_down.weight") is None


def test_no_two_native_paths_share_a_spelling() -> None:
    native = {row.native for row in rows(2)}
    assert set(aliases(2).values()) <= native
    assert not set(aliases(2)) & native


def test_shapes_in_the_table_are_those_of_the_module() -> None:
    from lora_core.families.registry import spec_of_module
    from lora_core.families.wan.spec import WanSize, shapes_of

    module = tiny.transformer(0, in_channels=36, image_branch=True)
    size = WanSize(
        tiny.WIDTH, tiny.FFN_WIDTH, tiny.NUM_BLOCKS, tiny.TEXT_WIDTH, in_channels=36, out_channels=16, image_branch=True
    )
    assert dict(spec_of_module(module).shapes) == shapes_of(size)
