"""A large collection of LoRA files, as people have them: folders by model and kind, pairs, epochs, names that repeat.

Each file has the header of a LoRA on all 40 blocks of Wan 14B, and holes in the place of its values: it is listed and
its header read as any other, and it takes a tenth of a megabyte. A third have a sidecar, a fifth a preview. The same
numbers give the same collection.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

NUM_IN_FOLDER = 25
RANK, NUM_BLOCKS = 16, 40
#: Folders: model / kind / where it is from; the last two are sisters, in which a pair has one name.
MODELS = ("wan2.2-t2v", "wan2.2-i2v", "wan2.1", "archive")
KINDS = ("character", "style", "motion", "camera", "lighting", "effects", "clothing", "places", "vehicles", "speed")
SOURCES = ("hub", "civitai", "mine", "high_noise", "low_noise")
SISTERS = SOURCES[-2:]
#: What one and the same file is called in every folder of the hub.
PAIR_OF_THE_HUB = ("high_noise_model", "low_noise_model")
#: How people call the two of a pair; {e} is an epoch.
PAIRS = ("_high_noise|_low_noise", "-HIGH-e{e}|-LOW-e{e}", "_HN_v1|_LN_v1", "-high-{e:06}|-low-{e:06}", "_h|_l")
FIRST = (
    "neon",
    "velvet",
    "amber",
    "arctic",
    "paper",
    "chrome",
    "misty",
    "golden",
    "retro",
    "silent",
    "hollow",
    "vivid",
)
SECOND = (
    "fox",
    "samurai",
    "harbour",
    "orbit",
    "ballet",
    "lantern",
    "canyon",
    "robot",
    "garden",
    "storm",
    "opera",
    "kite",
)
BASES = ("Wan Video 2.2 T2V-A14B", "Wan Video 2.2 I2V-A14B", "Wan Video 14B t2v", "Unknown")
SHAPES = {f"{attention}.{part}": (5120, 5120) for attention in ("self_attn", "cross_attn") for part in "qkvo"} | {
    "ffn.0": (13824, 5120),
    "ffn.2": (5120, 13824),
}


@dataclass(frozen=True)
class Collection:
    """The files made, as the host names them.

    Attributes:
        pairs: high-noise file -> low-noise file as they are meant.
        bases: file -> the model that its sidecar tells, for those that have one.
    """

    files: tuple[str, ...]
    pairs: dict[str, str]
    bases: dict[str, str]

    def found(self, fits: Callable[[str], bool]) -> set[str]:
        """Return the files for which `fits` holds, of a pair the first alone."""
        found = {file for file in self.files if fits(file)}
        return found - {self.pairs.get(file) for file in found}


def make_collection(root: Path, num_folders: int, preview: Path) -> Collection:
    """Make folders of 25 files each; `preview` is the picture that the files with one share."""
    entries, num_bytes = _tensors()
    files: list[str] = []
    pairs: dict[str, str] = {}
    bases: dict[str, str] = {}
    for place, (model, kind, source) in enumerate(islice(product(MODELS, KINDS, SOURCES), num_folders)):
        folder = f"{model}/{kind}/{source}"
        seed = f"{model}/{kind}/sisters" if source in SISTERS else folder
        names, in_folder = _names(random.Random(seed), kind, source)
        files += [f"{folder}/{name}.safetensors" for name in names]
        pairs |= {f"{folder}/{a}.safetensors": f"{folder}/{b}.safetensors" for a, b in in_folder}
        (root / folder).mkdir(parents=True)
        for name in names:
            base = _write(root / folder / name, kind, entries, num_bytes, random.Random(f"{place}/{name}"), preview)
            bases |= {f"{folder}/{name}.safetensors": base} if base else {}
        if source == SISTERS[1]:
            high = f"{model}/{kind}/{SISTERS[0]}"
            pairs |= {f"{high}/{name}.safetensors": f"{folder}/{name}.safetensors" for name in names}
    return Collection(tuple(files), pairs, bases)


def _names(chance: random.Random, kind: str, source: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the names in a folder and which of them are pairs."""
    subjects = _subjects(chance, kind)
    if source in SISTERS:
        return list(islice(subjects, NUM_IN_FOLDER)), []
    pairs = [PAIR_OF_THE_HUB] if source == "hub" else []
    while len(pairs) < 10:
        subject, ends = next(subjects), chance.choice(PAIRS).format(e=chance.choice((10, 40, 2000)))
        high, low = (f"{subject}{end}" for end in ends.split("|"))
        pairs.append((high, low))
    singles = ["lora", *islice(subjects, NUM_IN_FOLDER - 1 - 2 * len(pairs))]
    return [*(name for pair in pairs for name in pair), *singles], pairs


def _subjects(chance: random.Random, kind: str) -> Iterator[str]:
    """Yield names of what LoRAs are of, none twice."""
    all_of_them = [f"{first}_{second}_{kind}" for first, second in product(FIRST, SECOND)]
    chance.shuffle(all_of_them)
    yield from all_of_them


def _tensors() -> tuple[dict[str, object], int]:
    """Return the entries of a header for all linear layers, and how many bytes of values they stand for."""
    entries: dict[str, object] = {}
    end = 0
    for block, (module, (outputs, inputs)) in product(range(NUM_BLOCKS), SHAPES.items()):
        for leaf, shape in (("lora_A", [RANK, inputs]), ("lora_B", [outputs, RANK])):
            begin, end = end, end + 2 * shape[0] * shape[1]
            name = f"diffusion_model.blocks.{block}.{module}.{leaf}.weight"
            entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    return entries, end


def _write(
    path: Path, kind: str, entries: dict[str, object], num_bytes: int, chance: random.Random, preview: Path
) -> str:
    """Write a file, with or without what lies beside it; return the model that is told there."""
    word = path.name.split("_")[0]
    metadata = {"ss_output_name": path.name, "ss_base_model_version": "wan2.2", "modelspec.tags": f"{kind}, {word}"}
    header = json.dumps({"__metadata__": metadata, **entries}).encode()
    header += b" " * (-len(header) % 8)
    with open(f"{path}.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + num_bytes)
    told = {"base": chance.choice(BASES), "words": [f"{word} look", kind], "tags": [kind, word, "wan"]}
    sidecar = chance.random()
    if sidecar < 0.2:
        civitai = {"trainedWords": told["words"], "description": "<p>Made at home.</p>" * 20}
        form = {"model_name": path.name, "base_model": told["base"], "tags": told["tags"], "civitai": civitai}
        Path(f"{path}.metadata.json").write_text(json.dumps(form))
    elif sidecar < 0.33:
        form = {"name": "v1", "baseModel": told["base"], "trainedWords": told["words"], "model": {"tags": told["tags"]}}
        Path(f"{path}.civitai.info").write_text(json.dumps(form))
    if chance.random() < 0.2:
        _share(preview, Path(f"{path}.preview{preview.suffix}"))
    return told["base"] if sidecar < 0.33 else ""


def _share(file: Path, other: Path) -> None:
    try:
        os.link(file, other)
    except OSError:  # another disk
        shutil.copy(file, other)
