"""The node that lets self-attention leave out pairs of tokens far apart in time, and says what that saves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io
from comfy_execution.utils import get_executing_context

from ..lora_core import ModelError, ModelSpec, PlanError, RequestError
from ..lora_core.attention.controller import make_controller
from ..lora_core.attention.executors import EXECUTORS
from ..lora_core.attention.settings import usual_length
from ..lora_core.attention.wishes import USUAL, RadialWishes, parse_part
from ..lora_core.checks import number_in_text
from ..lora_core.wording import Said, form_of, joined, said
from .base import Node, schema, shown
from .bridge import spec_of
from .radial_override import HostRadial, check_model, other_override
from .sockets import RadialHandle, WanModelHandle, WanModelType

#: The event of the websocket; its data are a node's id, and the text that it shows from now on.
EVENT = "wanloom.report"


class RadialAttention(Node):
    """Let long clips take less self-attention: most pairs of tokens far apart in time are left out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        kind = io.MatchType.Template("model", [WanModelType, io.Model])
        return schema(
            cls,
            display_name="Radial Attention",
            search_aliases=["sparse attention", "long video", "sage attention", "faster attention", "block sparse"],
            has_intermediate_output=True,
            inputs=[
                io.MatchType.Input(
                    "model",
                    template=kind,
                    tooltip="A Wan model, or any loader's MODEL of Wan or HunyuanVideo: both sample with it.",
                ),
                *_wish_widgets(),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=10_000,
                    optional=True,
                    tooltip="For a MODEL whose run several samplers share: the steps of all of them together. "
                    "0 where one sampler does the whole run; a Wan model knows.",
                    advanced=True,
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip="The latent that will be sampled: the report counts for its size. Nothing else reads it.",
                ),
            ],
            outputs=[
                io.MatchType.Output(
                    kind, id="model", display_name="model", tooltip="The same model, with radial attention."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="What is left out, what that saves, and whether it pays."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        decay: str | None = None,
        first_steps: str | None = None,
        last_steps: str | None = None,
        first_blocks: str | None = None,
    ) -> bool | str:
        return cls.checked(lambda: _wishes(decay, first_steps, last_steps, first_blocks, "auto"))

    @classmethod
    def execute(
        cls,
        model: WanModelHandle | ModelPatcher,
        decay: str,
        first_steps: str,
        last_steps: str,
        first_blocks: str,
        executor: str,
        steps: int = 0,
        latent: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        wishes = _wishes(decay, first_steps, last_steps, first_blocks, executor)
        tell = Teller()
        if isinstance(model, WanModelHandle):
            changed, spec, num_steps, experts = _on_wan_model(model, wishes, steps, tell)
        elif isinstance(model, ModelPatcher):
            check_model(model)  # before its parameters are asked which model it is
            # Wan 2.1 14B and an expert of Wan 2.2 have the same shapes; what several samplers share is likely a pair.
            spec = spec_of(model, num_experts=None if steps else 1, where=cls.name())
            changed = HostRadial(spec, wishes, num_steps=steps, tell=tell).on(model)
            num_steps, experts = steps, [model]
        else:
            raise ModelError(
                cls.name(),
                said("{kind} is no model", kind=type(model).__name__),
                expected="a WAN_MODEL or a MODEL",
                remedy="Connect a model",
            )
        report = _report(spec, wishes, num_steps, latent, experts)
        return io.NodeOutput(changed, report, ui=shown(report))


def _wish_widgets() -> Iterator[io.String.Input | io.Combo.Input]:
    yield io.String.Input(
        "decay",
        default=USUAL,
        tooltip="How wide the bands are that frames far apart see of each other: 1 as in the paper's long videos, less "
        "leaves more out. 'usual' is what the model was shown with at this length.",
    )
    yield io.String.Input(
        "first_steps",
        default=USUAL,
        tooltip="How many first steps stay dense, of both experts together: 2, or a share such as 25%. They settle "
        "what the video shows.",
    )
    yield io.String.Input(
        "last_steps", default=USUAL, tooltip="How many last steps stay dense, a number or a share; one cleans up edges."
    )
    yield io.String.Input(
        "first_blocks", default=USUAL, tooltip="How many first blocks of each network stay dense, a number or a share."
    )
    yield io.Combo.Input(
        "executor",
        options=["auto", *EXECUTORS],
        default="auto",
        tooltip="What computes it: flex, compiled, on CUDA; gathered, plain attention on gathered blocks, elsewhere; "
        "masked for tests. None of them falls back to dense attention.",
        advanced=True,
    )


def _wishes(
    decay: str | None, first_steps: str | None, last_steps: str | None, first_blocks: str | None, executor: str
) -> RadialWishes:
    """Return what the widgets say; None comes from another node and is not known yet."""
    parts = {"first_steps": first_steps, "last_steps": last_steps, "first_blocks": first_blocks}
    given = {name: parse_part(text, name) for name, text in parts.items() if not _is_usual(text)}
    width = None if decay is None or _is_usual(decay) else number_in_text(decay, "decay", RequestError)
    return RadialWishes(width, **given, executor=executor)  # type: ignore[arg-type]  # it refuses what it does not know


def _is_usual(text: str | None) -> bool:
    return text is None or text.strip().lower() in (USUAL, "")


def _on_wan_model(
    model: WanModelHandle, wishes: RadialWishes, steps: int, tell: Teller
) -> tuple[WanModelHandle, ModelSpec, int, list[ModelPatcher]]:
    """Return the model with radial attention, its spec, its steps as far as they are planned, and its experts."""
    if steps:
        remedy = "Leave it at 0; the sampler and LoraRouteByNoise say how many there are"
        raise RequestError("steps", "a Wan model knows how many steps its run has", remedy=remedy)
    if model.radial is not None:
        raise ModelError(RadialAttention.name(), "radial attention is on the model already", remedy=_KEEP_ONE)
    experts = [patcher for _, patcher in model.experts()]
    for patcher in experts:
        check_model(patcher)
    planned = model.settings.num_steps if model.is_routed else 0
    return replace(model, radial=RadialHandle(wishes, tell)), model.spec, planned, experts


_KEEP_ONE = "Keep one of the two nodes"


def _report(
    spec: ModelSpec, wishes: RadialWishes, steps: int, latent: dict[str, Any] | None, experts: list[ModelPatcher]
) -> Said:
    """Say what is left of attention and run at the latent's size, or at the model's usual one and twice as long."""
    num_steps = steps or spec.default_num_steps
    lines = [
        said("counted for {steps} steps; what a run comes to is told here when it is done", steps=num_steps),
    ]
    for shape in _shapes(spec, latent):
        settings = wishes.settings(spec, shape[2])
        lines.append(
            said(
                "{frames} frames of {width}x{height}: decay {decay}; dense: first steps {first}, last steps {last}, "
                "first blocks {blocks}",
                frames=(shape[2] - 1) * spec.vae_stride[0] + 1,
                width=shape[4] * spec.vae_stride[2],
                height=shape[3] * spec.vae_stride[1],
                decay=f"{settings.decay:g}",
                first=_part_text(settings.dense.first_steps),
                last=_part_text(settings.dense.last_steps),
                blocks=_part_text(settings.dense.first_blocks),
            )
        )
        try:
            lines += make_controller(spec, shape, num_steps, settings).notes()
        except PlanError as error:
            if steps:
                raise
            lines.append(said("note: {error}", error=error.said))  # the sampler may have more steps
    lines += [
        said("note: another attention override is on the model, and computes what is not radial: {name}", name=name)
        for name in dict.fromkeys(filter(None, map(other_override, experts)))
    ]
    return joined("\n", lines)


def _part_text(value: int | float) -> str:
    return f"{value:.0%}" if isinstance(value, float) else str(value)


def _shapes(spec: ModelSpec, latent: dict[str, Any] | None) -> list[tuple[int, ...]]:
    """Return the sizes of latents (B, C, F, H, W) that the report counts for."""
    if latent is not None:
        samples = latent["samples"]
        frames = samples.shape[2] if samples.ndim == 5 else 1  # a picture's latent has no frames
        return [(1, spec.latent_channels, frames, *samples.shape[-2:])]
    clip, (_, rows, columns) = spec.default_clip, spec.vae_stride
    usual = usual_length(spec)
    size = (clip.height // rows, clip.width // columns)
    return [(1, spec.latent_channels, frames, *size) for frames in (usual, 2 * usual - 1)]


class Teller:
    """Shows at the node that made it what its model's runs came to, whoever samples it."""

    def __init__(self) -> None:
        context = get_executing_context()
        self._node = "" if context is None else context.node_id

    def __call__(self, text: Said) -> None:
        from server import PromptServer  # no module of ours may need it to be imported

        server = getattr(PromptServer, "instance", None)
        if server is not None:
            told = {"node": self._node, "text": [str(text)], "said": [form_of(text)]}
            server.send_sync(EVENT, told, server.client_id)
