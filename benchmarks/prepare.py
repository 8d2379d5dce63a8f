"""What the cache of a clips folder costs: clips per second, against decoding the same clips alone in the same run.

    python benchmarks/prepare.py                       examples/clips on the embedded model
    python benchmarks/prepare.py CLIPS --model MODEL   a folder of your own, a model that brings its encoders

Prints a table and, last, one line of JSON. "plain decoding" is a loop of PyAV over all frames to RGB; "frames" is ours,
which resamples, turns and scales as well; "VAE alone" encodes frames that lie in memory; "cache" does all of it into an
empty folder, and "cache, again" finds everything there. The contenders take turns within each round; each figure is the
median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import av
import torch

from lora_core.families.opened import OpenedModel
from lora_core.families.registry import opener
from lora_core.training.clips.cache import fill_cache
from lora_core.training.clips.clip import Clip
from lora_core.training.clips.doctor import examine
from lora_core.training.clips.encode import encode_clip
from lora_core.training.clips.prepare import plan_takes
from lora_core.training.clips.store import store_for
from lora_core.training.clips.takes import Take
from lora_core.training.clips.variants import CENTRE
from lora_core.training.settings.clips import ClipSettings

CLIPS = Path(__file__).parents[1] / "examples" / "clips"
#: The wanted figure: how much longer the cache may take than the VAE by itself.
MAX_RATIO = 1.15


def decode_plainly(clips: Sequence[Clip]) -> None:
    for clip in clips:
        with av.open(str(clip.path)) as container:
            for frame in container.decode(video=0):
                frame.to_ndarray(format="rgb24")


def contenders(
    clips: Sequence[Clip], takes: Sequence[Take], model: OpenedModel, folder: Path
) -> Mapping[str, Callable[[], object]]:
    settings = ClipSettings()
    background = settings.background
    in_memory = [CENTRE.cut(take.frames(background), take.bucket) for take in takes]
    store = store_for(model, settings, folder)

    def fill() -> None:
        fill_cache(store, takes, model, background, lambda done, total, what: None)

    def fill_anew() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        fill()

    return {
        "plain decoding": lambda: decode_plainly(clips),
        "frames": lambda: [take.frames(background) for take in takes],
        "VAE alone": lambda: [encode_clip(model, frames) for frames in in_memory],
        "cache": fill_anew,
        "cache, again": fill,
    }


def measure(work: Mapping[str, Callable[[], object]], num_rounds: int) -> dict[str, float]:
    """Return contender -> median seconds; a round before the first fills caches and opens networks."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(num_rounds + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", default=CLIPS, help="a folder of videos with captions")
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = opener(arguments.model)(arguments.model, device=arguments.device)
    clips = examine(arguments.clips, ClipSettings(), model.spec).clips
    takes = plan_takes(clips, ClipSettings(), model.spec)
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(contenders(clips, takes, model, Path(folder) / "cache"), arguments.rounds)
    rates = {name: len(takes) / value for name, value in seconds.items()}
    ratio = seconds["cache"] / seconds["VAE alone"]
    print(f"{len(takes)} clips, torch on {torch.get_num_threads()} threads, median of {arguments.rounds}")
    for name, rate in rates.items():
        print(f"{name:16}{rate:10.1f} clips/s{1e3 / rate:10.1f} ms a clip")
    print(f"the cache takes {ratio:.2f} of the VAE's own time (<= {MAX_RATIO})")
    print(json.dumps({"clips": len(takes), "clips_per_s": rates, "cache_to_vae": ratio}))


if __name__ == "__main__":
    main()
