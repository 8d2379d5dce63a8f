import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.errors import StackError
from lora_core.stack.time_curve import TimeCurve

times = st.floats(0, 100).map(lambda number: round(number, 3))
curves = st.builds(
    TimeCurve,
    st.lists(st.tuples(times, st.floats(-2, 2)), min_size=1, max_size=6, unique_by=lambda pair: pair[0]).map(tuple),
    st.sampled_from(["seconds", "frames"]),
    st.booleans(),
)


@given(curves)
def test_a_curve_reads_back_from_its_text(curve):
    assert TimeCurve.parse(str(curve)) == curve


@given(curves, st.floats(0, 120), st.floats(1, 60))
def test_a_factor_lies_between_those_of_the_keyframes(curve, frame, fps):
    factors = [factor for _, factor in curve.keyframes]
    assert min(factors) - 1e-6 <= curve.at_frame(frame, fps) <= max(factors) + 1e-6


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("from 2s", "2s=0,2s=1"),
        ("until 2 seconds", "2s=1,2s=0"),
        ("1s-3s", "1s=0,1s=1,3s=1,3s=0"),
        ("1-3s", "1s-3s"),
        ("frames 10-40", "10f-40f"),
        ("from frame 33", "from 33f"),
        ("From 2S ; HARD", "2s=0,2s=1; hard"),
    ],
)
def test_one_thing_may_be_said_in_several_ways(text, same):
    assert TimeCurve.parse(text) == TimeCurve.parse(same)


def test_a_sudden_change_takes_four_frames_around_its_time():
    curve = TimeCurve.parse("from 2s")
    assert [curve.at_frame(frame, 16) for frame in (30, 31, 32, 33, 34)] == [0, 0.25, 0.5, 0.75, 1]
    hard = TimeCurve.parse("from 2s; hard")
    assert [hard.at_frame(frame, 16) for frame in (31, 32)] == [0, 1]


def test_a_curve_that_begins_with_the_clip_is_whole_from_the_first_frame():
    assert TimeCurve.parse("from 0s").at_frame(0, 16) == 1


def test_frames_count_frames_at_any_rate():
    curve = TimeCurve.parse("0f=0,40f=1; hard")
    assert curve.at_frame(10, 16) == curve.at_frame(10, 24) == 0.25
    assert TimeCurve.parse("0s=0,2s=1; hard").at_frame(10, 20) == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not readable"),
        ("from", "is not readable"),
        ("2s", "is not readable"),
        ("from -2s", "is not readable"),
        ("0s=0,2s", "is not readable"),
        ("0s=x", "'x' is not a number"),
        ("from 2", "'from 2' says neither seconds nor frames"),
        ("1s-9f", "counts seconds and frames"),
        ("3s-1s", "ends before it begins"),
        ("1s=0,1s=1,1s=2", "more than two keyframes at 1"),
    ],
)
def test_a_wrong_text_is_refused(text, message):
    with pytest.raises(StackError, match=f"^time.*{message}"):
        TimeCurve.parse(text)


@pytest.mark.parametrize(
    "form", [3, {}, {"keyframes": "x"}, {"keyframes": []}, {"keyframes": [[1]]}, {"keyframes": [[-1, 0]]}, {"at": 3}]
)
def test_a_wrong_form_is_refused(form):
    with pytest.raises(StackError, match=r"^time"):
        TimeCurve.from_json(form)


def test_plain_data_read_too():
    form = {"keyframes": [[2, 1], [0, 0]], "unit": "frames", "hard": True}
    assert TimeCurve.from_json(form) == TimeCurve.parse("0f=0,2f=1; hard")
