"""What a folder says of a training: not begun, unfinished, over, another one; and the summary of one that is over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training.pocket_clips import neon_clips, pocket

from lora_core.errors import TrainingError
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.curves import loss_curves
from lora_core.training.log import LogRow, read_log
from lora_core.training.run_folder import RunFolder
from lora_core.training.standing import standing_of
from lora_core.training.summary import summary_of
from lora_core.training.train import train


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=3, num_held_out=1)


def config(clips: ClipCache, **keys: object) -> TrainConfig:
    common = {"clips": str(clips.folder), "name": "neon", "steps": 4, "switch_every": 1, "rank": 2, "blocks": "0"}
    return make_config({**common, "validate_every": 2, "num_levels": 1, **keys})


def test_a_training_is_new_then_unfinished_then_finished(clips: ClipCache, tmp_path: Path) -> None:
    own, folder = config(clips), RunFolder(tmp_path / "run")
    assert standing_of(folder, own) == "new"
    train(own, pocket(), clips, folder.path, stop_after=2)
    assert standing_of(folder, own) == "unfinished"
    train(own, pocket(), clips, folder.path, resume=True)
    assert standing_of(folder, own) == "finished"
    assert standing_of(folder, config(clips, preview_every=2)) == "finished"  # which changes nothing of what is learnt
    with pytest.raises(TrainingError, match=r"other settings: rank 2 there, 4 here; seed 0 there, 1 here\. "):
        standing_of(folder, config(clips, rank=4, seed=1))
    lines = summary_of(folder, "neon")
    assert lines[0].startswith("neon: 4 steps (high-noise 2, low-noise 2) in 0:0")
    assert [line.partition(":")[0] for line in lines[1:]] == ["held-out loss, high-noise", "held-out loss, low-noise"]
    curves = loss_curves(read_log(folder.path))
    assert [len(points) for points in curves["trained"].values()] == [2, 2]
    assert [[step for step, _ in points] for points in curves["held_out"].values()] == [[0, 2, 4], [0, 2, 4]]
    (folder.path / "neon_high_noise.safetensors").write_bytes(b"damaged")
    assert standing_of(folder, own) == "unfinished"


def test_long_curves_are_thinned_to_means_and_keep_their_end() -> None:
    losses = np.linspace(2, 1, 1000)
    rows = [LogRow(step=step, expert="low_noise", loss=float(loss)) for step, loss in enumerate(losses, 1)]
    rows.append(LogRow(step=1001, expert="low_noise", loss=float("nan")))
    (points,) = loss_curves(rows, 100)["trained"].values()
    assert len(points) == 100
    assert points[-1][0] == 1000
    assert points[0][1] == pytest.approx(losses[:10].mean(), abs=1e-4)
