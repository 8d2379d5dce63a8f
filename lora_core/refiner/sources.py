"""Where the files of a language model lie, found from what the user named, before anything large is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..families.pieces.pocket import ASSETS
from ..wording import said
from .card import RefinerCard, json_in, read_card
from .gguf_kind import ENCODERS, kind_in_gguf

#: What to say instead of a path for the language model that comes with the package.
POCKET_LM = "pocket-lm"
#: The instructions of the video models that it was trained for.
POCKET = "pocket"
#: Where a training puts what it has made, inside its own folder.
RESULT = "refiner"
ADAPTER_FILE = "adapter_config.json"
_CONFIG = "config.json"
_EXPECTED = "pocket-lm, the folder of a language model in Hugging Face's form, or a .gguf"
#: How the names of architectures end that go on with a text, and do nothing else.
_CAUSAL = ("ForCausalLM", "LMHeadModel")


@dataclass(frozen=True)
class LanguageSource:
    """The files of a language model.

    Attributes:
        name: as the user named it.
        folder: of its configuration, weights and tokenizer; of a GGUF the one that it lies in.
        gguf: the file, where it is one.
        adapter: the folder of a LoRA on it.
        card: what the adapter, or else the model, says of itself.
    """

    name: str
    folder: Path
    gguf: Path | None
    adapter: Path | None
    card: RefinerCard

    @property
    def base(self) -> Path:
        """The file or folder whose hash is the base's."""
        return self.gguf or self.folder


def find_language_source(
    source: str | Path, *, adapter: str | Path | None = None, base: str | Path | None = None
) -> LanguageSource:
    """Find the files of a language model, or of an adapter with its base.

    Args:
        source: `pocket-lm`, a folder or a GGUF; or the folder of an adapter, whose base it names itself.
        adapter: a LoRA on `source`.
        base: what the adapter `source` acts on, where what it names is not here.

    Raises:
        ModelError: nothing is there, or it is no language model that goes on with a text.
    """
    place = _existing(source)
    if (place / ADAPTER_FILE).is_file():
        if adapter is not None:
            raise ModelError(place, "is an adapter itself", expected=_EXPECTED, remedy="Give one adapter, and its base")
        named = _base_of(place) if base is None else base
        found = find_language_source(named)
        return LanguageSource(str(source), found.folder, found.gguf, place, read_card(place))
    if base is not None:
        raise ModelError(place, "is no adapter, and has no base", remedy="Leave the base out")
    inside = None if adapter is None else _existing(adapter)
    if inside is not None and not (inside / ADAPTER_FILE).is_file():
        what = said("there is no {file} in it", file=ADAPTER_FILE)
        raise ModelError(inside, what, expected="the folder of a peft adapter", remedy="Give that folder")
    gguf = place if place.is_file() else None
    folder = place.parent if place.is_file() else place
    if gguf is None:
        _check_causal(folder)
    else:
        _check_causal_gguf(gguf)
    return LanguageSource(str(source), folder, gguf, inside, read_card(inside or folder))


def _existing(source: str | Path) -> Path:
    """Return the folder, or the GGUF, that a name stands for; of a training, that of its result."""
    if str(source) == POCKET_LM:
        return ASSETS / "pocket_lm"
    place = Path(source).expanduser()
    if not place.exists():
        raise ModelError(place, "does not exist", expected=_EXPECTED, remedy="Correct the path; nothing is fetched")
    if place.is_file() and place.suffix.lower() != ".gguf":
        remedy = "Give the folder that it lies in" if (place.parent / _CONFIG).is_file() else "Give another one"
        raise ModelError(place, "is no language model", expected=_EXPECTED, remedy=remedy)
    result = place / RESULT
    return result if (result / _CONFIG).is_file() or (result / ADAPTER_FILE).is_file() else place


def _base_of(adapter: Path) -> str:
    """Return what an adapter says that it acts on."""
    told = _object(adapter / ADAPTER_FILE)
    named = read_card(adapter).base or told.get("base_model_name_or_path")
    if isinstance(named, str) and (named == POCKET_LM or Path(named).expanduser().exists()):
        return named
    what = said("it is an adapter on {base!r:.200}, which is not here", base=named or "")
    raise ModelError(adapter, what, remedy="Give its base as the model, and it as the adapter; nothing is fetched")


def _check_causal(folder: Path) -> None:
    """Raise where a folder holds no model that goes on with a text."""
    if not (folder / _CONFIG).is_file():
        what = said("there is no {file} in it", file=_CONFIG)
        raise ModelError(folder, what, expected=_EXPECTED, remedy="Give the folder that has it")
    named = _object(folder / _CONFIG).get("architectures")
    names = [str(name) for name in named] if isinstance(named, list) else []
    if not any(name.endswith(_CAUSAL) for name in names):
        raise _no_causal(folder, ", ".join(names) or "no architecture")


def _check_causal_gguf(file: Path) -> None:
    """Raise where a file is no GGUF, or one of an encoder."""
    try:
        kind = kind_in_gguf(file)
    except OSError as error:
        what = said("cannot be read: {error}", error=error.strerror or error)
        raise ModelError(file, what, remedy="Check its permissions") from error
    if kind is None:
        raise ModelError(file, "it does not begin as a GGUF", expected=_EXPECTED, remedy="Fetch the model anew")
    if kind in ENCODERS:
        raise _no_causal(file, kind)


def _no_causal(place: Path, name: str) -> ModelError:
    what = said("it holds {name}, which does not go on with a text", name=name)
    return ModelError(place, what, expected="a causal language model", remedy="Give another model as the refiner")


def _object(file: Path) -> dict[str, object]:
    told = json_in(file, "an object of JSON")
    if not isinstance(told, dict):
        raise ModelError(file, "holds no object", expected="an object of JSON", remedy="Fetch the model anew")
    return told
