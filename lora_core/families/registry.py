"""The registry of families: who is asked which family a network, a file or a name belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from ..checkpoints.checkpoint import CHECKPOINT_SUFFIXES, open_checkpoint, read_json_file
from ..checks import typed
from ..errors import ModelError
from ..experts import EXPERTS, Expert
from ..wording import said
from .base import ModelSpec, parameter_shapes, target_of
from .cosmos.family import COSMOS
from .family import Customs, Family, Shapes
from .hunyuan.family import HUNYUAN
from .opened import Opener
from .region_rules import RegionRules
from .wan.family import WAN

#: Where names could be those of several, the first counts.
FAMILIES: tuple[Family, ...] = (WAN, COSMOS, HUNYUAN)


def find_family(spec: ModelSpec) -> Family | None:
    """Return the family that a spec names, None for a network of no known family."""
    return next((family for family in FAMILIES if family.name == spec.family), None)


def family_of(spec: ModelSpec) -> Family:
    """Return the family that a spec names, or say that it is not known."""
    if (family := find_family(spec)) is not None:
        return family
    expected = said("a model of {names}", names=", ".join(family.title for family in FAMILIES))
    raise ModelError(
        spec.title,
        said("its family {family!r} is not known", family=spec.family),
        expected=expected,
        remedy="Name one of them",
    )


def come_in_pairs(spec: ModelSpec) -> bool:
    """Say whether a LoRA for a model may be one of two files, each for an expert: in a family that has such models.

    So it may for a network that nobody says the family of, too.
    """
    if (family := find_family(spec)) is None:
        return not spec.family
    return any(family.spec(name).num_experts == 2 for name in family.spec_names)


def customs_of(spec: ModelSpec) -> Customs:
    """Return what the users of a model's family have found out; nothing for a network of no known family."""
    family = find_family(spec)
    return Customs() if family is None else family.customs


def family_of_targets(targets: Iterable[str]) -> Family | None:
    """Return the family in which most of these targets have a place, or None when none of them has one in any."""
    listed = list(targets)
    counts = {family.name: sum(t in family.grammar().shapes for t in listed) for family in FAMILIES}
    return next((f for f in FAMILIES if counts[f.name] and counts[f.name] == max(counts.values())), None)


def infer_spec(shapes: Shapes, *, num_experts: int | None = None, where: object = "checkpoint") -> ModelSpec:
    """Return the spec of a network from the full names and shapes of its tensors; see `family.InferSpec`."""
    family = next((family for family in FAMILIES if family.recognises(shapes)), FAMILIES[0])
    return family.infer(shapes, num_experts=num_experts, where=where)


def spec_of_module(module: nn.Module, name: str = "generic") -> ModelSpec:
    """Describe any network by its own parameters; one of a known family, in any naming, gets the family's names."""
    shapes = parameter_shapes(module)
    if any(family.recognises(shapes) for family in FAMILIES):
        return infer_spec(shapes)
    targets = {target_of(parameter): shape for parameter, shape in shapes.items()}
    return ModelSpec(name=name, title=type(module).__name__, shapes=targets)


def spec_names() -> tuple[str, ...]:
    """Return the names of all published models."""
    return tuple(name for family in FAMILIES for name in family.spec_names)


def spec_named(model: str) -> ModelSpec:
    """Return the spec of a published model by name, of an embedded one, or of a checkpoint by its header."""
    for family in FAMILIES:
        if model in family.spec_names:
            return family.spec(model)
    embedded = [word for family in FAMILIES for word in family.embedded]
    if model not in embedded and not Path(model).exists():
        expected = said(
            "{embedded}, a checkpoint, or one of {spec_names}",
            embedded=", ".join(embedded),
            spec_names=", ".join(spec_names()),
        )
        raise ModelError(
            model, "is no file and no model's name", expected=expected, remedy="Check the name or the path"
        )
    return opener(model)(model).spec


def region_rules(spec: ModelSpec) -> RegionRules:
    """Return which tokens a model's modules meet, or say that no LoRA can act in a part of its clips."""
    family = find_family(spec)
    if family is None or (rules := family.regions) is None:
        what = said("nobody knows which part of a clip its modules see, so no LoRA has a region or a time in it")
        raise ModelError(spec.title, what, remedy="Take regions and times off the stack")
    return rules


def checkpoint_named(text: str) -> Path:
    """Return the file or folder of weights that a text names: its path, or MODEL:EXPERT for an expert of a model."""
    if (named := expert_named(text)) is None:
        return Path(text).expanduser()
    model, expert = named
    opened = opener(model)(model)
    if opened.spec.num_experts == 1 and expert == "high_noise":
        raise ModelError(
            text,
            said("{spec} has one expert", spec=opened.spec.title),
            expected=f"{model}:low_noise",
            remedy="Name that one",
        )
    return opened.files["low" if expert == "low_noise" and opened.spec.num_experts == 2 else "high"]


def expert_named(text: str) -> tuple[str, Expert] | None:
    """Return the model and the expert that a text of the form MODEL:EXPERT names; None where it is a path."""
    model, _, expert = text.rpartition(":")
    if Path(text).expanduser().exists() or not model:
        return None
    if expert not in EXPERTS:
        if not any(model in family.embedded for family in FAMILIES):
            return None
        raise ModelError(
            text, said("there is no expert {expert!r}", expert=expert), expected=" or ".join(EXPERTS), remedy="Name one"
        )
    return model, expert


def embedded_loras() -> dict[str, Path]:
    """Return the LoRAs that come with the package: name -> file, of a pair the high-noise one."""
    return {name: file for family in FAMILIES for name, file in family.loras.items()}


@typed(ModelError)
def opener(source: str | Path) -> Opener:
    """Return what opens a model: its family's own way, told by an embedded name, a folder's index or a file's header.

    What no family recognises is left to the first, which says what it expected instead.
    """
    family = next((family for family in FAMILIES if _opens(family, str(source))), FAMILIES[0])
    return family.open


def _opens(family: Family, source: str) -> bool:
    path = Path(source).expanduser()
    if source in family.embedded:
        return True
    if (path / "model_index.json").is_file():
        return read_json_file(path / "model_index.json").get("_class_name") in family.pipelines
    if not path.is_file() or path.suffix not in CHECKPOINT_SUFFIXES:
        return False
    names = open_checkpoint(path).shapes
    return family.recognises(names) or bool(family.relative(names))
