"""The shipped pocket assets: that all are there, small, and that the measured table keeps its promises."""

import json
import subprocess
import sys

from lora_core.families.wan.pocket import POCKET_LORAS, pocket_lora, pocket_paths

MAX_ASSET_BYTES = 15_000_000


def test_every_named_file_is_there() -> None:
    paths = pocket_paths()
    for path in (paths.high_noise, paths.low_noise, paths.vae, paths.text_encoder, paths.tokenizer, paths.quality):
        assert path.is_file(), path
    for name in POCKET_LORAS:
        assert pocket_lora(name, "high_noise").is_file()
        assert pocket_lora(name, "low_noise").is_file()


def test_the_assets_stay_small() -> None:
    folder = pocket_paths().quality.parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MAX_ASSET_BYTES


def test_the_measured_base_and_speed_lora_are_as_good_as_promised() -> None:
    rows = json.loads(pocket_paths().quality.read_text())["rows"]
    base = next(row for row in rows if row["name"] == "base" and row["num_steps"] == 30)
    speed = next(
        row for row in rows if row["name"] == "speed_6steps" and row["strength"] == 1 and row["num_steps"] == 6
    )
    for measure, least in (("colour", 0.90), ("shape", 0.80), ("motion", 0.85)):
        assert base[measure] >= least
        assert speed[measure] >= base[measure] - 0.05


def test_importing_the_package_loads_no_diffusers() -> None:
    code = "import sys, lora_core.pocket; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
