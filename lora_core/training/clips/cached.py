"""The cache of a clips folder, as a training reads it: latents, embedded captions, and what image models are told.

Letters: C latent channels, F latent frames, H W latent height and width, L text tokens, D text width.
Dtype policy: latents and condition float32, normalised; texts in the dtype they were embedded in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class CachedClip:
    """One window of one clip, in one variant.

    Attributes:
        name: what people call it: the file, the window and the variant where there are several.
        source: the file's name, the same for all windows and variants of a clip.
        file: its latents, a safetensors file.
        texts: its embedded captions, one file each.
        captions: the same as words, the trigger in front.
        shape: of its latents, (C, F, H, W); clips of one shape are of one bucket.
        num_frames: frames of pixels.
        held_out: whether it is kept for validation.
    """

    name: str
    source: str
    file: Path
    texts: tuple[Path, ...]
    captions: tuple[str, ...]
    shape: tuple[int, int, int, int]
    num_frames: int
    held_out: bool = False


@dataclass(frozen=True, eq=False)
class Example:
    """What one training step is given of a clip.

    Attributes:
        latents: (C, F, H, W), normalised.
        told: name of a field of `Condition` -> its tensor without the batch axis, for models that look at a picture.
    """

    latents: Tensor
    told: Mapping[str, Tensor]


@dataclass(frozen=True)
class ClipCache:
    """All that is trained on.

    Attributes:
        empty_text: the embedding of the empty caption, for caption dropout.
        digest: a hash of what every clip and caption came from and how it was encoded.
    """

    folder: Path
    clips: tuple[CachedClip, ...]
    empty_text: Path
    digest: str

    @property
    def trained(self) -> tuple[CachedClip, ...]:
        return tuple(clip for clip in self.clips if not clip.held_out)

    @property
    def held_out(self) -> tuple[CachedClip, ...]:
        return tuple(clip for clip in self.clips if clip.held_out)


def read_example(clip: CachedClip) -> Example:
    """Read the latents of a cached clip, and what its model is told of its picture."""
    from safetensors.torch import load_file

    tensors = load_file(clip.file)
    return Example(tensors.pop("latents"), tensors)


def read_text(file: Path) -> Tensor:
    """Read an embedded caption (L, D), without the zeros behind its last token."""
    from safetensors.torch import load_file

    return load_file(file)["text"]
