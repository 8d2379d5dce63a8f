"""The dialects of LoRA files: a tensor's name is prefix + module path + leaf, each looked up in a table.

The table of module paths is the model's (`ModelSpec.find`, `find_flat`); the other two are here, for reading and for
writing. A new dialect is new rows. Evidence for each row: which tool writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, NamedTuple

from ..experts import Expert
from ..families.base import ModelSpec
from ..families.family import Prefix

#: What stands before module paths whatever the model; a family may add prefixes of its own.
PREFIXES: tuple[Prefix, ...] = (
    Prefix("diffusion_model.", "comfyui"),  # ComfyUI, Kijai, lightx2v, diffusion-pipe, ai-toolkit
    Prefix("transformer.", "diffusers"),  # diffusers, finetrainers; with transformer_2 in the file: the high expert
    Prefix("transformer_1.", "ai-toolkit", "high_noise"),  # ai-toolkit, both experts in one file
    Prefix("transformer_2.", "diffusers", "low_noise"),  # diffusers and ai-toolkit
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


#: A set of leaves that is written: kohya's trainers' and ComfyUI's, diffusers' and PEFT's.
Style = Literal["kohya", "diffusers", "peft"]


@dataclass(frozen=True)
class Leaf:
    """The end of a tensor's name: which field of which kind of delta it holds.

    Attributes:
        text: the end itself; `*` stands for one part that is an adapter's name (`default` in PEFT).
        kind: a row of `kinds.KINDS`, or "scale" (alpha), "dora" (magnitude), "lora_bias" (a bias that LoRA scales).
        field: the field of the delta's class.
        styles: where it is written too; one style has one leaf for a field.
        before: what belongs to the module path although the file does not spell it out.
        after: what to append to the found path to get the target.
    """

    text: str
    kind: str
    field: str
    styles: tuple[Style, ...] = ()
    before: str = ""
    after: str = ""


_KOHYA: tuple[Style, ...] = ("kohya",)
_PEFT: tuple[Style, ...] = ("diffusers", "peft")
#: LoHa is the one kind besides LoRA that PEFT has and diffusers does not load.
_LOHA: tuple[Style, ...] = ("kohya", "peft")

LEAVES: tuple[Leaf, ...] = (
    Leaf("lora_down.weight", "lora", "down", _KOHYA),  # kohya, ComfyUI, Kijai, lightx2v
    Leaf("lora_up.weight", "lora", "up", _KOHYA),
    Leaf("lora_mid.weight", "lora", "mid", _KOHYA),  # LyCORIS LoCon with Tucker
    Leaf("lora_A.weight", "lora", "down", _PEFT),  # PEFT, diffusers, diffusion-pipe, ai-toolkit
    Leaf("lora_B.weight", "lora", "up", _PEFT),
    Leaf("lora_A.*.weight", "lora", "down"),  # PEFT's state dict, DiffSynth
    Leaf("lora_B.*.weight", "lora", "up"),
    Leaf("lora_A", "lora", "down"),  # Mochi's trainer and scripts after it
    Leaf("lora_B", "lora", "up"),
    Leaf("lora.down.weight", "lora", "down"),  # diffusers before PEFT
    Leaf("lora.up.weight", "lora", "up"),
    Leaf("lora_linear_layer.down.weight", "lora", "down"),
    Leaf("lora_linear_layer.up.weight", "lora", "up"),
    Leaf("lora_B.bias", "lora_bias", "diff", _PEFT, after=".bias"),  # PEFT with lora_bias, diffusers' form of diff_b
    Leaf("lora_B.*.bias", "lora_bias", "diff", after=".bias"),
    Leaf("lora_up.bias", "lora_bias", "diff", after=".bias"),
    Leaf("alpha", "scale", "alpha", _KOHYA),
    Leaf("dora_scale", "dora", "magnitude", _KOHYA),  # LyCORIS, kohya
    Leaf("magnitude", "dora", "magnitude"),  # ai-toolkit
    Leaf("lora_magnitude_vector", "dora", "magnitude", _PEFT),  # PEFT
    Leaf("lora_magnitude_vector.weight", "dora", "magnitude"),
    Leaf("lora_magnitude_vector.*", "dora", "magnitude"),
    Leaf("lora_magnitude_vector.*.weight", "dora", "magnitude"),
    Leaf("diff", "full", "diff", _KOHYA),  # Kijai's extractions, LyCORIS full
    Leaf("weight.diff", "full", "diff"),
    Leaf("diff_b", "full", "diff", _KOHYA, after=".bias"),
    Leaf("bias.diff", "full", "diff", after=".bias"),
    Leaf("diff_m", "full", "diff", before=".modulation"),  # lightx2v: the bare parameter `modulation`
    Leaf("w_norm", "full", "diff"),  # LyCORIS, norm layers
    Leaf("b_norm", "full", "diff", after=".bias"),
    *(
        Leaf(stem + adapter, kind, field, () if adapter else styles)
        for adapter in ("", ".*")  # LyCORIS and musubi-tuner; PEFT's state dict has the adapter's name behind
        for stem, kind, field, styles in (
            ("hada_w1_a", "loha", "w1a", _LOHA),
            ("hada_w1_b", "loha", "w1b", _LOHA),
            ("hada_w2_a", "loha", "w2a", _LOHA),
            ("hada_w2_b", "loha", "w2b", _LOHA),
            ("hada_t1", "loha", "t1", _KOHYA),
            ("hada_t2", "loha", "t2", _KOHYA),
            ("lokr_w1", "lokr", "w1", _KOHYA),
            ("lokr_w1_a", "lokr", "w1a", _KOHYA),
            ("lokr_w1_b", "lokr", "w1b", _KOHYA),
            ("lokr_w2", "lokr", "w2", _KOHYA),
            ("lokr_w2_a", "lokr", "w2a", _KOHYA),
            ("lokr_w2_b", "lokr", "w2b", _KOHYA),
            ("lokr_t2", "lokr", "t2", _KOHYA),
        )
    ),
)


@dataclass(frozen=True)
class Dialect:
    """One dialect that files are also written in, made of rows of the tables above.

    Attributes:
        style: the leaves it has; what they cannot express, it cannot.
        prefixes: what stands before a name, for the only or high-noise expert and for the low-noise one (None where
            one file holds one expert).
        modules: the naming of module paths.
        names_bare: True where its readers know bare parameters, which no module path leads to.
    """

    style: Style
    prefixes: tuple[Prefix, Prefix | None]
    modules: Literal["native", "diffusers"] = "native"
    names_bare: bool = True

    @cached_property
    def leaves(self) -> Mapping[tuple[str, str], str]:
        """(kind, field) -> leaf; the difference of a bias counts as the kind "bias"."""
        rows = (leaf for leaf in LEAVES if self.style in leaf.styles)
        return {("bias" if leaf.after == ".bias" else leaf.kind, leaf.field): leaf.text for leaf in rows}

    @property
    def has_alpha(self) -> bool:
        """True where alpha is a tensor of its own."""
        return ("scale", "alpha") in self.leaves


_PREFIX_OF: Mapping[str, Prefix] = {prefix.text: prefix for prefix in PREFIXES}

WriteDialect = Literal["comfyui", "diffusers", "kohya", "peft"]
DIALECTS: Mapping[str, Dialect] = {
    "comfyui": Dialect("kohya", (_PREFIX_OF["diffusion_model."], None)),
    "kohya": Dialect("kohya", (_PREFIX_OF["lora_unet_"], None), names_bare=False),
    "diffusers": Dialect("diffusers", (_PREFIX_OF["transformer."], _PREFIX_OF["transformer_2."]), "diffusers"),
    "peft": Dialect("peft", (_PREFIX_OF["base_model.model."], None), "diffusers"),
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

#: A wildcard never stands for these: they are names of parameters, not of adapters.
_NOT_ADAPTERS = ("weight", "bias", "alpha")
_LEAF_OF: Mapping[str, Leaf] = {leaf.text: leaf for leaf in LEAVES}
_FIRST_PARTS = frozenset(text.split(".")[0] for text in _LEAF_OF)
_MAX_LEAF_PARTS = 1 + max(text.count(".") for text in _LEAF_OF)


class Place(NamedTuple):
    """Where a module path points: what stood before it, and the canonical path, if the model has it.

    Attributes:
        module: the path as the file spells it, prefixes taken off.
        path: the canonical path, or None when the model has no such module.
        prefix: the outermost prefix, or None.
        average: True behind a prefix of moving averages.
    """

    module: str
    path: str | None
    prefix: Prefix | None
    expert: Expert | None
    average: bool = False


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
        leaf = _LEAF_OF.get(".".join(tail))
        if leaf is None and count > 1 and tail[1] not in _NOT_ADAPTERS:
            leaf = _LEAF_OF.get(".".join((tail[0], "*", *tail[2:])))
        if leaf is not None:
            return ".".join(parts[:-count]), leaf
    return name, None


def locate(stem: str, spec: ModelSpec) -> Place:
    """Take prefixes off until the model knows the path that is left."""
    from ..families.registry import find_family  # help lists the dialects, and does not wait for torch

    family = find_family(spec)
    dotted, flattened = _by_length(() if family is None else family.prefixes)
    rest, flat = stem, False
    outermost: Prefix | None = None
    expert: Expert | None = None
    average = False
    while True:
        path = spec.find(rest) or spec.find_flat(rest.replace(".", "_"))
        # Behind a flat prefix, dots are underscores in the others too.
        known = () if path else flattened if flat else dotted
        prefix = next((prefix for text, prefix in known if rest.startswith(text)), None)
        if prefix is None:
            return Place(rest, path, outermost, expert, average)
        outermost = outermost or prefix
        expert = prefix.expert or expert
        flat = flat or prefix.flat
        average = average or prefix.average
        rest = rest[len(prefix.text) :]


@cache
def _by_length(own: tuple[Prefix, ...]) -> tuple[list[tuple[str, Prefix]], list[tuple[str, Prefix]]]:
    """Return (text, prefix) of all prefixes and a family's own, the longest first: as they are, and without dots."""
    dotted = sorted(((prefix.text, prefix) for prefix in (*PREFIXES, *own)), key=lambda row: -len(row[0]))
    # Without its dot, `transformer.` is the beginning of `transformer_blocks`, as LTX-Video and others have them.
    return dotted, [(text.replace(".", "_"), prefix) for text, prefix in dotted if text != "transformer."]
