"""The texts that a real ComfyUI hands to its canvas: English as the schemas have it, Chinese for every one of them."""

import json
from typing import Any

import pytest
import requests
from harness.client import Client
from harness.finding import PROJECT

ENGLISH = "locales/en/nodeDefs.json"


@pytest.fixture(scope="module")
def served(comfy: Client) -> dict[str, Any]:
    """What the frontend fetches at its start: language -> its texts, all extensions together."""
    return requests.get(f"{comfy.server.url}/i18n", timeout=30).json()


@pytest.fixture(scope="module")
def schemas(comfy: Client) -> dict[str, dict[str, Any]]:
    """The texts of our nodes' schemas, in the form of nodeDefs.json."""
    described = comfy.object_info()
    return {name: texts_of(node) for name, node in described.items() if node["python_module"] == "custom_nodes.wanloom"}


def texts_of(node: dict[str, Any]) -> dict[str, Any]:
    inputs = {**node["input"].get("required", {}), **node["input"].get("optional", {})}
    outputs = zip(node["output_name"], node["output_tooltips"], strict=True)
    return {
        "display_name": node["display_name"],
        "description": node["description"],
        "inputs": {
            name: {"name": spec[1].get("display_name", name), "tooltip": spec[1].get("tooltip", "")}
            for name, spec in inputs.items()
        },
        "outputs": {str(i): {"name": name, "tooltip": tooltip} for i, (name, tooltip) in enumerate(outputs)},
    }


def flat(table: dict[str, Any], path: str = "") -> dict[str, str]:
    """Return keys joined by dots -> text."""
    found: dict[str, str] = {}
    for key, value in table.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


def test_the_english_texts_are_those_of_the_schemas(schemas: dict[str, dict[str, Any]]) -> None:
    stored = flat(json.loads((PROJECT / ENGLISH).read_text(encoding="utf-8")))
    wanted = flat(schemas)
    lines = [f"  {key}: {text!r} is missing" for key, text in wanted.items() if key not in stored]
    lines += [f"  {key}: nothing has this text any more" for key in stored if key not in wanted]
    lines += [
        f"  {key}: {stored[key]!r}\n    the schema: {text!r}"
        for key, text in wanted.items()
        if stored.get(key, text) != text
    ]
    remedy = "Write the schema's texts there, and say the same in locales/zh/nodeDefs.json and under web/docs"
    assert not lines, "\n".join([f"{ENGLISH} differs from the schemas. {remedy}:", *lines])


def test_every_text_of_a_node_comes_in_chinese(served: dict[str, Any], schemas: dict[str, dict[str, Any]]) -> None:
    ours = {name: texts for name, texts in served["zh"]["nodeDefs"].items() if name in schemas}
    assert flat(ours).keys() == flat(schemas).keys()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_category_and_the_sockets_have_names(served: dict[str, Any], comfy: Client, language: str) -> None:
    described = comfy.object_info("ApplyLoraStack")["ApplyLoraStack"]
    assert described["category"] in served[language]["nodeCategories"]
    assert {"WAN_MODEL", "WAN_LORA_STACK"} <= served[language]["dataTypes"].keys()


def test_every_help_page_is_served_in_both_languages(comfy: Client, schemas: dict[str, dict[str, Any]]) -> None:
    for name in schemas:
        for page in (f"{name}.md", f"{name}/zh.md"):
            answer = requests.get(f"{comfy.server.url}/extensions/wanloom/docs/{page}", timeout=30)
            assert answer.ok, page
            assert answer.content == (PROJECT / "web" / "docs" / page).read_bytes()
