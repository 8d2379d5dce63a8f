"""The option of radial attention in the shell, and what it comes to in a run that is only planned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..errors import RequestError
from .options import Decorator, TextValue, group

if TYPE_CHECKING:
    from ..attention.controller import RadialController
    from ..attention.wishes import RadialWishes
    from ..families.base import ModelSpec
    from ..plan.plan import SamplingPlan


def _parse(text: str) -> RadialWishes:
    from ..attention.wishes import RadialWishes

    return RadialWishes.parse(text, "--radial")


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT and return (height, width)."""
    width, _, height = text.lower().partition("x")
    if not (width.strip().isdecimal() and height.strip().isdecimal()):
        remedy = "Give both in pixels, with an x between them"
        raise RequestError("--size", f"{text!r} is no size", expected="WIDTHxHEIGHT, such as 832x480", remedy=remedy)
    return int(height), int(width)


radial_option: Decorator = click.option(
    "--radial",
    type=TextValue("usual|decay=…", _parse),
    help="Self-attention leaves out most pairs far apart in time, for clips of twice the usual length and more: usual, "
    "or what differs from it: decay=0.5,first=2,last=1,blocks=25%,block_size=64,executor=gathered.",
)


@dataclass(frozen=True)
class PlannedRadial:
    """Radial attention on a clip that nobody makes yet."""

    radial: RadialWishes | None
    num_frames: int | None
    size: tuple[int, int] | None

    def controller(self, spec: ModelSpec, plan: SamplingPlan) -> RadialController | None:
        """Return what radial attention would be in a plan, or None where it is not asked for."""
        if self.radial is None:
            return None
        from ..attention.controller import make_controller
        from ..engine.request import Clip

        usual = spec.default_clip
        height, width = (usual.height, usual.width) if self.size is None else self.size
        num_frames = usual.num_frames if self.num_frames is None else self.num_frames
        clip = Clip.of(spec, num_frames=num_frames, height=height, width=width, fps=usual.fps)
        return make_controller(
            spec, clip.latent_shape, plan.num_steps, self.radial.settings(spec, clip.latent_shape[2])
        )


def _check(ctx: click.Context) -> None:
    """Refuse a size that nothing would be counted for."""
    if ctx.params["radial"] is not None:
        return
    for option, name in (("--frames", "num_frames"), ("--size", "size")):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            what = "a plan is the same for every clip but for what --radial comes to"
            raise RequestError(option, what, remedy="Give --radial, or leave it out")


planned_radial_options = group(
    "radial",
    PlannedRadial,
    radial_option,
    click.option("--frames", "num_frames", type=int, help="Of the clip that --radial is counted for, 4k+1."),
    click.option("--size", type=TextValue("size", parse_size), help="WIDTHxHEIGHT of that clip."),
    check=_check,
)
