"""What each of two processes computes together and then alone, as `torchrun --nproc-per-node 2 launched.py OUT`.

Each writes OUT/RANK.json: name of a case -> the largest difference between the two, relative to the largest value. The
first case is a clip by our own path, the others are networks of other families with a stack attached; the last is the
command line, of which each keeps what it has said.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from random_deltas import lora
from torch import Tensor, nn

from lora_core.apply.attachment import attach
from lora_core.attention.wishes import RadialWishes
from lora_core.engine.generate import generate
from lora_core.engine.request import GenerationRequest
from lora_core.errors import RequestError
from lora_core.families.base import ModelSpec, parameter_shapes, target_of
from lora_core.families.cosmos.parallel import PARALLEL as COSMOS
from lora_core.families.family import TokenSplit
from lora_core.families.hunyuan.parallel import PARALLEL as HUNYUAN
from lora_core.families.registry import opener
from lora_core.plan.route import RoutedLora
from lora_core.sampling.context_parallel import ContextParallel, make_context_parallel, sharing
from lora_core.stack.stack import LoraStack
from lora_core.training.ranks import find_ranks


def main() -> None:
    out, ranks = Path(sys.argv[1]), find_ranks()
    parallel = make_context_parallel(torch.device("cpu"))
    cases = {"clip": clip(parallel), **bad_clips(parallel)}
    cases |= {f"cosmos, {name}": apart(COSMOS, *case, parallel) for name, case in cosmos().items()}
    cases |= {f"hunyuan, {name}": apart(HUNYUAN, *case, parallel) for name, case in hunyuan().items()}
    (out / f"{ranks.index}.json").write_text(json.dumps(cases))
    command(out, ranks.index)


def clip(parallel: ContextParallel) -> float:
    """Make a clip with a stack whose strengths change, guided, together and alone; the model is as it was between."""
    model = opener("pocket")("pocket")
    stack = LoraStack().add("speed_6steps").add("neon_style", 0.7, schedule="fade_out").add("zibbo_character", 1.2)
    request = GenerationRequest("a zibbo moves right", num_steps=3, num_frames=5, height=32, width=32, cfg=2.0)
    before = [sorted(vars(module)) for module in model.expert("high_noise").modules()]
    together = generate(model, request, stack, parallel=parallel)
    assert together.record["machine"]["num_processes"] == 2
    after = [sorted(vars(module)) for module in model.expert("high_noise").modules()]
    assert before == after
    return difference(together.latents, generate(model, request, stack).latents)


def bad_clips(parallel: ContextParallel) -> dict[str, str]:
    """Return what is said, before a network runs, of clips that two processes do not share."""
    model, said = opener("pocket")("pocket"), {}
    for name, height, radial in (("one token", 16, None), ("radial", 32, RadialWishes())):
        request = GenerationRequest("a zibbo moves right", num_frames=1, height=height, width=16)
        try:
            generate(
                model, request, parallel=parallel, radial=radial, on_phase=lambda phase: sys.exit(f"{phase} has begun")
            )
        except RequestError as error:
            said[name] = str(error)
    return said


def cosmos() -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
    from diffusers import CosmosTransformer3DModel

    torch.manual_seed(0)
    shared: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 2, "mlp_ratio": 2}
    shared |= {
        "in_channels": 17,
        "out_channels": 16,
        "text_embed_dim": 32,
        "adaln_lora_dim": 4,
        "max_size": (4, 32, 32),
    }
    shared |= {"patch_size": (1, 2, 2), "concat_padding_mask": False}
    one_time = {"hidden_states": torch.randn(1, 17, 3, 8, 4), "timestep": torch.tensor([0.7])}
    own_times = {**one_time, "timestep": torch.rand(1, 1, 3, 1, 1)}
    text = {"encoder_hidden_states": torch.randn(1, 7, 32), "fps": 16}
    masked = {**text, "attention_mask": torch.randn(1, 7)}
    table = CosmosTransformer3DModel(**shared, extra_pos_embed_type="learnable")
    plain = CosmosTransformer3DModel(**shared, extra_pos_embed_type=None)
    return {"one time": (table, one_time | text), "a time for each frame": (plain, own_times | masked)}


def hunyuan() -> Mapping[str, tuple[nn.Module, dict[str, Any]]]:
    from diffusers import HunyuanVideoTransformer3DModel

    torch.manual_seed(1)
    network = HunyuanVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        patch_size=2,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(4, 6, 6),
    )
    inputs = {
        "hidden_states": torch.randn(2, 4, 3, 8, 4),
        "timestep": torch.tensor([700, 700]),
        "encoder_hidden_states": torch.randn(2, 6, 16),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]),
        "pooled_projections": torch.randn(2, 8),
        "guidance": torch.tensor([6000.0, 6000.0]),
    }
    return {"padded texts": (network, inputs)}


def apart(split: TokenSplit, network: nn.Module, inputs: dict[str, Any], parallel: ContextParallel) -> float:
    """Return how far a network with a stack on every linear layer is from itself, together and alone."""
    network = network.requires_grad_(False).eval()
    targets = {target_of(name): shape for name, shape in parameter_shapes(network).items()}
    spec = ModelSpec(name="generic", title="tiny", shapes=targets)
    deltas = {name: lora(shape, scale=0.3) for name, shape in targets.items() if is_linear(network, name)}
    assert "proj_out" in deltas, "behind which the parts are gathered"
    acting = RoutedLora(
        index=0,
        name="random",
        expert="low_noise",
        made_for="low_noise",
        strength=0.5,
        weights=None,
        deltas=deltas,
        factors=dict.fromkeys(deltas, 1.0),
    )

    def velocity() -> Tensor:
        with torch.no_grad(), attach(network, [acting], spec):
            return network(**inputs, return_dict=False)[0]

    alone = velocity()
    with torch.no_grad():
        assert difference(network(**inputs, return_dict=False)[0], alone) > 0.01, "the stack acts"
    with sharing(network, split, parallel.mesh):
        together = velocity()
    assert torch.equal(velocity(), alone)
    return difference(together, alone)


def is_linear(network: nn.Module, target: str) -> bool:
    modules = dict(network.named_modules())
    return isinstance(modules.get(target), nn.Linear)


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.abs().max())


def command(out: Path, index: int) -> None:
    """Run the program with what the launcher has told both."""
    from click.testing import CliRunner

    from lora_core.cli.main import cli

    words = ["generate", "-p", "a zibbo moves right", "--steps", "2", "--frames", "5", "--lora", "speed_6steps"]
    words += ["--context-parallel", "--size", "32x32", "-o", str(out / f"by-{index}.mp4")]
    for name, more in (("bad", ["--lora", "speed_5steps"]), ("good", [])):
        ended = CliRunner().invoke(cli, [*words, *more])
        (out / f"{name}-{index}.txt").write_text(f"{ended.exit_code} {ended.output} {ended.exception}")


if __name__ == "__main__":
    main()
