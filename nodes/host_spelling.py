"""The spelling that the host gives some files before it reads them, as a table of names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import comfy.lora_convert

#: diffusers' first attention processors: the layer's name and the factor's run into one.
_PROCESSOR = re.compile(r"_lora\.(up|down)\.weight$")


class _Mark:
    """What stands for a tensor while its name is changed; the host asks for nothing but a shape."""

    shape = (1, 1)


def host_spelling(names: Iterable[str]) -> Mapping[str, str]:
    """Return name -> the one that the host reads, for the tensors of one file whose names it changes.

    A module to which the host adds a tensor that the file does not have changes its shape there (a control LoRA): its
    tensors get that one's name, by which such files are refused.
    """
    marks = {name: _Mark() for name in names}
    converted = comfy.lora_convert.convert_lora(dict(marks))
    names_by_mark = {mark: name for name, mark in marks.items()}
    spelt = {names_by_mark[mark]: name for name, mark in converted.items() if mark in names_by_mark}
    for added in (name for name, mark in converted.items() if mark not in names_by_mark):
        module = added.rpartition(".")[0]
        spelt |= {name: added for name, new in spelt.items() if new.startswith(f"{module}.")}
    plain = {name: _PROCESSOR.sub(r".lora.\1.weight", new) for name, new in spelt.items()}
    return {name: new for name, new in plain.items() if new != name}
