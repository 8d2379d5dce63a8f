"""The memory that each way of offloading takes: measured on a model at hand, computed for the 14B and 5B ones.

    python benchmarks/peak_memory.py                       the pocket model, on the CPU
    python benchmarks/peak_memory.py --model FOLDER --device cuda

Measured are the bytes of tensors made while a prompt is encoded, each expert runs one step and a clip is decoded; a
network at rest is memory-mapped and weighs nothing. Prints tables and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from torch import Tensor

from lora_core.checkpoints.meter import MemoryMeter
from lora_core.checkpoints.residency import OFFLOADS, Offload
from lora_core.families.wan.memory import computed_peak
from lora_core.families.wan.model import WanModel
from lora_core.families.wan.open import open_wan
from lora_core.families.wan.spec import wan_spec

PROMPT = "a red circle moves right on a striped background"
PHASES = ("text", "sampling", "decoding")
COMPUTED = ("wan2.2-t2v-a14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b")
#: How the blocks' weights are stored -> bits per weight.
STORED = {"bf16": None, "fp8": 8.0, "GGUF Q4_K": 4.5}


def measure(source: str, device: str, offload: Offload, clip: tuple[int, int, int]) -> dict[str, int]:
    """Return the peak bytes of each phase, one after the other as in a generation."""
    model = open_wan(source, device=device, offload=offload)
    num_frames, height, width = clip
    stride = model.spec.vae_stride
    shape = ((num_frames - 1) // stride[0] + 1, height // stride[1], width // stride[2])
    latents = torch.zeros(1, model.spec.latent_channels, *shape)
    phases: dict[str, Callable[[], object]] = {
        "text": lambda: model.encode_text(PROMPT),
        "sampling": lambda: one_step_each(model, shape),
        "decoding": lambda: model.vae_decode(latents),
    }
    peaks = {}
    with MemoryMeter() as meter:
        for name, work in phases.items():
            meter.peak = meter.num_bytes
            work()
            peaks[name] = meter.peak
    return peaks


def one_step_each(model: WanModel, shape: tuple[int, int, int]) -> None:
    """Run every expert once on empty latents."""
    for name in model.experts:
        network = model.expert(name)
        hidden = torch.zeros(1, model.spec.shapes["patch_embedding"][1], *shape, device=model.device, dtype=model.dtype)
        text: Tensor = torch.zeros(1, 512, model.spec.shapes["text_embedding.0"][1], device=model.device)
        timestep = torch.tensor([900.0], device=model.device)
        with torch.no_grad():
            network(hidden, timestep, text.to(model.dtype), return_dict=False)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clip", type=int, nargs=3, default=(17, 64, 64), metavar=("FRAMES", "HEIGHT", "WIDTH"))
    arguments = parser.parse_args()
    measured = {mode: measure(arguments.model, arguments.device, mode, tuple(arguments.clip)) for mode in OFFLOADS}
    print(f"{arguments.model}, {'x'.join(map(str, arguments.clip))}, MiB of tensors: {' / '.join(PHASES)}")
    for mode, peaks in measured.items():
        print(f"  {mode:8}", " / ".join(f"{peaks[phase] / 2**20:.1f}" for phase in PHASES))
    print("\ncomputed for 81 frames of 832x480, text / sampling / decoding")
    computed = {
        f"{name} {stored} {mode}": computed_peak(wan_spec(name), mode, weight_bits=bits)
        for name in COMPUTED
        for stored, bits in STORED.items()
        for mode in OFFLOADS
    }
    for name, peak in computed.items():
        print(f"  {name:36} {peak}")
    print(json.dumps({"measured": measured, "computed": {name: peak.peak for name, peak in computed.items()}}))


if __name__ == "__main__":
    main()
