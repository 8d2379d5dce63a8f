"""The messages that the help pages quote, each brought about in a real ComfyUI; `…` on a page stands for anything."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from harness.client import Client, PromptRefusedError, Workflow
from harness.finding import PROJECT
from harness.workflows import LATENT, LOADER, POSITIVE, ROUTE, SAMPLER, STACK, node, pocket_workflow
from safetensors import safe_open
from safetensors.torch import load_file, save_file

PAGES = PROJECT / "web" / "docs"
ASSETS = PROJECT / "lora_core" / "pocket" / "assets"
NEON, SPEED, ORBIT = (f"{name}_high_noise.safetensors" for name in ("neon_style", "speed_6steps", "orbit_motion"))
STYLE = {"path": NEON, "name": "style"}
GONE = '[{"name": "gone", "applies_to": "both"}]'
#: A model with one expert.
SINGLE = {"high_noise": "shorter.safetensors", "low_noise": "none: single expert"}
WIDTH = 128  # of the pocket model
SERVER_CHOICE = "a server, at the url below"


@pytest.fixture(scope="module", autouse=True)
def _files(comfy: Client) -> None:
    """Put the files that the pages speak of where the server looks for them."""
    loras, models = (comfy.server.base / "models" / name for name in ("loras", "diffusion_models"))
    models.mkdir(parents=True, exist_ok=True)
    write_lora(loras / "style_v2.safetensors")
    write_lora(loras / "style_14b.safetensors", width=5120)
    write_lora(loras / "flux_style.safetensors", "double_blocks.0.img_attn.proj")
    write_lora(loras / "other_trainer.safetensors", "blocks.0.self_attn.q", "blocks.0.self_attn.qq")
    write_lora(loras / "untrained.safetensors", value=0.0)
    (loras / "page.safetensors").write_text("<!doctype html><title>Sign in to download</title>")
    write_lora(models / "my_lora.safetensors")
    shutil.copy(ASSETS / "wan_pocket_high_noise.safetensors", models / "my_high_noise.safetensors")
    write_model(models / "shorter.safetensors", num_blocks=5)
    write_model(models / "of_pictures.safetensors", num_more_channels=20)


def write_lora(file: Path, *targets: str, width: int = WIDTH, value: float = 0.01) -> None:
    tensors = {}
    for target in targets or ("blocks.0.self_attn.q",):
        tensors[f"diffusion_model.{target}.lora_down.weight"] = torch.full((4, width), value)
        tensors[f"diffusion_model.{target}.lora_up.weight"] = torch.full((width, 4), value)
    save_file(tensors, file)


def write_model(file: Path, *, num_blocks: int = 6, num_more_channels: int = 0) -> None:
    """Write an expert of the pocket model with fewer blocks, or with more channels that come in."""
    source = ASSETS / "wan_pocket_low_noise.safetensors"
    with safe_open(source, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(source)
    lost = tuple(f"blocks.{index}." for index in range(num_blocks, 6))
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(lost)}
    patch = tensors["patch_embedding.weight"]
    more = torch.zeros(len(patch), num_more_channels, *patch.shape[2:])
    save_file({**kept, "patch_embedding.weight": torch.cat([patch, more], 1)}, file, metadata)


def part(workflow: Workflow, number: str, **inputs: Any) -> Workflow:
    """Return one node of a workflow, with other inputs."""
    return {number: {**workflow[number], "inputs": workflow[number]["inputs"] | inputs}}


def loader(**inputs: Any) -> Workflow:
    return part(pocket_workflow(), LOADER, **inputs)


def stack(rows: list[dict[str, Any]] | str) -> Workflow:
    """Return the loader and the stack."""
    return loader() | part(pocket_workflow(rows), STACK)


def route(**inputs: Any) -> Workflow:
    return part(pocket_workflow(), ROUTE, **inputs)


def shown(number: str, output: int) -> Workflow:
    """Return an output node that asks for one output of another."""
    return {"shown": node("PreviewAny", source=[number, output])}


def used(number: str, output: int) -> Workflow:
    """Return a node that does something with a MODEL, behind an output node."""
    return {"used": node("ModelSamplingSD3", model=[number, output], shift=5.0)} | shown("used", 0)


def load_wan_model(comfy: Client) -> list[Workflow]:
    text = node("CLIPTextEncode", clip=[LOADER, 1], text="")
    decode = node("VAEDecode", samples=[LATENT, 0], vae=[LOADER, 2])
    return [
        loader(high_noise="my_high_noise.safetensors") | shown(LOADER, 0),
        loader(vae="wan_2.1_vae.safetensors") | shown(LOADER, 0),
        loader(**SINGLE) | {"text": text} | shown("text", 0),
        loader(**SINGLE) | part(pocket_workflow(), LATENT) | {"decode": decode} | shown("decode", 0),
        loader(**{**SINGLE, "high_noise": "my_model.safetensors"}) | shown(LOADER, 0),
        loader(**{**SINGLE, "high_noise": "my_lora.safetensors"}) | shown(LOADER, 0),
    ]


def pair_wan_models(comfy: Client) -> list[Workflow]:
    files = {"high": "my_high_noise.safetensors", "low": "shorter.safetensors"}
    opened = {name: node("UNETLoader", unet_name=file, weight_dtype="default") for name, file in files.items()}
    pair = node("PairWanModels", high_noise=["high", 0], low_noise=["low", 0])
    return [opened | {"pair": pair} | shown("pair", 0)]


def split_wan_model(comfy: Client) -> list[Workflow]:
    return [
        loader(**SINGLE) | {"split": node("SplitWanModel", model=[LOADER, 0])} | used("split", 0),
        # LoraRouteByNoise makes the same plan, and so it is the one to say what is wrong with it.
        stack([STYLE]) | route(boundary="0.4") | {"split": node("SplitWanModel", model=[ROUTE, 0])} | shown("split", 1),
    ]


def apply_lora_stack(comfy: Client) -> list[Workflow]:
    rows: list[Any] = [
        [{"path": "stile_v2.safetensors"}],
        [{"path": "../secret.safetensors"}],
        '[{"path": ',
        [{"path": NEON, "strenght": 1}],
        [{"path": NEON, "schedule": "sideways"}],
        [{"path": NEON, "schedule": "fade_out:0.5:0.9"}],
        [{"path": NEON, "targets": "fnn=0"}],
        [{"path": NEON, "name": "a"}, {"path": SPEED, "name": "a"}],
        [STYLE | {"applies_to": "high_noise", "low_noise_weight": 0.5}],
        [{"path": "style_14b.safetensors"}],
        [{"path": "flux_style.safetensors"}],
        [{"path": "other_trainer.safetensors"}],
        [{"path": "page.safetensors"}],
    ]
    return [stack(row) | shown(STACK, 1) for row in rows]


def lora_route_by_noise(comfy: Client) -> list[Workflow]:
    return [
        workflow | shown(ROUTE, 2)
        for workflow in (
            stack([]) | route(boundary="875"),
            stack([]) | route(boundary="abc"),
            loader(**SINGLE) | route(model=[LOADER, 0], boundary="0.9"),
            stack([STYLE]) | route(boundary="0.4"),
            stack([]) | route(overrides='[{"nam": "style"}]'),
            stack([STYLE, {"path": SPEED, "name": "face"}]) | route(overrides=GONE),
            stack([]) | route(shift=8.0, boundary="0.9"),
            stack([STYLE | {"schedule": "hold:1=0"}]) | route(),
        )
    ]


def sampler_6_step(comfy: Client) -> list[Workflow]:
    def sampled(rows: list[dict[str, Any]], **inputs: Any) -> Workflow:
        return pocket_workflow(rows) | part(pocket_workflow(), SAMPLER, **inputs)

    return [
        sampled([], cfg_high=3.5),
        sampled([], start_at_step=4, end_at_step=2),
        sampled([], boundary="abc"),
        sampled([STYLE], boundary="0.4"),
        sampled([], steps=4),
        sampled([{"path": SPEED, "name": "speed"}], cfg_high=3.5, negative=[POSITIVE, 0]),
    ]


def saving(rows: list[dict[str, Any]], name: str) -> Workflow:
    return stack(rows) | {"save": node("SaveLoraStack", stack=[STACK, 2], name=name)}


def save_lora_stack(comfy: Client) -> list[Workflow]:
    return [saving([], "nothing"), *(saving([STYLE], name) for name in ("../x", "a:b", "con"))]


def load_lora_stack(comfy: Client) -> list[Workflow]:
    """Save presets, and change the file of one and remove that of another."""
    loras = comfy.server.base / "models" / "loras"
    for name in ("style", "face"):
        write_lora(loras / f"{name}.safetensors")
        said(comfy, saving([{"path": f"{name}.safetensors"}], f"with {name}"))
    said(comfy, saving([STYLE], "my neon zibbo"))
    write_lora(loras / "style.safetensors", value=0.02)
    (loras / "face.safetensors").unlink()
    presets = ("my neon zibo", "with style", "with face")
    return [{"load": node("LoadLoraStack", preset=name, verify=True)} | shown("load", 1) for name in presets]


def inspect_lora(comfy: Client) -> list[Workflow]:
    def inspected(lora: str, **model: Any) -> Workflow:
        return loader() | {"inspect": node("InspectLora", lora=lora, **model)}

    return [
        inspected("page.safetensors"),
        inspected("style_14b.safetensors", model=[LOADER, 0]),
        inspected("other_trainer.safetensors"),
        inspected("flux_style.safetensors", model=[LOADER, 0]),
        inspected("untrained.safetensors"),
    ]


def lora_balance(comfy: Client) -> list[Workflow]:
    def balanced(rows: list[dict[str, Any]], **inputs: Any) -> Workflow:
        return stack(rows) | {"balance": node("LoraBalance", model=[STACK, 0], **inputs)}

    prompt = part(pocket_workflow(), POSITIVE)
    return [balanced([]), balanced([STYLE], positive=[POSITIVE, 0]) | prompt]


def blend_loras(comfy: Client) -> list[Workflow]:
    names = {"first": NEON.removesuffix(".safetensors"), "second": ORBIT.removesuffix(".safetensors")}
    whole = {"model": [STACK, 0], **names, "mode": "cross-fade", "amount": 0.5, "schedule": "fade_in"}

    def blended(inputs: dict[str, Any], **row: Any) -> Workflow:
        rows = stack([{"path": NEON, **row}, {"path": ORBIT}])
        return rows | {"blend": node("BlendLoras", **(whole | inputs))} | shown("blend", 1)

    return [
        blended({"first": "neon"}),
        blended({"second": names["first"]}),
        blended({}, schedule="fade_out"),
        blended({"schedule": "linear:0:2"}),
        blended({"schedule": "sideways"}),
    ]


def mask_lora(comfy: Client) -> list[Workflow]:
    whole = {
        "model": [STACK, 0],
        "lora": "zibbo",
        "region": "",
        "time": "",
        "soft": 0.0625,
        "invert": False,
        "fps": 0.0,
    }

    def masked(**inputs: Any) -> Workflow:
        rows = stack([{"path": NEON, "name": "zibbo"}])
        return rows | {"mask": node("MaskLora", **(whole | inputs))} | shown("mask", 1)

    return [masked(), masked(region="lefft"), masked(lora="zibo", region="left")]


def scene_loras(comfy: Client) -> list[Workflow]:
    speed = {"path": SPEED, "name": "speed"}
    said(comfy, saving([speed], "speed"))
    settings = {"width": 64, "height": 64, "length": 9, "seed": 7, "steps": 6, "shift": 5.0, "cfg_high": 1.0}
    settings |= {"cfg_low": 1.0, "solver": "euler", "boundary": "auto", "negative": ""}
    wires = {"model": [STACK, 0], "clip": [LOADER, 1], "vae": [LOADER, 2]}

    def played(scenes: Any, before: Workflow | None = None, **inputs: Any) -> Workflow:
        text = scenes if isinstance(scenes, str) else json.dumps(scenes)
        scene = node("SceneLoras", scenes=text, **{**settings, **wires, **inputs})
        return (before or stack([speed])) | {"scenes": scene} | shown("scenes", 1)

    prompt = {"prompt": "a red circle"}
    of_pictures = {"pictures": loader(**{**SINGLE, "high_noise": "of_pictures.safetensors"})[LOADER]}
    return [
        played("[{"),
        played([prompt | {"lenght": 9}]),
        played([{"length": 9}]),
        played([prompt | {"length": 10}]),
        played([prompt], width=72),
        played([prompt | {"preset": "speed", "loras": []}]),
        played([prompt, prompt | {"preset": "nein"}]),
        played([prompt], loader() | of_pictures, model=["pictures", 0]),
        played([prompt | {"preset": "speed"}]),
    ]


def lora_grid(comfy: Client) -> list[Workflow]:
    settings = {"seed": 7, "steps": 6, "shift": 5.0, "cfg_high": 1.0, "cfg_low": 1.0, "solver": "euler"}
    settings |= {"boundary": "auto", "denoise": 1.0}
    wires = {"model": [STACK, 0], "positive": [POSITIVE, 0], "latent": [LATENT, 0], "vae": [LOADER, 2]}
    zibbo = {"path": "zibbo_character_high_noise.safetensors", "name": "zibbo"}

    def made(columns: str) -> Workflow:
        grid = node("LoraGrid", columns=columns, rows="", **settings, **wires)
        before = {key: value for key, value in pocket_workflow([zibbo]).items() if key in (POSITIVE, LATENT)}
        return stack([zibbo]) | before | {"grid": grid} | shown("grid", 3)

    return [
        made("seed = 1"),
        made("strength zibo = 0 | 1"),
        made("schedule zibbo high_noise = none | hold:1=1,0.5=0"),
        made("prompt = a cat | a dog"),
        made("seed = " + " | ".join(map(str, range(49)))),
    ]


def training(kind: str, **inputs: Any) -> Workflow:
    """Return a node that has to do with training, behind a model."""
    sizes = {"clips": "example clips (built in)", "clips_path": "", "num_frames": 0, "resolution": 0, "settings": ""}
    asked = {"name": "taken", "trigger": "", "preset": "none", "method": "lora", "experts": "both", "rank": 2}
    asked |= {"steps": 2, "previews": 0, "lr": 0.0, "batch_size": 0}
    given = sizes | (asked if kind == "TrainLoraFromClips" else {})
    return loader() | {"trained": node(kind, **{"model": [LOADER, 0], **given, **inputs})}


def train_lora_from_clips(comfy: Client) -> list[Workflow]:
    for folder in ("input/blorps", "input/nothing"):
        (comfy.server.base / folder).mkdir(exist_ok=True)
    for file in (PROJECT / "examples" / "clips").glob("blorp-plain-*"):
        shutil.copy(file, comfy.server.base / "input" / "blorps")
    shutil.copy(
        ASSETS / "wan_pocket_low_noise.safetensors",
        comfy.server.base / "models/diffusion_models/my_low_noise.safetensors",
    )
    small = {"clips": "blorps", "settings": "blocks=0\ntargets=self_attn\nswitch_every=1"}
    pair = {"split": node("SplitWanModel", model=[LOADER, 0])}
    pair["pair"] = node("PairWanModels", high_noise=["split", 0], low_noise=["split", 1])

    def asked(**inputs: Any) -> Workflow:
        return training("TrainLoraFromClips", **inputs)

    said(comfy, asked(**small))
    return [
        asked(clips="nothing"),
        asked(clips_path="../../elsewhere"),
        asked(settings="rang=4"),
        asked(settings="trigger=a blorp"),
        asked(**small | {"rank": 4}),
        asked(model=["pair", 0]) | pair,
        asked() | loader(high_noise="my_high_noise.safetensors"),
    ]


def check_clips(comfy: Client) -> list[Workflow]:
    (comfy.server.base / "input" / "nothing").mkdir(exist_ok=True)
    return [training("CheckClips", clips="nothing"), training("CheckClips", settings="rank=4")]


def steer_by_model(comfy: Client) -> list[Workflow]:
    usual = {"model": [LOADER, 0], "strength": 1.0, "schedule": "", "above": "auto", "cfg": 0.0}
    # The same files with another weight dtype are another model to the loader.
    other = {"other": loader(weight_dtype="fp8_e4m3fn")[LOADER]}
    dressed = {"dressed": node("ApplyLoraStack", model=["other", 0], loras=json.dumps([STYLE]))}

    def steered(**inputs: Any) -> Workflow:
        return {"steer": node("SteerByModel", **{**usual, "guide": ["dressed", 0], **inputs})} | shown("steer", 1)

    split = {"split": node("SplitWanModel", model=["steer", 0])} | shown("split", 0)
    return [
        loader() | other | steered(guide=["other", 0]),
        stack([STYLE]) | steered(guide=[STACK, 0]),
        loader() | other | dressed | steered(above="2"),
        loader() | other | dressed | steered() | split,
    ]


def lora_stack_on_models(comfy: Client) -> list[Workflow]:
    high = {"high": node("UNETLoader", unet_name="my_high_noise.safetensors", weight_dtype="default")}
    rows = {"rows": node("LoraStackOnModels", high_noise=["high", 0], loras=json.dumps([STYLE]), steps=6)}
    prompt = {"prompt": node("CLIPTextEncode", clip=["rows", 5], text="a zibbo")} | shown("prompt", 0)
    return [high | rows | used("rows", 1), high | rows | prompt]


def bake_lora_stack(comfy: Client) -> list[Workflow]:
    other = {"other": loader(weight_dtype="fp8_e4m3fn")[LOADER]}
    dressed = {"dressed": node("ApplyLoraStack", model=["other", 0], loras=json.dumps([STYLE]))}
    usual = {"strength": 1.0, "schedule": "", "above": "auto", "cfg": 0.0}
    steer = {"steer": node("SteerByModel", model=[LOADER, 0], guide=["dressed", 0], **usual)}
    split = stack([STYLE]) | {"split": node("SplitWanModel", model=[STACK, 0])}

    def baked(model: str, output: int) -> Workflow:
        return {"baked": node("BakeLoraStack", model=[model, output])}

    return [
        loader() | other | dressed | steer | baked("steer", 0) | shown("baked", 2),
        split | baked("split", 1) | used("baked", 0),
    ]


def merge_loras(comfy: Client) -> list[Workflow]:
    usual = {"name": "two", "rank": 0, "energy": 0.0, "megabytes": 0.0, "method": "auto"}

    def merge(**inputs: Any) -> Workflow:
        return loader() | {"merge": node("MergeLoras", model=[LOADER, 0], **{**usual, **inputs})}

    return [merge(rank=4, energy=0.5), merge()]


def radial_attention(comfy: Client) -> list[Workflow]:
    usual = {"decay": "usual", "first_steps": "usual", "last_steps": "usual", "first_blocks": "usual"}

    def radial(name: str, model: list[Any], **inputs: Any) -> Workflow:
        return {name: node("RadialAttention", model=model, executor="auto", **{**usual, **inputs})}

    split = {"split": node("SplitWanModel", model=[LOADER, 0])}
    first = {"end_at_step": 3, "return_with_leftover_noise": "enable", "add_noise": "enable", "start_at_step": 0}
    run = {"noise_seed": 1, "steps": 6, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", **first}
    prompts = {"positive": [POSITIVE, 0], "negative": [POSITIVE, 0]}
    ksampler = {"part": node("KSamplerAdvanced", model=["radial", 0], latent_image=[LATENT, 0], **prompts, **run)}
    many = pocket_workflow() | radial("radial", [LOADER, 0], first_steps="9")
    many[SAMPLER]["inputs"]["model"] = ["radial", 0]
    around = part(pocket_workflow(), POSITIVE) | part(pocket_workflow(), LATENT)
    return [
        many,
        loader() | radial("radial", [LOADER, 0], decay="0") | shown("radial", 1),
        loader() | radial("radial", [LOADER, 0], steps=6) | shown("radial", 1),
        loader() | radial("radial", [LOADER, 0]) | radial("twice", ["radial", 0]) | shown("twice", 1),
        loader() | split | around | radial("radial", ["split", 0]) | ksampler | shown("part", 0),
    ]


def refine_prompt(comfy: Client) -> list[Workflow]:
    # An encoder in the folder of language models; text and refiner are of no account to what is wrong with a choice.
    folder = comfy.server.base / "models" / "LLM"
    folder.mkdir(exist_ok=True)
    key, kind = b"general.architecture", b"t5encoder"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(kind)) + kind
    (folder / "umt5.gguf").write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + entry)
    given = {"text": "crimson ball", "refine": True, "refiner": "pocket-lm", "write_for": "auto"}
    changes: list[dict[str, Any]] = [
        {"refiner": "LLM/gone"},
        {"refiner": "LLM/umt5.gguf"},
        {"refiner": SERVER_CHOICE, "url": "localhost:8080"},
        {"refiner": SERVER_CHOICE, "url": "http://127.0.0.1:9"},
        {"text": "the zibbo floats up past zebra lines", "keep": "zibbo", "edited": "a zibbo", "edited_of": "other"},
    ]
    return [{"refine": node("RefinePrompt", **given | change)} for change in changes]


#: Node -> what brings about the messages of its page.
OCCASIONS: dict[str, Callable[[Client], list[Workflow]]] = {
    "LoadWanModel": load_wan_model,
    "PairWanModels": pair_wan_models,
    "SplitWanModel": split_wan_model,
    "ApplyLoraStack": apply_lora_stack,
    "LoraStackOnModels": lora_stack_on_models,
    "BakeLoraStack": bake_lora_stack,
    "MergeLoras": merge_loras,
    "LoraRouteByNoise": lora_route_by_noise,
    "Sampler6Step": sampler_6_step,
    "SaveLoraStack": save_lora_stack,
    "LoadLoraStack": load_lora_stack,
    "InspectLora": inspect_lora,
    "LoraBalance": lora_balance,
    "BlendLoras": blend_loras,
    "MaskLora": mask_lora,
    "SceneLoras": scene_loras,
    "LoraGrid": lora_grid,
    "TrainLoraFromClips": train_lora_from_clips,
    "CheckClips": check_clips,
    "SteerByModel": steer_by_model,
    "RadialAttention": radial_attention,
    "RefinePrompt": refine_prompt,
}


def said(comfy: Client, workflow: Workflow) -> str:
    """Return all that the server says to a workflow: refusals, the error that ended it, texts on the nodes."""
    try:
        run = comfy.run(workflow)
    except PromptRefusedError as refused:
        return " ".join(refused.texts(number) for number in refused.node_errors)
    texts = [text for output in run.outputs.values() for text in output.get("text", [])]
    return "\n".join([run.error.get("exception_message", ""), *map(str, texts)])


def as_pattern(message: str) -> str:
    return ".+?".join(re.escape(piece) for piece in " ".join(message.split()).split("…"))


@pytest.mark.parametrize("name", sorted(page.stem for page in PAGES.glob("*.md")))
def test_the_messages_on_a_help_page_are_what_comfyui_shows(comfy: Client, name: str) -> None:
    quoted = re.findall(r"^> (.+)", (PAGES / f"{name}.md").read_text(encoding="utf-8"), re.MULTILINE)
    heard = [" ".join(said(comfy, workflow).split()) for workflow in OCCASIONS[name](comfy)]
    unheard = [message for message in quoted if not any(re.search(as_pattern(message), text) for text in heard)]
    assert quoted
    assert not unheard, "\n\n".join(["these were not shown:", *unheard, "but these:", *heard])
