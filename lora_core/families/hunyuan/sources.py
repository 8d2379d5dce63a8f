"""Where each piece of a HunyuanVideo model lies on disk, found from what the user named, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...checkpoints.checkpoint import CHECKPOINT_SUFFIXES
from ...errors import ModelError
from ...wording import said
from ..pieces.places import existing, index_of, needed, optional, read_index, stated_shift

#: The pipelines of a `model_index.json` that are this family's: the one that is opened, and those refused by name.
PIPELINE = "HunyuanVideoPipeline"
_OTHERS = {
    "HunyuanVideoImageToVideoPipeline": "HunyuanVideo I2V",
    "HunyuanSkyreelsImageToVideoPipeline": "SkyReels I2V",
    "HunyuanVideoFramepackPipeline": "FramePack",
    "HunyuanVideo15Pipeline": "HunyuanVideo 1.5",
    "HunyuanVideo15ImageToVideoPipeline": "HunyuanVideo 1.5",
}
PIPELINES = (PIPELINE, *_OTHERS)

_VAE = "HunyuanVideo's VAE, such as hunyuan_video_vae_bf16.safetensors"
_LLAMA = "the Llama text encoder, such as llava_llama3_fp8_scaled.safetensors"
_CLIP = "CLIP-L beside the Llama text encoder, such as clip_l.safetensors"


@dataclass(frozen=True)
class HunyuanSources:
    """The files or folders of one model's pieces.

    Attributes:
        high: the transformer, the only expert; so called as in every family.
        text_encoder, tokenizer: of Llama.
        text_encoder_2, tokenizer_2: of CLIP; each lies beside the first one, as diffusers and ComfyUI have them.
        shift: what a diffusers folder states; None where nothing does.
    """

    high: Path
    vae: Path | None = None
    text_encoder: Path | None = None
    text_encoder_2: Path | None = None
    tokenizer: Path | None = None
    tokenizer_2: Path | None = None
    shift: float | None = None

    @property
    def vae_expected(self) -> str:
        """What would satisfy a model that was opened without one."""
        return _VAE

    @property
    def text_expected(self) -> str:
        """What would satisfy a model that was opened without one."""
        return _LLAMA

    def missing(self) -> dict[str, str]:
        """Return piece -> what would satisfy it, of those beside Llama that are missing."""
        expected = {"text_encoder_2": _CLIP, "tokenizer": "the folder of Llama's tokenizer"}
        expected |= {"tokenizer_2": "the folder of CLIP's tokenizer"}
        return {piece: text for piece, text in expected.items() if getattr(self, piece) is None}


def find_sources(
    source: str | Path,
    *,
    text_encoder: str | Path | None = None,
    tokenizer: str | Path | None = None,
    vae: str | Path | None = None,
) -> HunyuanSources:
    """Find the pieces of a diffusers folder or of single files; given ones go first."""
    path = Path(source).expanduser()
    found = _folder(path) if path.is_dir() else _single_file(path)
    if vae is not None:
        found = replace(found, vae=existing(vae, "vae"))
    if text_encoder is not None:
        found = _with_text(found, existing(text_encoder, "text_encoder"))
    if tokenizer is not None:
        found = _with_tokenizers(found, existing(tokenizer, "tokenizer"))
    return found


def _folder(root: Path) -> HunyuanSources:
    pipeline = index_of(root).get("_class_name")
    if pipeline in _OTHERS:
        raise not_opened(root, _OTHERS[str(pipeline)])
    read_index(root, (PIPELINE,), said("Choose a folder of HunyuanVideo"))
    found = HunyuanSources(needed(root / "transformer"), optional(root / "vae"), shift=stated_shift(root))
    return _with_text(found, root)


def _single_file(path: Path) -> HunyuanSources:
    if not path.is_file():
        expected = said(
            "a diffusers folder, or a file ending in {checkpoint_suffixes}",
            checkpoint_suffixes=", ".join(CHECKPOINT_SUFFIXES),
        )
        raise ModelError(path, "no such file or folder", expected=expected, remedy="Check the path")
    return HunyuanSources(path)


def _with_text(found: HunyuanSources, path: Path) -> HunyuanSources:
    """Take both text encoders from the folder of a whole model, or one and what lies beside it."""
    llama = path / "text_encoder" if (path / "text_encoder").is_dir() else path
    beside = llama.parent / "text_encoder_2"
    clips = [beside] if beside.is_dir() else sorted(llama.parent.glob("clip_l*.safetensors"))
    found = replace(found, text_encoder=llama, text_encoder_2=clips[0] if clips else None)
    return _with_tokenizers(found, llama if llama.is_dir() else llama.parent)


def _with_tokenizers(found: HunyuanSources, path: Path) -> HunyuanSources:
    """Take both tokenizers from a folder that has `tokenizer` and `tokenizer_2`, from one of these, or from beside."""
    for root in (path, path.parent):
        pair = root / "tokenizer", root / "tokenizer_2"
        if path in pair or all(folder.is_dir() for folder in pair):
            return replace(found, tokenizer=optional(pair[0]), tokenizer_2=optional(pair[1]))
    own = path if path.is_file() or (path / "tokenizer.json").is_file() else None
    return replace(found, tokenizer=own or found.tokenizer, tokenizer_2=found.tokenizer_2)


def not_opened(where: object, relative: str) -> ModelError:
    """Return the error for a relative of HunyuanVideo that is known and not opened."""
    return ModelError(
        where,
        said("is {relative}, which is not opened here", relative=relative),
        expected="HunyuanVideo (1.0), text to video",
        remedy="Choose that model, or use this one in ComfyUI with LoRA Stack On Models",
    )
