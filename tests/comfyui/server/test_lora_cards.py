"""The cards of LoRA files over HTTP: what they tell, their previews, and that nothing outside the folders is served."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
from harness.client import Client
from harness.workflows import POCKET_LORAS, STACK, pocket_workflow
from safetensors import safe_open

NEON = "neon_style_high_noise.safetensors"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture(scope="module")
def folder(comfy: Client) -> Path:
    """A LoRA in a folder of its own, with a sidecar, a preview, and files that are none of its own."""
    folder = comfy.server.base / "models" / "loras" / "cards"
    folder.mkdir(parents=True)
    shutil.copy(POCKET_LORAS / NEON, folder / "glow_high.safetensors")
    words = {
        "trainedWords": ["glow, at night"],
        "baseModel": "Wan Video 2.2 T2V-A14B",
        "model": {"tags": ["Neon city"]},
    }
    (folder / "glow_high.civitai.info").write_text(
        json.dumps(words | {"description": "<script>alert(1)</script>Bright."})
    )
    (folder / "glow_high.preview.png").write_bytes(PNG)
    (folder / "secret.png").write_bytes(b"nobody's preview")
    (folder / "damaged.safetensors").write_bytes(b"<html>")
    (folder.parent.parent / "outside.safetensors").write_bytes(b"outside")
    (folder.parent.parent / "outside.png").write_bytes(b"outside")
    comfy.object_info()
    return folder


def ask(comfy: Client, route: str, **query: Any) -> requests.Response:
    return requests.get(f"{comfy.server.url}/api/wanloom/{route}", params=query, timeout=60)


def test_a_card_tells_what_file_and_sidecar_say_and_not_where_they_lie(comfy: Client, folder: Path) -> None:
    answer = ask(comfy, "card", file="cards/glow_high.safetensors")
    card = answer.json()
    assert card["words"] == ["glow", "at night"]
    assert (card["base"], card["base_told"], card["expert"]) == ("wan-pocket", "Wan Video 2.2 T2V-A14B", "high_noise")
    assert (card["purpose"], card["tags"]) == ("style", ["Neon city"])
    assert ["Civitai", "Bright."] in card["notes"]
    with safe_open(POCKET_LORAS / NEON, "numpy") as file:
        assert card["training"]["steps"] == file.metadata()["num_training_steps"]
        assert card["ranks"] == [next(min(file.get_slice(key).get_shape()) for key in file.keys() if "lora" in key)]  # noqa: SIM118 - no mapping
    assert card["preview"]["kind"] == "image"
    assert str(comfy.server.base) not in answer.text


def test_the_pockets_own_loras_have_cards_too(comfy: Client) -> None:
    assert ask(comfy, "card", file=NEON).json()["purpose"] == "style"


def test_a_damaged_file_has_a_card_that_says_so(comfy: Client, folder: Path) -> None:
    answer = ask(comfy, "card", file="cards/damaged.safetensors")
    assert answer.json()["faults"] == [
        "it is a web page, not a LoRA file (a safetensors file). Download the real file."
    ]
    assert str(comfy.server.base) not in answer.text


def test_the_preview_comes_with_its_type_and_is_nothing_else(comfy: Client, folder: Path) -> None:
    answer = ask(comfy, "preview", file="cards/glow_high.safetensors")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PNG, "image/png")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ask(comfy, "preview", file=NEON).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nothing.safetensors",
        "../outside.safetensors",
        "cards/../../outside.safetensors",
        "..\\outside.safetensors",
        "/etc/passwd",
        "~/x.safetensors",
        "cards/secret.png",
        "cards/glow_high.civitai.info",
        "cards/glow_high.preview.png",
        "cards",
        "cards/glow_high.safetensors\0.png",
        "file:///etc/passwd",
        "{base}/models/outside.safetensors",
    ],
)
@pytest.mark.parametrize("route", ["card", "preview"])
def test_what_is_no_lora_in_the_folders_is_not_served(comfy: Client, folder: Path, route: str, name: str) -> None:
    answer = ask(comfy, route, file=name.format(base=comfy.server.base))
    assert answer.status_code == 404
    assert answer.json()["error"]
    assert b"outside" not in answer.content.replace(name.encode(), b"").replace(b"outside.safetensors", b"")


def test_the_index_tells_bases_and_words_of_every_file_and_where_to_go_on(comfy: Client, folder: Path) -> None:
    cards: dict[str, Any] = {}
    begin = 0
    while begin is not None:
        answer = ask(comfy, "cards-index", **{"from": begin}).json()
        cards |= answer["cards"]
        begin = answer["next"]
    assert cards["cards/glow_high.safetensors"] == [["wan-pocket", "Wan Video 2.2 T2V-A14B"], ["Neon city", "style"]]
    assert cards[NEON] == [["wan-pocket"], ["style"]]
    assert len(cards) == answer["total"]
    assert ask(comfy, "cards-index", **{"from": "x"}).json()["total"] == len(cards)


def test_the_stack_gives_the_words_of_the_rows_that_are_on(comfy: Client, folder: Path) -> None:
    rows = [
        {"path": "cards/glow_high.safetensors"},
        {"path": "zibbo_character_high_noise.safetensors"},
        {"path": "orbit_motion_high_noise.safetensors", "enabled": False},
    ]
    workflow = pocket_workflow(rows)
    workflow = {name: workflow[name] for name in ("loader", STACK)}
    workflow["words"] = {"class_type": "PreviewAny", "inputs": {"source": [STACK, 3]}}
    run = comfy.run(workflow)
    assert run.outcome == "success", run.error
    assert run.outputs["words"]["text"] == ["glow, at night, zibbo"]
    (folder / "glow_high.civitai.info").write_text(json.dumps({"trainedWords": ["lights"]}))
    assert comfy.run(workflow).outputs["words"]["text"] == ["lights, zibbo"]
