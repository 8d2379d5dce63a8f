"""The environment of a run: the versions and the machine it was made with, as JSON beside its results."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..atomic import write_text

NAME = "environment.json"
_PACKAGES = (
    *("wanloom", "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "av"),
    *("bitsandbytes", "prodigyopt"),
)
#: What changes how a run computes.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "WORLD_SIZE")
_PREFIXES = ("PYTORCH_", "TORCH_")


def environment() -> dict[str, object]:
    """Return versions, machine, devices and variables; nothing that tells who the user is."""
    return {
        "packages": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": _machine(),
        "torch": _torch(),
        "devices": _devices(),
        "variables": {k: v for k, v in sorted(os.environ.items()) if k in _VARIABLES or k.startswith(_PREFIXES)},
    }


def write_environment(folder: str | Path) -> Path:
    """Write the environment into a run's folder."""
    path = Path(folder) / NAME
    write_text(json.dumps(environment(), indent=2) + "\n", path)
    return path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, object]:
    return {
        "architecture": platform.machine(),
        "processor": _processor(),
        "num_cores": os.cpu_count(),
        "num_cores_allowed": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_bytes": _memory(),
    }


def _processor() -> str:
    """Return the processor's name; Linux has it in a file of the kernel's only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _torch() -> Mapping[str, object]:
    import torch

    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "num_threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "build": [line.strip(" -") for line in torch.__config__.show().splitlines() if line.strip()],
    }


def _devices() -> list[dict[str, object]]:
    import torch

    if not torch.cuda.is_available():
        return [{"name": "mps"}] if torch.backends.mps.is_available() else []
    rows = []
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        capability = f"{found.major}.{found.minor}"
        rows.append({"name": found.name, "memory_bytes": found.total_memory, "capability": capability})
    return rows
