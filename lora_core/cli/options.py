"""The options that several commands share, each group arriving at its command as one checked value."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..checks import number_in_text
from ..errors import PlanError, StackError
from ..families.wan.spec import WAN_SPEC_NAMES
from ..plan.settings import SCHEDULES, Boundary, RunSettings
from ..plan.sigmas import parse_sigmas
from ..stack.entry import LoraEntry, free_name, name_of_file
from ..stack.row_files import with_found_files
from ..stack.stack import LoraStack
from .lora_option import LORA_FORM, complete_lora, is_file_in, parse_lora
from .place_option import PLACE_OPTIONS, placed

if TYPE_CHECKING:
    import torch

    from ..families.opened import OpenedModel

_PATH = click.Path(path_type=Path)
_DTYPES = ("auto", "float32", "float16", "bfloat16")

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
Check = Callable[[click.Context], None]


def group(name: str, kind: type, *options: Decorator, check: Check = lambda ctx: None) -> Decorator:
    """Give a command these options, and hand their values, once checked, to its argument `name` as one `kind`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_group(**given: Any) -> None:
            values = {field.name: given.pop(field.name) for field in fields(kind) if field.name in given}
            check(click.get_current_context())
            command(**given, **{name: kind(**values)})

        decorated: Callable[..., None] = with_group
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


class TextValue(click.ParamType):
    """A value that is spelt as text; what is wrong with it is said in our own form."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._parse(value) if isinstance(value, str) else value


@dataclass(frozen=True)
class StackOptions:
    """The LoRAs, from a stack file and one by one."""

    loras: tuple[str, ...]
    stack_file: Path | None
    lora_folders: tuple[Path, ...]
    no_verify: bool
    download: bool
    regions: tuple[str, ...] = ()
    times: tuple[str, ...] = ()

    def stack(self) -> LoraStack:
        """Return the LoRAs of the stack file followed by those given one by one; files are found, not read."""
        stack = LoraStack()
        if self.stack_file is not None:
            stack = LoraStack.read_preset(
                self.stack_file, self.lora_folders, verify=not self.no_verify, download=self.download
            )
        elif self.no_verify:
            raise StackError("--no-verify", "there is no --stack to verify", remedy="Leave it out")
        return placed(self.with_loras(stack, self.loras), self.regions, self.times, self.lora_folders)

    def with_loras(self, stack: LoraStack, texts: Sequence[str]) -> LoraStack:
        """Append LoRAs as the shell spells them; their files are looked for in the same folders."""
        for text in texts:
            stack = self._with_lora(stack, text)
        return stack

    def _with_lora(self, stack: LoraStack, text: str) -> LoraStack:
        """Append one `--lora`, named by the file as it was given, as a row of a stack file is."""
        path, strength, applies_to = parse_lora(text, is_file_in(self.lora_folders))
        name = free_name(name_of_file(path), {entry.name for entry in stack})
        entry = LoraEntry(name, Path(path), strength, applies_to)
        return stack.add(with_found_files(entry, self.lora_folders, download=self.download))


download_option: Decorator = click.option(
    "--download", is_flag=True, help="Fetch LoRAs from Hugging Face that its local cache lacks; nothing else ever is."
)

stack_options = group(
    "lora_options",
    StackOptions,
    click.option(
        "--lora",
        "loras",
        multiple=True,
        metavar=LORA_FORM,
        shell_complete=complete_lora,
        help="A LoRA file, or the name of an embedded one; repeat for a stack. APPLIES_TO is auto, both, high_noise or "
        "low_noise; with auto the other expert's file is found beside it.",
    ),
    click.option("--stack", "stack_file", type=_PATH, help="A stack or preset file, JSON."),
    click.option(
        "--lora-folder",
        "lora_folders",
        multiple=True,
        type=_PATH,
        help="Where LoRAs lie; paths that leave these folders are refused.",
    ),
    click.option("--no-verify", is_flag=True, help="Take LoRAs that changed since the preset was written."),
    download_option,
    *PLACE_OPTIONS,
)

partial_option: Decorator = click.option(
    "--allow-partial", is_flag=True, help="Let LoRAs through in which some tensors match nothing; they are named."
)


def _parse_boundary(text: str) -> Boundary:
    words: dict[str, Boundary] = {"auto": "auto", "none": None}
    return words[text] if text in words else number_in_text(text, "--boundary", PlanError)


def parse_cfg(text: str, option: str = "--cfg") -> float | tuple[float, float]:
    """Read one guidance, or HIGH,LOW."""
    numbers = [number_in_text(part, option, PlanError) for part in text.split(",")]
    if len(numbers) > 2:
        what, remedy = f"{text!r} has {len(numbers)} numbers", "Give at most one for each expert"
        raise PlanError(option, what, expected="one, or HIGH,LOW", remedy=remedy)
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


#: The fields of RunSettings, each under the name that the shell has for it.
RUN_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--steps", "num_steps", type=int, default=RunSettings.num_steps, show_default=True, help="How many steps."
    ),
    click.option(
        "--shift", type=float, default=RunSettings.shift, show_default=True, help="Shift of the noise schedule."
    ),
    click.option(
        "--schedule",
        default=RunSettings.schedule,
        show_default=True,
        help=f"How noise levels are spaced, one of {', '.join(SCHEDULES)}; auto is the model's own.",
    ),
    click.option(
        "--sigmas",
        type=TextValue("numbers", parse_sigmas),
        help='Noise levels of your own, such as "1, 0.9375, 0.8333, 0.625, 0".',
    ),
    click.option(
        "--boundary",
        type=TextValue("sigma", _parse_boundary),
        default=RunSettings.boundary,
        show_default=True,
        help="Sigma of the expert switch, or none.",
    ),
    click.option(
        "--cfg",
        type=TextValue("number", parse_cfg),
        default=RunSettings.cfg,
        show_default=True,
        help="Guidance: one number, or HIGH,LOW.",
    ),
)


def check_levels(ctx: click.Context) -> None:
    """Refuse what noise levels of one's own leave no use for, also where it repeats a default."""
    if ctx.get_parameter_source("sigmas") is not ParameterSource.COMMANDLINE:
        return
    for option, name in (("--steps", "num_steps"), ("--shift", "shift"), ("--schedule", "schedule")):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = ctx.params[name]
            text = value if isinstance(value, str) else f"{value:g}"
            what = f"{text} would do nothing beside --sigmas, which are all the noise levels there are"
            raise PlanError(option, what, remedy="Give one of the two")


run_options = group("settings", RunSettings, *RUN_OPTIONS, check=check_levels)


@dataclass(frozen=True)
class ModelOptions:
    """The model's files, and where it computes."""

    model: str
    low_noise: Path | None
    text_encoder: Path | None
    tokenizer: Path | None
    vae: Path | None
    image_encoder: Path | None
    device: str
    dtype: str
    offload: str

    def open(self) -> OpenedModel:
        """Open the model; only headers are read."""
        import torch

        from ..families.registry import opener

        dtype: torch.dtype | None = None if self.dtype == "auto" else getattr(torch, self.dtype)
        return opener(self.model)(
            self.model,
            low_noise=self.low_noise,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            vae=self.vae,
            image_encoder=self.image_encoder,
            dtype=dtype,
            device=self.device,
            offload=self.offload,  # type: ignore[arg-type]  # the family refuses what it does not know
        )


def _model_options(model: Decorator) -> Decorator:
    return group(
        "model_options",
        ModelOptions,
        model,
        click.option("--low-noise", type=_PATH, help="The low expert's file; else found beside --model."),
        click.option(
            "--text-encoder", type=_PATH, help="UMT5, T5 for Cosmos, or Llama with CLIP beside it; a file or folder."
        ),
        click.option(
            "--tokenizer",
            type=_PATH,
            help="tokenizer.json, spiece.model, or a folder, of both tokenizers where there are two.",
        ),
        click.option("--vae", type=_PATH, help="The VAE, a file or folder."),
        click.option(
            "--image-encoder", type=_PATH, help="The CLIP vision encoder of Wan 2.1's image models, a file or folder."
        ),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
        click.option(
            "--dtype", type=click.Choice(_DTYPES), default="auto", show_default=True, help="What experts compute in."
        ),
        click.option("--offload", default="none", show_default=True, help="none, experts or blocks leave the device."),
    )


model_options = _model_options(
    click.option(
        "--model",
        default="pocket",
        show_default=True,
        help="pocket, pocket-i2v, pocket-small, pocket-cosmos, a diffusers folder, or the high expert's file.",
    )
)
#: Of commands that say something without a model, too.
optional_model_options = _model_options(
    click.option(
        "--model",
        default="none",
        show_default=True,
        help="pocket, a diffusers folder, the high expert's file, a model's name, or none.",
    )
)
#: Of commands that no text alone makes a video for.
going_on_model_options = _model_options(
    click.option(
        "--model",
        default="pocket-cosmos",
        show_default=True,
        help="pocket-cosmos, pocket-i2v, a diffusers folder, or the network's file.",
    )
)


spec_option = click.option(
    "--model", default=WAN_SPEC_NAMES[0], show_default=True, help="A spec's name, pocket, or a checkpoint."
)
