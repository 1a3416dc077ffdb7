"""Temporal captions: their grammar, what is believed of an answer, the rules, and the command that rewrites."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.captions.answers import read_answer
from workflow_scripts.captions.grammar import GrammarError, TemporalCaption, clean
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.prompt import SHOTS, answer_of
from workflow_scripts.captions.rewrite import captions_of
from workflow_scripts.captions.rules import split_caption
from workflow_scripts.captions.settings import Temporal
from workflow_scripts.captions.words import content, stem
from workflow_scripts.errors import UserError
from workflow_scripts.shards import shard_of

WORDS = st.from_regex(r"[a-z][a-z0-9]{0,7}([-'][a-z]{1,4})?", fullmatch=True)
DESCRIPTIONS = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
EVENTS = st.lists(st.tuples(DESCRIPTIONS, st.none() | st.integers(-5, 40)), min_size=1, max_size=12)
ODD = [
    " ".join(["word"] * 13) + ": 1",
    "; ".join(f"dog {n}: 1" for n in range(9)),
    "a : 1",
    "a: 01",
    " a: 1",
    "a: b: 1",
]
PARTS = ["a dog barks", "rain", "at the same time", "after", "with", ",", ".", "then", "while", "is followed by", "and"]
CAPTION = "A dog barks twice and then a man speaks while rain falls"


@given(EVENTS)
def test_what_is_written_is_read(events: list[tuple[str, int | None]]) -> None:
    """Any events become a caption of dense orders, whose text reads back as the same caption."""
    caption = TemporalCaption.of(events)
    assert TemporalCaption.parse(str(caption)) == caption
    foreground = {order for _, order in caption.items if order is not None}
    assert foreground == set(range(1, caption.orders + 1))
    kept = list(dict.fromkeys(events))[:8]
    for (_, a), (_, new_a) in zip(kept, caption.items, strict=True):
        for (_, b), (_, new_b) in zip(kept, caption.items, strict=True):
            if a is not None and b is not None:
                assert new_a is not None
                assert new_b is not None
                assert (a < b) == (new_a < new_b)


@pytest.mark.parametrize(
    "text",
    ["", "dog barks", "dog barks: 2", "dog barks: 0", "dog: 1; cat: 3", "Dog: 1", "7: 1", "dog: 1;cat: 2", *ODD],
)
def test_other_texts_are_refused(text: str) -> None:
    """What is not in the grammar is no temporal caption."""
    with pytest.raises(GrammarError):
        TemporalCaption.parse(text)


@given(st.text(max_size=40))
def test_clean_leaves_only_what_descriptions_may_hold(text: str) -> None:
    """Cleaning is done once and for all, and leaves characters of the grammar."""
    assert clean(clean(text)) == clean(text)
    assert set(clean(text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789'- ")


def test_eligibility() -> None:
    """Two events suffice for `events`; `orders` wants two numbers, and the background is none."""
    tied, scene = TemporalCaption((("a dog", 1), ("a cat", 1))), TemporalCaption((("a dog", 1), ("rain", None)))
    for caption in (tied, scene):
        assert caption.eligible("events")
        assert not caption.eligible("orders")
    assert not TemporalCaption((("a dog", 1),)).eligible("events")
    assert TemporalCaption((("a dog", 1), ("a cat", 2))).eligible("orders")


@pytest.mark.parametrize(
    "forms", ["clap claps clapped clapping", "bark barks barking barked", "cry cries", "voice voices"]
)
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    """Inflections meet in one stem."""
    assert len({stem(form) for form in forms.split()}) == 1


def answer(*events: tuple[str, Any]) -> str:
    """An answer with these events."""
    return json.dumps([{"event": text, "order": order} for text, order in events])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answer(("dog barks", 1), ("man speaks", 2)), "dog barks: 1; man speaks: 2"),
        (
            "Sure! Here it is:\n" + answer(("Dog barks.", 3), ("man speaks", 9)) + "\nDone",
            "dog barks: 1; man speaks: 2",
        ),
        (answer(("dog barking", "1"), ("rain", " Background ")), "dog barking: 1; rain: background"),
        (answer(("dog barks", 1), ("dog barks", 1)), "dog barks: 1"),
        ('{"events": ' + answer(("dog barks: twice", 1)) + "}", "dog barks twice: 1"),
    ],
)
def test_answers_are_read(text: str, expected: str) -> None:
    """Talk around the array, gaps in the orders, capitals and doubles are put right."""
    assert str(read_answer(text, CAPTION)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no complete JSON array"),
        ("I cannot do that", "no complete JSON array"),
        ('[{"event": "dog barks", "order": 1}', "no complete JSON array"),
        ("] [", "no complete JSON array"),
        ('[{"event": "dog barks", "order": 1},]', "not valid JSON"),
        ("[" * 100_000 + "]", "not valid JSON"),
        ("[]", "1 to 8 events"),
        ('["dog barks"]', "every element"),
        ('[{"event": "dog barks"}]', "every element"),
        ('[{"event": 7, "order": 1}]', "every element"),
        (answer(("dog barks", None)), "must be an integer"),
        (answer(("dog barks", True)), "must be an integer"),
        (answer(("dog barks", 1.5)), "must be an integer"),
        (answer(("dog barks", "first")), "must be an integer"),
        (answer(("", 1)), "not a phrase"),
        (answer(("12", 1)), "not a phrase"),
        (answer(("dog barks " * 7, 1)), "not a phrase"),
        (answer(("the", 1)), "names no sound"),
        (answer(("siren wails", 1)), "not in the caption"),
        (answer(("dog barks", 1), ("man speaks", 2), ("dog barks", 3)), "more often"),
        (answer(("dog barks", "background"), ("man speaks", "background")), "not all events"),
    ],
)
def test_bad_answers_are_refused(text: str, why: str) -> None:
    """Malformed answers and invented sounds raise an error that says why."""
    with pytest.raises(GrammarError, match=why):
        read_answer(text, CAPTION)


@given(st.text(max_size=60) | st.builds(lambda text: f'[{{"event": "dog", "order": {text}}}]', st.text(max_size=8)))
def test_any_answer_is_read_or_refused(text: str) -> None:
    """No answer, however strange, does anything but that."""
    try:
        read_answer(text, CAPTION)
    except GrammarError:
        return


@pytest.mark.parametrize(("caption", "events"), SHOTS)
def test_shots_are_what_is_asked_for(caption: str, events: list[tuple[str, int | str]]) -> None:
    """The examples of the prompt pass its checks, and the rules find the same orders."""
    read = read_answer(answer_of(events), caption)
    split = split_caption(caption)
    assert split is not None
    assert [order for _, order in split.items] == [order for _, order in read.items]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog barks before a man speaks.", "dog barks: 1; man speaks: 2"),
        ("A dog barks after a man speaks", "man speaks: 1; dog barks: 2"),
        ("After a man speaks, a dog barks and a cat meows", "man speaks: 1; dog barks: 2; cat meows: 3"),
        ("Before a siren wails, glass breaks", "glass breaks: 1; siren wails: 2"),
        ("As a man speaks, a dog barks", "man speaks: 1; dog barks: 1"),
        ("a man and a woman speak", "man and a woman speak: 1"),
        ("a man talks, a bell rings and a dog barks", "man talks: 1; bell rings: 2; dog barks: 3"),
        (
            "A bell rings and a dog barks at the same time, then a door slams",
            "bell rings: 1; dog barks: 1; door slams: 2",
        ),
        ("A bell rings and a man speaks shortly after", "bell rings: 1; man speaks: 2"),
        ("Birds chirp with traffic in the background", "birds chirp: 1; traffic: background"),
        ("A man speaks with a high voice", "man speaks: 1; high voice: 2"),
        ("A man walks up and down as if in a hurry", "man walks up and down as if in a hurry: 1"),
        ("Footsteps are shortly followed by: silence", "footsteps: 1; silence: 2"),
        (", a bell rings at the same time, a dog barks", "bell rings: 1; dog barks: 1"),
    ],
)
def test_rules(caption: str, expected: str) -> None:
    """Conjunctions order the events."""
    assert str(split_caption(caption)) == expected


def test_ties_of_events_without_a_cue() -> None:
    """`and` and commas number by mention, or not at all; words of time count either way."""
    caption = "a man talks, a bell rings and then a dog barks"
    assert str(split_caption(caption, "mention")) == "man talks: 1; bell rings: 2; dog barks: 3"
    assert str(split_caption(caption, "simultaneous")) == "man talks: 1; bell rings: 1; dog barks: 2"


@given(st.text(max_size=80) | st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join))
def test_rules_say_nothing_that_the_caption_does_not(caption: str) -> None:
    """Whatever the caption, there is a valid list of its own words or nothing at all."""
    found = split_caption(caption)
    if found is None:
        return
    assert TemporalCaption.parse(str(found)) == found
    assert {word for text in found.descriptions for word in content(text)} <= set(content(clean(caption)))


def test_real_captions(shared: Path) -> None:
    """Most training captions of AudioCaps tell of several events, and none defeats the rules."""
    with (shared / "data/metadata/audiocaps/train.csv").open(encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file)][:5000]
    found = [split_caption(caption) for caption in captions]
    told = [caption for caption in found if caption is not None]
    assert len(told) >= len(captions) - 5
    assert 0.70 < sum(len(caption.items) >= 2 for caption in told) / len(captions) < 0.82


def manifest(path: Path, *clips: tuple[str, str, list[str] | None]) -> Path:
    """A manifest of clips: id, split and captions."""
    rows = [
        {"clip_id": name, "split": split, "captions": captions, "status": "ok", "reason": None, "detail": None}
        for name, split, captions in clips
    ]
    kinds = [("clip_id", pa.string()), ("split", pa.string()), ("captions", pa.list_(pa.string()))]
    state = [(name, pa.string()) for name in ("status", "reason", "detail")]
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(kinds + state)), path)
    return path


def rewritten(folder: Path, *clips: tuple[str, str, list[str] | None], **settings: Any) -> list[dict[str, Any]]:
    """The rows that the job makes of clips."""
    path = manifest(folder / "m.parquet", *clips)
    RewriteCaptions(manifest=path, temporal=settings, answers=folder / "store").run(folder / "out.parquet")
    return pq.read_table(folder / "out.parquet").to_pylist()


def test_one_row_a_caption(tmp_path: Path) -> None:
    """One row a caption of the split; captions without words, and clips without captions, say so."""
    rows = rewritten(
        tmp_path,
        ("a", "train", ["a dog barks then a man speaks", "an engine idles", "?!", "the same"]),
        ("b", "train", None),
        ("c", "test", ["a dog barks"]),
        fallback_limit=None,
    )
    assert [(row["clip_id"], row["caption_index"], row["temporal"], row["source"]) for row in rows] == [
        ("a", 0, "dog barks: 1; man speaks: 2", "rules"),
        ("a", 1, "engine idles: 1", "rules"),
        ("a", 2, None, None),
        ("a", 3, "same: 1", "rules"),
        ("b", None, None, None),
    ]
    assert (rows[0]["events"], rows[0]["orders"]) == (2, 2)
    assert [(row["status"], row["reason"]) for row in rows[2:5:2]] == [("failed", "no_text")] * 2


def test_shards_part_the_clips(tmp_path: Path) -> None:
    """A shard has the clips whose ids hash to it."""
    clips = [(f"clip {n}", "train", ["a dog barks"]) for n in range(20)]
    path = manifest(tmp_path / "m.parquet", *clips)
    found = [{row["clip_id"] for row in captions_of(path, ["train"], shard, 3)} for shard in range(3)]
    assert set.union(*found) == {name for name, _, _ in clips}
    assert all(shard_of(name, 3) == shard for shard, names in enumerate(found) for name in names)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_precomputed(tmp_path: Path, suffix: str) -> None:
    """Captions of a file are taken as they are; those that it lacks go to the rules."""
    path = tmp_path / f"made{suffix}"
    made = [{"caption": "a dog barks", "temporal": "dog barks: 1", "source": "llm"}]
    made.append({"caption": "rain", "temporal": "rain: background", "source": None})
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(made), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made))
    clip = ("a", "train", ["a dog barks", "rain", "a cat meows"])
    rows = rewritten(tmp_path, clip, backend={"kind": "precomputed", "path": str(path)}, fallback_limit=0.5)
    assert [(row["temporal"], row["source"]) for row in rows] == [
        ("dog barks: 1", "llm"),
        ("rain: background", "precomputed"),
        ("cat meows: 1", "rules"),
    ]
    with pytest.raises(UserError, match=r"fallback_limit 5\.0%"):
        rewritten(tmp_path, clip, backend={"kind": "precomputed", "path": str(path)})


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"caption": "x", "temporal": "dog barks: 2"}', "caption 'x'"),
        ('{"caption": "x", "temporal": "dog: 1", "source": "oracle"}', "oracle"),
        ('{"temporal": "dog: 1"}', "no `caption`"),
        ("nonsense", "line 1"),
    ],
)
def test_bad_precomputed_files_are_named(tmp_path: Path, line: str, why: str) -> None:
    """A row that is no temporal caption stops the run, and is named."""
    path = tmp_path / "made.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UserError, match=why):
        rewritten(tmp_path, ("a", "train", ["x"]), backend={"kind": "precomputed", "path": str(path)})


def test_bad_settings_are_explained() -> None:
    """Neither model nor asset, an unknown key, an unknown backend: one sentence each."""
    for settings, why in [
        ({"backend": {"kind": "transformers"}}, "either `asset` or `model`"),
        ({"tiess": "mention"}, "did you mean 'ties'"),
        ({"backend": {"kind": "oracle"}}, "backend"),
    ]:
        with pytest.raises(UserError, match=why):
            Temporal.check(settings, "test")
