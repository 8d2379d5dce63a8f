"""The sidecars of a LoRA: each format as its tool writes it, broken ones, and other people's HTML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_core.files.advised import Advised, advised
from lora_core.files.beside import names_in, preview_of
from lora_core.files.plain_text import MAX_LETTERS, plain_text
from lora_core.files.sidecars import MAX_BYTES, Sidecar, read_sidecars

LORA_MANAGER = {
    "file_name": "style",
    "model_name": "Neon Nights",
    "file_path": "/home/somebody/loras/style.safetensors",
    "size": 306807976,
    "base_model": "Wan Video 2.2 T2V-A14B",
    "preview_url": "/home/somebody/loras/style.webp",
    "notes": "mine: low at 0.6",
    "tags": ["style", "Neon"],
    "modelDescription": "<p>Everything <strong>glows</strong>.</p>",
    "civitai": {"trainedWords": ["neon glow, at night"], "description": None},
    "usage_tips": '{"strength":1,"strength_min":0.9,"strength_max":1.1}',
}
RGTHREE = {
    "file": "style.safetensors",
    "name": "Neon Nights - v2",
    "baseModel": "Wan Video",
    "trainedWords": [
        {"word": "neon glow", "civitai": True},
        {"word": "man", "count": 41, "metadata": True},
        {"word": "my word", "user": True},
    ],
    "strengthMin": "0.50",
    "strengthMax": "0.90",
    "userNote": "with the speed LoRA",
    "images": [{"url": "https://example.com/1.png"}],
}
CIVITAI = {
    "id": 1,
    "modelId": 2,
    "name": "v2.0",
    "baseModel": "Wan Video 2.2 I2V-A14B",
    "trainedWords": ["neon glow", "lights"],
    "description": "<ul><li>Use <b>0.8</b> &amp; up</li><li>no hands</li></ul><script>alert(1)</script>",
    "model": {"name": "Neon Nights", "type": "LORA", "tags": ["neon", "style"]},
    "images": [{"url": "https://example.com/1.mp4", "type": "video"}],
}
WEBUI = {
    "description": "",
    "sd version": "Unknown",
    "activation text": "neon glow, rain",
    "preferred weight": 0.75,
    "negative text": "",
    "notes": "a < b & c",
}


def beside(folder: Path, name: str, form: Any) -> tuple[Sidecar, ...]:
    """Write one file beside `style.safetensors`, which need not be there, and read what is told of it."""
    (folder / name).write_text(form if isinstance(form, str) else json.dumps(form), encoding="utf-8")
    return read_sidecars(folder / "style.safetensors", names_in(folder))


def test_lora_managers_file_tells_words_tags_strengths_and_notes(tmp_path: Path) -> None:
    (told,) = beside(tmp_path, "style.metadata.json", LORA_MANAGER)
    assert told == Sidecar(
        "Lora-Manager",
        title="Neon Nights",
        base="Wan Video 2.2 T2V-A14B",
        trigger_words=("neon glow", "at night"),
        tags=("style", "Neon"),
        strength=Advised(0.9, 1.1, 1.0),
        notes=("mine: low at 0.6", "Everything glows."),
    )


def test_of_rgthrees_words_those_counted_in_captions_are_no_trigger_words(tmp_path: Path) -> None:
    (told,) = beside(tmp_path, "style.safetensors.rgthree-info.json", RGTHREE)
    assert told.trigger_words == ("neon glow", "my word")
    assert told.strength == Advised(0.5, 0.9, 0.7)
    assert (told.title, told.notes) == ("Neon Nights - v2", ("with the speed LoRA",))


def test_the_html_of_a_civitai_file_becomes_plain_text_and_its_scripts_nothing(tmp_path: Path) -> None:
    (told,) = beside(tmp_path, "style.civitai.info", CIVITAI)
    assert told.notes == ("- Use 0.8 & up\n- no hands",)
    assert told.title == "Neon Nights v2.0"
    assert told.tags == ("neon", "style")


def test_the_web_uis_own_words_are_read_and_its_unknown_base_is_none(tmp_path: Path) -> None:
    (told,) = beside(tmp_path, "style.json", WEBUI)
    assert told.trigger_words == ("neon glow", "rain")
    assert told.strength == Advised(0.75, 0.75, 0.75)
    assert told.notes == ("a < b & c",)
    assert told.base == ""


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"text"', "[" * 100_000, "\ud7ff{"])
def test_a_broken_sidecar_is_one_note(tmp_path: Path, text: str) -> None:
    (told,) = beside(tmp_path, "style.civitai.info", text)
    assert told.fault.startswith("style.civitai.info ")
    assert told == Sidecar("Civitai", fault=told.fault)


def test_a_sidecar_that_is_no_text_or_far_too_large_is_one_note(tmp_path: Path) -> None:
    (tmp_path / "style.civitai.info").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "style.json").write_text(" " * (MAX_BYTES + 1))
    faults = [told.fault for told in read_sidecars(tmp_path / "style.safetensors", names_in(tmp_path))]
    assert faults[0] == "style.json is larger than 8 MB and was not read"
    assert faults[1].startswith("style.civitai.info cannot be read: ")


@pytest.mark.parametrize(
    "name", ["style.json", "style.safetensors.rgthree-info.json", "style.metadata.json", "style.civitai.info"]
)
@pytest.mark.parametrize("odd", [0, "text", [None, 1, {}], {"word": []}])
def test_values_of_the_wrong_kind_are_passed_over(tmp_path: Path, name: str, odd: Any) -> None:
    keys = {*LORA_MANAGER, *RGTHREE, *CIVITAI, *WEBUI}
    (told,) = beside(tmp_path, name, dict.fromkeys(keys, odd))
    assert told.fault == ""
    assert all(isinstance(text, str) for text in (*told.trigger_words, *told.tags, *told.notes))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("a<br>b", "a\nb"),
        ("x &lt;b&gt; y", "x <b> y"),
        ("<img src=x onerror=alert(1)>seen", "seen"),
        ("<style>p{}</style><script>1</script>kept", "kept"),
        ("2 < 3", "2 < 3"),
    ],
)
def test_html_is_read_as_the_text_in_it(html: str, text: str) -> None:
    assert plain_text(html) == text


def test_a_text_without_end_is_cut() -> None:
    assert len(plain_text("a" * 100_000)) == MAX_LETTERS + 1
    assert len(plain_text("<p>a " * 100_000)) <= MAX_LETTERS + 1


@pytest.mark.parametrize(
    ("numbers", "advice"),
    [
        ((0.8, None, None), Advised(0.8, 0.8, 0.8)),
        ((None, "0.5", "1"), Advised(0.5, 1.0, 0.75)),
        ((1, 0.6, None), Advised(0.6, 1.0, 1.0)),
        ((0, "", None), None),
        (("strong", float("nan"), True), None),
        ((1e9, [], {}), None),
        ((-1, None, None), Advised(-1.0, -1.0, -1.0)),
    ],
)
def test_strengths_are_numbers_or_texts_and_nought_is_no_advice(
    numbers: tuple[Any, ...], advice: Advised | None
) -> None:
    assert advised(*numbers) == advice


def test_the_preview_is_the_picture_or_video_of_the_loras_name(tmp_path: Path) -> None:
    path = tmp_path / "style.safetensors"
    for name in ("other.png", "style.txt", "style.svg", "style.html", "style2.png"):
        (tmp_path / name).touch()
    assert preview_of(path, names_in(tmp_path)) is None
    for name in ("style.MP4", "style.png", "style.preview.jpeg"):
        (tmp_path / name).touch()
        found = preview_of(path, names_in(tmp_path))
        assert found is not None
        assert found.name == name
