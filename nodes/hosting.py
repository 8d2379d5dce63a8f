"""What every node shares: its schema's common part, checks before a run, and the versions of the host it runs on."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from ..lora_core import LoraCoreError
from .sockets import CATEGORY

_SCHEMA_FIELDS = {field.name for field in dataclasses.fields(io.Schema)}


class Node(io.ComfyNode):
    """Be a node of the extension; its first docstring line is its description."""

    @classmethod
    def name(cls) -> str:
        """Return the node's id; the host runs a clone of the class, named otherwise."""
        return cls.__name__.removesuffix("Clone")

    @classmethod
    def checked(cls, check: Callable[[], object]) -> bool | str:
        """Run a cheap check of the widgets' values; return True, or what is wrong for the host to show at the node."""
        try:
            check()
        except LoraCoreError as error:
            return str(error)
        return True


def schema(node: type[Node], **fields: Any) -> io.Schema:
    """Return a node's schema; fields that this version of the host does not know yet are left out."""
    fields = {"node_id": node.name(), "category": CATEGORY, "description": _first_line(node), **fields}
    return io.Schema(**{name: value for name, value in fields.items() if name in _SCHEMA_FIELDS})


def advanced(**options: Any) -> dict[str, Any]:
    """Return options of an input that is folded away; hosts before 0.10 show it with the others."""
    return {"advanced": True, **options}


def blocked(where: str, what: str, remedy: str) -> ExecutionBlocker:
    """Return an output that stops whoever uses it, and says why."""
    return ExecutionBlocker(str(LoraCoreError(where, what, remedy=remedy)))


def _first_line(node: type[Node]) -> str:
    return (inspect.getdoc(node) or "").split("\n\n")[0].replace("\n", " ")
