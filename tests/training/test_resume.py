"""A training that is stopped and gone on with ends as one that never stopped, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from training.pocket_clips import neon_clips, pocket

from lora_core import GenerationRequest, generate, open_wan
from lora_core.errors import OutputError, TrainingError
from lora_core.families.opened import OpenedModel
from lora_core.training.checkpoints import checkpoints_in
from lora_core.training.clips.cached import ClipCache
from lora_core.training.config import TrainConfig, make_config
from lora_core.training.run_folder import RunFolder
from lora_core.training.train import Trained, train

SMALL = {"clips": "x", "name": "n", "steps": 6, "switch_every": 1, "rank": 2, "targets": ["self_attn"], "blocks": "0-1"}
METHODS: dict[str, dict[str, Any]] = {
    "lora with dropout, accumulation and an average": {"dropout": 0.3, "accumulation": 2, "ema": 0.9},
    "dora": {"adapter": "dora"},
    "loha": {"adapter": "loha"},
    "lokr": {"adapter": "lokr"},
    "qlora": {"method": "qlora"},
    "qlora on int8": {"method": "qlora", "base": "int8"},
    "qlora on fp8": {"method": "qlora", "base": "fp8"},
    "full": {"method": "full"},
    "checkpointing": {"checkpointing": True},
    "adamw8bit": {"optimizer": "adamw8bit", "targets": ["linear"], "rank": 40},
    "adafactor": {"optimizer": "adafactor"},
    "prodigy": {"optimizer": "prodigy", "lr": 1.0},
    "muon": {"optimizer": "muon"},
    "muon and adamw": {"optimizer": "muon", "method": "full"},
    "cosine, three steps high to one low": {"lr_schedule": "cosine", "warmup": 2, "high_share": 0.75},
    "longer, growing": {"objective": "extend-length", "num_frames": 17, "base_frames": 5, "progressive": 3}
    | {"dense_blocks": 1, "consistency": 0.1},
    "speed": {"objective": "speed", "num_trajectories": 2, "teacher_steps": 6},
}


#: What the suite runs; `make prove-resume` runs every one.
CHOSEN = (
    "lora with dropout, accumulation and an average",
    "dora",
    "qlora",
    "full",
    "checkpointing",
    "muon",
    "longer, growing",
    "speed",
)
PROVED = tuple(METHODS) if os.environ.get("EVERY_METHOD") else CHOSEN


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return neon_clips(tmp_path_factory.mktemp("clips"), num_clips=4, num_held_out=1)


def config(**given: Any) -> TrainConfig:
    unused = {"rank"} if given.get("method") == "full" else set()
    return make_config({key: value for key, value in {**SMALL, **given}.items() if key not in unused})


def run(clips: ClipCache, out: Path, chosen: TrainConfig, **options: Any) -> Trained:
    return train(chosen, pocket(), clips, out, **options)


@pytest.mark.parametrize("method", PROVED)
def test_a_stop_in_the_middle_changes_no_bit(clips: ClipCache, tmp_path: Path, method: str) -> None:
    chosen = config(steps=4, validate_every=3, num_levels=1, save_every=0, **METHODS[method])
    straight = run(clips, tmp_path / "straight", chosen)
    first = run(clips, tmp_path / "stopped", chosen, stop_after=2)
    assert (first.step, first.files, first.stopped) == (2, {}, "asked to stop after 2 steps")
    torch.manual_seed(99)  # another process would have other random numbers
    second = run(clips, tmp_path / "stopped", chosen, resume=True)
    assert set(second.files) == set(straight.files) == {"high_noise", "low_noise"}
    for expert, file in straight.files.items():
        one, other = load_file(file), load_file(second.files[expert])
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert rows(tmp_path / "straight") == rows(tmp_path / "stopped")
    assert second.history.rows == straight.history.rows


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return what was logged, but for when."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "memory_bytes")} for line in lines]


def test_learning_is_seen_in_both_experts(clips: ClipCache, tmp_path: Path) -> None:
    """Else all of the above would hold for a trainer that does nothing."""
    trained = run(clips, tmp_path, config(lr=1e-2, steps=4))
    for file in trained.files.values():
        assert any(tensor.abs().max() > 0 for name, tensor in load_file(file).items() if "lora_up" in name)


def test_the_model_stays_as_it_is(clips: ClipCache, tmp_path: Path) -> None:
    before = {
        e: {n: t.clone() for n, t in pocket().expert(e).state_dict().items()} for e in ("high_noise", "low_noise")
    }
    run(clips, tmp_path / "lora", config(steps=2))
    run(clips, tmp_path / "full", config(steps=2, method="full"))
    for expert, state in before.items():
        after = pocket().expert(expert).state_dict()
        assert after.keys() == state.keys()
        assert all(torch.equal(after[name], state[name]) for name in state)
        assert not any(parameter.requires_grad for parameter in pocket().expert(expert).parameters())


def test_a_training_that_is_over_is_not_done_again(clips: ClipCache, tmp_path: Path) -> None:
    first = run(clips, tmp_path, config(steps=2))
    again = run(clips, tmp_path, config(steps=2), resume=True)
    assert again.files == first.files
    assert again.step == 2


def test_a_folder_with_a_training_is_not_begun_in_anew(clips: ClipCache, tmp_path: Path) -> None:
    run(clips, tmp_path, config(), stop_after=2)
    with pytest.raises(TrainingError, match=r"there is a training here already\. Pass --resume"):
        run(clips, tmp_path, config())
    with pytest.raises(TrainingError, match="there is no training here to go on with"):
        run(clips, tmp_path / "new", config(), resume=True)


def test_another_configuration_is_refused_and_every_difference_named(clips: ClipCache, tmp_path: Path) -> None:
    run(clips, tmp_path, config(), stop_after=2)
    with pytest.raises(TrainingError) as caught:
        run(clips, tmp_path, config(lr=3e-4, rank=4), resume=True)
    assert "rank 2 there, 4 here; lr 0.0001 there, 0.0003 here" in str(caught.value)


def test_keys_that_change_nothing_learnt_may_differ_and_steps_may_be_added(clips: ClipCache, tmp_path: Path) -> None:
    run(clips, tmp_path, config(), stop_after=2)
    trained = run(clips, tmp_path, config(save_every=4, keep_last=1, steps=8), resume=True)
    assert trained.step == 8


def test_no_steps_are_added_to_a_falling_learning_rate(clips: ClipCache, tmp_path: Path) -> None:
    run(clips, tmp_path, config(lr_schedule="cosine"), stop_after=2)
    with pytest.raises(TrainingError, match="steps 6 there, 9 here"):
        run(clips, tmp_path, config(lr_schedule="cosine", steps=9), resume=True)


def test_clips_that_changed_are_refused(clips: ClipCache, tmp_path: Path) -> None:
    run(clips, tmp_path, config(), stop_after=2)
    other = ClipCache(clips.folder, clips.clips, clips.empty_text, "another digest")
    with pytest.raises(TrainingError, match="the data changed since this training began"):
        run(other, tmp_path, config(), resume=True)


@pytest.mark.parametrize("damage", ["cut", "changed", "without manifest"])
def test_a_damaged_checkpoint_is_named_with_the_one_to_go_on_from(
    clips: ClipCache, tmp_path: Path, damage: str
) -> None:
    run(clips, tmp_path, config(save_every=1), stop_after=3)
    last = RunFolder(tmp_path).last_checkpoint
    assert last is not None
    state = last / "state.pt"
    content = state.read_bytes()
    if damage == "cut":
        state.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        state.write_bytes(content[:-100] + bytes(100))
    else:
        (last / "manifest.json").unlink()
    with pytest.raises(TrainingError, match=r"Remove the folder step-000003 to go on from step-000002"):
        run(clips, tmp_path, config(save_every=1), resume=True)
    shutil.rmtree(last)
    assert run(clips, tmp_path, config(save_every=1), resume=True).step == 6


def test_the_latest_the_best_and_the_chosen_checkpoints_are_kept(clips: ClipCache, tmp_path: Path) -> None:
    chosen = config(steps=8, save_every=1, keep_last=2, keep_every=3, validate_every=4, num_levels=1)
    trained = run(clips, tmp_path, chosen)
    kept = [path.name for path in checkpoints_in(tmp_path / "checkpoints")]
    best = trained.history.best
    assert best is not None
    expected = {3, 6, 7, 8} | ({best.step} if best.step else set())
    assert kept == [f"step-{step:06d}" for step in sorted(expected)]


def test_a_folder_is_trained_into_by_one_at_a_time(clips: ClipCache, tmp_path: Path) -> None:
    with RunFolder(tmp_path).locked(), pytest.raises(OutputError, match="another training writes into this folder"):
        run(clips, tmp_path, config())


def test_a_stop_that_is_asked_for_finishes_the_step_and_saves(clips: ClipCache, tmp_path: Path) -> None:
    asked = iter([False, True])
    trained = run(clips, tmp_path, config(), should_stop=lambda: next(asked))
    assert (trained.step, trained.stopped) == (2, "asked to stop")
    assert [path.name for path in checkpoints_in(tmp_path / "checkpoints")] == ["step-000002"]


def test_previews_may_use_every_piece_of_a_model_that_keeps_one_on_the_device(clips: ClipCache, tmp_path: Path) -> None:
    """Text encoder and VAE send the experts away, and the training brings back what it needs."""
    model = open_wan("pocket", offload="experts")
    seen: list[tuple[int, float]] = []

    def preview(step: int, judged: OpenedModel) -> None:
        request = GenerationRequest("a red circle moves up", num_steps=2, cfg=1.0, height=32, width=32, num_frames=5)
        seen.append((step, generate(judged, request).latents.abs().sum().item()))

    shown = train(config(preview_every=2, lr=1e-2), model, clips, tmp_path / "shown", preview=preview)
    unseen = run(clips, tmp_path / "unseen", config(lr=1e-2))
    assert [step for step, _ in seen] == [0, 2, 4, 6]
    assert len({total for _, total in seen}) == 4
    for expert, file in unseen.files.items():
        one, other = load_file(file), load_file(shown.files[expert])
        assert all(torch.equal(one[name], other[name]) for name in one)
