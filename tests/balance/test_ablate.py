import csv
import json

import pytest
from made_stacks import lora, weights

import lora_core
from lora_core import GenerationRequest, LoraStack, ablate, open_wan
from lora_core.balance.ablation_folder import cells_of
from lora_core.engine import generate as engine
from lora_core.errors import RequestError
from lora_core.families.wan.pocket import pocket_lora

REQUEST = GenerationRequest("a zibbo moves right on a plain background", num_frames=5, num_steps=2, seed=3)


@pytest.fixture(scope="module")
def model():
    return open_wan("pocket")


def stack():
    files = {"zibbo": "zibbo_character", "neon": "neon_style"}
    made = LoraStack()
    for name, file in files.items():
        made = made.add(pocket_lora(file), name=name)
    return made


def test_each_lora_is_left_out_once_and_what_is_there_is_not_made_again(model, tmp_path, monkeypatch):
    made = []
    real = engine.generate
    monkeypatch.setattr("lora_core.balance.ablate.generate", lambda *a, **k: made.append(1) or real(*a, **k))
    first = ablate(model, REQUEST, stack(), tmp_path / "out", should_stop=lambda: len(made) == 3)
    assert (first.is_over, len(first.report.rows)) == (False, 2)
    whole = ablate(model, REQUEST, stack(), tmp_path / "out")
    assert (whole.is_over, len(made)) == (True, 4)  # the one that was stopped was begun again
    rows = list(csv.DictReader((tmp_path / "out" / "ablation.csv").read_text().splitlines()))
    assert [row["left_out"] for row in rows] == ["", "zibbo", "neon"]
    assert float(rows[0]["similarity"]) == pytest.approx(1)
    assert 0 < float(rows[2]["similarity"]) < 0.99
    record = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [clip["file"] for clip in record["clips"]] == ["0-all.mp4", "1-without-zibbo.mp4", "2-without-neon.mp4"]
    assert record["request"]["seed"] == 3
    assert all((tmp_path / "out" / clip["file"]).stat().st_size for clip in record["clips"])
    assert (tmp_path / "out" / "sheet.png").is_file()
    assert "without neon" in whole.report.text()
    assert "changes the clip most" in whole.report.text()
    alone = real(model, REQUEST, stack().without("neon")).frames
    assert lora_core.read_video(tmp_path / "out" / "2-without-neon.mp4")[0].shape[0] == len(alone)
    with pytest.raises(RequestError, match="holds an ablation with other settings: request"):
        ablate(model, GenerationRequest("a zibbo", num_frames=5, num_steps=2), stack(), tmp_path / "out")


def test_a_clip_that_was_removed_is_made_again(model, tmp_path):
    out = tmp_path / "out"
    ablate(model, REQUEST, stack(), out)
    before = (out / "1-without-zibbo.mp4").read_bytes()
    (out / "1-without-zibbo.mp4").unlink()
    (out / "reference.mkv").unlink()
    assert ablate(model, REQUEST, stack(), out).is_over
    assert (out / "1-without-zibbo.mp4").read_bytes() == before
    assert (out / "reference.mkv").is_file()


def test_nothing_is_blamed_where_leaving_out_changes_nothing(model, tmp_path):
    report = ablate(model, REQUEST, stack().with_strength("zibbo", 0).without("neon"), tmp_path / "out").report
    assert report.text().endswith("\nwhichever LoRA is left out, the clip stays the same")


def test_results_of_something_else_are_not_written_over(model, tmp_path):
    (tmp_path / "sheet.png").write_bytes(b"a picture")
    with pytest.raises(RequestError, match=r"holds sheet.png, and is no ablation's. Choose another folder"):
        ablate(model, REQUEST, stack(), tmp_path)
    assert (tmp_path / "sheet.png").read_bytes() == b"a picture"


def test_a_stack_without_loras_is_refused(model, tmp_path):
    with pytest.raises(RequestError, match="stack: no LoRA of it is on"):
        ablate(model, REQUEST, LoraStack(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_of_loras_are_made_names_of_files():
    files = [cell.file for cell in cells_of(["a/b: c", "..", "x" * 200])]
    assert files[:3] == ["0-all", "1-without-a-b-c", "2-without-lora"]
    assert len(files[3]) < 80


def test_loras_in_memory_can_be_left_out_too(model, tmp_path):
    made = LoraStack().add(weights("one", lora(0, 0.1)))
    assert ablate(model, REQUEST, made, tmp_path / "out").is_over
