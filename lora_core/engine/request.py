"""A generation request: everything a user asks of one video, checked before any network runs.

What opens pictures is imported when there is one: the command line builds its options, and its help, from the request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..checks import finite_number, known, whole_number
from ..errors import RequestError
from ..families.base import ModelSpec
from ..media.rate import check_fps
from ..plan.settings import RunSettings
from ..sampling.solvers import SOLVERS
from ..wording import said

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from .video_end import FrameOf

#: A picture as users have it: a file, a PIL image, an array (H, W, 3) uint8, or a frame of a video.
Picture: TypeAlias = "str | Path | Image.Image | np.ndarray | FrameOf"

#: The highest sigma_EDM that Cosmos samples at.
_MAX_SIGMA = 80.0


@dataclass(frozen=True, eq=False)
class GenerationRequest(RunSettings):
    """What is asked of one video; how the run goes is said as in `RunSettings`.

    Attributes:
        negative_prompt: read only where guidance is used (cfg other than 1).
        image: the first frame, for the image models; scaled to cover the frame and cut around its centre.
        last_image: the last frame, for the models with mask channels (I2V).
        first_frames: the first frames, instead of one image, for the models that go on from several (Cosmos: 1 or 5);
            each is fitted like an image.
        num_frames, height, width, fps: None for what the model makes by default; with an image and neither height nor
            width, a frame of the default area in the image's proportions.
        solver: a key of `SOLVERS`.
        embedded_guidance: what a guidance-distilled model (HunyuanVideo) is told of guidance, in the same pass and
            beside cfg; None for the model's own. Models that are told none refuse it.
        latents: raw VAE latents (1, C, F, H, W) to start from, with denoise below 1.
        sigma_conditioning: the noise that known frames are said to carry, as sigma_EDM, for the models that are told
            such a level (Cosmos); None for their own, 1e-4.
    """

    prompt: str
    negative_prompt: str = ""
    image: Picture | None = None
    last_image: Picture | None = None
    first_frames: Sequence[Picture] | None = None
    _: KW_ONLY
    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    seed: int = 0
    solver: str = "euler"
    embedded_guidance: float | None = None
    latents: Tensor | None = None
    sigma_conditioning: float | None = None

    # Pictures and latents do not compare, so neither do requests, although the settings of their runs would.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def has_picture(self) -> bool:
        """Whether a picture is shown to the model."""
        return any(given is not None for given in (self.image, self.last_image, self.first_frames))

    def __post_init__(self) -> None:
        from ..sampling.noise import MAX_SEED

        super().__post_init__()
        for name in ("prompt", "negative_prompt"):
            if not isinstance(getattr(self, name), str):
                raise RequestError(
                    name,
                    f"{getattr(self, name)!r:.60} is not text",
                    expected="a string, perhaps empty",
                    remedy="Give a text",
                )
        whole_number(self.seed, "seed", RequestError, low=0, high=MAX_SEED)
        known(self.solver, SOLVERS, "solver", RequestError)
        if self.embedded_guidance is not None:
            finite_number(self.embedded_guidance, "embedded_guidance", RequestError)
        if self.fps is not None:
            check_fps(self.fps, "fps", RequestError)
        if self.sigma_conditioning is not None:
            self._check_sigma_conditioning(self.sigma_conditioning)
        if self.latents is not None:
            self._check_latents()
        if self.denoise != 1 and self.latents is None:
            remedy = "Give latents, or leave denoise at 1"
            raise RequestError("denoise", f"{self.denoise!r} has nothing to start from", remedy=remedy)

    def _check_latents(self) -> None:
        from torch import Tensor

        if not isinstance(self.latents, Tensor):
            raise RequestError(
                "latents",
                f"{self.latents!r:.60} are none",
                expected="a tensor (1, C, F, H, W)",
                remedy="Give a tensor, or leave them out",
            )

    @staticmethod
    def _check_sigma_conditioning(sigma: float) -> None:
        if not 0 <= finite_number(sigma, "sigma_conditioning", RequestError) <= _MAX_SIGMA:
            what = said("{sigma:g} is out of range", sigma=sigma)
            expected = said("{low:g} to {high:g}", low=0, high=_MAX_SIGMA)
            raise RequestError("sigma_conditioning", what, expected=expected, remedy="Choose a number in that range")

    def clip(self, spec: ModelSpec) -> Clip:
        """Return the clip this asks of a model, its pictures read and fitted, or say why the model cannot make it."""
        self._check_pictures(spec)
        if self.embedded_guidance is not None and spec.embedded_guidance is None:
            what = f"{spec.title} is told of no guidance"
            raise RequestError("embedded_guidance", what, remedy="Leave it out, and set cfg instead")
        last = None if self.last_image is None else open_picture(self.last_image)
        given = self.first_frames or ([] if self.image is None else [self.image])
        known = tuple(open_picture(picture) for picture in given)
        first = known[0] if known else None
        num_frames, height, width, fps = astuple(spec.default_clip)
        if first is not None and self.height is None and self.width is None:
            height, width = _in_proportion(first, height * width, _grid(spec))
        clip = Clip.of(
            spec,
            num_frames=num_frames if self.num_frames is None else self.num_frames,
            height=height if self.height is None else self.height,
            width=width if self.width is None else self.width,
            fps=fps if self.fps is None else float(self.fps),
            known=known,
            last=last,
        )
        if self.latents is not None and tuple(self.latents.shape) != clip.latent_shape:
            expected = f"{clip.latent_shape} for {clip.num_frames} frames of {clip.width}x{clip.height}"
            raise RequestError(
                "latents",
                f"their shape is {tuple(self.latents.shape)}",
                expected=expected,
                remedy="Give latents of that size",
            )
        return clip

    def _check_pictures(self, spec: ModelSpec) -> None:
        if self.sigma_conditioning is not None and not any(spec.known_latents):
            no_level = said("{model} is not told the noise of known frames", model=spec.title)
            raise RequestError("sigma_conditioning", no_level, remedy="Leave it out")
        if self.first_frames is not None:
            self._check_first_frames(spec)
        elif self.image is not None and not (spec.image_conditioned or spec.expand_timesteps):
            what = f"{spec.title} makes video from text alone"
            raise RequestError("image", what, remedy="Leave the image out")
        if self.image is None and spec.image_conditioned and self.first_frames is None:
            raise RequestError("image", f"{spec.title} continues a picture and none is given", remedy="Give an image")
        if self.last_image is None and spec.first_and_last:
            what = f"{spec.title} goes from a first to a last picture and no last one is given"
            raise RequestError("last_image", what, remedy="Give a last_image")
        if self.last_image is not None and not spec.image_conditioned:
            what = f"{spec.title} has no way to be told its last frame"
            raise RequestError("last_image", what, remedy="Leave it out")

    def _check_first_frames(self, spec: ModelSpec) -> None:
        counts = [(latents - 1) * spec.vae_stride[0] + 1 for latents in spec.known_latents if latents]
        if not counts:
            what = f"{spec.title} does not go on from several frames"
            raise RequestError("first_frames", what, remedy="Give an image, or nothing")
        if self.image is not None:
            what = "an image is given as well, which is the first frame too"
            raise RequestError("first_frames", what, expected="one of the two", remedy="Leave one out")
        if not isinstance(self.first_frames, Sequence) or isinstance(self.first_frames, str):
            what = f"{self.first_frames!r:.60} is no list of pictures"
            raise RequestError("first_frames", what, expected="pictures, the first one first", remedy="Give a list")
        if len(self.first_frames) not in counts:
            what = f"{len(self.first_frames)} frames for {spec.title} to go on from"
            expected = " or ".join(map(str, counts))
            raise RequestError("first_frames", what, expected=expected, remedy="Give so many")


@dataclass(frozen=True, eq=False)
class Clip:
    """The video to make, in numbers that fit the model.

    Attributes:
        latent_shape: (1, C, F, H, W).
        known: the first frames that are given, of exactly the clip's size; empty where there are none.
        last: the last frame, of that size, or None.
    """

    num_frames: int
    height: int
    width: int
    fps: float
    latent_shape: tuple[int, int, int, int, int]
    known: tuple[Image.Image, ...] = ()
    last: Image.Image | None = None

    @property
    def first(self) -> Image.Image | None:
        """The first frame, where it is given."""
        return self.known[0] if self.known else None

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        *,
        num_frames: int,
        height: int,
        width: int,
        fps: float,
        known: Sequence[Image.Image] = (),
        last: Image.Image | None = None,
    ) -> Clip:
        """Check the numbers against the model's grid and fit the pictures."""
        stride, rows, columns = spec.vae_stride
        for name, value, step in zip(("height", "width"), (height, width), _grid(spec), strict=True):
            _on_grid(name, value, step, 0, f"a multiple of {step}", spec.max_positions)
        _on_grid("num_frames", num_frames, stride, 1, f"{stride} k + 1", spec.max_positions)
        shape = (1, spec.latent_channels, (num_frames - 1) // stride + 1, height // rows, width // columns)
        if known and num_frames <= len(known) > 1:
            what = f"{num_frames} frames are not more than the {len(known)} that are given"
            raise RequestError("num_frames", what, remedy="Ask for more")
        fitted = tuple(fit_picture(picture, height, width) for picture in known)
        if last is not None and num_frames == 1:
            raise RequestError("last_image", "a clip of 1 frame has no last frame of its own", remedy="Leave it out")
        end = None if last is None else fit_picture(last, height, width)
        return cls(num_frames, height, width, fps, shape, fitted, end)


def open_picture(picture: Picture) -> Image.Image:
    """Return a picture as a PIL image in RGB."""
    import numpy as np
    from PIL import Image

    from ..media.picture import read_image
    from .video_end import FrameOf

    if isinstance(picture, FrameOf):
        return picture.picture()
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            what = f"an array of shape {picture.shape} and type {picture.dtype}"
            raise RequestError("image", what, expected="(H, W, 3) of uint8", remedy="Convert it first")
        return Image.fromarray(picture)
    if isinstance(picture, str | Path):
        return read_image(picture)
    raise RequestError(
        "image",
        f"{type(picture).__name__} is no picture",
        expected="a file, PIL image or array",
        remedy="Give a picture",
    )


def fit_picture(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Scale a picture to cover (height, width) and cut it around its centre, as ComfyUI's WanImageToVideo does."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _grid(spec: ModelSpec) -> tuple[int, int]:
    """Return what height and width must be multiples of: VAE stride times patch size."""
    return spec.vae_stride[1] * spec.patch_size[1], spec.vae_stride[2] * spec.patch_size[2]


def _in_proportion(image: Image.Image, area: int, grid: tuple[int, int]) -> tuple[int, int]:
    """Return height and width on the grid, of about `area` pixels, in the picture's proportions."""
    side, tall = math.sqrt(area), math.sqrt(image.height / image.width)
    height, width = (
        max(step, round(s / step) * step) for step, s in zip(grid, (side * tall, side / tall), strict=True)
    )
    return height, width


def _on_grid(name: str, value: object, step: int, offset: int, rule: str, max_positions: int | None) -> None:
    most = None if max_positions is None else (max_positions - offset) * step + offset
    number = whole_number(value, name, RequestError, low=offset or step, high=most)
    below = (number - offset) // step * step + offset
    if number != below:
        raise RequestError(
            name, f"{number} is not {rule}", expected=f"nearest: {below} or {below + step}", remedy="Choose one of them"
        )
