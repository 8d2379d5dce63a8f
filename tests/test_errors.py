"""The form of errors, and the places they name."""

import json

import pytest

from lora_core.errors import LoraCoreError, RequestError, StackError, error_from, located, relocated
from lora_core.wording import Said, form_of, said


def test_an_error_keeps_its_kind_and_its_remedy_when_a_place_is_put_before_it():
    with pytest.raises(LoraCoreError) as caught, located("scene 3"):
        raise StackError("preset 'a'", "is gone", remedy="Save it")
    assert type(caught.value) is StackError
    assert str(caught.value) == "scene 3 preset 'a': is gone. Save it."


def test_an_error_may_name_its_place_as_its_reader_knows_it():
    with pytest.raises(RequestError, match=r"^length: 3 is odd\.$"), relocated({"num_frames": "length"}.__getitem__):
        raise RequestError("num_frames", "3 is odd")


def test_an_error_retold_keeps_its_kind_and_the_phrases_it_is_made_of():
    class OddError(RequestError):
        def __init__(self, only: str) -> None:
            super().__init__(only, said("no {name}", name="a/b"), expected="one", remedy="Add it")

    error = OddError("x").retold(lambda text: Said(text.upper(), form_of(text)))
    assert (type(error), str(error)) == (OddError, "X: NO A/B (ONE). ADD IT.")
    assert error.said.form["with"]["what"] == {"say": "no {name}", "with": {"name": "a/b"}}


def test_an_error_tells_its_phrases_to_another_process():
    error = StackError("x", said("{count} steps", count=2), expected="one", remedy="Lower it")
    again = error_from(json.loads(json.dumps(error.to_dict())))
    assert (type(again), str(again), again.said.form) == (StackError, str(error), error.said.form)


def test_a_value_without_end_is_shown_by_its_beginning() -> None:
    text = str(LoraCoreError("x" * 5000, "y" * 5000, expected="z" * 5000, remedy="Shorten it"))
    assert len(text) < 5000
    assert text.endswith("z…). Shorten it.")
