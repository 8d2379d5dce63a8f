# ruff: noqa: RUF001  # people type these characters
"""German requests: the sentences that the words of `german_words` stand in."""

from collections.abc import Sequence

import numpy as np

from .german_words import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, UNSUPPORTED
from .speech import END, Language, Said, chosen, listed

NOTHING = (
    "mach ein Video|mach mir ein Video|ein Video bitte|irgendwas|irgendein Video|zeig mir etwas|egal was|"
    "such dir was aus|"
    "Video|ein kurzer Clip|mach was Schönes|etwas Schönes|erstelle ein Video",
    "überrasche mich|lass dir was einfallen|nach deinem Geschmack",
)
VERBS = (
    "bewegt sich/sich * bewegt/sich * bewegen, bewegt sich/sich * bewegt/sich * bewegen, fliegt/* fliegt/* fliegen, "
    "geht/* geht/* gehen, rutscht/* rutscht/* rutschen, gleitet/* gleitet/* gleiten, fährt/* fährt/* fahren, "
    "wandert/* wandert/* wandern, rollt/* rollt/* rollen, schwebt/* schwebt/* schweben, läuft/* läuft/* laufen, "
    "rennt/* rennt/* rennen, kommt/* kommt/* kommen, reist/* reist/* reisen, schwimmt/* schwimmt/* schwimmen, "
    "kriecht/* kriecht/* kriechen, eilt/* eilt/* eilen, segelt/* segelt/* segeln",
    "saust/* saust/* sausen, zieht/* zieht/* ziehen, schiebt sich/sich * schiebt/sich * schieben, "
    "treibt/* treibt/* treiben",
)
FILLERS = (
    "klein, groß, schön, winzig, riesig, hübsch, nett, einfach, glänzend, leuchtend, perfekt, "
    "lustig, elegant, dick, dünn, lang, toll, edel, mittelgroß",
    "gewaltig, niedlich, schick, ordentlich",
)
OPENERS = (
    "bitte |Video: |ein Video: |Clip: |hallo, |ich will das sehen: |mach mal: |zeig mir: |erstelle: |bitte ein Video: |"
    "generiere: |kannst du das machen: |mach bitte ein Video: |animiere: |"
    "ich hätte gern: |wir wollen: |also, |jetzt |nun |guten Tag, |bitte einmal: |hey, |Szene mit: |ein Film: |"
    "ein GIF: |"
    "Prompt: |mein Wunsch: |vielleicht |probier mal: |male: |könntest du das zeigen: |als Video: |dann |ok, ",
    "ich stelle mir vor: |filme: |wie wäre es mit: |Idee: |ich brauche: ",
)
CLOSERS = (
    " bitte|, bitte|, danke|!|.|.|, langsam|, schnell|, kurzer Clip|, hohe Qualität|, 4k| danke|, in Zeitlupe|, "
    "nicht zu schnell|, fünf Sekunden|"
    ", ohne Ton|, für mein Kind| vielen Dank|, sehr detailliert|, noch einmal|...| :D|, mehr nicht|, weiches Licht|, "
    "ok?",
    ", das wäre toll|, als Schleife|, filmisch|, sonst nichts",
)
FORMS = (
    (
        "{subject}| {moves}| {on}",
        "{subject}| {moves}| {on}",
        "{subject}| {moves}|, {look} im Hintergrund",
        "{subject}|, {relative}|, {on}",
        "{subject}| {moves}|, Hintergrund {look}",
        "{bare}| {way}| {look}",
        "{bare}|, {way}|, {look}",
        "{bare}| {way}|, {look}",
        "{on}| {moves}| {subject}",
        "{on}|: {subject}|, {relative}",
        "mach mir {object}|, {relative}|, {on}",
        "zeig {object}|, {relative}|, Hintergrund: {look}",
        "ich möchte {object}|, {relative}|, {on}",
        "ein Video von {dative}|, {relative}|, {on}",
        "Hintergrund {look}|, {subject}| {moves}",
        "der Hintergrund ist {look}|. {subject}| {moves}",
        "lass {object}| {end}|, {on}",
        "{subject}| soll {end}|, {on}",
        "{noun} in {colour}| {way}| {on}",
        "{bare}| {on}| {way}",
        "es gibt {object}|, {relative}|, {on}",
        "man sieht {object}|, {relative}|, {on}",
        "im Vordergrund {subject}|, {relative}|, hinten {look}",
        "hinten {look}|, vorne {subject}|, {relative}",
        "Motiv: {bare}|, Richtung: {way}|, Hintergrund: {look}",
        "Hintergrund: {look}|; Objekt: {bare}|; Bewegung: {end}",
        "Form: {noun}, Farbe: {colour}|, Bewegung: {way}|, Hintergrund: {look}",
        "[{bare}]| [{way}]| [{look}]",
        "{bare}| + {way}| + {look}",
        "{bare}|; {way}|; {look}",
        "{look}|. {bare}|. {way}",
        "{subject}| {on}|, {relative}",
        "{subject}| {on}| {moves}",
        "{subject}|, und zwar {on}|, {moves}",
        "{subject}| muss {end}|, der Hintergrund soll {look} sein",
        "{subject}| will {end}| {on}",
        "wenn {subject}| {last}|, dann {on}",
        "{moves}| {subject}| {on}",
        "{on}| soll {subject}| {end}",
        "{on}| gibt es {object}|, {relative}",
        "da ist {subject}|, {relative}|. Dahinter ist alles {look}",
        "wir sehen, dass {subject}| {last}|, {on}",
        "eine Szene mit {dative}|, {relative}|, {on}",
        "{subject}| / {way}| / {look}",
        "{noun}, {colour}|, {way}|, {look}",
    ),
    (
        "Szene: {look}|; Figur: {bare}|; Bewegung: {way}",
        "{on}| sieht man {object}|, {relative}",
        "{subject}| könnte {end}| {on}",
        "dahinter {look}|, davor {subject}|, {relative}",
        "man sieht, wie {subject}| {last}| {on}",
        "{bare}| - {look}| - {way}",
        "am liebsten {subject}| {on}|, {relative}",
        "während {look} das Bild füllt|, {moves}| {subject}",
        "{subject}| ({way})| ({look})",
    ),
)
_ENDINGS = {"nominative": {"m": "er", "f": "e", "n": "es"}, "accusative": {"m": "en", "f": "e", "n": "es"}}
_ARTICLES = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}


def phrases(spoken: Said, rng: np.random.Generator, forms: int) -> dict[str, str]:
    """Put what is said into every phrase that a form may ask for; what is not said is empty."""
    verb = chosen(rng, VERBS[forms])
    filler = chosen(rng, FILLERS[forms]) if rng.random() < 0.15 else ""
    ways = [_moving(spoken, verb, form) for form in range(3)]
    gender = gender_of(spoken.shapes[0])[0] if spoken.shapes else "n"
    who = {"m": "der", "f": "die", "n": "das"}[gender]
    look, on = _background(spoken, rng)
    return {
        "subject": _subject(spoken, "nominative", filler, rng),
        "object": _subject(spoken, "accusative", filler, rng),
        "dative": _subject(spoken, "dative", filler, rng),
        "bare": _bare(spoken, "nominative", filler),
        "noun": listed([gender_of(shape)[1] for shape in spoken.shapes], spoken.joiner),
        "colour": listed([colour.replace("!", "") for colour in spoken.colours], spoken.joiner),
        "moves": ways[0],
        "last": ways[1],
        "relative": f"{who} {ways[1]}" if ways[1] else "",
        "end": ways[2],
        "way": _moving(spoken, "", 2),
        "look": look,
        "on": on,
    }


def gender_of(shape: str) -> tuple[str, str]:
    """Split a noun from its gender, which stands before it, inside the mark of the user's own words if it has one."""
    if shape.endswith(END):
        return (shape[1], shape[0] + shape[3:]) if shape[2:3] == " " else ("m", shape)
    return shape[0], shape[2:]


def _subject(spoken: Said, case: str, filler: str, rng: np.random.Generator) -> str:
    bare = _bare(spoken, case, filler)
    if not bare or bare.startswith("etwas"):
        return bare
    gender = gender_of(spoken.shapes[0])[0] if spoken.shapes else "n"
    if case == "nominative" and rng.random() < 0.12:
        return bare
    return f"{_ARTICLES[case][gender]} {bare}"


def _bare(spoken: Said, case: str, filler: str) -> str:
    gender = gender_of(spoken.shapes[0])[0] if spoken.shapes else "n"
    shapes = [gender_of(shape)[1] for shape in spoken.shapes] or (["Ding"] if spoken.colours else [])
    if not shapes:
        return listed((*spoken.triggers, "etwas"), " ") if spoken.triggers else ("etwas" if spoken.motions else "")
    if len(spoken.colours) > 1 and len(shapes) > 1:
        second = gender_of(spoken.shapes[1])[0]
        other = f"{_ARTICLES['nominative'][second]} {_agreed(spoken.colours[1], case, second)} {shapes[1]}"
        return f"{_agreed(spoken.colours[0], case, gender)} {shapes[0]}{spoken.joiner}{other}"
    colours = _agreed(_hyphened(spoken), case, gender) if spoken.colours else ""
    if spoken.joiner != "-":
        colours = listed([_agreed(colour, case, gender) for colour in spoken.colours], spoken.joiner)
    adjective = _agreed(filler, case, gender) if filler else ""
    return " ".join(part for part in (adjective, *spoken.triggers, colours, listed(shapes, spoken.joiner)) if part)


def _hyphened(spoken: Said) -> str:
    """Put colours together as "rot-blau", of which only the last takes an ending."""
    return "-".join([*(colour.removesuffix("!") for colour in spoken.colours[:-1]), spoken.colours[-1]])


def _agreed(stem: str, case: str, gender: str) -> str:
    """Give an adjective its ending; inside the mark, if it is the user's own word."""
    end = END if stem.endswith(END) else ""
    stem = stem.removesuffix(END)
    if stem.endswith("!"):
        return stem[:-1] + end
    ending = "en" if case == "dative" else _ENDINGS[case][gender]
    return stem + (ending[1:] if stem.endswith("e") else ending) + end


def _moving(spoken: Said, verb: str, form: int) -> str:
    ways = []
    for motion in spoken.motions:
        mark = motion[0] if motion.endswith(END) else ""
        plain = motion[1:-1] if mark else motion
        if plain.startswith("="):
            way = plain[1:].split("/")[form]
            ways.append(f"{mark}{way}{END}" if mark else way)
        elif not verb or ways:
            ways.append(motion)
        else:
            told = verb.split("/")[form]
            ways.append(told.replace("*", motion) if "*" in told else f"{told} {motion}")
    return listed(ways, spoken.joiner)


def _background(spoken: Said, rng: np.random.Generator) -> tuple[str, str]:
    if not spoken.backgrounds:
        return "", ""
    if not spoken.backgrounds[0].endswith("~"):
        behind = listed(spoken.backgrounds, spoken.joiner)
        look = listed([_without_article(word) for word in spoken.backgrounds], spoken.joiner)
        return look, behind if behind.startswith(
            ("ohne", "uni")
        ) else f"{rng.choice(['vor', 'vor', 'auf', 'über'])} {behind}"
    stems: Sequence[str] = [stem.removesuffix("~") for stem in spoken.backgrounds]
    article, ending = (("", "em"), ("einem ", "en"))[int(rng.integers(2))]
    noun = rng.choice(["Hintergrund", "Hintergrund", "Grund", "Untergrund"])
    adjectives = listed(
        [stem[:-1] + ending + END if stem.endswith(END) else stem + ending for stem in stems], spoken.joiner
    )
    return listed(stems, spoken.joiner), f"{rng.choice(['vor', 'auf'])} {article}{adjectives} {noun}"


def _without_article(phrase: str) -> str:
    return phrase.removeprefix("einem ").removeprefix("einer ")


GERMAN = Language(
    name="de",
    words={"colour": COLOURS, "shape": SHAPES, "motion": MOTIONS, "background": BACKGROUNDS},
    unsupported=UNSUPPORTED,
    joiners=(" und ", " oder ", "/", ", ", " und ", " & ", "-", "-", " oder vielleicht "),
    forms=FORMS,
    openers=OPENERS,
    closers=CLOSERS,
    loose=(
        ("{subject}", "{bare}", "{subject}", "da ist {subject}", "es geht um {object}", "Held: {bare}"),
        ("{moves}", "{way}", "{way}", "es {moves}", "soll {end}", "geht {way}", "Weg: {way}"),
        ("{on}", "{on}", "{look}", "Hintergrund {look}", "{look} als Hintergrund", "hinten {look}", "alles {on}"),
    ),
    joints=(
        *(" ", ", ", "; ", ". ", " / ", " + ", " … ", " und ", ", und ", " aber ", ", dann ", ": ", " | ", " > ", "\n"),
        *(", auch ", " jetzt ", " wobei ", ", wirklich ", " einfach ", " dazu ", ", natürlich ", " – ", ", und zwar "),
        *(", vielleicht ", " immer ", ", übrigens ", " dort ", ", also ", " zusammen mit ", ", eben "),
    ),
    nothing=NOTHING,
    trigger_closers=(", {}", ", im Stil von {}", ", {} Stil"),
    phrases=phrases,
)
