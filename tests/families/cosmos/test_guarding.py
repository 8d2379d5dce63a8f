"""A guardrail and a refiner in a run: what they see and when, what they stop, and what is said of them."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lora_core.engine.generate import generate
from lora_core.engine.guarding import Guard, NoGuardrail, find_guardrail, open_guardrail
from lora_core.engine.request import GenerationRequest
from lora_core.errors import ModelError, RequestError
from lora_core.families.cosmos.spec import cosmos_spec

WANTED = GenerationRequest("a red circle moves up", num_steps=2, num_frames=5, height=32, width=32)
ABSENT = find_spec("cosmos_guardrail") is None


class Checker:
    """A small guardrail of words and of pixels, which notes what it is asked and where it is."""

    def __init__(self, word: str = "green", passes: bool = True) -> None:
        self.word, self.passes = word, passes
        self.asked: list[object] = []

    def to(self, device: object) -> None:
        self.asked.append(str(device))

    def check_text_safety(self, prompt: str) -> bool:
        self.asked.append(prompt)
        return self.word not in prompt

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray | None:
        self.asked.append(frames.shape)
        if not self.passes:
            return None
        frames[1:3, :8, :8] = 255 - frames[1:3, :8, :8]  # in place, as cosmos-guardrail blurs
        return frames


def test_it_sees_the_prompt_before_and_after_refining_and_the_video_at_the_end(model) -> None:
    checker, phases = Checker(), []
    video = generate(
        model, WANTED, guardrail=checker, refiner=lambda prompt: f"{prompt} slowly", on_phase=phases.append
    )
    texts = ["a red circle moves up", "a red circle moves up slowly"]
    assert [asked for asked in checker.asked if asked != "cpu"] == [*texts, (5, 32, 32, 3)]
    assert phases == ["prompt", "files", "text", "picture", "sampling", "decoding", "guardrail"]
    alone = generate(model, GenerationRequest(**{**vars(WANTED), "prompt": texts[1]}))
    torch.testing.assert_close(video.latents, alone.latents)
    changed = (video.frames != alone.frames).any(axis=(2, 3)).any(axis=1)
    assert changed.tolist() == [False, True, True, False, False]
    assert video.record["request"]["prompt"] == texts[1]
    assert video.record["refiner"]["given"] == texts[0]
    assert video.record["guardrail"] == {"by": f"{__name__}.Checker", "num_changed_frames": 2}
    assert video.notes[-1] == f"guardrail: {__name__}.Checker changed 2 frames"


def test_a_blocked_prompt_is_an_error_before_a_network_runs(model) -> None:
    phases: list[str] = []
    with pytest.raises(RequestError) as error:
        generate(model, WANTED, guardrail=Checker("red"), on_phase=phases.append)
    assert str(error.value) == "prompt: the guardrail blocks 'a red circle moves up'. Ask for something else."
    with pytest.raises(RequestError, match=r"^refined prompt: the guardrail blocks 'green'"):
        generate(model, WANTED, guardrail=Checker(), refiner=lambda prompt: "green", on_phase=phases.append)
    assert phases == ["prompt", "prompt"]


@pytest.mark.parametrize(("offload", "moves"), [("none", ["cuda:1"]), ("experts", ["cuda:1", "cpu"])])
def test_it_is_on_the_models_device_for_a_check_and_off_it_where_the_model_is_offloaded(offload, moves) -> None:
    checker = Checker()
    Guard.of(checker, SimpleNamespace(device="cuda:1", offload=offload)).check_text("red", "prompt")
    assert [asked for asked in checker.asked if asked != "red"] == moves


def test_a_blocked_video_is_an_error(model) -> None:
    with pytest.raises(RequestError) as error:
        generate(model, WANTED, guardrail=Checker(passes=False))
    assert str(error.value).startswith("video: the guardrail blocks what came out, and nothing is written.")


def test_without_one_a_cosmos_says_why_none_ran(model) -> None:
    for guardrail, why in ((None, "none was given"), (NoGuardrail("turned off"), "turned off")):
        video = generate(model, WANTED, guardrail=guardrail)
        assert video.record["guardrail"] == {"by": None, "why": why, "licence": "NVIDIA Open Model License"}
        assert video.notes[-1] == f"guardrail: none ran, {why}; the NVIDIA Open Model License asks for one"


def test_the_pockets_own_weights_are_under_no_such_licence() -> None:
    for name, row in (("cosmos-pocket", None), ("cosmos-predict2-2b-video2world", "NVIDIA Open Model License")):
        guard = Guard.of(None, SimpleNamespace(spec=cosmos_spec(name)))
        assert (guard.row() or {}).get("licence") == row
        assert len(guard.notes()) == (row is not None)


def test_what_checks_nothing_is_refused(model) -> None:
    with pytest.raises(RequestError, match=r"^guardrail: str has no check_text_safety \(a safety checker\)\. Give one"):
        generate(model, WANTED, guardrail="on")
    with pytest.raises(RequestError, match=r"^refiner: 'x' cannot be called"):
        generate(model, WANTED, refiner="x")


@pytest.mark.skipif(not ABSENT, reason="cosmos-guardrail is installed")
def test_where_cosmos_guardrail_is_not_installed_asking_for_it_is_one_error() -> None:
    with pytest.raises(ModelError) as error:
        open_guardrail()
    assert str(error.value) == (
        "guardrail: cosmos-guardrail is not installed. "
        'Install it with `pip install "wanloom[cosmos-guardrail]"`, or pass --no-guardrail.'
    )
    assert find_guardrail() == NoGuardrail("cosmos-guardrail is not installed")


#: The first that the package does when its checker is built.
PACKAGE = """
from huggingface_hub import snapshot_download
class CosmosSafetyChecker:
    def __init__(self):
        snapshot_download("nvidia/Cosmos-1.0-Guardrail", allow_patterns=["blocklist/*"])
"""


@pytest.mark.skipif(not ABSENT, reason="cosmos-guardrail is installed")
def test_where_its_weights_are_not_there_the_error_says_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for code, said in (
        (
            PACKAGE,
            r"^guardrail: its weights are not in the local cache: .* Accept their licence and fetch them: `hf down",
        ),
        (
            "import no_such_cv2",
            r"^guardrail: cosmos-guardrail cannot be opened: No module named 'no_such_cv2'\. Install",
        ),
    ):
        (tmp_path / "cosmos_guardrail.py").write_text(code)
        with pytest.raises(ModelError, match=said):
            open_guardrail()
        sys.modules.pop("cosmos_guardrail", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
