"""The plain text of what other people wrote as HTML: no mark-up is left in it that a page could take for its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

#: Longer than any description that somebody reads on a card.
MAX_LETTERS = 6000

_BLOCKS = frozenset(
    {"p", "div", "br", "ul", "ol", "li", "tr", "hr", "pre", "blockquote", *(f"h{n}" for n in range(1, 7))}
)
_UNSEEN = frozenset({"script", "style", "head", "title", "template", "iframe", "noscript"})


class _Stripper(HTMLParser):
    """Collects the text between tags, a new line for each block and a dash for each item of a list."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen.append(tag)
        if tag in _BLOCKS:
            self.parts.append("\n- " if tag == "li" else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._unseen:
            del self._unseen[self._unseen.index(tag) :]
        if tag in _BLOCKS and tag != "li":
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def plain_text(text: str) -> str:
    """Return a text without tags, comments and entities, its blank lines and length within reason."""
    if "<" in text or "&" in text:
        stripper = _Stripper()
        stripper.feed(text[: 8 * MAX_LETTERS])
        stripper.close()
        text = "".join(stripper.parts)
    lines = (re.sub(r"[^\S\n]+", " ", line).strip() for line in text.splitlines())
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(line for line in lines if line != "-")).strip()
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS].rstrip()}…"
