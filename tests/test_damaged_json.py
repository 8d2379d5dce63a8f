"""Damaged JSON: presets, records and the rows in workflows are read, or refused with one clear error, and cheaply."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from costs import costing_little
from tiny_loras import save_lora

from lora_core.engine.record import request_from_record, stack_from_record
from lora_core.engine.scenes import scenes_from_json
from lora_core.errors import LoraCoreError, StackError
from lora_core.stack.overrides import overrides_from_json
from lora_core.stack.schedule import StrengthSchedule
from lora_core.stack.stack import LoraStack
from lora_core.stack.target_filter import TargetFilter

ROOT = Path(__file__).parents[1]
#: What stands where something else should.
STRANGE = (None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**400, "", " ", "x", "\0", "9" * 5000, [], [[]], {})
LONG = ("a" * 900_000, "0-9=0.5," * 100_000, "keyframes:" + "0.5=1," * 100_000, "[" * 500_000, '{"a":' * 100_000)


def mutated(rng: random.Random, value: Any) -> Any:
    """Return a JSON value with something in it that does not belong there."""
    if rng.random() < 0.25 or not isinstance(value, (dict, list)) or not value:
        return rng.choice(STRANGE)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(list(keys))
    changed = dict(value) if isinstance(value, dict) else list(value)
    match rng.randrange(8):
        case 0:
            del changed[key]
        case 1 if isinstance(changed, dict):
            changed[rng.choice(["", "path ", "Weight", "x" * 1000])] = rng.choice(STRANGE)
        case _:
            changed[key] = mutated(rng, value[key])
    return changed


def damaged_text(rng: random.Random, text: str) -> str:
    """Return text with letters changed, left out or put in."""
    letters = list(text) or [" "]
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(letters) or 1)
        letters[at : at + rng.randint(0, 3)] = rng.choices('{}[]",:0123456789-.eE\\ntru', k=rng.randint(0, 3))
    return "".join(letters)


def read_or_refused(read: Callable[[], object]) -> bool:
    """Say whether something was refused; anything but an error of this package is a failure."""
    said = ""
    with costing_little(2.0):
        try:
            read()
        except LoraCoreError as error:
            said = str(error)
    assert len(said) < 5000
    return bool(said)


@pytest.fixture
def row(tmp_path: Path) -> dict[str, Any]:
    """Return a row of a preset that uses every key."""
    low = save_lora(tmp_path / "b.safetensors", 1)
    stack = LoraStack().add(
        save_lora(tmp_path / "a.safetensors"),
        0.8,
        low_noise=low,
        low_noise_strength=0.5,
        schedule="keyframes:1=0.2,0.5=1",
        target_filter="0-9=0.5,ffn=0",
    )
    return json.loads(stack.write_preset(tmp_path / "preset.json").read_text())[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_preset_is_read_or_refused(row: dict[str, Any], seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "damaged.json"
    rows = [row, row | {"name": "other", "schedule": {"keyframes": [[1, 0.2]]}, "targets": {"rules": [{"factor": 1}]}}]
    sound = json.dumps(rows)
    num_refused = 0
    for _ in range(150):
        text = json.dumps(mutated(rng, rows)) if rng.random() < 0.6 else damaged_text(rng, sound)
        path.write_text(text)
        num_refused += read_or_refused(lambda: LoraStack.read_preset(path))
    assert num_refused > 75


RECORD = {
    "format": 1,
    "request": {
        "prompt": "a red circle",
        "negative_prompt": "",
        "num_steps": 6,
        "shift": 5.0,
        "sigmas": [1.0, 0.5, 0.0],
        "cfg": [3.5, 1.0],
        "boundary": "auto",
        "denoise": 1.0,
        "num_frames": 5,
        "height": 64,
        "width": 64,
        "fps": 16.0,
        "seed": 7,
        "solver": "euler",
        "image": {"path": "picture.png", "sha256": "0" * 64},
        "last_image": None,
        "latents": {"shape": [1, 16, 1, 8, 8], "sha256": "0" * 64},
    },
}


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_record_is_read_or_refused(row: dict[str, Any], seed: int) -> None:
    rng = random.Random(seed)
    sound = RECORD | {"loras": [row]}
    num_refused = 0
    for _ in range(150):
        record = mutated(rng, sound)
        given = {"latents": torch.zeros(1)} if rng.random() < 0.3 else {}
        num_refused += read_or_refused(lambda record=record, given=given: request_from_record(record, **given))
        num_refused += read_or_refused(lambda record=record: stack_from_record(record))
    assert num_refused > 75


def texts_in_workflows() -> Iterator[str]:
    """Yield every text that a widget of a workflow holds, in either of its forms."""
    for path in sorted((ROOT / "workflows").rglob("*.json")):
        todo = [json.loads(path.read_text(encoding="utf-8"))]
        while todo:
            value = todo.pop()
            if isinstance(value, str):
                yield value
            elif isinstance(value, (dict, list)):
                todo += value.values() if isinstance(value, dict) else value


READERS: dict[str, Callable[[str], object]] = {
    "rows": LoraStack.from_json,
    "scenes": scenes_from_json,
    "overrides": overrides_from_json,
    "schedule": StrengthSchedule.from_json,
    "target filter": TargetFilter.from_json,
}


@pytest.mark.parametrize("name", READERS)
def test_whatever_stands_in_a_workflows_widget_is_read_or_refused(name: str) -> None:
    rng, read = random.Random(name), READERS[name]
    texts = sorted({text for text in texts_in_workflows() if text[:1] in "[{" or "=" in text or "fade" in text})
    assert any(text.startswith("[{") for text in texts)
    for text in texts * 5:
        changed = damaged_text(rng, text)
        read_or_refused(lambda changed=changed: read(changed))
        if text.startswith("["):
            rows = json.dumps(mutated(rng, json.loads(text)))
            read_or_refused(lambda rows=rows: read(rows))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", LONG, ids=lambda text: text[:8])
def test_a_long_text_is_refused_at_once(name: str, text: str) -> None:
    assert read_or_refused(lambda: READERS[name](text))
    if name in ("schedule", "target filter"):
        rows = json.dumps([{"path": "a.safetensors", name.split()[0].replace("target", "targets"): text}])
        assert read_or_refused(lambda: LoraStack.from_json(rows))


@pytest.mark.parametrize(
    "rows",
    [
        [{"path": "a.safetensors"}] * 20_000,
        [{str(i): 0 for i in range(50_000)}],
        [{"path": "a.safetensors", "targets": {"rules": [{"factor": 1}] * 20_000}}],
        [{"path": "a.safetensors", "schedule": {"keyframes": [[0.5, 1]] * 50_000}}],
    ],
    ids=["rows", "keys", "rules", "keyframes"],
)
def test_rows_of_very_much_are_refused_at_once(rows: list[Any]) -> None:
    assert read_or_refused(lambda: LoraStack.from_json(json.dumps(rows)))


def test_a_key_twice_among_very_many_is_found_at_once() -> None:
    text = "[{" + "".join(f'"{i}": 0, ' for i in range(50_000)) + '"0": 1}]'
    with costing_little(), pytest.raises(StackError, match="the key '0' twice"):
        LoraStack.from_json(text)
