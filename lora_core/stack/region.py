"""A region: where in the picture a row of a stack acts, a box or a mask, with a soft edge."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from ..checks import finite_number, known_keys, nearest, number_in_text, number_text, shown, typed
from ..errors import StackError
from ..wording import Said, said

if TYPE_CHECKING:
    import numpy as np

#: Left, top, right and bottom, each a fraction of the picture.
Box = tuple[float, float, float, float]

#: What people call parts of a picture.
PLACES: Mapping[str, Box] = {
    "all": (0.0, 0.0, 1.0, 1.0),
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
    "centre": (0.25, 0.25, 0.75, 0.75),
    "top-left": (0.0, 0.0, 0.5, 0.5),
    "top-right": (0.5, 0.0, 1.0, 0.5),
    "bottom-left": (0.0, 0.5, 0.5, 1.0),
    "bottom-right": (0.5, 0.5, 1.0, 1.0),
    "left-third": (0.0, 0.0, 1 / 3, 1.0),
    "middle-third": (1 / 3, 0.0, 2 / 3, 1.0),
    "right-third": (2 / 3, 0.0, 1.0, 1.0),
    "top-third": (0.0, 0.0, 1.0, 1 / 3),
    "bottom-third": (0.0, 2 / 3, 1.0, 1.0),
}
#: What people call the part of the picture where no other row of a stack that has a region acts.
REST = "rest"
#: How wide an edge is unless something else is said, as a fraction of the picture's shorter side.
DEFAULT_SOFT = 1 / 16
_WHERE = "region"
_FORM = "left, 0,0,0.5,1 or mask.png, with ; soft=0.1 behind it"
_SOFT = re.compile(r"\s*;\s*soft\s*=([^;]*)$")


@dataclass(frozen=True)
class Region:
    """Where in the picture a row acts; valid when built. One of `box`, `path`, `pixels` and `rest` says it.

    Attributes:
        box: left, top, right and bottom, fractions of the picture from 0 to 1.
        path: a picture or a mask video: white acts, grey in part, transparency does not count.
            It is stretched to the clip's size; `lora_core.regions` says what becomes of its frames.
        pixels: the same in memory, (frames, H, W) from 0 to 1; it has no written form.
        rest: where no other row of the stack that has a region acts, with the edges of those.
        soft: how wide the edge is, as a fraction of the picture's shorter side; 0 is a hard one, None is 1/16.
        inverted: the row acts everywhere else.
    """

    box: Box | None = None
    path: Path | None = None
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)
    soft: float | None = None
    inverted: bool = False
    rest: bool = False
    #: What tells masks in memory from each other.
    pixels_sha256: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if sum((*(given is not None for given in (self.box, self.path, self.pixels)), self.rest)) != 1:
            raise StackError(
                _WHERE,
                "it has not exactly one of a box, a file, a mask in memory and rest",
                expected=_FORM,
                remedy="Say where the LoRA acts in one way",
            )
        if self.box is not None:
            object.__setattr__(self, "box", _checked_box(self.box))
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path))
        if self.pixels is not None:
            object.__setattr__(self, "pixels", _checked_pixels(self.pixels))
            object.__setattr__(self, "pixels_sha256", _sha256(self.pixels))
        if self.soft is not None and self.rest:
            what = said("the rest has the edges of the other regions, and none of its own")
            raise StackError(
                f"{_WHERE} soft", what, remedy="Leave it out, and say at the other regions how soft they are"
            )
        if self.soft is not None:
            object.__setattr__(self, "soft", _checked_soft(finite_number(self.soft, f"{_WHERE} soft", StackError)))

    @property
    def edge(self) -> float:
        """How wide the edge is, as a fraction of the picture's shorter side."""
        return DEFAULT_SOFT if self.soft is None else self.soft

    @classmethod
    @typed(StackError)
    def parse(cls, text: str) -> Region:
        """Read the text form: a place or a box or a file or the rest, `not` before it, `; soft=0.1` behind it.

        `left`, `top-right`, `left-third`, `centre`, `0,0,0.5,1` (left, top, right, bottom), `masks/face.png`,
        `./face.png`, `not left`, `left; soft=0`, `rest`.
        """
        soft = None
        if found := _SOFT.search(text):
            soft, text = number_in_text(found[1], f"{_WHERE} soft", StackError), text[: found.start()]
        name, inverted = text.strip(), False
        if name[:4].lower() == "not ":
            name, inverted = name[4:].strip(), True
        if name.lower() == REST:
            return cls(soft=soft, inverted=inverted, rest=True)
        if (box := _box_in(name)) is not None:
            return cls(box=box, soft=soft, inverted=inverted)
        if not _looks_like_a_path(name):
            raise StackError(
                _WHERE,
                said("{text} is no place in a picture", text=shown(name)),
                expected=nearest(name, (*PLACES, REST)) if re.fullmatch(r"[\w -]*[A-Za-z][\w -]*", name) else _FORM,
                remedy="Name a place, give a box, or a file with its suffix",
            )
        return cls(path=Path(PureWindowsPath(name).as_posix() if "\\" in name else name), soft=soft, inverted=inverted)

    @classmethod
    def from_json(cls, form: object) -> Region:
        """Read the text form, or `{"box": [...]}` or `{"path": ...}` with `soft` and `inverted`."""
        if isinstance(form, str):
            return cls.parse(form)
        if not isinstance(form, Mapping):
            raise StackError(
                _WHERE,
                said("{form!r:.60} is no region", form=form),
                expected='"left" or {"box": [0, 0, 0.5, 1]}',
                remedy="Correct the region",
            )
        known_keys(map(str, form), ("box", "path", "soft", "inverted"), _WHERE, StackError)
        path, inverted = form.get("path"), form.get("inverted", False)
        if (path is not None and not isinstance(path, str)) or not isinstance(inverted, bool):
            raise StackError(
                _WHERE,
                said("{form!r:.60} is no region", form=dict(form)),
                expected='{"path": "mask.png", "soft": 0.1, "inverted": true}',
                remedy="Correct the region",
            )
        return cls(form.get("box"), None if path is None else Path(path), soft=form.get("soft"), inverted=inverted)

    def to_json(self) -> object:
        """Return what `from_json` reads: the text form where it can say it. A mask in memory is refused."""
        if self.pixels is not None:
            raise StackError(
                _WHERE, "a mask in memory has no file to refer to", remedy="Save the mask, and name its file"
            )
        if Region.parse(str(self)) == self:
            return str(self)
        assert self.path is not None
        form: dict[str, object] = {"path": self.path.as_posix(), "inverted": self.inverted}
        return form if self.soft is None else {**form, "soft": self.soft}

    def __str__(self) -> str:
        """Return the text form."""
        return f"{'not ' if self.inverted else ''}{self._place}{self._soft_text}"

    @property
    def shown(self) -> Said:
        """The text form for people, a file by its name alone."""
        place = self.path.name if self.path is not None else self._place
        return said("{region}", region=f"{'not ' if self.inverted else ''}{place}{self._soft_text}")

    def at(self, path: Path) -> Region:
        """Return the region with its file at another path."""
        return replace(self, path=path)

    @property
    def _soft_text(self) -> str:
        return "" if self.soft is None else f"; soft={number_text(self.soft)}"

    @property
    def _place(self) -> str:
        if self.box is not None:
            named = next((name for name, box in PLACES.items() if box == self.box), None)
            return named or ",".join(map(number_text, self.box))
        if self.rest:
            return REST
        if self.path is None:
            assert self.pixels is not None
            return f"mask of {len(self.pixels)} frame(s), {self.pixels.shape[2]}x{self.pixels.shape[1]}"
        text = self.path.as_posix()
        return text if _looks_like_a_path(text) and text[:4].lower() != "not " else f"./{text}"


def _box_in(name: str) -> Box | None:
    """Return the box that a name or four numbers stand for, None where they are neither."""
    known = name.lower().replace(" ", "-").replace("_", "-").replace("center", "centre")
    if known in PLACES:
        return PLACES[known]
    parts = name.split(",")
    if len(parts) == 4 and "/" not in name:
        return tuple(number_in_text(part, f"{_WHERE} {shown(name)}", StackError) for part in parts)  # type: ignore[return-value]  # four
    return None


def _looks_like_a_path(name: str) -> bool:
    return "/" in name or "\\" in name or bool(re.fullmatch(r"\.\w*[A-Za-z]\w*", PureWindowsPath(name).suffix))


def _checked_box(box: object) -> Box:
    if not isinstance(box, Sequence) or isinstance(box, str) or len(box) != 4:
        raise StackError(
            f"{_WHERE} box",
            said("{box!r:.60} is none", box=box),
            expected="left, top, right, bottom",
            remedy="Give four numbers",
        )
    left, top, right, bottom = (finite_number(number, f"{_WHERE} box", StackError) for number in box)
    text = ",".join(map(number_text, (left, top, right, bottom)))
    if min(left, top, right, bottom) < 0 or max(left, top, right, bottom) > 1:
        raise StackError(
            f"{_WHERE} box",
            said("{text} leaves the picture", text=text),
            expected="fractions of the picture, 0 to 1",
            remedy="Divide pixels by the width or the height",
        )
    if left >= right or top >= bottom:
        raise StackError(
            f"{_WHERE} box",
            said("{text} is empty", text=text),
            expected="left, top, right, bottom, with left below right and top below bottom",
            remedy="Correct the box",
        )
    return left, top, right, bottom


def _checked_soft(soft: float) -> float:
    if not 0 <= soft <= 1:
        raise StackError(
            f"{_WHERE} soft",
            said("{soft:g} is no fraction of the picture", soft=soft),
            expected="0 to 1",
            remedy="Choose a number in that range",
        )
    return soft


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    import numpy as np  # the shell parses regions, and its pages of help wait for no arrays

    mask = np.asarray(pixels)
    mask = mask[None] if mask.ndim == 2 else mask
    is_sound = mask.ndim == 3 and mask.size and mask.dtype.kind in "fiub" and bool(np.isfinite(mask).all())
    if not is_sound or mask.min() < 0 or mask.max() > 1:
        raise StackError(
            f"{_WHERE} mask",
            said("an array of shape {shape} and type {dtype} is none", shape=mask.shape, dtype=mask.dtype),
            expected="(frames, H, W), numbers from 0 to 1",
            remedy="Convert it first",
        )
    mask = np.array(mask, np.float32)
    mask.setflags(write=False)
    return mask


def _sha256(mask: np.ndarray | None) -> str:
    assert mask is not None
    return hashlib.sha256(repr(mask.shape).encode() + mask.tobytes()).hexdigest()
