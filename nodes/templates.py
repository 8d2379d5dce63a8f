"""The workflows as templates in ComfyUI's browser of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PACK = Path(__file__).parent.parent
_LIST = "/workflow_templates"

#: What is shown first, as in the README. What is not named here follows by name.
_ORDER = (
    "pocket-quickstart",
    "t2v-6-step-stack",
    "i2v-6-step",
    "pocket-i2v-6-step",
    "strength-schedule",
    "blend-two-styles",
    "scenes",
    "take-apart-for-ksampler",
    "train-lora-from-clips",
)


def serve_templates() -> None:
    """Serve `workflows/` before the host does, and list it in an order of its own.

    The host serves each of a pack's folders `examples` and `workflows` under one address, and the first of them answers
    for both (`custom_node_manager.py`): every template would be missing where `examples/` is. It lists them as the disk
    does, and the browser of templates shows them so: which comes first would differ from machine to machine.
    """
    from server import PromptServer  # no module of ours may need it to be imported

    server = getattr(PromptServer, "instance", None)
    if server is not None:  # a tool that only loads the nodes has none
        server.app.add_routes([web.static(f"/api{_LIST}/{_PACK.name}", _PACK / "workflows")])
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
