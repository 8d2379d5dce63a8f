"""The texts on the nodes in both languages, and the help pages, as far as they can be held together without ComfyUI."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_core import StrengthSchedule, TargetFilter

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("en", "zh")
FILES = ("main.json", "nodeDefs.json")
#: What the frontend reads as syntax in the texts that it compiles: {names}, @links and plural | forms.
SYNTAX = re.compile(r"[{}@|]")


def texts(language: str, file: str) -> dict[str, Any]:
    return json.loads((ROOT / "locales" / language / file).read_text(encoding="utf-8"))


def leaves(table: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (keys joined by dots, text) for every text of a file."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def node_ids() -> list[str]:
    """Return the classes that `nodes/` derives from Node, read without importing them: they need ComfyUI."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in sorted((ROOT / "nodes").glob("*.py"))]
    classes = [part for tree in trees for part in ast.walk(tree) if isinstance(part, ast.ClassDef)]
    return sorted(node.name for node in classes if any(getattr(base, "id", None) == "Node" for base in node.bases))


def help_page(node: str, language: str) -> Path:
    """Return the file that the frontend fetches; English is what it falls back to."""
    docs = ROOT / "web" / "docs"
    return docs / f"{node}.md" if language == "en" else docs / node / f"{language}.md"


NODES = node_ids()
PAGES = [(node, language) for node in NODES for language in LANGUAGES]


@pytest.mark.parametrize("file", FILES)
def test_both_languages_have_the_same_texts(file: str) -> None:
    english, chinese = ([key for key, _ in leaves(texts(language, file))] for language in LANGUAGES)
    assert english == chinese


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("file", FILES)
def test_no_text_is_empty(file: str, language: str) -> None:
    assert not [key for key, text in leaves(texts(language, file)) if not (isinstance(text, str) and text.strip())]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_is_translated_and_nothing_that_is_gone(language: str) -> None:
    assert sorted(texts(language, "nodeDefs.json")) == NODES


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_and_descriptions_have_no_signs_that_the_frontend_compiles(language: str) -> None:
    compiled = {
        key: text for key, text in leaves(texts(language, "nodeDefs.json")) if not key.endswith(".tooltip")
    } | dict(leaves(texts(language, "main.json")))
    assert not {key: text for key, text in compiled.items() if SYNTAX.search(text)}


def test_chinese_is_chinese() -> None:
    """A description or tooltip without one Chinese character was not translated."""
    sentences = {
        key: text
        for key, text in leaves(texts("zh", "nodeDefs.json"))
        if key.rpartition(".")[2] in ("description", "tooltip")
    }
    assert not {key: text for key, text in sentences.items() if not re.search("[\u4e00-\u9fff]", text)}


def workflow_texts() -> set[str]:
    """Return the titles and notes of the shipped workflows."""
    found: set[str] = set()
    for file in (ROOT / "workflows").glob("*.json"):
        workflow = json.loads(file.read_text(encoding="utf-8"))
        for graph in (workflow, *workflow.get("definitions", {}).get("subgraphs", ())):
            found.update(item["title"] for item in (*graph.get("groups", ()), *graph["nodes"]) if item.get("title"))
            found.update(node["widgets_values"][0] for node in graph["nodes"] if node["type"] == "MarkdownNote")
    return found


def test_every_title_and_note_of_a_workflow_has_its_chinese_and_no_chinese_is_left_over() -> None:
    assert texts("zh", "workflows.json").keys() == workflow_texts()


def test_the_chinese_notes_have_the_same_parts_and_name_nodes_as_they_are_called() -> None:
    notes = {english: chinese for english, chinese in texts("zh", "workflows.json").items() if "\n" in english}
    parts = re.compile(r"^(#+ |\||- |\d+\. )|`[^`]+`", re.MULTILINE)
    assert {key for key, text in notes.items() if sorted(parts.findall(key)) != sorted(parts.findall(text))} == set()
    for node, shown in texts("en", "nodeDefs.json").items():
        called = texts("zh", "nodeDefs.json")[node]["display_name"]
        naming = [text for note, text in notes.items() if re.search(rf"\*{shown['display_name']}\*", note)]
        assert [text for text in naming if f"*{called}*" not in text] == [], node


def test_there_is_a_help_page_for_every_node_and_for_nothing_else() -> None:
    expected = {help_page(node, language) for node, language in PAGES}
    assert set((ROOT / "web" / "docs").rglob("*.md")) == expected


def read_page(node: str, language: str) -> str:
    """Return a page without the marks at which its words may break, so that ids are found in it."""
    text = help_page(node, language).read_text(encoding="utf-8")
    return re.sub(r"</?code>", "`", text.replace("<wbr>", ""))


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_a_help_page_begins_with_the_name_on_the_node(node: str, language: str) -> None:
    title = read_page(node, language).splitlines()[0]
    assert title == f"# {texts(language, 'nodeDefs.json')[node]['display_name']}"


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_a_help_page_has_a_row_for_every_input_and_output(node: str, language: str) -> None:
    """The row begins with the id and, where that is another, with what stands on the node in this language."""
    english, own = (texts(language, "nodeDefs.json")[node] for language in ("en", language))
    names = [
        (english[part][key]["name"], own[part][key]["name"]) for part in ("inputs", "outputs") for key in own[part]
    ]
    page = read_page(node, language)
    begins = [f"| `{name}` |" if language == "en" else f"| `{name}`<br>{label} |" for name, label in names]
    assert not [begin for begin in begins if f"\n{begin} *" not in page]


@pytest.mark.parametrize("node", NODES)
def test_both_help_pages_have_the_same_parts(node: str) -> None:
    """The same headings, table rows, code blocks and messages: a part added in one is missing in the other."""
    english, chinese = (
        re.findall(r"^(#+|\||```\w*|- |>.*)", read_page(node, language), re.MULTILINE) for language in LANGUAGES
    )
    assert english == chinese


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_the_json_in_a_help_page_can_be_read(node: str, language: str) -> None:
    blocks = re.findall(r"^```json\n(.*?)^```", read_page(node, language), re.MULTILINE | re.DOTALL)
    assert all(isinstance(json.loads(block), list) for block in blocks)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_schedule_and_filter_in_the_help_can_be_read(language: str) -> None:
    """The tables of ApplyLoraStack show texts that its rows take."""
    page = read_page("ApplyLoraStack", language)
    schedules = re.findall(r"^\| `((?:constant|fade|linear|keyframes|hold)[^`]*)` \|", page, re.MULTILINE)
    filters = re.findall(r"^\| `((?!keyframes|hold)[^`]*=[^`]*)` \|", page, re.MULTILINE)
    assert len(schedules) == 9
    assert len(filters) == 4
    assert all(StrengthSchedule.parse(text) for text in schedules)
    assert all(TargetFilter.parse(text) for text in filters)
