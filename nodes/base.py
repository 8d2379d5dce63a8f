"""The base of every node: what their schemas have in common, checks before a run, outputs that there are not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..lora_core import LoraCoreError, ModelError
from ..lora_core.wording import form_of
from .faults import for_page, tell, told, without_paths
from .sockets import CATEGORY


class Node(io.ComfyNode):
    """A node of the extension; the first line of its docstring is its description."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        execute = vars(cls).get("execute")
        if execute is not None and not hasattr(execute.__func__, "__wrapped__"):  # as the host's locked copies have it
            cls.execute = classmethod(told(execute.__func__))

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
            shown = for_page(error)
            tell(shown)
            return str(shown)
        return True


def schema(node: type[Node], **fields: Any) -> io.Schema:
    """Return a node's schema: these fields, and those that follow from its class."""
    return io.Schema(node_id=node.name(), category=CATEGORY, description=_first_line(node), **fields)


def shown(text: str) -> dict[str, Any]:
    """Return what a page shows of a node's text: the text in English, and what to say it by in another language."""
    text = without_paths(text)
    return {"text": [str(text)], "said": [form_of(text)]}


class MissingOutputError(ModelError, AttributeError):
    """Something was asked of an output that there is not; the host may still ask whether it has an attribute."""


class Missing:
    """An output that there is not: whoever uses it fails with the reason, which the host shows and keeps.

    The host's own way, to block what follows, ends a run without a result as a success.
    """

    def __init__(self, where: str, what: str, remedy: str) -> None:
        self._reason = (where, what, remedy)
        tell(MissingOutputError(where, what, remedy=remedy))  # the error itself arises in a node of the host

    def __getattr__(self, name: str) -> Any:
        where, what, remedy = self._reason
        raise MissingOutputError(where, what, remedy=remedy)


def _first_line(node: type[Node]) -> str:
    return (inspect.getdoc(node) or "").split("\n\n")[0].replace("\n", " ")
