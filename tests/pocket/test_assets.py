"""The shipped pocket assets: that all are there, small, and that the measured table keeps its promises."""

import json
import subprocess
import sys
from typing import Any

from lora_core.families.wan.pocket import POCKET_LORAS, POCKET_MODELS, pocket_lora, pocket_paths

MAX_ASSET_BYTES, MAX_COSMOS_BYTES, MAX_LANGUAGE_BYTES = 30_000_000, 10_000_000, 5_000_000


def test_every_named_file_is_there() -> None:
    paths = pocket_paths()
    for path in (paths.high_noise, paths.low_noise, paths.vae, paths.text_encoder, paths.tokenizer, paths.quality):
        assert path.is_file(), path
    for model in POCKET_MODELS:
        assert pocket_paths(model=model).high_noise.is_file()
        assert pocket_paths(model=model).low_noise.is_file()
    for name, experts in POCKET_LORAS.items():
        assert all(pocket_lora(name, expert).is_file() for expert in experts)


def test_the_assets_stay_small() -> None:
    folder = pocket_paths().quality.parent
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    of_cosmos = sum(size for path, size in sizes.items() if path.name.startswith("cosmos"))
    of_language = sum(size for path, size in sizes.items() if path.parent.name == "pocket_lm")
    assert of_cosmos <= MAX_COSMOS_BYTES
    assert of_language <= MAX_LANGUAGE_BYTES
    assert sum(sizes.values()) - of_cosmos - of_language <= MAX_ASSET_BYTES


def row(name: str, num_steps: int = 30, strength: float | None = None) -> dict[str, Any]:
    rows = json.loads(pocket_paths().quality.read_text())["rows"]
    return next(r for r in rows if (r["name"], r["num_steps"], r["strength"]) == (name, num_steps, strength))


def test_the_vae_and_the_base_are_as_good_as_promised() -> None:
    assert json.loads(pocket_paths().quality.read_text())["vae_psnr_db"] >= 32
    assert all(row("base")[measure] >= 0.95 for measure in ("colour", "shape", "motion"))


def test_six_steps_of_the_speed_lora_are_nearly_as_good_as_thirty_of_the_base() -> None:
    fast, base = row("speed_6steps", 6, 1.0), row("base")
    assert all(fast[measure] >= base[measure] - 0.03 for measure in ("colour", "shape", "motion"))


def test_every_lora_shows_what_it_is_for() -> None:
    assert row("zibbo_character", strength=1.0)["zibbo"] >= 0.9
    assert row("neon_style", strength=1.0)["neon"] >= 0.95
    assert row("orbit_motion", strength=1.0)["orbit"] >= 0.95
    assert row("sharp_quality", 6, 1.0)["shape"] > row("base", 6)["shape"]


def test_the_lora_for_the_length_keeps_what_short_clips_show_dense_and_radial() -> None:
    for num_steps, usual in ((6, row("17 frames", 6)), (30, row("17 frames", 30))):
        for num_frames, share in ((33, 0.9), (65, 0.8)):
            assert row(f"{num_frames} frames", num_steps)["shape"] < share * usual["shape"]  # it is needed
            for name in (f"{num_frames} frames, longer", f"{num_frames} frames, longer, radial"):
                found = row(name, num_steps, 1.0)
                assert all(found[what] >= share * usual[what] for what in ("colour", "shape", "motion"))


def test_the_image_pair_keeps_its_picture_and_moves_as_asked() -> None:
    assert row("from a picture")["first_frame_psnr_db"] >= 25
    assert row("from a picture")["motion"] >= 0.9


def test_importing_the_package_loads_no_diffusers() -> None:
    code = "import sys, lora_core.pocket; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
