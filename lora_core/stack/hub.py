"""A Hugging Face repository in the place of a path: its LoRA files in the local cache, or fetched on request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..checks import first_line, nearest
from ..errors import StackError
from ..experts import Expert
from ..experts.twins import pairs_among
from ..experts.words import expert_in_name
from ..files.containers.opening import CONTAINERS
from ..wording import said

_PART = r"[A-Za-z0-9][\w.-]*"
#: `owner/name`, `owner/name:file`, `owner/name/file`, or the address of either; pathlib makes one slash of two.
_REPOSITORY = re.compile(
    rf"(?:https?:/+(?:huggingface\.co|hf\.co)/)?({_PART}/{_PART})"
    r"(?:(?:/(?:resolve|blob|tree)/[^/]+/?|[:/])((?:[^/?]+/)*[^/?]*))?(?:\?.*)?"
)
_ADDRESS = re.compile(r"https?:/+")


@dataclass(frozen=True)
class Repository:
    """A repository on the hub.

    Attributes:
        file: the file in it that is meant; None leaves the choice to the expert.
        is_certain: the text cannot be a path, as `owner/name/file` can.
    """

    id: str
    file: str | None = None
    is_certain: bool = True

    @classmethod
    def of(cls, text: str) -> Repository | None:
        """Return the repository that a text may stand for, None where it cannot be one."""
        match = _REPOSITORY.fullmatch(text.strip().rstrip("/"))
        if match is None:
            if _ADDRESS.match(text):
                what, remedy = "is an address, not a file", "Download it and give the path of the file"
                address = _ADDRESS.sub("https://", text)  # pathlib has taken a slash
                raise StackError(address, what, expected="a file, or a repository such as owner/name", remedy=remedy)
            return None
        if match[2] is None and PurePosixPath(match[1]).suffix.lower() in CONTAINERS:
            return None
        is_path = match[2] is not None and text.startswith(f"{match[1]}/")
        return cls(match[1], match[2] or None, is_certain=not is_path)

    @property
    def command(self) -> str:
        """The command that fetches it."""
        return f"hf download {self.id}{f' {self.file}' if self.file else ''}"

    @property
    def is_cached(self) -> bool:
        """Say whether the local cache has it, or a file of it where none is named."""
        return bool(self._cached())

    def find(self, applies_to: str, *, download: bool = False) -> tuple[Path, Path | None]:
        """Return its file for a row, with the low-noise one where the row is for both experts and there is one pair.

        Args:
            applies_to: the row's, which chooses where the repository has a file for each expert.
            download: fetch what is not in the local cache.
        """
        names = self._listed() if download else self._cached()
        if not names:
            raise StackError(
                self._text,
                "the repository holds no LoRA file",
                expected=said("one of {names}", names=", ".join(CONTAINERS)),
                remedy="Choose another repository",
            )
        chosen = self._choose(names, applies_to)
        found = [self._path(name, download=download) for name in chosen]
        return found[0], found[1] if len(found) > 1 else None

    def _choose(self, names: Sequence[str], applies_to: str) -> list[str]:
        if self.file is not None:
            if self.file not in names:
                raise StackError(
                    self._text,
                    "no such file in the repository",
                    expected=nearest(self.file, names),
                    remedy="Correct the name",
                )
            return [self.file]
        if len(names) == 1:
            return list(names)
        pairs = pairs_among(names)
        if applies_to in ("auto", "both") and len(pairs) == 1 and len(names) == 2:
            return [*pairs, *pairs.values()]
        fitting = [name for name in names if _expert(name) == applies_to]
        if len(fitting) == 1:
            return fitting
        asked = f" for {applies_to}" if fitting else ""
        what = said(
            "the repository has {count} LoRA files{asked}: {fitting}",
            count=len(fitting or names),
            asked=asked,
            fitting=", ".join(fitting or names),
        )
        raise StackError(
            self._text, what, remedy=said("Name one, such as {id}:{first}", id=self.id, first=(fitting or names)[0])
        )

    def _cached(self) -> list[str]:
        """Return the LoRA files of the repository that lie in the local cache."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            root = Path(snapshot_download(self.id, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, OSError):
            return []
        names = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        cached = _loras(names)
        return [] if self.file is not None and self.file not in cached else cached

    def _listed(self) -> list[str]:
        """Return the LoRA files that the hub lists, or where it cannot be reached those in the cache."""
        from huggingface_hub import HfApi

        try:
            return _loras(HfApi().list_repo_files(self.id))
        except Exception as error:  # the network fails in as many ways as there are
            if cached := self._cached():
                return cached
            raise self._unreachable(error) from error

    def _path(self, name: str, *, download: bool) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.id, name, local_files_only=not download))
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> StackError:
        remedy = said("Check the name and the network, or try `{command}`", command=self.command)
        return StackError(self._text, said("cannot be fetched: {error}", error=first_line(error)), remedy=remedy)

    @property
    def _text(self) -> str:
        return f"{self.id}:{self.file}" if self.file else self.id


def _expert(name: str) -> Expert | None:
    path = PurePosixPath(name)
    return expert_in_name(path.stem) or expert_in_name(path.parent.name)


def _loras(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if PurePosixPath(name).suffix.lower() in CONTAINERS)
