"""Rows are read with every fault named, examined, and made into tokens of which the answers alone are learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from language_models import TEMPLATE, make_language_model

from lora_core.errors import DatasetError, ModelError
from lora_core.refiner.opening import open_language_model
from lora_core.refiner.rows.doctor import RowsReport, examine_rows
from lora_core.refiner.rows.examples import IGNORED, ExampleMaker
from lora_core.refiner.rows.opening import open_maker
from lora_core.refiner.rows.read import read_rows, read_rows_file
from lora_core.refiner.sources import find_language_source
from lora_core.refiner.tuning.order import order_of

#: One whose answers end in a line break, as those of many models.
NEWLINES = TEMPLATE.replace("{{ eos_token }}", "{{ eos_token }}\n")
UNMARKED = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
#: One that writes the end of an answer behind the mark.
END_OUTSIDE = TEMPLATE.replace("{{ eos_token }}{% endgeneration %}", "{% endgeneration %}{{ eos_token }}")
TALK = [
    {"role": role, "content": content}
    for role, content in (("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"))
]


def maker_of(folder: Path, template: str = TEMPLATE, system: str = "") -> ExampleMaker:
    return open_maker(find_language_source(make_language_model(folder, template=template)), system)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> ExampleMaker:
    return maker_of(tmp_path_factory.mktemp("lm"))


def written(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def pair(prompt: str, completion: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion}


def test_all_forms_of_a_row_are_read_as_the_same_talk(tmp_path: Path) -> None:
    user, assistant = ({"role": role, "content": role} for role in ("user", "assistant"))
    forms = (
        pair("user", "assistant"),
        {"prompt": [user], "completion": [assistant]},
        {"messages": [user, assistant]},
        {**pair("user", "assistant"), "kind": "good", "language": "en", "protected": ["user"]},
    )
    rows = read_rows(written(tmp_path / "rows.jsonl", *forms))
    assert len({row.turns for row in rows}) == 1
    assert (rows[3].kind, rows[3].language, rows[3].protected, rows[3].line) == ("good", "en", ("user",), 4)
    assert (rows[0].prompt, rows[0].answer) == ("user", "assistant")


def test_every_fault_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = written(
        tmp_path / "rows.jsonl",
        pair("a", "b"),
        "{",
        [1],
        {"promt": "a", "completion": "b"},
        {"messages": [{"role": "user", "content": "a"}]},
        {"messages": [{"role": "robot", "content": "a"}]},
        {**pair("a", "b"), "messages": []},
        pair(" ", "b"),
    )
    with pytest.raises(DatasetError) as caught:
        read_rows(file)
    told = str(caught.value)
    for part in (
        "line 2 is no JSON",
        "line 3 is no object",
        "line 4 has no prompt (nearest: 'promt')",
        "line 5 is no talk of user and assistant in turns that ends with the assistant",
        "line 6 has a message in messages without a known role and a text",
        "line 7 has prompt and messages",
        "line 8 has an empty request",
    ):
        assert part in told
    assert told.endswith("Correct these lines.")


def test_other_encodings_and_line_ends_are_told_of(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = json.dumps(pair("ä", "b"), ensure_ascii=False)
    file.write_bytes(b"\xef\xbb\xbf" + f"{good}\r\n".encode() + f"{good}\r\n".encode("latin-1"))
    found = read_rows_file(file)
    assert [row.prompt for row in found.rows] == ["ä"]
    assert [(fault.line, str(fault.what)) for fault in found.faults] == [(2, "is no UTF-8, at its byte 13")]
    assert "begins with a byte order mark, which is left out" in found.notes
    assert "has line ends of Windows, which are read as others" in found.notes


def test_keys_that_nothing_reads_are_counted(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", {**pair("a", "b"), "source": 1}, {**pair("c", "d"), "source": 2})
    assert read_rows_file(file).notes == ("the key 'source' is not read, in 2 rows",)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(DatasetError, match="holds no row"):
        read_rows(tmp_path / "rows.jsonl")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_rows(tmp_path / "none.jsonl")


def examined(maker: ExampleMaker, train: Path, held_out: Path | None = None, **settings: bool) -> RowsReport:
    measured = None if held_out is None else read_rows_file(held_out)
    return examine_rows(read_rows_file(train), measured, maker, 20, **settings)


def test_the_doctor_finds_what_is_wrong_alone_and_beside_the_held_out(maker: ExampleMaker, tmp_path: Path) -> None:
    rows = (pair("a", "b"), pair("a", "b"), pair("a", "c"), pair("d", ""), pair("e" * 40, "f"))
    train = written(tmp_path / "train.jsonl", *rows)
    held_out = written(tmp_path / "test.jsonl", pair("a", "b"), pair("a", "z"), pair("new", "b"))
    report = examined(maker, train, held_out)
    found = {(f.kind, f.lines, f.is_error) for file in report.files for f in file.findings}
    assert found == {
        ("double", (2,), False),
        ("contradiction", (1, 2, 3), False),
        ("empty-answer", (4,), True),
        ("too-long", (5,), True),
        ("in-both", (1,), False),
        ("contradiction", (2,), False),
    } | {("contradiction", (1, 2), False)}
    with pytest.raises(
        DatasetError, match=r"an empty answer: line 4; more than 20 tokens: line 5\. Correct these rows"
    ):
        report.check()
    assert "error: an empty answer: line 4" in report.text()
    assert json.loads(report.to_json())["files"][0]["findings"][0]["lines"] == [4]


def test_rehearsed_rows_are_held_against_the_others(maker: ExampleMaker, tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", pair("a", "b"), pair("c", "d"))
    known = written(tmp_path / "known.jsonl", pair("a", "b"), pair("c", "e"), pair("f", "g"))
    held_out = written(tmp_path / "test.jsonl", pair("f", "g"), pair("new", "b"))
    files = map(read_rows_file, (train, held_out, known))
    report = examine_rows(next(files), next(files), maker, 20, rehearsal=next(files))
    assert [{(f.kind, f.lines) for f in file.findings} for file in report.files] == [
        set(),
        {("in-both", (1,))},
        {("in-both", (1,)), ("contradiction", (2,))},
    ]


def test_a_file_of_something_else_is_told_what_a_row_is(maker: ExampleMaker, tmp_path: Path) -> None:
    (tmp_path / "notrows.json").write_text('{"steps": 3}\n')
    with pytest.raises(DatasetError, match=r'line 1.*\{"prompt": …, "completion": …\}.*\)\. Correct these rows\.$'):
        examined(maker, tmp_path / "notrows.json").check()


def test_long_rows_are_left_out_only_where_that_is_asked_for(maker: ExampleMaker, tmp_path: Path) -> None:
    train = written(tmp_path / "train.jsonl", pair("a", "b"), pair("e" * 40, "f"))
    report = examined(maker, train, leaves_out=True)
    report.check()
    assert report.files[0].left_out == (2,)
    assert len(report.files[0].examples) == 1
    assert report.notes() == ["train.jsonl: more than 20 tokens, left out: line 2"]
    everything = written(tmp_path / "all.jsonl", pair("e" * 40, "f"))
    with pytest.raises(DatasetError, match="all rows are too long"):
        examined(maker, everything, leaves_out=True).check()


@pytest.mark.parametrize("template", [TEMPLATE, NEWLINES])
def test_the_labels_are_the_answer_and_its_end(tmp_path: Path, template: str) -> None:
    maker = maker_of(tmp_path / "lm", template)
    (row,) = read_rows(written(tmp_path / "rows.jsonl", pair("ask", "say")))
    example = maker.example(row)
    learnt = [label for label in example.labels if label != IGNORED]
    assert maker.tokenizer.decode(learnt) == "say</s>"
    assert maker.tokenizer.decode(example.asked) == "<s>ask<sep>"
    assert example.input_ids == example.asked + learnt


def test_a_model_that_may_think_learns_behind_what_it_is_asked_with(tmp_path: Path) -> None:
    thought = "{% if add_generation_prompt and enable_thinking is false %}<think></think>{% endif %}"
    maker = maker_of(tmp_path / "lm", TEMPLATE + thought)
    (row,) = read_rows(written(tmp_path / "rows.jsonl", pair("ask", "say")))
    example = maker.example(row)
    asked = open_language_model(tmp_path / "lm").text_of("ask")
    assert maker.tokenizer.decode(example.asked) == asked == "<s>ask<sep><think></think>"
    assert maker.tokenizer.decode(example.input_ids) == f"{asked}say</s>"


@pytest.mark.parametrize("template", [TEMPLATE, END_OUTSIDE])
def test_of_several_answers_each_is_learnt_with_its_end(tmp_path: Path, template: str) -> None:
    maker = maker_of(tmp_path / "lm", template)
    (row,) = read_rows(written(tmp_path / "rows.jsonl", {"messages": TALK}))
    example = maker.example(row)
    assert maker.tokenizer.decode([label for label in example.labels if label != IGNORED]) == "b</s>d</s>"
    assert maker.tokenizer.decode(example.input_ids) == "<s>a<sep>b</s><s>c<sep>d</s>"


def test_several_answers_need_a_template_with_marks_and_one_does_not(tmp_path: Path) -> None:
    maker = maker_of(tmp_path / "lm", UNMARKED)
    one, several = read_rows(written(tmp_path / "rows.jsonl", {"messages": TALK[:2]}, {"messages": TALK}))
    assert maker.example(one).num_learnt == 2
    with pytest.raises(ModelError, match=r"marks no answers, and line 2 has several\. Put \{% generation %\}"):
        maker.example(several)


def test_an_answer_that_nothing_ends_is_refused(tmp_path: Path) -> None:
    maker = maker_of(tmp_path / "lm", TEMPLATE.replace("{{ eos_token }}", ""))
    rows = read_rows(written(tmp_path / "rows.jsonl", pair("ask", "say"), {"messages": TALK}))
    for row in rows:
        with pytest.raises(DatasetError, match="the answer has no token that ends it"):
            maker.example(row)
    with pytest.raises(DatasetError, match=r"no token that ends it, .*: line 1, 2"):
        examined(maker, tmp_path / "rows.jsonl").check()


def test_an_answer_that_writes_the_end_itself_is_refused(maker: ExampleMaker, tmp_path: Path) -> None:
    (row,) = read_rows(written(tmp_path / "rows.jsonl", pair("ask", "say</s>more")))
    with pytest.raises(DatasetError, match="the answer holds the model's end token itself"):
        maker.example(row)


def test_one_system_prompt_is_said_and_not_two(tmp_path: Path) -> None:
    maker = maker_of(tmp_path / "lm", system="be short")
    system = {"role": "system", "content": "own"}
    plain, own = read_rows(written(tmp_path / "rows.jsonl", pair("ask", "say"), {"messages": [system, *TALK[:2]]}))
    assert maker.tokenizer.decode(maker.example(plain).asked) == "<s>be short<sep><s>ask<sep>"
    with pytest.raises(DatasetError, match="it has a system prompt, beside the one for all rows"):
        maker.example(own)


def test_the_order_mixes_the_rehearsal_in_at_its_share_and_follows_from_the_seed() -> None:
    order = order_of(10, 4, 0.25, 40, 7)
    assert order == order_of(10, 4, 0.25, 40, 7)
    assert order != order_of(10, 4, 0.25, 40, 8)
    assert order_of(10, 4, 0.25, 80, 7)[:40] == order
    assert [sum(place >= 10 for place in order[start : start + 8]) for start in range(0, 40, 8)] == [2] * 5
    rows = [place for place in order if place < 10]
    assert sorted(rows[:10]) == list(range(10))
    assert rows[:10] != rows[10:20]
