"""The workflows as templates in ComfyUI's browser of them."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

_PACK = Path(__file__).parent.parent


def serve_templates() -> None:
    """Serve `workflows/` before the host does.

    The host serves each of a pack's folders `examples` and `workflows` under one address, and the first of them answers
    for both (`custom_node_manager.py`): every template would be missing where `examples/` is.
    """
    from server import PromptServer  # no module of ours may need it to be imported

    server = getattr(PromptServer, "instance", None)
    if server is not None:  # a tool that only loads the nodes has none
        server.app.add_routes([web.static(f"/api/workflow_templates/{_PACK.name}", _PACK / "workflows")])
