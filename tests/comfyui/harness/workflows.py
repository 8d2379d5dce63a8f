"""Workflows for the tests: one built here on the pocket model, and those the project ships."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.client import Workflow
from harness.finding import PROJECT

SHIPPED_NAMES = {
    "pocket-quickstart",
    "t2v-6-step-stack",
    "i2v-6-step",
    "strength-schedule",
    "regional-loras",
    "blend-two-styles",
    "merge-loras",
    "lora-balance",
    "scenes",
    "take-apart-for-ksampler",
    "pocket-i2v-6-step",
    "longer-video",
    "train-lora-from-clips",
    "refine-prompt",
    "lora-grid",
}
SHIPPED = sorted((PROJECT / "workflows").glob("*.json"))
SHIPPED_FOR_THE_API = sorted((PROJECT / "workflows" / "api").glob("*.json"))
BLUEPRINTS = sorted((PROJECT / "subgraphs").glob("*.json"))
POCKET_LORAS = PROJECT / "lora_core" / "pocket" / "assets" / "loras"
POCKET_FILES = {file.name for file in POCKET_LORAS.iterdir()}

MODEL_SUFFIXES = (".safetensors", ".gguf", ".sft", ".pt", ".pth", ".ckpt", ".bin")
MEDIA_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".mp4", ".webm")

LOADER, STACK, ROUTE, SAMPLER = "loader", "stack", "route", "sampler"
POSITIVE, LATENT, DECODE, SAVE = "positive", "latent", "decode", "save"


def pocket_workflow(loras: list[dict[str, Any]] | str = "[]", **sampler: Any) -> Workflow:
    """Return the four nodes on the pocket model in API format, its frames saved as pictures.

    `loras` are the rows of ApplyLoraStack; the rest goes to Sampler6Step. A test changes the result as it needs.
    """
    rows = loras if isinstance(loras, str) else json.dumps(loras)
    run = {"steps": 6, "shift": 5.0, "boundary": "auto"}
    part = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10_000, "return_with_leftover_noise": "disable"}
    settings = {"seed": 7, **run, "cfg_high": 1.0, "cfg_low": 1.0, "solver": "euler", "denoise": 1.0, **part, **sampler}
    routed = {key: settings[key] for key in run}
    prompt = "a red circle moves right on a plain background"
    pocket = {
        "high_noise": "pocket (built in)",
        "low_noise": "auto: find the twin",
        "text_encoder": "none",
        "vae": "none",
        "weight_dtype": "default",
    }
    wires = {"model": [ROUTE, 0], "positive": [POSITIVE, 0], "latent": [LATENT, 0]}
    return {
        LOADER: node("LoadWanModel", **pocket),
        STACK: node("ApplyLoraStack", model=[LOADER, 0], loras=rows),
        ROUTE: node("LoraRouteByNoise", model=[STACK, 0], overrides="[]", **routed),
        POSITIVE: node("CLIPTextEncode", clip=[LOADER, 1], text=prompt),
        LATENT: node("EmptyHunyuanLatentVideo", width=64, height=64, length=9, batch_size=1),
        SAMPLER: node("Sampler6Step", **wires, **settings),
        DECODE: node("VAEDecode", samples=[SAMPLER, 0], vae=[LOADER, 2]),
        SAVE: node("SaveImage", images=[DECODE, 0], filename_prefix="frame"),
    }


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def needed_files(workflow: Workflow) -> set[str]:
    """Return the files that a workflow names and that do not come with the project."""
    named = {text for node in workflow.values() for text in _texts(node["inputs"])}
    return {name for name in named if name.endswith(MODEL_SUFFIXES + MEDIA_SUFFIXES)} - POCKET_FILES


def _texts(value: Any) -> Iterator[str]:
    """Yield every string in a value, those in JSON text included."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        with contextlib.suppress(json.JSONDecodeError):
            value = [json.loads(value)]
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
