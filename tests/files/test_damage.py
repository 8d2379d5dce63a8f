"""Damage: whatever is wrong with a file, one clear error of this package says so, and nothing else comes out."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from costs import costing_little
from hypothesis import given, settings
from hypothesis import strategies as st
from spellings import SPELLINGS, random_pairs, save, spelled

from lora_core.errors import LoraCoreError, LoraFileError
from lora_core.families.wan.spec import wan_spec
from lora_core.files.read import read_lora
from lora_core.files.report import inspect_lora

POCKET = wan_spec("wan-pocket")
Q = "diffusion_model.blocks.0.self_attn.q"
DOWN, UP, ALPHA = f"{Q}.lora_down.weight", f"{Q}.lora_up.weight", f"{Q}.alpha"


def parts(rank: int = 2) -> dict[str, torch.Tensor]:
    return {DOWN: torch.ones(rank, 128), UP: torch.ones(128, rank), ALPHA: torch.tensor(1.0)}


def refusal(path: Path, error: type[LoraCoreError] = LoraFileError) -> str:
    """Return what the reader says of a bad file, its path left out."""
    with pytest.raises(error) as caught:
        read_lora(path, spec=POCKET)
    return str(caught.value).replace(str(path), "FILE")


def raw(path: Path, header: Any, data: bytes = b"", size: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text + data)
    return path


def entry(dtype: str = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# ---- the file itself


def test_metadata_that_are_null_are_no_metadata_as_for_the_safetensors_library(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts())
    content = path.read_bytes()
    size = 8 + int.from_bytes(content[:8], "little")
    header = {**json.loads(content[8:size]), "__metadata__": None}
    assert read_lora(raw(path, header, content[size:]), spec=POCKET).metadata == {}


def test_a_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.safetensors") == "FILE: there is no such file. Check the path and its spelling."


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.mkdir()
    assert refusal(path) == "FILE: it is a folder (a LoRA file). Choose the file inside it."


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.touch()
    assert refusal(path) == "FILE: it is empty (0 bytes) (a LoRA file). Download or copy it again."


def test_an_unknown_suffix(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")
    choices = ".safetensors, .sft, .pt, .pth, .bin, .ckpt"
    expected = f"FILE: its suffix '.gguf' is not that of a LoRA file (one of {choices}). Choose a LoRA file."
    assert refusal(path) == expected


def test_a_truncated_file(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts())
    path.write_bytes(path.read_bytes()[:-100])
    assert refusal(path) == (
        "FILE: it is cut off: its header promises 2,052 bytes of tensors and 1,952 are there. "
        "Download or copy the file again."
    )


def test_a_file_of_random_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(bytes(range(1, 200)))
    assert refusal(path) == (
        "FILE: its header claims 578,437,695,752,307,201 bytes and the file has 199 (a safetensors file). "
        "Download or copy the file again."
    )


def test_a_file_shorter_than_its_size_field(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\x01\x02")
    assert refusal(path) == "FILE: it has only 2 bytes (at least 8). Download or copy the file again."


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer, not the file itself"),
        (b"<!DOCTYPE html><html>login", "it is a web page, not a LoRA file"),
        (b"GGUF\x03\0\0\0", "it is a GGUF checkpoint, not a LoRA file"),
        (b"PK\x03\x04abcdef", "it is a PyTorch or zip file under the name of a safetensors file"),
    ],
)
def test_a_file_of_another_sort_is_named(start: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(start)
    assert refusal(path) == f"FILE: {what} (a safetensors file). Download the real file."


HEADERS: dict[str, tuple[Any, bytes, str]] = {
    "no JSON": (b"{nonsense", b"", "its header is not readable: Expecting property name"),
    "not UTF-8": (b"\xff\xfe{}", b"", "its header is not readable: 'utf-8' codec"),
    "deep": (b"[" * 100_000, b"", "its header is not readable: maximum recursion depth"),
    "a list": ([1, 2], b"", "its header is not a table of tensors"),
    "a name twice": (b'{"a": {}, "a": {}}', b"", "its header is not readable: a name stands twice in it"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, b"", "its metadata 'a' is 1 (a text)"),
    "metadata of nothing": ({"__metadata__": {"b": "c", "a": None}}, b"", "its metadata 'a' is null (a text)"),
    "metadata in a list": ({"__metadata__": []}, b"", "its metadata is [] (a table of texts)"),
    "no tensors": ({"__metadata__": {"a": "b"}}, b"", "it holds no tensors (a LoRA file)"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, b"", "the header entry of 'a' is malformed: {'dtype': 'F32'"),
    "three offsets": ({"a": entry(offsets=(0, 4, 8))}, b"", "the header entry of 'a' is malformed"),
    "an unknown dtype": ({"a": entry("F4")}, b"", "tensor 'a' has the unknown dtype 'F4' (one of F64, F32,"),
    "a dtype that is a list": ({"a": entry(["F32"])}, b"", "the header entry of 'a' is malformed"),
    "a negative size": ({"a": entry(shape=(-2,))}, b"", "tensor 'a' has shape [-2] and offsets 0, 8 (whole numbers"),
    "a fractional size": ({"a": entry(shape=(2.0,))}, b"", "tensor 'a' has shape [2.0] and offsets 0, 8"),
    "an absurd size": ({"a": entry(shape=(2**60,))}, b"", "tensor 'a' has shape [1152921504606846976] and"),
    "a product beyond the bytes": (
        {"a": entry(shape=(2**40, 2**40))},
        b"",
        "tensor 'a' of shape [1099511627776, 1099511627776] and dtype F32 is given 8 bytes (4,835,703,278,458,516,6",
    ),
    "offsets backwards": ({"a": entry(offsets=(8, 0))}, b"", "tensor 'a' of shape [2] and dtype F32 is given -8 bytes"),
    "a gap": ({"a": entry(offsets=(8, 16))}, b"\0" * 16, "tensor 'a' begins at byte 8 of the data (0, where the one"),
    "an overlap": (
        {"a": entry(), "b": entry(offsets=(4, 12))},
        b"\0" * 12,
        "tensor 'b' begins at byte 4 of the data (8, where the one before it ends)",
    ),
    "a hundred thousand dimensions": (
        {"a": entry(shape=[1] * 100_000, offsets=(0, 4))},
        b"\0" * 4,
        "tensor 'a' has 100,000 dimensions (at most 8). Download or copy",
    ),
    "sizes whose product has no end": (
        {"a": entry(shape=[2**47] * 400)},
        b"\0" * 8,
        "tensor 'a' has 400 dimensions (at most 8)",
    ),
    "the largest sizes in the most dimensions": (
        {"a": entry(shape=[2**47] * 8)},
        b"\0" * 8,
        "tensor 'a' of shape [140737488355328, ",
    ),
    "a name without end": (
        {"a" * 1_000_000: entry()},
        b"\0" * 8,
        f"a tensor's name has 1,000,000 letters, '{'a' * 40}'… (at most 1,000)",
    ),
    "half a million tensors": (
        {str(i): 0 for i in range(500_000)},
        b"",
        "it lists 500,000 tensors (at most 50,000)",
    ),
    "bytes left over": ({"a": entry()}, b"\0" * 12, "4 bytes follow its last tensor (none)"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_bad_header_is_described(name: str, tmp_path: Path) -> None:
    header, data, what = HEADERS[name]
    with costing_little():
        assert refusal(raw(tmp_path / "x.safetensors", header, data)).startswith(f"FILE: {what}")


def test_a_header_larger_than_the_format_allows(tmp_path: Path) -> None:
    path = raw(tmp_path / "x.safetensors", {}, size=100_000_001)
    os.truncate(path, 100_000_100)  # sparse
    assert "its header claims 100,000,001 bytes" in refusal(path)


# ---- pickles

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch calls them a prototype
    NESTED = torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)])


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch /tmp/must_not_exist",)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_pickle_with_code_is_refused_and_not_run(suffix: str, tmp_path: Path) -> None:
    plain, zipped = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    plain.write_bytes(pickle.dumps({DOWN: Bomb()}))
    torch.save({DOWN: Bomb()}, zipped)
    for path in (zipped, plain):
        assert refusal(path) == (
            "FILE: its pickle holds code, not only tensors: it calls posix.system (tensors, numbers and texts). "
            "Do not load it elsewhere; get the LoRA as .safetensors."
        )
    assert not Path("/tmp/must_not_exist").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([1, 2], "it holds a list (a table of tensors by name). Choose a LoRA file."),
        ({"a": [1]}, "'a' holds a list (tensors by name, as a LoRA file has them)."),
        ({3: torch.ones(2)}, "it has a key that is not a text: 3 (tensor names)."),
        ({"a": "b"}, "it holds no tensors (a LoRA file). Choose another file."),
        ({DOWN: torch.ones(2, 128).to_sparse()}, f"tensor {DOWN!r} is stored as torch.sparse_coo"),
        ({DOWN: NESTED}, f"tensor {DOWN!r} is a nested tensor (plain dense tensors)."),
        ({DOWN: torch.ones(2, 128, device="meta")}, f"tensor {DOWN!r} is stored as torch.strided, torch.float32 on m"),
    ],
)
def test_a_pickle_without_a_table_of_tensors(content: Any, what: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    assert refusal(tmp_path / "x.pt").startswith(f"FILE: {what}")


def test_a_pickle_may_be_wrapped_as_trainers_do(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"step": 100, "state_dict": parts()}, path)
    assert list(read_lora(path, spec=POCKET).deltas) == ["blocks.0.self_attn.q"]
    torch.save(parts() | {ALPHA: 4, "trigger_words": "zibbo, neon"}, path)
    weights = read_lora(path, spec=POCKET)
    assert weights.deltas["blocks.0.self_attn.q"].scale == 2.0
    assert weights.trigger_words == ("zibbo", "neon")


def test_a_pickle_in_the_old_format_is_read_too(tmp_path: Path) -> None:
    torch.save(parts(), tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    assert list(read_lora(tmp_path / "x.bin", spec=POCKET).deltas) == ["blocks.0.self_attn.q"]


def rezipped(path: Path, method: int) -> Path:
    """Write an archive's entries anew, packed by a method."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_pickle_whose_entries_are_compressed_is_refused_not_mapped(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    torch.save(parts(), path)
    assert refusal(rezipped(path, zipfile.ZIP_DEFLATED)) == (
        "FILE: its entries are compressed, first 'x/data.pkl' (an archive as torch.save writes it). "
        "Save it again with torch.save, or as .safetensors."
    )
    assert list(read_lora(rezipped(path, zipfile.ZIP_STORED), spec=POCKET).deltas) == ["blocks.0.self_attn.q"]


def test_an_index_that_does_not_match_its_checksum_is_refused(tmp_path: Path) -> None:
    torch.save(parts(), tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data.replace(b"FloatStorage", b"HalfsStorage", 1))
    assert refusal(tmp_path / "x.pt").startswith("FILE: it is a damaged zip archive: Bad CRC-32")


def test_a_pickle_of_very_many_tensors_or_dimensions_is_refused_at_once(tmp_path: Path) -> None:
    torch.save({str(i): 0 for i in range(60_000)}, tmp_path / "x.pt")
    torch.save({DOWN: torch.ones([1] * 9)}, tmp_path / "y.pt")
    with costing_little():
        assert refusal(tmp_path / "x.pt").startswith("FILE: it lists 60,000 tensors (at most 50,000)")
        assert refusal(tmp_path / "y.pt").startswith(f"FILE: tensor {DOWN!r} has 9 dimensions (at most 8)")


@pytest.mark.parametrize(("alpha", "said"), [(10**400, "inf"), (1e400, "inf"), (float("nan"), "nan")])
def test_a_pickled_alpha_that_is_no_finite_number_is_refused(alpha: float, said: str, tmp_path: Path) -> None:
    torch.save(parts() | {ALPHA: alpha}, tmp_path / "x.pt")
    assert f"{ALPHA} is {said} (" in refusal(tmp_path / "x.pt")


def test_a_tensor_that_claims_more_than_is_stored(tmp_path: Path) -> None:
    torch.save({DOWN: torch.ones(1).expand(10**6, 10**6)}, tmp_path / "x.pt")
    assert refusal(tmp_path / "x.pt") == (
        f"FILE: tensor {DOWN!r} claims more values than are stored. Do not use this file."
    )


# ---- what the tensors say

REWRITE = "Use a complete file; this one was cut or written wrongly."


def test_half_a_pair(tmp_path: Path) -> None:
    tensors = parts()
    del tensors[UP]
    assert refusal(save(tmp_path / "x.safetensors", tensors)) == (
        "FILE: 1 target has only some of the tensors that make a delta: blocks.0.self_attn.q lacks up "
        f"(there is {ALPHA}, {DOWN}). {REWRITE}"
    )


def test_ranks_that_do_not_agree(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts() | {UP: torch.ones(128, 3)})
    assert refusal(path) == (
        "FILE: 1 target has tensors that do not go together: "
        f"blocks.0.self_attn.q (down is 2x128 and up 128x3). {REWRITE}"
    )


@pytest.mark.parametrize(
    ("leaves", "said"),
    [
        (
            {"hada_w1_a": (128, 2), "hada_w1_b": (3, 128), "hada_w2_a": (128, 2), "hada_w2_b": (2, 128)},
            "its halves are",
        ),
        ({"hada_w1_a": (128, 2), "hada_w1_b": (2, 128), "hada_w2_a": (128, 2)}, "lacks w2b"),
        ({"lokr_w1": (4, 4), "lokr_w2_a": (32, 2), "lokr_w2_b": (3, 32)}, "its factors are w1 4x4, w2a 32x2, w2b 3x32"),
        ({"lokr_w1": (4, 4)}, "lacks w2 "),
        ({"lokr_w1": (4,), "lokr_w2": (32, 32)}, "its factors are w1 4, w2 32x32"),
        ({"lora_down.weight": (128,), "lora_up.weight": (128, 1)}, "down is 128 and up 128x1, which are no matrices"),
        ({"lora_down.weight": (), "lora_up.weight": (128, 1)}, "down is a single number and up 128x1, which are no"),
        ({"lora_down.weight": (2, 128), "lora_up.weight": (128, 2, 3)}, "up is 128x2x3, which has a kernel of its own"),
        ({"lora_down.weight": (0, 128), "lora_up.weight": (128, 0)}, "is empty"),
        ({"lora_A.weight": (2, 128), "lora_B.weight": (128, 2), "dora_scale": (5,)}, "its magnitude is 5, its weight"),
        ({"dora_scale": (128,)}, "lacks down and up"),
        ({"diff": (128,), "dora_scale": (1, 128)}, "a DoRA magnitude beside a difference in full"),
        ({"lora_mid.weight": (2, 2, 1)}, "lacks down and up"),
    ],
)
def test_parts_that_make_no_delta(leaves: dict[str, tuple[int, ...]], said: str, tmp_path: Path) -> None:
    tensors = {f"{Q}.{leaf}": torch.ones(shape) for leaf, shape in leaves.items()}
    assert said in refusal(save(tmp_path / "x.safetensors", tensors))


def test_factors_of_whole_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts() | {UP: torch.ones(128, 2, dtype=torch.int8)})
    assert refusal(path) == f"FILE: 1 target has tensors that are not floating-point: {UP} (int8). {REWRITE}"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_values_that_are_not_finite(value: float, dtype: torch.dtype, suffix: str, tmp_path: Path) -> None:
    up = torch.ones(128, 2)
    up[7, 1] = value
    path = save(tmp_path / f"x{suffix}", parts() | {UP: up.to(dtype)})
    assert refusal(path) == (
        f"FILE: tensor {UP!r} has 1 of 256 values that are NaN or infinite (finite numbers). "
        "Its training diverged or the file is damaged; use an earlier checkpoint."
    )
    assert "NaN" in inspect_lora(path, spec=POCKET).faults[0]


def test_large_finite_values_are_no_fault(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts() | {UP: torch.full((128, 2), 60000.0).half()})
    assert list(read_lora(path, spec=POCKET).deltas)


@pytest.mark.parametrize(("value", "said"), [(0.0, "0"), (float("inf"), "inf"), (float("nan"), "nan")])
def test_alphas_that_scale_nothing_or_everything(value: float, said: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts() | {ALPHA: torch.tensor(value)})
    assert refusal(path) == (
        f"FILE: 1 alpha cannot be used: {ALPHA} is {said} (an alpha is one finite number other than 0). {REWRITE}"
    )


def test_an_alpha_of_several_numbers(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts() | {ALPHA: torch.ones(2)})
    assert f"{ALPHA} is not a single number" in refusal(path)


def test_the_same_target_in_two_dialects(tmp_path: Path) -> None:
    other = "lora_unet_blocks_0_self_attn_q.lora_down.weight"
    path = save(tmp_path / "x.safetensors", parts() | {other: torch.ones(2, 128)})
    assert refusal(path) == (
        f"FILE: 1 target is given twice: blocks.0.self_attn.q by {DOWN} and {other}. "
        "Keep one of the two and remove the other."
    )


# ---- whatever else


def damaged(rng: random.Random, sound: bytes) -> bytes:
    """Return a file damaged in one of the ways files get damaged, or in several."""
    data = bytearray(sound)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        header_bytes = min(int.from_bytes(data[:8], "little"), len(data))
        match rng.randrange(7):
            case 0:  # flipped bits anywhere
                for _ in range(rng.randint(1, 8)):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 1:  # flipped bits in the header
                data[rng.randrange(min(8 + header_bytes, len(data)))] ^= 1 << rng.randrange(8)
            case 2:  # cut off
                del data[rng.randrange(1, len(data)) :]
            case 3:  # bytes put in
                at = rng.randrange(len(data))
                data[at:at] = rng.randbytes(rng.randint(1, 16))
            case 4:  # a digit, or a letter of a name, changed in the header
                at = rng.randrange(min(8 + header_bytes, len(data)))
                data[at] = rng.choice(b'0123456789-.eE"{}[],:aF')
            case 5:  # a stretch of zeros or of ones
                at = rng.randrange(len(data))
                data[at : at + rng.randint(1, 64)] = bytes([rng.choice((0, 255))]) * rng.randint(1, 64)
            case _:  # the size field
                data[:8] = rng.getrandbits(rng.choice((8, 16, 40, 64))).to_bytes(8, "little")
        if len(data) < 2:
            break
    return bytes(data)


def assert_read_or_refused(path: Path) -> bool:
    """Return whether a file was refused; anything but this package's errors is a failure."""
    with costing_little(2.0):
        try:
            report = inspect_lora(path, spec=POCKET)
            assert len(report.account) > 0
            weights = read_lora(path, spec=POCKET)
        except LoraCoreError:
            return True
    for delta in weights.deltas.values():
        assert delta.shape
    return False


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_safetensors_file_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    names = sorted(SPELLINGS)
    pairs = dict(list(random_pairs(2).items())[:2])
    num_refused = 0
    for index in range(300):
        path = tmp_path / f"{index}.safetensors"  # a new name each: truncating a file waits for the disk
        if index % 30 == 0:
            sound = save(path, spelled(SPELLINGS[rng.choice(names)], pairs, 2.0)).read_bytes()
            path.unlink()
        path.write_bytes(damaged(rng, sound))
        num_refused += assert_read_or_refused(path)
    assert num_refused > 150


@pytest.mark.parametrize("legacy", [False, True])
def test_a_damaged_pickle_is_read_or_refused(legacy: bool, tmp_path: Path) -> None:
    rng = random.Random(9)
    torch.save(parts(), tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    sound = (tmp_path / "x.pt").read_bytes()
    num_refused = 0
    for index in range(150):
        path = tmp_path / f"{index}.pt"
        path.write_bytes(damaged(rng, sound))
        num_refused += assert_read_or_refused(path)
    assert num_refused > 40


@settings(max_examples=60, deadline=None)
@given(
    header=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", DOWN, UP]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_as_header_is_refused(header: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = raw(tmp_path_factory.getbasetemp() / "any.safetensors", header, b"\0" * 8)
    with pytest.raises(LoraCoreError):
        read_lora(path, spec=POCKET)


def test_the_short_suffix_of_safetensors_is_one_too(tmp_path: Path) -> None:
    path = save(tmp_path / "x.safetensors", parts())
    assert list(read_lora(path.rename(tmp_path / "x.sft"), spec=POCKET).deltas) == ["blocks.0.self_attn.q"]


def test_a_header_whose_size_begins_as_a_pickle_does_is_read(tmp_path: Path) -> None:
    """Safetensors begin with the size of their header: of 640 bytes that is 80 02, a pickle's mark."""
    tensors = {
        "blocks.0.self_attn.q.lora_A.weight": torch.ones(2, 128),
        "blocks.0.self_attn.q.lora_B.weight": torch.ones(128, 2),
    }
    path = tmp_path / "x.safetensors"
    save(path, tensors, {"note": ""})
    for length in range(640 - int.from_bytes(path.read_bytes()[:8], "little"), 0, -1):
        save(path, tensors, {"note": "x" * length})
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert len(read_lora(path).deltas) == 1
