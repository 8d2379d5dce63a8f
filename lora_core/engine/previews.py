"""Previews of a training: videos of the same prompts and noise, made with what has been learnt so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..families.opened import OpenedModel
from ..media.contact_sheet import contact_sheet
from ..media.video import read_video, save_video
from ..training.checkpoints import checkpoint_name, checkpoints_in, step_of
from ..training.clips.cached import CachedClip, read_example
from ..training.settings.watching import WatchingSettings
from .generate import generate, to_frames
from .request import GenerationRequest

#: Small clips are enlarged to about this height, so that people can see them.
_HEIGHT_PX = 256
#: How many captions are shown where no prompts are given.
_NUM_SHOWN = 3


@dataclass(frozen=True)
class Previews:
    """What is previewed, and where to.

    Attributes:
        folder: of the videos, `step-000100/1.mp4`; the sheets lie in it.
        prompts: one video each.
        num_frames, height, width: of the videos, those of the clips in training.
        pictures: the first and the last picture that videos have, for models that begin with one; taken in turn.
        writes: False in a process that only takes part in another one's previews, whose weights it has a share of.
    """

    folder: Path
    prompts: tuple[str, ...]
    settings: WatchingSettings
    num_frames: int
    height: int
    width: int
    pictures: tuple[tuple[Image.Image, Image.Image], ...] = ()
    writes: bool = True

    def __call__(self, step: int, model: OpenedModel) -> Path | None:
        """Make the videos of a step, and draw the sheet anew with them; returns the sheet where it writes one."""
        for number, prompt in enumerate(self.prompts, 1):
            video = generate(model, self.request(number, prompt, model))
            scale = max(1, _HEIGHT_PX // self.height)
            if self.writes:
                save_video(video.frames, self._file(step, number), video.fps, scale=scale)
        return self.draw_sheet() if self.writes else None

    def draw_sheet(self) -> Path:
        """Draw all steps that have been previewed, one below the other; returns the sheet."""
        path = self.folder / "sheet.png"
        rows = [(step, number) for step in self._steps() for number in range(1, len(self.prompts) + 1)]
        return self._draw(rows, path, "previews, step by step")

    def compare(self, num_steps: int = 3) -> Path | None:
        """Draw the base and some steps, evenly spread up to the last, prompt by prompt; None where none was previewed.

        It is what a checkpoint is chosen by.
        """
        there = self._steps()
        if not there:
            return None
        places = {round(i * (len(there) - 1) / num_steps) for i in range(num_steps + 1)}
        rows = [(there[i], number) for number in range(1, len(self.prompts) + 1) for i in sorted(places)]
        return self._draw(rows, self.folder / "compare.png", "checkpoints, on the same noise")

    def request(self, number: int, prompt: str, model: OpenedModel) -> GenerationRequest:
        """Ask for the video of a prompt, which is the number-th from 1."""
        spec, settings = model.spec, self.settings
        first, last = self.pictures[(number - 1) % len(self.pictures)] if self.pictures else (None, None)
        return GenerationRequest(
            prompt,
            negative_prompt=settings.preview_negative,
            num_steps=settings.preview_steps or spec.default_num_steps,
            cfg=settings.preview_cfg or spec.default_cfg,
            shift=spec.default_shift,
            seed=settings.preview_seed,
            num_frames=self.num_frames,
            height=self.height,
            width=self.width,
            image=first,
            last_image=last if spec.first_and_last else None,
        )

    def _draw(self, rows: Sequence[tuple[int, int]], path: Path, title: str) -> Path:
        there = [(step, number) for step, number in rows if self._file(step, number).is_file()]
        clips = (read_video(self._file(step, number))[0] for step, number in there)  # one at a time, for they are large
        labels = [f"{'base' if step == 0 else f'step {step}'}\n{self.prompts[number - 1]}" for step, number in there]
        return contact_sheet(clips, labels, path, title=title)

    def _steps(self) -> list[int]:
        return [step_of(path) for path in checkpoints_in(self.folder)]

    def _file(self, step: int, number: int) -> Path:
        return self.folder / checkpoint_name(step) / f"{number}.mp4"


def make_previews(
    folder: Path, model: OpenedModel, settings: WatchingSettings, clips: Sequence[CachedClip], *, writes: bool = True
) -> Previews | None:
    """Return the previews that the settings ask for, or None where they ask for none.

    Args:
        folder: where to.
        model: the model; what previews need of it is looked for now.
        settings: what is shown, and how often.
        clips: those in training. Previews have the size of the first; where no prompts are given they show the
            captions of the first few, and a model that begins with a picture begins with theirs.
        writes: whether this process writes what is shown.
    """
    if not settings.preview_every:
        return None
    needs_picture = model.spec.image_conditioned or bool(model.spec.known_latents)
    model.require(text=True, vae=True, picture=needs_picture)
    by_caption = {clip.captions[0]: clip for clip in reversed(clips)}
    shown = list(reversed(by_caption.values()))[:_NUM_SHOWN]
    prompts = settings.preview_prompts or tuple(clip.captions[0] for clip in shown)
    pictures = tuple(_ends_of(clip, model) for clip in shown) if needs_picture else ()
    stride, (_, frames, rows, columns) = model.spec.vae_stride, clips[0].shape
    num_frames = (frames - 1) * stride[0] + 1
    return Previews(folder, prompts, settings, num_frames, rows * stride[1], columns * stride[2], pictures, writes)


def _ends_of(clip: CachedClip, model: OpenedModel) -> tuple[Image.Image, Image.Image]:
    """Return the first and the last picture of a clip, as the trainer sees them."""
    latents = read_example(clip).latents[None]
    frames = to_frames(model.vae_decode(model.denormalise(latents)))
    return Image.fromarray(frames[0]), Image.fromarray(frames[-1])
