"""Every phrase that a node's text is made of stands in the code where a test finds it, and has its Chinese."""

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path

import lora_core
from lora_core.files.faults import counted

ROOT = Path(lora_core.__file__).parent.parent
TABLE = ROOT / "web" / "said_zh.js"
SOURCES = sorted([*(ROOT / "lora_core").rglob("*.py"), *(ROOT / "nodes").glob("*.py")])
#: Where phrases are passed on and not made.
WORDING = ROOT / "lora_core" / "wording" / "__init__.py"


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def texts(node: ast.expr) -> list[str] | None:
    """Return the texts that a phrase may be: one, or two by a condition; None where they do not stand there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        body, other = texts(node.body), texts(node.orelse)
        return None if body is None or other is None else [*body, *other]
    return None


def phrases() -> set[str]:
    """Return what stands in `said`, in `joined` where it is more than space, and in the headings of faults, of one."""
    found: set[str] = set()
    for path in SOURCES:
        found.update(text for call in calls(path, "said") for text in texts(call.args[0]) or [])
        found.update(text for call in calls(path, "joined") for text in texts(call.args[0]) or [] if text.strip())
        found.update(counted(text, 1) for call in calls(path, "Heading") for text in texts(call.args[1]) or [])
    return found


def chinese() -> dict[str, str]:
    return json.loads(TABLE.read_text(encoding="utf-8").partition(" = ")[2])


def names(phrase: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(phrase) if name)


def test_a_phrase_stands_where_it_is_said() -> None:
    made_elsewhere = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        if path != WORDING
        for name in ("said", "joined")
        for call in calls(path, name)
        if texts(call.args[0]) is None
    ]
    assert made_elsewhere == []


def test_every_phrase_has_its_chinese_and_no_chinese_is_left_over() -> None:
    assert chinese().keys() == phrases()


def test_the_chinese_fills_in_the_same_values() -> None:
    assert {phrase: words for phrase, words in chinese().items() if names(phrase) != names(words)} == {}


def test_chinese_is_chinese() -> None:
    """But for separators, and for words that the field itself leaves in English."""
    signs = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
    assert {phrase for phrase, words in chinese().items() if not signs.search(words)} == {"shift {shift}"}
