"""The teacher of a `speed` training: the model's own guided runs, recorded at the student's noise levels.

Letters: B batch, C latent channels, F latent frames, H W latent height and width; N student steps.
Dtype policy: states float32, the networks in their own dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ..atomic import replacing
from ..checkpoints.saving import save_tensors
from ..experts import Expert, expert_at
from ..families.condition import Condition
from ..families.opened import OpenedModel
from ..wording import expert_named, said
from .batches import make_batch, seed_of
from .clips.cached import CachedClip, ClipCache
from .levels import grid
from .network.sharing import sharing_copy
from .objectives.objective import Call
from .objectives.speed import Trajectories
from .settings.noise import NoiseSettings

#: A network's call, of a network.
MakeCall = Callable[[torch.nn.Module], Call]
#: Runs of held-out clips' captions, at most.
_MAX_HELD_OUT = 8


@dataclass(frozen=True)
class Lesson:
    """One run of the teacher: what it was told of, and where its states are."""

    clip: CachedClip
    text: int
    seed: int
    file: Path


@dataclass(frozen=True, eq=False)
class Teacher:
    """What is asked of the teacher.

    Attributes:
        folder: where its runs are kept.
        shift: of its noise levels.
        boundary: the level from which the high-noise expert works; None for one expert.
        cfg: guidance of (high_noise, low_noise).
        fold: let a copy of a network take folded texts (`Family.fold_padding`).
        make_call: how a network is called.
        max_tokens: what texts are padded to; None where padding is folded.
        num_known: how many first latent frames of a clip its runs are given.
        fps: what the network is told of the clips' rate; None for the model's own.
    """

    folder: Path
    cache: ClipCache
    noise: NoiseSettings
    shift: float
    boundary: float | None
    cfg: tuple[float, float]
    seed: int
    max_tokens: int | None
    num_known: int
    fps: float | None
    make_call: MakeCall
    fold: Callable[[torch.nn.Module], object]

    @property
    def levels(self) -> tuple[float, ...]:
        """The student's N + 1 noise levels."""
        return grid(self.noise.student_steps, self.shift)

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """The runs to train on: the clips' captions in turn, each with noise of its own."""
        return self._lessons(self.cache.trained, self.noise.num_trajectories, "teacher")

    @property
    def held_out(self) -> tuple[Lesson, ...]:
        """The runs to measure with."""
        return self._lessons(self.cache.held_out, min(_MAX_HELD_OUT, len(self.cache.held_out)), "held out teacher")

    def record(self, model: OpenedModel, batch_size: int, progress: Callable[[int, int, str], object]) -> None:
        """Let the model make the runs that are not there yet: all of them with one expert, then with the other."""
        lessons = (*self.lessons, *self.held_out)
        for expert in model_experts(self.boundary):
            last = 1 + self.steps_of(expert)[-1]
            missing = [lesson for lesson in lessons if _num_states(lesson.file) <= last]
            if not missing:
                continue
            network = sharing_copy(model.expert(expert))
            self.fold(network)
            call = self.make_call(network)
            done = 0
            for batch in _batches(missing, batch_size):
                self._walk(call, batch, self.steps_of(expert), model)
                done += len(batch)
                progress(done, len(missing), said("teacher's runs, {expert}", expert=expert_named(expert)))

    def steps_of(self, expert: Expert) -> range:
        """Return the student's steps that are an expert's."""
        own = [i for i, t in enumerate(self.levels[:-1]) if expert_at(t, self.boundary) == expert]
        return range(own[0], own[-1] + 1) if own else range(0)

    def read(self, lessons: Sequence[Lesson], expert: Expert) -> Trajectories:
        """Return the part of some runs that is an expert's."""
        steps = self.steps_of(expert)
        span = slice(steps.start, steps.stop + 1)
        states = torch.stack([_read_states(lesson.file)[span] for lesson in lessons], dim=1)
        captions = tuple(lesson.clip.captions[lesson.text] for lesson in lessons)
        return Trajectories(states, self.levels[span], self._told(lessons), captions)

    @torch.no_grad()
    def _walk(self, call: Call, lessons: Sequence[Lesson], steps: range, model: OpenedModel) -> None:
        """Make the runs' next states, along the teacher's levels between the student's."""
        stride = self.noise.teacher_steps // self.noise.student_steps
        levels = grid(self.noise.teacher_steps, self.shift)[steps.start * stride : steps.stop * stride + 1]
        states = [self._states_before(lesson, steps.start) for lesson in lessons]
        told = self._told(lessons).to(model.device, model.dtype)
        x = told.keep_known(torch.stack([own[-1] for own in states]).to(model.device))
        new = []
        for i, (t, t_next) in enumerate(pairwise(levels), 1):
            x = told.keep_known(x + (t_next - t) * self._guided(call, x, t, told))
            if i % stride == 0:
                new.append(x.cpu())
        for number, (lesson, own) in enumerate(zip(lessons, states, strict=True)):
            _write_states(torch.cat([own, torch.stack([state[number] for state in new])]), lesson.file)

    def _guided(self, call: Call, x: Tensor, t: float, told: Condition) -> Tensor:
        level = x.new_full((len(x),), t)
        cfg = self.cfg[0 if expert_at(t, self.boundary) == "high_noise" else 1]
        positive = call(x, level, told)
        if cfg == 1:
            return positive
        assert told.negative is not None
        negative = call(x, level, replace(told, positive=told.negative))
        return negative + cfg * (positive - negative)

    def _told(self, lessons: Sequence[Lesson]) -> Condition:
        clips = [lesson.clip for lesson in lessons]
        generator, level = torch.Generator(), torch.zeros(len(clips))
        texts = [lesson.clip.texts[lesson.text] for lesson in lessons]
        batch = make_batch(clips, texts, level, generator, self.max_tokens)
        told = batch.knowing(self.num_known, self.fps).condition
        num_tokens = told.positive.shape[1]
        empty = make_batch(clips[:1], [self.cache.empty_text], level[:1], generator, num_tokens).condition.positive
        return replace(told, negative=empty.expand(len(clips), -1, -1))

    def _states_before(self, lesson: Lesson, step: int) -> Tensor:
        if step > 0:
            return _read_states(lesson.file)[: step + 1]
        generator = torch.Generator().manual_seed(lesson.seed)
        return torch.randn(1, *lesson.clip.shape, generator=generator)

    def _lessons(self, clips: Sequence[CachedClip], count: int, stream: str) -> tuple[Lesson, ...]:
        lessons = []
        for number in range(count):
            clip = clips[number % len(clips)]
            text = number // len(clips) % len(clip.texts)
            seed = seed_of(self.seed, stream, number)
            lessons.append(Lesson(clip, text, seed, self.folder / f"{stream.split()[0]}_{number:05d}.safetensors"))
        return tuple(lessons)


def model_experts(boundary: float | None) -> tuple[Expert, ...]:
    """Return the experts that a run passes through, in order."""
    return ("low_noise",) if boundary is None else ("high_noise", "low_noise")


@dataclass(frozen=True, eq=False)
class LessonSource:
    """An endless row of batches of the teacher's runs, for one expert; see `batches.BatchSource`."""

    teacher: Teacher
    expert: Expert
    batch_size: int
    seed: int

    def __getitem__(self, number: int) -> Trajectories:
        """Return a batch by its number, counted from 0."""
        groups = list(_batches(self.teacher.lessons, self.batch_size))
        pass_number, place = divmod(number, len(groups))
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.expert, "pass", pass_number))
        order = torch.randperm(len(self.teacher.lessons), generator=generator).tolist()
        shuffled = [self.teacher.lessons[index] for index in order]
        return self.teacher.read(list(_batches(shuffled, self.batch_size))[place], self.expert)

    def held_out(self, num_levels: int) -> tuple[Trajectories, ...]:
        """Return the runs to measure with; their levels are the student's own, however many are asked for."""
        return tuple(self.teacher.read(batch, self.expert) for batch in _batches(self.teacher.held_out, 1))


def _batches(lessons: Sequence[Lesson], size: int) -> Iterator[Sequence[Lesson]]:
    """Yield runs of one shape together."""
    by_shape: dict[tuple[int, ...], list[Lesson]] = {}
    for lesson in lessons:
        by_shape.setdefault(lesson.clip.shape, []).append(lesson)
    for same in by_shape.values():
        yield from (same[i : i + size] for i in range(0, len(same), size))


def _num_states(file: Path) -> int:
    """Return how many states are in a file; 0 where there is none, or a damaged one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            return int(opened.get_slice("states").get_shape()[0])
    except (SafetensorError, OSError):
        return 0


def _read_states(file: Path) -> Tensor:
    from safetensors.torch import load_file

    return load_file(file)["states"]


def _write_states(states: Tensor, file: Path) -> None:
    with replacing(file) as temporary:
        save_tensors({"states": states.contiguous()}, temporary, {})
