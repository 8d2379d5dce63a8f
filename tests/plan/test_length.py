"""What is said of LoRAs that were trained for a length, before a run and behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lora_core import GenerationRequest, LoraStack, RadialSettings, generate, inspect_lora, open_wan
from lora_core.families.wan.spec import wan_spec
from lora_core.files.trained_length import TrainedLength
from lora_core.plan.length import length_notes, length_of
from lora_core.plan.routing import route
from lora_core.stack.entry import LoraEntry
from lora_core.stack.loading import load_stack

SPEC = wan_spec("wan-pocket")
TARGET = "blocks.3.self_attn.q"
LENGTH = TrainedLength(17, 33, 1.0, 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows, columns = SPEC.shapes[TARGET]
    tensors = {
        f"diffusion_model.{TARGET}.lora_A.weight": torch.full((2, columns), 0.01),
        f"diffusion_model.{TARGET}.lora_B.weight": torch.full((rows, 2), 0.01),
    }
    path = tmp_path / "far.safetensors"
    save_file(tensors, path, metadata=LENGTH.to_metadata())
    return path


def notes(stack: LoraStack, num_frames: int, *, is_radial: bool) -> list[str]:
    return [str(note) for note in length_notes(load_stack(stack, SPEC), num_frames, is_radial=is_radial)]


DENSE = (
    "warning: far: trained with radial attention (decay 1, 2 dense blocks), and this run is dense. "
    "Add radial attention if the clip suffers"
)
SHORT = "warning: far: trained for 17 to 33 frames, and 13 are fewer. Turn it off for such clips"
LONG = "warning: far: trained for 33 frames, it has never seen 65. Make a shorter clip"


@pytest.mark.parametrize(
    ("num_frames", "is_radial", "said"),
    [
        (33, True, []),
        (33, False, [DENSE]),
        (41, True, []),
        (65, True, [LONG]),
        (65, False, [LONG, DENSE]),
        (13, False, [SHORT]),
        (17, False, []),
    ],
)
def test_another_length_and_another_attention_are_told(
    file: Path, num_frames: int, is_radial: bool, said: list[str]
) -> None:
    assert notes(LoraStack().add(file, name="far"), num_frames, is_radial=is_radial) == said


def test_a_lora_that_does_nothing_or_is_for_no_length_is_not_spoken_of(file: Path) -> None:
    assert notes(LoraStack().add(file, 0.0, name="far"), 65, is_radial=False) == []
    off = LoraStack((LoraEntry("far", file, enabled=False),))
    assert notes(off, 65, is_radial=False) == []
    assert notes(LoraStack().add("speed_6steps"), 65, is_radial=False) == []


def test_the_stack_is_told_what_it_was_made_for(file: Path) -> None:
    loaded = load_stack(LoraStack().add(file, name="far"), SPEC)
    assert length_of(loaded.loras[0]) == LENGTH
    (advice,) = [advice for advice in route(loaded, SPEC).advice if advice.rule == "for-length"]
    text = "made for clips of 33 frames, with radial attention. Set that length, and add radial attention"
    assert (advice.text, advice.level) == (text, "note")


def test_inspect_tells_the_length(file: Path) -> None:
    said = str(inspect_lora(file).text())
    told = "trained at 17 and 33 frames, the longer with radial attention (decay 1, 2 dense blocks)"
    assert f"length         {told}" in said


def test_a_run_at_another_length_says_so_and_a_fitting_one_does_not(file: Path) -> None:
    model, stack = open_wan("pocket"), LoraStack().add(file, name="far")

    def warned(num_frames: int, radial: RadialSettings | None) -> list[str]:
        request = GenerationRequest(
            "a red circle moves up", num_frames=num_frames, height=32, width=32, num_steps=4, cfg=1.0
        )
        video = generate(model, request, stack, radial=radial)
        return [note for note in video.notes if note.startswith("warning: far")]

    assert warned(9, None) == [SHORT.replace("13 are", "9 are")]
    assert warned(33, None) == [DENSE]
    assert warned(33, RadialSettings()) == []
