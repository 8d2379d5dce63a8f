"""docs/training.md tells of every key, with its true default."""

from __future__ import annotations

import re
from pathlib import Path

import lora_core
from lora_core.training.config import all_keys, make_config

TEXT = (Path(lora_core.__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|([^|]*)\|", TEXT, flags=re.MULTILINE)


def test_every_key_has_a_row_and_no_row_is_of_another() -> None:
    told = [key for keys, _ in ROWS for key in re.findall(r"`(\w+)`", keys)]
    assert sorted(told) == sorted(all_keys())


def test_the_defaults_are_those_of_the_keys() -> None:
    values = make_config({"clips": "x", "name": "n"}).values()
    for keys, told in ROWS:
        names = re.findall(r"`(\w+)`", keys)
        for name, default in zip(names, [part.strip(" `") for part in told.split(",")], strict=False):
            if not default or default.startswith(("the ", "half", "num_frames", "all")):
                continue  # said in words: the key itself is 0 or empty
            value = values[name]
            shown = value[0] if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else value
            assert default == str(shown) or float(default) == float(shown), name
