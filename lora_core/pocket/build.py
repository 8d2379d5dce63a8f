"""The build of the pocket world: `python -m lora_core.pocket.build` makes every asset from nothing, stage by stage.

The models and LoRAs are made by the trainer that everybody uses, from clips drawn to files, and the language model by
the tuning that everybody uses, from requests drawn to a file; only the VAE has a training of its own. What a stage
leaves in the work folder is used by the next ones; a stage whose file is there is not run again. It needs the extra
`refine`, and torch 2.9, the first with the Muon that it trains with; nothing else in the package does.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from ..families.wan.pocket import POCKET_LORAS
from .stages import (
    COSMOS_QUALITY,
    LANGUAGE_MODEL,
    LANGUAGE_QUALITY,
    build_assets,
    build_cosmos_assets,
    build_cosmos_quality,
    build_decoder,
    build_language_model,
    build_language_quality,
    build_parts,
    build_quality,
    build_training,
    build_vae,
)
from .workshop import BuildConfig, Workshop, quick_config


@dataclass(frozen=True)
class Stage:
    """A verb and the file whose presence says that it is done."""

    run: Callable[[Workshop], None]
    leaves: str


def stages_of(config: BuildConfig) -> dict[str, Stage]:
    """Return the stages in their order, by name."""
    return {
        "vae": Stage(build_vae, "vae.safetensors"),
        "decoder": Stage(build_decoder, "vae_refined.safetensors"),
        "parts": Stage(build_parts, "assets/tokenizer.json"),
        **{
            training.name: Stage(partial(build_training, training=training), f"runs/{training.name}/result.json")
            for training in config.trainings
        },
        "assets": Stage(build_assets, f"assets/loras/{[*POCKET_LORAS][-1]}_low_noise.safetensors"),
        "quality": Stage(build_quality, "assets/quality.json"),
        "cosmos_assets": Stage(build_cosmos_assets, "assets/cosmos_pocket.safetensors"),
        "cosmos_quality": Stage(build_cosmos_quality, COSMOS_QUALITY),
        "language_model": Stage(build_language_model, LANGUAGE_MODEL),
        "language_quality": Stage(build_language_quality, LANGUAGE_QUALITY),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the stages that have not been run yet, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m lora_core.pocket.build", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("pocket_work"), help="folder for what the stages leave")
    parser.add_argument("--only", nargs="+", help="run these stages, whether or not they have been run")
    parser.add_argument("--threads", type=int, default=2, help="threads to compute on; another number rounds otherwise")
    parser.add_argument("--quick", action="store_true", help="tiny step counts, to see that every stage runs")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    shop = Workshop(options.work, quick_config() if options.quick else BuildConfig())
    stages = stages_of(shop.config)
    if unknown := set(options.only or ()) - set(stages):
        parser.error(f"no such stage: {', '.join(unknown)}; there are {', '.join(stages)}")
    (options.work / "config.json").write_text(json.dumps(asdict(shop.config), indent=1) + "\n")
    with _training_numerics(options.threads):
        for name, stage in stages.items():
            if name in options.only if options.only else not (options.work / stage.leaves).exists():
                print(f"{name} …", flush=True)
                stage.run(shop)


@contextmanager
def _training_numerics(num_threads: int) -> Iterator[None]:
    """Compute on so many threads, so that sums come out alike on every machine, and without slow subnormal numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


if __name__ == "__main__":
    main()
