"""The evaluation at several lengths, on the pocket model: what comes of it, that it goes on, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lora_core import LoraStack, open_wan, read_video
from lora_core.errors import LoraCoreError
from lora_core.families.opened import OpenedModel
from lora_core.families.wan.pocket import pocket_lora
from lora_core.lengths.asked import LengthsAsked
from lora_core.lengths.evaluate import Evaluated, evaluate_lengths
from lora_core.media.measures import MEASURES

ASKED = LengthsAsked(
    frames=(9, 5), prompts=("a red circle moves right on a plain background",), num_steps=4, cfg=1.0, seed=3
)
WAYS = ("base-dense", "base-radial", "lora-dense", "lora-radial")


@pytest.fixture(scope="module")
def model() -> OpenedModel:
    return open_wan("pocket")


@pytest.fixture(scope="module")
def lora() -> LoraStack:
    return LoraStack().add(pocket_lora("neon_style"))


@pytest.fixture(scope="module")
def evaluated(model: OpenedModel, lora: LoraStack, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return evaluate_lengths(model, ASKED, tmp_path_factory.mktemp("out") / "lengths", lora=lora)


def files_of(folder: Path) -> dict[str, int]:
    """Return the videos and readings of a folder, and when each was written."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in (folder / "videos").rglob("*") if p.is_file()}


def test_every_length_is_made_in_every_way_with_all_figures(evaluated: Evaluated) -> None:
    data = evaluated.data
    assert evaluated.is_over
    assert [(cell["frames"], cell["variant"]) for cell in data["cells"]] == [(n, way) for n in (5, 9) for way in WAYS]
    for cell in data["cells"]:
        video = evaluated.folder.cell(cell["variant"], cell["frames"]) / "1.mp4"
        assert len(read_video(video)[0]) == cell["frames"]
        assert cell["read"].keys() >= MEASURES.keys() - {"repetition"} | {"colour", "shape", "direction"}
        assert cell["read"]["processor_seconds"]["mean"] > 0
        assert cell["memory_bytes"] > 100_000
        assert (cell["radial"] is not None) == cell["variant"].endswith("radial")


def test_the_lora_acts_in_its_own_cells_alone(evaluated: Evaluated) -> None:
    at_9 = {
        cell["variant"]: cell["read"]["background"]["mean"] for cell in evaluated.data["cells"] if cell["frames"] == 9
    }
    assert at_9["base-dense"] != at_9["lora-dense"]


def test_longer_videos_take_more_memory(evaluated: Evaluated) -> None:
    taken = {
        cell["frames"]: cell["memory_bytes"] for cell in evaluated.data["cells"] if cell["variant"] == "base-dense"
    }
    assert taken[9] > taken[5]


def test_the_report_has_a_table_for_each_length_the_pictures_and_the_hashes_of_both_files(evaluated: Evaluated) -> None:
    text = evaluated.folder.report.read_text(encoding="utf-8")
    for heading in ("## 5 frames", "## 9 frames", "## What is kept of the meaning", "## How it is read"):
        assert f"\n{heading}\n" in text
    for name in ("videos", "meaning", "figures", "cost"):
        assert f"](images/lengths-{name}.png)" in text
        assert (evaluated.folder.path / "images" / f"lengths-{name}.png").stat().st_size > 1000
    (row,) = evaluated.data["asked"]["lora"]
    assert "radial attention: it will not pay here" in text
    assert f"`{row['sha256'][:12]}` `{row['low_noise_sha256'][:12]}`" in text
    assert json.loads(evaluated.folder.report.with_suffix(".json").read_text()) == evaluated.data


def test_what_is_done_is_not_done_again_and_a_length_may_be_added(
    evaluated: Evaluated, model: OpenedModel, lora: LoraStack
) -> None:
    before = files_of(evaluated.folder.path)
    longer = replace(ASKED, frames=(5, 13))
    again = evaluate_lengths(model, longer, evaluated.folder.path, lora=lora, is_radial=False)
    after = files_of(evaluated.folder.path)
    assert {name: after[name] for name in before} == before
    assert {name.split("-")[-1].split("/")[0] for name in after.keys() - before.keys()} == {"13"}
    assert again.data["frames"] == [5, 9, 13]


def test_an_evaluation_that_was_stopped_goes_on_to_the_same_readings(
    evaluated: Evaluated, model: OpenedModel, lora: LoraStack, tmp_path: Path
) -> None:
    def stop() -> bool:
        return (tmp_path / "out" / "videos" / "base-radial-5" / "readings.json").exists()

    stopped = evaluate_lengths(model, ASKED, tmp_path / "out", lora=lora, should_stop=stop)
    assert not stopped.is_over
    assert [cell["variant"] for cell in stopped.data["cells"]] == ["base-dense", "base-radial"]
    gone_on = evaluate_lengths(model, replace(ASKED, frames=(5,)), tmp_path / "out", lora=lora)
    assert gone_on.is_over

    def figures(data: dict) -> dict:
        return {
            cell["variant"]: {name: cell["read"].get(name) for name in MEASURES}
            for cell in data["cells"]
            if cell["frames"] == 5
        }

    assert figures(gone_on.data) == figures(evaluated.data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "holds an evaluation with other settings: seed. Go on with the same, or evaluate into another"),
        ({"num_steps": 5, "shift": 3.0}, "other settings: steps, shift"),
        ({"prompts": ("a blue circle",)}, "other settings: prompts"),
    ],
)
def test_a_folder_with_answers_to_something_else_is_refused(
    change: dict, message: str, evaluated: Evaluated, model: OpenedModel, lora: LoraStack
) -> None:
    before = files_of(evaluated.folder.path)
    with pytest.raises(LoraCoreError) as raised:
        evaluate_lengths(model, replace(ASKED, **change), evaluated.folder.path, lora=lora)
    assert message in str(raised.value)
    assert files_of(evaluated.folder.path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": ()}, "frames: none are given (lengths such as 17,33,49,65). Give some."),
        ({"frames": (5, 5)}, "frames: 5 is given twice. Leave one out."),
        ({"frames": (5, 16)}, "num_frames: 16 is not 4 k + 1 (nearest: 13 or 17). Choose one of them."),
        ({"frames": (5, 4097)}, "num_frames: 4097 is out of range (1 to 4093). Choose a number in that range."),
        ({"frames": (5.0,)}, "frames: 5.0 is not a whole number"),
        ({"prompts": ()}, "prompts: none are given, and only the embedded model has some of its own. Say what"),
        ({"num_steps": 1}, "radial attention: 1 first and 1 last steps of 1 stay dense, which leaves none. Take more"),
        ({"height": 60}, "height: 60 is not a multiple of 16"),
        ({"image": "gone.png"}, "image: Wan pocket makes video from text alone. Leave the image out."),
        ({"seed": -1}, "seed: -1 is out of range"),
    ],
)
def test_what_cannot_be_is_said_before_a_network_runs(
    change: dict, message: str, model: OpenedModel, lora: LoraStack, tmp_path: Path
) -> None:
    with pytest.raises(LoraCoreError) as raised:
        evaluate_lengths(model, replace(ASKED, **change), tmp_path / "out", lora=lora)
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_lengths_are_checked_without_radial_attention_too(model: OpenedModel, tmp_path: Path) -> None:
    with pytest.raises(LoraCoreError, match="num_frames: 16 is not 4 k"):
        evaluate_lengths(model, replace(ASKED, frames=(5, 16)), tmp_path / "out", is_radial=False)


def test_a_lora_of_another_model_is_refused_before_a_network_runs(lora: LoraStack, tmp_path: Path) -> None:
    with pytest.raises(LoraCoreError, match="neon_style"):
        evaluate_lengths(open_wan("pocket-small"), ASKED, tmp_path / "out", lora=lora)
    assert not (tmp_path / "out").exists()
