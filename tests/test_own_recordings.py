"""One's own recordings: pieces of one stay together, own splits, folds, and what tables say of them."""

import csv
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import audio_files
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import copied, with_study
from safetensors.torch import load_file
from test_comparability import NOT_COMPARABLE

from workflow_scripts import shards
from workflow_scripts.corpora import sides
from workflow_scripts.corpora.annotate import FOLD, MANIFEST, annotate
from workflow_scripts.corpora.plan import AnnotateCorpus
from workflow_scripts.corpora.readers import audio_folder
from workflow_scripts.errors import UserError
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import Row, Status
from workflow_scripts.tables.plan import front_doors, make_table

ROOT = Path(__file__).parent.parent


def read_folder(folder: Path, *names: str, **values: Any) -> list[Row]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return list(audio_folder.Reader.check({"folder": folder, **values}, "test").read({}))


# pieces of one recording


def esc(classes: int = 10, of_class: int = 40) -> list[str]:
    """Names as of ESC-10: up to three takes of a recording, whose number they share."""
    rng, names = np.random.default_rng(0), []
    for label in range(classes):
        number = 0
        while number < of_class:
            recording = rng.integers(1000, 999_999)
            for take in "ABC"[: min(rng.integers(1, 4), of_class - number)]:
                names.append(f"class {label}/{rng.integers(1, 6)}-{recording}-{take}-{label}.ogg")
                number += 1
    return names


def test_pieces_of_one_recording_never_stand_on_both_sides(tmp_path: Path) -> None:
    """Of ESC-10, divided file by file, 31 of 100 test clips had a sibling that was learned from."""
    clips = read_folder(tmp_path, *esc())
    of_recording = defaultdict(set)
    for clip in clips:
        of_recording[re.search(r"-(\d+)-", clip["video_id"])[1]].add(clip["split"])
    assert max(map(len, of_recording.values())) == 1 and len(of_recording) < 300
    counts = Counter((clip["labels"][0], clip["split"]) for clip in clips)
    assert all(8 <= counts[f"class {label}", "test"] <= 12 for label in range(10))  # about a quarter of 40


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=8), min_size=2, max_size=4),
    share=st.floats(0.01, 0.99),
    folds=st.integers(2, 6),
)
def test_every_class_is_on_all_sides_that_it_can_be_on(sizes: list[list[int]], share: float, folds: int) -> None:
    classes = {
        f"c{label}": [f"c{label}/r{n} part {piece}.wav" for n, count in enumerate(counts) for piece in range(count)]
        for label, counts in enumerate(sizes)
    }
    wholes = {path: path.split(" part")[0] for paths in classes.values() for path in paths}
    for found in (sides.tested(classes, wholes, share), sides.dealt(classes, wholes, folds)):
        sides.check(classes, wholes, found, "toy")
        for (label, paths), counts in zip(classes.items(), sizes, strict=True):
            of_class = Counter(found[path] for path in paths)
            assert len(of_class) == (2 if "train" in of_class else min(folds, len(counts))), label
            if "train" not in of_class:
                assert max(of_class.values()) - min(of_class[fold] for fold in range(folds)) <= max(counts)


@pytest.mark.parametrize(
    ("name", "recording"),
    [
        ("dog/1-30226-A-0.ogg", "30226"),
        ("siren/100032-3-0-12.wav", "100032"),
        ("dog/walk_30.000_40.000.wav", "dog/walk"),
        ("dog/a walk part 2.wav", "dog/a walk"),
        ("dog/bark_segment_10.wav", "dog/bark"),
        ("dog/bark_10.wav", "dog/bark_10.wav"),
        ("dog/2021-05-03.wav", "dog/2021-05-03.wav"),
    ],
)
def test_names_that_tell_pieces(name: str, recording: str) -> None:
    assert audio_folder.Reader(folder=Path()).whole(name) == recording


def test_who_names_pieces_otherwise_says_how(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"{label}/{day} {n}.ogg" for label in ("cat", "dog") for day in ("mon", "tue", "wed") for n in range(6)]
    read_folder(tmp_path, *names)
    assert re.search(r"files are named like ones on another side, such as '(cat/\w+) \d.ogg' and '\1 \d", caplog.text)
    caplog.clear()
    clips = read_folder(tmp_path, *names, recording=r"(\w+) \d")
    assert not caplog.text
    of_day = defaultdict(set)
    for clip in clips:
        of_day[clip["video_id"].split()[0].split("/")[1]].add(clip["split"])
    assert sorted(map(len, of_day.values())) == [1, 1, 1]  # of both classes
    with pytest.raises(UserError, match=r"'recording': no regular expression: missing \), unterminated"):
        read_folder(tmp_path, recording="(x")


# a split of one's own


def test_folders_and_names_may_say_who_tests(tmp_path: Path) -> None:
    names = [
        f"{label}/{place}/{n}.wav" for label in ("cat", "dog") for place in ("at home", "outside") for n in range(3)
    ]
    clips = read_folder(tmp_path, *names, test=["*/outside/*", "dog/at home/2.wav"])
    tested = {clip["video_id"] for clip in clips if clip["split"] == "test"}
    assert tested == {name for name in names if "outside" in name} | {"dog/at home/2.wav"}
    assert len(clips) == len(names)


def test_splits_that_cannot_be_are_refused(tmp_path: Path) -> None:
    names = ["cat/1-111-A-1.ogg", "cat/2-111-B-1.ogg", "cat/2-222-A-1.ogg", "dog/1-333-A-2.ogg", "dog/2-444-A-2.ogg"]
    torn = r"'cat/1-111-A-1.ogg' and 'cat/2-111-B-1.ogg' are pieces of one recording, '111', on two sides"
    for split in ({"test": ["*/2-*"]}, {"folds": r"/(\d)-"}):
        with pytest.raises(UserError, match=torn):
            read_folder(tmp_path, *names, **split)
    assert read_folder(tmp_path, test=["*/2-*"], recording=None)
    with pytest.raises(UserError, match=r"reading.test: no recording's path is like '\*/3-\*'"):
        read_folder(tmp_path, test=["*/3-*"])
    with pytest.raises(UserError, match=r"the class 'dog' has recordings only for 'train'"):
        read_folder(tmp_path, test=["cat/2-2*"])
    with pytest.raises(UserError, match=r"'/\(x\)' finds no fold in 'cat/1-111-A-1.ogg'"):
        read_folder(tmp_path, folds="/(x)")
    for name in names[2:3]:
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"the class 'cat' has one recording in 2 pieces, '111'"):
        read_folder(tmp_path)


# folds


def test_folds_divide_each_class_evenly(tmp_path: Path) -> None:
    clips = read_folder(tmp_path, *esc(), folds=5)
    counts = Counter((clip["labels"][0], clip["fold"]) for clip in clips)
    assert len(counts) == 50 and set(counts.values()) <= set(range(6, 11))
    assert {clip["split"] for clip in clips} == {"test"}
    of_recording = defaultdict(set)
    for clip in clips:
        of_recording[re.search(r"-(\d+)-", clip["video_id"])[1]].add(clip["fold"])
    assert max(map(len, of_recording.values())) == 1


def test_folds_may_have_names(tmp_path: Path) -> None:
    names = [
        f"{label}/{fold}-{100 * fold + n}-A-0.ogg" for label in ("cat", "dog") for fold in (1, 3, 5) for n in range(3)
    ]
    for clip in read_folder(tmp_path, *names, folds=r"/(\d)-"):
        assert [1, 3, 5][clip["fold"]] == int(clip["video_id"].split("/")[1][0])


def test_only_a_manifest_with_folds_tells_them(tmp_path: Path) -> None:
    names = [f"{label}/{n}.wav" for label in ("cat", "dog") for n in range(4)]
    read_folder(tmp_path / "sounds", *names)
    for reading, columns in (({}, MANIFEST.names), ({"folds": 2}, [*MANIFEST.names, "fold"])):
        reader = audio_folder.Reader.check({"folder": tmp_path / "sounds", **reading}, "test")
        job = AnnotateCorpus(reader="audio_folder", reading=reader, link="{video_id}", files={}, needed=[])
        annotate(job, tmp_path / "manifest.parquet")
        assert pq.read_schema(tmp_path / "manifest.parquet").names == columns


@pytest.fixture(scope="module")
def in_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy corpus as one of three folds."""
    folder = audio_files.write_corpus(tmp_path_factory.mktemp("folds"))
    rows = list(shards.read(folder / "single.parquet"))
    rows = [{**row, "split": "test", "fold": n % 3, "status": Status.OK, "link": "", "start": 0.0}
            for n, row in enumerate(rows)]  # fmt: skip
    shards.write(folder / "single.parquet", rows, MANIFEST.append(FOLD))
    return folder


def test_each_clip_is_predicted_by_the_network_that_has_not_seen_it(in_folds: Path, tmp_path: Path) -> None:
    changes = {"cross_validation": True, "optimisation": {"epochs": 4, "learning_rate": 1e-2}}
    facts = audio_files.train(in_folds, tmp_path / "all", "resnet", [0, 1], **changes)
    rows = pq.read_table(tmp_path / "all" / "predictions.parquet").to_pylist()
    clips = {row["clip_id"] for row in shards.read(in_folds / "single.parquet")} - {"train-3"}  # which has no features
    for seed in (0, 1):
        assert sorted(row["clip_id"] for row in rows if row["seed"] == seed) == sorted(clips)
    assert {row["split"] for row in rows} == {"test"}
    assert facts["clips"] == {"fold 0": 50, "fold 1": 51, "fold 2": 50} and facts["examples_per_second"]["0"] > 0
    assert audio_files.accuracy(tmp_path / "all", in_folds) > 0.5  # chance: 1/4
    names = {tuple(name.split("/")[:2]) for name in load_file(tmp_path / "all" / "weights.safetensors")}
    assert names == {(seed, fold) for seed in "01" for fold in "012"}
    # The labels of a fold's clips change nothing for the network that predicts them, and the other networks.
    other = tmp_path / "other"
    shutil.copytree(in_folds, other)
    changed = [
        {**row, "labels": ["a: 00"]} if row["fold"] == 1 else row for row in shards.read(other / "single.parquet")
    ]
    shards.write(other / "single.parquet", changed, MANIFEST.append(FOLD))
    audio_files.train(other, tmp_path / "changed", "resnet", [0], **changes)
    before, after = (load_file(tmp_path / name / "weights.safetensors") for name in ("all", "changed"))
    same = {fold: all((before[key] == value).all() for key, value in after.items() if key.startswith(f"0/{fold}/"))
            for fold in range(3)}  # fmt: skip
    assert same == {0: False, 1: True, 2: False}


def test_cross_validation_needs_folds(tmp_path: Path) -> None:
    corpus = audio_files.write_corpus(tmp_path / "corpus")
    with pytest.raises(UserError, match=r"cross_validation needs a corpus with folds; set `reading.folds`"):
        audio_files.train(corpus, tmp_path / "out", "resnet", [0], cross_validation=True)
    with pytest.raises(UserError, match=r"cross_validation predicts each clip once, as 'test'"):
        audio_files.train(corpus, tmp_path / "out", "resnet", [0], cross_validation=True, validation_split="test")


# what tables say, and which


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the page's corpus and paper, and eight recordings of two pieces in each class."""
    with_study(copied(tmp_path), "own-sounds.md", "my_sounds", {"epochs: 30": "epochs: 1", "seeds: 3": "seeds: 1"})
    rng = np.random.default_rng(0)
    for number in range(16):
        place = tmp_path / "data" / "my_sounds" / ("low" if number % 2 else "high")
        place.mkdir(parents=True, exist_ok=True)
        tone = np.sin(np.arange(3 * 16_000) * (0.05 if number % 2 else 0.5)) + 0.1 * rng.standard_normal(3 * 16_000)
        soundfile.write(place / f"take {number // 4} part {number % 4 // 2}.ogg", 0.3 * tone, 16_000)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: '{old}'"
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_a_study_of_ones_own_joins_no_others_unasked(project: Path) -> None:
    for scale in ("mini", "full"):
        everything = Scale(project, Config(), scale)
        assert "my_sounds" not in everything.papers and "datar" in everything.papers
    asked = Scale(project, Config(papers=["my_sounds"]), "full")
    assert asked.papers == ["my_sounds"] and front_doors(asked) == ["table1"]


def test_tables_say_that_the_data_are_others_than_the_papers(project: Path) -> None:
    sentence = "on other data than the paper's: recordings of one's own (my_sounds)"
    job = make_table(Scale(project, Config(), "full"), "my_sounds", "table1")
    assert job.basis.differs == [sentence] and job.basis.corpora == []
    change(
        project / "papers/datar/paper.yaml", "  kinetics_sounds: kinetics_sounds\n", "  kinetics_sounds: my_sounds\n"
    )
    assert sentence in make_table(Scale(project, Config(), "full"), "datar", "table1").basis.differs


@pytest.mark.slow
def test_cross_validation_from_end_to_end(project: Path) -> None:
    """As the page says: every recording is tested once, and the table says whose they are."""
    change(project / "corpora.yaml", "test: 0.25}", "folds: 2}")
    paper = project / "papers" / "my_sounds" / "paper.yaml"
    change(paper, "defaults:\n", "defaults:\n  settings: {cross_validation: true}\n")
    change(paper, "reducer: feature_statistics}", "reducer: feature_statistics, settings: {split: test}}")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", 'papers=["my_sounds"]', "--"]
    target = "results/full/my_sounds/table1.csv"
    done = subprocess.run([*command, target], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (project / target).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert {(line["status"], line["items"]) for line in lines} == {("measured", "16")} and len(lines) == 4
    said = f"{NOT_COMPARABLE}: on other data than the paper's"
    assert said in (project / target).with_suffix(".md").read_text()
