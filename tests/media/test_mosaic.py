"""What is written on a mosaic."""

import numpy as np

from lora_core.media.mosaic import Titles, mosaic_frames


def drawn(of_rows: str) -> np.ndarray:
    titles = Titles("a zibbo", ["0", "1"], ["0", "1"], of_columns="seed", of_rows=of_rows)
    return mosaic_frames(lambda row, column: None, titles, (32, 32), 1)


def test_the_end_of_a_long_title_of_rows_is_not_cut_off():
    high, low = (drawn(f"strength of zibbo_character, {expert}_noise") for expert in ("high", "low"))
    assert high.shape == low.shape
    assert (high != low).any()
