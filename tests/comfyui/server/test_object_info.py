"""What ComfyUI tells about our nodes: their sockets as workflows use them, a tooltip on each, help and translations."""

import re
from typing import Any

import pytest
import requests
from harness.client import Client
from harness.finding import PROJECT
from harness.workflows import SHIPPED_NAMES

# node id -> (inputs, the optional ones too, outputs).
SAMPLING = {
    "steps": "INT",
    "shift": "FLOAT",
    "cfg_high": "FLOAT",
    "cfg_low": "FLOAT",
    "solver": "COMBO",
    "boundary": "STRING",
}
PART = {
    "add_noise": "COMBO",
    "start_at_step": "INT",
    "end_at_step": "INT",
    "return_with_leftover_noise": "COMBO",
}
NODES: dict[str, tuple[dict[str, str], list[str]]] = {
    "LoadWanModel": (
        dict.fromkeys(("high_noise", "low_noise", "text_encoder", "vae", "weight_dtype"), "COMBO"),
        ["WAN_MODEL", "CLIP", "VAE"],
    ),
    "PairWanModels": ({"high_noise": "MODEL", "low_noise": "MODEL"}, ["WAN_MODEL"]),
    "SplitWanModel": ({"model": "WAN_MODEL"}, ["MODEL", "MODEL", "SIGMAS", "SIGMAS", "INT"]),
    "ApplyLoraStack": (
        {"model": "WAN_MODEL", "loras": "STRING", "stack": "WAN_LORA_STACK", "allow_partial": "BOOLEAN"},
        ["WAN_MODEL", "STRING", "WAN_LORA_STACK", "STRING"],
    ),
    "LoraStackOnModels": (
        {
            **{"high_noise": "MODEL", "low_noise": "MODEL", "loras": "STRING", "stack": "WAN_LORA_STACK"},
            **{"steps": "INT", "allow_partial": "BOOLEAN", "clip": "CLIP"},
        },
        ["MODEL", "MODEL", "STRING", "WAN_LORA_STACK", "STRING", "CLIP"],
    ),
    "BakeLoraStack": (
        {"model": "WAN_MODEL,MODEL", "stack": "WAN_LORA_STACK", "expert": "COMBO", "allow_partial": "BOOLEAN"},
        ["MODEL", "MODEL", "STRING"],
    ),
    "MergeLoras": (
        {
            **{"model": "WAN_MODEL", "stack": "WAN_LORA_STACK", "name": "STRING", "rank": "INT", "energy": "FLOAT"},
            **{"megabytes": "FLOAT", "method": "COMBO", "density": "FLOAT", "dare_seed": "INT", "dtype": "COMBO"},
            "refuse_schedules": "BOOLEAN",
        },
        ["WAN_LORA_STACK", "STRING"],
    ),
    "LoraRouteByNoise": (
        {"model": "WAN_MODEL", "boundary": "STRING", "steps": "INT", "shift": "FLOAT", "overrides": "STRING"},
        ["WAN_MODEL", "IMAGE", "STRING"],
    ),
    "Sampler6Step": (
        {
            **{"model": "WAN_MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent": "LATENT"},
            **{"seed": "INT", "denoise": "FLOAT", **SAMPLING, **PART},
        },
        ["LATENT", "LATENT"],
    ),
    "SteerByModel": (
        {
            **{"model": "WAN_MODEL", "guide": "WAN_MODEL", "strength": "FLOAT", "schedule": "STRING"},
            **{"above": "STRING", "cfg": "FLOAT", "stack": "WAN_LORA_STACK"},
        },
        ["WAN_MODEL", "STRING"],
    ),
    "RadialAttention": (
        {
            **{"model": "COMFY_MATCHTYPE_V3", "decay": "STRING", "first_steps": "STRING", "last_steps": "STRING"},
            **{"first_blocks": "STRING", "executor": "COMBO", "steps": "INT", "latent": "LATENT"},
        },
        ["COMFY_MATCHTYPE_V3", "STRING"],
    ),
    "SaveLoraStack": ({"stack": "WAN_LORA_STACK", "name": "STRING"}, ["STRING"]),
    "LoadLoraStack": ({"preset": "COMBO", "verify": "BOOLEAN"}, ["WAN_LORA_STACK", "STRING"]),
    "InspectLora": ({"lora": "COMBO", "model": "WAN_MODEL"}, ["STRING", "STRING", "IMAGE"]),
    "MaskLora": (
        {
            **{"model": "WAN_MODEL", "stack": "WAN_LORA_STACK", "mask": "MASK", "lora": "STRING", "region": "STRING"},
            **{"time": "STRING", "soft": "FLOAT", "invert": "BOOLEAN", "fps": "FLOAT"},
        },
        ["WAN_MODEL", "STRING", "WAN_LORA_STACK"],
    ),
    "LoraBalance": (
        {"model": "WAN_MODEL", "positive": "CONDITIONING", "latent": "LATENT"},
        ["IMAGE", "STRING", "WAN_LORA_STACK", "WAN_MODEL"],
    ),
    "BlendLoras": (
        {
            **{"model": "WAN_MODEL", "first": "STRING", "second": "STRING"},
            **{"mode": "COMBO", "amount": "FLOAT", "schedule": "STRING"},
        },
        ["WAN_MODEL", "STRING", "WAN_LORA_STACK"],
    ),
    "SceneLoras": (
        {
            **{"model": "WAN_MODEL", "clip": "CLIP", "vae": "VAE", "scenes": "STRING", "negative": "STRING"},
            **{"width": "INT", "height": "INT", "length": "INT", "seed": "INT", **SAMPLING},
        },
        ["IMAGE", "STRING"],
    ),
    "LoraGrid": (
        {
            **{"model": "WAN_MODEL", "positive": "CONDITIONING", "latent": "LATENT", "vae": "VAE", "columns": "STRING"},
            **{"rows": "STRING", "seed": "INT", "denoise": "FLOAT", "negative": "CONDITIONING", "clip": "CLIP"},
            **SAMPLING,
        },
        ["IMAGE", "IMAGE", "LATENT", "STRING"],
    ),
    "RefinePrompt": (
        {
            **{"text": "STRING", "refine": "BOOLEAN", "refiner": "COMBO", "write_for": "COMBO", "keep": "STRING"},
            **{"url": "STRING", "url_model": "STRING", "edited": "STRING", "edited_of": "STRING", "again": "INT"},
            **{"model": "WAN_MODEL,MODEL", "stack": "WAN_LORA_STACK"},
        },
        ["STRING", "STRING"],
    ),
    "TrainLoraFromClips": (
        {
            **{"model": "WAN_MODEL", "clips": "COMBO", "clips_path": "STRING", "name": "STRING", "trigger": "STRING"},
            **{"preset": "COMBO", "method": "COMBO", "experts": "COMBO", "rank": "INT", "steps": "INT"},
            **{"previews": "INT", "lr": "FLOAT", "batch_size": "INT", "num_frames": "INT", "resolution": "INT"},
            **{"settings": "STRING", "clip": "CLIP", "vae": "VAE", "images": "IMAGE", "captions": "STRING"},
        },
        ["STRING", "STRING", "IMAGE", "IMAGE", "STRING", "WAN_LORA_STACK"],
    ),
    "CheckClips": (
        {
            **{"model": "WAN_MODEL", "clips": "COMBO", "clips_path": "STRING"},
            **{"num_frames": "INT", "resolution": "INT", "settings": "STRING"},
        },
        ["STRING", "IMAGE"],
    ),
}
OPTIONAL = {
    "PairWanModels": {"low_noise"},
    "ApplyLoraStack": {"stack"},
    "MaskLora": {"model", "stack", "mask"},
    "Sampler6Step": {"negative"},
    "InspectLora": {"model"},
    "TrainLoraFromClips": {"clip", "vae", "images", "captions"},
    "SteerByModel": {"stack"},
    "RefinePrompt": {"keep", "url", "url_model", "edited", "edited_of", "again", "model", "stack"},
    "RadialAttention": {"steps", "latent"},
}


@pytest.fixture(scope="module")
def described(comfy: Client) -> dict[str, dict[str, Any]]:
    return comfy.object_info()


def inputs_of(node: dict[str, Any]) -> dict[str, list[Any]]:
    return {**node["input"].get("required", {}), **node["input"].get("optional", {})}


def test_every_node_of_the_extension_is_there_and_no_other(described: dict[str, dict[str, Any]]) -> None:
    ours = {name for name, node in described.items() if node["python_module"] == "custom_nodes.wanloom"}
    assert ours == set(NODES)


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_the_sockets_that_workflows_use(described: dict[str, dict[str, Any]], name: str) -> None:
    inputs, outputs = NODES[name]
    node = described[name]
    types = {key: spec[0] for key, spec in inputs_of(node).items()}
    assert types == inputs
    assert node["output"] == outputs
    assert node["category"] == "WanLoom"
    assert OPTIONAL.get(name, set()) <= set(node["input"].get("optional", {}))


@pytest.mark.parametrize("name", NODES)
def test_every_input_and_output_says_what_it_is(described: dict[str, dict[str, Any]], name: str) -> None:
    node = described[name]
    assert node["description"]
    assert not [key for key, spec in inputs_of(node).items() if not spec[1].get("tooltip")]
    assert len(node["output_tooltips"]) == len(node["output"])
    assert all(node["output_tooltips"])


@pytest.mark.parametrize("name", NODES)
def test_a_node_is_found_by_other_words(described: dict[str, dict[str, Any]], name: str) -> None:
    assert described[name].get("search_aliases")


def test_the_stack_widget_knows_the_files_and_their_twins(described: dict[str, dict[str, Any]]) -> None:
    options = inputs_of(described["ApplyLoraStack"])["loras"][1]
    assert "speed_6steps_high_noise.safetensors" in options["lora_files"]
    assert options["twins"]["speed_6steps_high_noise.safetensors"] == "speed_6steps_low_noise.safetensors"


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_a_help_page(comfy: Client, name: str) -> None:
    page = requests.get(f"{comfy.server.url}/extensions/wanloom/docs/{name}.md", timeout=30)
    assert page.ok
    assert page.text.startswith("#")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_word_on_the_nodes_is_translated(
    comfy: Client, described: dict[str, dict[str, Any]], language: str
) -> None:
    texts = requests.get(f"{comfy.server.url}/i18n", timeout=30).json()[language]["nodeDefs"]
    lacking = {
        f"{name}.{key}"
        for name in NODES
        for key in inputs_of(described[name])
        if not texts.get(name, {}).get("inputs", {}).get(key, {}).get("tooltip")
    }
    assert not lacking
    assert all(texts[name]["display_name"] and texts[name]["description"] for name in NODES)


@pytest.mark.parametrize("name", sorted(SHIPPED_NAMES))
def test_a_workflow_shows_in_the_template_browser_with_its_picture(comfy: Client, name: str) -> None:
    address = f"{comfy.server.url}/api/workflow_templates"
    assert name in requests.get(address, timeout=30).json()["wanloom"]
    assert requests.get(f"{address}/wanloom/{name}.json", timeout=30).ok
    card = requests.get(f"{address}/wanloom/{name}.jpg", timeout=30)
    assert card.ok
    assert card.headers["content-type"] == "image/jpeg"


def test_templates_are_listed_as_in_the_readme_the_quickstart_first(comfy: Client) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    in_readme = [name for name in re.findall(r"^\| `([\w-]+)` \|", readme, re.MULTILINE) if name in SHIPPED_NAMES]
    assert in_readme[0] == "pocket-quickstart"
    assert requests.get(f"{comfy.server.url}/api/workflow_templates", timeout=30).json()["wanloom"] == in_readme
    assert requests.get(f"{comfy.server.url}/workflow_templates", timeout=30).json()["wanloom"] == in_readme


def test_the_four_nodes_come_as_a_blueprint(comfy: Client) -> None:
    blueprints = requests.get(f"{comfy.server.url}/api/global_subgraphs", timeout=30).json()
    assert any("wanloom" in str(entry.get("info", {}).get("node_pack", "")) for entry in blueprints.values())
