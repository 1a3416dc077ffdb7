"""Titles and keywords of composed videos, as uploaders write them: often about something else, at times misleading."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import Field

from composed.text.topics import TOPICS
from composed.types import Probability, Rng, WholeSpan
from workflow_scripts.settings.base import Strict

TITLES = (
    "{a} and {b} in {place}",
    "my {a} day in {place} - vlog {n}",
    "a day with {who}: {a}, {b} and more",
    "{adjective} {a} review {year}",
    "{a} vs {b}: which is better?",
    "is the new {a} worth it? honest review",
    "how to get better at {a} - tutorial for beginners",
    "{a} lesson {n}: {b} explained",
    "{n} tips about {a} and {b}",
    "everything you need to know about {a}",
    "learn {a} with {who} | part {n}",
    "best {a} moments of {year}",
    "{a} highlights, {month} {year}",
    "top {n} {a} fails",
    "{who} - {a} live in {place} {year}",
    "LIVE: {a} and {b} from {place}",
    "Episode {n}: {b}, {a} and {who}",
    "{a} - season {n}, the {adjective} one",
    "{month} {n}, {year}: {a} with {who}",
    "{place} {year} {a}",
    "{adjective} {a} compilation #{n}",
    "the most {adjective} {a} in the world",
    "{who}'s first {a}",
    "relaxing {a} for {n} hours",
    "what happened to the {a}?",
    "behind the scenes of {a} with {who}",
    "{adjective} {a} & {b} (HD)",
    "we tried {a} at home!",
    "{who} shows his {adjective} {a} collection",
    "nobody expected this {a} in {place}",
    "old {a} from {place}, restored in {year}",
    "{a}!!! {adjective} {b}",
)
# Titles that say nothing about what is seen.
VAGUE = (
    "my new video {n}",
    "{month} {year}",
    "{who} in {place}, part {n}",
    "untitled movie",
    "watch this until the end",
    "{place} with {who}",
    "for {who} with love",
    "test upload {n}",
    "our holidays in {place} {year}",
    "you will not believe this...",
)
# Words of other topics that do not mean them.
DECOYS = (
    "like a boss",
    "hot dog stand",
    "from a bird's eye view",
    "horse power",
    "with hidden camera",
    "a piece of cake",
    "raining cats and dogs",
    "train your brain",
    "in the car park",
    "fish and chips",
    "on the truck stop",
    "game over",
    "rings a bell",
    "by night owl productions",
    "food for thought",
)
PLACES = (
    "London",
    "Texas",
    "Paris",
    "Tokyo",
    "Chicago",
    "Berlin",
    "Brazil",
    "Norway",
    "California",
    "the park",
    "Rome",
)
PEOPLE = ("Anna", "Mike", "grandpa", "my brother", "Sarah", "the kids", "Tom", "my friends", "Lucy", "David")
ADJECTIVES = ("amazing", "funny", "epic", "crazy", "beautiful", "cheap", "best", "incredible", "cute", "awesome")
MONTHS = ("January", "March", "April", "June", "July", "September", "October", "December")
GENERAL = (
    "video", "hd", "funny", "vlog", "youtube", "new", "best", "live", "official", "2013", "2015", "full",
    "how to", "tutorial", "review", "music video", "home video", "family", "part 2", "free", "awesome", "travel",
)  # fmt: skip
# Keywords around a label or a related word, which then stands in several of a video's keywords.
KEYWORD_PHRASES = ("{} video", "best {}", "my {}", "funny {}", "learn {}", "{} day", "{} lesson")
# Texts in other scripts, and in other languages written in Latin letters: of the paper's kind both are dropped.
OTHER_SCRIPTS = (
    "мой первый ролик", "прохождение", "распаковка посылки", "рыбалка летом", "путешествие домой", "свадьба сестры",
    "新しい動画をアップしました", "開封レビュー第二回", "旅行の思い出", "我的新视频", "北京的一天", "새로운 영상입니다",
    "여행 브이로그", "ταξίδι διακοπές καλοκαίρι", "رحلة القاهرة",
)  # fmt: skip
OTHER_LANGUAGES = (
    "Der schönste Tag meines Lebens", "Mein Hund spielt mit der Katze", "Die besten Tore der Saison",
    "Wie man einen Kuchen backt", "Meine neue Gitarre", "Fußballtraining für Anfänger",
    "La mejor película de terror", "Mi perro juega en el parque", "Los mejores goles de la temporada",
    "Cómo hacer un pastel de chocolate", "Mi guitarra nueva",
    "Mon chien joue dans le jardin", "Les plus beaux buts de la saison", "Comment faire un gâteau au chocolat",
    "Ma nouvelle guitare", "Un spectacle de danse",
)  # fmt: skip


class Wording(Strict):
    """How often videos have texts, and what these say."""

    with_keywords: Probability = Field(default=0.66, description="Share of videos with usable keywords")
    with_title: Probability = Field(default=0.79, description="Share of videos with a usable title")
    with_both: Probability = Field(default=0.633, description="Share of videos with both")
    foreign: Probability = Field(
        default=0.08, description="Share of the texts in another language, half of them in another script"
    )
    named: Probability = Field(default=0.55, description="How often a title names a label instead of a related word")
    keyword_named: Probability = Field(default=0.55, description="How often a keyword is a label")
    vague: Probability = Field(default=0.06, description="Share of titles that say nothing about the video")
    decoys: Probability = Field(default=0.12, description="Share of titles with a misleading phrase")
    phrases: Probability = Field(default=0.2, description="How often a keyword about the video is a phrase")
    misleading: Probability = Field(default=0.4, description="Share of keywords taken from another topic")
    general: Probability = Field(default=0.35, description="Share of keywords that fit any video")
    keywords: WholeSpan = Field(default=(3, 15), description="Bounds of the number of keywords")


class Text(NamedTuple):
    """A video's title and its keywords joined by commas; None where there is none."""

    title: str | None
    keywords: str | None


def uploaded(wording: Wording, topics: Sequence[str], rng: Rng) -> Text:
    """What an uploader writes about a video of these topics, the main one first."""
    title, keywords = titled(wording, topics, rng), ",".join(tagged(wording, topics, rng))
    usable_title, usable_keywords = present(wording, rng)
    return Text(
        title if usable_title else foreign(wording, wording.with_title, rng),
        keywords if usable_keywords else foreign(wording, wording.with_keywords, rng),
    )


def present(wording: Wording, rng: Rng) -> tuple[bool, bool]:
    """Whether a title and whether keywords are usable: the four cases at the rates that are set."""
    both, title, keywords = wording.with_both, wording.with_title, wording.with_keywords
    draw = rng.random()
    return draw < title, draw < both or title <= draw < title + keywords - both


def foreign(wording: Wording, usable: float, rng: Rng) -> str | None:
    """In place of a usable text: none, or one in another language so often that these make up their share of all."""
    share = wording.foreign / (1 - wording.foreign) * usable / max(1 - usable, 1e-9)
    if rng.random() >= share:
        return None
    return pick(OTHER_SCRIPTS if rng.random() < 0.5 else OTHER_LANGUAGES, rng)


def titled(wording: Wording, topics: Sequence[str], rng: Rng) -> str:
    """A title in one of several styles, mostly about the main topic."""
    vague = rng.random() < wording.vague
    first = mention(topics[0], wording.named, rng)
    second = mention(topics[int(rng.integers(len(topics)))], wording.named, rng)
    title = pick(VAGUE if vague else TITLES, rng).format(
        a=first,
        b=second if second != first else mention(topics[0], 0, rng),
        place=pick(PLACES, rng),
        who=pick(PEOPLE, rng),
        adjective=pick(ADJECTIVES, rng),
        month=pick(MONTHS, rng),
        n=int(rng.integers(2, 40)),
        year=int(rng.integers(2006, 2018)),
    )
    if rng.random() < wording.decoys:
        title = f"{title} {pick(DECOYS, rng)}"
    style = rng.random()
    return title.title().replace("'S", "'s") if style < 0.3 else title if style < 0.6 else title[0].upper() + title[1:]


def tagged(wording: Wording, topics: Sequence[str], rng: Rng) -> list[str]:
    """Keywords without repetition: about the topics, about anything, and about what is not in the video."""
    everything = list(TOPICS)
    found: list[str] = []
    for _ in range(int(rng.integers(wording.keywords[0], wording.keywords[1] + 1))):
        draw = rng.random()
        if draw < wording.general:
            found.append(pick(GENERAL, rng))
        elif draw < wording.general + wording.misleading:
            found.append(mention(pick(everything, rng), wording.keyword_named, rng))
        else:
            word = mention(topics[int(rng.integers(len(topics)))], wording.keyword_named, rng)
            found.append(pick(KEYWORD_PHRASES, rng).format(word) if rng.random() < wording.phrases else word)
    return list(dict.fromkeys(found))


def mention(topic: str, named: float, rng: Rng) -> str:
    """One of a topic's labels, or a related word."""
    about = TOPICS[topic]
    if rng.random() < named:
        label = topic if rng.random() < 0.75 else pick(about.labels(topic), rng)
        return label.lower()
    return pick(about.words, rng)


def pick(choices: Sequence[str], rng: Rng) -> str:
    return choices[int(rng.integers(len(choices)))]
