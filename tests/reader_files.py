"""The smallest annotation files of every format: a function for each reader, of its name."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from workflow_scripts.corpora.readers.kinetics import COLUMNS, Reader
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, Video, encode_frames, encode_video
from workflow_scripts.shards import STATE, write

VIDEO = "-_ID0000001"


def lines(path: Path, rows: Iterable[Iterable[object]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def audio_folder(folder: Path) -> None:
    for name in ("cat/1.ogg", "cat/2.ogg", "dog/1.ogg", "dog/2.ogg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


def audiocaps(folder: Path) -> None:
    header = ("audiocap_id", "youtube_id", "start_time", "caption")
    for start, part in enumerate(("train", "val", "test")):
        lines(folder / f"{part}.csv", [header, (1, VIDEO, start, "a dog barks, then a man speaks")])


def clotho(folder: Path) -> None:
    header = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
    for part in ("development", "validation", "evaluation"):
        lines(folder / f"clotho_captions_{part}.csv", [header, (f"{part}.wav", *["rain falls"] * 5)])


def dcase2018(folder: Path) -> None:
    names = [f"Y{VIDEO}_{start}.000_{start + 10}.000.wav" for start in range(4)]
    strong = [("filename", "onset", "offset", "event_label")]
    tables = {
        "train/weak.csv": [("filename", "event_labels"), (names[0], "Cat,Dog")],
        "train/unlabel_in_domain.csv": [("filename",), (names[1],)],
        "test/test.csv": [*strong, (names[2], 0.5, 1.5, "Cat")],
        "eval/eval.csv": [*strong, (names[3], "", "", "")],
    }
    for name, rows in tables.items():
        lines(folder / name, rows, "\t")


def digit_pairs(folder: Path) -> None:
    for part, count in (("training", 20), ("test", 2)):
        for kind, shape in (("images", (1, 28, 28)), ("audio", (1, 8000))):
            torch.save(torch.zeros(count, *shape), folder / f"{part}_{kind}.pth")
            torch.save(torch.arange(count) % 2, folder / f"{part}_{kind}_labels.pth")


def epic_kitchens(folder: Path) -> None:
    columns = ("narration_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
    for part in ("train", "validation"):
        action = (f"P01_{part}", "P01_01", "00:00:01.5", "00:00:21.5", 3, 5)
        lines(folder / f"EPIC_100_{part}.csv", [columns, action])
    for kind, number in (("verb", 3), ("noun", 5)):
        lines(folder / f"EPIC_100_{kind}_classes.csv", [("id", "key"), (number, "name")])


def event_lists(folder: Path) -> None:
    lines(folder / "weak.tsv", [("filename", "event_labels"), ("a.wav", "Cat,Dog")], "\t")
    lines(folder / "unlabelled.tsv", [("filename",), ("b.wav",)], "\t")
    strong = [("filename", "onset", "offset", "event_label"), ("c.wav", 0.5, 11, "Cat"), ("d.wav", "", "", "")]
    lines(folder / "test.tsv", strong, "\t")
    lines(folder / "durations.tsv", [("filename", "duration"), *((f"{name}.wav", 10) for name in "abcd")], "\t")


def kinetics(folder: Path) -> None:
    for start, part in enumerate(("train", "val")):
        clips = ((label, f"{VIDEO}{n}", start, start + 10, part) for n, label in enumerate(Reader().chosen() or []))
        lines(folder / f"{part}.csv", [COLUMNS, *clips])


def text_lines(folder: Path) -> None:
    for split in ("train", "validation"):
        (folder / f"{split}.txt").write_text("A dog barks, then a man speaks\n\n", encoding="utf-8")


def vggsound(folder: Path) -> None:
    lines(folder / "vggsound.csv", [(VIDEO, 30, "dog barking", "train"), (VIDEO, 60, "dog barking", "test")])


def youtube8m(folder: Path) -> None:
    """A vocabulary, and a folder with one ledger of record files, here one of each level."""
    lines(folder / "vocabulary.csv", [("Index", "Name"), (0, "Game"), (1, "Car")])
    records = folder / "records"
    records.mkdir()
    rgb, audio = np.zeros(RGB, np.float32), np.zeros(AUDIO, np.float32)
    tfrecord.write(records / "video.tfrecord", [encode_video(Video("abcd", [1], rgb, audio))])
    frames = Frames("abcd", [1], np.zeros((3, RGB), np.uint8), np.zeros((3, AUDIO), np.uint8))
    tfrecord.write(records / "frame.tfrecord", [encode_frames(frames)])
    ledger = pa.schema([*((name, pa.string()) for name in ("part", "name", "path")), *STATE])
    file = {"part": "train", "name": "train00", "path": "video.tfrecord", "status": "ok"}
    write(records / "0.parquet", [file], ledger)
