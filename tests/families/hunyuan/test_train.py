"""HunyuanVideo learns by the project's own trainer: a LoRA that ComfyUI reads, and one for a longer video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_hunyuan as tiny
import torch
from filmed import moving
from torch import Tensor

from lora_core import read_lora, save_video
from lora_core.families.hunyuan.model import HunyuanModel
from lora_core.families.hunyuan.spec import hunyuan_spec, infer_hunyuan_spec
from lora_core.files.trained_length import TrainedLength, trained_length
from lora_core.training.assembly import NetworkCall
from lora_core.training.clips.cached import ClipCache
from lora_core.training.clips.prepare import prepare
from lora_core.training.config import TrainConfig, make_config, read_config
from lora_core.training.lengths import lengths_of
from lora_core.training.train import train

LENGTH_CONFIG = Path(__file__).parents[3] / "configs" / "length-default.toml"
#: What a training of seconds changes of it.
SMALL = ["base_frames=9", "num_frames=17", "dense_blocks=1", "rank=2", "alpha=2", "steps=2", "accumulation=1"]
SMALL += ["batch_size=2", "validate_every=0", "resolution=32", "max_upscale=4", "fps=16", "memory_plan=as_asked"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number, caption in enumerate(("a red circle moves left", "a square", "")):
        save_video(moving(17, 32, 32, seed=number), folder / f"{number}.mp4", 16.0)
        (folder / f"{number}.txt").write_text(caption)
    return folder


def cache_of(clips: Path, model: HunyuanModel, config: TrainConfig, folder: Path) -> ClipCache:
    return prepare(clips, model, config.clips, cache=folder / "cache").cache


def native_spec() -> Any:
    shapes = {name: tuple(tensor.shape) for name, tensor in tiny.fused_state(tiny.transformer()).items()}
    return infer_hunyuan_spec(shapes)


def test_a_lora_is_learnt_and_written_as_the_native_network_has_its_modules(
    clips: Path, model: HunyuanModel, tmp_path: Path
) -> None:
    given = {"clips": str(clips), "name": "mine", "num_frames": 9, "resolution": 32, "max_upscale": 4.0, "fps": 16.0}
    learning = {"steps": 2, "rank": 2, "batch_size": 3, "validate_every": 0, "lr": 1e-2}
    config = make_config({**given, **learning})
    (file,) = train(config, model, cache_of(clips, model, config, tmp_path), tmp_path / "out").files.values()
    learnt, joined = read_lora(file, spec=model.spec), read_lora(file, spec=native_spec())
    assert all(
        record.name.startswith(("diffusion_model.double_", "diffusion_model.single_")) for record in learnt.account
    )
    assert "double_blocks.0.img_attn.qkv" in joined.deltas
    parts = [learnt.deltas[f"double_blocks.0.img_attn.{part}"].dense() for part in "qkv"]
    assert all(part.norm() > 0 for part in parts)
    torch.testing.assert_close(torch.cat(parts), joined.deltas["double_blocks.0.img_attn.qkv"].dense())


def test_a_longer_video_is_learnt_with_radial_attention(clips: Path, model: HunyuanModel, tmp_path: Path) -> None:
    config = read_config(LENGTH_CONFIG, SMALL, clips=str(clips), name="longer")
    assert (config.noise.objective, config.learning.checkpointing) == ("extend-length", True)
    (file,) = train(config, model, cache_of(clips, model, config, tmp_path), tmp_path / "out").files.values()
    weights = read_lora(file, spec=model.spec)
    assert trained_length(weights.metadata) == TrainedLength(9, 17, 1.0, 1)
    assert {model.spec.kind_of(target) for target in weights.deltas} == {"self_attn"}


def test_the_published_lengths_fit_the_model() -> None:
    spec = hunyuan_spec("hunyuan-video")
    for frames, latent in ((253, 64), (509, 128)):
        config = read_config(LENGTH_CONFIG, ["base_frames=129", f"num_frames={frames}"], clips="x", name="longer")
        lengths = lengths_of(config, spec)
        assert (lengths.base, lengths.long) == (33, latent)


def test_clips_are_learnt_at_the_guidance_that_is_in_them(model: HunyuanModel) -> None:
    from lora_core.families.condition import Condition

    told: list[Tensor] = []

    def seen(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        told.append(kwargs["guidance"])

    network, texts = model.expert("low_noise"), model.encode_text("a square")
    handle = network.register_forward_pre_hook(seen, with_kwargs=True)
    try:
        with torch.no_grad():
            for guidance in (NetworkCall.embedded_guidance, None):
                call = NetworkCall(network, model.spec, guidance)
                call(torch.randn(1, 4, 2, 4, 4), torch.tensor([0.5]), Condition(texts))
    finally:
        handle.remove()
    assert [float(one) for one in told] == [1000.0, 6000.0]
