"""Pictures in: what cannot be read is named."""

from pathlib import Path

import pytest
from PIL import Image

from lora_core.errors import RequestError
from lora_core.media.picture import read_image


def test_a_damaged_picture_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-80])
    with pytest.raises(RequestError, match=r"a\.png: is a damaged picture"):
        read_image(path)
    with pytest.raises(RequestError, match="No such file or directory"):
        read_image(tmp_path / "none.png")
