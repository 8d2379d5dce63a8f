"""What is to be said of LoRAs that were trained for a length: what for, and where a run is another than that."""

from __future__ import annotations

from collections.abc import Iterator

from ..files.trained_length import TrainedLength, trained_length
from ..stack.loaded import LoadedLora, LoadedStack
from ..wording import Said, said

#: Beyond this many times its length nothing is known of a LoRA, which has never seen a clip so long.
FAR = 1.25


def length_of(lora: LoadedLora) -> TrainedLength | None:
    """Return the length that a LoRA's files tell; None of one that was trained for none."""
    return next((told for weights in lora.files if (told := trained_length(weights.metadata)) is not None), None)


def length_notes(loaded: LoadedStack, num_frames: int, *, is_radial: bool) -> tuple[Said, ...]:
    """Return a line for each LoRA that acts and was trained for another length, or with another attention.

    Args:
        loaded: the stack.
        num_frames: frames of pixels that are made.
        is_radial: whether self-attention is radial.
    """
    return tuple(
        said("warning: {name}: {text}", name=lora.name, text=text)
        for lora in loaded.loras
        if any(lora.entry.strength_on(expert) for expert in lora.halves()) and (told := length_of(lora)) is not None
        for text in _other(told, num_frames, is_radial)
    )


def _other(told: TrainedLength, num_frames: int, is_radial: bool) -> Iterator[Said]:
    lengths = {"frames": num_frames, "base": told.base_frames, "long": told.num_frames}
    if num_frames > FAR * told.num_frames:
        yield said("trained for {long} frames, it has never seen {frames}. Make a shorter clip", **lengths)
    elif num_frames < told.base_frames:
        yield said("trained for {base} to {long} frames, and {frames} are fewer. Turn it off for such clips", **lengths)
    if not is_radial and num_frames > told.base_frames:
        yield said(
            "trained with radial attention (decay {decay}, {blocks} dense blocks), and this run is dense. "
            "Add radial attention if the clip suffers",
            decay=f"{told.decay:g}",
            blocks=told.dense_blocks,
        )
