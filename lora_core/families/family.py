"""One family of models: all that is asked of it by files, stacks, plans, samplers and hosts, as one row of data.

Each family builds its row in `<family>/family.py`; `registry.py` lists the rows, and is who is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from ..experts import Expert
from .base import ModelSpec
from .region_rules import RegionRules
from .self_attention import NativeAttention, ReplaceSelfAttention

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor, nn

    from .condition import Condition
    from .opened import Opener

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


class InferSpec(Protocol):
    """The spec of a checkpoint from the full names and shapes of its tensors."""

    def __call__(self, shapes: Shapes, *, num_experts: int | None = None, where: object = "checkpoint") -> ModelSpec:
        """Return the spec; `num_experts` is 1 or 2 where it is known, `where` names the file in messages."""


class Forward(Protocol):
    """One evaluation of a family's network.

    Letters: B batch, C latent channels, F latent frames, H W latent height and width, L text tokens, D text width.
    """

    def __call__(
        self, network: nn.Module, spec: ModelSpec, x: Tensor, sigma: float | Tensor, text: Tensor, condition: Condition
    ) -> Tensor:
        """Return the velocity (B, C, F, H, W) in float32 at normalised latents x of the same shape.

        `sigma` is one noise level or (B,) of them, `text` (1 or B, L, D); of `condition` everything but its texts is
        read.
        """


@dataclass(frozen=True, eq=False)
class TokenSplit:
    """How a family's networks are computed by several processes, each with a part of every clip's tokens.

    Attributes:
        plan: network -> where tensors are split and where they are put together, as `enable_parallelism` of diffusers
            takes it (a plan like its models' `_cp_plan`); None for the plan that diffusers has for the network.
        num_heads: network -> the heads of its self-attention, which the processes share out while they attend.
        parts: (spec, latents (B, C, F, H, W), text tokens) -> name of what is split -> how many there are of it.
        attention: puts self-attention that takes its keys from all processes into a network, for as long as a `with`
            block lasts; nothing where diffusers' own does.
    """

    plan: Callable[[nn.Module], Mapping[str, Any] | None]
    num_heads: Callable[[nn.Module], int]
    parts: Callable[[ModelSpec, Shape, int], Mapping[str, int]]
    attention: Callable[[nn.Module], AbstractContextManager[None]] = lambda network: nullcontext()


#: The embedded prompt and negative prompt, None where no step is guided.
Texts: TypeAlias = "tuple[Tensor, Tensor | None]"
#: The first and the last picture of a clip, of its size, as far as there are.
Pictures: TypeAlias = "tuple[Image.Image | None, Image.Image | None]"


class MakeCondition(Protocol):
    """What a family's network is told of a clip, beside the noisy latents."""

    def __call__(self, model: Any, texts: Texts, pictures: Pictures, num_frames: int) -> Condition:
        """Return the condition of a clip; `model` is one that the family opened."""


class ConditionShapes(Protocol):
    """The shapes of what a family's network is told of clips, without any of it at hand."""

    def __call__(self, spec: ModelSpec, latents: Shape, num_tokens: int) -> Mapping[str, Shape]:
        """Return field of `Condition` -> its shape, for latents (B, C, F, H, W) and texts of a number of tokens."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What is left of a linear layer (O, I) in a network that was made narrower.

    Attributes:
        rows, columns: the outputs and inputs that stayed, by number; None where all did.
    """

    rows: Tensor | None = None
    columns: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Naming:
    """How a family's parameters are spelt elsewhere.

    Attributes:
        to_diffusers: canonical module path, or bare parameter -> diffusers' spelling; itself where it has no other.
        is_bare: whether a target is a parameter that no module of its own holds.
        joined: path of a module that the native network has in one and diffusers in several -> (path of a part, how
            many times the module's inputs its outputs are, in the published models).
    """

    to_diffusers: Callable[[str], str]
    is_bare: Callable[[str], bool]
    joined: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Prefix:
    """What may stand before a module path, alone or inside another prefix.

    Attributes:
        dialect: the short name under which reports show it.
        expert: the expert that this prefix gives the tensor to.
        flat: True where the path behind it is written with underscores for dots.
        average: True where what stands behind it is a moving average of weights, beside which they stand themselves.
    """

    text: str
    dialect: str
    expert: Expert | None = None
    flat: bool = False
    average: bool = False


class LoraTraits(NamedTuple):
    """What is known of a LoRA file to guess its base by.

    Attributes:
        shapes: target -> shape of every delta.
        targets: the targets of all tensors, also of those that the model at hand has no place for.
        has_expert: True when it is meant for one noise expert.
        clues: texts that may name the model: the file's name, entries of its metadata.
    """

    shapes: Shapes
    targets: Sequence[str]
    has_expert: bool
    clues: Sequence[str]


@dataclass(frozen=True, eq=False)
class Origin:
    """How the shapes and names in a LoRA file tell which model of a family it was made for.

    Attributes:
        relatives: (regular expression on a module path with underscores for dots, the relative of the family that
            alone has such a name).
        width: shapes of deltas -> the width of the transformer they belong to, or None when none tells it.
        size: width -> what the family calls a model of this width ("Wan 14B"), or "" for none it published.
        base: the published model a file fits, as much of its name as can be told.
        expert_of_timesteps: (lowest, highest of a training, 0 to 1000) -> the expert that was trained, or None.
        whose_shape: (target, shape) -> who has the target in this shape ("image-to-video"), or "".
        unsupported: (target, kind of delta, its shape, the model's) -> what no LoRA of the family can do, or "".
    """

    relatives: tuple[tuple[str, str], ...]
    width: Callable[[Shapes], int | None]
    size: Callable[[int], str]
    base: Callable[[LoraTraits], str | None]
    expert_of_timesteps: Callable[[float, float], Expert | None]
    whose_shape: Callable[[str, Shape], str]
    unsupported: Callable[[str, str, Shape, Shape], str]


class Remark(NamedTuple):
    """What a family says of a LoRA on a model, with its evidence."""

    rule: str
    text: str
    evidence: str
    level: Literal["note", "warning"] = "warning"


@dataclass(frozen=True, eq=False)
class UsualStrength:
    """The range of strengths in which some LoRAs are used."""

    lowest: float
    highest: float
    evidence: str


class Told(Protocol):
    """What a LoRA file tells of itself; `files.weights.LoraWeights` has it."""

    @property
    def base(self) -> str | None: ...
    @property
    def expert(self) -> str | None: ...


@dataclass(frozen=True, eq=False)
class RadialUse:
    """How radial attention was used on clips of some length; the words are those of `attention/`.

    Attributes:
        first_steps, last_steps, first_blocks: what stayed dense: a number of them (int), or a share of all (float).
    """

    decay: float
    sink: bool
    first_steps: int | float
    last_steps: int | float
    first_blocks: int | float
    evidence: str


@dataclass(frozen=True, eq=False)
class Customs:
    """What the users of a family have found out.

    Attributes:
        distilled_shift: the shift that its few-step LoRAs are distilled for; None where there are none.
        evidence: name of a rule of `plan/` -> where the family's users met it.
        on_base: (base of a LoRA, the model it is put on) -> what is to be said of that, or None.
        strength: (purpose of a LoRA, what its file tells, the expert it acts on) -> at which strengths it is used, or
            None for those that LoRAs of its purpose are used at.
        radial: (spec, length of a clip against the model's default one) -> how radial attention is used there.
        guardrail_licence: spec -> the licence of its weights, where that asks for a guardrail, or "".
        instructions: (spec, whether it is shown a picture) -> what the instructions for writing its prompts are called,
            a file of `refiner/texts/`; "" where there are none.
    """

    distilled_shift: float | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    on_base: Callable[[str, ModelSpec], Remark | None] = lambda base, spec: None
    strength: Callable[[str, Told, Expert], UsualStrength | None] = lambda purpose, told, expert: None
    radial: Callable[[ModelSpec, float], RadialUse | None] = lambda spec, length: None
    guardrail_licence: Callable[[ModelSpec], str] = lambda spec: ""
    instructions: Callable[[ModelSpec, bool], str] = lambda spec, has_picture: ""


@dataclass(frozen=True, eq=False)
class ClipTable:
    """The clips that a family's published weights are made for, each kind of them with weights of its own.

    Attributes:
        sizes: resolution, as people call it -> proportions, as people write them -> (height, width) in pixels.
        lengths: frames per second -> frames.
        told_by: regular expressions on a file's name, whose first group is the resolution, and the frames per second.
    """

    sizes: Mapping[int, Mapping[str, tuple[int, int]]]
    lengths: Mapping[int, int]
    told_by: tuple[str, str]


@dataclass(frozen=True, eq=False)
class Family:
    """A family of models.

    Attributes:
        name: the short name; a spec of the family carries it.
        title: what people call it.
        spec_names: the published models, the one people mean first.
        spec: the spec of one of them.
        grammar: every name of the family and no shape, for reading a file without a model.
        recognises: whether tensor names of a checkpoint are those of its networks.
        infer: the spec of a checkpoint.
        naming, origin, customs: how its parameters are spelt elsewhere, whose LoRA a file is, what its users know.
        forward: how its networks are called.
        condition: what they are told of prompts and pictures.
        condition_shapes: how large that is.
        open: how a model is opened.
        prefixes: what stands before its module paths in LoRA files, beside what does for every family.
        embedded: models that come with the package, opened by these words instead of a path.
        loras: LoRAs that come with the package: name -> file, of a pair the high-noise one.
        pipelines: the classes of diffusers pipelines whose folders it opens, or refuses by name.
        relative: names of a checkpoint's tensors -> the relative of its networks that has them, which its `open`
            refuses by name; "" for none.
        folds_padding: whether the networks of a spec can take texts with one pad for all the equal ones behind it.
        fold_padding: let such a network do so.
        prune_width: (network whose modules may be replaced, share to cut) -> target -> what is left of it; None where
            nobody knows how to.
        self_attention: let its networks' self-attention be computed otherwise; None where nobody knows how to.
        head_width: network -> the width of a head of its self-attention; None where nobody asks.
        native_attention: where self-attention is in its network in ComfyUI; None where nobody has described it.
        regions: which tokens the modules of its networks meet; None where no LoRA can act in a part of the clip.
        parallel: how several processes compute its networks together; None where nobody knows how to.
        header: network -> the metadata without which a single file of its weights could not be opened again.
        clip_table: the clips that the weights of a spec may be made for; None where there is one kind of them.
    """

    name: str
    title: str
    spec_names: tuple[str, ...]
    spec: Callable[[str], ModelSpec]
    grammar: Callable[[], ModelSpec]
    recognises: Callable[[Iterable[str]], bool]
    infer: InferSpec
    naming: Naming
    origin: Origin
    customs: Customs
    forward: Forward
    condition: MakeCondition
    condition_shapes: ConditionShapes
    open: Opener
    prefixes: tuple[Prefix, ...] = ()
    embedded: tuple[str, ...] = ()
    loras: Mapping[str, Path] = field(default_factory=dict)
    pipelines: tuple[str, ...] = ()
    relative: Callable[[Iterable[str]], str] = lambda names: ""
    folds_padding: Callable[[ModelSpec], bool] = lambda spec: False
    fold_padding: Callable[[nn.Module], None] = lambda network: None
    prune_width: Callable[[nn.Module, float], Mapping[str, Kept]] | None = None
    self_attention: ReplaceSelfAttention | None = None
    head_width: Callable[[nn.Module], int] | None = None
    native_attention: NativeAttention | None = None
    regions: RegionRules | None = None
    parallel: TokenSplit | None = None
    header: Callable[[nn.Module], Mapping[str, str]] = lambda network: {}
    clip_table: Callable[[ModelSpec], ClipTable | None] = lambda spec: None
