# ruff: noqa: RUF001  # people type these characters
"""English requests: the sentences that the words of `english_words` stand in."""

import re
from collections.abc import Sequence

import numpy as np

from .english_words import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, UNSUPPORTED
from .speech import Language, Said, chosen, listed

NOTHING = (
    "make a video|make me a video|show me something|anything|something|a video please|a clip|do something nice|"
    "whatever you like|you choose|video|any video|just a video|make something|a short clip|create a video",
    "your choice|dealer's choice|i don't care what|amaze me|improvise",
)
VERBS = (
    "move, move, move, go, go, slide, drift, fly, travel, head, glide, float, roll, run, wander, walk, swim, race, "
    "speed, "
    "creep, jog, come, stroll, push, pass, hurry",
    "sail, cruise, zoom, crawl, march, shift, make its way",
)
FILLERS = (
    "small, big, little, tiny, large, nice, simple, single, shiny, cute, bright, huge, beautiful, medium sized, "
    "very big, "
    "fat, thin, perfect, cool, funny, smooth, glossy, fancy, elegant, great, tall, giant, wonderful",
    "pretty, massive, lovely, compact, neat",
)
ARTICLES = ("a", "a", "a", "a", "the", "one", "some", "my", "")
OPENERS = (
    "please make |show me |video of |a video of |I want |I want to see |can you make |make me |give me |create |"
    "animate |"
    "i need |we want |render |produce |let me see |I'd love to see |would you please make |can we get |hello, |hey, |"
    "generate for me |a scene with |footage of |a shot of |a movie of |a gif of |now |then |so, |ok, |maybe |just |"
    "I would like to have |try |paint |here is |there should be |my prompt: |prompt: |i think of |put |next: |"
    "clip of |hi, |generate |please show |i'd like |draw |let's see |could you please do |short clip: |"
    "an animation of ",
    "I am dreaming of |imagine |how about |would you render |film |we need |picture this: |my idea: ",
)
CLOSERS = (
    " please|, please|, thanks|, high quality|, 4k|!|.|.| pls|, slowly| thx|, short clip|, fast|, smooth motion| ok?|, "
    "8k|, cinematic lighting|"
    ", photorealistic|, looping|, in slow motion|, 5 seconds| thank you|, for my kid|, no sound|, very detailed|, now|"
    ", best quality|...| :D|, not too fast|, that's it|, if you can|, soft light|, again",
    ", that would be great|, cinematic| :)|, as a loop|, if possible|, nothing else",
)
FORMS = (
    (
        "{subject}| {moving}| {on}",
        "{subject}| {moving}| {on}",
        "{subject}| {moves}| {on}",
        "{On}|, {subject}| {moves}",
        "{On}| {subject}| {moving}",
        "{subject}| {moving}|, {look} background",
        "{subject}| {moving}|, background: {look}",
        "{subject}| that {moves}| {on}",
        "{subject}| which {moves}|, with {behind} behind it",
        "{bare}| {way}| {look}",
        "{bare}|, {way}|, {look}",
        "{bare}| / {way}| / {look}",
        "{look} background|, {bare}|, {moving}",
        "{look}|: {subject}| {moving}",
        "{thing} in {colour}| {moving}| {on}",
        "{thing} is {colour}| and {moves}|, {look} background",
        "{moving}| {bare}| {on}",
        "{subject}|. it {moves}|. the background is {look}",
        "{subject}| should {move}|, background {look}",
        "make {subject}| {move}| {on}",
        "let {subject}| {move}|. background {look}",
        "there is {subject}| {moving}| {on}",
        "{subject}| with {behind} in the background|, {moving}",
        "the background is {look}| and {subject}| {moves}",
        "use {behind} as background|. {subject}| {moving}",
        "{colour} {noun}|, direction {way}|, {look}",
        "we see {subject}| {moving}| {on}",
        "you can see {subject}|; it {moves}|; behind it there is {behind}",
        "in the foreground {subject}| {moving}|, in the back {behind}",
        "at the back {behind}|, at the front {subject}|, {moving}",
        "subject: {bare}|, motion: {way}|, background: {look}",
        "background: {look}|; subject: {bare}|; movement: {moving}",
        "shape: {noun}, colour: {colour}|, motion: {way}|, background: {look}",
        "[{bare}]| [{way}]| [{look}]",
        "{bare}| + {way}| + {look}",
        "{bare}|; {moving}|; {look}",
        "{look}|. {bare}|. {way}",
        "{subject}|, {moving}|, and {behind} all around",
        "when {subject}| {moves}|, there is {behind} behind",
        "because I like it: {subject}|, {moving}| {on}",
        "{subject}| {on}|, it {moves}",
        "{subject}| {on}|, {moving}",
        "{subject}| {on}| that {moves}",
        "{subject}|, and it {moves}|, and behind it {behind}",
        "{subject}| is {moving}| {on}",
        "{subject}| was seen {moving}| {on}",
        "{subject}| will {move}| {on}",
        "{subject}| has to {move}|, the background has to be {look}",
        "{moving}|: {bare}|, {look}",
        "{on}| you find {subject}| and it {moves}",
        "{noun}, {colour}|, {moving}|, {look}",
        "the colour is {colour} and the shape is {thing}|, it {moves}|, {look} background",
        "a scene where {subject}| {moves}| {on}",
        "camera on {subject}| {moving}|, {look} backdrop",
        "{subject}| seems to {move}|, all {on}",
        "{subject}| {moving}| while the background stays {look}",
    ),
    (
        "{behind} as far as you can see|, and before it {subject}| {moving}",
        "watch {subject}| as it {moves}| {on}",
        "{way}| goes the story of {subject}|, told before {behind}",
        "scene: {look}|; actor: {bare}|; action: {moving}",
        "{subject}| is {moving}|, while {behind} fills the picture",
        "what if {subject}| would {move}| {on}",
        "{moves}| {on}|: {subject}",
        "I see {subject}|, {on}|, and it {moves}",
        "{bare}| - {look}| - {moving}",
        "set: {look}|. then {subject}| begins to {move}",
        "{thing}, {colour} of course|, {moving}| {on}",
        "{subject}| ({moving})| ({look})",
    ),
)


def phrases(spoken: Said, rng: np.random.Generator, forms: int) -> dict[str, str]:
    """Put what is said into every phrase that a form may ask for; what is not said is empty."""
    bare = _bare(spoken, rng, forms)
    background = listed(spoken.backgrounds, spoken.joiner)
    verb = chosen(rng, VERBS[forms])
    behind = _behind(background, rng)
    on = _on(background, behind, rng)
    return {
        "subject": _with_article(bare, rng) if bare else "",
        "bare": bare,
        "thing": _with_article(listed(spoken.shapes, spoken.joiner), rng) if spoken.shapes else "",
        "noun": listed(spoken.shapes, spoken.joiner),
        "colour": listed(spoken.colours, spoken.joiner),
        "move": _moving(spoken, verb, ""),
        "moves": _moving(spoken, verb, "s"),
        "moving": _moving(spoken, verb, "ing"),
        "way": _moving(spoken, "", "ing"),
        "look": background.replace("~", ""),
        "behind": behind,
        "on": on,
        "On": on,
    }


def inflected(phrase: str, ending: str) -> str:
    """Give the first word of a phrase an ending, s or ing.

    >>> inflected("drop away", "ing"), inflected("go", "s"), inflected("fly", "s")
    ('dropping away', 'goes', 'flies')
    """
    verb, space, rest = phrase.partition(" ")
    if ending == "ing":
        if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]|zigzag", verb):
            verb += verb[-1]
        verb = re.sub("(?<=[^e])e$", "", verb) + "ing"
    elif ending == "s":
        verb = re.sub("(?<=[^aeiou])y$", "ie", verb) + ("es" if re.search("(s|x|ch|sh|o)$", verb) else "s")
    return verb + space + rest


def _moving(spoken: Said, verb: str, ending: str) -> str:
    ways = [_way(motion, verb, ending) for motion in spoken.motions[:1]]
    ways += [_way(motion, "", ending) for motion in spoken.motions[1:]]
    return listed(ways, spoken.joiner)


def _way(motion: str, verb: str, ending: str) -> str:
    mark, plain = split_mark(motion)
    if plain.startswith("="):
        text = inflected(plain[1:], ending)
        return f"{mark}{text}\ue00f" if mark else text
    return f"{inflected(verb, ending)} {motion}".strip() if verb else motion


def split_mark(word: str) -> tuple[str, str]:
    """Split a word into the mark of the user's own words, if it has one, and the word."""
    return (word[0], word[1:-1]) if word[-1:] == "\ue00f" else ("", word)


def _bare(spoken: Said, rng: np.random.Generator, forms: int) -> str:
    if len(spoken.colours) > 1 and len(spoken.shapes) > 1:
        pairs = [f"{colour} {shape}" for colour, shape in zip(spoken.colours, spoken.shapes, strict=False)]
        return f"{pairs[0]}{spoken.joiner}{_with_article(pairs[1], rng)}"
    colour = listed(spoken.colours, spoken.joiner)
    if colour and colour[-1] != "\ue00f" and len(spoken.colours) == 1 and rng.random() < 0.06:
        colour += str(rng.choice([" coloured", "-colored", " colored", " color"]))
    filler = chosen(rng, FILLERS[forms]) if rng.random() < 0.2 else ""
    shape = listed(spoken.shapes, spoken.joiner)
    if not shape and (colour or spoken.triggers or rng.random() < 0.6):
        shape = str(rng.choice(["thing", "one", "object", "shape", "something"]))
        shape = "something" if not colour and rng.random() < 0.5 else shape
    if not spoken.shapes and not colour and shape == "":
        return ""
    if not spoken.shapes and shape == "something":
        return f"something {' '.join(spoken.triggers)} {colour}".replace("  ", " ").strip()
    return " ".join(part for part in (filler, *spoken.triggers, colour, shape) if part)


def _with_article(bare: str, rng: np.random.Generator) -> str:
    article = str(rng.choice(ARTICLES))
    if bare.startswith("something") or not article:
        return bare
    if article == "a" and bare[0] in "aeiou" and rng.random() < 0.7:
        article = "an"
    return f"{article} {bare}"


def _behind(background: str, rng: np.random.Generator) -> str:
    if not background or "~" not in background:
        return background
    noun = rng.choice(["background", "background", "background", "backdrop", "bg", "wall", "surface"])
    return f"{rng.choice(['a ', 'a ', 'a ', ''])}{background.replace('~', '')} {noun}"


def _on(background: str, behind: str, rng: np.random.Generator) -> str:
    if not background:
        return ""
    ways: Sequence[str] = ("on {}", "on {}", "on {}", "over {}", "in front of {}", "against {}", "with {}", "across {}")
    return str(rng.choice(ways)).format(behind)


ENGLISH = Language(
    name="en",
    words={"colour": COLOURS, "shape": SHAPES, "motion": MOTIONS, "background": BACKGROUNDS},
    unsupported=UNSUPPORTED,
    joiners=(" and ", " or ", "/", ", ", " & ", " and ", "-", " or maybe ", " plus "),
    forms=FORMS,
    openers=OPENERS,
    closers=CLOSERS,
    loose=(
        ("{subject}", "{bare}", "{subject}", "the hero is {subject}", "it is {subject}", "there is {subject}"),
        ("{moving}", "{moves}", "{way}", "it {moves}", "should {move}", "it is {moving}", "the motion is {way}"),
        (
            "{on}",
            "{on}",
            "{behind}",
            "{look}",
            "{look} background",
            "the back is {look}",
            "behind: {look}",
            "{look} bg",
        ),
    ),
    joints=(
        *(
            " ",
            ", ",
            "; ",
            ". ",
            " / ",
            " + ",
            " … ",
            " and ",
            ", and ",
            " while ",
            ", then ",
            ": ",
            " | ",
            " > ",
            "\n",
        ),
        *(" but ", ", also ", " now ", " where ", " as ", ", really ", " just ", " with it ", ", of course, ", " – "),
        *(" that's ", ", maybe ", " always ", " simply ", ", by the way ", " there ", ", so ", " together with that "),
    ),
    nothing=NOTHING,
    trigger_closers=(", {}", ", {} style", " in {} style", ", in the style of {}"),
    phrases=phrases,
)
