"""Readers of AudioCaps and Clotho."""

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.corpora import annotate, truth
from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.corpora.readers import audiocaps, clotho
from workflow_scripts.errors import UserError
from workflow_scripts.shards import read, write

TITLES = ("file_name", *clotho.CAPTIONS)


def table(path: Path, *rows: Sequence[object], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows(rows)
    return path


# ---- AudioCaps


def audiocaps_files(folder: Path, **rows: list[tuple[object, ...]]) -> dict[str, Path]:
    return {part: table(folder / f"{part}.csv", audiocaps.COLUMNS, *rows.get(part, [])) for part in audiocaps.PARTS}


def test_captions_of_a_clip_are_gathered(tmp_path: Path) -> None:
    files = audiocaps_files(
        tmp_path,
        train=[(1, "-_ID0000001", 30, "A dog barks, then a man speaks")],
        val=[(2, "a__________", 0, "Rain "), (3, "b__________", 0, "Bees buzz"), (4, "a__________", 0, "Rain falls")],
        test=[(5, "a__________", 10, "A horse")],
    )
    clips = list(audiocaps.Reader().read(files))
    assert clips[0] == {
        "clip_id": "-_ID0000001_000030",
        "video_id": "-_ID0000001",
        "start": 30.0,
        "end": 40.0,
        "may_end_early": True,
        "audiocap_id": "1",
        "part": "train",
        "split": "train",
        "captions": ["A dog barks, then a man speaks"],
        "temporal": None,
    }
    assert [(clip["clip_id"], clip["split"], clip["captions"]) for clip in clips[1:]] == [
        ("a___________000000", "validation", ["Rain ", "Rain falls"]),
        ("b___________000000", "validation", ["Bees buzz"]),
        ("a___________000010", "test", ["A horse"]),
    ]
    assert [clip["end"] for clip in audiocaps.Reader(clip_seconds=6).read(files)] == [36, 6, 6, 16]


captions_of_clips = st.dictionaries(
    st.tuples(st.from_regex(r"[\w-]{11}", fullmatch=True), st.integers(0, 9999)),
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\t\n\r"), min_size=1
        ).filter(str.strip),
        min_size=1,
    ),
    max_size=6,
)


@settings(max_examples=30)
@given(wanted=captions_of_clips, random=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(wanted: dict[tuple[str, int], list[str]], random: Any) -> None:
    rows = [(0, *clip, caption) for clip, captions in wanted.items() for caption in captions]
    random.shuffle(rows)
    with TemporaryDirectory() as folder:
        found = audiocaps.gathered(table(Path(folder) / "val.csv", audiocaps.COLUMNS, *rows))
    assert {clip: Counter(captions) for clip, captions in found.items()} == {
        clip: Counter(captions) for clip, captions in wanted.items()
    }


@pytest.mark.parametrize(
    "row", [(1, "", 0, "Rain"), (1, "id", "", "Rain"), (1, "id", 1.5, "Rain"), (1, "id", 0, " "), (1, "id")]
)
def test_a_broken_row_of_audiocaps_is_named(tmp_path: Path, row: tuple[object, ...]) -> None:
    files = audiocaps_files(tmp_path, val=[(1, "id", 0, "Rain"), row])
    with pytest.raises(UserError, match=r"val\.csv, line 3: .* is not a video id, a start in whole seconds and a cap"):
        list(audiocaps.Reader().read(files))


def test_a_file_of_another_form_is_named(tmp_path: Path) -> None:
    files = audiocaps_files(tmp_path) | {"train": table(tmp_path / "train.csv", TITLES)}
    with pytest.raises(UserError, match=r"train\.csv: no column 'audiocap_id'; is it a file of AudioCaps"):
        list(audiocaps.Reader().read(files))
    files = clotho_files(tmp_path) | {"evaluation": table(tmp_path / "evaluation.csv", audiocaps.COLUMNS)}
    with pytest.raises(UserError, match=r"evaluation\.csv: no column 'caption_1'; is it a file of Clotho"):
        list(clotho.Reader().read(files))


def test_real_audiocaps_counts(shared: Path) -> None:
    folder = shared / "data/metadata/audiocaps"
    clips = list(audiocaps.Reader().read({part: folder / f"{part}.csv" for part in audiocaps.PARTS}))
    counts = Counter((clip["split"], len(clip["captions"])) for clip in clips)
    assert counts == {("train", 1): 49_838, ("validation", 5): 495, ("test", 5): 975}
    assert len({clip["clip_id"] for clip in clips}) == len({clip["video_id"] for clip in clips}) == len(clips)
    assert all(clip["end"] - clip["start"] == 10 for clip in clips)
    first = next(clip for clip in clips if clip["split"] == "test")
    assert first["clip_id"] == "7fmOlUlwoNg_000020"
    assert first["captions"][0] == "Constant rattling noise and sharp vibrations"


# ---- Clotho

ODD_NAMES = (" a street, at night.wav", "Café & 50% #1 {x}.wav", "it's ~ 'late'....wav", "a  b.WAV")


def said(name: str) -> tuple[str, ...]:
    return (name, *(f"Caption {number}, of {name}." for number in range(1, 6)))


def clotho_files(folder: Path, **names: Sequence[str]) -> dict[str, Path]:
    return {
        part: table(folder / f"clotho_captions_{part}.csv", TITLES, *map(said, names.get(part, [])))
        for part in clotho.PARTS
    }


def test_names_are_kept_to_the_letter(tmp_path: Path) -> None:
    files = clotho_files(tmp_path, development=ODD_NAMES, validation=ODD_NAMES[:1], evaluation=["b.wav"])
    rows = list(manifest(lambda: clotho.Reader().read(files), "{video_id}"))
    write(tmp_path / "manifest.parquet", rows, MANIFEST)
    clips = list(read(tmp_path / "manifest.parquet"))
    assert [clip["link"] for clip in clips] == [
        *(f"development/{name}" for name in ODD_NAMES),
        f"validation/{ODD_NAMES[0]}",
        "evaluation/b.wav",
    ]
    assert [clip["split"] for clip in clips] == ["train"] * 4 + ["validation", "test"]
    assert [clip["captions"] for clip in clips] == [list(said(clip["link"].partition("/")[2])[1:]) for clip in clips]
    assert all((clip["start"], clip["end"], clip["labels"], clip["events"]) == (0, None, None, None) for clip in clips)
    ids = [clip["clip_id"] for clip in clips]
    assert len(set(ids)) == 6 and all(set("/ #%{}'") & set(name) == set() for name in ids)


def test_metadata_are_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = clotho_files(tmp_path, development=ODD_NAMES, validation=["b.wav"], evaluation=["c.wav"])
    described = [("file_name", "keywords"), *((name, "street;café") for name in ODD_NAMES)]
    metadata = table(tmp_path / "metadata.csv", *described, encoding="iso-8859-1")
    with pytest.raises(UnicodeDecodeError):
        metadata.read_text(encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert len(list(clotho.Reader().read(files | {"development_metadata": metadata}))) == 6
        assert not caplog.records
        table(metadata, *described[:-1], encoding="iso-8859-1")
        assert len(list(clotho.Reader().read(files | {"development_metadata": metadata}))) == 6
    assert "1 files are not in" in caplog.text and "'a  b.WAV' for one" in caplog.text
    with pytest.raises(UserError, match=r"metadata\.csv: none of its files has captions in .*is it of another split"):
        list(clotho.Reader().read(files | {"evaluation_metadata": metadata}))


@pytest.mark.parametrize("row", [said("a.wav"), said(""), said("b.wav")[:-1], (*said("b.wav")[:-1], " ")])
def test_a_broken_row_of_clotho_is_named(tmp_path: Path, row: tuple[str, ...]) -> None:
    files = clotho_files(tmp_path) | {"validation": table(tmp_path / "v.csv", TITLES, said("a.wav"), row)}
    with pytest.raises(UserError, match=r"v\.csv, line 3: '.*' stands twice, or lacks a name or a caption"):
        list(clotho.Reader().read(files))


def test_real_clotho_counts(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/metadata/clotho"
    files = clotho_files(tmp_path) | {
        "development": folder / "clotho_captions_development.copy.csv",
        "evaluation": folder / "clotho_captions_evaluation.csv",
    }
    clips = list(clotho.Reader().read(files))
    assert Counter(clip["split"] for clip in clips) == {"train": 3839, "test": 1045}
    assert {len(clip["captions"]) for clip in clips} == {5}
    assert len({clip["clip_id"] for clip in clips}) == len(clips)
    assert "development/ Ambience Birds.wav" in {clip["video_id"] for clip in clips}, "a name may begin with a space"
    assert next(clip for clip in clips if clip["split"] == "test")["video_id"] == "evaluation/Santa Motor.wav"


# ---- truth


def truth_file(folder: Path, *rows: tuple[object, ...]) -> Path:
    """Clip, number of the caption, whether it tells the order, order and wording of an event."""
    events = ((clip, number, told, "kind", order, 0, 1, wording) for clip, number, told, order, wording in rows)
    return table(folder / "truth.csv", truth.COLUMNS, *events)


def test_the_truth_stands_beside_the_captions(tmp_path: Path) -> None:
    """Known are captions that tell the order, and those of one event; other captions and other clips are not."""
    rows: list[tuple[object, ...]] = [
        ("a_000000", 2, 1, 1, "a dog barks"),
        ("a_000000", 2, 1, 1, "an owl hoots"),
        ("a_000000", 2, 1, 2, "the rain sets in"),
        ("a_000000", 2, 1, "background", "water runs"),
        ("a_000000", 1, 0, 1, "a dog is barking"),
        ("a_000000", 1, 0, 2, "an owl hooting"),
        ("b_000000", 1, 0, 1, "another cat meows"),
    ]
    spoken = [(1, "a", 0, "Various"), (2, "b", 0, "Another cat meows"), (3, "a", 0, "Many"), (4, "c", 0, "Silence")]
    files = audiocaps_files(tmp_path, val=spoken)
    clips = {clip["clip_id"]: clip for clip in audiocaps.Reader().read(files | {"truth": truth_file(tmp_path, *rows)})}
    assert {name: clip["temporal"] for name, clip in clips.items()} == {
        "a_000000": [None, "dog barks: 1; owl hoots: 1; rain sets in: 2; water runs: background"],
        "b_000000": ["another cat meows: 1"],
        "c_000000": None,
    }
    files = clotho_files(tmp_path, development=["x.wav"])
    name = next(iter(clotho.Reader().read(files)))["clip_id"]
    (clip,) = clotho.Reader().read(files | {"truth": truth_file(tmp_path, (name, 3, 0, 1, "a bell"))})
    assert clip["temporal"] == [None, None, "bell: 1", None, None]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "one", 1, 1, "a dog"), r"truth\.csv, line 2: 'one' is no number of a caption"),
        (("a", 1, 1, "first", "a dog"), "caption 1 of 'a' has no order of events: invalid literal"),
        (("a", 1, 1, 1, "?"), "caption 1 of 'a' has no order of events: '' is not a phrase"),
    ],
)
def test_a_broken_truth_is_named(tmp_path: Path, row: tuple[object, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        truth.true_captions(truth_file(tmp_path, row))
    with pytest.raises(UserError, match="no column 'caption'; is it the truth about captions"):
        truth.true_captions(table(tmp_path / "other.csv", TITLES))


def test_optional_files_need_not_be_there(tmp_path: Path) -> None:
    """A composed corpus gives a path for every file; truth and metadata that it lacks are not missed."""
    files = clotho_files(tmp_path, development=["a.wav"], validation=["b.wav"], evaluation=["c.wav"])
    absent = {role: tmp_path / name for role, name in clotho.Reader.files.items() if role not in files}

    def temporal(**given: Path) -> list[object]:
        options = [f"{role}={path}" for role, path in (files | absent | given).items()]
        annotate.main("clotho", '{"link": "{video_id}"}', tmp_path / "manifest.parquet", options)
        return [clip["temporal"] for clip in read(tmp_path / "manifest.parquet")]

    assert temporal() == [None, None, None]
    name = next(iter(clotho.Reader().read(files)))["clip_id"]
    path = truth_file(tmp_path, (name, 1, 0, 1, "rain"))
    assert path == absent["truth"]
    assert temporal() == [["rain: 1", None, None, None, None], None, None]
    with pytest.raises(UserError, match=r"needs the file 'validation': .*nowhere\.csv cannot be read"):
        temporal(validation=tmp_path / "nowhere.csv")
