"""Where each piece of a HunyuanVideo model lies on disk, found from what the user named, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...checkpoints.checkpoint import CHECKPOINT_SUFFIXES, read_json_file
from ...errors import ModelError
from ...wording import said

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
        text_encoder, tokenizer: of Llama.
        text_encoder_2, tokenizer_2: of CLIP; each lies beside the first one, as diffusers and ComfyUI have them.
        shift: what a diffusers folder states; None where nothing does.
    """

    transformer: Path
    vae: Path | None = None
    text_encoder: Path | None = None
    text_encoder_2: Path | None = None
    tokenizer: Path | None = None
    tokenizer_2: Path | None = None
    shift: float | None = None

    def missing(self) -> dict[str, str]:
        """Return piece -> what would satisfy it, of those that are missing."""
        expected = {"vae": _VAE, "text_encoder": _LLAMA, "text_encoder_2": _CLIP}
        expected |= {"tokenizer": "the folder of Llama's tokenizer", "tokenizer_2": "the folder of CLIP's tokenizer"}
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
        found = replace(found, vae=_existing(vae, "vae"))
    if text_encoder is not None:
        found = _with_text(found, _existing(text_encoder, "text_encoder"))
    if tokenizer is not None:
        found = _with_tokenizers(found, _existing(tokenizer, "tokenizer"))
    return found


def _folder(root: Path) -> HunyuanSources:
    index_file = root / "model_index.json"
    if not index_file.is_file():
        expected = said("{index_file} of a diffusers model", index_file=index_file)
        raise ModelError(root, "is no diffusers model folder", expected=expected, remedy="Name that folder or a file")
    pipeline = read_json_file(index_file).get("_class_name")
    if pipeline in _OTHERS:
        raise not_opened(root, _OTHERS[str(pipeline)])
    if pipeline != PIPELINE:
        what = said("is of the pipeline {pipeline!r}", pipeline=pipeline)
        raise ModelError(index_file, what, expected=PIPELINE, remedy="Choose a folder of HunyuanVideo")
    if not (root / "transformer").is_dir():
        raise ModelError(
            root,
            said("the folder {folder!r} is missing", folder="transformer"),
            expected=said("{folder}/config.json and weights", folder=root / "transformer"),
            remedy="Download the model again",
        )
    found = HunyuanSources(root / "transformer", _optional(root / "vae"), shift=_shift(root))
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
            return replace(found, tokenizer=_optional(pair[0]), tokenizer_2=_optional(pair[1]))
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


def _shift(root: Path) -> float | None:
    file = root / "scheduler" / "scheduler_config.json"
    config = read_json_file(file) if file.is_file() else {}
    shift = config.get("flow_shift", config.get("shift"))
    return float(shift) if isinstance(shift, int | float) else None


def _optional(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None


def _existing(path: str | Path, argument: str) -> Path:
    found = Path(path).expanduser()
    if not found.exists():
        raise ModelError(
            found, said("no such file or folder, given as {argument}", argument=argument), remedy="Check the path"
        )
    return found
