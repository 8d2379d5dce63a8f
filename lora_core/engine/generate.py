"""Headless generation: a model, a request and a stack in; a video out, with a record it can be made from again.

Letters: T frames, H W pixels. Dtype policy: pictures and latents in float32, the experts in the model's dtype.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..attention.settings import RadialSettings
from ..attention.wishes import RadialWishes
from ..checkpoints.hashes import hashes_of
from ..checks import typed
from ..errors import ModelError, RequestError
from ..families.condition import Condition
from ..families.family import Texts
from ..families.opened import OpenedModel
from ..families.registry import family_of
from ..media.video import save_video
from ..plan.length import length_notes
from ..plan.plan import SamplingPlan
from ..refiner.refine import check_refiner, fitted, refine
from ..refiner.refined import Refined, Refiner
from ..regions.clip_mask import mask_notes
from ..sampling.context_parallel import ContextParallel
from ..sampling.guide import GuideNetworks
from ..sampling.noise import draw_noise
from ..sampling.sample import StepCallback, sample
from ..stack.loaded import LoadedStack
from ..stack.stack import LoraStack
from ..stack.trigger_words import trigger_words_of
from ..training.clips.encode import to_pixels
from .checked import CheckedRequest, check_request, size_of
from .guarding import Guard, Guardrail
from .guide import Guide
from .notes import guide_notes, prompt_notes
from .record import GuideFacts, make_record
from .request import Clip, GenerationRequest
from .shared import Shared, beginning_of
from .stopwatch import Stopwatch, whole_seconds

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Video:
    """A finished video and everything known of how it was made.

    Attributes:
        frames: (T, H, W, 3) uint8.
        latents: (1, C, F, H, W) raw VAE latents, float32 on the CPU.
        timings: phase -> seconds; "step 0", "step 1", ... are parts of "sampling".
        notes: what was noticed about stack, plan and prompts, as lines of text; see `notes.py`.
        record: all settings, versions, hashes and timings, ready for JSON; see `record.py`.
    """

    frames: np.ndarray
    fps: float
    latents: Tensor
    plan: SamplingPlan
    timings: dict[str, float]
    notes: tuple[str, ...]
    record: dict[str, object]

    @property
    def prompt(self) -> str:
        """What it was made of: the prompt as its refiner has written it, where there was one."""
        return str(self.record["request"]["prompt"])  # type: ignore[index]  # a record has one

    @property
    def seconds(self) -> float:
        """How long it took in all."""
        return whole_seconds(self.timings)

    def save(self, path: str | Path, *, scale: int = 1) -> Path:
        """Write the frames to a file or folder; see `save_video`."""
        return save_video(self.frames, path, self.fps, scale=scale)


@typed(RequestError)
def generate(
    model: OpenedModel,
    request: GenerationRequest,
    stack: LoraStack | LoadedStack | None = None,
    *,
    allow_partial: bool = False,
    download: bool = False,
    guide: Guide | None = None,
    radial: RadialSettings | RadialWishes | None = None,
    parallel: ContextParallel | None = None,
    guardrail: Guardrail = None,
    refiner: Refiner | None = None,
    shared: Shared | None = None,
    callback: StepCallback | None = None,
    on_phase: Callable[[str], None] = lambda phase: None,
) -> Video:
    """Make one video; everything that can be known to be wrong is said before a network runs.

    Threads that use the same model take turns, and get what each alone would get.

    Args:
        model: an opened model.
        request: what to make.
        stack: the LoRAs, none by default; loaded for this model unless they are.
        allow_partial: let files through in which some tensors match nothing, of a stack that is not loaded yet.
        download: fetch its repositories on Hugging Face that the local cache lacks.
        guide: a small model whose LoRAs steer this one; `allow_partial` and `download` hold for its stack too.
        radial: let self-attention leave out pairs of tokens that lie far apart in time, by these settings or the usual
            ones with these wishes; None for dense attention.
        parallel: the processes that compute the networks together, each of which calls this with the same arguments
            and gets the same video; without guide, radial attention and refiner.
        guardrail: what may stop the prompt before a network runs, and the video before it is given out; or why there
            is none, for the record. Nothing is looked for where none is given.
        refiner: what writes the prompt more fully; where it fails, or loses a trigger word of the stack, quoted text or
            a number, the prompt is used as it was. It has left the memory before a network runs. See `refiner/`.
        shared: what is kept from one video to the next: a prompt that was embedded is not embedded again, and a run
            that begins as the last one did goes on from its switch, and makes the bits that it makes alone.
        callback: called as `callback(step, num_steps, x0)` after each prediction, x0 in raw latents; raise to cancel.
        on_phase: called with the name of each phase as it begins: "prompt" where it is refined or checked, "files",
            "text", "picture", "sampling", "decoding", "guardrail" where there is one.
    """
    checked = check_request(
        model,
        request,
        stack,
        allow_partial=allow_partial,
        download=download,
        guide=guide,
        radial=radial,
        parallel=parallel,
        refiner=refiner,
    )
    guard, watch = Guard.of(guardrail, model), Stopwatch(on_phase)
    request, refined = _prompted(model, request, checked, refiner, guard, watch)
    with watch.phase("files"):  # first: nothing is lost yet if one cannot be read, and networks will find them read
        hashes, guide = hashes_of(model.files), checked.guide
        told = None if guide is None else GuideFacts(guide, hashes_of(guide.model.files))
    with model.lock:
        latents, frames = _run(model, request, checked, parallel, shared, watch, callback)
    frames, num_changed = _guarded(frames, guard, watch)
    refining = () if refined is None else (refined.note(),)
    notes = (*refining, *_notes(model, request, checked), *guard.notes(num_changed))
    record = make_record(
        model,
        request,
        checked.clip,
        checked.loaded,
        checked.plan,
        latents,
        hashes,
        guide=told,
        radial=checked.radial,
        masks=checked.masks,
        num_processes=1 if parallel is None else parallel.num_processes,
        beside={"refiner": None if refined is None else refined.row(), "guardrail": guard.row(num_changed)},
        timings=watch.seconds,
        notes=notes,
    )
    clip, plan = checked.clip, checked.plan
    video = Video(frames, clip.fps, latents, plan, watch.seconds, (*plan.notes, *notes), record)
    _log.info("made %d frames of %dx%d in %.1f s", clip.num_frames, clip.width, clip.height, video.seconds)
    return video


def _notes(model: OpenedModel, request: GenerationRequest, checked: CheckedRequest) -> tuple[str, ...]:
    """Return what was noticed about the prompts and the LoRAs in this run."""
    clip, loaded, plan, radial = checked.clip, checked.loaded, checked.plan, checked.radial
    return (
        *prompt_notes(model, request, loaded, plan),
        *guide_notes(model, clip, plan, request, checked.guide),
        *mask_notes(checked.masks, plan.route.all, size_of(clip)),
        *length_notes(loaded, clip.num_frames, is_radial=radial is not None),
        *(() if radial is None else radial.notes()),
    )


def _prompted(
    model: OpenedModel,
    request: GenerationRequest,
    checked: CheckedRequest,
    refiner: Refiner | None,
    guard: Guard,
    watch: Stopwatch,
) -> tuple[GenerationRequest, Refined | None]:
    """Return the request with its prompt refined, both prompts having passed the guardrail."""
    check_refiner(refiner)
    if refiner is None and guard.checker is None:
        return request, None
    with watch.phase("prompt"):
        guard.check_text(request.prompt, "prompt")
        if refiner is None:
            return request, None
        suited = fitted(refiner, model.spec, has_picture=request.has_picture)
        refined = refine(request.prompt, suited, protected=trigger_words_of(checked.loaded))
        if refined.prompt != request.prompt:
            guard.check_text(refined.prompt, "refined prompt")
    return replace(request, prompt=refined.prompt), refined


def _guarded(frames: np.ndarray, guard: Guard, watch: Stopwatch) -> tuple[np.ndarray, int]:
    """Return the frames as the guardrail lets them be shown, and how many of them it changed."""
    if guard.checker is None:
        return frames, 0
    with watch.phase("guardrail"):
        shown = guard.check_video(frames)
    return shown, int((shown != frames).any(axis=(1, 2, 3)).sum())


def _run(
    model: OpenedModel,
    request: GenerationRequest,
    checked: CheckedRequest,
    parallel: ContextParallel | None,
    shared: Shared | None,
    watch: Stopwatch,
    callback: StepCallback | None,
) -> tuple[Tensor, np.ndarray]:
    """Run the networks; return latents and frames."""
    clip, plan, guide, radial = checked.clip, checked.plan, checked.guide, checked.radial
    begins = None if shared is None else beginning_of(model.spec, request, checked)
    shared = shared or Shared()
    with watch.phase("text"):
        positive = shared.embed(model, request.prompt)
        negative = shared.embed(model, request.negative_prompt) if plan.reads_negative else None
    with watch.phase("picture"):
        condition = replace(_told(model, (positive, negative), clip), known_sigma=request.sigma_conditioning)
        if request.embedded_guidance is not None:
            condition = replace(condition, embedded_guidance=torch.tensor([float(request.embedded_guidance)]))
        beside = None if guide is None else _guide_networks(guide, (positive, negative), clip)
    with watch.phase("sampling"):
        latents = sample(
            model,
            plan,
            draw_noise(clip.latent_shape, request.seed),
            condition,
            start=request.latents,
            solver=request.solver,
            seed=request.seed,
            guide=beside,
            radial=radial,
            parallel=parallel,
            masks=checked.masks,
            at_switch=None if begins is None else shared.at_switch(begins),
            on_switch=None if begins is None else partial(shared.keep, begins),
            callback=watch.each_step(callback),
        )
    _check_finite(model, latents)
    with watch.phase("decoding"):
        return latents, to_frames(model.vae_decode(latents))


def _guide_networks(guide: Guide, texts: Texts, clip: Clip) -> GuideNetworks:
    """Return the guide's networks with what they are told: the same texts, and pictures where they take any."""
    return GuideNetworks(guide.model, _told(guide.model, texts, clip, with_pictures=guide.takes_pictures))


def _told(model: OpenedModel, texts: Texts, clip: Clip, *, with_pictures: bool = True) -> Condition:
    """Return what a model's networks are told of a clip; several first frames by their latents."""
    pictures = (clip.first, clip.last) if with_pictures else (None, None)
    told = replace(family_of(model.spec).condition(model, texts, pictures, clip.num_frames), fps=clip.fps)
    if len(clip.known) < 2 or not with_pictures:
        return told
    frames = to_pixels(np.stack([np.asarray(frame) for frame in clip.known]))
    return replace(told, known_frames=model.normalise(model.vae_encode(frames)))


def _check_finite(model: OpenedModel, latents: Tensor) -> None:
    if not latents.isfinite().all():
        what = f"the latents came out infinite or NaN, computed in {model.dtype}"
        raise ModelError(
            model.spec.title, what, remedy="Lower the LoRAs' strengths or cfg, or open it in a wider dtype"
        )


def to_frames(decoded: Tensor) -> np.ndarray:
    """Turn a decoded clip (1, 3, T, H, W) in [-1, 1] into frames (T, H, W, 3) uint8."""
    frames = ((decoded[0].float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return frames.permute(1, 2, 3, 0).cpu().numpy()
