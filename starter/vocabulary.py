"""Which concepts the starter knows, and how a caption is made from an icon's name.

The vocabulary is every picture name that all three icon sets share in five categories, less the
names listed in `LEFT_OUT`: people variants, flags, clock faces, letter signs (whole categories or
patterns), and names whose pictures can hardly be told apart at 64x64 (`moon` phases, weather
mixtures, boxes and sheets of paper). One concept is one tag, and one token of the tokenizer.
"""

from __future__ import annotations

import re

CATEGORY_TAGS = {
    "Activities": "activity",
    "Animals & Nature": "nature",
    "Food & Drink": "food",
    "Objects": "object",
    "Travel & Places": "travel",
}

STYLE_TAGS = {"noto": "noto_style", "twemoji": "twemoji_style", "fluent-emoji-flat": "fluent_style"}

CLOCK_FACE = re.compile(r"^(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)-(oclock|thirty)$")

FILLER_WORDS = frozenset("a and at behind by for in of on the to with without".split())

LEFT_OUT = frozenset(
    """
    1st-place-medal 2nd-place-medal 3rd-place-medal club-suit diamond-suit heart-suit spade-suit mahjong-red-dragon
    flower-playing-cards moon-viewing-ceremony pine-decoration tanabata-tree field-hockey lacrosse softball
    reminder-ribbon carp-streamer red-envelope japanese-dolls
    baby-chick front-facing-baby-chick service-dog guide-dog two-hump-camel water-buffalo cricket badger
    leaf-fluttering-in-wind sheaf-of-rice white-flower fallen-leaf empty-nest microbe ewe
    clinking-beer-mugs pouring-liquid teacup-without-handle flatbread fork-and-knife-with-plate bowl-with-spoon
    rice-cracker fish-cake-with-swirl roasted-sweet-potato cut-of-meat canned-food
    airplane-arrival airplane-departure aerial-tramway mountain-cableway suspension-railway mountain-railway
    small-airplane bridge-at-night cityscape cityscape-at-dusk bus-stop cloud-with-lightning-and-rain
    cloud-with-snow convenience-store department-store classical-building derelict-house first-quarter-moon
    first-quarter-moon-face last-quarter-moon last-quarter-moon-face new-moon-face full-moon-face
    waning-crescent-moon waning-gibbous-moon waxing-crescent-moon waxing-gibbous-moon new-moon fog foggy
    globe-showing-americas globe-showing-asia-australia globe-with-meridians hourglass-not-done
    house-with-garden houses japanese-post-office post-office love-hotel kaaba hindu-temple light-rail
    manual-wheelchair motorized-wheelchair map-of-japan metro minibus milky-way motorway night-with-stars
    oncoming-automobile oncoming-bus oncoming-police-car oncoming-taxi high-speed-train horizontal-traffic-light
    snowman-without-snow sport-utility-vehicle station sun-behind-large-cloud sun-behind-rain-cloud
    sun-behind-small-cloud sunrise sunrise-over-mountains sunset tram-car railway-car trolleybus
    umbrella-on-ground umbrella-with-rain-drops passenger-ship speedboat motor-boat beach-with-umbrella
    wedding synagogue national-park timer-clock closed-umbrella glowing-star seat construction bank
    bison ram ox goose dodo chipmunk pig-nose donkey moose mosquito oyster coral herb hyacinth hibiscus blossom
    wilted-flower worm falafel tamale fondue oden curry-rice custard stuffed-flatbread ginger-root mate beans
    bento-box dango moon-cake cooking shaved-ice takeout-box articulated-lorry pickup-truck oil-drum tram
    snow-capped-mountain mountain brick desert cyclone ferry auto-rickshaw cloud-with-lightning
    admission-tickets confetti-ball cricket-game diving-mask curling-stone goal-net knot
    playground-slide office-building building-construction high-voltage barber-pole shooting-star camping
    hospital school hotel church wind-face world-map railway-track monorail delivery-truck stadium
    """.split()
)

OBJECTS = frozenset(
    """
    accordion axe backpack balance-scale banjo battery bell billed-cap bomb books bow-and-arrow briefcase broom
     camera candle chair coin couch-and-lamp crayon crown crossed-swords dagger desktop-computer door
    dress drum electric-plug envelope flashlight floppy-disk flute gear gem-stone glasses goggles
    graduation-cap guitar hammer handbag headphone high-heeled-shoe jeans key ladder laptop light-bulb lipstick
    locked magnet magnifying-glass-tilted-left megaphone microphone microscope mobile-phone money-bag
    musical-keyboard necktie old-key paintbrush pencil ring
    running-shoe satellite-antenna saxophone scissors screwdriver shield shopping-cart socks sunglasses
    syringe t-shirt telephone telescope television test-tube toilet toolbox toothbrush top-hat trumpet
    violin wastebasket wrench
    """.split()
)


def concepts(categories_of_sets: list[dict[str, str]]) -> dict[str, str]:
    """The vocabulary: icon name to category tag, sorted by name.

    `categories_of_sets` holds, for each icon set, icon name to the set's own category; only names that
    stand in every set are kept, and the first set's category counts.
    """
    first, *others = categories_of_sets
    kept: dict[str, str] = {}
    for name, category in sorted(first.items()):
        tag = CATEGORY_TAGS.get(category)
        if tag is None or name in LEFT_OUT or CLOCK_FACE.match(name):
            continue
        if tag == "object" and name not in OBJECTS:
            continue
        if all(name in other for other in others):
            kept[name] = tag
    return kept


def concept_tag(name: str) -> str:
    """The concept's one tag: `red-apple` becomes `red_apple`."""
    return name.replace("-", "_")


def caption_tags(name: str, category: str, style: str) -> list[str]:
    """Tags of one picture, style first: `noto_style, red_apple, red, apple, food`."""
    words = [word for word in name.split("-") if word not in FILLER_WORDS and len(word) > 1]
    tag = concept_tag(name)
    extra = [word for word in words if word != tag]
    return list(dict.fromkeys([STYLE_TAGS[style], tag, *extra, category]))
