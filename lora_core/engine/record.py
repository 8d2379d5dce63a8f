"""The record of a video: every setting, version, hash and timing, in JSON, enough to make the same video again.

`request_from_record` and `stack_from_record` read it back. Pictures and latents that were given in memory are recorded
by their hash and have to be given again.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..attention.controller import RadialController
from ..attention.settings import RadialSettings, settings_from
from ..checks import known_keys, typed
from ..errors import RequestError
from ..families.base import ModelSpec
from ..families.opened import OpenedModel
from ..plan.plan import SamplingPlan
from ..sampling.sample import history_resets
from ..stack.entry import LoraEntry
from ..stack.hashes import sha256_of, verify_hashes
from ..stack.loaded import LoadedStack
from ..stack.stack import LoraStack
from .guide import Guide
from .request import Clip, GenerationRequest, Picture, open_picture
from .video_end import FrameOf

#: Raised when a record of this form could no longer be read back by an older version.
RECORD_FORMAT = 1
#: Of a video with a guide, of which an older version would know nothing.
STEERED_FORMAT = 2
#: Of a video whose self-attention left pairs out; it may have a guide as well.
RADIAL_FORMAT = 3
#: Of a video with LoRAs in a part of it; it may have a guide and radial attention as well.
REGIONAL_FORMAT = 4
_FORMATS = (RECORD_FORMAT, STEERED_FORMAT, RADIAL_FORMAT, REGIONAL_FORMAT)
_PACKAGES = ("wanloom", "diffusers", "transformers", "safetensors", "numpy")
_PICTURES = ("image", "last_image")
_MASK_IN_MEMORY = "mask_in_memory"


@dataclass(frozen=True, eq=False)
class GuideFacts:
    """A guide, its stack loaded, and the hashes of its model's files."""

    guide: Guide
    hashes: Mapping[str, str]


def make_record(
    model: OpenedModel,
    request: GenerationRequest,
    clip: Clip,
    loaded: LoadedStack,
    plan: SamplingPlan,
    latents: Tensor,
    hashes: Mapping[str, str],
    *,
    guide: GuideFacts | None = None,
    radial: RadialController | None = None,
    masks: Mapping[str, Tensor] | None = None,
    num_processes: int = 1,
    beside: Mapping[str, object] | None = None,
    timings: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, object]:
    """Return the record of a video that has just been made; `hashes` are those of the model's files.

    Entries of `beside` stand in it under their names, but for those that are None.
    """
    return {
        "format": _format(guide, radial, loaded),
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **asked_rows(model, request, clip, loaded, hashes, guide=guide, radial=radial),
        **{name: row for name, row in (beside or {}).items() if row is not None},
        **({"masks": {name: _mask_row(mask) for name, mask in masks.items()}} if masks else {}),
        "plan": plan.to_dict(),
        "solver_restarts": history_resets(plan, request.solver),
        "notes": list(notes),
        "timings": {phase: round(seconds, 4) for phase, seconds in timings.items()},
        "latents_sha256": tensor_sha256(latents),
        "versions": _versions(),
        "machine": {
            "platform": platform.platform(),
            "device": _device_name(model.device),
            "num_threads": torch.get_num_threads(),
            "num_processes": num_processes,
        },
    }


def asked_rows(
    model: OpenedModel,
    request: GenerationRequest,
    clip: Clip,
    loaded: LoadedStack,
    hashes: Mapping[str, str],
    *,
    guide: GuideFacts | None = None,
    radial: RadialController | None = None,
) -> dict[str, object]:
    """Return the part of a record that is known before the run: whatever was asked, by which the video is settled."""
    return {
        "request": _request_row(request, clip, model.spec),
        "model": _model_row(model, hashes),
        "loras": [lora_row(entry) for entry in loaded.stack],
        **({} if guide is None else {"guide": _guide_row(guide)}),
        **({} if radial is None else {"radial": radial.to_dict()}),
    }


@typed(RequestError)
def request_from_record(
    record: Mapping[str, object],
    *,
    image: Picture | None = None,
    last_image: Picture | None = None,
    first_frames: Sequence[Picture] | None = None,
    latents: Tensor | None = None,
) -> GenerationRequest:
    """Return the request of a record; what it knows by hash alone is given here and compared."""
    row = _checked(record)["request"]
    settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    settings["image"] = _picture_again("image", row.get("image"), image)
    settings["last_image"] = _picture_again("last_image", row.get("last_image"), last_image)
    settings["first_frames"] = _frames_again(row.get("first_frames"), first_frames)
    settings["latents"] = _latents_again(row.get("latents"), latents)
    known_keys(settings, [f.name for f in fields(GenerationRequest)], "record", RequestError)
    return GenerationRequest(**settings)


@typed(RequestError)
def stack_from_record(record: Mapping[str, object]) -> LoraStack:
    """Return the stack of a record, its files compared with the hashes they had."""
    rows = _checked(record)["loras"]
    lost = [row["name"] for row in rows if "path" not in row]
    if lost:
        what = f"the LoRA {lost[0]!r} was made in memory and has no file"
        raise RequestError("record", what, remedy="Write it to a file before it is used")
    if masked := [row["name"] for row in rows if _MASK_IN_MEMORY in row]:
        what = f"the mask of {masked[0]!r} was made in memory and has no file"
        raise RequestError("record", what, remedy="Save the mask, and name its file in the stack")
    stack = LoraStack.from_json(rows, "record")
    verify_hashes(stack)
    return stack


@typed(RequestError)
def radial_from_record(record: Mapping[str, object]) -> RadialSettings | None:
    """Return how self-attention left pairs out, or None where it did not."""
    row = _checked(record).get("radial")
    if row is None:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("settings"), dict):
        raise _damaged("radial")
    if not isinstance(row["settings"].get("dense", {}), dict):
        raise _damaged("radial")
    return settings_from(row["settings"], "record")


def tensor_sha256(tensor: Tensor) -> str:
    """Return the sha256 of a tensor's numbers, shape and dtype."""
    array = tensor.detach().cpu().contiguous()
    head = f"{tuple(array.shape)} {array.dtype}".encode()
    return hashlib.sha256(head + array.view(torch.uint8).numpy().tobytes()).hexdigest()


def _request_row(request: GenerationRequest, clip: Clip, spec: ModelSpec) -> dict[str, object]:
    """Return the settings by name, defaults filled in."""
    row = {f.name: getattr(request, f.name) for f in fields(request)}
    row |= {name: getattr(clip, name) for name in ("num_frames", "height", "width", "fps")}
    if row["embedded_guidance"] is None:
        row["embedded_guidance"] = spec.embedded_guidance
    for name in _PICTURES:
        row[name] = None if row[name] is None else _picture_row(row[name])
    if request.first_frames is not None:
        row["first_frames"] = [_picture_row(frame) for frame in request.first_frames]
    latents = request.latents
    row["latents"] = None if latents is None else {"shape": list(latents.shape), "sha256": tensor_sha256(latents)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}


def _picture_row(picture: Picture) -> dict[str, object]:
    if isinstance(picture, FrameOf):
        place: dict[str, object] = {"path": str(picture.path.absolute()), "frame": picture.index}
    else:
        place = {"path": str(Path(picture).absolute()) if isinstance(picture, str | Path) else None}
    return {**place, "sha256": picture_sha256(picture)}


def picture_sha256(picture: Picture) -> str:
    pixels = np.asarray(open_picture(picture))
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _picture_again(name: str, row: Mapping[str, Any] | None, given: Picture | None) -> Picture | None:
    if row is None:
        return given
    path, frame = row.get("path"), row.get("frame")
    picture = given if given is not None else path if path is None or frame is None else FrameOf(Path(path), frame)
    if picture is None:
        raise RequestError(name, "the record knows it by its hash alone", remedy=f"Give the same picture as {name}")
    if picture_sha256(picture) != row["sha256"]:
        what, remedy = "it is not the picture of the record", f"Give the picture of that run as {name}"
        raise RequestError(name, what, expected=f"sha256 {row['sha256'][:12]}…", remedy=remedy)
    return picture


def _frames_again(
    rows: Sequence[Mapping[str, Any]] | None, given: Sequence[Picture] | None
) -> Sequence[Picture] | None:
    if rows is None:
        return given
    if given is not None and len(given) != len(rows):
        what, expected = f"{len(given)} frames", f"the {len(rows)} of the record"
        raise RequestError("first_frames", what, expected=expected, remedy="Give the frames of that run")
    frames = [None] * len(rows) if given is None else given
    again = [_picture_again("first_frames", row, frame) for row, frame in zip(rows, frames, strict=True)]
    return [frame for frame in again if frame is not None]


def _latents_again(row: Mapping[str, Any] | None, given: Tensor | None) -> Tensor | None:
    if row is None:
        return given
    if given is None:
        raise RequestError("latents", "the record knows them by their hash alone", remedy="Give the same latents")
    if tensor_sha256(given) != row["sha256"]:
        what, remedy = "they are not those of the record", "Give the latents of that run"
        raise RequestError("latents", what, expected=f"sha256 {row['sha256'][:12]}…", remedy=remedy)
    return given


def _format(guide: GuideFacts | None, radial: RadialController | None, loaded: LoadedStack) -> int:
    if any(entry.is_masked for entry in loaded.stack):
        return REGIONAL_FORMAT
    return RADIAL_FORMAT if radial is not None else RECORD_FORMAT if guide is None else STEERED_FORMAT


def _mask_row(mask: Tensor) -> dict[str, object]:
    """Tell a mask over a clip's tokens: its size, how much of the clip it covers, and its hash."""
    mean = round(float(mask.double().mean()), 6)
    return {"tokens": list(mask.shape), "mean": mean, "sha256": tensor_sha256(mask)}


def _model_row(model: OpenedModel, hashes: Mapping[str, str]) -> dict[str, object]:
    """Name the model's files, their sizes and their hashes."""
    files = {
        piece: {"path": str(path), "bytes": _num_bytes(path), "sha256": hashes[piece]}
        for piece, path in model.files.items()
    }
    return {"name": model.spec.name, "dtype": str(model.dtype), "offload": model.offload, "files": files}


def _guide_row(told: GuideFacts) -> dict[str, object]:
    stack = told.guide.stack
    return {
        "model": _model_row(told.guide.model, told.hashes),
        "loras": [lora_row(entry) for entry in (stack.stack if isinstance(stack, LoadedStack) else stack)],
        "settings": told.guide.settings.to_json(),
    }


def _num_bytes(path: Path) -> int:
    """Return the size of a file, or of everything in a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def lora_row(entry: LoraEntry) -> dict[str, object]:
    if entry.path is None:
        return {"name": entry.name, "weight": entry.strength, "applies_to": entry.applies_to}
    region = entry.region
    if region is not None and region.pixels is not None:
        row = replace(entry, region=None).to_json() | {_MASK_IN_MEMORY: region.pixels_sha256}
    else:
        row = entry.to_json()
    if region is not None and region.path is not None and entry.enabled:
        mask = region.path.absolute()
        row |= {"region": region.at(mask).to_json(), "mask_sha256": sha256_of(mask)}
    for key, path in (("", entry.path), ("low_noise_", entry.low_noise_path)):
        if path is not None and entry.enabled:
            row |= {f"{key}path": path.absolute().as_posix(), f"{key}sha256": sha256_of(path)}
    return row


def _checked(record: Mapping[str, object]) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        what, expected = f"{record!r:.60} is none", "the object that a record's JSON stands for"
        raise RequestError("record", what, expected=expected, remedy="Read it with json.loads")
    if record.get("format") not in _FORMATS:
        expected = f"one of {', '.join(map(str, _FORMATS))}"
        what, remedy = f"its format is {record.get('format')!r}", "Take the version that wrote it"
        raise RequestError("record", what, expected=expected, remedy=remedy)
    for key, kind in (("request", dict), ("loras", list)):
        if not isinstance(record.get(key), kind):
            raise _damaged(key)
    row = record["request"]
    if "prompt" not in row:  # type: ignore[operator]  # a dict
        raise _damaged("prompt")
    for key in (*_PICTURES, "latents"):
        if row.get(key) is not None and not _is_told_by_hash(row[key]):  # type: ignore[attr-defined, index]  # a dict
            raise _damaged(key)
    frames = row.get("first_frames")  # type: ignore[attr-defined]  # a dict
    if frames is not None and not (isinstance(frames, list) and all(map(_is_told_by_hash, frames))):
        raise _damaged("first_frames")
    if not all(isinstance(lora, dict) and isinstance(lora.get("name"), str) for lora in record["loras"]):  # type: ignore[attr-defined]  # a list
        raise _damaged("loras")
    return record


def _is_told_by_hash(row: object) -> bool:
    kinds = {"sha256": str, "path": str | None, "frame": int | None}
    return isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in kinds.items())


def _damaged(key: str) -> RequestError:
    return RequestError("record", f"its {key!r} is missing or damaged", remedy="Take the record as it was written")


def _versions() -> dict[str, str | None]:
    """Return package -> version; torch's own word names its build (+cu124), which its package's metadata may not."""
    packages = {name: _version(name) for name in _PACKAGES}
    return packages | {"torch": str(torch.__version__), "python": platform.python_version()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
