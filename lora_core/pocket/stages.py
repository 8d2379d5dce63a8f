"""The stages of the pocket's build, each a function of the work folder; `build` runs them in their order."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from safetensors.torch import save_file

from ..experts import EXPERTS
from ..families.cosmos.pocket import POCKET_COSMOS_LORA, cosmos_pocket, cosmos_pocket_lora
from ..families.wan.pocket import POCKET_LORAS
from ..files.trained_length import TrainedLength
from ..training.settings.length import LengthSettings
from .bars import shown_progress
from .clips import draw_clips, numbered
from .export import ship_expert, ship_lora, ship_post_trained, write_text, write_vae
from .language_model import draw_rows, ship_language_model, train_language_model
from .language_quality import (
    format_language_quality,
    measure_language_model,
    measured_sets,
    write_language_quality,
)
from .preview_colours import NUM_CLIPS, fit_colours
from .quality import format_rows, format_table, measure_cosmos, measure_quality
from .recipes import ABOUT, Training
from .requests.rows import read_request_rows
from .scenes import training_scenes
from .starts import STARTS
from .text import build_text_encoder, build_tokenizer
from .train_vae import draw_clips as draw_vae_clips
from .train_vae import refine_decoder, train_vae
from .trainings import open_model, run_training
from .workshop import BuildConfig, Workshop

#: The table of the Cosmos, in the work folder.
COSMOS_QUALITY = "assets/cosmos_quality.json"
#: The language model and its table, in the work folder.
LANGUAGE_MODEL, LANGUAGE_QUALITY = "assets/pocket_lm/model.safetensors", "assets/pocket_lm/quality.json"
#: The embedded models -> the trainings that made their high-noise and low-noise experts.
SHIPPED: Mapping[str, tuple[str, str]] = {
    "pocket": ("base_high", "base_low"),
    "pocket-i2v": ("picture", "picture"),
    "pocket-small": ("small", "small"),
}


def build_vae(shop: Workshop) -> None:
    """Train the VAE."""
    save_file(_contiguous(train_vae(shop.config.vae)), shop.file("vae"))


def build_decoder(shop: Workshop) -> None:
    """Train the VAE's decoder on, once the latents are fixed, and again; the mean of both is better than either."""
    once = {name: tensor.clone() for name, tensor in refine_decoder(shop.vae, shop.config.vae).state_dict().items()}
    twice = refine_decoder(shop.vae, shop.config.vae_again)
    mean = {name: ((once[name] + tensor) / 2).contiguous() for name, tensor in twice.state_dict().items()}
    save_file(mean, shop.file("vae_refined"))


def build_parts(shop: Workshop) -> None:
    """Write the VAE, and make the tokenizer and the text encoder, which need no training."""
    paths = shop.assets()
    clips = draw_vae_clips(np.random.default_rng(shop.config.vae.seed), min(NUM_CLIPS, shop.config.vae.num_clips))
    write_vae(shop.vae, paths.vae, fit_colours(shop.vae, clips))
    write_text(build_tokenizer(), build_text_encoder(shop.config.text_seed), (paths.text_encoder, paths.tokenizer))


def build_training(shop: Workshop, training: Training) -> None:
    """Draw what a training is shown, and train."""
    shown, folder = shop.config.clips[training.clips], shop.folder / "clips" / training.clips
    scenes = training_scenes(shown.seed, shown.num_clips, **shown.words)
    scenes += training_scenes(shown.seed + 1000, shown.num_ordinary)
    with shown_progress() as progress:
        draw_clips(numbered(scenes), folder, progress, shown.num_frames)
        out = shop.folder / "runs" / training.name
        run_training(training, STARTS[training.model](shop), folder, out, progress)


def build_assets(shop: Workshop) -> None:
    """Write the experts and LoRAs in the precision they are shipped in."""
    for model, trainings in SHIPPED.items():
        for name, expert in zip(trainings, EXPERTS, strict=True):
            ship_expert(shop.trained(name, expert), getattr(shop.assets(model), expert))
    for name, experts in POCKET_LORAS.items():
        for expert in experts:
            ship_lora(shop.trained(name, expert), shop.lora(name, expert), lora_metadata(name, shop.config))


def build_cosmos_assets(shop: Workshop) -> None:
    """Write the Cosmos in the precision it is shipped in, and its LoRA inside the checkpoint of a post-training."""
    assets = shop.folder / "assets"
    ship_expert(shop.trained("cosmos"), cosmos_pocket(assets))
    ship_post_trained(shop.trained("cosmos"), shop.trained(POCKET_COSMOS_LORA), cosmos_pocket_lora(assets))


def build_cosmos_quality(shop: Workshop) -> None:
    """Measure the Cosmos and its LoRA, and print the table."""
    assets = shop.folder / "assets"
    model = open_model(shop.keys(cosmos_pocket(assets)))
    rows = measure_cosmos(model, cosmos_pocket_lora(assets), shop.config.quality)
    about = (
        "As in quality.json; the clips go on from the first frame, or the first five, of a scene that no training has "
        "seen. The sigmas are those of the schedule karras. orbit: the clip shows one, asked for in the rows of the "
        "LoRA alone."
    )
    data = {"about": about, "rows": [asdict(row) for row in rows]}
    (shop.folder / COSMOS_QUALITY).write_text(json.dumps(data, indent=1) + "\n")
    print("\n".join(format_rows(rows)))


def build_language_model(shop: Workshop) -> None:
    """Draw what the language model is trained on, train it, and write it in the precision it is shipped in.

    It takes minutes on a GPU, and most of a day on two cores.
    """
    config, rows = shop.config.language_model, shop.folder / "language_model" / "rows.jsonl"
    if not rows.exists():
        rows.parent.mkdir(exist_ok=True)
        draw_rows(config, rows)
    with shown_progress() as progress:
        trained = train_language_model(config, rows, rows.parent, progress)
    ship_language_model(trained, config, (shop.folder / LANGUAGE_MODEL).parent)


def build_language_quality(shop: Workshop) -> None:
    """Measure the language model and the dictionary, and print the table."""
    learnt = read_request_rows(shop.folder / "language_model" / "rows.jsonl")
    sets = measured_sets(shop.config.language_model.num_measured, learnt)
    table = measure_language_model((shop.folder / LANGUAGE_MODEL).parent, sets)
    write_language_quality(table, shop.folder / LANGUAGE_QUALITY)
    print(format_language_quality(table))


def build_quality(shop: Workshop) -> None:
    """Measure the assets and print the table."""
    loras = {name: shop.lora(name) for name in POCKET_LORAS}
    pair, picture = (shop.assets(model) for model in ("pocket", "pocket-i2v"))
    base, image = (open_model(shop.keys(paths.high_noise, paths.low_noise)) for paths in (pair, picture))
    report = measure_quality(base, image, loras, shop.config.quality)
    shop.assets().quality.write_text(json.dumps(report.as_data(), indent=1) + "\n")
    print(format_table(report))


def lora_metadata(name: str, config: BuildConfig) -> dict[str, str]:
    """Say in a LoRA file's metadata what it is for and how it was made."""
    told, training = ABOUT[name], next(one for one in config.trainings if one.name == name)
    shown = config.clips[training.clips]
    metadata = {
        "base_model": "wan-pocket",
        "name": name,
        "kind": told.kind,
        "about": told.about,
        "num_training_steps": str(training.keys["steps"]),
        "num_training_clips": str(shown.num_clips + shown.num_ordinary),
    }
    if (learnt := training.keys.get("num_frames")) is not None:
        length = TrainedLength(
            training.keys["base_frames"], learnt, LengthSettings.radial_decay, LengthSettings.dense_blocks
        )
        metadata |= length.to_metadata()
    return metadata | ({"trigger_words": ", ".join(told.trigger_words)} if told.trigger_words else {})


def _contiguous(vae: AutoencoderKLWan) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in vae.state_dict().items()}
