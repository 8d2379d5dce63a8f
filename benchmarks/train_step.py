"""Time and memory of one training step: ours (lora, qlora, full) against a plain loop of diffusers and peft.

    python benchmarks/train_step.py                                  the pocket model, batch 4
    python benchmarks/train_step.py --model 1.3b --blocks 2 --clip 5 32 32 --batch 1
    python benchmarks/train_step.py --model 1.3b --dtype bfloat16 --checkpointing --device cuda

Every loop makes the same step (noisy latents in, mean squared error against the velocity, AdamW) from the same weights.
Steps are timed in turns, so that a busy machine slows all alike; a ratio is the median over the rounds. Memory is the
peak of tensors alive during a step, weights and optimiser included. Prints a table and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lora_core.checkpoints.meter import MemoryMeter
from lora_core.checkpoints.residency import offline
from lora_core.families.wan.open import open_wan
from lora_core.training.network.trainee import make_trainee
from lora_core.training.settings.adapter import AdapterSettings, Method

LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
#: The plain loops, then ours.
LOOPS = ("peft lora", "diffusers full", "lora", "qlora", "full")
#: (loop, the one it is compared with, what of).
RATIOS = (
    ("lora", "peft lora", "time"),
    ("lora", "full", "time"),
    ("lora", "full", "memory"),
    ("lora", "peft lora", "memory"),
    ("qlora", "lora", "time"),
    ("qlora", "lora", "memory"),
    ("full", "diffusers full", "time"),
)


@dataclass(frozen=True)
class Setup:
    """What all loops have in common."""

    model: str
    blocks: int
    clip: tuple[int, int, int]
    batch: int
    dtype: torch.dtype
    checkpointing: bool
    rank: int
    device: str


@dataclass(frozen=True)
class Loop:
    """One way of training, ready to take steps."""

    network: nn.Module
    optimiser: torch.optim.Optimizer

    def step(self, x: Tensor, timestep: Tensor, text: Tensor, target: Tensor) -> None:
        """Take one step."""
        v = self.network(x, timestep, text, return_dict=False)[0]
        (v.float() - target).square().mean().backward()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def base_network(setup: Setup) -> nn.Module:
    """Return the network that every loop starts from, in memory of its own."""
    if setup.model == "pocket":
        model = open_wan("pocket", dtype=setup.dtype, device=setup.device)
        return copy.deepcopy(model.expert("high_noise"))
    return random_network(setup)


def random_network(setup: Setup) -> nn.Module:
    """Return a few blocks of the shapes of Wan 2.1 1.3B, with weights that are quickly drawn."""
    with offline():
        from accelerate import init_empty_weights
        from diffusers import WanTransformer3DModel

    with init_empty_weights(include_buffers=False):
        network: nn.Module = WanTransformer3DModel(
            num_attention_heads=12,
            attention_head_dim=128,
            in_channels=16,
            out_channels=16,
            text_dim=4096,
            ffn_dim=8960,
            num_layers=setup.blocks,
        )
    wide = set(WanTransformer3DModel._keep_in_fp32_modules)
    few = 0.02 * torch.randn(100_003, generator=torch.Generator().manual_seed(0))
    for name, parameter in list(network.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        dtype = torch.float32 if wide & set(name.split(".")) else setup.dtype
        values = few.repeat(-(-parameter.numel() // len(few)))[: parameter.numel()].reshape(parameter.shape)
        drawn = (1 + values if ".norm" in name else values).to(setup.device, dtype, copy=True)
        setattr(network.get_submodule(owner), leaf, nn.Parameter(drawn, requires_grad=False))
    for buffer in network.buffers():
        buffer.data = buffer.data.to(setup.device)
    return network.eval()


def plain_lora(setup: Setup) -> Loop:
    """Train a LoRA as the example scripts of diffusers and peft do."""
    from peft import LoraConfig

    network = base_network(setup)
    network.add_adapter(LoraConfig(r=setup.rank, lora_alpha=setup.rank // 2, target_modules=LAYERS))
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()
    return _plain(network, weights, setup)


def plain_full(setup: Setup) -> Loop:
    """Train all weights as they are."""
    network = base_network(setup).requires_grad_(True)
    return _plain(network, network.parameters(), setup)


def _plain(network: nn.Module, weights: Iterable[nn.Parameter], setup: Setup) -> Loop:
    network.train()
    if setup.checkpointing:
        network.enable_gradient_checkpointing()
    return Loop(network, torch.optim.AdamW(weights, lr=1e-4))


def ours(method: Method) -> Callable[[Setup], Loop]:
    """Return what builds our loop of a method."""

    def build(setup: Setup) -> Loop:
        trainee = make_trainee(base_network(setup), AdapterSettings(method=method, rank=setup.rank))
        trainee.network.train()
        trainee.checkpointing(setup.checkpointing)
        return Loop(trainee.network, torch.optim.AdamW(trainee.weights.values(), lr=1e-4, fused=True))

    return build


BUILDERS: dict[str, Callable[[Setup], Loop]] = {
    "peft lora": plain_lora,
    "diffusers full": plain_full,
    "lora": ours("lora"),
    "qlora": ours("qlora"),
    "full": ours("full"),
}


def batch_of(setup: Setup, network: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return noisy latents, timesteps, text and the velocity to learn."""
    generator = torch.Generator().manual_seed(1)
    shape = (setup.batch, 16, *setup.clip)
    x, target = (torch.randn(shape, generator=generator).to(setup.device) for _ in range(2))
    text = torch.randn(setup.batch, 512, network.config["text_dim"], generator=generator).to(setup.device)
    timestep = torch.linspace(100, 900, setup.batch).to(setup.device)
    return x.to(setup.dtype), timestep, text.to(setup.dtype), target


def measure_memory(setup: Setup, name: str) -> int:
    """Return the peak bytes of tensors during a step, after one that made the optimiser's state."""
    with MemoryMeter() as meter:
        loop = BUILDERS[name](setup)
        batch = batch_of(setup, loop.network)
        loop.step(*batch)
        gc.collect()
        meter.peak = meter.num_bytes
        loop.step(*batch)
    return meter.peak


#: What tells the time: the wall's clock, or the processor's, which others on a busy machine disturb less.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def measure_time(setup: Setup, names: list[str], num_rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds of each loop's steps, taken in turns."""
    loops = {name: BUILDERS[name](setup) for name in names}
    batch = batch_of(setup, next(iter(loops.values())).network)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(num_rounds + 1):
        for name in names if number % 2 else reversed(names):
            start = clock()
            loops[name].step(*batch)
            if setup.device != "cpu":
                torch.accelerator.synchronize()
            if number:  # the first is a warm-up
                seconds[name].append(clock() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], memory: dict[str, int]) -> dict[str, float]:
    """Return the comparisons that matter, of those loops that were measured."""
    found = {}
    for loop, other, what in RATIOS:
        if what == "memory" and loop in memory and other in memory:
            found[f"{loop} / {other}, memory"] = memory[loop] / memory[other]
        if what == "time" and loop in seconds and other in seconds:
            pairs = zip(seconds[loop], seconds[other], strict=True)
            found[f"{loop} / {other}, time"] = statistics.median(a / b for a, b in pairs)
    return {name: round(value, 3) for name, value in found.items()}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("pocket", "1.3b"), default="pocket", help="1.3b: random, of its shapes")
    parser.add_argument("--blocks", type=int, default=2, help="of the random model")
    parser.add_argument("--clip", type=int, nargs=3, metavar=("FRAMES", "HEIGHT", "WIDTH"), help="of the latents")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=LOOPS)
    arguments = parser.parse_args()
    setup = Setup(
        model=arguments.model,
        blocks=arguments.blocks,
        clip=tuple(arguments.clip or ((5, 8, 8) if arguments.model == "pocket" else (5, 32, 32))),
        batch=arguments.batch,
        dtype=getattr(torch, arguments.dtype),
        checkpointing=arguments.checkpointing,
        rank=arguments.rank,
        device=arguments.device,
    )
    names = [name for name in LOOPS if name in arguments.loops]
    memory = {name: measure_memory(setup, name) for name in names}
    seconds = measure_time(setup, names, arguments.rounds, CLOCKS[arguments.clock])
    print(f"{setup}, {torch.get_num_threads()} threads, {arguments.rounds} rounds")
    print(f"  {'loop':16} {'s/step':>9} {'fastest':>9} {'MiB':>9}")
    for name in names:
        median, fastest = statistics.median(seconds[name]), min(seconds[name])
        print(f"  {name:16} {median:9.4f} {fastest:9.4f} {memory[name] / 2**20:9.1f}")
    compared = ratios(seconds, memory)
    for name, value in compared.items():
        print(f"  {name:32} {value:.3f}")
    print(json.dumps({"setup": {**vars(setup), "dtype": arguments.dtype}, "memory": memory, "ratios": compared}))


if __name__ == "__main__":
    main()
