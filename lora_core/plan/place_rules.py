"""The rules about LoRAs that act in a part of the clip."""

from __future__ import annotations

from collections.abc import Iterator

from ..checks import first_few
from ..wording import said
from .advice import Advice
from .case import Case


def without_place(case: Case) -> Iterator[Advice]:
    """Tell of changes that act everywhere, at the mean of a LoRA's mask, as no token has them to itself."""
    for lora in case.routed:
        if targets := lora.without_place:
            text = said(
                "{count} of its {whole} changes have no place in the clip ({names}). They act everywhere, at the mean "
                "of its mask",
                count=len(targets),
                whole=len(lora.factors),
                names=first_few(targets),
            )
            evidence = "what is made of the time or of the whole text is the same for all tokens"
            yield Advice(lora.name, "without-place", text, evidence, "note")


def speed_in_a_part(case: Case) -> Iterator[Advice]:
    """Warn of a speed LoRA that leaves a part of the clip to steps that are too few for it."""
    for lora in case.speed:
        if lora.is_masked:
            text = said(
                "a speed LoRA acts in a part of the clip, and the steps are too few for the rest of it. Let it act "
                "everywhere"
            )
            yield Advice(lora.name, "speed-in-a-part", text, "all tokens are denoised in the same steps")
