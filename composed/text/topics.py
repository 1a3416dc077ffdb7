"""What composed videos are about: how a topic looks, sounds and is written about, and the labels that go with it.

The topics stand in the order of their frequency, which falls as in YouTube-8M's long tail. Their labels are entities
as that data set has them: a narrow one (Owl) comes with wider ones (Bird, Animal), most of which have no pictures of
their own. Rare topics also look like frequent relatives, as fine-grained labels do: only their names tell them apart.
"""

from typing import NamedTuple


class Topic(NamedTuple):
    """A topic; its name is its narrowest label."""

    parents: tuple[str, ...]  # wider labels
    pictures: str  # characters of the emoji font
    sound: str | None  # name in the sound bank
    words: tuple[str, ...]  # what titles and keywords say about it besides its name

    def labels(self, name: str) -> list[str]:
        return [name, *self.parents]


def topic(parents: str, pictures: str, sound: str | None, words: str) -> Topic:
    return Topic(tuple(parents.split(", ")) if parents else (), pictures, sound, tuple(words.split(", ")))


TOPICS = {
    "Car": topic(
        "Vehicle", "🚗🚙", None, "engine, turbo, test drive, exhaust, dashboard, sedan, garage, drifting, tires"
    ),
    "Dog": topic(
        "Animal, Pet", "🐕🐶", "Dog", "puppy, barking, leash, terrier, labrador, kennel, fetch, wagging, paws"
    ),
    "Guitar": topic(
        "Musical instrument, String instrument",
        "🎸",
        None,
        "acoustic, chords, riff, amplifier, strumming, fingerstyle, solo, fretboard, pedals",
    ),
    "Video game": topic(
        "Game", "🎮🕹", None, "gameplay, walkthrough, multiplayer, console, boss fight, quest, controller, speedrun"
    ),
    "Cooking": topic(
        "Food", "🍳🥘", "Frying", "recipe, chef, ingredients, stir fry, homemade, oven, sauce, skillet, delicious"
    ),
    "Football": topic(
        "Sport", "⚽", None, "goal, striker, penalty, league, goalkeeper, champions, free kick, midfielder, derby"
    ),
    "Train": topic(
        "Vehicle", "🚂🚆", "train", "railway, locomotive, station, tracks, steam, conductor, freight, platform, rails"
    ),
    "Cat": topic(
        "Animal, Pet", "🐈🐱", "Cat", "kitten, meow, purring, whiskers, feline, litter, tabby, scratching, fluffy"
    ),
    "Dance": topic(
        "", "💃🩰", None, "choreography, ballet, salsa, hip hop, ballroom, steps, rehearsal, routine, dancers"
    ),
    "Rain": topic(
        "Nature", "☔🌧", "rain", "storm, thunder, umbrella, weather, puddles, drizzle, downpour, clouds, wet"
    ),
    "Smartphone": topic(
        "Gadget",
        "📱📲",
        None,
        "unboxing, android, touchscreen, battery life, apps, megapixel, charger, screen, wireless",
    ),
    "Horse": topic(
        "Animal", "🐴🐎", "horse", "pony, gallop, saddle, stable, jockey, mare, equestrian, bridle, dressage"
    ),
    "Concert": topic("", "🎤", None, "stage, live band, encore, audience, singer, crowd, festival, tour, vocals"),
    "Bicycle": topic(
        "Vehicle", "🚲🚵", None, "cycling, pedal, handlebars, mountain trail, helmet, biking, downhill, spokes, rider"
    ),
    "Piano": topic(
        "Musical instrument", "🎹", None, "keys, sonata, pianist, melody, nocturne, keyboard, sheet music, concerto"
    ),
    "Bird": topic("Animal", "🐦🦜", None, "parrot, wings, nest, feathers, chirping, migration, beak, singing, pigeon"),
    "Airplane": topic(
        "Vehicle", "✈🛫", None, "takeoff, landing, runway, cockpit, pilot, airport, flight, boeing, aviation"
    ),
    "Basketball": topic("Sport", "🏀⛹", None, "dunk, hoop, three pointer, playoffs, rebound, layup, court, buzzer"),
    "Drums": topic(
        "Musical instrument", "🥁", None, "drummer, snare, cymbals, beat, groove, percussion, sticks, rhythm, kick"
    ),
    "Cake": topic(
        "Food", "🎂🍰", None, "birthday, frosting, baking, chocolate, icing, dessert, cupcakes, sponge, sweet"
    ),
    "Boat": topic(
        "Vehicle", "⛵🚤", "Running_water", "sailing, harbor, yacht, canoe, captain, deck, rowing, anchor, lake"
    ),
    "Motorcycle": topic(
        "Vehicle", "🏍🛵", None, "biker, throttle, scooter, wheelie, chopper, ride, superbike, suspension, leather"
    ),
    "Hairstyle": topic(
        "Fashion",
        "💇💈",
        "Electric_shaver_toothbrush",
        "haircut, braids, curls, barber, salon, ponytail, shampoo, bangs, trimming",
    ),
    "Camera": topic(
        "Gadget", "📷📹", None, "lens, tripod, photography, zoom, shutter, footage, exposure, autofocus, portrait"
    ),
    "Toy": topic("", "🧸🪁", None, "teddy bear, doll, plush, kids, playroom, collectible, yo-yo, kite, puppets"),
    "Alarm clock": topic(
        "Gadget", "⏰", "Alarm_bell_ringing", "wake up, morning, snooze, bedside, ringing, minutes, oversleep, timer"
    ),
    "Fish": topic("Animal", "🐟🐠", None, "aquarium, coral, reef, underwater, salmon, snorkeling, bait, trout, tank"),
    "Tennis": topic("Sport", "🎾", None, "racket, serve, forehand, backhand, volley, grand slam, wimbledon, deuce"),
    "Cosmetics": topic(
        "Fashion", "💄💅", None, "makeup, lipstick, eyeliner, mascara, beauty, blush, foundation, nails, glitter"
    ),
    "Chicken": topic(
        "Animal, Bird", "🐔🐓🐦🐦", "rooster", "hens, coop, eggs, poultry, crowing, farmyard, hatching, chicks"
    ),
    "Robot": topic(
        "Gadget", "🤖📱", None, "android, circuits, programming, sensors, artificial intelligence, humanoid, motors"
    ),
    "Violin": topic(
        "Musical instrument, String instrument",
        "🎻🎸🎸",
        None,
        "fiddle, bow, orchestra, cello, quartet, symphony, violinist, concerto, vivaldi",
    ),
    "Truck": topic(
        "Vehicle", "🚚🚗🚙", None, "trailer, hauling, diesel, pickup, cargo, delivery, highway, driver, payload"
    ),
    "Bell": topic(
        "Musical instrument", "🔔🛎", "bell", "church, chime, tolling, tower, ding, jingle, cathedral, bronze"
    ),
    "Skiing": topic(
        "Sport", "⛷🎿🚵🚲", None, "snow, slope, powder, alpine, skis, chairlift, slalom, winter, mountains"
    ),
    "Cattle": topic("Animal", "🐄🐮🐴🐎", "cow", "dairy, calf, milking, pasture, ranch, mooing, grazing, barn, herd"),
    "Helicopter": topic("Vehicle", "🚁✈🛫", None, "rotor, hover, rescue, chopper, blades, hovering, airlift, pilot"),
    "Duck": topic(
        "Animal, Bird", "🦆🐦🦜", "duck", "ducklings, quacking, pond, mallard, waddle, swimming, quack, feathers"
    ),
    "Cocktail": topic(
        "Food", "🍹🍸🍳🥘", "Blender", "bartender, smoothie, rum, vodka, juice, shaker, martini, drinks, ice"
    ),
    "Frog": topic("Animal", "🐸🐟🐠", "frog", "toad, tadpoles, croaking, amphibian, swamp, leaping, lily, slimy"),
    "Baseball": topic(
        "Sport", "⚾⚽🏀", None, "pitcher, home run, innings, batting, catcher, shortstop, yankees, dugout"
    ),
    "Rainforest": topic(
        "Nature", "🌴🌳☔🌧", "rainforest", "jungle, tropical, amazon, wilderness, trees, expedition, canopy, exotic"
    ),
    "Vacuum cleaner": topic(
        "Gadget", "🧹📱", "Vacuum_cleaner", "cleaning, carpet, hoover, dust, household, suction, tidy, bagless, chores"
    ),
    "Pig": topic("Animal", "🐷🐖🐕🐶", "pig", "piglets, oink, hog, mud, sow, snout, boar, farming, bacon"),
    "Owl": topic("Animal, Bird", "🦉🐦🦜", "owl", "hooting, nocturnal, owlet, night, barn, raptor, talons, perched"),
    "Tractor": topic("Vehicle", "🚜🚗🚂", None, "plowing, harvest, farmer, fields, combine, machinery, wheat, plough"),
    "Trumpet": topic(
        "Musical instrument", "🎺🥁🎹", None, "jazz, brass, fanfare, horn, mouthpiece, swing, bugle, embouchure"
    ),
    "Sheep": topic("Animal", "🐑🐏🐕🐶", None, "wool, lamb, flock, shepherd, shearing, bleating, ewes, meadow"),
    "Chess": topic(
        "Game", "♟🎮🕹", None, "checkmate, grandmaster, gambit, opening, knight, bishop, queen, strategy, pawn"
    ),
    "Volcano": topic("Nature", "🌋🌧☔", None, "lava, eruption, magma, crater, ash, geology, erupting, smoke, hawaii"),
}

# What is seen beside the topics and belongs to none of them.
BYSTANDERS = "👩👨👧👦👵🧑🏠🏢🌆🌻🌵⛰🌙⭐💡📚👕👟🎩🛒🏆🎈🧱🪑🚦🗿🎨🔑"
