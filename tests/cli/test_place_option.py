"""The options --region and --time: rows of the stack get them by name, and what names none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_core import LoraEntry, LoraStack
from lora_core.cli.place_option import placed
from lora_core.errors import StackError
from lora_core.stack.region import Region
from lora_core.stack.time_curve import TimeCurve

STACK = (
    LoraStack()
    .add("zibbo_character")
    .add("neon_style")
    .add(LoraEntry("orbit_motion", path=Path("orbit.safetensors"), enabled=False))
)


def test_rows_get_regions_and_times_by_their_names() -> None:
    zibbo, neon, _ = placed(STACK, ["zibbo_character=left; soft=0", "neon_style = right"], ["neon_style=from 1s"])
    assert (zibbo.region, zibbo.over_time) == (Region.parse("left; soft=0"), None)
    assert (neon.region, neon.over_time) == (Region.parse("right"), TimeCurve.parse("from 1s"))


@pytest.mark.parametrize(
    ("regions", "times", "message"),
    [
        (["zibo=left"], [], r"^--region stack: no LoRA is named 'zibo'"),
        (["left"], [], r"^--region 'left': it names no LoRA"),
        (["neon_style=0,0,0.5"], [], r"^--region region: '0,0,0.5' is no place in a picture .left, 0,0,0.5,1 or mask"),
        (["neon_style=left; sfot=1"], [], r"; soft=0.1 behind it"),
        (["neon_style=left", "neon_style=top"], [], r"^--region neon_style: it is given twice"),
        ([], ["neon_style=from 1s", "neon_style=until 2s"], r"^--time neon_style: it is given twice"),
        ([], ["neon_style=from 1"], r"^--time time: 'from 1' says neither seconds nor frames"),
        ([], ["orbit_motion=from 1s"], r"^--time orbit_motion: it is off in the stack"),
        (["neon_style=none.png"], [], r"^LoRA 'neon_style' region none.png: no such file"),
    ],
)
def test_what_cannot_be_meant_is_refused(regions: list[str], times: list[str], message: str) -> None:
    with pytest.raises(StackError, match=message):
        placed(STACK, regions, times)
