"""German words for everything in the pocket world, and for what it lacks."""

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
