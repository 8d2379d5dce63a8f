"""The form of errors, and the places they name."""

import pytest

from lora_core.errors import LoraCoreError, RequestError, StackError, located, relocated


def test_an_error_keeps_its_kind_and_its_remedy_when_a_place_is_put_before_it():
    with pytest.raises(LoraCoreError) as caught, located("scene 3"):
        raise StackError("preset 'a'", "is gone", remedy="Save it")
    assert type(caught.value) is StackError
    assert str(caught.value) == "scene 3 preset 'a': is gone. Save it."


def test_an_error_may_name_its_place_as_its_reader_knows_it():
    with pytest.raises(RequestError, match=r"^length: 3 is odd\.$"), relocated({"num_frames": "length"}.__getitem__):
        raise RequestError("num_frames", "3 is odd")


def test_a_value_without_end_is_shown_by_its_beginning() -> None:
    text = str(LoraCoreError("x" * 5000, "y" * 5000, expected="z" * 5000, remedy="Shorten it"))
    assert len(text) < 5000
    assert text.endswith("z…). Shorten it.")
