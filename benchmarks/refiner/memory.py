"""What full tuning, LoRA and QLoRA of one language model take of a GPU's memory, and how long a step of each is.

    python benchmarks/refiner/memory.py
    python benchmarks/refiner/memory.py --hidden 192 --layers 4 --steps 2      a small one, where there is no GPU

The model is a Llama of random weights with pocket-lm's tokenizer; what is measured does not depend on what it says.
Each method runs in a process of its own by `tune()`, on the same rows; beside its peak stands what the memory plan had
said.
Prints a line for each method and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from lora_core.checkpoints.quiet import hush
from lora_core.pocket.requests.rows import request_rows
from lora_core.refiner.sources import POCKET_LM, find_language_source
from lora_core.refiner.tuning.config import METHODS, make_tune_config
from lora_core.refiner.tuning.lessons import lessons_of
from lora_core.refiner.tuning.memory import memory_plan
from lora_core.refiner.tuning.tune import tune

LR = {"full": 1e-5, "lora": 1e-4, "qlora": 1e-4}
GIB = 2**30


def main() -> None:
    """Make the model and the rows, and tune by each method in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    hush()
    if options.one is not None:
        print(json.dumps(measured(options, options.one[0], Path(options.one[1]))))
        return
    device = "cpu" if not torch.cuda.is_available() else torch.cuda.get_device_name()
    print(f"{torch.__version__} on {device}; {options.steps} steps of {options.batch_size} rows, {options.optimizer}")
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model", options.hidden, options.layers)
        rows = request_rows(0, 200, languages=("en",))
        lines = (json.dumps(row.as_data(), ensure_ascii=False) for row in rows)
        (Path(folder) / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        results = {method: in_own_process(method, Path(folder)) for method in options.methods}
    print(json.dumps({"benchmark": "refiner-memory", "device": device, "results": results}))


def make_model(folder: Path, hidden: int, layers: int) -> None:
    """Write a Llama of random weights in bfloat16."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(find_language_source(POCKET_LM).base)
    heads = max(1, hidden // 64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    network = LlamaForCausalLM(config).to(torch.bfloat16)
    print(f"a Llama of {network.num_parameters() / 1e6:,.0f} million weights, {hidden} wide, {layers} layers")
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def in_own_process(method: str, folder: Path) -> dict[str, float]:
    """Measure a method where no other has left anything, and print what came of it."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", method, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{method}: its process ended with {done.returncode}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{method:6s} peak {found['peak'] / GIB:7.2f} GiB, said before {found['said'] / GIB:7.2f} GiB; "
        f"{found['seconds_per_step']:.3f} s a step; {found['num_trainable'] / 1e6:,.1f} million learn",
        flush=True,
    )
    return found


def measured(options: argparse.Namespace, method: str, folder: Path) -> dict[str, float]:
    """Tune for a few steps, and return what it took."""
    keys = {"rows": str(folder / "rows.jsonl"), "model": str(folder / "model"), "method": method, "lr": LR[method]}
    steps = {"steps": options.steps, "batch_size": options.batch_size, "optimizer": options.optimizer}
    config = make_tune_config(keys | steps)
    source, device = find_language_source(config.model), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plan = memory_plan(config, source, lessons_of(config, source), device)
    prediction = next(prediction for made, prediction in plan.predictions if made.name == method)
    tuned = tune(config, folder / method)
    return {
        "peak": tuned.memory_bytes,
        "said": prediction.device if device.type == "cuda" else prediction.system,
        "seconds_per_step": tuned.seconds_per_step,
        "num_trainable": tuned.num_trainable,
    }


if __name__ == "__main__":
    main()
