"""The filling of a cache: what is missing of takes and captions encoded, what is there left as it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ...errors import DatasetError
from ...families.opened import OpenedModel
from ...progress import Progress
from ...wording import said
from .cached import CachedClip, ClipCache
from .encode import LATENTS, TEXT, encode_caption, encode_clip
from .store import Store, hash_of, write_entry
from .takes import Take
from .variants import Variant

_log = logging.getLogger(__name__)


def fill_cache(
    store: Store, takes: Sequence[Take], model: OpenedModel, background: str, progress: Progress
) -> ClipCache:
    """Encode what the store lacks, and return all that these takes are trained on; the encoders leave the device.

    The captions of the takes have their trigger in front already. Latents are encoded one take at a time: encoded
    together they would differ in their last bits with what else was missing.
    """
    _embed(store, [caption for take in takes for caption in take.clip.captions], model, progress)
    model.release()  # the text encoder is larger than all that follows
    _encode(store, takes, model, background, progress)
    model.release()
    clips = tuple(_cached(store, take, variant) for take in takes for variant in take.variants)
    return ClipCache(store.folder, clips, store.text(""), _digest(clips))


def _embed(store: Store, captions: Sequence[str], model: OpenedModel, progress: Progress) -> None:
    missing = [caption for caption in dict.fromkeys(("", *captions)) if not store.has_text(caption)]
    for done, caption in enumerate(missing, start=1):
        write_entry(store.text(caption), {TEXT: encode_caption(model, caption)}, caption)
        progress(done, len(missing), said("embed captions"))


def _encode(store: Store, takes: Sequence[Take], model: OpenedModel, background: str, progress: Progress) -> None:
    missing = {take: _missing(store, take) for take in takes}
    total, done = sum(map(len, missing.values())), 0
    for take, frames in _decoded([take for take in takes if missing[take]], background):
        for variant in missing[take]:
            tensors = encode_clip(model, variant.cut(frames, take.bucket))
            _check(tensors, take.name(variant))
            write_entry(store.latents(take, variant), tensors, take.name(variant))
            done += 1
            progress(done, total, said("encode clips"))
    if total:
        _log.info("encoded %d clips into %s", total, store.folder)


def _missing(store: Store, take: Take) -> tuple[Variant, ...]:
    return tuple(variant for variant in take.variants if not store.has_latents(take, variant))


def _decoded(takes: Sequence[Take], background: str) -> Iterator[tuple[Take, np.ndarray]]:
    """Yield each take with its frames; the next one is decoded meanwhile, so that memory holds two and no more."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        coming = [pool.submit(take.frames, background) for take in takes[:1]]
        for index, take in enumerate(takes):
            frames = coming.pop().result()
            coming = [pool.submit(following.frames, background) for following in takes[index + 1 : index + 2]]
            yield take, frames


def _check(tensors: Mapping[str, Tensor], name: str) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        remedy = "Leave the clip out, or try another VAE or device"
        raise DatasetError(name, "its latents are not finite", expected="finite numbers", remedy=remedy)


def _cached(store: Store, take: Take, variant: Variant) -> CachedClip:
    file = store.latents(take, variant)
    with safe_open(file, framework="pt") as entry:
        channels, num_frames, height, width = entry.get_slice(LATENTS).get_shape()
    return CachedClip(
        name=take.name(variant),
        source=take.clip.name,
        file=file,
        texts=tuple(store.text(caption) for caption in take.clip.captions),
        captions=take.clip.captions,
        shape=(channels, num_frames, height, width),
        num_frames=take.window.num_frames,
        held_out=bool(take.clip.held_out),
    )


def _digest(clips: Sequence[CachedClip]) -> str:
    """Return the hash of everything that is trained on, in whatever order the folder lists it."""
    return hash_of(sorted([clip.file.stem, *(text.stem for text in clip.texts), str(clip.held_out)] for clip in clips))
