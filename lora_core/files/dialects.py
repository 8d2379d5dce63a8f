"""The dialects of LoRA files: a tensor's name is prefix + module path + leaf, each looked up in a table.

The table of module paths is the model's (`ModelSpec.find`, `find_flat`); the other two are here. A new dialect is new
rows. Evidence for each row: which tool writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..experts import Expert
from ..families.base import ModelSpec


@dataclass(frozen=True)
class Prefix:
    """What may stand before a module path, alone or inside another prefix.

    Attributes:
        dialect: the short name under which reports show it.
        expert: the expert that this prefix gives the tensor to.
        flat: True where the path behind it is written with underscores for dots.
    """

    text: str
    dialect: str
    expert: Expert | None = None
    flat: bool = False


PREFIXES: tuple[Prefix, ...] = (
    Prefix("diffusion_model.", "comfyui"),  # ComfyUI, Kijai, lightx2v, diffusion-pipe, ai-toolkit
    Prefix("transformer.", "diffusers"),  # diffusers, finetrainers; with transformer_2 in the file: the high expert
    Prefix("transformer_1.", "ai-toolkit", "high_noise"),  # ai-toolkit, both experts in one file
    Prefix("transformer_2.", "diffusers", "low_noise"),  # diffusers and ai-toolkit
    Prefix("high_noise_model.", "wan", "high_noise"),  # the folder names of the Wan 2.2 release
    Prefix("low_noise_model.", "wan", "low_noise"),
    Prefix("base_model.model.", "peft"),  # PEFT's save_pretrained
    Prefix("pipe.dit.", "diffsynth"),  # DiffSynth, UniAnimate
    Prefix("pipe.dit2.", "diffsynth", "low_noise"),
    Prefix("model.", "bare"),  # wrappers of training scripts
    Prefix("unet.", "bare"),
    Prefix("module.", "bare"),  # torch's DistributedDataParallel
    Prefix("_orig_mod.", "bare"),  # torch.compile
    Prefix("lora_unet_", "kohya", flat=True),  # musubi-tuner, most of civitai
    Prefix("lora_unet__", "kohya", flat=True),  # VideoX-Fun, Wan-Fun rewards
    Prefix("lora_transformer_", "kohya", flat=True),  # OneTrainer
    Prefix("lycoris_", "lycoris", flat=True),  # LyCORIS, SimpleTuner
)


@dataclass(frozen=True)
class Leaf:
    """The end of a tensor's name: which field of which kind of delta it holds.

    Attributes:
        kind: a row of `kinds.KINDS`, or "scale" (alpha), "dora" (magnitude), "lora_bias" (a bias that LoRA scales).
        field: the field of the delta's class.
        before: what belongs to the module path although the file does not spell it out.
        after: what to append to the found path to get the target.
    """

    kind: str
    field: str
    before: str = ""
    after: str = ""


_DOWN = Leaf("lora", "down")
_UP = Leaf("lora", "up")
_MAGNITUDE = Leaf("dora", "magnitude")
_WEIGHT_DIFF = Leaf("full", "diff")
_BIAS_DIFF = Leaf("full", "diff", after=".bias")
_LORA_BIAS = Leaf("lora_bias", "diff", after=".bias")

#: Ends of names; `*` stands for one part that is an adapter's name (`default` in PEFT).
LEAVES: Mapping[str, Leaf] = {
    "lora_down.weight": _DOWN,  # kohya, ComfyUI, Kijai, lightx2v
    "lora_up.weight": _UP,
    "lora_mid.weight": Leaf("lora", "mid"),  # LyCORIS LoCon with Tucker
    "lora_A.weight": _DOWN,  # PEFT, diffusers, diffusion-pipe, ai-toolkit
    "lora_B.weight": _UP,
    "lora_A.*.weight": _DOWN,  # PEFT's state dict, DiffSynth
    "lora_B.*.weight": _UP,
    "lora_A": _DOWN,  # Mochi's trainer and scripts after it
    "lora_B": _UP,
    "lora.down.weight": _DOWN,  # diffusers before PEFT
    "lora.up.weight": _UP,
    "lora_linear_layer.down.weight": _DOWN,
    "lora_linear_layer.up.weight": _UP,
    "lora_B.bias": _LORA_BIAS,  # PEFT with lora_bias, diffusers' conversion of diff_b
    "lora_B.*.bias": _LORA_BIAS,
    "lora_up.bias": _LORA_BIAS,
    "alpha": Leaf("scale", "alpha"),
    "dora_scale": _MAGNITUDE,  # LyCORIS, kohya
    "lora_magnitude_vector": _MAGNITUDE,  # PEFT
    "lora_magnitude_vector.weight": _MAGNITUDE,
    "lora_magnitude_vector.*": _MAGNITUDE,
    "lora_magnitude_vector.*.weight": _MAGNITUDE,
    "diff": _WEIGHT_DIFF,  # Kijai's extractions, LyCORIS full
    "weight.diff": _WEIGHT_DIFF,
    "diff_b": _BIAS_DIFF,
    "bias.diff": _BIAS_DIFF,
    "diff_m": Leaf("full", "diff", before=".modulation"),  # lightx2v: the bare parameter `modulation`
    "w_norm": _WEIGHT_DIFF,  # LyCORIS, norm layers
    "b_norm": _BIAS_DIFF,
} | {
    f"{stem}{adapter}": Leaf(kind, field)
    for adapter in ("", ".*")  # LyCORIS and musubi-tuner; PEFT's state dict has the adapter's name behind
    for kind, stem, field in (
        ("loha", "hada_w1_a", "w1a"),
        ("loha", "hada_w1_b", "w1b"),
        ("loha", "hada_w2_a", "w2a"),
        ("loha", "hada_w2_b", "w2b"),
        ("loha", "hada_t1", "t1"),
        ("loha", "hada_t2", "t2"),
        ("lokr", "lokr_w1", "w1"),
        ("lokr", "lokr_w1_a", "w1a"),
        ("lokr", "lokr_w1_b", "w1b"),
        ("lokr", "lokr_w2", "w2"),
        ("lokr", "lokr_w2_a", "w2a"),
        ("lokr", "lokr_w2_b", "w2b"),
        ("lokr", "lokr_t2", "t2"),
    )
}

#: What is known and not supported: a part of a name that ends in no known leaf -> what it is called.
UNSUPPORTED: tuple[tuple[str, str], ...] = (
    (".oft_blocks", "OFT or BOFT"),  # LyCORIS
    (".oft_diag", "OFT"),
    (".oft_R", "OFT"),  # PEFT
    (".oft_r", "OFT"),
    (".boft_R", "BOFT"),
    (".boft_s", "BOFT"),
    (".a1.weight", "GLoRA"),
    (".a2.weight", "GLoRA"),
    (".b1.weight", "GLoRA"),
    (".b2.weight", "GLoRA"),
    (".bm.weight", "GLoRA"),
    (".glora_", "GLoRA"),
    ("_loras.", "Stand-In"),
    ("dwpose_embedding", "UniAnimate (its pose encoder is not a LoRA)"),
    ("randomref_embedding", "UniAnimate (its pose encoder is not a LoRA)"),
    (".reshape_weight", "control LoRA (it reshapes patch_embedding)"),
    (".set_weight", "replacement of weights (.set_weight)"),
    (".ia3_l", "IA3"),
    (".on_input", "IA3"),
    (".vera_lambda", "VeRA"),
    (".lora_E", "AdaLoRA"),
    (".lora_embedding_", "LoRA of an embedding"),
    (".hra_u", "HRA"),
    (".fourierft_spectrum", "FourierFT"),
)

_DOTTED = sorted(((prefix.text, prefix) for prefix in PREFIXES), key=lambda row: -len(row[0]))
_FLAT = [(text.replace(".", "_"), prefix) for text, prefix in _DOTTED]

#: A wildcard never stands for these: they are names of parameters, not of adapters.
_NOT_ADAPTERS = ("weight", "bias", "alpha")
_FIRST_PARTS = frozenset(leaf.split(".")[0] for leaf in LEAVES)
_MAX_LEAF_PARTS = 1 + max(leaf.count(".") for leaf in LEAVES)


class Place(NamedTuple):
    """Where a module path points: what stood before it, and the canonical path, if the model has it.

    Attributes:
        module: the path as the file spells it, prefixes taken off.
        path: the canonical path, or None when the model has no such module.
        prefix: the outermost prefix, or None.
    """

    module: str
    path: str | None
    prefix: Prefix | None
    expert: Expert | None


class Label(NamedTuple):
    """One tensor's name, taken apart.

    Attributes:
        target: the canonical target, or None when `leaf` or the module is unknown.
        unsupported: the name of the unsupported kind it belongs to, or "".
    """

    name: str
    place: Place
    leaf: Leaf | None
    target: str | None
    unsupported: str = ""


def label_all(names: Iterable[str], spec: ModelSpec) -> tuple[Label, ...]:
    """Take tensors' names apart by the tables."""
    places: dict[str, Place] = {}
    labels = []
    for name in names:
        stem, leaf = split_leaf(name)
        path = stem if leaf is None else stem + leaf.before
        if path not in places:
            places[path] = locate(path, spec)
        labels.append(_label(name, leaf, places[path]))
    return tuple(labels)


def _label(name: str, leaf: Leaf | None, place: Place) -> Label:
    if leaf is None:
        return Label(name, place, None, None, next((kind for sign, kind in UNSUPPORTED if sign in name), ""))
    return Label(name, place, leaf, None if place.path is None else place.path + leaf.after)


def split_leaf(name: str) -> tuple[str, Leaf | None]:
    """Return (what stands before the leaf, the longest leaf that fits), or (name, None)."""
    parts = name.split(".")
    for count in range(min(_MAX_LEAF_PARTS, len(parts) - 1), 0, -1):
        if parts[-count] not in _FIRST_PARTS:
            continue
        tail = parts[-count:]
        leaf = LEAVES.get(".".join(tail))
        if leaf is None and count > 1 and tail[1] not in _NOT_ADAPTERS:
            leaf = LEAVES.get(".".join((tail[0], "*", *tail[2:])))
        if leaf is not None:
            return ".".join(parts[:-count]), leaf
    return name, None


def locate(stem: str, spec: ModelSpec) -> Place:
    """Take prefixes off until the model knows the path that is left."""
    rest, flat = stem, False
    outermost: Prefix | None = None
    expert: Expert | None = None
    while True:
        path = spec.find(rest) or spec.find_flat(rest.replace(".", "_"))
        prefix = None if path else _prefix_of(rest, flat)
        if prefix is None:
            return Place(rest, path, outermost, expert)
        outermost = outermost or prefix
        expert = prefix.expert or expert
        flat = flat or prefix.flat
        rest = rest[len(prefix.text) :]


def _prefix_of(rest: str, flat: bool) -> Prefix | None:
    """Return the longest prefix of `rest`; behind a flat prefix, dots are underscores in the others too."""
    return next((prefix for text, prefix in (_FLAT if flat else _DOTTED) if rest.startswith(text)), None)
