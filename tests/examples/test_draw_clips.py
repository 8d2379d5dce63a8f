"""The clips that are shipped to train from: what the script draws, what fits the embedded model, and what it says."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from lora_core import open_wan, read_video
from lora_core.pocket import measure, world
from lora_core.pocket.clips import SCALE

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIPS = EXAMPLES / "clips"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    script = runpy.run_path(str(EXAMPLES / "draw_clips.py"))
    script["draw_clips"](folder)
    script["draw_beginning"](folder.parent / "beginning.mp4")
    return folder


def shipped() -> list[Path]:
    """List the files in the folder, beside which a training from them leaves its cache."""
    return [path for path in CLIPS.iterdir() if path.is_file()]


def frames_of(path: Path) -> np.ndarray:
    return read_video(path)[0]


def test_the_script_draws_the_shipped_clips_again(drawn: Path) -> None:
    """An encoder of another version may write other bytes, but it shows the same pictures."""
    assert sorted(path.name for path in drawn.iterdir()) == sorted(path.name for path in shipped())
    for caption in drawn.glob("*.txt"):
        assert caption.read_text(encoding="utf-8") == (CLIPS / caption.name).read_text(encoding="utf-8")
    pairs = [(clip, CLIPS / clip.name) for clip in drawn.glob("*.mp4")]
    for clip, ours in (*pairs, (drawn.parent / "beginning.mp4", EXAMPLES / "beginning.mp4")):
        difference = frames_of(clip).astype(float) - frames_of(ours)
        assert np.sqrt((difference**2).mean()) < 2.0, clip.name


def test_the_shipped_clips_have_the_embedded_models_length_and_twice_its_size() -> None:
    wanted = open_wan("pocket").spec.default_clip
    for path in CLIPS.glob("*.mp4"):
        frames, fps = read_video(path)
        assert frames.shape == (wanted.num_frames, SCALE * wanted.height, SCALE * wanted.width, 3), path.name
        assert fps == wanted.fps


def test_the_shipped_clips_are_small() -> None:
    assert sum(path.stat().st_size for path in shipped()) < 1_000_000


def test_every_clip_has_a_caption_that_the_embedded_model_can_read() -> None:
    model = open_wan("pocket")
    for clip in CLIPS.glob("*.mp4"):
        caption = clip.with_suffix(".txt").read_text(encoding="utf-8").strip()
        assert model.unknown_words(caption) == ()
        assert (world.TOADSTOOL in caption) == (measure.read_clip(as_floats(frames_of(clip))).blorp > 0.9), clip.name


def as_floats(frames: np.ndarray) -> np.ndarray:
    """Return frames as the model sees them, at its own size."""
    num_frames, height, width, _ = frames.shape
    cells = frames.reshape(num_frames, height // SCALE, SCALE, width // SCALE, SCALE, 3)
    return cells.mean(axis=(2, 4), dtype=np.float32) / 127.5 - 1.0
