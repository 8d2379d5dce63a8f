"""What a record calls a helper that somebody else has made."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def name_of(maker: object) -> str:
    """Return what a record calls a checker or another helper: where it is defined, and its package's version."""
    kind = maker if hasattr(maker, "__qualname__") else type(maker)
    module = getattr(kind, "__module__", None) or "builtins"  # methods that are written in C know none
    package = module.partition(".")[0]
    try:
        return f"{package}.{kind.__qualname__} {version(package)}"
    except PackageNotFoundError:
        return f"{module}.{kind.__qualname__}"
