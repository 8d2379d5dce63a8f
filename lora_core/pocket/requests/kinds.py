"""What a request of each kind says, and what it means: the declared policies, as code.

- ordinary: all is said in words of the lists.
- good: a caption already; the answer is the same, byte for byte.
- protected: a word of the user's own, which is copied as it is: in the place of the shape, or before the colour.
- underspecified: what is left open is red, a circle, moves right, on a plain background.
- unsupported: a word for what the pocket world lacks ("pink star") stays as it is, in its place.
- contradictory: what is named first counts.

To a subject with a word of the user's own nothing is added. How large, fast or beautiful something is, is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .. import world
from ..scenes import held_out_words
from .own_words import made_up_word, trigger_word
from .slots import DEFAULTS, Slots
from .speech import SLOTS, Language, Said, own

VALUES: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(world.COLOURS),
    "shape": world.SHAPES,
    "motion": (*world.DIRECTIONS, "orbits"),
    "background": world.BACKGROUNDS,
}


@dataclass(frozen=True)
class Draw:
    """How a row is drawn: the generator, the language, the list of words, and whether mixtures are held-out ones."""

    rng: np.random.Generator
    language: Language
    words: str
    is_held_out: bool

    def chance(self, share: float) -> bool:
        """Say yes in so large a share of all cases."""
        return bool(self.rng.random() < share)

    def word(self, slot: str, value: str) -> str:
        """Draw a word for a value."""
        return str(self.rng.choice(self.language.words_for(slot, value, self.words)))

    def scene(self, left_open: tuple[str, ...] = ()) -> Slots:
        """Draw what a caption says; what is left open has its default."""
        held_out = set(held_out_words())
        while True:
            values = {slot: str(self.rng.choice(VALUES[slot])) for slot in SLOTS}
            scene = Slots(**values | {slot: getattr(DEFAULTS, slot) for slot in left_open})
            if ((scene.colour, scene.shape, scene.motion, scene.background) in held_out) == self.is_held_out:
                return scene

    def said(self, scene: Slots, left_open: tuple[str, ...] = ()) -> Said:
        """Put a scene into words, but for what is left open."""
        told = Said()
        for slot in SLOTS:
            if slot not in left_open:
                told = told.with_words(slot, self.word(slot, getattr(scene, slot)))
        return told


#: What is said, and what it means; a slot for which the user's own word stands is empty in the meaning.
Plan = tuple[Said, Slots]


def _ordinary(draw: Draw) -> Plan:
    scene = draw.scene()
    return draw.said(scene), scene


def _underspecified(draw: Draw) -> Plan:
    while True:
        num_open = int(draw.rng.choice([1, 1, 2, 2, 3, 3, 4], p=(0.2, 0.2, 0.2, 0.15, 0.1, 0.1, 0.05)))
        left_open = tuple(str(slot) for slot in draw.rng.choice(SLOTS, num_open, replace=False))
        if not draw.is_held_out or any(_agree(mixture, left_open) for mixture in held_out_words()):
            scene = draw.scene(left_open)
            return draw.said(scene, left_open), scene


def _agree(mixture: tuple[str, ...], left_open: tuple[str, ...]) -> bool:
    return all(mixture[SLOTS.index(slot)] == getattr(DEFAULTS, slot) for slot in left_open)


def _protected(draw: Draw) -> Plan:
    left_open = tuple(slot for slot in ("motion", "background") if draw.chance(0.12))
    scene, word = draw.scene(left_open), trigger_word(draw.rng)
    said = draw.said(scene, left_open)
    if word in world.OWN_COLOURS or draw.chance(0.5):
        has_colour = word not in world.OWN_COLOURS and draw.chance(0.3)
        said = replace(said, shapes=(own("shape", word),), colours=said.colours if has_colour else ())
        return said, replace(scene, shape="", colour=scene.colour if has_colour else "")
    if draw.chance(0.2):
        return replace(said, triggers=(own("trigger", word),), colours=()), replace(scene, colour="")
    return replace(said, triggers=(own("trigger", word),)), scene


def _unsupported(draw: Draw) -> Plan:
    left_open = tuple(slot for slot in ("motion", "background") if draw.chance(0.25))
    scene = draw.scene(left_open)
    said = draw.said(scene, left_open)
    choices = (("colour",), ("shape",), ("colour", "shape"), ("motion",), ("background",), ("colour", "motion"))
    replaced = choices[int(draw.rng.choice(len(choices), p=(0.25, 0.3, 0.2, 0.1, 0.1, 0.05)))]
    for slot in replaced:
        word = str(draw.rng.choice(draw.language.unsupported_words(slot, draw.words)))
        if slot in ("colour", "shape") and draw.chance(0.1):
            word = made_up_word(draw.rng) + ("!" if draw.language.name == "de" and slot == "colour" else "")
        said = said.with_words(slot, own(slot, word))
        scene = scene.with_value(slot, "")
    if replaced == ("shape",) and draw.chance(0.25):
        return replace(said, colours=()), replace(scene, colour="")
    return said, scene


def _contradictory(draw: Draw) -> Plan:
    scene = draw.scene()
    said = draw.said(scene)
    twice = [("colour",), ("shape",), ("motion",), ("background",), ("colour", "shape")][int(draw.rng.integers(5))]
    for slot in twice:
        said = said.with_words(slot, *_two_words(draw, slot, getattr(scene, slot)))
    return replace(said, joiner=str(draw.rng.choice(draw.language.joiners))), scene


def _two_words(draw: Draw, slot: str, value: str) -> tuple[str, str]:
    """Draw words for a value and for another; two of one sort, since "stripes and plain" has no place in a sentence."""
    others = [other for other in VALUES[slot] if other != value]
    while True:
        first, second = draw.word(slot, value), draw.word(slot, str(draw.rng.choice(others)))
        if slot != "background" or first.endswith("~") == second.endswith("~"):
            return first, second


def _good(draw: Draw) -> Plan:
    scene = draw.scene()
    if draw.chance(0.6):
        return Said(), scene
    word = trigger_word(draw.rng)
    if word in world.OWN_COLOURS:
        return Said(), replace(scene, colour="", shape=word)
    if draw.chance(0.5):
        return Said(), replace(scene, colour="", shape="", others=(word,))
    return Said(), replace(scene, others=(word,))


PLANS: Mapping[str, Callable[[Draw], Plan]] = {
    "ordinary": _ordinary,
    "good": _good,
    "protected": _protected,
    "underspecified": _underspecified,
    "unsupported": _unsupported,
    "contradictory": _contradictory,
}
