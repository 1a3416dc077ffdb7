"""Coverage tells what each stage lost of what came in, and why, by corpus and split."""

import csv
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from media_files import tone

from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.media import Audio
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import STATE, Row, shard_of, write
from workflow_scripts.tables.plan import CountCoverage, Ledger, count_clips, count_coverage

ROOT = Path(__file__).parent.parent
OF_STAGE = ("asked", "ok", "unavailable", "failed", "skipped", "reasons")
OK: Row = {"status": "ok", "reason": None}


def shard(path: Path, rows: Mapping[str, Row], *more: pa.Field) -> Path:
    """A shard of clips with their states."""
    fields = [pa.field("clip_id", pa.string()), *more, *STATE]
    write(path, [{"clip_id": clip, **row} for clip, row in rows.items()], pa.schema(fields))
    return path


def lines(path: Path) -> dict[tuple[str, str], tuple[str, ...]]:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["corpus"], row["split"]): tuple(row[name] for name in OF_STAGE) for row in rows}


def test_sound_that_is_lost_after_the_download_is_counted(tmp_path: Path) -> None:
    """Four of eight files are deleted, or hold silence, after they were fetched; the sound is made of what is left."""
    clips = {f"{split}{n}": split for split in ("train", "test") for n in range(4)}
    manifest = shard(tmp_path / "manifest.parquet", {c: {"split": s, **OK} for c, s in clips.items()},
                     pa.field("split", pa.string()))  # fmt: skip
    lost: Row = {"status": "unavailable", "reason": "private"}
    fetched = shard(
        tmp_path / "clips.parquet",
        {clip: lost if clip == "train3" else {"path": f"{clip}.wav", **OK} for clip in clips},
        pa.field("path", pa.string()),
    )
    for clip in clips:
        sound = np.zeros(16_000) if clip == "test0" else tone(1, 16_000)
        soundfile.write(tmp_path / f"{clip}.wav", sound, 16_000)
    for clip in ("test1", "test2", "train0"):
        (tmp_path / f"{clip}.wav").unlink()
    audio = Audio(sample_rate=16_000, clip_seconds=1)
    sound = tmp_path / "audio.parquet"
    DecodeAudio(clips=fetched, store=tmp_path, audio=audio, losses={"ours": 1}).run(sound)
    known = {"paper": "p", "manifest": manifest}
    ledgers = [
        Ledger(name="c", corpus="c", clips=[fetched], **known),
        Ledger(name="s", corpus="c, sound", clips=[sound], before=[fetched], **known),
    ]
    CountCoverage(scale="mini", ledgers=ledgers, needed=[]).run(tmp_path / "coverage.csv")
    found = lines(tmp_path / "coverage.csv")
    assert found["c", "train"] == ("4", "3", "1", "0", "0", "private: 1")
    assert found["c", "test"] == ("4", "4", "0", "0", "0", "")
    assert found["c, sound", "train"][:2] == ("3", "2")  # what was private never came in
    assert found["c, sound", "test"][:2] == ("4", "1")
    reasons = dict(part.split(": ") for part in found["c, sound", "test"][-1].split("; "))
    assert reasons.pop("silent") == "1" and list(reasons.values()) == ["2"]


@pytest.fixture
def losing(tmp_path: Path) -> CountCoverage:
    """All files of a paper whose every stage loses one clip more, each for a reason of its own; `c1` goes first."""
    job = count_coverage(Scale(ROOT, Config(work_dir=tmp_path), "mini"), "boes_avsed")
    clips = {f"c{n}": "test" if n < 10 else "weak" for n in range(20)}
    losses = {"clips": (1, "geo_restricted"), "audio-": (2, "silent"), "features": (3, "decode_error")}
    for path in job.needed:
        if path.stem == "manifest":
            shard(path, {c: {"split": s, **OK} for c, s in clips.items()}, pa.field("split", pa.string()))
            continue
        own = [clip for clip in clips if shard_of(clip, 2) == int(path.stem)]
        rows: dict[str, Row] = dict.fromkeys(own, OK)
        for part, (number, reason) in losses.items():  # what was lost before passes with its reason
            if f"c{number}" in rows:
                rows[f"c{number}"] = {"status": "failed", "reason": reason}
            if part in str(path.relative_to(tmp_path)):
                break
        shard(path, rows)
    return job


def test_each_stage_counts_what_came_in(tmp_path: Path, losing: CountCoverage) -> None:
    """By corpus and split, in the order of the data's way; only clips, states and reasons are read."""
    losing.run(tmp_path / "coverage.csv")
    found = lines(tmp_path / "coverage.csv")
    test = {corpus.partition(", ")[2]: row for (corpus, split), row in found.items() if split == "test"}
    assert test == {
        "": ("10", "9", "0", "1", "0", "geo_restricted: 1"),
        "sound at 22100 Hz": ("9", "8", "0", "1", "0", "silent: 1"),
        "features spectral": ("8", "7", "0", "1", "0", "decode_error: 1"),
        "sound at 16000 Hz": ("9", "8", "0", "1", "0", "silent: 1"),
        "features auditory": ("8", "7", "0", "1", "0", "decode_error: 1"),
        # Frames are read from the files: no sound is needed, and the silent clip has a row of its own.
        "features visual": ("9", "7", "0", "2", "0", "decode_error: 1; silent: 1"),
    }
    assert {row for (_, split), row in found.items() if split == "weak"} == {("10", "10", "0", "0", "0", "")}


def test_what_can_be_had_is_counted_before_anything_is_made_of_it(tmp_path: Path) -> None:
    """`clips.csv` needs the downloads alone; `coverage.csv` the sound and features that the tables need as well."""
    scale = Scale(ROOT, Config(), "mini")
    early, late = count_clips(scale, "temp4cap"), count_coverage(scale, "temp4cap")
    assert {path.parent.name for path in early.needed if path.stem != "manifest"} == {"clips"}
    made = {path.parent.name for path in late.needed} - {path.parent.name for path in early.needed}
    assert made == {"audio-16000", "clotho_sound", "clotho_temporal", "audiocaps_sound", "audiocaps_temporal"}
    names = [ledger.corpus for ledger in late.ledgers]
    assert "clotho_composed, captions clotho_temporal" in names
    texts = {ledger.corpus: ledger.before for ledger in count_coverage(scale, "yt8m_text").ledgers}
    assert [path.parent.name for path in texts["youtube8m_composed, features words"]] == ["text", "text"]


def test_both_are_rules(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    call += ["--workflow-profile", "none", "--cores", "1", "-n"]
    planned = {}
    for name in ("clips", "coverage"):
        target = f"results/smoke/boes_avsed/{name}.csv"
        done = subprocess.run([*call, target], capture_output=True, text=True, check=False)
        planned[name] = done.stdout + done.stderr
        assert done.returncode == 0, planned[name]
    assert "count_clips" in planned["clips"] and "extract_features" not in planned["clips"]
    assert "count_coverage" in planned["coverage"] and "extract_features" in planned["coverage"]
