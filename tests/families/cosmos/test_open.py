"""A tiny Cosmos opened from each form that users have it in, and what is refused."""

import json
import shutil

import pytest
import tiny
import tiny_cosmos
import torch
from PIL import Image
from safetensors.torch import save_file

from lora_core.engine.request import GenerationRequest
from lora_core.errors import LoraCoreError, ModelError, PlanError, RequestError
from lora_core.families.condition import Condition
from lora_core.families.cosmos.forward import forward
from lora_core.families.cosmos.open import open_cosmos
from lora_core.families.registry import opener


def velocity(model, num_tokens: int = 512) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 16, 3, 4, 6, generator=generator)
    text = torch.zeros(2, num_tokens, tiny_cosmos.TEXT_WIDTH)
    text[:, :3] = torch.randn(2, 3, tiny_cosmos.TEXT_WIDTH, generator=generator)
    told = Condition(text, known_frames=x[:, :, :1])
    with torch.no_grad():
        return forward(model.expert("low_noise"), model.spec, x, torch.tensor([0.9, 0.4]), text, told)


@pytest.fixture(scope="module")
def wanted(model):
    return velocity(model)


def test_nvidias_file_is_opened_as_it_is(tmp_path, wanted, model):
    file = tiny_cosmos.save_nvidia(tmp_path / "model-480p-16fps.pt")
    opened = opener(file)(file)
    assert torch.equal(velocity(opened), wanted)
    assert dict(opened.spec.shapes) == dict(model.spec.shapes)


@pytest.mark.parametrize("prefix", ["", "diffusion_model."])
def test_native_safetensors_are_opened_with_what_their_header_says(tmp_path, wanted, model, prefix):
    from lora_core.families.registry import family_of

    header = family_of(model.spec).header(model.expert("low_noise"))
    state = tiny_cosmos.native_state(tiny_cosmos.transformer(), prefix)
    save_file(state, tmp_path / "cosmos.safetensors", metadata=dict(header))
    assert torch.equal(velocity(open_cosmos(tmp_path / "cosmos.safetensors")), wanted)
    save_file(state, tmp_path / "other.safetensors", metadata={"config": '{"transformer": {"rope_scale": [1, 1, 1]}}'})
    assert not torch.equal(velocity(open_cosmos(tmp_path / "other.safetensors")), wanted)


def test_8_bit_weights_stay_packed(tmp_path, wanted):
    state, large = {}, torch.finfo(torch.float8_e4m3fn).max
    for name, tensor in tiny_cosmos.native_state(tiny_cosmos.transformer(), "").items():
        if name.startswith("blocks.") and tensor.ndim == 2:
            state[name.removesuffix("weight") + "scale_weight"] = scale = tensor.abs().max() / large
            tensor = (tensor / scale).to(torch.float8_e4m3fn)
        state[name] = tensor
    save_file(state | {"scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn)}, tmp_path / "fp8.safetensors")
    opened = open_cosmos(tmp_path / "fp8.safetensors")
    error = (velocity(opened) - wanted).norm() / wanted.norm()
    assert 0 < error < 0.1
    assert opened.expert("low_noise").transformer_blocks[0].ff.net[2].weight.dtype == torch.float8_e4m3fn


def test_one_pad_counts_for_all_behind_it(model, wanted):
    torch.testing.assert_close(velocity(model, num_tokens=4), wanted, atol=1e-5, rtol=1e-5)


def test_pieces_beside_a_single_file_are_given(tmp_path, folder, model):
    file = tiny_cosmos.save_nvidia(tmp_path / "model.pt")
    opened = open_cosmos(file, text_encoder=folder / "text_encoder", tokenizer=folder / "tokenizer", vae=folder / "vae")
    opened.require(text=True, vae=True, picture=True)
    assert torch.equal(opened.encode_text("a red circle"), model.encode_text("a red circle"))
    with pytest.raises(ModelError, match=r"opened without a text encoder .*T5-11B"):
        open_cosmos(file).require(text=True)


def test_t5_is_read_as_transformers_reads_it(model):
    ids = torch.tensor([[3, 4, 6, 1]])
    wanted = tiny_cosmos.text_encoder()(input_ids=ids).last_hidden_state
    embedded = model.encode_text("a red blue")
    torch.testing.assert_close(embedded[:, :4], wanted)
    assert embedded.shape == (1, 512, tiny_cosmos.TEXT_WIDTH)
    assert not embedded[:, 4:].any()


def message(source, **pieces) -> str:
    with pytest.raises(ModelError) as caught:
        opener(source)(source, **pieces)
    return str(caught.value)


def test_what_is_no_cosmos_predict2_is_refused_by_name(tmp_path, folder):
    state = tiny_cosmos.native_state(tiny_cosmos.transformer(), "net.")
    for name, relative in (("crossattn_proj.0.weight", "Cosmos Predict2.5"), ("llm_adapter.embed.weight", "Anima")):
        torch.save(state | {f"net.{name}": torch.zeros(2, 2)}, tmp_path / "relative.pt")
        assert f"is a {relative} model, which cannot be opened yet" in message(tmp_path / "relative.pt")
    torch.save(state | {"net.x_embedder.proj.1.weight": torch.zeros(48, 68)}, tmp_path / "image.pt")
    assert "its network takes 17 channels (18: latents, the mask of known frames" in message(tmp_path / "image.pt")
    torch.save(state | {"net.extra": {"not": "a tensor"}}, tmp_path / "odd.pt")
    assert "not a plain dictionary" in message(tmp_path / "odd.pt")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model_index.json").write_text(json.dumps({"_class_name": "Cosmos2TextToImagePipeline"}))
    with pytest.raises(ModelError, match="of the pipeline 'Cosmos2TextToImagePipeline'"):
        open_cosmos(other)


def test_pieces_that_do_not_fit_are_refused(tmp_path, folder):
    file = tiny_cosmos.save_nvidia(tmp_path / "model.pt")
    umt5 = tiny.save_text_encoder(tiny.text_encoder(), tmp_path / "umt5.safetensors")
    (tmp_path / "tokenizer.json").write_text(tiny.tokenizer_json())
    assert "a text encoder of width 64" in message(file, text_encoder=umt5)
    large = tiny.save_vae(tiny.vae(large=True), tmp_path / "vae.safetensors")
    assert "a VAE of 48 latent channels" in message(file, vae=large)
    assert "is given as low_noise, and a Cosmos has none" in message(file, low_noise=file)
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    config = broken / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rope_scale": [1.0, "3"]}))
    assert "its rope_scale is [1.0, '3'] (three numbers)" in message(broken)


def test_requests_that_it_cannot_make_are_refused(model):
    def fault(**settings) -> str:
        with pytest.raises(LoraCoreError) as caught:
            GenerationRequest("a red circle", **settings).clip(model.spec)
        assert isinstance(caught.value, RequestError)
        return str(caught.value)

    picture = Image.new("RGB", (48, 32))
    size = {"height": 32, "width": 48}
    assert "blocks) to go on from (1 or 5)" in fault(first_frames=[picture] * 3)
    assert "an image is given as well" in fault(first_frames=[picture], image=picture)
    assert "no list of pictures" in fault(first_frames="clip.mp4")
    assert "not more than the 5 that are given" in fault(first_frames=[picture] * 5, num_frames=5, **size)
    assert "has no way to be told its last frame" in fault(image=picture, last_image=picture)
    assert "is not a multiple of 16" in fault(height=40, width=48)
    with pytest.raises(PlanError, match="would do nothing in the schedule karras"):
        GenerationRequest("a", shift=3.0).levels(model.spec)
    with pytest.raises(PlanError, match="schedule"):
        GenerationRequest("a", schedule="linear")
