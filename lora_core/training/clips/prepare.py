"""The preparation of a clips folder: examined first, then encoded into its cache."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...atomic import real_target, write_text
from ...checks import typed
from ...errors import DatasetError
from ...families.base import ModelSpec
from ...families.opened import OpenedModel
from ...progress import Progress, unheard
from ...wording import said
from ..settings.clips import ClipSettings
from .buckets import bucket_of
from .cache import fill_cache
from .cached import ClipCache
from .captions import full_caption
from .clip import Clip
from .diagnosis import Diagnosis, bucket_notes
from .doctor import examine
from .encode import caption_notes
from .layout import CACHE_NAME, NO_CLIPS
from .store import store_for
from .takes import Take, takes_of


@dataclass(frozen=True, eq=False)
class Prepared:
    """A clips folder made ready.

    Attributes:
        cache: what is trained on.
        diagnosis: what the doctor says of every file.
        notes: what else is good to know, a line each.
    """

    cache: ClipCache
    diagnosis: Diagnosis
    notes: tuple[str, ...]


@typed(DatasetError)
def prepare(
    folder: str | Path,
    model: OpenedModel,
    settings: ClipSettings | None = None,
    *,
    cache: str | Path | None = None,
    progress: Progress = unheard,
) -> Prepared:
    """Examine a folder of clips, and encode what its cache lacks of the usable ones.

    Args:
        folder: videos and pictures with captions.
        model: whose VAE, text encoder and, for some, image encoder are used; they leave the device afterwards.
        settings: how clips are read, cut, sized and split.
        cache: where latents and embedded captions are kept; `.wanloom-cache` inside `folder` unless given.
        progress: told what is done of each kind of work.

    Raises:
        DatasetError: the folder, a caption or too many of the clips cannot be used.
        OutputError: the cache cannot be written.
    """
    check_ready(folder, model, cache)
    diagnosis = examine(folder, settings or ClipSettings(), model.spec, progress)
    return prepare_examined(diagnosis, model, cache=cache, progress=progress)


def check_ready(folder: str | Path, model: OpenedModel, cache: str | Path | None = None) -> None:
    """Raise what `prepare` would raise of the model and the place of the cache, before any work is done."""
    model.require(text=True, vae=True, picture=model.spec.image_conditioned)
    if Path(folder).is_dir():
        real_target(cache_folder(folder, cache) / "latents" / "entry")


def prepare_examined(
    diagnosis: Diagnosis, model: OpenedModel, *, cache: str | Path | None = None, progress: Progress = unheard
) -> Prepared:
    """Encode what the cache of a folder lacks of the clips that a doctor found usable."""
    settings = diagnosis.settings
    takes = plan_takes(diagnosis.clips, settings, model.spec)
    captions = [caption for take in takes for caption in take.clip.captions]
    store = store_for(model, settings, cache_folder(diagnosis.folder, cache))
    if not (store.folder / NO_CLIPS).exists():
        write_text("", store.folder / NO_CLIPS)
    filled = fill_cache(store, takes, model, settings.background, progress)
    return Prepared(filled, diagnosis, (*_split_notes(takes), *caption_notes(model, captions)))


def cache_folder(folder: str | Path, cache: str | Path | None = None) -> Path:
    """Return where the cache of a clips folder is, or will be."""
    return Path(folder) / CACHE_NAME if cache is None else Path(cache)


def plan_takes(clips: Sequence[Clip], settings: ClipSettings, spec: ModelSpec) -> tuple[Take, ...]:
    """Return what of usable clips is encoded, captions with the trigger in front."""
    return takes_of([_with_trigger(clip, settings.trigger) for clip in clips], settings, spec)


def buckets_of(clips: Iterable[Clip], settings: ClipSettings, spec: ModelSpec) -> dict[str, str]:
    """Return the name of each clip -> the bucket it comes into, in words."""
    return {clip.name: str(bucket_of(clip.probe, settings, spec)) for clip in clips}


def bucket_lines(buckets: dict[str, str], batch_size: int = 1) -> tuple[str, ...]:
    """Say how many clips are in each bucket, the fullest first, and which cannot fill one batch."""
    names: dict[str, list[str]] = {}
    for name, bucket in buckets.items():
        names.setdefault(bucket, []).append(name)
    counts = Counter({bucket: len(clips) for bucket, clips in names.items()}).most_common()
    lines = (
        said(
            "bucket {bucket}: {count} clip" if count == 1 else "bucket {bucket}: {count} clips",
            bucket=bucket,
            count=count,
        )
        for bucket, count in counts
    )
    return (*lines, *bucket_notes(names, batch_size))


def _with_trigger(clip: Clip, trigger: str) -> Clip:
    captions = (full_caption(trigger, caption) for caption in clip.captions)
    return replace(clip, captions=tuple(dict.fromkeys(captions)))


def _split_notes(takes: Sequence[Take]) -> tuple[str, ...]:
    if any(take.clip.held_out for take in takes):
        return ()
    return ("no clip is held out, so nothing will tell when a training begins to overfit",)
