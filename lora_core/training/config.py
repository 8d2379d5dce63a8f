"""The configuration of a training: every key, from a TOML file, a preset and single settings, checked as a whole."""

from __future__ import annotations

import os
import sys
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..checks import first_line, known_keys, typed, whole_path
from ..errors import TrainingError
from ..families.registry import FAMILIES
from ..wording import said
from .presets import usual_values
from .settings.adapter import AdapterSettings
from .settings.clips import ClipSettings
from .settings.learning import LearningSettings
from .settings.length import LengthSettings
from .settings.model import ModelSettings
from .settings.noise import NoiseSettings
from .settings.watching import WatchingSettings
from .unused import unused_key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The groups, in the order in which they are written: attribute of TrainConfig -> its class.
GROUPS: Mapping[str, type] = {
    "model": ModelSettings,
    "clips": ClipSettings,
    "adapter": AdapterSettings,
    "noise": NoiseSettings,
    "length": LengthSettings,
    "learning": LearningSettings,
    "watching": WatchingSettings,
}
#: The keys that may name files or folders.
PATHS = ("clips", "model", "low_noise", "text_encoder", "tokenizer", "vae", "image_encoder")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """All keys of a training; in files and on the command line they stand side by side, without the groups.

    Attributes:
        folder: the clips.
        name: what the files that come out are called.
        preset: where values come from that nobody gave; "" for the defaults of the keys.
    """

    folder: Path
    name: str
    preset: str = ""
    model: ModelSettings = field(default_factory=ModelSettings)
    clips: ClipSettings = field(default_factory=ClipSettings)
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    length: LengthSettings = field(default_factory=LengthSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    watching: WatchingSettings = field(default_factory=WatchingSettings)

    def values(self) -> dict[str, Any]:
        """Return every key with its value, as TOML has it."""
        own = {"clips": str(self.folder), "name": self.name, "preset": self.preset}
        grouped = {f.name: getattr(getattr(self, group), f.name) for group, cls in GROUPS.items() for f in fields(cls)}
        return own | {key: list(value) if isinstance(value, tuple) else value for key, value in grouped.items()}

    def to_toml(self) -> str:
        """Return the configuration as a file that reads back to it, a heading above each group."""
        import tomli_w

        values = self.values()
        own = {key: values[key] for key in ("clips", "name", "preset")}
        parts = [tomli_w.dumps(own)]
        for group, cls in GROUPS.items():
            rows = tomli_w.dumps({f.name: values[f.name] for f in fields(cls)})
            parts.append(f"# {group}\n{rows}")
        return "\n".join(parts)


@cache
def all_keys() -> dict[str, tuple[str, Any]]:
    """Return key -> (its group, the type of its values); "" is the group of those that have none."""
    keys: dict[str, tuple[str, Any]] = dict.fromkeys(("clips", "name", "preset"), ("", str))
    for group, cls in GROUPS.items():
        for name, kind in typing.get_type_hints(cls).items():
            keys[name] = (group, kind)
    return keys


def _default(key: str) -> Any:
    group, _ = all_keys()[key]
    return getattr(GROUPS[group], key) if group else ""


@typed(TrainingError)
def make_config(given: Mapping[str, Any], where: str = "training") -> TrainConfig:
    """Build a configuration from the keys somebody gave; the preset has the rest, and the defaults what it leaves.

    A key that nobody knows, a value of another kind, and a key that would do nothing beside the others are refused.
    """
    keys = all_keys()
    known_keys(given, keys, where, TrainingError)
    values = {key: valued(key, value, keys[key][1]) for key, value in given.items()}
    for key in ("clips", "name"):
        if not values.get(key):
            raise TrainingError(where, said("no {key}", key=key), expected=f"{key} = …", remedy="Add it")
    values = with_whole_paths(values, Path())
    model = str(values.get("model", ModelSettings.model))
    usual = usual_values(values.get("preset", ""), model, values.get("objective", ""))
    merged = usual | values
    grouped: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
    for key, value in merged.items():
        if group := keys[key][0]:
            grouped[group][key] = value
    config = TrainConfig(
        folder=Path(values["clips"]).absolute(),
        name=values["name"],
        preset=values.get("preset", ""),
        **{group: cls(**grouped[group]) for group, cls in GROUPS.items()},
    )
    check_name(config.name)
    changed = [key for key, value in values.items() if value != usual.get(key, _default(key))]
    if (fault := unused_key(config, changed)) is not None:
        raise TrainingError(
            fault.key,
            said("would do nothing {because}", because=fault.because),
            remedy=said("Leave it out, or {instead}", instead=fault.instead),
        )
    return config


@typed(TrainingError)
def read_config(path: str | Path, settings: Iterable[str] = (), *, default_name: str = "", **given: Any) -> TrainConfig:
    """Read a TOML file; `settings` of the form key=value, and `given` keys, take the place of what it says.

    A relative folder of clips, and the files of the model, are taken from where the file lies. `default_name` is
    the name where the file has none.
    """
    path = Path(path)
    values = {"name": default_name} | with_whole_paths(read_toml(path), path.parent)
    return make_config(values | parse_settings(settings) | given, path.name)


def with_whole_paths(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return keys whose values name what is there, seen from a folder, with whole paths; others as they are."""
    embedded = [word for family in FAMILIES for word in family.embedded]

    def whole(key: str, value: Any) -> Any:
        is_path = key in PATHS and isinstance(value, str) and value and value not in embedded
        return found if is_path and os.path.exists(found := whole_path(value, folder)) else value

    return {key: whole(key, value) for key, value in values.items()}


def parse_settings(settings: Iterable[str], kinds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return key -> value of texts `key=value`, each value as TOML has it; texts need no quotation marks.

    `kinds` says of which type a key's value is; by default those of a training.
    """
    if kinds is None:
        kinds = {key: kind for key, (_, kind) in all_keys().items()}
    values: dict[str, Any] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        key = name.strip()
        if not equals:
            raise TrainingError(
                "--set", said("{text!r:.60} sets nothing", text=text), expected="KEY=VALUE", remedy="Add the value"
            )
        if key in values:
            raise TrainingError("--set", said("{key!r:.60} is set twice", key=key), remedy="Leave one out")
        values[key] = _shell_value(value.strip(), kinds.get(key))
    return values


def _shell_value(text: str, kind: Any) -> Any:
    """Return what a text means as the value of a key; for keys of texts, 0 and true are words like any other."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    is_for_text = kind is str or typing.get_origin(kind) in (tuple, typing.Literal)
    return text if is_for_text and not isinstance(value, str | list) else value


def clip_settings(settings: Iterable[str]) -> ClipSettings:
    """Return the keys that say how clips are read, from texts `key=value`."""
    kinds = typing.get_type_hints(ClipSettings)
    values = parse_settings(settings)
    known_keys(values, kinds, "--set", TrainingError)
    return ClipSettings(**{key: valued(key, value, kinds[key]) for key, value in values.items()})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TrainingError(
            path, said("cannot be read: {error}", error=error.strerror or error), remedy="Check the path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        expected = 'lines such as rank = 32 or clips = "my_clips"'
        raise TrainingError(
            path, said("is no TOML: {error}", error=first_line(error)), expected=expected, remedy="Correct the text"
        ) from error


def valued(key: str, value: Any, kind: Any) -> Any:
    """Return a value as the type of its key has it, or refuse it."""
    if typing.get_origin(kind) is tuple:
        items = [value] if isinstance(value, str) else value
        if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
            return tuple(items)
        raise TrainingError(
            key, said("{value!r:.60} is no list of texts", value=value), expected='["…", "…"]', remedy="Write a list"
        )
    if typing.get_origin(kind) is typing.Literal:
        kind = str
    accepted: dict[Any, tuple[type, ...]] = {float: (int, float), int: (int,), bool: (bool,), str: (str, Path)}
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    if not isinstance(value, accepted[kind]) or (kind is not bool and isinstance(value, bool)):
        raise TrainingError(
            key, said("{value!r:.60} is not {names}", value=value, names=names[kind]), remedy="Correct the value"
        )
    return kind(value)


def check_name(name: str) -> None:
    """Raise unless files can be called so."""
    if not name or name != Path(name).name or name.startswith("."):
        raise TrainingError(
            "name",
            said("{name!r} is no name for files", name=name),
            expected="a word such as my_style, without slashes",
            remedy="Choose another name",
        )


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Say how two configurations differ, key by key."""
    keys = dict.fromkeys((*first, *second))
    return [
        f"{key} {first.get(key)!r} there, {second.get(key)!r} here" for key in keys if first.get(key) != second.get(key)
    ]
