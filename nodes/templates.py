"""The workflows as templates in ComfyUI's browser of them, their notes and titles in the user's language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

_PACK = Path(__file__).parent.parent
_LIST = "/workflow_templates"

#: What is shown first, as in the README. What is not named here follows by name.
_ORDER = (
    "pocket-quickstart",
    "t2v-6-step-stack",
    "i2v-6-step",
    "pocket-i2v-6-step",
    "strength-schedule",
    "regional-loras",
    "blend-two-styles",
    "merge-loras",
    "lora-balance",
    "scenes",
    "take-apart-for-ksampler",
    "longer-video",
    "lora-grid",
    "train-lora-from-clips",
)
_WORKFLOWS = _PACK / "workflows"
#: Beginning of a language's code -> English text of a workflow -> the same in that language.
_WORDS = {"zh": _PACK / "locales" / "zh" / "workflows.json"}


def serve_templates() -> None:
    """Serve `workflows/` before the host does, and list it in an order of its own.

    The host serves each of a pack's folders `examples` and `workflows` under one address, and the first of them answers
    for both (`custom_node_manager.py`): every template would be missing where `examples/` is. It has no templates by
    language for a pack either, so the language is looked up here; a workflow that was saved is opened as it is. It
    lists them as the disk does, and the browser of templates shows them so: which comes first would differ from
    machine to machine.
    """
    from server import PromptServer  # no module of ours may need it to be imported

    server = getattr(PromptServer, "instance", None)
    if server is None:  # a tool that only loads the nodes has none
        return
    address = f"/api{_LIST}/{_PACK.name}"

    async def template(request: web.Request) -> web.StreamResponse:
        file = next((file for file in _WORKFLOWS.glob("*.json") if file.stem == request.match_info["name"]), None)
        if file is None:
            raise web.HTTPNotFound
        words = _words(_language(request, server))
        graph = translated(json.loads(file.read_text(encoding="utf-8")), words)
        return web.json_response(graph, headers={"Cache-Control": "no-cache"})

    server.app.add_routes([web.get(f"{address}/{{name}}.json", template), web.static(address, _WORKFLOWS)])
    server.app.middlewares.append(_list_in_order)


@web.middleware
async def _list_in_order(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Sort this pack's templates in the host's list of all packs'; leave every other answer as it is."""
    answer = await handler(request)
    if request.path in (_LIST, f"/api{_LIST}") and isinstance(answer, web.Response) and answer.text:
        packs = json.loads(answer.text)
        if _PACK.name in packs:
            packs[_PACK.name].sort(key=_place)
            answer.text = json.dumps(packs)
    return answer


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


def translated(workflow: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Put the titles and notes of a workflow into other words, in place; what has none stays."""
    for item in _titled(workflow):
        if "title" in item:
            item["title"] = words.get(item["title"], item["title"])
        if item.get("type") == "MarkdownNote":
            item["widgets_values"] = [words.get(text, text) for text in item["widgets_values"]]
    return workflow


def _titled(workflow: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the groups and nodes of a workflow, those of its subgraphs too."""
    for graph in (workflow, *workflow.get("definitions", {}).get("subgraphs", ())):
        yield from graph.get("groups", ())
        yield from graph["nodes"]


def _words(language: str) -> dict[str, str]:
    table = next((file for code, file in _WORDS.items() if language.startswith(code)), None)
    return {} if table is None else json.loads(table.read_text(encoding="utf-8"))


def _language(request: web.Request, server: Any) -> str:
    """Return the language that the user's page is in: chosen in its settings, else the browser's own."""
    try:
        chosen = server.user_manager.settings.get_settings(request).get("Comfy.Locale")
    except web.HTTPUnauthorized:  # pages fetch templates without saying whose they are
        chosen = None
    return chosen or request.headers.get("Accept-Language", "en").lower()
