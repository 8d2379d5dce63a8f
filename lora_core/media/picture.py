"""Pictures in."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import RequestError
from ..wording import said


def read_image(path: str | Path) -> Image.Image:
    """Read one picture as RGB, turned the way its camera held it; transparency becomes black."""
    with open_image(Path(path)) as picture:
        try:
            return ImageOps.exif_transpose(picture).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise RequestError(
                path, said("is a damaged picture: {error}", error=error), remedy="Save it again"
            ) from error


def open_image(path: Path) -> Image.Image:
    """Open a picture as the file has it, its frames unread."""
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise RequestError(
            path, "is not a picture", expected="PNG, JPEG, WebP or the like", remedy="Choose another file"
        ) from error
    except OSError as error:
        raise RequestError(
            path, said("cannot be opened: {error}", error=error.strerror or error), remedy="Check the path"
        ) from error
