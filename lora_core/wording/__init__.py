"""Texts for people that know how they were made, so that a page can say them in another language than English.

A `Said` is its English text, and may be used as any text; what it remembers beside it is a *form* of plain values: the
phrase with what was filled in, or the parts it was joined from. A text made of it by an f-string remembers nothing.
"""

from __future__ import annotations

import string
import textwrap
from collections.abc import Callable, Iterable

from ..experts import Expert

#: A text as it is, or {"say": phrase, "with": {name: form}}, {"join": separator, "of": [form]}, and, of one form,
#: {"indent": by, "of": form}, {"wrap": width, "of": form} or {"pad": width, "of": form}, negative to stand right.
Form = str | dict[str, object]


class Said(str):
    """An English text with the form that it was made from."""

    form: Form

    def __new__(cls, text: str, form: Form) -> Said:
        said = super().__new__(cls, text)
        said.form = form
        return said

    def __getnewargs__(self) -> tuple[str, Form]:  # type: ignore[override]  # so that copies keep the form
        return str(self), self.form


def said(phrase: str, /, **values: object) -> Said:
    """Fill a phrase in; it stands where this is called, so that the translations can be held against all phrases.

    A place may say how its value is written, as `{weight!r:.60}` or `{count:,}`; the form has the value so written.
    """
    forms = {}
    for _, name, width, conversion in string.Formatter().parse(phrase):
        if name is not None:
            value = values[name]
            is_plain = not width and not conversion
            forms[name] = form_of(value if is_plain else _written(value, conversion, width or ""))
    return Said(phrase.format(**values), {"say": bare(phrase), "with": forms})


def bare(phrase: str) -> str:
    """Return a phrase as the translations have it: without how its values are written."""
    parts = string.Formatter().parse(phrase)
    return "".join(text if name is None else f"{text}{{{name}}}" for text, name, _, _ in parts)


def plain(text: str) -> Said:
    """Take a text without values for a phrase, unless it is one; where it stands, something else looks for it."""
    return text if isinstance(text, Said) else Said(text, {"say": text, "with": {}} if text else "")


def joined(separator: str, parts: Iterable[str]) -> Said:
    """Join texts; a separator with words or punctuation is a phrase of its own."""
    texts = list(parts)
    return Said(separator.join(texts), {"join": separator, "of": [form_of(text) for text in texts]})


def indented(text: str, by: str) -> Said:
    """Put something before each line of a text."""
    return Said(textwrap.indent(text, by), {"indent": by, "of": form_of(text)})


def wrapped(text: str, width: int) -> Said:
    """Break a text into lines of at most so many columns."""
    lines = textwrap.wrap(text, width, subsequent_indent="  ")
    return Said("\n".join(lines), {"wrap": width, "of": form_of(text)})


def padded(text: str, width: int, *, to_right: bool = False) -> Said:
    """Fill a cell of a table up to a width in columns, on its left if the text belongs to the right."""
    filled = text.rjust(width) if to_right else text.ljust(width)
    return Said(filled, {"pad": -width if to_right else width, "of": form_of(text)})


def few(texts: Iterable[str], num_shown: int) -> Said:
    """Name the first few, and count the others: `a, b, c and 4 more`."""
    texts = list(texts)
    first = joined(", ", texts[:num_shown])
    more = len(texts) - num_shown
    return said("{first} and {more} more", first=first, more=more) if more > 0 else first


def form_of(text: object) -> Form:
    """Return the form of a text, which is the text itself where it remembers none."""
    return text.form if isinstance(text, Said) else str(text)


def with_values(form: Form, change: Callable[[str], str]) -> Form:
    """Return a form with every plain text in it changed; phrases and separators stay as the translations have them."""
    if isinstance(form, str):
        return change(form)
    changed = dict(form)
    for key, inner in form.items():
        if key == "with":
            changed[key] = {name: with_values(value, change) for name, value in inner.items()}  # type: ignore[attr-defined]  # see Form
        elif key == "of":
            changed[key] = (
                [with_values(value, change) for value in inner]
                if isinstance(inner, list)
                else with_values(inner, change)  # type: ignore[arg-type]  # see Form
            )
    return changed


def _written(value: object, conversion: str | None, width: str) -> str:
    return format(repr(value) if conversion == "r" else value, width)


def expert_named(expert: Expert) -> Said:
    """Return an expert as it is called in a sentence."""
    return _EXPERTS[expert]


def expert_of(expert: Expert) -> Said:
    """Return what stands before the word expert."""
    return _OF_EXPERTS[expert]


_EXPERTS = {"high_noise": said("high_noise"), "low_noise": said("low_noise")}
_OF_EXPERTS = {"high_noise": said("high-noise"), "low_noise": said("low-noise")}
