"""The options of a guide: a small model in the shell, its LoRAs, and how they steer the large one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..checks import number_in_text
from ..errors import PlanError
from ..stack.stack import LoraStack
from .lora_option import LORA_FORM, complete_lora
from .options import ModelOptions, StackOptions, TextValue, group, parse_cfg

if TYPE_CHECKING:
    from ..engine.guide import Guide
    from ..families.opened import OpenedModel
    from ..plan.steering import Above, SteerSettings

_PATH = click.Path(path_type=Path)


def _parse_above(text: str) -> Above:
    words: dict[str, Above] = {"auto": "auto", "none": None}
    return words[text] if text in words else number_in_text(text, "--guide-above", PlanError)


@dataclass(frozen=True)
class GuideOptions:
    """The guide, as the shell gives it."""

    guide_model: str | None
    guide_loras: tuple[str, ...]
    guide_strength: float
    guide_schedule: str | None
    guide_above: Above
    guide_cfg: float | tuple[float, float] | None
    guide_low_noise: Path | None = None

    def stack(self, beside: StackOptions) -> LoraStack:
        """Return the guide's LoRAs, looked for where the others are; files are found, not read."""
        return beside.with_loras(LoraStack(), self.guide_loras)

    def guide(self, stack: LoraStack, model: OpenedModel, given: ModelOptions) -> Guide | None:
        """Open the guide where the large model computes, with the large model's VAE; only headers are read."""
        if self.guide_model is None:
            return None
        from ..engine.guide import Guide
        from ..families.registry import opener

        opened = opener(self.guide_model)(
            self.guide_model,
            low_noise=self.guide_low_noise,
            vae=model.files.get("vae"),
            image_encoder=None,
            dtype=model.dtype,
            device=given.device,
            offload=model.offload,
        )
        return Guide(opened, stack, self.settings())

    def settings(self) -> SteerSettings:
        """Return how it steers."""
        from ..plan.steering import SteerSettings

        return SteerSettings(
            strength=self.guide_strength, schedule=self.guide_schedule, above=self.guide_above, cfg=self.guide_cfg
        )


def _check_guide(ctx: click.Context) -> None:
    """Refuse what does nothing without a guide, and a guide that would do nothing."""
    if ctx.params["guide_model"] is not None:
        if not ctx.params["guide_loras"]:
            raise PlanError("--guide", "no --guide-lora is given, so it would change nothing", remedy="Give one")
        return
    for name in GuideOptions.__dataclass_fields__:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-').removesuffix('s')}"
            raise PlanError(option, "there is no --guide for it", remedy="Give the small model as --guide")


_STEERING = (
    click.option("--guide-strength", type=float, default=1.0, show_default=True, help="How strongly it steers."),
    click.option("--guide-schedule", help="A factor on that by noise level, such as fade_out or hold:1=1,0.9=0."),
    click.option(
        "--guide-above",
        type=TextValue("sigma", _parse_above),
        default="auto",
        show_default=True,
        help="Steer down to this sigma; auto rests on a speed LoRA's low-noise steps, none never.",
    ),
    click.option(
        "--guide-cfg",
        type=TextValue("number", lambda text: parse_cfg(text, "--guide-cfg")),
        help="The guide's own guidance: one number, or HIGH,LOW; by default --cfg.",
    ),
)
_LORAS = click.option(
    "--guide-lora",
    "guide_loras",
    multiple=True,
    metavar=LORA_FORM,
    shell_complete=complete_lora,
    help="A LoRA made for the guide, as --lora; repeat for a stack.",
)

guide_options = group(
    "guide_options",
    GuideOptions,
    click.option(
        "--guide", "guide_model", help="A small model on the same latents and texts, as --model: its LoRAs steer."
    ),
    click.option("--guide-low-noise", type=_PATH, help="The guide's low expert; else found beside --guide."),
    _LORAS,
    *_STEERING,
    check=_check_guide,
)
#: Where nothing is opened: the guide as --model is given to a command that only plans.
guide_spec_options = group(
    "guide_options",
    GuideOptions,
    click.option("--guide", "guide_model", help="A guide beside it: a spec's name, pocket, or a checkpoint."),
    _LORAS,
    *_STEERING,
    check=_check_guide,
)
