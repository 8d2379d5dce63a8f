"""The learners of a training, put together from a model, its clips and the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from ..errors import TrainingError, relocated
from ..experts import EXPERTS, Expert, expert_at
from ..families.base import ModelSpec
from ..families.condition import Condition
from ..families.opened import OpenedModel
from ..families.registry import family_of, spec_of_module
from ..wording import said
from .batches import BatchSource
from .clips.cached import ClipCache
from .config import TrainConfig
from .learner import Learner
from .lengths import GrowingSource, lengths_of
from .levels import Levels, grid
from .network.sharing import lent_copy
from .network.targets import check_rank, chosen_layers
from .network.trainee import Trainee, make_trainee
from .objectives.objective import Material
from .objectives.table import OBJECTIVES
from .ranks import Ranks
from .settings.learning import LearningSettings
from .settings.noise import FROM_RUNS, NoiseSettings
from .teacher import LessonSource, Teacher
from .turns import Turns


class Source(Protocol):
    """Where an expert's batches come from."""

    def __getitem__(self, number: int) -> Material:
        """Return a batch by its number, counted from 0; there is no last one."""

    def held_out(self, num_levels: int) -> tuple[Material, ...]:
        """Return the batches to measure with, the same every time; none where nothing is held out."""


def chosen_experts(choice: str, spec: ModelSpec) -> tuple[Expert, ...]:
    """Return the experts that learn; a model of one has it under "low_noise", whatever is chosen."""
    if spec.num_experts == 1:
        if choice == "high":
            what = said("{spec} has one expert, for all noise levels", spec=spec.title)
            raise TrainingError("experts", what, remedy="Leave it out")
        return (EXPERTS[1],)
    return {"both": EXPERTS, "high": EXPERTS[:1], "low": EXPERTS[1:]}[choice]


def turns_of(learning: LearningSettings, spec: ModelSpec) -> Turns:
    """Return whose turn each step is, every expert having one."""
    turns = Turns(chosen_experts(learning.experts, spec), learning.switch_every, learning.high_share)
    for expert in turns.experts:
        if turns.count(expert, learning.steps) == 0:
            what = said(
                "{steps} steps in turns of {switch_every} leave the {expert} expert none",
                steps=learning.steps,
                switch_every=learning.switch_every,
                expert=expert,
            )
            raise TrainingError("steps", what, remedy="Take more steps, or a smaller switch_every")
    return turns


def levels_of(noise: NoiseSettings, spec: ModelSpec) -> Levels:
    """Return the distribution of noise levels over both experts."""
    return Levels(noise.timesteps, noise.shift or spec.default_shift, noise.timestep_scale)


def known_latents(noise: NoiseSettings, spec: ModelSpec) -> tuple[int, ...]:
    """Return how many first latent frames are given, one of these numbers for each batch."""
    if noise.known_latents and not spec.expand_timesteps:
        what = said("{spec} is not told its first frames by their latents", spec=spec.title)
        raise TrainingError("known_frames", what, remedy="Leave it out")
    return noise.known_latents or spec.known_latents or (0,)


def boundary_of(noise: NoiseSettings, spec: ModelSpec) -> float | None:
    """Return the level from which the high-noise expert works; None for a model of one."""
    if noise.boundary and spec.boundary is None:
        raise TrainingError(
            "boundary", said("{spec} has one expert, for all noise levels", spec=spec.title), remedy="Leave it out"
        )
    return None if spec.boundary is None else noise.boundary or spec.boundary


def check_layers(config: TrainConfig, model: OpenedModel) -> None:
    """Raise where none of the layers are there that are to learn, or one is too small for the rank."""
    adapter = config.adapter
    network = model.at_rest(chosen_experts(config.learning.experts, model.spec)[0]).module
    with relocated(lambda where: "first_block" if where == "blocks" and adapter.first_block else where):
        layers = chosen_layers(network, spec_of_module(network), adapter.targets, adapter.used_blocks)
    if adapter.method != "full":
        check_rank(adapter.rank, layers)


def check_objective(config: TrainConfig, model: OpenedModel) -> None:
    """Raise where what is to be learnt cannot be: a judge that is not there, last steps that are another expert's."""
    noise, spec = config.noise, model.spec
    OBJECTIVES[noise.objective](config, model)
    if noise.objective != "reward":
        return
    if chosen_experts(config.learning.experts, spec) != EXPERTS[1:]:
        what = "a reward acts through the last steps, which are the low-noise expert's"
        raise TrainingError("experts", what, remedy="Set experts = low")
    boundary = boundary_of(noise, spec)
    levels = grid(noise.student_steps, noise.shift or spec.default_shift)[:-1]
    own = sum(expert_at(t, boundary) == EXPERTS[1] for t in levels)
    if noise.reward_steps > own:
        what = said(
            "of the last {reward_steps} steps of {student_steps} {own} are the low-noise expert's",
            reward_steps=noise.reward_steps,
            student_steps=noise.student_steps,
            own=own,
        )
        raise TrainingError(
            "reward_steps", what, expected=said("at most {most}", most=own), remedy="Lower it, or take more steps"
        )


@dataclass(frozen=True, eq=False)
class NetworkCall:
    """A call of a network of a family's model.

    Attributes:
        embedded_guidance: what a guidance-distilled network is told; None for what it is told when it makes videos.
            Clips are learnt at 1, the guidance that there is in them: musubi-tuner, finetrainers, diffusion-pipe.
    """

    network: nn.Module
    spec: ModelSpec
    embedded_guidance: float | None = 1.0

    def __call__(self, x: Tensor, level: Tensor, condition: Condition) -> Tensor:
        if self.spec.embedded_guidance is not None and self.embedded_guidance is not None:
            condition = replace(condition, embedded_guidance=level.new_full((1,), self.embedded_guidance))
        forward = family_of(self.spec).forward
        return forward(self.network, self.spec, x, level, condition.positive, condition)


def _trainee(expert: Expert, config: TrainConfig, model: OpenedModel, ranks: Ranks) -> Trainee:
    """Return an expert's trainee; one that owns all its tensors is made of the stored ones, layer by layer."""
    seed = config.learning.seed
    if ranks.is_sharded and config.adapter.offload:
        what = "weights that are shared out among processes cannot be kept in system memory"
        raise TrainingError("offload", what, remedy="Leave it out; more processes need less memory each")
    if _is_lent(config, ranks):
        return make_trainee(model.expert(expert), config.adapter, seed=seed)
    stored = model.at_rest(expert)
    if config.adapter.is_lent:
        return replace(make_trainee(lent_copy(stored), config.adapter, seed=seed), base=stored.module)
    # What is shared out goes to the device block by block; packing is work for the device, and leaves little.
    stays = ranks.is_sharded and config.adapter.method == "full"
    return make_trainee(stored, config.adapter, seed=seed, device="cpu" if stays else model.device)


def _is_lent(config: TrainConfig, ranks: Ranks) -> bool:
    """Say whether what is trained computes with the opened model's own tensors, which have to be brought."""
    return config.adapter.is_lent and not ranks.is_sharded


def _nothing() -> None:
    """Bring nothing: other networks own all their tensors."""


def make_learner(
    expert: Expert, config: TrainConfig, model: OpenedModel, source: Source, turns: Turns, ranks: Ranks
) -> Learner:
    """Return an expert's learner at its first step, on the compute device."""
    with ranks.as_one():
        trainee = _trainee(expert, config, model, ranks)
    if text_tokens(model) is None:
        family_of(model.spec).fold_padding(trainee.network)
    if config.learning.checkpointing:
        trainee.checkpointing(True)
    if config.learning.compile:
        trainee.compile()
    guidance = None if config.noise.objective in FROM_RUNS else NetworkCall.embedded_guidance
    return Learner(
        expert,
        trainee,
        partial(NetworkCall, spec=model.spec, embedded_guidance=guidance),
        source.__getitem__,
        OBJECTIVES[config.noise.objective](config, model),
        config.learning,
        total_steps=turns.count(expert, config.learning.steps),
        device=model.device,
        dtype=model.dtype,
        ranks=ranks,
        bring=partial(model.expert, expert) if _is_lent(config, ranks) else _nothing,
    )


def make_sources(
    config: TrainConfig, model: OpenedModel, cache: ClipCache, turns: Turns, teacher: Teacher | None, ranks: Ranks
) -> dict[Expert, Source]:
    """Return where each expert's batches come from: clips, or the runs of a teacher."""
    learning, noise = config.learning, config.noise
    if teacher is not None:
        return {expert: LessonSource(teacher, expert, learning.batch_size, learning.seed) for expert in turns.experts}
    levels, boundary = levels_of(noise, model.spec), boundary_of(noise, model.spec)
    sources = {
        expert: BatchSource(
            cache=cache,
            levels=levels.of(expert, boundary),
            batch_size=learning.batch_size,
            seed=learning.seed,
            stream=expert,
            caption_dropout=noise.caption_dropout,
            max_tokens=text_tokens(model),
            known=known_latents(noise, model.spec),
            fps=config.clips.fps or None,
        )
        for expert in turns.experts
    }
    return _growing(sources, config, model.spec, turns, ranks) if noise.objective == "extend-length" else dict(sources)


def _growing(
    sources: Mapping[Expert, BatchSource], config: TrainConfig, spec: ModelSpec, turns: Turns, ranks: Ranks
) -> dict[Expert, Source]:
    """Let batches grow to the length that is learnt."""
    lengths, learning = lengths_of(config, spec), config.learning
    each = learning.accumulation * ranks.num
    counts = {expert: turns.count(expert, learning.steps) * each for expert in sources}
    return {expert: GrowingSource(source, lengths, counts[expert]) for expert, source in sources.items()}


def make_teacher(config: TrainConfig, model: OpenedModel, cache: ClipCache, folder: Path) -> Teacher | None:
    """Return the teacher of a training on recorded runs, which are kept in a folder; None for one on clips."""
    noise, spec = config.noise, model.spec
    if noise.objective not in FROM_RUNS:
        return None
    cfg = (noise.teacher_cfg, noise.teacher_cfg) if noise.teacher_cfg else spec.default_cfg
    return Teacher(
        folder=folder,
        cache=cache,
        noise=noise,
        shift=noise.shift or spec.default_shift,
        boundary=boundary_of(noise, spec),
        cfg=cfg,
        seed=config.learning.seed,
        max_tokens=text_tokens(model),
        num_known=known_latents(noise, spec)[0],
        fps=config.clips.fps or None,
        make_call=partial(NetworkCall, spec=spec, embedded_guidance=None),
        fold=family_of(spec).fold_padding,
    )


def text_tokens(model: OpenedModel) -> int | None:
    """Return how many tokens texts are padded to; None where the network counts one pad for all."""
    return None if family_of(model.spec).folds_padding(model.spec) else model.max_tokens
