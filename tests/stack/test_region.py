import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import StackError
from lora_core.stack.entry import LoraEntry
from lora_core.stack.region import PLACES, Region
from lora_core.stack.stack import LoraStack

sides = st.floats(0, 1).map(lambda number: round(number, 4))
boxes = st.tuples(sides, sides, sides, sides).filter(lambda box: box[0] < box[2] and box[1] < box[3])
softs = st.none() | st.floats(0, 1)


@given(boxes, softs, st.booleans())
def test_a_box_reads_back_from_its_text_and_its_json(box, soft, inverted):
    region = Region(box=box, soft=soft, inverted=inverted)
    assert Region.parse(str(region)) == Region.from_json(region.to_json()) == region


@pytest.mark.parametrize("text", [*PLACES, "not left; soft=0.2", "mask.png", "masks/a b.mp4; soft=0", "./face.png"])
def test_a_text_reads_back(text):
    assert Region.parse(str(Region.parse(text))) == Region.parse(text)


@pytest.mark.parametrize(
    "name", ["not left.png", "Not left.png", "rest", "a; soft=1", "0,0,1,1", "left", "m.png; soft=0"]
)
def test_a_file_of_any_name_reads_back_from_its_json(name):
    region = Region.from_json({"path": name})
    assert Region.from_json(region.to_json()) == region


def test_people_may_write_centre_their_own_way():
    assert Region.parse("Center") == Region.parse("centre")
    assert Region.parse("top left") == Region.parse("top-left")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lefft", r"^region: 'lefft' is no place in a picture \(nearest: 'left'\)"),
        ("", r"^region: '' is no place"),
        ("0,0,2,1", r"^region box: 0,0,2,1 leaves the picture \(fractions of the picture, 0 to 1\)"),
        ("-0.1,0,1,1", r"^region box: -0.1,0,1,1 leaves the picture"),
        ("0.5,0,0.5,1", r"^region box: 0.5,0,0.5,1 is empty"),
        ("0,1,1,0", r"is empty"),
        ("0,0,x,1", r"'x' is not a number"),
        ("left; soft=2", r"^region soft: 2 is no fraction of the picture \(0 to 1\)"),
        ("left; soft=wide", r"^region soft: 'wide' is not a number"),
    ],
)
def test_a_wrong_text_is_refused(text, message):
    with pytest.raises(StackError, match=message):
        Region.parse(text)


@pytest.mark.parametrize(
    "form", [3, {"boxx": [0, 0, 1, 1]}, {}, {"box": [0, 0, 1]}, {"box": "left"}, {"box": [0, 0, 1, 1], "path": "a.png"}]
)
def test_a_wrong_form_is_refused(form):
    with pytest.raises(StackError, match=r"^region"):
        Region.from_json(form)


def test_masks_in_memory_differ_by_what_they_hold_and_cannot_be_written():
    ones, zeros = Region(pixels=np.ones((4, 6))), Region(pixels=np.zeros((1, 4, 6)))
    assert ones != zeros
    assert ones == Region(pixels=np.ones((1, 4, 6), bool))
    assert str(ones) == "mask of 1 frame(s), 6x4"
    with pytest.raises(StackError, match="a mask in memory has no file"):
        ones.to_json()


@pytest.mark.parametrize("pixels", [np.ones(4), np.full((2, 2), 2.0), np.full((2, 2), np.nan), np.ones((0, 2, 2))])
def test_an_array_that_is_no_mask_is_refused(pixels):
    with pytest.raises(StackError, match=r"^region mask: .*\(frames, H, W\), numbers from 0 to 1"):
        Region(pixels=pixels)


def test_a_preset_names_a_mask_beside_it_as_it_names_a_lora(tmp_path):
    (tmp_path / "style.safetensors").write_bytes(b"style")
    (tmp_path / "mask.png").write_bytes(b"mask")
    given = LoraStack().add(
        tmp_path / "style.safetensors", region=f"not {tmp_path / 'mask.png'}; soft=0", find_twin=False
    )
    file = given.write_preset(tmp_path / "preset.json")
    assert '"region": "not mask.png; soft=0"' in file.read_text()
    assert LoraStack.read_preset(file).entries[0].region == given.entries[0].region


def test_a_mask_that_is_missing_is_named_but_for_a_row_that_is_off(tmp_path):
    (tmp_path / "style.safetensors").write_bytes(b"style")
    (tmp_path / "mask.png").write_bytes(b"mask")
    row = LoraEntry.from_json({"path": "style.safetensors", "region": "mask2.png"})
    with pytest.raises(StackError, match=r"^LoRA 'style' region mask2.png: no such file .*nearest: 'mask.png'"):
        LoraStack((row,)).resolved([tmp_path])
    off = LoraEntry.from_json({"path": "style.safetensors", "region": "mask2.png", "enabled": False})
    assert LoraStack((off,)).resolved([tmp_path]).entries[0].region == off.region


def test_a_row_tells_its_region_and_its_time():
    row = LoraEntry.from_json({"path": "style.safetensors", "region": "/a/mask.png", "time": "from 2s"})
    assert row.listing() == "style: 1 on auto; style.safetensors; region mask.png; time from 2s"
    assert LoraEntry.from_json(row.to_json()) == row
    assert row.is_masked


def test_a_region_that_was_not_parsed_is_refused():
    with pytest.raises(StackError, match=r"^LoRA 'a' region: 'left' is none \(Region.parse\(text\)\)"):
        LoraEntry("a", "a.safetensors", region="left")
