"""Every phrase that a node's text is made of stands in the code where a test finds it, and has its Chinese."""

import ast
import json
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lora_core
from lora_core.files.faults import counted
from lora_core.wording import bare

ROOT = Path(lora_core.__file__).parent.parent
TABLE = ROOT / "web" / "said_zh.js"
SOURCES = sorted([*(ROOT / "lora_core").rglob("*.py"), *(ROOT / "nodes").glob("*.py")])
#: Where phrases are passed on and not made.
WORDING = ROOT / "lora_core" / "wording" / "__init__.py"
#: Whose errors no page shows.
UNSEEN = {
    *("apply", "cli", "comparison", "jobs", "lengths", "sampling", "transfer"),
    *("checked.py", "generate.py", "generator.py", "guide.py", "record.py"),
}
ERROR = re.compile(
    r"(LoraFile|LoraMismatch|UnsupportedLora|Stack|Plan|Model|Request|Output|Dataset|Training)Error|Heading|Missing|error"
)
#: Which of the arguments without a name are such texts, where it is not the second alone.
POSITIONAL = {"Heading": (1, 1), "Missing": (1, 3)}
#: JSON, tensors' names and the like.
CODE = re.compile(r'[{\[(].*[}\])]$|^"|^[\d.]+ to [\d.]+$')


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
    """Return what stands in `said`, in `joined` where it is more than space, in headings, of one, and in errors."""
    found: set[str] = set()
    for path in SOURCES:
        found.update(bare(text) for call in calls(path, "said") for text in texts(call.args[0]) or [])
        found.update(text for call in calls(path, "joined") for text in texts(call.args[0]) or [] if text.strip())
        found.update(counted(text, 1) for call in calls(path, "Heading") for text in texts(call.args[1]) or [])
        if not UNSEEN & set(path.relative_to(ROOT).parts):
            found.update(text for text in plain_in_errors(path) if is_phrase(text))
    return found


def plain_in_errors(path: Path) -> Iterator[str]:
    """Yield the texts without values that errors are made of, where the error is or in a name that it is given."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and ERROR.fullmatch(call.func.id):
            first, last = POSITIONAL.get(call.func.id, (1, 2))
            named = [word.value for word in call.keywords if word.arg in ("expected", "remedy")]
            for part in [*call.args[first:last], *named]:
                values = assigned(tree, part.id) if isinstance(part, ast.Name) else [part]
                for value in values:
                    yield from plain_texts(value)


def assigned(tree: ast.Module, name: str) -> Iterator[ast.expr]:
    """Yield what a name stands for: in its file, or where a constant is defined."""
    yield from (value for found, value in assignments(tree) if found == name)
    if name.isupper():
        yield from constants().get(name, ())


@cache
def constants() -> dict[str, list[ast.expr]]:
    """Return what the constants of all files stand for; parsed once, for many errors name one."""
    found: dict[str, list[ast.expr]] = {}
    for path in SOURCES:
        for name, value in assignments(ast.parse(path.read_text(encoding="utf-8"))):
            if name.isupper():
                found.setdefault(name, []).append(value)
    return found


def assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield names and what they are assigned, those of tuples one by one."""
    for node in (node for node in ast.walk(tree) if isinstance(node, ast.Assign)):
        pairs = [(target, node.value) for target in node.targets]
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs.extend(zip(target.elts, value.elts, strict=True))
            elif isinstance(target, ast.Name):
                yield target.id, value


def plain_texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from plain_texts(node.body)
        yield from plain_texts(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def is_phrase(text: str) -> bool:
    """Say whether a text is words to translate, and not a name, a number or code."""
    return " " in text and not CODE.search(text)


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
    assert {phrase for phrase, words in chinese().items() if not signs.search(words)} == {
        "shift {shift}",
        "{expert} expert",
        "{region}",
    }
