"""Contact sheets: one labelled row per clip."""

import numpy as np
import pytest
from PIL import Image

from lora_core.errors import OutputError
from lora_core.media.contact_sheet import contact_sheet


def red_clip(num_frames, size):
    return np.full((num_frames, size, size, 3), (210, 40, 40), np.uint8)


def test_a_contact_sheet_shows_one_row_per_clip(tmp_path):
    path = contact_sheet([red_clip(17, 64), red_clip(5, 32)], ["base", "zibbo\nstrength 1"], tmp_path / "s.png")
    sheet = np.asarray(Image.open(path))
    assert sheet.shape[0] > 2 * 128
    assert sheet.shape[1] > 6 * 128
    red = (sheet[..., 0] > 180) & (sheet[..., 1] < 80)
    assert red[: sheet.shape[0] // 2].any()
    assert red[sheet.shape[0] // 2 :].any()
    assert [p.name for p in tmp_path.iterdir()] == ["s.png"]


def test_a_contact_sheet_wants_one_label_per_row_and_a_png(tmp_path):
    with pytest.raises(OutputError, match="has 1 labels for 2 clips"):
        contact_sheet([red_clip(1, 64)] * 2, ["one"], tmp_path / "s.png")
    with pytest.raises(OutputError, match=r"cannot write a contact sheet as '\.jpg'"):
        contact_sheet([red_clip(1, 64)], ["one"], tmp_path / "s.jpg")
