"""What a LoRA file's metadata tell of its training, in the entries of every trainer that leaves any."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

_NUM_CAPTIONS = 12
_MAX_LETTERS = 200

#: What is told -> the entries that tell it, the first that is there wins; a dot leads into an entry that is JSON.
_ENTRIES: Mapping[str, tuple[str, ...]] = {
    "clips": ("num_training_clips", "ss_num_train_images", "ss_num_train_items"),
    "steps": ("num_training_steps", "ss_steps", "training_info.step", "ss_max_train_steps"),
    "epochs": ("ss_epoch", "training_info.epoch", "ss_num_epochs", "ot_config.epochs"),
    "resolution": ("modelspec.resolution", "ss_resolution", "ss_datasets.resolution", "ot_config.resolution"),
    "batch_size": ("ss_total_batch_size", "ss_batch_size_per_device", "ss_datasets.batch_size", "ot_config.batch_size"),
    "learning_rate": ("ss_learning_rate", "ss_unet_lr", "ot_config.learning_rate"),
    "optimizer": ("ss_optimizer", "ss_optimizer_type", "ot_config.optimizer.optimizer"),
    "trained_on": ("ss_sd_model_name", "ot_config.base_model_name"),
    "trainer": ("software.name", "software", "ot_branch", "ss_network_module"),
}
_JSON = ("training_info", "ss_datasets", "ot_config", "software")


def trained_on(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what is told of a training: a key of `_ENTRIES`, or `captions`, -> text."""
    forms: dict[str, Any] = {**metadata, **{key: _form(metadata.get(key)) for key in _JSON if key in metadata}}
    told = {
        name: next(filter(None, (_at(forms, entry) for entry in entries)), "") for name, entries in _ENTRIES.items()
    }
    told["captions"] = _frequent(_form(metadata.get("ss_tag_frequency")))
    return {name: text for name, text in told.items() if text}


def _form(text: str | None) -> Any:
    """Return what a text stands for as JSON, or the text."""
    try:
        return json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return text


def _at(forms: Mapping[str, Any], entry: str) -> str:
    value: Any = forms.get(entry)
    if value is None:
        value = forms
        for part in entry.split("."):
            value = value[0] if isinstance(value, list) and value else value
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        value = " x ".join(map(str, value))
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    return "" if text in ("None", "null", "0") else text[:_MAX_LETTERS].strip("()")


def _frequent(form: Any) -> str:
    """Return the captions, or tags, that stand at most clips: kohya's table of folder -> caption -> how often."""
    counts: Counter[str] = Counter()
    for folder in form.values() if isinstance(form, Mapping) else ():
        for caption, count in folder.items() if isinstance(folder, Mapping) else ():
            counts[" ".join(str(caption).split())] += count if isinstance(count, int) else 1
    return ", ".join(f"{caption[:60]} ({count})" for caption, count in counts.most_common(_NUM_CAPTIONS) if caption)
