"""The rows of a stack as people and other tools write them, brought into the keys that are ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..checks import known_keys, number_in_text
from ..errors import StackError
from ..wording import said

FORM = '[{"path": ..., "weight": 0.8, "applies_to": "both"}]'
_ROW_FORM = '{"path": ..., "weight": 1.0}'

#: The keys of a row.
KEYS = (
    *("path", "name", "weight", "applies_to", "low_noise_path", "low_noise_weight", "schedule", "targets", "enabled"),
    *("region", "time", "find_twin", "sha256", "low_noise_sha256", "mask_sha256"),
)

#: Other spellings that are in use for the same thing: peft's, diffusers', ComfyUI's LoraLoader's, Power Lora Loader's.
_SYNONYMS = {
    "adapter_name": "name",
    "lora": "path",
    "lora_name": "path",
    "lora_path": "path",
    "lora_scale": "weight",
    "lora_weight": "weight",
    "low_noise_strength": "low_noise_weight",
    "model_strength": "weight",
    "on": "enabled",
    "scale": "weight",
    "strength": "weight",
    "strength_model": "weight",
    "target_filter": "targets",
}

#: diffusers names a file within the repository or folder that is the path.
_FILE_WITHIN, _FOLDER_WITHIN = "weight_name", "subfolder"

#: What a LoRA does to the text encoder in other tools; here it has no part there.
_TEXT_STRENGTHS = ("clip_strength", "strengthTwo", "strength_clip")

#: An object that holds the list of rows under one key: LightX2V's configuration, and what others call it.
_LISTS = ("lora_configs", "loras", "lora_stack")
#: Power Lora Loader's rows, as a workflow in the API's form has them.
_NUMBERED = re.compile(r"lora_\d+")


def rows_of(form: object, where: str) -> list[object]:
    """Return the rows that plain data stand for: a list of them, one alone, or an object that holds a list."""
    if isinstance(form, Mapping):
        found = next((key for key in _LISTS if isinstance(form.get(key), Sequence)), None)
        if found is not None:
            known_keys(map(str, form), [found], where, StackError)
            form = form[found]
        elif form and all(_NUMBERED.fullmatch(str(key)) and isinstance(row, Mapping) for key, row in form.items()):
            form = list(form.values())
    if isinstance(form, str | Mapping):
        return [form]
    if not isinstance(form, Sequence) or isinstance(form, bytes):
        raise StackError(
            where, said("{form!r:.60} is no list of LoRAs", form=form), expected=FORM, remedy="Correct the text"
        )
    return list(form)


def our_row(form: object, where: str) -> dict[str, object]:
    """Return a row under our keys: a file's name alone, an object, or one as another tool writes it."""
    if isinstance(form, str):
        form = {"path": form}
    if not isinstance(form, Mapping):
        raise StackError(
            where, said("{form!r:.60} is no LoRA", form=form), expected=_ROW_FORM, remedy="Correct the row"
        )
    given = {str(key): value for key, value in form.items()}
    known_keys(given, (*KEYS, *_SYNONYMS, _FILE_WITHIN, _FOLDER_WITHIN, *_TEXT_STRENGTHS), where, StackError)
    row: dict[str, object] = {}
    for key, value in given.items():
        ours = _SYNONYMS.get(key, key)
        if ours in row:
            raise StackError(
                where, said("{ours!r} is given twice, also as {key!r}", ours=ours, key=key), remedy="Keep one of them"
            )
        row[ours] = value
    _take_text_strength(row, where)
    _take_file_within(row, where)
    _take_pair_of_weights(row, where)
    for key in ("weight", "low_noise_weight"):
        value = row.get(key)
        if isinstance(value, str):
            row[key] = number_in_text(value, f"{where} {key}", StackError)
    return row


def is_named(form: object) -> bool:
    """Say whether a row has a name of its own, not that of its file."""
    return isinstance(form, Mapping) and any(form.get(key) is not None for key in ("name", "adapter_name"))


def _take_text_strength(row: dict[str, object], where: str) -> None:
    for key in _TEXT_STRENGTHS:
        value = row.pop(key, None)
        if value is not None and value != row.get("weight"):
            what = said(
                "{key} {value!r} is a strength on the text encoder, on which no LoRA acts here", key=key, value=value
            )
            raise StackError(where, what, remedy="Leave it out")


def _take_file_within(row: dict[str, object], where: str) -> None:
    within = [(key, row.pop(key)) for key in (_FOLDER_WITHIN, _FILE_WITHIN) if row.get(key) is not None]
    for key, part in within:
        if not isinstance(part, str) or not isinstance(row.get("path", ""), str):
            raise StackError(
                where,
                said("{key} {part!r} names no file", key=key, part=part),
                expected="a text",
                remedy="Choose a LoRA file",
            )
        row["path"] = f"{row['path']}/{part.strip('/')}" if row.get("path") else part


def _take_pair_of_weights(row: dict[str, object], where: str) -> None:
    """Take `"weight": [high, low]` apart."""
    weight = row.get("weight")
    if not isinstance(weight, list | tuple):
        return
    if len(weight) != 2 or "low_noise_weight" in row:
        expected = "one number, or two: the high-noise expert's and the low-noise one's"
        raise StackError(
            where,
            said("weight {weight!r:.60} has {count} numbers", weight=weight, count=len(weight)),
            expected=expected,
            remedy="Give one or two",
        )
    row["weight"], row["low_noise_weight"] = weight
