"""The cards of LoRA files, served to the page: one by one, their previews, and words to search all of them by.

A file goes by its name in the list and is found as the nodes find it, so nothing outside the LoRA folders is told of;
no answer says where on the server they lie.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..lora_core.errors import LoraCoreError, StackError
from ..lora_core.files.containers.opening import CONTAINERS
from ..lora_core.stack.finding import find_lora
from ..lora_core.wording import form_of, said
from .faults import for_page
from .folders import lora_files, lora_folders

if TYPE_CHECKING:
    from ..lora_core.files.card import LoraCard

#: How long one answer about all files may take; the page asks for the rest.
_SECONDS = 0.7

#: What a server tells of a file that other people wrote: it is what it is called, and never a page.
_SAFE = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


def serve_cards() -> None:
    """Serve the cards; the host repeats each address below `/api`."""
    from server import PromptServer  # no module of ours may need it to be imported

    server = getattr(PromptServer, "instance", None)
    if server is None:  # a tool that only loads the nodes has none
        return
    for address, answer in (("card", _answer_card), ("preview", _answer_preview), ("cards-index", _answer_index)):
        server.routes.get(f"/wanloom/{address}")(answer)


def card_of(name: str) -> LoraCard:
    """Return the card of a file of the list, refusing what is no LoRA file in the LoRA folders."""
    from ..lora_core.files.card import read_card

    if Path(name).suffix.lower() not in CONTAINERS:
        raise StackError(
            name,
            "is no LoRA file",
            expected=said("one of {names}", names=", ".join(CONTAINERS)),
            remedy="Choose a LoRA file",
        )
    return read_card(find_lora(name, lora_folders()))


def told(card: LoraCard, name: str) -> dict[str, Any]:
    """Return a card as the page takes it."""
    from ..lora_core.files.beside import PREVIEWS

    strength, preview = card.strength, card.preview
    return {
        "file": name,
        "size": card.size_bytes,
        "title": card.title,
        "base": card.base,
        "base_told": card.base_told,
        "expert": card.expert or "",
        "expert_source": card.expert_source,
        "purpose": card.purpose,
        "kinds": card.kinds,
        "ranks": card.ranks,
        "words": card.trigger_words,
        "tags": card.tags,
        "strength": strength and {"low": strength.low, "high": strength.high, "usual": strength.usual},
        "notes": card.notes,
        "training": dict(card.training),
        "preview": preview and {"kind": PREVIEWS[preview.suffix.lower()][0], "version": _version(preview)},
        "sources": dict(card.sources),
        "faults": card.faults,
    }


def index(begin: int, seconds: float = _SECONDS) -> dict[str, Any]:
    """Return name -> [bases, words to search by] of the files from one on, as many as there is time for, and the next.

    What has been read before is read no more, so a second time is quick and nothing need be kept here.
    """
    from ..lora_core.files.beside import Names, names_in
    from ..lora_core.files.card import read_card

    names, folders, end = lora_files(), lora_folders(), time.monotonic() + seconds
    listed: dict[Path, Names] = {}
    cards: dict[str, list[list[str]]] = {}
    for name in names[begin:]:
        try:
            path = find_lora(name, folders)
            if path.parent not in listed:
                listed[path.parent] = names_in(path.parent)
            card = read_card(path, listed[path.parent])
            cards[name] = [_said(card.base, card.base_told), _said(*card.tags, card.purpose)]
        except LoraCoreError:  # gone since the list was made
            cards[name] = [[], []]
        if time.monotonic() > end:
            break
    following = begin + len(cards)
    return {"cards": cards, "next": following if following < len(names) else None, "total": len(names)}


def _said(*words: str) -> list[str]:
    return [word for word in words if word]


async def _answer_card(request: web.Request) -> web.StreamResponse:
    name = request.query.get("file", "")
    return await _or_missing(lambda: web.json_response(told(card_of(name), name)))


async def _answer_preview(request: web.Request) -> web.StreamResponse:
    return await _or_missing(lambda: _preview(request.query.get("file", "")))


async def _answer_index(request: web.Request) -> web.StreamResponse:
    begin = request.query.get("from", "0")
    count = int(begin) if begin.isascii() and begin.isdecimal() and len(begin) < 9 else 0
    return await _or_missing(lambda: web.json_response(index(count)))


def _preview(name: str) -> web.StreamResponse:
    from ..lora_core.files.beside import PREVIEWS

    preview = card_of(name).preview
    if preview is None or not preview.is_file():
        raise StackError(name, "has no preview", remedy="Put a picture of its name beside it")
    return web.FileResponse(preview, headers=_SAFE | {"Content-Type": PREVIEWS[preview.suffix.lower()][1]})


async def _or_missing(answer: Callable[[], web.StreamResponse]) -> web.StreamResponse:
    """Return what another thread answers, as files may lie on slow disks; an error of ours is a 404 that says why."""
    try:
        return await asyncio.to_thread(answer)
    except LoraCoreError as error:
        return web.json_response({"error": str(for_page(error)), "said": form_of(for_page(error).said)}, status=404)


def _version(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"
