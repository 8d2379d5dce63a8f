"""The cache: what is trained on is what was filmed, encoded once, and whole whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filmed import filmed_clip, moving, scene
from PIL import Image
from safetensors.torch import load_file, save_file

from lora_core.errors import DatasetError
from lora_core.families.opened import OpenedModel
from lora_core.families.wan.open import open_wan
from lora_core.training.clips.cache import fill_cache
from lora_core.training.clips.cached import ClipCache, read_example, read_text
from lora_core.training.clips.clip import Clip
from lora_core.training.clips.encode import caption_notes, encode_clip, to_frames
from lora_core.training.clips.frames import read_frames
from lora_core.training.clips.sheet import save_sheet
from lora_core.training.clips.store import store_for, write_entry
from lora_core.training.clips.takes import takes_of
from lora_core.training.settings.clips import ClipSettings

SETTINGS = ClipSettings(held_out=0.25)
COLOURS = ("red", "yellow", "green", "blue")


@pytest.fixture(scope="module")
def model() -> OpenedModel:
    return open_wan("pocket")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        filmed_clip(folder / f"{colour}.mp4", scene(colour), f"a {colour} circle moves right") for colour in COLOURS
    ]


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int, str]] = []

    def __call__(self, done: int, total: int, what: str) -> None:
        self.reports.append((done, total, what))


def fill(
    clips: list[Clip], model: OpenedModel, folder: Path, settings: ClipSettings = SETTINGS, told: Told | None = None
) -> ClipCache:
    takes = takes_of(clips, settings, model.spec)
    return fill_cache(store_for(model, settings, folder), takes, model, settings.background, told or Told())


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def filled(clips: list[Clip], model: OpenedModel, tmp_path_factory: pytest.TempPathFactory) -> ClipCache:
    return fill(clips, model, tmp_path_factory.mktemp("cache"))


def test_latents_are_those_of_the_frames_normalised(filled: ClipCache, clips: list[Clip], model: OpenedModel) -> None:
    cached = filled.clips[0]
    latents = read_example(cached).latents
    frames = torch.from_numpy(read_frames(clips[0].path, [index / 16 for index in range(17)]))
    expected = model.normalise(model.vae_encode(frames.permute(3, 0, 1, 2)[None] / 127.5 - 1))[0]
    assert latents.dtype == torch.float32
    assert cached.shape == tuple(latents.shape) == (16, 5, 8, 8)
    assert (cached.name, cached.source, cached.num_frames) == ("red.mp4", "red.mp4", 17)
    torch.testing.assert_close(latents, expected, rtol=1e-5, atol=1e-5)
    assert 0.3 < float(latents.std()) < 3


def test_latents_decode_back_to_what_was_filmed(filled: ClipCache, model: OpenedModel) -> None:
    decoded = to_frames(model.vae_decode(model.denormalise(read_example(filled.clips[2]).latents[None])))
    assert np.abs(decoded.astype(int) - scene("green")).mean() < 8
    assert np.abs(decoded.astype(int) - scene("red")).mean() > 8


def test_texts_are_embedded_without_the_zeros_behind_them(filled: ClipCache, model: OpenedModel) -> None:
    cached = filled.clips[1]
    text = read_text(cached.texts[0])
    whole = model.encode_text(cached.captions[0])[0]
    assert len(text) == model.num_tokens(cached.captions[0])
    assert torch.equal(text, whole[: len(text)])
    assert not whole[len(text) :].any()
    assert len(read_text(filled.empty_text)) == model.num_tokens("")


def test_what_is_there_is_not_encoded_again(
    filled: ClipCache, clips: list[Clip], model: OpenedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {file: file.stat().st_mtime_ns for file in filled.folder.rglob("*.safetensors")}
    told = Told()
    again = fill(clips, model, filled.folder, told=told)
    assert (again.clips, again.empty_text, again.digest) == (filled.clips, filled.empty_text, filled.digest)
    assert told.reports == []
    assert {file: file.stat().st_mtime_ns for file in filled.folder.rglob("*.safetensors")} == times


def test_only_what_is_new_is_encoded_and_both_kinds_of_work_are_told(
    clips: list[Clip], model: OpenedModel, tmp_path: Path
) -> None:
    fill(clips[:2], model, tmp_path)
    told = Told()
    fill(clips, model, tmp_path, told=told)
    assert told.reports[:2] == [(1, 2, "embed captions"), (2, 2, "embed captions")]
    assert told.reports[2:] == [(1, 2, "encode clips"), (2, 2, "encode clips")]


def test_a_cache_made_in_two_runs_is_that_of_one_bit_for_bit(
    filled: ClipCache, clips: list[Clip], model: OpenedModel, tmp_path: Path
) -> None:
    fill(clips[2:], model, tmp_path)
    again = fill(clips, model, tmp_path)
    assert files_in(tmp_path) == files_in(filled.folder)
    assert again.digest == filled.digest


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_an_entry_that_was_cut_short_is_made_again(
    filled: ClipCache, clips: list[Clip], model: OpenedModel, tmp_path: Path, length: int
) -> None:
    cache = fill(clips[:1], model, tmp_path)
    whole = files_in(tmp_path)
    for file in (cache.clips[0].file, cache.clips[0].texts[0]):
        os.truncate(file, length if length >= 0 else file.stat().st_size - 1)
    fill(clips[:1], model, tmp_path)
    assert files_in(tmp_path) == whole


def test_other_bytes_or_settings_are_other_entries_and_another_digest(
    clips: list[Clip], model: OpenedModel, tmp_path: Path
) -> None:
    first = fill(clips[:1], model, tmp_path)
    longer = replace(clips[0], probe=replace(clips[0].probe, fingerprint="other"))
    said = replace(clips[0], captions=("a blue cube",))
    settings = replace(SETTINGS, num_frames=13)
    others = [
        fill([longer], model, tmp_path),
        fill([said], model, tmp_path),
        fill(clips[:1], model, tmp_path, settings),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 4
    assert first.clips[0].file == others[1].clips[0].file
    assert len({first.clips[0].file, others[0].clips[0].file, others[2].clips[0].file}) == 3


def test_all_windows_and_variants_of_a_clip_are_on_one_side(
    clips: list[Clip], model: OpenedModel, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, cut="sliding", num_frames=5, flip=True)
    cache = fill(clips, model, tmp_path, settings)
    assert len(cache.held_out) == 3
    assert len(cache.trained) == 3 * 3 * 2
    assert not {clip.source for clip in cache.held_out} & {clip.source for clip in cache.trained}
    assert len({clip.name for clip in cache.clips}) == len({clip.file for clip in cache.clips}) == 21
    trained = cache.trained[0].source
    assert f"{trained} (at 0.31 s, mirrored)" in {clip.name for clip in cache.clips}


def test_a_mirrored_clip_is_the_mirror_of_the_other(clips: list[Clip], model: OpenedModel, tmp_path: Path) -> None:
    plain, mirrored = fill(clips[:1], model, tmp_path, replace(SETTINGS, flip=True)).clips
    frames = read_frames(clips[0].path, [index / 16 for index in range(17)])
    assert torch.equal(read_example(plain).latents, encode_clip(model, frames)["latents"])
    assert torch.equal(read_example(mirrored).latents, encode_clip(model, frames[:, :, ::-1])["latents"])


def test_pictures_and_clips_of_other_sizes_stand_side_by_side(model: OpenedModel, tmp_path: Path) -> None:
    wide = filmed_clip(tmp_path / "wide.mp4", moving(33, 90, 160), "a wide clip", 30)
    still = filmed_clip(tmp_path / "still.mkv", moving(1), "a still")
    Image.fromarray(moving(1, 90, 60)[0]).save(tmp_path / "tall.png")
    probe = replace(still.probe, fps=0.0, seconds=0.0, width=60, height=90, fingerprint="tall")
    cache = fill([wide, Clip("tall.png", tmp_path / "tall.png", ("tall",), probe)], model, tmp_path / "cache")
    assert [clip.shape for clip in cache.clips] == [(16, 5, 6, 10), (16, 1, 10, 6)]


def test_latents_that_are_not_finite_are_never_cached(clips: list[Clip], model: OpenedModel, tmp_path: Path) -> None:
    tensors = load_file(model.files["vae"])
    tensors["conv1.bias"] = torch.full_like(tensors["conv1.bias"], float("nan"))
    save_file(tensors, tmp_path / "vae.safetensors")
    broken = open_wan("pocket", vae=tmp_path / "vae.safetensors")
    with pytest.raises(DatasetError, match=r"red\.mp4: its latents are not finite .*Leave the clip out"):
        fill(clips[:1], broken, tmp_path / "cache")
    assert not (tmp_path / "cache" / "latents").exists()


def test_a_listener_can_stop_the_work_and_what_is_done_stays(
    filled: ClipCache, clips: list[Clip], model: OpenedModel, tmp_path: Path
) -> None:
    def stop(done: int, total: int, what: str) -> None:
        if (done, what) == (2, "encode clips"):
            raise KeyboardInterrupt

    takes = takes_of(clips, SETTINGS, model.spec)
    with pytest.raises(KeyboardInterrupt):
        fill_cache(store_for(model, SETTINGS, tmp_path), takes, model, SETTINGS.background, stop)
    assert len(list((tmp_path / "latents").iterdir())) == 2
    told = Told()
    fill(clips, model, tmp_path, told=told)
    assert told.reports[-1] == (2, 2, "encode clips")
    assert files_in(tmp_path) == files_in(filled.folder)


def test_the_captions_a_model_cannot_read_are_named(model: OpenedModel) -> None:
    notes = list(caption_notes(model, ["a red ball", "a quokka", "red " * 600]))
    assert any("only the first 512 tokens" in note and "has 6" in note for note in notes)
    assert any("'quokka'" in note for note in notes)
    assert list(caption_notes(model, ["a red circle"])) == []


def test_the_sheet_shows_each_clip_once_decoded_from_the_cache(
    filled: ClipCache, model: OpenedModel, tmp_path: Path
) -> None:
    assert save_sheet(filled, model, tmp_path / "sheet.png", Told()) == ""
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 4 * 128
        colours = np.asarray(sheet.convert("RGB"))
    for colour in COLOURS:
        shown = scene(colour).reshape(-1, 3)
        ball = shown[np.abs(shown.astype(int) - shown[0]).sum(-1).argmax()]
        assert (np.abs(colours.astype(int) - ball).max(-1) < 40).sum() > 500, colour


def test_a_sheet_of_many_clips_shows_some_and_says_so(filled: ClipCache, model: OpenedModel, tmp_path: Path) -> None:
    write_entry(tmp_path / "still.safetensors", {"latents": torch.zeros(16, 1, 2, 2)}, "a still")
    still = replace(filled.clips[0], file=tmp_path / "still.safetensors", num_frames=1)
    many = replace(filled, clips=tuple(replace(still, source=f"{index}.mp4") for index in range(30)))
    assert save_sheet(many, model, tmp_path / "sheet.png", Told()) == "the sheet shows 24 of 30 clips"


# ---------------------------------------------------------------- two processes


FILL = """
import pickle, sys
from pathlib import Path
import torch
from lora_core.families.wan.open import open_wan
from lora_core.training.clips.cache import fill_cache
from lora_core.training.clips.store import store_for
from lora_core.training.clips.takes import takes_of
from lora_core.training.settings.clips import ClipSettings
clips = pickle.loads(Path(sys.argv[1]).read_bytes())
settings = ClipSettings(held_out=0.25)
model = open_wan("pocket")
store = store_for(model, settings, Path(sys.argv[2]))
model.encode_text("red"), model.vae_encode(torch.zeros(1, 3, 1, 64, 64))  # all is read and imported by now
print("ready", flush=True)
sys.stdin.readline()
fill_cache(store, takes_of(clips, settings, model.spec), model, settings.background,
           lambda done, total, what: print(done, total, what, flush=True))
"""


@pytest.fixture
def start(clips: list[Clip], tmp_path: Path) -> Iterator:
    """Give a function that starts a process which fills the cache as soon as it is told to."""
    import pickle

    (tmp_path / "clips.pickle").write_bytes(pickle.dumps(clips))
    started = []

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FILL, str(tmp_path / "clips.pickle"), str(tmp_path / "cache")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, **pipes)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_fill_one_cache_and_every_entry_is_whole(
    filled: ClipCache, clips: list[Clip], model: OpenedModel, start, tmp_path: Path
) -> None:
    other = start()
    go(other)
    fill(clips, model, tmp_path / "cache")
    told, errors = other.communicate(timeout=100)
    assert other.returncode == 0, errors
    assert "encode clips" in told
    assert_like(tmp_path / "cache", filled.folder)


def test_a_process_killed_at_its_work_leaves_whole_entries_and_the_next_goes_on(
    filled: ClipCache, clips: list[Clip], model: OpenedModel, start, tmp_path: Path
) -> None:
    process = start()
    go(process)
    while not process.stdout.readline().endswith("encode clips\n"):
        pass
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list((tmp_path / "cache" / "latents").glob("*.safetensors"))
    assert 1 <= len(left) <= 4
    for file in left:
        assert load_file(file)["latents"].shape == (16, 5, 8, 8)
    fill(clips, model, tmp_path / "cache")
    assert_like(tmp_path / "cache", filled.folder)


def assert_like(folder: Path, other: Path) -> None:
    """Compare two caches, entry by entry; other processes compute with other numbers of threads."""
    assert files_in(folder).keys() == files_in(other).keys()
    for name in files_in(folder):
        for tensor, value in load_file(folder / name).items():
            torch.testing.assert_close(value, load_file(other / name)[tensor], rtol=1e-4, atol=1e-4)
