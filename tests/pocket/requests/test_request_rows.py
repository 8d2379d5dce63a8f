"""The rows of requests: the same for a seed, apart from other sets, and answered as the policies say."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_core.pocket import world
from lora_core.pocket.requests.kinds import VALUES
from lora_core.pocket.requests.rows import KINDS, RequestRow, read_request_rows, request_rows, write_rows
from lora_core.pocket.requests.slots import Slots, slots_of
from lora_core.pocket.scenes import held_out_words


def mixture(row: RequestRow) -> tuple[str, str, str, str]:
    return row.slots.colour, row.slots.shape, row.slots.motion, row.slots.background


def rows_of(kind: str, num: int = 150, **choices: str) -> list[RequestRow]:
    return request_rows(4, num, kinds=(kind,), **choices)


def test_the_same_seed_gives_the_same_rows() -> None:
    assert request_rows(3, 60) == request_rows(3, 60)
    assert request_rows(3, 60) != request_rows(4, 60)


@given(
    seed=st.integers(0, 2**31),
    words=st.sampled_from(("known", "new", "unseen")),
    forms=st.sampled_from(("known", "unseen")),
    kind=st.sampled_from(KINDS),
    language=st.sampled_from(("en", "de", "zh")),
)
def test_every_completion_is_a_caption_and_reads_back_to_its_slots(
    seed: int, words: str, forms: str, kind: str, language: str
) -> None:
    for row in request_rows(seed, 3, words, forms, (kind,), (language,)):
        assert slots_of(row.completion) == row.slots
        assert row.prompt.strip()
        assert not any("\ue000" <= letter <= "\uf8ff" for letter in row.prompt + row.completion)
        assert all(word in row.prompt and word in row.completion.split() for word in row.protected)
        assert row.kind == kind
        assert row.language == ("en" if kind == "good" else language)


def test_no_prompt_comes_twice_nor_one_that_is_elsewhere() -> None:
    learnt = request_rows(1, 500)
    others = request_rows(1, 200, without={row.prompt for row in learnt})
    prompts = [row.prompt for row in learnt + others]
    assert len(set(prompts)) == 700


def test_where_no_more_prompts_are_to_be_had_there_are_fewer_rows() -> None:
    assert 1 <= len(rows_of("good", 5, held_out=True)) <= 5
    assert request_rows(0, 0) == []


def test_held_out_mixtures_are_in_no_other_rows() -> None:
    kinds = ("ordinary", "good", "underspecified", "contradictory")
    held_out = set(held_out_words())
    learnt, kept = (request_rows(6, 300, kinds=kinds, held_out=is_held_out) for is_held_out in (False, True))
    assert not held_out & {mixture(row) for row in learnt}
    assert {mixture(row) for row in kept if len(row.slots.others) == 0 and row.slots.colour} <= held_out


def test_an_ordinary_request_says_a_scene_that_can_be_drawn() -> None:
    for row in rows_of("ordinary"):
        colour, shape, motion, background = mixture(row)
        assert world.caption(world.Scene(colour, shape, motion, background)) == row.completion


def test_a_good_caption_stays_as_it_is() -> None:
    assert all(row.prompt == row.completion for row in rows_of("good"))


def test_what_is_left_open_has_the_declared_value() -> None:
    rows = rows_of("underspecified", 300)
    assert {row.completion for row in rows if not row.slots.others} > {"a red circle moves right on a plain background"}
    defaults = {"colour": "red", "shape": "circle", "motion": "right", "background": "plain"}
    assert all(any(getattr(row.slots, slot) == value for slot, value in defaults.items()) for row in rows)


def test_protected_words_are_copied_and_nothing_is_added_to_them() -> None:
    rows = rows_of("protected", 300)
    assert {"zibbo", "blorp"} & {row.slots.shape for row in rows}
    for row in rows:
        (word,) = row.protected
        assert row.slots.shape == word or row.slots.others == (word,)
    assert any(not row.slots.colour and not row.slots.shape for row in rows)


def test_an_unsupported_word_stays_in_its_place() -> None:
    rows = rows_of("unsupported", 300, languages=("en",))
    replaced = {slot for row, slot in itertools.product(rows, VALUES) if getattr(row.slots, slot) not in VALUES[slot]}
    assert replaced == set(VALUES)
    assert all(word in row.prompt for row in rows for word in row.slots.others)


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_of_a_contradiction_the_first_counts(language: str) -> None:
    rows = rows_of("contradictory", 100, languages=(language,))
    assert all(all(value in VALUES[slot] for slot, value in zip(VALUES, mixture(row), strict=True)) for row in rows)


def test_rows_are_written_and_read_back(tmp_path: Path) -> None:
    rows = request_rows(8, 40)
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_request_rows(tmp_path / "rows.jsonl") == rows


@given(
    colour=st.sampled_from(("", *world.COLOURS)),
    shape=st.sampled_from(("", *world.SHAPES)),
    motion=st.sampled_from((*VALUES["motion"], "bouncing")),
    background=st.sampled_from((*world.BACKGROUNDS, "wooden")),
    others=st.lists(st.sampled_from(("sks", "星星", "Stern", "j4ne")), max_size=2, unique=True),
)
def test_slots_are_said_and_read_back(colour: str, shape: str, motion: str, background: str, others: list[str]) -> None:
    slots = Slots(colour, shape, motion, background, tuple(others))
    if colour or shape or others:
        assert slots_of(slots.caption) == slots


@pytest.mark.parametrize(
    "text", ["", "red ball", "a red circle moves sideways on a plain background", "a red circle moves up on a plain"]
)
def test_what_is_no_caption_has_no_slots(text: str) -> None:
    assert slots_of(text) is None
