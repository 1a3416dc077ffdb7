"""Readers of Kinetics-Sounds, VGGSound and EPIC-KITCHENS-100, and of a folder of labelled recordings."""

import csv
from collections import Counter
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.corpora.annotate import manifest
from workflow_scripts.corpora.readers import audio_folder, epic_kitchens, kinetics, vggsound
from workflow_scripts.errors import UserError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ---- Kinetics

HEADER = "label,youtube_id,time_start,time_end,split\n"


def kinetics_files(folder: Path, classes: list[str], validation: str = "val") -> dict[str, Path]:
    others = [*classes, "abseiling"]
    train = HEADER + "".join(f'"{label}",-_ID{n:07d},{n},{n + 10},train\n' for n, label in enumerate(others))
    test = HEADER + "".join(f"{label},te{n:09d},100,110,{validation}\n" for n, label in enumerate(others))
    return {"train": write(folder / "train.csv", train), "test": write(folder / "val.csv", test)}


@pytest.mark.parametrize(("name", "count"), [("ks31", 31), ("ks32", 32), ("ks34", 34)])
def test_lists_of_kinetics_sounds(name: str, count: int) -> None:
    chosen = kinetics.Reader.check({"classes": name}, "test").chosen()
    assert chosen is not None and len(set(chosen)) == count and chosen == sorted(chosen)
    assert ("strumming guitar" in chosen) == (name != "ks31")
    # a class has at most 50 clips in Kinetics-400's validation part, and papers test with 1,585
    assert (50 * count >= 1585) == (name != "ks31")


@pytest.mark.parametrize("validation", ["val", "validate"])
def test_kinetics_keeps_the_chosen_classes(tmp_path: Path, validation: str) -> None:
    reader = kinetics.Reader()
    files = kinetics_files(tmp_path, reader.chosen() or [], validation)
    clips = list(reader.read(files))
    assert Counter(clip["split"] for clip in clips) == {"train": 32, "test": 32}
    assert sorted({clip["labels"][0] for clip in clips}) == reader.chosen()
    assert clips[3] | {"labels": None} == {
        "clip_id": "-_ID0000003_000003_000013",
        "video_id": "-_ID0000003",
        "start": 3.0,
        "end": 13.0,
        "part": "train",
        "split": "train",
        "labels": None,
    }
    everything = list(kinetics.Reader.check({"classes": "all"}, "test").read(files))
    assert {"abseiling"} == {clip["labels"][0] for clip in everything} - set(reader.chosen() or [])


def test_kinetics_errors(tmp_path: Path) -> None:
    reader = kinetics.Reader()
    files = kinetics_files(tmp_path, [name for name in reader.chosen() or [] if name != "tickling"])
    with pytest.raises(UserError, match=r"train.csv: no clip of 'tickling'"):
        list(reader.read(files))
    everything = kinetics.Reader(classes="all")
    with pytest.raises(UserError, match=r"train.csv, line 2: a row of the split 'val'"):
        list(everything.read({"train": files["test"].rename(tmp_path / "train.csv"), "test": files["train"]}))
    for text, message in (
        ("label,youtube_id\n", "no column 'split'"),
        (HEADER + "a,id,7,3,train\n", "'id' from '7' to '3' is no section"),
        (HEADER + "a,id,x,3,train\n", "'id' from 'x' to '3' is no section"),
        (HEADER + "a,id,1\n", "a row of the split ''"),
    ):
        with pytest.raises(UserError, match=message):
            list(everything.read({"train": write(tmp_path / "bad.csv", text), "test": files["train"]}))
    with pytest.raises(UserError, match="classes"):
        kinetics.Reader.check({"classes": "ks33"}, "test")


# ---- VGGSound


def test_vggsound_rows(tmp_path: Path) -> None:
    clips = write(
        tmp_path / "vggsound.csv",
        '---g-f_I2yQ,1,people marching,test\n--0PQM4-hqg,30,"waterfall burbling, and more",train\n\n',
    )
    first, second = vggsound.Reader().read({"clips": clips})
    assert first == {
        "clip_id": "---g-f_I2yQ_000001",
        "video_id": "---g-f_I2yQ",
        "start": 1.0,
        "end": 11.0,
        "may_end_early": True,
        "split": "test",
        "labels": ["people marching"],
    }
    assert second["labels"] == ["waterfall burbling, and more"] and second["split"] == "train"
    short = vggsound.Reader.check({"clip_seconds": 4}, "test")
    assert [clip["end"] for clip in short.read({"clips": clips})] == [5, 34]


def test_real_vggsound_counts(shared: Path, tmp_path: Path) -> None:
    """The test part as the data set's own folder has it: the same ids, starts and labels with two columns."""
    folder = shared / "data/metadata/vggsound"
    with (folder / "test.csv").open(newline="") as file, (tmp_path / "vggsound.csv").open("w", newline="") as made:
        names = []
        for name, label in csv.reader(file):
            names.append(name.removesuffix(".mp4"))
            csv.writer(made).writerow([names[-1][:11], int(names[-1][12:]), label, "test"])
    files = {"clips": tmp_path / "vggsound.csv", "classes": folder / "stat.csv"}
    clips = list(vggsound.Reader().read(files))
    assert len(clips) == 15_446 and [clip["clip_id"] for clip in clips] == names
    labels = {clip["labels"][0] for clip in clips}
    assert len(labels) == 309 and "bird chirping, tweeting" in labels
    assert {clip["end"] - clip["start"] for clip in clips} == {10}
    assert len(list(manifest(lambda: clips, "https://www.youtube.com/watch?v={video_id}"))) == 15_446


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("abc,1,dog barking", "line 1: 3 cells instead of id,start,label,split"),
        ("abc,one,dog barking,train", "line 1: 'abc,one,…,train' is not"),
        ("abc,1,dog barking,validation", "is not id,start,label,train or test"),
        ("abc,1,dog barkin,train", "'dog barkin' is not in .*did you mean 'dog barking'"),
    ],
)
def test_vggsound_errors(tmp_path: Path, row: str, message: str) -> None:
    classes = write(tmp_path / "stat.csv", "dog barking,5,animals\n")
    with pytest.raises(UserError, match=message):
        list(vggsound.Reader().read({"clips": write(tmp_path / "vggsound.csv", row), "classes": classes}))


# ---- EPIC-KITCHENS-100


def epic_files(shared: Path) -> dict[str, Path]:
    folder = shared / "data/metadata/epic_kitchens"
    return {role: folder / name for role, name in epic_kitchens.Reader.files.items()}


def test_real_epic_kitchens_counts(shared: Path, tmp_path: Path) -> None:
    files = epic_files(shared)
    one = files["validation"].read_text(encoding="utf-8").splitlines()[:2]
    files["train"] = write(tmp_path / "train.csv", "\n".join([one[0], one[1].replace("P01_11_0,", "P01_01_0,")]))
    clips = list(epic_kitchens.Reader().read(files))
    assert Counter(clip["split"] for clip in clips) == {"train": 1, "test": 9668}
    nouns = Counter(clip["labels"][1] for clip in clips if clip["split"] == "test")
    assert len(nouns) == 211 and sum(nouns[f"noun:{name}"] for name in (205, 240, 288, 295)) == 24
    assert {len(clip["labels"]) for clip in clips} == {2}
    assert clips[1]["labels"] == ["verb:0", "noun:2"] and clips[1]["clip_id"] == "P01_11_0"

    with files["validation"].open(encoding="utf-8", newline="") as file:
        lengths = [
            (epic_kitchens.seconds(row["stop_timestamp"]) or 0) - (epic_kitchens.seconds(row["start_timestamp"]) or 0)
            for row in csv.DictReader(file)
        ]
    assert mean(lengths) == pytest.approx(3.68, abs=0.005) and median(lengths) == pytest.approx(1.96, abs=0.005)
    assert max(lengths) == pytest.approx(147, abs=0.5)
    kept = [clip["end"] - clip["start"] for clip in clips[1:]]
    assert max(kept) == pytest.approx(10.24, abs=0.0011)
    assert mean(length < 10.24 for length in lengths) == pytest.approx(0.931, abs=0.0005)
    assert all(after == pytest.approx(before) for before, after in zip(lengths, kept, strict=True) if before < 10.24)


def test_the_classes_of_epic_kitchens(shared: Path) -> None:
    files = epic_files(shared)
    assert epic_kitchens.class_ids(files["verbs"]) == {str(n) for n in range(97)}
    assert epic_kitchens.class_ids(files["nouns"]) == {str(n) for n in range(300)}


def row(start: str, stop: str) -> dict[str, str]:
    return {"narration_id": "P01_01_0", "start_timestamp": start, "stop_timestamp": stop}


@given(start=st.integers(0, 10**6), length=st.integers(1, 10**5))
def test_of_a_long_action_the_middle_is_taken(start: int, length: int) -> None:
    def stamp(centiseconds: int) -> str:
        minutes, rest = divmod(centiseconds, 6000)
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 100:05.2f}"

    found = epic_kitchens.section("x.csv", row(stamp(start), stamp(start + length)), 10.24)
    assert found["end"] - found["start"] == pytest.approx(min(10.24, length / 100), abs=0.0011)
    assert (found["start"] + found["end"]) / 2 == pytest.approx((start + length / 2) / 100, abs=0.0011)


@pytest.mark.parametrize(
    ("start", "stop"), [("00:00:02.00", "00:00:01.00"), ("2.0", "3.0"), ("00:00:61.0", "00:02:00")]
)
def test_epic_times_that_cannot_be(start: str, stop: str) -> None:
    with pytest.raises(UserError, match=r"x.csv: 'P01_01_0' from .* hours:minutes:seconds"):
        epic_kitchens.section("x.csv", row(start, stop), 10)


def test_epic_errors(tmp_path: Path) -> None:
    header = ",".join(epic_kitchens.COLUMNS)
    good = f"{header}\nP01_01_0,P01_01,00:00:01.00,00:00:02.50,0,1\n"
    files = {
        "train": write(tmp_path / "train.csv", good),
        "validation": write(tmp_path / "validation.csv", good.replace("P01_01_0", "P01_02_0")),
        "verbs": write(tmp_path / "verbs.csv", "id,key\n0,take\n"),
        "nouns": write(tmp_path / "nouns.csv", "id,key\n0,tap\n1,spoon\n"),
    }
    assert [clip["split"] for clip in epic_kitchens.Reader().read(files)] == ["train", "test"]
    write(files["train"], good.replace(",0,1", ",0,300"))
    with pytest.raises(UserError, match=r"'P01_01_0' has the noun class '300', which is not in .*nouns.csv"):
        list(epic_kitchens.Reader().read(files))
    write(files["train"], good.replace("noun_class", "noun"))
    with pytest.raises(UserError, match=r"train.csv: no column 'noun_class'"):
        list(epic_kitchens.Reader().read(files))


# ---- a folder of recordings


def recordings(folder: Path, **classes: int) -> Path:
    for label, count in classes.items():
        for n in range(count):
            path = folder / label / f"take {n % 3}" / f"clip.{n}.ogg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def read_folder(folder: Path, **values: Any) -> list[dict[str, Any]]:
    return list(audio_folder.Reader.check({"folder": folder, **values}, "test").read({}))


def test_a_folder_of_recordings(tmp_path: Path) -> None:
    recordings(tmp_path, dog=8, cat=5)
    for ignored in ("notes.txt", "loose.ogg", "dog/cover.jpg", "dog/._clip.ogg", ".cache/a.ogg"):
        (tmp_path / ignored).parent.mkdir(exist_ok=True)
        (tmp_path / ignored).touch()
    (tmp_path / "cat" / "Ä b%c" / "deeper").mkdir(parents=True)
    (tmp_path / "cat" / "Ä b%c" / "deeper" / "X.WAV").touch()
    clips = read_folder(tmp_path)
    assert Counter((clip["labels"][0], clip["split"]) for clip in clips) == {
        ("dog", "train"): 6,
        ("dog", "test"): 2,
        ("cat", "train"): 4,
        ("cat", "test"): 2,
    }
    rows = list(manifest(lambda: clips, "{video_id}"))
    assert all((tmp_path / row["link"]).is_file() for row in rows)
    assert "cat/Ä b%c/deeper/X.WAV" in {row["link"] for row in rows}
    assert {(row["start"], row["end"]) for row in rows} == {(0.0, None)}
    ids = [row["clip_id"] for row in rows]
    assert len(set(ids)) == len(ids) and not any("/" in name or name.startswith(".") for name in ids)


def test_names_that_look_alike_keep_apart() -> None:
    paths = ["a/b c.ogg", "a/b-c.ogg", "a/b/c.ogg", "a/日本.ogg", "a/中文.ogg", "a/" + "x" * 300 + ".ogg"]
    names = [audio_folder.clip_id(path) for path in paths]
    assert len(set(names)) == len(paths)
    assert max(map(len, names)) <= 91 and all(name.isascii() for name in names)


@settings(max_examples=20)
@given(dogs=st.integers(2, 12), cats=st.integers(2, 12), share=st.floats(0.01, 0.99))
def test_every_class_trains_and_tests(dogs: int, cats: int, share: float) -> None:
    with TemporaryDirectory() as folder:
        found = read_folder(recordings(Path(folder), dog=dogs, cat=cats), test=share)
        counts = Counter((clip["labels"][0], clip["split"]) for clip in found)
        assert min(counts.values()) >= 1 and len(counts) == 4
        for label, total in (("dog", dogs), ("cat", cats)):
            assert abs(counts[label, "test"] - share * total) <= 1
        # what tests does not depend on where the folder lies, or on the other classes
        with TemporaryDirectory() as other:
            again = read_folder(recordings(Path(other), dog=dogs, bird=3), test=share)
        of_dogs = [[clip for clip in clips if clip["labels"] == ["dog"]] for clips in (found, again)]
        assert of_dogs[0] == of_dogs[1]


def test_folder_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "loose.wav").touch()
    with pytest.raises(UserError, match=r"no recordings in folders of classes; they end in .*\.ogg"):
        read_folder(tmp_path)
    recordings(tmp_path, dog=4)
    with pytest.raises(UserError, match="'dog' is the only class"):
        read_folder(tmp_path)
    recordings(tmp_path, cat=1)
    with pytest.raises(UserError, match="the class 'cat' has one recording"):
        read_folder(tmp_path)
    with pytest.raises(UserError, match="the key 'folder' is missing"):
        audio_folder.Reader.check({}, "test")
