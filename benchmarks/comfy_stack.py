"""What a stack of LoRAs costs in ComfyUI: this extension against what ComfyUI itself offers, in one process.

    COMFYUI_PATH=~/ComfyUI PYTHON benchmarks/comfy_stack.py            PYTHON is the one that runs ComfyUI; minutes
    COMFYUI_PATH=~/ComfyUI PYTHON benchmarks/comfy_stack.py --loras 8 --tokens 8192 --rounds 3
    COMFYUI_PATH=~/ComfyUI PYTHON benchmarks/comfy_stack.py --quick    a narrow model, to see that it runs
    COMFYUI_PATH=~/ComfyUI PYTHON benchmarks/comfy_stack.py --network flux --blocks 1 --tokens 1024

A native Wan with the shapes of 1.3B, or blocks of a Flux (`comfy_networks.py`), with random weights and a few blocks,
is sampled by ComfyUI's own Euler. The contenders take turns within each round and are compared with the run without
LoRA of the same round, so that a slow minute of the machine falls on all alike. A turn: one untimed step on a small
latent, which loads the model as the contender wants it, then one strength changes, then the timed run. Prints a table
and, last, one line of JSON.

On a machine shared with others, `--clock cpu` counts the seconds that this process had the processor for, on one
thread: what waits and spinning threads add to wall clock would drown what is measured.

What to expect by counting multiplications: with R the sum of ranks, a changed weight costs R / tokens of its layer's
own product, so 256 / 4096 = 6.2 % of the linear layers, and less of a step, by the share of attention and the rest.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from comfy_networks import NETWORKS
from safetensors.torch import save_file
from torch import Tensor, nn

PROJECT = Path(__file__).absolute().parents[1]
RANK = 32
STRENGTH = 0.7
NUM_STEPS, SHIFT = 6, 5.0
#: The schedule's factors, another one at every step.
FACTORS = tuple(1 - 0.1 * i for i in range(NUM_STEPS))
#: The wanted figures: added to a step by 8 LoRAs from 4,096 tokens on; by a changed strength; and of a scheduled run.
MAX_OVERHEAD, MAX_CHANGE_SECONDS, MIN_SPEED_UP = 0.05, 0.05, 5.0
NONE, MERGE, BYPASS, OURS = "none", "merge", "bypass", "ours"
KEYFRAMES, SCHEDULED = "keyframes", "ours-schedule"
CONTENDERS = (MERGE, BYPASS, OURS, KEYFRAMES, SCHEDULED)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
HEADER = (
    "contender      LoRAs steps  step min s  median s  over none: min   median  weights  first step s  change s  run s"
    "  peak MiB  differs"
)

#: The strengths of all LoRAs -> MODEL and positive conditioning, as a graph's nodes would make them.
Prepare = Callable[[Sequence[float]], tuple[Any, Any]]


@dataclass(frozen=True)
class Run:
    """One timed run.

    Attributes:
        to_network: seconds from the changed strength to where the network begins its first step.
        step_ends: to the end of each step.
        seconds: of the whole.
        on_weights: seconds per step of work on weights: ComfyUI's casting, with what wrappers do, and all that happens
            between two calls of the network, which is when hook keyframes change weights.
    """

    to_network: float
    step_ends: tuple[float, ...]
    seconds: float
    on_weights: float
    latent: Tensor

    @property
    def first(self) -> float:
        return self.step_ends[0]

    @property
    def later_steps(self) -> list[float]:
        """The seconds of each step after the first."""
        return [end - start for start, end in zip(self.step_ends, self.step_ends[1:], strict=False)]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        step_min, step_median: seconds of a step, over all rounds; how far apart they are says how noisy it was.
        overhead_of_min: of the fastest step over the fastest without LoRA, as a fraction; the least noisy figure.
        overhead: of a step, as a fraction of one without LoRA in the same round; the median of the rounds.
        on_weights: what of that is work on weights, timed by itself; it has not the noise of all else, which takes many
            times as long. Bypass does its work on activations.
        first_step: seconds from a changed strength to the end of the first step; the median of the rounds.
        change: seconds from a changed strength to the network's beginning, less those of a run without LoRA.
        run: seconds from a changed strength to the end of the run.
        peak_mib: memory beyond the loaded model, files and activations included; in the first round.
        difference: of the result from that of core's merge (keyframes, where there is a schedule), relative.
    """

    contender: str
    num_loras: int
    num_steps: int
    step_min: float
    step_median: float
    overhead_of_min: float
    overhead: float
    on_weights: float
    first_step: float
    change: float
    run: float
    peak_mib: float
    difference: float


def main() -> None:
    """Run what the arguments ask for."""
    options = parse()
    host = Host(options)
    print(host.describe())
    rows: list[Row] = []
    with torch.inference_mode():
        for num_loras in options.loras:
            print(HEADER)
            files = host.write_loras(num_loras)
            runs, peaks = race(host, contenders(host, files), num_loras, options)
            rows += (measured := table(runs, peaks, num_loras))
            print("\n".join(map(line, measured)), flush=True)
    report = summarise(rows, options, host)
    print("wanted:", ", ".join(f"{name} {value}" for name, value in report["wanted"].items()))
    print(json.dumps(report, allow_nan=False))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loras", type=int, nargs="+", default=[1, 4, 8], help="how many LoRAs")
    parser.add_argument("--network", default="wan", choices=tuple(NETWORKS))
    parser.add_argument("--blocks", type=int, default=2, help="of each kind")
    parser.add_argument("--tokens", type=int, default=4096, help="rounded down to a multiple of 64")
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--ffn", type=int, default=8960, help="of wan; of flux it is four times the width")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, choices=range(2, NUM_STEPS), help="without a schedule")
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS, help="beside none at all")
    parser.add_argument("--clock", default="wall", choices=tuple(CLOCKS))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--quick", action="store_true", help="width 256, one block, 256 tokens, 8 LoRAs, one round")
    options = parser.parse_args()
    if options.clock == "cpu" and options.device != "cpu":
        parser.error("--clock cpu does not see what another device does")
    if options.quick:
        quick = {"loras": [8], "blocks": 1, "tokens": 256, "width": 256, "ffn": 1024, "rounds": 1}
        options = argparse.Namespace(**{**vars(options), **quick})
    return options


class Host:
    """ComfyUI in this process, with the extension imported, and a model and a prompt to sample with."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.network = NETWORKS[options.network]
        self.clock = CLOCKS[options.clock]
        self._temporary = tempfile.TemporaryDirectory(prefix="comfy-stack-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        enter_comfyui(options.device)
        if options.clock == "cpu":
            torch.set_num_threads(1)
        import comfy.model_management
        import folder_paths

        self.management = comfy.model_management
        folder_paths.add_model_folder_path("loras", str(self.folder), is_default=True)
        self.extension = import_extension()
        torch.manual_seed(0)
        with torch.inference_mode():
            self.model = self._load_model()
        self.sigmas = torch.tensor(self.module("lora_core").flow_sigmas(NUM_STEPS, SHIFT))
        self.positive = self.network.positive()
        self.noise = torch.randn(self.network.latents(options.tokens))
        self.small_noise = self.noise[..., :2]

    def module(self, name: str) -> ModuleType:
        """Return a module of the extension."""
        return importlib.import_module(f"{self.extension.__name__}.{name}")

    def _load_model(self) -> Any:
        """Return a MODEL with random weights, opened by ComfyUI's loader and with the run's shift."""
        import comfy.ops
        import comfy.sd
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3

        network = self.network.make(self.options, comfy.ops.disable_weight_init)
        dtype = getattr(torch, self.options.dtype)
        weights = {name: random_parameter(name, tensor).to(dtype) for name, tensor in network.state_dict().items()}
        # Hook keyframes ask for a model that is not loaded dynamically, so none is.
        model = comfy.sd.load_diffusion_model_state_dict(weights, {"dtype": dtype}, disable_dynamic=True)
        return ModelSamplingSD3().patch(model, SHIFT, multiplier=self.network.shift)[0]

    def write_loras(self, count: int) -> list[str]:
        """Write LoRA files in the dialect that ComfyUI reads, and return their names."""
        layers = self.network.layers(dict(self.model.model.diffusion_model.named_parameters()))
        names = [f"bench_{i}.safetensors" for i in range(count)]
        for name in names:
            tensors = {}
            for path, (num_outputs, num_inputs) in layers.items():
                key = f"diffusion_model.{path}"
                tensors[f"{key}.lora_down.weight"] = torch.randn(RANK, num_inputs) / num_inputs**0.5
                tensors[f"{key}.lora_up.weight"] = 0.05 * torch.randn(num_outputs, RANK) / RANK**0.5
                tensors[f"{key}.alpha"] = torch.tensor(float(RANK))
            if not (self.folder / name).exists():
                save_file(tensors, self.folder / name)
        return names

    def sample(self, noise: Tensor, prepare: Prepare, strengths: Sequence[float], num_steps: int) -> Run:
        """Change to these strengths and sample the first steps of a run, all of it timed."""
        from comfy.samplers import CFGGuider, sampler_object

        watch = Watch(self.clock, self.synchronise)
        with watch.on(self.model.model.diffusion_model):
            model, positive = prepare(strengths)
            guider = CFGGuider(model)
            guider.inner_set_conds({"positive": positive})
            guider.set_cfg(1.0)
            latent = guider.sample(
                noise,
                torch.zeros_like(noise),
                sampler_object("euler"),
                self.sigmas[: num_steps + 1],
                callback=partial(watch.note, "step"),
                disable_pbar=True,
                seed=0,
            )
        return watch.run(latent)

    def synchronise(self) -> None:
        """Wait for the device, where there is one to wait for."""
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def describe(self) -> str:
        """Say what runs on what."""
        from comfyui_version import __version__

        options = self.options
        ffn = f"ffn {options.ffn}, " if options.network == "wan" else ""
        network = f"{options.network}, width {options.width}, {ffn}{options.blocks} blocks, {options.tokens} tokens"
        return (
            f"ComfyUI {__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {options.device}, "
            f"{options.dtype}, {options.clock} clock; {network}; rank {RANK}; {options.rounds} rounds"
        )


class Watch:
    """A watch on when the network is called and returns, when a step ends, and how long weights are worked on."""

    def __init__(self, clock: Callable[[], float], synchronise: Callable[[], None]) -> None:
        self._clock = clock
        self._synchronise = synchronise
        self._noted: dict[str, list[float]] = {"call": [], "return": [], "step": [], "cast": []}

    def note(self, event: str, *_: object) -> None:
        self._synchronise()
        self._noted[event].append(self._clock() - self._start)

    @contextmanager
    def on(self, network: nn.Module) -> Iterator[None]:
        """Watch a run from its beginning to its end."""
        import comfy.ops

        hooks = [
            network.register_forward_pre_hook(lambda *_: self.note("call")),
            network.register_forward_hook(lambda *_: self.note("return")),
        ]
        cast = comfy.ops.cast_bias_weight
        comfy.ops.cast_bias_weight = partial(self._cast, cast)
        self._synchronise()
        self._start = self._clock()
        try:
            yield
            self._synchronise()
            self._seconds = self._clock() - self._start
        finally:
            comfy.ops.cast_bias_weight = cast
            for hook in hooks:
                hook.remove()

    def _cast(self, cast: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do ComfyUI's casting of a layer's weight, timed; on an accelerator that is the time to ask for it."""
        start = self._clock()
        result = cast(*args, **kwargs)
        self._noted["cast"].append(self._clock() - start)
        return result

    def run(self, latent: Tensor) -> Run:
        calls, ends = self._noted["call"], self._noted["step"]
        between = [call - back for call, back in zip(calls[1:], self._noted["return"], strict=False)]
        on_weights = sum(self._noted["cast"]) / len(ends) + (statistics.mean(between) if between else 0.0)
        return Run(calls[0], tuple(ends), self._seconds, on_weights, latent)


def enter_comfyui(device: str) -> None:
    """Make ComfyUI's modules importable, started for this device."""
    folder = Path(os.environ.get("COMFYUI_PATH", "~/ComfyUI")).expanduser()
    if not (folder / "comfy").is_dir():
        sys.exit(f"COMFYUI_PATH: {folder} is no ComfyUI folder. Set it to one")
    sys.path.insert(0, str(folder))
    import comfy.options

    started_with, sys.argv = sys.argv, ["main.py", *(["--cpu"] if device == "cpu" else [])]
    comfy.options.enable_args_parsing()
    import comfy.cli_args  # reads sys.argv when it is imported, once

    sys.argv = started_with


def import_extension() -> ModuleType:
    """Import the extension from its folder as a package, as ComfyUI does; its root must not get onto sys.path."""
    spec = importlib.util.spec_from_file_location("wanloom", PROJECT / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules["wanloom"] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return package


def random_parameter(name: str, like: Tensor) -> Tensor:
    """Return numbers that keep activations at a size that networks have."""
    if "norm" in name:
        return torch.ones(like.shape) if name.endswith("weight") else torch.zeros(like.shape)
    fan_in = like[0].numel() if like.ndim > 1 else like.numel()
    return torch.randn(like.shape) / fan_in**0.5


def contenders(host: Host, files: Sequence[str]) -> dict[str, tuple[Prepare, int]]:
    """Return each contender's way from strengths to a model, and how many steps it runs."""
    from comfy_extras.nodes_lora_debug import LoraLoaderBypassModelOnly
    from nodes import LoraLoaderModelOnly

    ways: dict[str, tuple[Prepare, int]] = {
        NONE: (lambda strengths: (host.model, host.positive), host.options.steps),
        MERGE: (chain(host, files, LoraLoaderModelOnly), host.options.steps),
        BYPASS: (chain(host, files, LoraLoaderBypassModelOnly), host.options.steps),
        OURS: (ours(host, files), host.options.steps),
        KEYFRAMES: (keyframes(host, files), NUM_STEPS),
        SCHEDULED: (ours(host, files, steps_schedule()), NUM_STEPS),
    }
    return {name: way for name, way in ways.items() if name in (NONE, *host.options.contenders)}


def chain(host: Host, files: Sequence[str], loader: Callable[[], Any]) -> Prepare:
    """Chain core's loaders, one per file; each keeps its file's tensors between runs, as in a graph."""
    loaders = [loader() for _ in files]

    def prepare(strengths: Sequence[float]) -> tuple[Any, Any]:
        model = host.model
        for node, file, strength in zip(loaders, files, strengths, strict=True):
            (model,) = node.load_lora_model_only(model, file, strength)
        return model, host.positive

    return prepare


def keyframes(host: Host, files: Sequence[str]) -> Prepare:
    """Hook the LoRAs onto the prompt, with a keyframe for every step."""
    from comfy_extras import nodes_hooks

    loaders = [nodes_hooks.CreateHookLoraModelOnly() for _ in files]
    frames = None
    for i, factor in enumerate(FACTORS):
        # The schedule is even before the shift; a hair early, so that rounding does not make it a step late.
        start = max(0.0, i / NUM_STEPS - 1e-4)
        (frames,) = nodes_hooks.CreateHookKeyframe().create_hook_keyframe(factor, start, frames)

    def prepare(strengths: Sequence[float]) -> tuple[Any, Any]:
        hooks = None
        for node, file, strength in zip(loaders, files, strengths, strict=True):
            (hooks,) = node.create_hook_model_only(file, strength, hooks)
        (hooks,) = nodes_hooks.SetHookKeyframes().set_hook_keyframes(hooks, frames)
        (positive,) = nodes_hooks.SetModelHooksOnCond().attach_hook(host.positive, hooks)
        return host.model, positive

    return prepare


def ours(host: Host, files: Sequence[str], schedule: object = None) -> Prepare:
    """Put the LoRAs on with this extension's node for any MODEL."""
    on_models = host.module("nodes.stack_on_models").LoraStackOnModels

    def prepare(strengths: Sequence[float]) -> tuple[Any, Any]:
        rows = [{"path": file, "weight": strength} for file, strength in zip(files, strengths, strict=True)]
        if schedule is not None:
            rows = [{**row, "schedule": schedule} for row in rows]
        return on_models.execute(host.model, json.dumps(rows), NUM_STEPS).result[0], host.positive

    return prepare


def steps_schedule() -> dict[str, object]:
    """Return the schedule's factors as a row of a stack spells them."""
    return {"keyframes": [[i / NUM_STEPS, factor] for i, factor in enumerate(FACTORS)], "axis": "steps"}


def race(
    host: Host, ways: Mapping[str, tuple[Prepare, int]], num_loras: int, options: argparse.Namespace
) -> tuple[dict[str, list[Run]], dict[str, float]]:
    """Return the runs of each contender, one per round, and its peak of memory in the first."""
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    peaks: dict[str, float] = {}
    for index in range(options.rounds):
        # Rounds differ in the last LoRA's strength, and so does what comes before a run.
        before, after = ([STRENGTH] * (num_loras - 1) + [STRENGTH + 0.01 * (2 * index + k)] for k in (1, 2))
        for name, (prepare, num_steps) in ways.items():
            turn = partial(take_turn, host, prepare, before, after, num_steps)
            if index == 0:
                run, peaks[name] = with_peak(host, turn)
            else:
                run = turn()
            runs[name].append(run if index == 0 else replace(run, latent=torch.empty(0)))
    return runs, peaks


def take_turn(host: Host, prepare: Prepare, before: Sequence[float], after: Sequence[float], num_steps: int) -> Run:
    """Run one step with the strengths from before, then the timed run with those from after."""
    host.sample(host.small_noise, prepare, before, 1)
    gc.collect()
    return host.sample(host.noise, prepare, after, num_steps)


def with_peak(host: Host, turn: Callable[[], Run]) -> tuple[Run, float]:
    """Return the run, and the MiB that it took at its peak beyond those taken before."""
    host.management.unload_all_models()
    gc.collect()
    if host.options.device == "cuda":
        host.management.soft_empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run = turn()
        return run, (torch.cuda.max_memory_allocated() - before) / 2**20
    forget_peak()
    before = resident_mib("VmRSS")
    run = turn()
    return run, resident_mib("VmHWM") - before


def resident_mib(entry: str) -> float:
    """Return an entry of this process's memory account, where the system keeps one (Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{entry}:")), float("nan"))


def forget_peak() -> None:
    """Give freed memory back to the system and start its peak afresh (Linux)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def table(runs: Mapping[str, Sequence[Run]], peaks: Mapping[str, float], num_loras: int) -> list[Row]:
    """Return a row for each contender."""
    bare = [statistics.median(run.later_steps) for run in runs[NONE]]
    fastest = min(step for run in runs[NONE] for step in run.later_steps)
    bare_on_weights = statistics.median(run.on_weights for run in runs[NONE])
    bare_to_network = statistics.median(run.to_network for run in runs[NONE])
    rows = []
    for name, own in runs.items():
        steps = [step for run in own for step in run.later_steps]
        medians = [statistics.median(run.later_steps) for run in own]
        rows.append(
            Row(
                contender=name,
                num_loras=num_loras,
                num_steps=len(own[0].step_ends),
                step_min=min(steps),
                overhead_of_min=min(steps) / fastest - 1,
                step_median=statistics.median(steps),
                overhead=statistics.median(mine / base - 1 for mine, base in zip(medians, bare, strict=True)),
                on_weights=(statistics.median(run.on_weights for run in own) - bare_on_weights) / fastest,
                first_step=statistics.median(run.first for run in own),
                change=statistics.median(run.to_network for run in own) - bare_to_network,
                run=statistics.median(run.seconds for run in own),
                peak_mib=peaks[name],
                difference=difference(own[0], runs.get(KEYFRAMES if name == SCHEDULED else MERGE)),
            )
        )
    return rows


def difference(run: Run, references: Sequence[Run] | None) -> float:
    """Return how far a result is from the first reference, relative to that; NaN where the two cannot be compared."""
    if not references or len(references[0].step_ends) != len(run.step_ends):
        return float("nan")
    reference = references[0].latent.float()
    return float((run.latent.float() - reference).norm() / reference.norm())


def line(row: Row) -> str:
    """Format one row of the table."""
    steps = f"{row.step_min:>10.3f} {row.step_median:>9.3f}"
    overhead = f"{100 * row.overhead_of_min:>+14.1f}% {100 * row.overhead:>+7.1f}% {100 * row.on_weights:>+7.1f}%"
    seconds = f"{row.first_step:>13.3f} {row.change:>+9.3f} {row.run:>6.1f}"
    sizes = f"{row.contender:<14} {row.num_loras:>5} {row.num_steps:>5}"
    return f"{sizes} {steps:>21} {overhead} {seconds} {row.peak_mib:>9.0f} {row.difference:>8.1e}"


def summarise(rows: Sequence[Row], options: argparse.Namespace, host: Host) -> dict[str, Any]:
    """Return everything measured, and which of the wanted figures were reached."""
    rows_of = {row.contender: row for row in rows if row.num_loras == max(options.loras)}
    figures: dict[str, float] = {}
    wanted: dict[str, bool] = {}
    if own := rows_of.get(OURS):
        figures |= {
            "overhead of a step": own.overhead,
            "of it on weights": own.on_weights,
            "seconds of a changed strength": own.change,
        }
        wanted |= {"overhead": own.overhead <= MAX_OVERHEAD, "changed strength": own.change <= MAX_CHANGE_SECONDS}
    theirs, scheduled = rows_of.get(KEYFRAMES), rows_of.get(SCHEDULED)
    if theirs and scheduled:
        figures["keyframes' run by ours"] = theirs.run / scheduled.run
        figures["keyframes' work on weights by ours"] = theirs.on_weights / scheduled.on_weights
        wanted["scheduled run"] = figures["keyframes' run by ours"] >= MIN_SPEED_UP
    return {
        "benchmark": "comfy_stack",
        "host": host.describe(),
        "rows": [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows],
        "figures": figures,
        "wanted": wanted,
    }


if __name__ == "__main__":
    main()
