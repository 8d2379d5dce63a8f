"""A video that goes on from a picture or from the end of another video, in the words of its users."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checks import number_text, whole_number
from ..errors import RequestError
from ..families.base import ModelSpec
from ..families.family import ClipTable
from ..families.opened import OpenedModel
from ..families.registry import family_of
from ..media.rate import check_fps
from ..plan.settings import Boundary, RunSettings, ScheduleName
from ..wording import Said, said
from .request import GenerationRequest, open_picture
from .video_end import last_frames


@dataclass(frozen=True, kw_only=True)
class WorldRequest:
    """What is asked of a video that goes on from something; what is None is as the model is made for.

    Attributes:
        input: a picture, a video, or a folder of frames, of which the last go on.
        num_conditional_frames: how many of its last frames: 1, or 5 of a video.
        resolution: of the sizes that the family's weights are made for: 480 or 720.
        aspect: which of that resolution's proportions ("16:9"); None for those nearest to the input's.
        size: (height, width) of one's own, instead of the two.
        fps: frames per second, which also settle the length where the family has a table of it: 10 or 16.
        num_frames: a length of one's own.
        num_steps, cfg: as in `RunSettings`, but by default the model's own.
        others: as in `GenerationRequest`.
    """

    input: str | Path
    prompt: str
    negative_prompt: str = ""
    num_conditional_frames: int = 1
    resolution: int | None = None
    aspect: str | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None
    num_frames: int | None = None
    num_steps: int | None = None
    cfg: float | tuple[float, float] | None = None
    shift: float = RunSettings.shift
    schedule: ScheduleName = "auto"
    sigmas: Sequence[float] | None = None
    boundary: Boundary = "auto"
    solver: str = GenerationRequest.solver
    seed: int = 0
    sigma_conditioning: float | None = None

    def __post_init__(self) -> None:
        if self.resolution is not None:
            whole_number(self.resolution, "resolution", RequestError, low=1)
        if self.fps is not None:
            check_fps(self.fps, "fps", RequestError)

    def on(self, model: OpenedModel) -> GenerationRequest:
        """Return the request that this is on a model.

        Raises:
            RequestError: the input cannot be read or has too few frames, or the model is made for other clips.
        """
        count = whole_number(self.num_conditional_frames, "num_conditional_frames", RequestError, low=1)
        _check_count(model.spec, count)
        frames = last_frames(self.input, count)
        known: dict[str, Any] = {"image": frames[0]} if count == 1 else {"first_frames": frames}
        picture = open_picture(frames[-1])
        return GenerationRequest(
            self.prompt,
            self.negative_prompt,
            **known,
            **self._clip(model, picture.width / picture.height),
            **self._run(model.spec),
            solver=self.solver,
            seed=self.seed,
            sigma_conditioning=self.sigma_conditioning,
        )

    def _clip(self, model: OpenedModel, proportion: float) -> dict[str, Any]:
        """Return size, rate and length."""
        table = family_of(model.spec).clip_table(model.spec)
        if self.size is not None:
            for name in ("resolution", "aspect"):
                if getattr(self, name) is not None:
                    raise RequestError(name, "a size is given as well", remedy="Leave one of them out")
        if table is None:
            self._check_no_table(model.spec)
            size = self.size or (None, None)
            return {"height": size[0], "width": size[1], "num_frames": self.num_frames, "fps": self.fps}
        resolution, fps = self._trained(model, table)
        num_frames = table.lengths.get(int(fps)) if fps == int(fps) else None
        if num_frames is None and self.num_frames is None:
            what = said("no weights are made for {fps} frames per second", fps=number_text(fps))
            expected = " or ".join(map(str, table.lengths))
            raise RequestError("fps", what, expected=expected, remedy="Choose one of them, or give the length too")
        height, width = self.size or self._size(table, resolution, proportion)
        return {"height": height, "width": width, "num_frames": self.num_frames or num_frames, "fps": float(fps)}

    def _trained(self, model: OpenedModel, table: ClipTable) -> tuple[int, float]:
        """Return resolution and rate, which the weights' name, where it tells them, does not contradict."""
        clip = model.spec.default_clip
        usual = next(name for name, sizes in table.sizes.items() if (clip.height, clip.width) in sizes.values())
        told = told_by_name(model, table)
        values = []
        for name, given, own, default in (
            ("resolution", self.resolution, told[0], usual),
            ("fps", self.fps, told[1], clip.fps),
        ):
            if None not in (given, own) and given != own:
                what = said(
                    "{given:g}, and by its name {file} is made for {own}", given=given, file=_name(model), own=own
                )
                remedy = said("Take the weights for {given:g}, or ask for {own}", given=given, own=own)
                raise RequestError(name, what, remedy=remedy)
            values.append(given if given is not None else own if own is not None else default)
        return int(values[0]), float(values[1])

    def _size(self, table: ClipTable, resolution: int, proportion: float) -> tuple[int, int]:
        if resolution not in table.sizes:
            expected = " or ".join(map(str, table.sizes))
            what = said("no weights are made for {resolution}", resolution=resolution)
            raise RequestError("resolution", what, expected=expected, remedy="Choose one of them, or give a size")
        sizes = table.sizes[resolution]
        if self.aspect is not None:
            if self.aspect not in sizes:
                what = said("{aspect!r:.60} is none of its proportions", aspect=self.aspect)
                raise RequestError("aspect", what, expected=", ".join(sizes), remedy="Choose one of them")
            return sizes[self.aspect]
        return min(sizes.values(), key=lambda size: abs(math.log(size[1] / size[0] / proportion)))

    def _check_no_table(self, spec: ModelSpec) -> None:
        """Refuse words for a size where the model has none by that name."""
        for name in ("resolution", "aspect"):
            if (given := getattr(self, name)) is not None:
                clip = spec.default_clip
                what = said("{given}, and {model} has no sizes of such names", given=given, model=spec.title)
                own = {"width": clip.width, "height": clip.height, "count": clip.num_frames, "fps": clip.fps}
                expected = said("its own is {width}x{height}, {count} frames at {fps:g} per second", **own)
                raise RequestError(name, what, expected=expected, remedy="Leave it out, or give a size")

    def _run(self, spec: ModelSpec) -> dict[str, Any]:
        """Return how the run goes."""
        high, low = spec.default_cfg
        own = high if high == low else spec.default_cfg
        run: dict[str, Any] = {"cfg": own if self.cfg is None else self.cfg, "boundary": self.boundary}
        if self.sigmas is not None:
            run["sigmas"] = self.sigmas
        elif self.num_steps is None:
            run["num_steps"] = spec.default_num_steps
        if self.num_steps is not None:
            run["num_steps"] = self.num_steps
        return run | {"shift": self.shift, "schedule": self.schedule}


def told_by_name(model: OpenedModel, table: ClipTable) -> tuple[int | None, int | None]:
    """Return the resolution and the frames per second that the name of a model's weights, or of its folder, tells."""
    path = model.files["high"].absolute()
    found = []
    for pattern in table.told_by:
        matches = (re.search(pattern, name, re.IGNORECASE) for name in (path.name, path.parent.name))
        found.append(next((int(match[1]) for match in matches if match), None))
    return found[0], found[1]


def world_notes(model: OpenedModel) -> tuple[Said, ...]:
    """Return what is to be said of the clips that a model's weights are made for, where nothing tells it."""
    table = family_of(model.spec).clip_table(model.spec)
    if table is None or None not in told_by_name(model, table):
        return ()
    resolutions, rates = (" / ".join(map(str, row)) for row in (table.sizes, table.lengths))
    phrase = said(
        "{file}: its name does not tell for which of {resolutions} at {rates} frames per second it is made; each has "
        "weights of its own",
        file=_name(model),
        resolutions=resolutions,
        rates=rates,
    )
    return (phrase,)


def _check_count(spec: ModelSpec, count: int) -> None:
    counts = {1, *((latents - 1) * spec.vae_stride[0] + 1 for latents in spec.known_latents if latents)}
    if count not in counts:
        what = said("{count} frames for {model} to go on from", count=count, model=spec.title)
        expected = " or ".join(map(str, sorted(counts)))
        raise RequestError("num_conditional_frames", what, expected=expected, remedy="Give so many")


def _name(model: OpenedModel) -> str:
    path = model.files["high"]
    return path.parent.name if path.is_dir() else path.name
