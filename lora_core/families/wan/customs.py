"""What the users of Wan have found out about its LoRAs and settings, with where they did."""

from __future__ import annotations

from ...experts import Expert
from ...wording import said
from ..base import ModelSpec
from ..family import Customs, RadialUse, Remark, Told, UsualStrength

#: Rule of `plan/` -> its evidence.
_EVIDENCE = {
    "expert-out-of-range": "three and three of six steps at shift 8 do that to T2V's low expert: WanVideoWrapper#1272",
    "cfg-with-speed": "lightx2v's configurations set enable_cfg to false",
    "shift-with-speed": "lightx2v's configurations: sample_shift 5, timesteps 1000, 937.5, 833.3, 625",
    "speed-on-one-expert": "lightx2v's Wan 2.2 configurations give both experts one, at strength 1 and without cfg",
}

_SPEED = UsualStrength(0.5, 1.5, "lightx2v's own configurations for Wan 2.2 use 1.0 on both experts")

#: Made for Wan 2.1 and used on Wan 2.2's high-noise expert, a speed LoRA is turned up.
_TURNED_UP_SPEED = UsualStrength(
    0.5, 3.0, "Wan 2.1 lightx2v is used at 3 on the high expert: ComfyUI-WanVideoWrapper#1830"
)


def strength(purpose: str, told: Told, expert: Expert) -> UsualStrength | None:
    """Return the strengths at which a speed LoRA is used; None for other LoRAs."""
    if purpose != "speed":
        return None
    made_for_pairs = told.expert or (told.base or "").startswith("wan2.2")
    return _TURNED_UP_SPEED if expert == "high_noise" and not made_for_pairs else _SPEED


def on_base(base: str, spec: ModelSpec) -> Remark | None:
    """Return what is to be said of a LoRA made for another Wan than the one it is put on, or None."""
    if base.startswith("wan2.1") and spec.name.startswith("wan2.2"):
        text = said(
            "made for Wan 2.1 ({base}); on {model} it fits the low-noise expert best", base=base, model=spec.title
        )
        evidence = "diffusion-pipe#332 and #372: 2.1 LoRAs work, the low expert being nearest to 2.1"
        return Remark("wan21-on-wan22", text, evidence)
    if base.startswith("wan2.2") and spec.name.startswith("wan2.1"):
        text = said(
            "made for Wan 2.2 ({base}); {model} is another network of the same shapes", base=base, model=spec.title
        )
        evidence = "Wan 2.2's high-noise expert never saw noise below the boundary, nor the low-noise one above it"
        return Remark("wan22-on-wan21", text, evidence)
    made, wanted = _task(base), _task(spec.name)
    if made and wanted and made != wanted and "ti2v" not in base + spec.name:
        text = said("made for {task} ({base}), used on {model}", task=made.upper(), base=base, model=spec.title)
        return Remark("other-task", text, "text and image models are trained apart", "note")
    return None


def _task(name: str) -> str:
    return next((task for task in ("t2v", "i2v") if f"-{task}-" in name), "")


#: The scripts of mit-han-lab/radial-attention: 12 of 50 steps dense, 11 of 40, 2 of 8, 1 of 4. That the last step is
#: better dense as well is in its issue 51.
_RADIAL_21 = RadialUse(0.2, True, 0.25, 1, 1, "the published script for Wan 2.1 at 69 frames")
_RADIAL_22 = RadialUse(0.8, True, 0.25, 1, 1, "the published script for Wan 2.2 at 77 frames")
_RADIAL_LONG = RadialUse(1.0, True, 2, 1, 2, "arXiv 2506.19852, Wan 2.1 at 161 frames, with a LoRA trained for it")
#: Between once and twice the usual length, which are what there are figures for.
_LONG_FROM = 1.5


def radial(spec: ModelSpec, length: float) -> RadialUse:
    """Return how radial attention is used on clips of this length, the model's default one being 1."""
    if length >= _LONG_FROM:
        return _RADIAL_LONG
    return _RADIAL_21 if spec.name.startswith("wan2.1") else _RADIAL_22


def instructions(spec: ModelSpec, has_picture: bool) -> str:
    """Return the instructions for prompts: of a model that is shown a picture they ask for its motion alone."""
    if "pocket" in spec.name:
        return "pocket"
    return "wan-i2v" if has_picture or spec.image_conditioned else "wan-t2v"


CUSTOMS = Customs(5.0, _EVIDENCE, on_base, strength, radial, instructions=instructions)
