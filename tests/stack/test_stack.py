import contextlib
import dataclasses
import json
import os
import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from lora_core.errors import LoraCoreError, OutputError, StackError
from lora_core.stack.entry import LoraEntry
from lora_core.stack.schedule import StrengthSchedule
from lora_core.stack.stack import LoraStack
from lora_core.stack.target_filter import TargetFilter

numbers = st.floats(-100, 100)
names = st.text(string.ascii_letters + "äß -_.()", min_size=1, max_size=12).filter(str.strip)


@st.composite
def entries(draw):
    applies_to = draw(st.sampled_from(["high_noise", "low_noise", "both", "auto"]))
    is_pair = applies_to in ("both", "auto") and draw(st.booleans())
    return LoraEntry(
        name=draw(names),
        path=f"{draw(names)}.safetensors",
        strength=draw(numbers),
        applies_to=applies_to,
        low_noise_path="other.safetensors" if is_pair else None,
        low_noise_strength=None if applies_to == "high_noise" else draw(st.none() | numbers),
        schedule=draw(st.none() | st.sampled_from(["fade_out", "hold@steps:0=1,0.5=0"]).map(StrengthSchedule.parse)),
        target_filter=draw(st.none() | st.just(TargetFilter.parse("0-9=0.5,otherwise=0"))),
        enabled=draw(st.booleans()),
        find_twin=draw(st.booleans()),
        sha256=draw(st.none() | st.just("ab" * 32)),
    )


stacks = st.lists(entries(), max_size=4, unique_by=lambda entry: entry.name).map(LoraStack)


@pytest.fixture
def folder(tmp_path):
    """A LoRA folder with three files that are only looked at as bytes."""
    loras = tmp_path / "loras"
    (loras / "sub").mkdir(parents=True)
    for name in ("style.safetensors", "zibbo_high_noise.safetensors", "sub/zibbo_low_noise.safetensors"):
        (loras / name).write_bytes(name.encode())
    return loras


# ---------------------------------------------------------------------------------------------- stack


def test_adding_makes_a_new_stack_in_order():
    empty = LoraStack()
    stack = empty.add("speed.safetensors").add("style.safetensors", 0.8, "low_noise", schedule="fade_out")
    assert [entry.name for entry in stack] == ["speed", "style"]
    assert len(empty) == 0
    assert stack["style"].strength == 0.8
    assert stack["style"].schedule == StrengthSchedule.fade_out()


def test_the_name_is_the_files_and_numbered_when_taken():
    stack = LoraStack().add("a/style.safetensors").add("b/style.safetensors").add("c/style.safetensors", name="mine")
    assert [entry.name for entry in stack] == ["style", "style 2", "mine"]


def test_two_loras_cannot_share_a_name():
    with pytest.raises(StackError, match=r"stack: two LoRAs are named 'style'\. Give one of them another name\."):
        LoraStack().add("style.safetensors").add("b.safetensors", name="style")


def test_an_entry_is_left_out_replaced_or_given_another_strength():
    stack = LoraStack().add("a.safetensors").add("b.safetensors").add("c.safetensors")
    assert [entry.name for entry in stack.without("b")] == ["a", "c"]
    replaced = stack.replace("b", LoraEntry("x", "x.safetensors"), LoraEntry("y", "y.safetensors"))
    assert [entry.name for entry in replaced] == ["a", "x", "y", "c"]
    louder = stack.with_strength("b", 0.4, 0.2)["b"]
    assert (louder.strength_on("high_noise"), louder.strength_on("low_noise")) == (0.4, 0.2)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(StackError, match=r"stack: no LoRA is named 'stile' \(nearest: 'style'\)\."):
        LoraStack().add("style.safetensors").without("stile")
    with pytest.raises(StackError, match="empty"):
        LoraStack()["style"]


def test_a_stack_cannot_be_changed():
    stack = LoraStack().add("a.safetensors")
    with pytest.raises(dataclasses.FrozenInstanceError):
        stack.entries = ()
    assert stack == LoraStack().add("a.safetensors")
    assert hash(stack) == hash(LoraStack().add("a.safetensors"))


# ---------------------------------------------------------------------------------------------- entry


@pytest.mark.parametrize("strength", [0, -1.5, 3, 1e6])
def test_any_real_strength_is_taken(strength):
    assert LoraEntry("a", "a.safetensors", strength=strength).strength == strength


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), "1", None, True])
def test_a_strength_that_is_no_real_number_is_refused(strength):
    with pytest.raises(StackError, match="LoRA 'a' strength: "):
        LoraEntry("a", "a.safetensors", strength=strength)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"applies_to": "high"}, r"LoRA 'a' applies_to: unknown value 'high' \(nearest: 'high_noise'\)\."),
        ({"applies_to": None}, "unknown value None"),
        ({"name": " "}, "LoRA name: ' ' is empty"),
        ({"path": None}, r"it has neither a file nor weights\. Give it a path\."),
        (
            {"applies_to": "high_noise", "low_noise_path": "b"},
            r"its second file b would do nothing with applies_to 'high_noise' \('both' or 'auto'\)\.",
        ),
        ({"applies_to": "low_noise", "low_noise_path": "b"}, "its second file b would do nothing"),
        ({"applies_to": "high_noise", "low_noise_strength": 0.5}, r"low_noise_strength 0\.5 would do nothing"),
        ({"low_noise_sha256": "ab" * 32}, r"low_noise_sha256 without a low_noise_path\. Name the file it is of\."),
        ({"low_noise_strength": float("nan")}, "low_noise_strength: nan is not finite"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(StackError, match=message):
        LoraEntry(**{"name": "a", "path": "a.safetensors", **changes})


# ---------------------------------------------------------------------------------------------- blend


def test_a_blend_shares_the_strength_of_two_entries():
    stack = LoraStack().add("a.safetensors", 1.0).add("b.safetensors", 2.0, low_noise_strength=1.0).blend("a", "b", 0.7)
    assert stack["a"].strength == pytest.approx(0.7)
    assert stack["b"].strength == pytest.approx(0.6)
    assert stack["b"].low_noise_strength == pytest.approx(0.3)


def test_a_cross_fade_keeps_the_sum_of_both_shares_at_one():
    stack = LoraStack().add("a.safetensors").add("b.safetensors").blend("a", "b", "fade_out")
    first, second = stack["a"].schedule, stack["b"].schedule
    assert (first(1.0), second(1.0), first(0.4), second(0.4)) == (1, 0, 0, 1)
    assert [first(s) + second(s) for s in (0.9, 0.7, 0.6)] == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan"), "half"])
def test_a_blend_that_is_not_between_the_two_is_refused(ratio):
    with pytest.raises(StackError):
        LoraStack().add("a.safetensors").add("b.safetensors").blend("a", "b", ratio)


def test_a_lora_cannot_be_blended_with_itself():
    with pytest.raises(StackError, match="'a' cannot be blended with itself"):
        LoraStack().add("a.safetensors").blend("a", "a", 0.5)


def test_a_cross_fade_does_not_overwrite_a_schedule():
    stack = LoraStack().add("a.safetensors", schedule="fade_in").add("b.safetensors")
    with pytest.raises(StackError, match=r"LoRA 'a': it has the schedule fade_in already, .* Take its schedule away"):
        stack.blend("a", "b", "fade_out")
    with pytest.raises(StackError, match=r"linear:0:2 reaches 2 \(shares from 0 to 1\)"):
        stack.without("a").add("c.safetensors").blend("b", "c", "linear:0:2")


# ---------------------------------------------------------------------------------------------- JSON


def test_the_form_that_people_use_is_read():
    stack = LoraStack.from_json(
        '[{"path": "loras/style.safetensors", "name": "s", "weight": 0.8, "applies_to": "both"}]'
    )
    assert stack["s"] == LoraEntry("s", "loras/style.safetensors", 0.8, "both")


def test_only_the_path_is_needed_and_other_spellings_in_use_are_known():
    rows = [{"path": "a.safetensors"}, {"lora_path": "b.safetensors", "adapter_name": "x", "lora_weight": 2}]
    assert list(LoraStack.from_json(rows)) == [LoraEntry("a", "a.safetensors"), LoraEntry("x", "b.safetensors", 2.0)]


def test_unnamed_rows_of_one_file_are_told_apart():
    stack = LoraStack.from_json([{"path": "a.safetensors"}, {"path": "b.safetensors", "name": "a"}, {"path": "a.pt"}])
    assert [entry.name for entry in stack] == ["a 2", "a", "a 3"]


def test_our_keys_are_added_only_where_they_say_something():
    stack = (
        LoraStack()
        .add("a.safetensors", 0.8)
        .add(
            "b_high.safetensors",
            low_noise="b_low.safetensors",
            low_noise_strength=0.5,
            schedule="fade_out",
            target_filter="0-9=0.5,ffn=0",
            find_twin=False,
        )
    )
    assert json.loads(stack.to_json()) == [
        {"path": "a.safetensors", "name": "a", "weight": 0.8, "applies_to": "auto"},
        {
            "path": "b_high.safetensors",
            "name": "b_high",
            "weight": 1.0,
            "applies_to": "auto",
            "low_noise_path": "b_low.safetensors",
            "low_noise_weight": 0.5,
            "schedule": "fade_out",
            "targets": "0-9=0.5,ffn=0",
            "find_twin": False,
        },
    ]


@given(stacks)
def test_json_brings_back_the_same_stack(stack):
    assert LoraStack.from_json(stack.to_json()) == stack


def row(**changes):
    return json.dumps([{"path": "a.safetensors", **changes}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"stack: not JSON: Expecting value at line 1, column 1 \(\[\{\"path\""),
        ('[{"path": "a"},]', "not JSON: .* at line 1, column "),
        ("{}", "stack entry 1: it has no path"),
        ('""', "stack entry 1: path '' is no text"),
        ("5", "stack: 5 is no list of LoRAs"),
        ("[5]", "stack entry 1: 5 is no LoRA"),
        ('[{"path": "a"}, {"name": "b"}]', "stack entry 2: it has no path"),
        (row(wieght=1), r"stack entry 1: unknown key 'wieght' \(nearest: 'weight'\)\."),
        (row(boundary=1, schedul=2), r"unknown keys 'boundary', 'schedul' \(.*nearest: 'schedule'\)"),
        (row(weight="a lot"), r"stack entry 1 weight: 'a lot' is not a number \(a finite real number\)\."),
        (row(weight=None), "weight: None is not a number"),
        (row(weight=True), "weight: True is not a number"),
        ('[{"path": "a", "weight": NaN}]', "weight: nan is not finite"),
        ('[{"path": "a", "weight": 1e999}]', "weight: inf is not finite"),
        (f'[{{"path": "a", "weight": 1{"0" * 400}}}]', "weight: inf is not finite"),
        (f'[{{"path": "a", "weight": 1{"0" * 5000}}}]', "not usable JSON"),
        (row(weight=1, strength=1), r"'weight' is given twice, also as 'strength'\. Keep one of them"),
        ('[{"path": "a", "weight": 1, "weight": 2}]', "not usable JSON: the key 'weight' twice in one object"),
        (row(applies_to="hihg_noise"), r"applies_to: unknown value 'hihg_noise' \(nearest: 'high_noise'\)"),
        (row(applies_to=["both"]), "unknown value"),
        (row(path=5), "path 5 is no text"),
        (row(name=5), "name 5 is no text"),
        (row(low_noise_path=""), "low_noise_path '' is no text"),
        (row(low_noise_weight="x"), "stack entry 1 low_noise_weight: 'x' is not a number"),
        (row(enabled=1), "stack entry 1 enabled: 1 is neither true nor false"),
        (row(schedule="fade"), r"stack entry 1 schedule: unknown shape 'fade' in 'fade' \(nearest: 'fade_"),
        (row(targets="fnn=0"), "stack entry 1 target filter: unknown module kind 'fnn'"),
        (row(sha256="abc"), "stack entry 1 sha256: 'abc' is no sha256"),
        ("[" * 100_000, "not usable JSON"),
    ],
)
def test_malformed_json_is_refused_where_it_is_wrong(text, message):
    with pytest.raises(StackError, match=message):
        LoraStack.from_json(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["path", "name", "weight", "applies_to", "schedule", "targets", "enabled"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused_in_the_projects_form(form):
    with contextlib.suppress(LoraCoreError):
        LoraStack.from_json(json.dumps([form]))


def test_weights_without_a_file_cannot_be_written():
    entry = LoraEntry("made", weights=object())
    with pytest.raises(StackError, match=r"LoRA 'made': it has no file to refer to\. Write its weights to one first\."):
        LoraStack((entry,)).to_json()


# ---------------------------------------------------------------------------------------------- presets


def test_a_preset_brings_back_the_stack_with_its_files_found(folder, tmp_path):
    stack = (
        LoraStack()
        .add(folder / "style.safetensors", 0.6, schedule="fade_out")
        .add("zibbo_high_noise.safetensors", low_noise="sub/zibbo_low_noise.safetensors", name="zibbo")
    )
    path = stack.write_preset(tmp_path / "mine.json", [folder])
    rows = json.loads(path.read_text())
    assert [row["path"] for row in rows] == ["style.safetensors", "zibbo_high_noise.safetensors"]
    assert rows[1]["low_noise_path"] == "sub/zibbo_low_noise.safetensors"
    assert len(rows[1]["low_noise_sha256"]) == 64
    read = LoraStack.read_preset(path, [folder])
    assert read["zibbo"].low_noise_path == folder / "sub/zibbo_low_noise.safetensors"
    assert read["style"].schedule == StrengthSchedule.fade_out()


def test_a_preset_is_refused_by_the_name_of_the_file_that_changed(folder, tmp_path):
    path = LoraStack().add("style.safetensors").write_preset(tmp_path / "mine.json", [folder])
    (folder / "style.safetensors").write_bytes(b"retrained")
    with pytest.raises(StackError, match=r"a LoRA has changed: .*style\.safetensors has sha256 .* Restore the file"):
        LoraStack.read_preset(path, [folder])
    taken = LoraStack.read_preset(path, [folder], verify=False)
    assert taken["style"].sha256 is None


def test_a_change_of_the_second_file_is_noticed_too(folder, tmp_path):
    stack = LoraStack().add("zibbo_high_noise.safetensors", low_noise="sub/zibbo_low_noise.safetensors")
    path = stack.write_preset(tmp_path / "mine.json", [folder])
    (folder / "sub/zibbo_low_noise.safetensors").write_bytes(b"retrained")
    with pytest.raises(StackError, match="zibbo_low_noise"):
        LoraStack.read_preset(path, [folder])


def test_a_preset_knows_the_twin_that_its_high_noise_file_brings_along(folder, tmp_path):
    for name, up in (("orbit_high_noise", 1.0), ("orbit_low_noise", 2.0)):
        halves = {"lora_A": torch.ones(1, 128), "lora_B": torch.full((128, 1), up)}
        names = {f"diffusion_model.blocks.0.self_attn.q.{half}.weight": tensor for half, tensor in halves.items()}
        save_file(names, folder / f"{name}.safetensors")
    path = LoraStack().add("orbit_high_noise.safetensors").write_preset(tmp_path / "mine.json", [folder])
    assert json.loads(path.read_text())[0]["low_noise_path"] == "orbit_low_noise.safetensors"
    (folder / "orbit_low_noise.safetensors").write_bytes(b"retrained")
    with pytest.raises(StackError, match="orbit_low_noise"):
        LoraStack.read_preset(path, [folder])


def test_without_folders_a_preset_stores_what_lies_elsewhere_as_absolute(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    (tmp_path / "presets").mkdir()
    path = LoraStack().add("style.safetensors").write_preset(tmp_path / "presets/mine.json")
    assert json.loads(path.read_text())[0]["path"] == (folder / "style.safetensors").as_posix()
    assert len(LoraStack.read_preset(path)) == 1


def test_a_changed_file_of_the_same_size_is_noticed(folder, tmp_path):
    path = LoraStack().add("style.safetensors").write_preset(tmp_path / "mine.json", [folder])
    file = folder / "style.safetensors"
    LoraStack.read_preset(path, [folder])
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(1, 1))
    with pytest.raises(StackError, match="has changed"):
        LoraStack.read_preset(path, [folder])


def test_without_folders_a_preset_looks_beside_itself(folder):
    path = LoraStack().add(folder / "style.safetensors").write_preset(folder / "mine.json")
    assert json.loads(path.read_text())[0]["path"] == "style.safetensors"
    assert LoraStack.read_preset(path)["style"].path == folder / "style.safetensors"


def test_a_preset_cannot_reach_outside_the_folders(folder, tmp_path):
    (tmp_path / "secret.safetensors").write_bytes(b"")
    path = tmp_path / "evil.json"
    for aim in ("../secret.safetensors", str(tmp_path / "secret.safetensors")):
        path.write_text(json.dumps([{"path": aim}]))
        with pytest.raises(StackError, match="leaves the LoRA folders"):
            LoraStack.read_preset(path, [folder])
    with pytest.raises(StackError, match="leaves the LoRA folders"):
        LoraStack().add("style.safetensors", low_noise="../secret.safetensors").resolved([folder])


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"[", b'{"loras": 5}'])
def test_a_preset_file_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StackError, match=r"broken\.json"):
        LoraStack.read_preset(path)
    with pytest.raises(StackError, match="cannot be read"):
        LoraStack.read_preset(tmp_path)


def test_a_preset_that_cannot_be_written_leaves_the_old_one(folder, tmp_path):
    stack = LoraStack().add("style.safetensors")
    with pytest.raises(OutputError, match="a folder has this name"):
        stack.write_preset(tmp_path, [folder])
    path = stack.write_preset(tmp_path / "mine.json", [folder])
    before = path.read_text()
    with pytest.raises(StackError, match="no such file"):
        stack.add("gone.safetensors").write_preset(path, [folder])
    assert path.read_text() == before


def test_a_renamed_entry_has_a_name_of_its_own(tmp_path):
    entry = LoraEntry("style", tmp_path / "file")
    assert [entry.renamed(taken).name for taken in ({"other"}, {"style"}, {"style", "style 2"})] == [
        "style",
        "style 2",
        "style 3",
    ]


def test_a_row_that_is_off_may_name_a_file_that_is_gone(tmp_path):
    row = {"path": "gone.safetensors", "enabled": False}
    stack = LoraStack.from_json([row])
    assert stack.resolved([tmp_path]) == stack
    with pytest.raises(StackError, match="no such file"):
        LoraStack.from_json([row | {"enabled": True}]).resolved([tmp_path])


def test_a_row_says_what_differs_from_the_plain():
    stack = LoraStack().add("sub/style.safetensors", 0.8)
    assert stack.listing() == "style: 0.8 on auto; style.safetensors"


def test_a_row_says_everything_that_was_said_of_it():
    stack = LoraStack.from_json(
        [
            {
                "path": "a_high.safetensors",
                "low_noise_path": "a_low.safetensors",
                "name": "a",
                "low_noise_weight": -0.5,
                "applies_to": "both",
                "schedule": "fade_out",
                "targets": "ffn=0",
                "enabled": False,
            }
        ]
    )
    assert stack.listing() == (
        "a: off, 1 (low_noise -0.5) on both; a_high.safetensors + a_low.safetensors; schedule fade_out; targets ffn=0"
    )


def test_an_empty_stack_says_so():
    assert LoraStack().listing() == "no LoRAs"
