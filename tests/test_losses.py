"""What goes out of a stage well is held against what came in: faults of ours fail the job, and nothing made is lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from media_files import tone

from workflow_scripts import shards, stamps
from workflow_scripts.captions.backends import rules
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.settings import Temporal
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import logmel
from workflow_scripts.features.plan import ExtractFeatures
from workflow_scripts.media.fetch import SCHEMA
from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.media.stored import checksum
from workflow_scripts.shards import STATE, Row, array_field, read, shard_of, write
from workflow_scripts.training.clips import load_clips
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import Source, Stream

COUNT = 40


class Device:
    """An extractor's function on a device that fails at a call and from then on, as CUDA does."""

    fault: Exception = RuntimeError("CUDA error: an illegal memory access was encountered")

    def __init__(self, extract: Callable[[np.ndarray], np.ndarray], fails_at: int) -> None:
        self.extract, self.fails_at, self.calls = extract, fails_at, 0
        self.clips = 0

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls >= self.fails_at:
            raise self.fault
        self.clips += len(batch)
        return self.extract(batch)


def sounds(path: Path, count: int = COUNT) -> Path:
    """An audio shard of noise, one clip of which was not to be had."""
    field = array_field("audio", "int16", [800])
    rng = np.random.default_rng(0)
    rows: list[Row] = [
        {"clip_id": f"{n:02}", "seconds": 1.0, "audio": rng.integers(-9999, 9999, 800).astype("i2").tobytes()}
        for n in range(count)
    ]
    for row in rows:
        row |= {"status": "ok"}
    rows.insert(3, {"clip_id": "gone", "status": "unavailable", "reason": "private"})
    write(path, rows, pa.schema([pa.field("clip_id", pa.string()), ("seconds", pa.float64()), field, *STATE]))
    return path


def extract(folder: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int = 99, **chosen: Any) -> Device:
    """Extracts features on a device that fails at a call; gives the device."""
    settings = logmel.Extractor(sample_rate=800, window=64, hop=32, mels=8)
    with monkeypatch.context() as patch:
        device = Device(settings.load({}, "cpu"), fails_at)
        patch.setattr(logmel.Extractor, "load", lambda *_: device)
        job = ExtractFeatures(
            extractor="logmel", settings=settings, clips=folder / "a.parquet", store=folder, clip_seconds=1, **chosen
        )
        try:
            job.run(folder / "0.parquet")
        finally:
            device.calls = 0
    return device


def test_a_device_that_fails_ends_the_job_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds(tmp_path / "a.parquet")
    words = r"25 of 40 clips failed \(unexpected_error 25\).* '15' \(RuntimeError: CUDA error.*same command"
    with pytest.raises(UserError, match=words):
        extract(tmp_path, monkeypatch, fails_at=2)
    assert not (tmp_path / "0.parquet").exists()
    left = {row["clip_id"]: row["reason"] for row in read(tmp_path / "unfinished-0.parquet")}
    assert list(left.values()).count("unexpected_error") == 25
    assert extract(tmp_path, monkeypatch).clips == 25, "what was made is not made again"
    resumed = (tmp_path / "0.parquet").read_bytes()
    assert not list(tmp_path.glob("*unfinished*"))
    assert [row["status"] for row in read(tmp_path / "0.parquet")].count("ok") == COUNT
    extract(tmp_path, monkeypatch)
    assert (tmp_path / "0.parquet").read_bytes() == resumed, "as without a fault"


def test_what_was_kept_is_not_another_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="25 of 40"):
        extract(tmp_path, monkeypatch, fails_at=2)
    sounds(tmp_path / "a.parquet", COUNT + 1)
    assert extract(tmp_path, monkeypatch).clips == COUNT + 1


def test_an_emptied_shard_of_sound_makes_no_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps.stamp([sounds(tmp_path / "a.parquet")], "its key")
    assert extract(tmp_path, monkeypatch).clips == COUNT
    sounds(tmp_path / "a.parquet", 0)
    with pytest.raises(UserError, match=r"a\.parquet: is not what the job that made it wrote; remove it"):
        extract(tmp_path, monkeypatch)


def test_a_loss_can_be_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds(tmp_path / "a.parquet")
    extract(tmp_path, monkeypatch, fails_at=3, losses={"ours": 0.25})
    assert [row["reason"] for row in read(tmp_path / "0.parquet")].count("unexpected_error") == 9
    stamps.stamp([tmp_path / "0.parquet"], "its key")
    assert not stamps.current([tmp_path / "0.parquet"], "its key"), "so that -R tries them again"
    assert extract(tmp_path, monkeypatch, losses={"ours": 0.25}).clips == 9
    assert stamps.current([tmp_path / "0.parquet"], "its key") is False
    stamps.stamp([tmp_path / "0.parquet"], "its key")
    assert stamps.current([tmp_path / "0.parquet"], "its key")
    assert not list(tmp_path.glob("*unfinished*"))


def wav(path: Path, sound: np.ndarray) -> Path:
    soundfile.write(path, sound, 8000)
    return path


def test_a_sentence_in_the_midst_of_a_job_keeps_what_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sounds(tmp_path / "a.parquet")
    monkeypatch.setattr(Device, "fault", UserError("the licence server is gone"))
    with pytest.raises(UserError, match=r"^the licence server is gone; what is made already is kept in .*unfinished-0"):
        extract(tmp_path, monkeypatch, fails_at=2)
    with pytest.raises(UserError, match="licence server"):
        extract(tmp_path, monkeypatch, fails_at=1)
    assert extract(tmp_path, monkeypatch).clips == 25


def decode(folder: Path, files: dict[str, Path], **chosen: Any) -> dict[str, Row]:
    """Decodes the sound of files as they were fetched; gives the rows."""
    rows = [
        {"clip_id": name, "path": path.name, "status": "ok", "sha256": checksum(path)} for name, path in files.items()
    ]
    clips = folder / "clips.parquet"
    if not clips.exists():
        write(clips, rows, SCHEMA)
    job = DecodeAudio(clips=clips, store=folder, audio={"sample_rate": 8000, "clip_seconds": 0.2}, **chosen)
    job.run(folder / "0.parquet")
    return {row["clip_id"]: row for row in read(folder / "0.parquet")}


def test_when_most_clips_of_a_job_fail_it_fails(tmp_path: Path) -> None:
    loud = {f"{n}": wav(tmp_path / f"{n}.wav", tone(0.2, 8000)) for n in range(10)}
    mute = {f"{n}": wav(tmp_path / f"{n}.wav", np.zeros(1600)) for n in range(10, 22)}
    words = (
        r"sound: 12 of 22 clips failed \(silent 12\), more than 0\.5 of them; the first is '10' \(the peak is zero\)"
    )
    with pytest.raises(UserError, match=words):
        decode(tmp_path, loud | mute)
    rows = decode(tmp_path, loud | mute, losses={"all": 0.6})
    assert [row["status"] for row in rows.values()] == ["ok"] * 10 + ["failed"] * 12


def test_a_fault_in_writing_captions_is_no_caption_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("captions", pa.list_(pa.string())), *STATE])
    texts = ["a dog barks and then a door closes", "rain falls"]
    rows = [{"clip_id": f"{n}", "split": "train", "captions": [text], "status": "ok"} for n, text in enumerate(texts)]
    write(tmp_path / "m.parquet", rows, schema)
    settings = Temporal(backend={"kind": "rules"}, splits=["train"])

    def broken(captions: list[str]) -> list[Any]:
        raise OSError(f"no answer to {captions[0]}")

    monkeypatch.setattr(rules.Backend, "rewriter", lambda *_: broken)
    job = RewriteCaptions(manifest=tmp_path / "m.parquet", temporal=settings, answers=tmp_path / "answers")
    with pytest.raises(UserError, match=r"captions: 2 of 2 clips failed \(unexpected_error 2\).*no answer to"):
        job.run(tmp_path / "0.parquet")
    assert not (tmp_path / "0.parquet").exists()


# ---- training


@pytest.fixture
def training(tmp_path: Path) -> TrainingJob:
    """A job whose feature lies in two shards."""
    names = [f"clip{n}" for n in range(12)]
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string())), *STATE])
    rows = [{"clip_id": name, "split": "train", "labels": ["a"], "status": "ok"} for name in names]
    write(tmp_path / "m.parquet", rows, schema)
    for shard in (0, 1):
        features(tmp_path / f"{shard}.parquet", [name for name in names if shard_of(name, 2) == shard])
    files = [tmp_path / "0.parquet", tmp_path / "1.parquet"]
    return TrainingJob(
        system="classifier",
        settings={"classes": ["a", "b"], "kind": "audio"},
        manifest=tmp_path / "m.parquet",
        features={"x": files},
        seeds=[0],
        clip_seconds=1,
        checkpoints=tmp_path / "checkpoints",
    )


def features(path: Path, names: list[str]) -> None:
    field = array_field("features", "float16", (2, 3))
    rows = [{"clip_id": n, "seconds": 1.0, "features": np.ones((2, 3), "f2").tobytes(), "status": "ok"} for n in names]
    write(path, rows, pa.schema([("clip_id", pa.string()), ("seconds", pa.float64()), field, *STATE]))


def test_training_takes_whole_shards_of_its_corpus_only(training: TrainingJob, tmp_path: Path) -> None:
    assert load_clips(training, ["x"], ["train"]).counts == {"train": 12}
    whole = (tmp_path / "1.parquet").read_bytes()
    mine = [row["clip_id"] for row in shards.read(tmp_path / "1.parquet", ["clip_id"])]
    features(tmp_path / "1.parquet", [])
    with pytest.raises(UserError, match=rf"1\.parquet: has no row for {len(mine)} of the clips .* remove the file"):
        load_clips(training, ["x"], ["train"])
    features(tmp_path / "1.parquet", mine[1:])
    with pytest.raises(UserError, match=rf"1\.parquet: has no row for 1 of .*first: '{mine[0]}'"):
        load_clips(training, ["x"], ["train"])
    features(tmp_path / "1.parquet", [*mine, "another"])
    with pytest.raises(UserError, match=r"1\.parquet: the clip 'another' is not in .*m\.parquet"):
        load_clips(training, ["x"], ["train"])
    (tmp_path / "1.parquet").write_bytes((tmp_path / "0.parquet").read_bytes())
    with pytest.raises(UserError, match=r"1\.parquet: the clip 'clip\d+' is in .*0\.parquet as well"):
        load_clips(training, ["x"], ["train"])
    (tmp_path / "1.parquet").write_bytes(whole)
    assert load_clips(training, ["x"], ["train"]).counts == {"train": 12}


def test_shards_of_records_have_all_that_their_ledger_tells(tmp_path: Path) -> None:
    ledger = pa.schema([("name", pa.string()), ("examples", pa.int64()), *STATE])
    files = [{"name": "a", "examples": 2, "status": "ok"}, {"name": "b", "examples": None, "status": "unavailable"}]
    write(tmp_path / "records-video/0.parquet", files, ledger)
    texts = tmp_path / "text/0.parquet"
    write(texts, [{"clip_id": name, "status": "ok"} for name in "xy"], pa.schema([("clip_id", pa.string()), *STATE]))
    columns = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.int32())), *STATE]
    rows = [{"clip_id": name, "split": "train", "labels": [0], "status": "ok"} for name in "xyz"]
    write(tmp_path / "m.parquet", rows[:2], pa.schema([("clip_id", pa.string()), ("split", pa.string())]))

    def stream(count: int, of: str) -> Stream:
        path = tmp_path / "features/0.parquet"
        write(path, rows[:count], pa.schema(columns, {"records": of}))
        return Stream([Source("x", [path], [], lambda table: {})], ["train"], 0, tmp_path / "m.parquet")

    for source in ("../records-video", "../text"):
        assert stream(2, source).counts == {"train": 2}
        for count in (0, 1, 3):
            with pytest.raises(UserError, match=rf"0\.parquet: has {count} rows, and .*0\.parquet tells of 2"):
                stream(count, source)
    with pytest.raises(UserError, match=r"have 1 clips of the split 'train' more than .*m\.parquet"):
        stream(3, "../elsewhere")
