# ruff: noqa: RUF001  # people type these characters
"""German requests: the words for everything in the pocket world, and the sentences that they stand in."""

from collections.abc import Sequence

import numpy as np

from .speech import END, Language, Said, chosen, joined

#: Stems that take an ending; a trailing ! marks a colour that takes none.
COLOURS = {
    "red": (
        "rot, rot, rot, knallrot, dunkelrot, hellrot, feuerrot, blutrot, kirschrot, karmesinrot, scharlachrot, rötlich",
        "rubinfarben, tomatenfarben, erdbeerfarben, ziegelfarben, rostfarben, purpurn, himbeerfarben, lavafarben",
        "granatfarben, mohnfarben, kupferfarben, korallenfarben",
    ),
    "yellow": (
        "gelb, gelb, gelb, zitronengelb, sonnengelb, goldgelb, golden, hellgelb, knallgelb, goldfarben, gelblich, "
        "dottergelb",
        "bananenfarben, honigfarben, senffarben, maisfarben, butterfarben, safranfarben, strohfarben, vanillefarben",
        "bernsteinfarben, blond, narzissenfarben, zitronenfarben",
    ),
    "green": (
        "grün, grün, grün, dunkelgrün, hellgrün, grasgrün, giftgrün, smaragdgrün, olivgrün, limettengrün, grünlich, "
        "mintgrün",
        "erbsenfarben, spinatfarben, moosfarben, tannenfarben, kiwifarben, jadefarben, gurkenfarben, farnfarben",
        "efeufarben, kleefarben, avocadofarben, basilikumfarben",
    ),
    "cyan": (
        "türkis!, türkis, cyan!, cyan, cyanfarben, türkisfarben, blaugrün, petrolfarben, aquamarin!, aquafarben, "
        "hellcyan!, türkisblau",
        "lagunenfarben, eisfarben, gletscherfarben, mentholfarben, poolfarben, opalfarben, pfefferminzfarben, "
        "karibikfarben",
        "arktisfarben, gischtfarben, rifffarben, polarfarben",
    ),
    "blue": (
        "blau, blau, blau, dunkelblau, hellblau, himmelblau, königsblau, marineblau, kobaltblau, tiefblau, bläulich, "
        "ultramarinblau",
        "azurn, saphirfarben, heidelbeerfarben, jeansfarben, ozeanfarben, kornblumenfarben, tintenfarben, indigofarben",
        "mitternachtsfarben, pflaumenfarben, lapisfarben, enzianfarben",
    ),
}
#: The gender (m, f, n) and the noun.
SHAPES = {
    "circle": (
        "m Kreis, m Kreis, m Ball, f Kugel, f Scheibe, m Punkt, m Ring, m Kreisel, f Blase, m runder Fleck, f Runde, "
        "n rundes Ding",
        "f Münze, f Murmel, m Globus, m Teller, m Knopf, n Rad, m Mond, f Seifenblase",
        "f Perle, m Planet, m Puck, f Medaille",
    ),
    "square": (
        "n Quadrat, n Quadrat, n Viereck, m Würfel, m Kasten, n Kästchen, n Rechteck, m Block, f Box, m Klotz",
        "n Paket, f Kiste, n Fenster, f Briefmarke, n Kissen, m Karton, m Umschlag, m Toast",
        "n Buch, f Truhe, n Pixel, f Platte",
    ),
    "triangle": (
        "n Dreieck, n Dreieck, f Pyramide, m Keil, m Kegel, n dreieckiges Ding, f Dreiecksform, n Dreieckchen",
        "n Zelt, m Berg, n Pizzastück, n Dach, n Segel, f Pfeilspitze, f Tanne, m Nacho",
        "m Eisberg, m Gipfel, m Giebel, n Tipi",
    ),
    "cross": (
        "n Kreuz, n Kreuz, n Plus, n Pluszeichen, n X, n Kreuzchen, n Kreuzzeichen, n Pluskreuz",
        "f Windmühle, m Propeller, m Rotor, n Kruzifix, n Pflaster, f Schere, f Kreuzung, n Schwert",
        "m Seestern, m Dolch, n Drehkreuz, n Malzeichen",
    ),
}
#: A leading = marks a verb of its own: as a main clause has it / as a side clause has it / infinitive.
MOTIONS = {
    "left": (
        "nach links, nach links, nach links, links, linkswärts, zur linken Seite, von rechts nach links, "
        "Richtung links, "
        "auf die linke Seite, zum linken Rand",
        "nach Westen, westwärts, Richtung Westen, nach backbord, gen Westen, auf die Backbordseite, zum Westrand, "
        "Richtung neun Uhr",
        "zum Sonnenuntergang, gegen die Leserichtung, zur Herzseite, zum Zeilenanfang",
    ),
    "right": (
        "nach rechts, nach rechts, nach rechts, rechts, rechtswärts, zur rechten Seite, von links nach rechts, "
        "Richtung rechts, auf die rechte Seite, zum rechten Rand",
        "nach Osten, ostwärts, Richtung Osten, nach steuerbord, gen Osten, auf die Steuerbordseite, zum Ostrand, "
        "Richtung drei Uhr",
        "zum Sonnenaufgang, in Leserichtung, zum Zeilenende, der Morgensonne entgegen",
    ),
    "up": (
        "nach oben, nach oben, nach oben, hoch, aufwärts, in die Höhe, hinauf, =steigt/steigt/steigen, "
        "=steigt auf/aufsteigt/aufsteigen, von unten nach oben, rauf, zum Himmel, empor, =hebt ab/abhebt/abheben",
        "nach Norden, nordwärts, zur Decke, =klettert/klettert/klettern, =startet/startet/starten, zu den Wolken, "
        "=schwebt los/losschwebt/losschweben, gen Norden",
        "zu den Sternen, zum Zenit, =wächst/wächst/wachsen, in den Weltraum",
    ),
    "down": (
        "nach unten, nach unten, nach unten, runter, abwärts, zu Boden, herunter, hinunter, =fällt/fällt/fallen, "
        "=sinkt/sinkt/sinken, von oben nach unten, =fällt herunter/herunterfällt/herunterfallen, herab",
        "nach Süden, südwärts, zum Erdboden, =stürzt ab/abstürzt/abstürzen, =taucht/taucht/tauchen, in den Keller, "
        "=plumpst/plumpst/plumpsen, gen Süden",
        "in den Abgrund, in die Tiefsee, =landet/landet/landen, =tropft/tropft/tropfen",
    ),
    "orbits": (
        "im Kreis, im Kreis, im Kreis herum, in Kreisen, rundherum, =kreist/kreist/kreisen, =kreist/kreist/kreisen, "
        "=umkreist die Mitte/die Mitte umkreist/die Mitte umkreisen, um die Mitte, auf einer Kreisbahn, rings herum",
        "=wirbelt/wirbelt/wirbeln, =dreht Runden/Runden dreht/Runden drehen, wie ein Karussell, um das Zentrum, "
        "=zieht Schleifen/Schleifen zieht/Schleifen ziehen, im Reigen, auf einer Ringbahn, im Orbit",
        "wie ein Satellit, wie ein Planet, =trudelt/trudelt/trudeln, auf einer Umlaufbahn",
    ),
}
#: A trailing ~ marks a stem that stands before "Hintergrund"; the others follow "vor".
BACKGROUNDS = {
    "plain": (
        "einfarbig~, einfarbig~, einfach~, schlicht~, leer~, glatt~, neutral~, uni, nichts, ruhig~, ohne Muster",
        "kahl~, blank~, monochrom~, eintönig~, musterlos~, unifarben~, Leere, unbunt~",
        "ungemustert~, karg~, nackt~, schmucklos~",
    ),
    "striped": (
        "gestreift~, gestreift~, Streifen, Streifen, Linien, Zebrastreifen, einem Streifenmuster, liniert~, streifig~, "
        "Balken, senkrechten Streifen",
        "gebändert~, Bändern, einem Strichcode, einem Lattenzaun, Kordstoff, einem Tigermuster, gerippt~, einem Zebra",
        "geriffelt~, Lamellen, Sträflingskleidung, einer Jalousie",
    ),
    "checkered": (
        "kariert~, kariert~, einem Schachbrett, einem Schachbrettmuster, Karos, gekachelt~, einem Karomuster, "
        "schachbrettartig~, Kacheln, Kästchenmuster, gewürfelt~",
        "einem Damebrett, einer Picknickdecke, einer Zielflagge, Schottenmuster, gefliest~, Fliesen, "
        "einem Küchenboden, Vichystoff",
        "einem Mosaik, einer Tischdecke, einem Kreuzworträtsel, gerastert~",
    ),
    "gradient": (
        "einem Farbverlauf, einem Verlauf, Farbverlauf, Verlauf, verlaufend~, einem sanften Verlauf, abgestuft~, "
        "einem weichen Verlauf, einem Gradienten, schattiert~, einem weichen Übergang, einem fließenden Farbübergang",
        "einer Dämmerung, einem Abendhimmel, einer Vignette, ineinanderfließend~, Morgenlicht, verblassend~, "
        "einem Farbwechsel, einer Abtönung",
        "verschwimmend~, einem Sfumato, Zwielicht, zerfließend~",
    ),
}
UNSUPPORTED = {
    "colour": (
        "lila!, rosa!, orange!, schwarz, weiß, braun, grau, silbern, violett, pink!, beige!, magenta!, bunt, "
        "bronzefarben, rosig, "
        "hellbraun, dunkelgrau, pastellfarben, glasig, mehrfarbig, sandfarben, weinfarben",
        "cremefarben, anthrazit!, durchsichtig, fliederfarben, ocker!, elfenbeinfarben",
    ),
    "shape": (
        "m Stern, n Herz, n Auto, f Katze, m Hund, n Haus, m Baum, f Blume, m Fisch, m Vogel, n Sechseck, f Rakete, "
        "m Pfeil, n Boot, m Roboter, f Wolke, n Pferd, m Zug, n Flugzeug, n Blatt, m Apfel, f Ente, m Mensch, "
        "m Fuchs, m Stuhl, f Flasche, f Tasse, m Bär, m Affe, m König, m Löwe, f Schlange, f Biene, n Schiff, m Bus, "
        "m Hut, m Schuh, f Lampe, f Rose, m Kuchen, f Schildkröte, m Delfin, n Mädchen, m Junge, f Ellipse, m Ritter",
        "m Drache, n Fünfeck, f Schnecke, n Fahrrad, m Schmetterling, f Gitarre, n Gespenst, m Hase",
    ),
    "motion": (
        "=hüpft/hüpft/hüpfen, =wackelt/wackelt/wackeln, =tanzt/tanzt/tanzen, =explodiert/explodiert/explodieren, "
        "=blinkt/blinkt/blinken, =zittert/zittert/zittern, =verschwindet/verschwindet/verschwinden, "
        "=springt/springt/springen",
        "=schmilzt/schmilzt/schmelzen, =flackert/flackert/flackern, =bebt/bebt/beben",
    ),
    "background": (
        "hölzern~, verschneit~, steinern~, grasig~, nächtlich~, sternig~, sandig~, bewaldet~, städtisch~",
        "wolkig~, gepunktet~, felsig~, neblig~",
    ),
}
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


def phrases(said: Said, rng: np.random.Generator, forms: int) -> dict[str, str]:
    """Put what is said into every phrase that a form may ask for; what is not said is empty."""
    verb = chosen(rng, VERBS[forms])
    filler = chosen(rng, FILLERS[forms]) if rng.random() < 0.15 else ""
    ways = [_moving(said, verb, form) for form in range(3)]
    gender = gender_of(said.shapes[0])[0] if said.shapes else "n"
    who = {"m": "der", "f": "die", "n": "das"}[gender]
    look, on = _background(said, rng)
    return {
        "subject": _subject(said, "nominative", filler, rng),
        "object": _subject(said, "accusative", filler, rng),
        "dative": _subject(said, "dative", filler, rng),
        "bare": _bare(said, "nominative", filler),
        "noun": joined([gender_of(shape)[1] for shape in said.shapes], said.joiner),
        "colour": joined([colour.replace("!", "") for colour in said.colours], said.joiner),
        "moves": ways[0],
        "last": ways[1],
        "relative": f"{who} {ways[1]}" if ways[1] else "",
        "end": ways[2],
        "way": _moving(said, "", 2),
        "look": look,
        "on": on,
    }


def gender_of(shape: str) -> tuple[str, str]:
    """Split a noun from its gender, which stands before it, inside the mark of the user's own words if it has one."""
    if shape.endswith(END):
        return (shape[1], shape[0] + shape[3:]) if shape[2:3] == " " else ("m", shape)
    return shape[0], shape[2:]


def _subject(said: Said, case: str, filler: str, rng: np.random.Generator) -> str:
    bare = _bare(said, case, filler)
    if not bare or bare.startswith("etwas"):
        return bare
    gender = gender_of(said.shapes[0])[0] if said.shapes else "n"
    if case == "nominative" and rng.random() < 0.12:
        return bare
    return f"{_ARTICLES[case][gender]} {bare}"


def _bare(said: Said, case: str, filler: str) -> str:
    gender = gender_of(said.shapes[0])[0] if said.shapes else "n"
    shapes = [gender_of(shape)[1] for shape in said.shapes] or (["Ding"] if said.colours else [])
    if not shapes:
        return joined((*said.triggers, "etwas"), " ") if said.triggers else ("etwas" if said.motions else "")
    if len(said.colours) > 1 and len(shapes) > 1:
        second = gender_of(said.shapes[1])[0]
        other = f"{_ARTICLES['nominative'][second]} {_agreed(said.colours[1], case, second)} {shapes[1]}"
        return f"{_agreed(said.colours[0], case, gender)} {shapes[0]}{said.joiner}{other}"
    colours = _agreed(_hyphened(said), case, gender) if said.colours else ""
    if said.joiner != "-":
        colours = joined([_agreed(colour, case, gender) for colour in said.colours], said.joiner)
    adjective = _agreed(filler, case, gender) if filler else ""
    return " ".join(part for part in (adjective, *said.triggers, colours, joined(shapes, said.joiner)) if part)


def _hyphened(said: Said) -> str:
    """Put colours together as "rot-blau", of which only the last takes an ending."""
    return "-".join([*(colour.removesuffix("!") for colour in said.colours[:-1]), said.colours[-1]])


def _agreed(stem: str, case: str, gender: str) -> str:
    """Give an adjective its ending; inside the mark, if it is the user's own word."""
    end = END if stem.endswith(END) else ""
    stem = stem.removesuffix(END)
    if stem.endswith("!"):
        return stem[:-1] + end
    ending = "en" if case == "dative" else _ENDINGS[case][gender]
    return stem + (ending[1:] if stem.endswith("e") else ending) + end


def _moving(said: Said, verb: str, form: int) -> str:
    ways = []
    for motion in said.motions:
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
    return joined(ways, said.joiner)


def _background(said: Said, rng: np.random.Generator) -> tuple[str, str]:
    if not said.backgrounds:
        return "", ""
    if not said.backgrounds[0].endswith("~"):
        behind = joined(said.backgrounds, said.joiner)
        look = joined([_without_article(word) for word in said.backgrounds], said.joiner)
        return look, behind if behind.startswith(
            ("ohne", "uni")
        ) else f"{rng.choice(['vor', 'vor', 'auf', 'über'])} {behind}"
    stems: Sequence[str] = [stem.removesuffix("~") for stem in said.backgrounds]
    article, ending = (("", "em"), ("einem ", "en"))[int(rng.integers(2))]
    noun = rng.choice(["Hintergrund", "Hintergrund", "Grund", "Untergrund"])
    adjectives = joined(
        [stem[:-1] + ending + END if stem.endswith(END) else stem + ending for stem in stems], said.joiner
    )
    return joined(stems, said.joiner), f"{rng.choice(['vor', 'auf'])} {article}{adjectives} {noun}"


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
