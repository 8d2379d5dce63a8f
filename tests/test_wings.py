"""The order of the wings: which parts of `lora_core` may import which, with no circle and nothing reached around."""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

import lora_core
from lora_core.families.registry import FAMILIES

ROOT = Path(lora_core.__file__).parent
GROUND = {"errors", "checks", "atomic", "progress", "experts", "deltas", "wording"}

#: Wing -> the wings it may import from, beside the ground. `docs/architecture.md` says the same in words.
MAY_IMPORT = {
    "checkpoints": set(),
    "families": {"checkpoints"},
    "media": set(),
    "files": {"checkpoints", "families", "media"},
    "apply": {"families"},
    "attention": {"families"},
    "stack": {"families", "files"},
    "regions": {"families", "media", "stack"},
    "plan": {"families", "files", "media", "stack"},
    "sampling": {"families", "apply", "attention", "plan"},
    "training": {"attention", "checkpoints", "families", "files", "media"},
    "transfer": {"apply", "checkpoints", "families", "files", "training"},
    "refiner": {"checkpoints", "families", "media", "training"},
    "engine": {
        *("attention", "checkpoints", "families", "media", "plan", "refiner", "regions", "sampling", "stack"),
        "training",
    },
    "jobs": {"attention", "checkpoints", "engine", "families", "media", "plan", "refiner", "stack"},
    "pocket": {
        *("attention", "families", "files", "media", "plan", "refiner", "regions", "sampling", "stack", "training"),
    },
    "comparison": {
        *("apply", "checkpoints", "engine", "families", "media", "plan", "pocket", "refiner", "stack", "training"),
    },
    "lengths": {
        *("attention", "checkpoints", "comparison", "engine", "families", "media", "plan", "pocket", "sampling"),
        *("stack", "training"),
    },
    "cli": {
        *("attention", "checkpoints", "families", "files", "media", "stack", "plan", "sampling", "engine", "pocket"),
        *("training", "comparison", "jobs", "lengths", "refiner", "regions", "transfer"),
    },
}
#: What nobody but these may name: a family is known to the registry, to what is built for it, and to its own folder.
KNOWS_WAN = {"families/registry.py", "__init__.py", "cli/options.py", "cli/lora_option.py", "cli/demo.py"}
#: Tables of product names that file names may hold, whatever the model.
NAMES_PRODUCTS = {"files/purpose.py", "experts/words.py"}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "assets" not in path.parts)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def wing_of(module: str) -> str:
    return module.split(".")[0]


@cache
def imports_of(path: Path) -> tuple[tuple[str, str], ...]:
    """Return (module, name) of everything that a file imports from the package, inside functions and for types too."""
    package = path.relative_to(ROOT).parts[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = ".".join((*base, *(node.module or "").split("."))).strip(".")
            found += [(module, alias.name) for alias in node.names]
    return tuple(found)


def modules_imported(path: Path) -> Iterator[str]:
    for module, name in imports_of(path):
        inner = f"{module}.{name}".strip(".")
        yield inner if (ROOT / f"{inner.replace('.', '/')}.py").is_file() else module


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_file_imports_from_the_wings_below_its_own(path: Path) -> None:
    name, wing = name_of(path), wing_of(name_of(path))
    if name in ("", "__main__"):
        return  # the face of the package, and its door
    allowed = GROUND | {wing} | MAY_IMPORT.get(wing, set())
    if wing in GROUND:
        allowed = GROUND
    strays = {module for module in modules_imported(path) if wing_of(module) not in allowed}
    assert strays == set()


def test_every_wing_stands_in_the_order() -> None:
    wings = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    files = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert wings - GROUND == set(MAY_IMPORT)
    assert files <= GROUND <= files | wings


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports for types alone do not count: `plan/plot.py` draws a plan, which can be asked for its picture."""
    edges = {name_of(path): set(modules_imported(path)) - only_for_types(path) for path in modules()}
    edges.pop("")
    left = dict(edges)
    while free := [name for name, targets in left.items() if not targets & set(left) - {name}]:
        for name in free:
            del left[name]
    assert left == {}


def only_for_types(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    inside = {ast.unparse(child) for child in chain.from_iterable(ast.walk(node) for node in guarded)}
    package = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and ast.unparse(node) in inside:
            found.add(".".join((*package[: len(package) - node.level + 1], *(node.module or "").split("."))).strip("."))
    return found


def test_a_family_is_named_by_its_own_folder_and_the_registry_alone() -> None:
    families = {family.name for family in FAMILIES}
    for path in modules():
        parts, relative = path.relative_to(ROOT).parts, path.relative_to(ROOT).as_posix()
        inner = [module.split(".") for module, _ in imports_of(path) if module.startswith("families.")]
        named = {names[1] for names in inner}
        own = {parts[1]} if parts[0] == "families" else {"wan", "cosmos"} if parts[0] == "pocket" else set()
        if relative not in KNOWS_WAN:
            assert named & families <= own, relative


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_outside_its_folder_speaks_of_wan(path: Path) -> None:
    """No name and no text of the code holds the word; docstrings may cite where a formula is from."""
    relative = path.relative_to(ROOT).as_posix()
    if relative.startswith(("families/wan/", "families/pieces/", "pocket/")) or relative in KNOWS_WAN | NAMES_PRODUCTS:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose]
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    spoken = [text for text in (*texts, *names) if isinstance(text, str) and "wan" in said(text)]
    assert spoken == []


def said(text: str) -> str:
    """Return a text in small letters without the words that merely hold the three."""
    text = text.lower()
    for word in ("wanloom", "wanted", "wants", "want", "wander"):
        text = text.replace(word, "")
    return text
