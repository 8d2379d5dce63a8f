"""The computed memory against the allocations of diffusers' own modules, made on the meta device."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from diffusers import WanTransformer3DModel

from lora_core.checkpoints.meter import MemoryMeter
from lora_core.families.wan.config import transformer_config
from lora_core.families.wan.memory import computed_peak
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.spec import wan_spec


def test_the_meter_counts_what_is_held_at_once() -> None:
    before = torch.ones(1000)
    with MemoryMeter() as meter:
        first = before + 1  # 4,000 bytes
        second = first.view(10, 100) * 2  # 8,000: a view weighs nothing
        del first
        third = second.double()  # 4,000 + 8,000
        del second
    assert (meter.peak, meter.num_bytes) == (12_000, 8_000)
    del third
    assert meter.num_bytes == 0


def test_only_one_expert_is_held_with_offloading(tmp_path_factory: pytest.TempPathFactory) -> None:
    files = tiny.save_files(tmp_path_factory.mktemp("files"), dtype=torch.float16)
    model = open_wan(files.high, offload="experts", **files.arguments())
    names = ("high_noise", "low_noise", "high_noise")
    for name in names:
        model.expert(name)
    model.release()
    with MemoryMeter() as meter:
        for name in names:
            network = model.expert(name)
    one_expert = sum(parameter.numel() * 4 for parameter in network.parameters())
    assert one_expert <= meter.num_bytes <= meter.peak < 1.01 * one_expert


@pytest.mark.parametrize("name", ["wan2.2-t2v-a14b", "wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_activations_are_those_of_the_module(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = wan_spec(name)
    config = transformer_config(spec, {}, name) | {"num_layers": 2}
    with torch.device("meta"):
        module = WanTransformer3DModel.from_config(config)
    for path, parameter in module.named_parameters():
        wide = any(part in path for part in ("time_embedder", "scale_shift_table", "norm2"))
        parameter.data = parameter.data.to(torch.float32 if wide else dtype)
    frames, height, width = 21, 60, 104
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", _like_the_query)
    latents = torch.empty(1, config["in_channels"], frames, height, width, dtype=dtype, device="meta")
    text = torch.empty(1, 512, 4096, dtype=dtype, device="meta")
    with torch.no_grad(), MemoryMeter() as meter:
        module(latents, torch.empty(1, device="meta"), text, return_dict=False)
    stride = spec.vae_stride[1]
    arguments = {"num_frames": 4 * (frames - 1) + 1, "height": height * stride, "width": width * stride}
    with_it = computed_peak(spec, "experts", dtype, **arguments).sampling
    without = computed_peak(spec, "experts", dtype, num_frames=1, height=0, width=0).sampling
    assert math.isclose(with_it - without, meter.peak, rel_tol=0.03)


def test_weights_are_counted_as_stored() -> None:
    spec = wan_spec("wan2.2-t2v-a14b")
    halves = computed_peak(spec, "experts", torch.bfloat16, height=0, width=0).sampling
    eighths = computed_peak(spec, "experts", torch.bfloat16, height=0, width=0, weight_bits=8).sampling
    numel = sum(math.prod(shape) for shape in spec.shapes.values())
    assert math.isclose(halves, 2 * numel, rel_tol=0.01)
    assert math.isclose(eighths, numel, rel_tol=0.03)


def test_offloading_takes_less_in_its_order() -> None:
    spec = wan_spec("wan2.2-t2v-a14b")
    none, experts, blocks = (computed_peak(spec, mode).peak for mode in ("none", "experts", "blocks"))
    assert none > 2.3 * experts > 2.3 * blocks
    assert str(computed_peak(spec, "experts")) == "10.6 / 30.1 / 8.1 GiB"


def _like_the_query(*arguments: torch.Tensor, **keywords: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(arguments[0] if arguments else keywords["query"])
