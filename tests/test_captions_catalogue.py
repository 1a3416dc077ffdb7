"""AudioCaps 2.0 and the mirrors of Clotho in the catalogues."""

import csv
from pathlib import Path

from workflow_scripts.corpora.plan import reader
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent
HEADER = ("audiocap_id", "youtube_id", "start_time", "caption")


def test_audiocaps_2_is_read_as_the_first_edition(tmp_path: Path) -> None:
    """From files of its own, of one revision; a clip of its train split may have several captions."""
    full = Scale(ROOT, Config(papers=["temp4cap"]), "full")
    corpus, first = full.corpus("audiocaps_2"), full.corpus("audiocaps")
    assert (corpus.reader, corpus.link, corpus.clip_seconds) == (first.reader, first.link, first.clip_seconds)
    assert not set(corpus.annotations.values()) & set(first.annotations.values())
    locations = {part: full.assets[name].location for part, name in corpus.annotations.items()}
    assert {part: location.rpartition("/")[2] for part, location in locations.items()} == {
        part: f"{part}.csv" for part in ("train", "val", "test")
    }
    assert {location.rpartition("/")[0].rpartition("/")[2] for location in locations.values()} == {"dataset2.0"}
    rows = {
        "train": [("1", "vfY_TJq7n_U", "130", "a dog barks"), ("2", "vfY_TJq7n_U", "130", "a dog, then a man")],
        "val": [("3", "tw76HGONaKg", "570", "a man speaks")],
        "test": [("4", "ti66RjZWTp0", "20", "a gun fires once")],
    }
    files = {part: tmp_path / f"{part}.csv" for part in rows}
    for part, lines in rows.items():
        with files[part].open("w", newline="") as stream:
            csv.writer(stream).writerows([HEADER, *lines])
    found = list(reader(full, "audiocaps_2").read(files))
    assert [(row["split"], row["captions"]) for row in found] == [
        ("train", ["a dog barks", "a dog, then a man"]),
        ("validation", ["a man speaks"]),
        ("test", ["a gun fires once"]),
    ]


def test_clothos_files_have_mirrors_that_a_checksum_proves() -> None:
    """The evaluation split is the same file in all versions; an address of another file would be refused."""
    assets = Scale(ROOT, Config(papers=["temp4cap"]), "full").assets
    names = [f"clotho_{what}_{part}" for what in ("audio", "captions", "metadata")
             for part in ("development", "validation", "evaluation")]  # fmt: skip
    for name in names:
        asset = assets[name]
        assert asset.checksum is not None and len(set(asset.locations)) == len(asset.locations) > 1
        assert len(asset.locations) == (4 if name.endswith("evaluation") else 2)
        assert all(asset.file_name in location for location in asset.locations)
