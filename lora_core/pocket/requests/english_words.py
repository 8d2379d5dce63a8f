"""English words for everything in the pocket world, and for what it lacks."""

#: value -> the words that pocket-lm learns, those that a tuning teaches it, those that no training shows.
COLOURS = {
    "red": (
        "red, red, crimson, scarlet, bright red, dark red, blood red, cherry red, deep red, reddish, fire red, "
        "vermilion",
        "ruby, tomato, strawberry, carmine, rust, lava, chili, raspberry",
        "garnet, cardinal, beetroot, maroon, poppy",
    ),
    "yellow": (
        "yellow, yellow, golden, gold, lemon yellow, lemon, bright yellow, sunny yellow, pale yellow, yellowish, "
        "canary, "
        "amber",
        "banana, mustard, honey, butter, saffron, corn, sunflower, custard",
        "daffodil, straw, buttercup, maize, blond",
    ),
    "green": (
        "green, green, lime, lime green, emerald, grass green, dark green, light green, forest green, olive, greenish, "
        "mint green, jade",
        "pea, spinach, avocado, fern, kiwi, basil, moss, pickle",
        "clover, ivy, cucumber, shamrock, pine",
    ),
    "cyan": (
        "cyan, cyan, turquoise, teal, aqua, aquamarine, bright cyan, light cyan, bluegreen, cyanish, aqua blue",
        "lagoon, curacao, ice, menthol, pool, glacier, peppermint, opal",
        "arctic, seafoam, spearmint, reef, polar",
    ),
    "blue": (
        "blue, blue, navy, cobalt, royal blue, dark blue, light blue, sky blue, bright blue, bluish, indigo, "
        "ultramarine, navy blue",
        "azure, sapphire, blueberry, denim, ocean, cornflower, lapis, jeans",
        "cerulean, ink, midnight, delft, marine",
    ),
}
SHAPES = {
    "circle": (
        "circle, circle, ball, disc, disk, dot, sphere, orb, round shape, round thing, bubble, round",
        "coin, marble, globe, plate, moon, button, wheel, balloon",
        "bead, puck, planet, pearl, medallion",
    ),
    "square": (
        "square, square, box, block, cube, rectangle, quad, square shape, dice, boxy shape",
        "parcel, crate, window, stamp, toast, cushion, envelope, carton",
        "book, chest, pixel, cracker, slab",
    ),
    "triangle": (
        "triangle, triangle, pyramid, wedge, three-sided shape, triangular shape, cone, delta, triangle shape, tri",
        "arrowhead, tent, mountain, pizza slice, roof, sail, samosa, nacho",
        "iceberg, peak, tipi, gable, tortilla chip",
    ),
    "cross": (
        "cross, cross, plus, plus sign, x, x mark, plus symbol, x shape, cross shape, crosshair",
        "windmill, propeller, rotor, crucifix, junction, bandage, scissors, sword",
        "starfish, tally, intersection, turnstile, dagger",
    ),
}
#: A leading = marks a verb that says the direction by itself; the others follow a verb such as "moves".
MOTIONS = {
    "left": (
        "left, left, to the left, leftwards, leftward, towards the left, to the left side, from right to left, "
        "to the left edge, off to the left",
        "west, westward, westwards, to port, towards the west, to the port side, towards nine o'clock, "
        "to the west side",
        "towards the sunset, to the heart side, against the reading direction, to where lines begin",
    ),
    "right": (
        "right, right, to the right, rightwards, rightward, towards the right, to the right side, from left to right, "
        "to the right edge, off to the right",
        "east, eastward, eastwards, to starboard, towards the east, to the starboard side, towards three o'clock, "
        "to the east side",
        "towards the sunrise, to where lines end, along the reading direction, towards the morning sun",
    ),
    "up": (
        "up, up, upwards, upward, to the top, skywards, towards the top, from bottom to top, =rise, =rise, =climb, "
        "=ascend, =soar, =lift off, into the sky, =shoot up",
        "north, northward, aloft, heavenwards, to the ceiling, =levitate, =take off, =blast away, =surge",
        "to the zenith, towards the stars, =sprout, =elevate, =grow taller",
    ),
    "down": (
        "down, down, downwards, downward, to the bottom, towards the ground, from top to bottom, =fall, =fall, =drop, "
        "=sink, =descend, =plummet, =tumble, =fall down",
        "south, southward, earthwards, to the floor, to the cellar, =plunge, =nosedive, =dive, =slump",
        "towards the abyss, to the seabed, =cascade, =plop, =touch ground",
    ),
    "orbits": (
        "around in circles, in circles, in a circle, around the centre, in an orbit, =orbit, =orbit, =circle, "
        "=revolve, "
        "=circle around, round and round, =loop around",
        "=whirl, =do laps, =wheel about, =gyrate, =pirouette, like a carousel, =trace rings, along a ring",
        "=swirl, =make rounds, like a satellite, like a planet, =twirl about",
    ),
}
#: A trailing ~ marks a word that stands before "background"; the others are backgrounds by themselves.
BACKGROUNDS = {
    "plain": (
        "plain~, plain~, simple~, blank~, empty~, solid~, single colour~, flat~, uniform~, nothing, no pattern, "
        "solid color~",
        "bare~, clean~, void~, monochrome~, featureless~, unpatterned~, emptiness, one tone",
        "undecorated~, vacant~, unadorned~, a smooth wall",
    ),
    "striped": (
        "striped~, striped~, stripy~, lined~, stripes, stripes, lines, zebra stripes, zebra lines, bars, "
        "vertical stripes, a stripe pattern, stripe~",
        "banded~, ribbed~, bands, a barcode, a picket fence, corduroy, a tiger pattern, pinstripes",
        "streaked~, ribbons, a prison shirt, slatted~",
    ),
    "checkered": (
        "checkered~, checkered~, chequered~, checked~, a chessboard, a checkerboard, a chess board, checks, "
        "a checker pattern, tiled~, tiles, checkerboard~, checkers, chess pattern~",
        "a draughts board, plaid~, gingham~, a picnic blanket, a racing flag, harlequin~, tartan, a kitchen floor",
        "a tablecloth, a go board, a finish flag, mosaic~",
    ),
    "gradient": (
        "gradient~, gradient~, graded~, a gradient, a gradient, a fade, fading~, a smooth gradient, a colour gradient, "
        "shaded~, a color ramp, a smooth transition, color gradient~",
        "ombre~, blended~, a twilight sky, a dimming sky, a smooth blend, tapering~, dawn light, a vignette",
        "diminishing~, sfumato, a melting tone, a soft shift of light",
    ),
}
#: What the pocket world has no word for: known to pocket-lm as such, and shown to none.
UNSUPPORTED = {
    "colour": (
        "pink, purple, orange, black, white, brown, grey, gray, silver, violet, magenta, beige, lilac, bronze, "
        "transparent, rainbow, khaki, lavender, salmon, burgundy, neon, chrome, rosy, multicolored, "
        "apricot, sand, wine",
        "mauve, copper, ivory, fuchsia, peach, charcoal, tan, cream",
    ),
    "shape": (
        "star, heart, hexagon, car, cat, dog, arrow, flower, tree, house, bird, fish, rocket, robot, pentagon, "
        "diamond, boat, dragon, leaf, cloud, horse, apple, train, plane, person, oval, spiral, duck, frog, key, "
        "fox, chair, bottle, cup, phone, bear, monkey, king, lion, tiger, snake, bee, ship, truck, bus, guy, girl, "
        "ellipse, polygon, cylinder, hat, shoe, lamp, rose, carrot, cake, umbrella, turtle, dolphin, alien, knight",
        "octagon, crescent, trapezoid, rabbit, bicycle, snail, butterfly, teapot, guitar, penguin, ghost",
    ),
    "motion": (
        "=bounce, =zigzag, =jump, =wobble, =shake, =vanish, =explode, =dance, =grow, =shrink, =wave, =flicker, =blink, "
        "=spin",
        "=tremble, =morph, =stretch, =glitch, =somersault, =melt",
    ),
    "background": (
        "wooden~, forest~, brick~, starry~, beach~, snowy~, city~, grassy~, desert~, rainy~, night~, space~, jungle~",
        "kitchen~, underwater~, cloudy~, mountainous~, stone~, dotted~",
    ),
}
