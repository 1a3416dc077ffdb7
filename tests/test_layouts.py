"""Data that somebody has: the layouts of the public tools as the page tells them, through the rules up to the sound."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import reader_files
import soundfile
import yaml
from media_files import tone, write_movie
from projects import smoke

from workflow_scripts.assets.fetch import digest
from workflow_scripts.settings.base import overlay
from workflow_scripts.settings.plugins import READERS, plugin
from workflow_scripts.shards import read

ROOT = Path(__file__).parent.parent
BLOCK = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/own-data.md").read_text(), re.DOTALL)
ENTRIES: dict[str, Any] = yaml.safe_load(BLOCK[1]) if BLOCK else {}
ID = reader_files.VIDEO
# For each corpus the files that its public tool leaves, with the annotations of reader_files: length in seconds.
LEFT = {
    "epic_kitchens_100": {"P01/videos/P01_01.MP4": 25},
    "dcase2018_task4": {
        f"audio/{part}/Y{ID}_{start}.000_{start + 10}.000.wav": 10 - start
        for start, part in enumerate(("train/weak", "train/unlabel_in_domain", "test", "eval"))
    },
    "kinetics_sounds": {
        "train/-_ID00000010_000000_000010.mp4": 10,
        "videos/train/{1}/-_ID00000011_000000_000010.mp4": 10,
        "replacement/replacement_for_corrupted_k400/-_ID00000012_000000_000010.mp4": 9,
        "val/-_ID00000010_000001_000011.mp4": 10,
    },
    "vggsound": {
        f"scratch/shared/beegfs/hchen/train_data/VGGSound_final/video/{ID}_{start:06d}.mp4": 10 for start in (30, 60)
    },
    "audiocaps": {"train/1.wav": 10, "val/1.ogg": 7, "test/1.wav": 10},
    "clotho_v21": {f"{part}/{part}.wav": 16 for part in ("development", "validation", "evaluation")},
}


def write_media(path: Path, seconds: float) -> None:
    """A recording or a movie, by its suffix, of one colour and small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".wav", ".ogg"):
        soundfile.write(path, tone(seconds, 16_000), 16_000)
    else:
        write_movie(path.with_suffix(".mp4"), seconds, pts=range(0, round(seconds * 100), 100), rate=16_000)
        path.with_suffix(".mp4").rename(path)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project whose full-scale corpora have tiny annotations, and media as their public tools leave them.

    Each folder of media is itself a link to another disk.
    """
    folder = tmp_path_factory.mktemp("layouts")
    for name in ("Snakefile", "rules", "workflow_scripts", "composed", "profiles", "envs", "papers"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    for path in ROOT.glob("*.yaml"):
        shutil.copy(path, folder)
    corpora, assets = (yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("corpora", "assets"))
    classes = plugin(READERS, "kinetics", "test")().chosen()
    for name, files in LEFT.items():
        corpus = corpora[name] = {
            **overlay(corpora[name], ENTRIES[name]),
            "archive": ENTRIES[name]["archive"],
            "shards": 1,
        }
        annotated = folder / "annotations" / name
        annotated.mkdir(parents=True)
        getattr(reader_files, corpus["reader"])(annotated)
        kind = plugin(READERS, corpus["reader"], "test")
        corpus["annotations"] = {}
        for role, file in kind.files.items():
            if (annotated / file).exists():
                corpus["annotations"][role] = f"own_{name}_{role}"
                source = annotated / file
                entry = {"location": f"file:{source}", "sha256": None, "md5": digest(source, "md5"), "kind": "text"}
                assets[f"own_{name}_{role}"] = {**entry, "licence": "x", "used_by": ["x"]}
        other_disk, place = folder / "disk" / name, folder / corpus["archive"]["folder"]
        for path, seconds in files.items():
            write_media(other_disk / path.format(*classes), seconds)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(other_disk)
    told = yaml.safe_dump(corpora).replace("https://www.youtube.com/", "http://127.0.0.1:9/")  # nobody is to be asked
    (folder / "corpora.yaml").write_text(told)
    (folder / "assets.yaml").write_text(yaml.safe_dump(assets))
    return folder


@pytest.mark.slow
def test_the_layouts_of_the_public_tools_give_clips_and_sound(project: Path) -> None:
    stages = ("clips", "audio-16000")
    refused = "download={min_share: 0, retries: 0, videos_per_hour: null}"  # nobody answers
    targets = [f"work/smoke/media/{name}/{stage}/0.parquet" for name in LEFT for stage in stages]
    smoke(project, targets, config=("papers=[boes_avsed]", refused))
    for name, files in LEFT.items():
        rows = {row["clip_id"]: row for row in read(project / f"work/smoke/media/{name}/clips/0.parquet")}
        got = [row for row in rows.values() if row["status"] == "ok"]
        heard = [
            row for row in read(project / f"work/smoke/media/{name}/audio-16000/0.parquet") if row["status"] == "ok"
        ]
        assert len(got) == len(heard) == (2 if name == "epic_kitchens_100" else len(files)), (name, rows)
        assert not any(row["origin"].startswith("http") for row in got)
        if name not in ("kinetics_sounds",):
            assert len(rows) == len(got)
    dcase = read(project / "work/smoke/media/dcase2018_task4/clips/0.parquet")
    assert sorted(round(row["seconds"]) for row in dcase) == [7, 8, 9, 10]  # what was cut shorter is kept
