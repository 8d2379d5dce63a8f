"""What a stack of LoRAs costs per layer, against PEFT with the same adapters and against merged weights, in one run.

    python benchmarks/stack_overhead.py            the table of the documentation; minutes
    python benchmarks/stack_overhead.py --quick    one shape, to see that it runs

Prints a table and, last, one line of JSON. Contenders take turns within each round and are compared with the bare layer
of the same round, so that a slow minute of the machine falls on all alike; each figure is the median of the rounds.

What to expect by counting multiplications: with R the sum of ranks, the weight side costs R / tokens of the bare layer,
the activation side R (inputs + outputs) / (inputs * outputs), and PEFT the latter plus several passes over the output
for each adapter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lora_core.apply.attachment import attach
from lora_core.apply.layers import choose_side
from lora_core.deltas import Delta, Lora
from lora_core.families.registry import spec_of_module

#: (outputs, inputs) of Wan's linear layers: attention and feed-forward of 1.3B, attention of 14B.
SHAPES = ((1536, 1536), (8960, 1536), (5120, 5120))
TOKENS = (512, 2048, 4096, 8192, 32_768)
STACKS = (1, 2, 4, 8)
#: Ranks take turns; eight LoRAs come to 384.
RANKS = (32, 64)
STRENGTH = 0.7
NUM_STEPS_TIMED = 300
HEADER = "       layer  tokens  LoRAs  rank   bare ms     peft   merged     ours  side"
#: The wanted figures (docs/architecture.md): for 8 LoRAs from 4,096 tokens on, and for changing strengths.
MAX_OVERHEAD, MAX_SHARE_OF_PEFT, MAX_SET_SECONDS = 0.10, 0.20, 1e-3


@dataclass(frozen=True)
class Entry:
    """One LoRA as routing hands it over."""

    name: str
    deltas: Mapping[str, Delta]
    strength: float = STRENGTH
    factors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of the table; overheads are fractions of the bare layer's time."""

    num_outputs: int
    num_inputs: int
    num_tokens: int
    num_loras: int
    total_rank: int
    side: str
    bare_ms: float
    peft: float
    merged: float
    ours: float
    difference: float


def main() -> None:
    """Run what the arguments ask for."""
    options = parse()
    torch.manual_seed(0)
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}, {options.dtype}")
    print(HEADER)
    rows = []
    with torch.inference_mode():
        for num_outputs, num_inputs, num_tokens, num_loras in cases(options):
            rows.append(measure(num_outputs, num_inputs, num_tokens, num_loras, options))
            print(line(rows[-1]), flush=True)
        setting = measure_setting()
    for name, value in setting.items():
        print(f"{name}: {value:.6g}")
    print(json.dumps(report(rows, setting, options)))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one shape, two token counts, 1 and 8 LoRAs, 3 rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--max-gib", type=float, default=default_gib(), help="skip cases that need more memory")
    options = parser.parse_args()
    options.rounds = min(options.rounds, 3) if options.quick else options.rounds
    return options


def default_gib() -> float:
    """Return half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**31


def cases(options: argparse.Namespace) -> Iterator[tuple[int, int, int, int]]:
    """Yield (outputs, inputs, tokens, LoRAs), the cases too large for the memory left out, aloud."""
    for num_outputs, num_inputs in SHAPES[:1] if options.quick else SHAPES:
        for num_tokens in (512, 4096) if options.quick else TOKENS:
            # Three weights, and PEFT's input, output, result and one temporary of each adapter's size.
            gib = 4 * (3 * num_outputs * num_inputs + num_tokens * (2 * num_inputs + 4 * num_outputs)) / 2**30
            if gib > options.max_gib:
                print(f"{num_outputs}x{num_inputs}, {num_tokens} tokens left out: it needs {gib:.1f} GiB")
                continue
            for num_loras in (1, 8) if options.quick else STACKS:
                yield num_outputs, num_inputs, num_tokens, num_loras


def measure(num_outputs: int, num_inputs: int, num_tokens: int, num_loras: int, options: argparse.Namespace) -> Row:
    """Time one layer under one stack, bare and in every way of applying it."""
    place = {"device": options.device, "dtype": getattr(torch, options.dtype)}
    layer = nn.Linear(num_inputs, num_outputs, **place)
    deltas = [random_lora(num_outputs, num_inputs, RANKS[i % len(RANKS)], place) for i in range(num_loras)]
    x = torch.randn(1, num_tokens, num_inputs, **place)
    ours = nn.Sequential(same_layer(layer, layer.weight))
    change = sum(STRENGTH * delta.dense() for delta in deltas)
    contenders = {
        "bare": layer,
        "peft": with_peft(layer, deltas),
        "merged": same_layer(layer, (layer.weight.float() + change).to(layer.weight.dtype)),
        "ours": ours,
    }
    entries = [Entry(f"lora {i}", {"0": delta}) for i, delta in enumerate(deltas)]
    with attach(ours, entries):
        outputs = {name: contender(x) for name, contender in contenders.items()}
        seconds = race({name: lambda run=run: run(x) for name, run in contenders.items()}, options)
    overhead = {name: median_ratio(seconds[name], seconds["bare"]) - 1 for name in contenders}
    return Row(
        num_outputs,
        num_inputs,
        num_tokens,
        num_loras,
        sum(delta.rank for delta in deltas),
        choose_side(num_tokens, num_inputs, num_outputs),
        1e3 * statistics.median(seconds["bare"]),
        overhead["peft"],
        overhead["merged"],
        overhead["ours"],
        float((outputs["ours"].float() - outputs["peft"].float()).norm() / outputs["peft"].float().norm()),
    )


def random_lora(num_outputs: int, num_inputs: int, rank: int, place: Mapping[str, object]) -> Lora:
    """Make a LoRA whose change is a twentieth of the base's size."""
    down = torch.randn(rank, num_inputs, **place) / num_inputs**0.5
    return Lora(down, 0.05 * torch.randn(num_outputs, rank, **place) / rank**0.5)


def same_layer(layer: nn.Linear, weight: Tensor) -> nn.Linear:
    """Return a layer with the bias of `layer` and this weight."""
    result = nn.Linear(layer.in_features, layer.out_features, device="meta")
    result.weight, result.bias = nn.Parameter(weight, requires_grad=False), layer.bias
    return result


def with_peft(layer: nn.Linear, deltas: Sequence[Lora]) -> nn.Module:
    """Return the layer as PEFT runs it, all adapters active and not merged."""
    base = nn.Sequential(same_layer(layer, layer.weight))
    names = [f"lora_{i}" for i in range(len(deltas))]
    configs = [LoraConfig(r=delta.rank, lora_alpha=delta.rank, target_modules=["0"]) for delta in deltas]
    model = get_peft_model(base, configs[0], adapter_name=names[0])
    for name, config in list(zip(names, configs, strict=True))[1:]:
        model.add_adapter(name, config)
    model.base_model.set_adapter(names)
    tuner = model.base_model.model[0]
    for name, delta in zip(names, deltas, strict=True):
        tuner.lora_A[name].weight.data = delta.down
        tuner.lora_B[name].weight.data = delta.up
        tuner.set_scale(name, STRENGTH)
    return model.eval().requires_grad_(False)


def race(runs: Mapping[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of each run in each round; a short run is repeated within its turn."""
    repeats = {name: max(1, int(0.05 / max(timed(run, 1, options), 1e-6))) for name, run in runs.items()}
    rounds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            rounds[name].append(timed(run, repeats[name], options))
    return rounds


def median_ratio(seconds: Sequence[float], of_bare: Sequence[float]) -> float:
    """Return the median over the rounds of one contender's time by the bare layer's."""
    return statistics.median(ours / bare for ours, bare in zip(seconds, of_bare, strict=True))


def timed(run: Callable[[], object], repeats: int, options: argparse.Namespace) -> float:
    """Return the seconds of one run, out of `repeats` in a row."""
    synchronise(options)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronise(options)
    return (time.perf_counter() - start) / repeats


def synchronise(options: argparse.Namespace) -> None:
    """Wait for the device, where there is one to wait for."""
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()


def measure_setting() -> dict[str, float]:
    """Time a change of all strengths of 8 LoRAs on every block linear of Wan 1.3B (no weights: meta tensors)."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        network = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30).requires_grad_(False)
    layers = {path: part for path, part in network.named_modules() if ".attn" in path or ".ffn" in path}
    layers = {path: part for path, part in layers.items() if isinstance(part, nn.Linear)}
    spec = spec_of_module(network)
    deltas = {str(spec.find(path)): meta_lora(layer) for path, layer in layers.items()}
    strengths = [0.1 * i for i in range(8)]
    start = time.perf_counter()
    attachment = attach(network, [Entry(f"lora {i}", deltas) for i in range(8)], spec)
    attached = time.perf_counter()
    result = {
        "layers": attachment.num_layers,
        "attach seconds": attached - start,
        "set_strengths seconds": median_seconds(lambda: attachment.set_strengths(strengths), NUM_STEPS_TIMED),
        "set_strengths peak bytes": peak_bytes(lambda: attachment.set_strengths(strengths)),
    }
    start = time.perf_counter()
    attachment.detach()
    result["detach seconds"] = time.perf_counter() - start
    return {**result, "peft set_adapters seconds": measure_peft_setting(network, list(layers), strengths)}


def measure_peft_setting(network: nn.Module, paths: Sequence[str], strengths: Sequence[float]) -> float:
    """Time the same change through diffusers and PEFT."""
    from diffusers.utils.peft_utils import set_weights_and_activate_adapters
    from peft import inject_adapter_in_model

    names = [f"lora_{i}" for i in range(len(strengths))]
    config = LoraConfig(r=32, lora_alpha=32, target_modules=list(paths))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are several adapters, which is the point
        for name in names:
            inject_adapter_in_model(config, network, name, low_cpu_mem_usage=True)
    return median_seconds(lambda: set_weights_and_activate_adapters(network, names, list(strengths)), 5)


def meta_lora(layer: nn.Linear) -> Lora:
    """Make a LoRA without numbers."""
    down = torch.empty(32, layer.in_features, device="meta")
    return Lora(down, torch.empty(layer.out_features, 32, device="meta"))


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the median of single runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most Python memory that a run holds beyond what was there."""
    tracemalloc.start()
    run()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    run()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


def line(row: Row) -> str:
    """Format one row of the table."""
    layer = f"{row.num_outputs}x{row.num_inputs}"
    percent = " ".join(f"{100 * value:+7.1f}%" for value in (row.peft, row.merged, row.ours))
    sizes = f"{layer:>12} {row.num_tokens:>7} {row.num_loras:>6} {row.total_rank:>5}"
    return f"{sizes} {row.bare_ms:>9.2f} {percent}  {row.side}"


def report(rows: Sequence[Row], setting: Mapping[str, float], options: argparse.Namespace) -> dict[str, object]:
    """Return everything measured, and which of the wanted figures were reached."""
    wanted = [row for row in rows if row.num_loras == 8 and row.num_tokens >= 4096]
    return {
        "benchmark": "stack_overhead",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": options.device,
        "dtype": options.dtype,
        "rows": [asdict(row) for row in rows],
        "setting": dict(setting),
        "largest_overhead": max(row.ours for row in wanted),
        "largest_share_of_peft": max(row.ours / row.peft for row in wanted),
        "reached": {
            "overhead": all(row.ours <= MAX_OVERHEAD for row in wanted),
            "share_of_peft": all(row.ours <= MAX_SHARE_OF_PEFT * row.peft for row in wanted),
            "set_strengths": setting["set_strengths seconds"] <= MAX_SET_SECONDS,
        },
    }


if __name__ == "__main__":
    main()
