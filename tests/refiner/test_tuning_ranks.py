"""Two processes tune one model together: a step is that of one process, and going on changes no bit.

`make prove-refiner-ranks` runs it; each start of two processes takes some seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from language_models import make_language_model
from safetensors.torch import load_file

from lora_core.refiner.tuning.log import TuneRow
from lora_core.training.log import read_row_log

pytestmark = pytest.mark.skipif("SEVERAL_RANKS" not in os.environ, reason="slow; make prove-refiner-ranks")

RANKS = ("-m", "torch.distributed.run", "--nproc-per-node", "2")


def refine_train(*arguments: object, launcher: tuple[str, ...] = RANKS) -> str:
    command = [sys.executable, *launcher, "-m", "lora_core", "refine", "train", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_take_the_steps_of_one_and_go_on_bit_for_bit(tmp_path: Path) -> None:
    make_language_model(tmp_path / "lm")
    rows = [{"prompt": f"{word} ball", "completion": f"a {word} circle"} for word in ("red", "blue", "lime", "pink")]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = tmp_path / "config.toml"
    config.write_text('rows = "rows.jsonl"\nmodel = "lm"\nsteps = 4\nbatch_size = 4\nmax_length = 128\nlr = 1e-2\n')

    refine_train(config, "-o", tmp_path / "two")
    refine_train(config, "-o", tmp_path / "cut", "--stop-after", 2)
    refine_train("-o", tmp_path / "cut", "--resume")
    refine_train(config, "-o", tmp_path / "one", launcher=())

    losses = {name: [row.loss for row in read_row_log(tmp_path / name, TuneRow)] for name in ("two", "cut", "one")}
    assert losses["two"] == losses["cut"]
    assert losses["two"] == pytest.approx(losses["one"], rel=1e-4)
    weights = {name: load_file(tmp_path / name / "refiner" / "adapter_model.safetensors") for name in losses}
    assert all((weights["two"][name] == weights["cut"][name]).all() for name in weights["two"])
