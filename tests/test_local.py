"""Clips out of files that somebody has: cut or whole, by any name, beside a link, with links, checksums and faults."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from cores import cores
from media_files import tone, write_holed, write_movie
from reader_files import lines

from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.errors import UserError
from workflow_scripts.files import read_csv
from workflow_scripts.media import server
from workflow_scripts.media.audio import decode
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.shards import Row, read, write

FAST = {"streams": ["audio"], "videos_per_hour": None, "retries": 1, "retry_wait": 0.01}


class Corpus:
    """A folder of files, and a manifest whose clips are sought in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.media, self.clips = folder, folder / "media", list[Row]()
        self.media.mkdir()

    def add(self, video_id: str, start: float = 0.0, end: float | None = None, **fields: Any) -> None:
        clip_id = f"{video_id.replace('/', '-').strip('.')}_{start:g}"
        self.clips.append(
            {"clip_id": clip_id, "video_id": video_id, "start": start, "end": end, "split": "train", **fields}
        )

    def fetch(self, link: str | None = None, download: Row | None = None, **archive: Any) -> dict[str, Row]:
        names = archive.get("names", ["{video_id}.wav"])
        write(self.folder / "m.parquet", manifest(lambda: self.clips, link, names=names), MANIFEST)
        chosen = {"folder": self.media, "names": names, **archive}
        job = FetchClips(
            manifest=self.folder / "m.parquet", archive=chosen, folder=self.media, store=self.folder / "store",
            download=FAST | (download or {}),
        )  # fmt: skip
        job.run(self.folder / "out.parquet")
        return {row["clip_id"]: row for row in read(self.folder / "out.parquet")}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def sound(path: Path, seconds: float, rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, rate), rate)
    return path


def state(row: Row) -> tuple[str, str | None]:
    return row["status"], row["reason"]


@pytest.mark.parametrize("suffix", ["wav", "mp4"])
@pytest.mark.parametrize("start", [0.0, 2.0, 3.5])
def test_a_section_of_a_source_is_cut_to_the_sample(corpus: Corpus, suffix: str, start: float) -> None:
    path = corpus.media / f"a.{suffix}"
    sound(path, 6) if suffix == "wav" else write_movie(path)
    corpus.add("a", start, start + 1)
    row = corpus.fetch(names=[f"{{video_id}}.{suffix}"])[f"a_{start:g}"]
    assert (*state(row), row["origin"], row["attempts"]) == ("ok", None, f"a.{suffix}", 0)
    heard, rate = decode(corpus.folder / "store" / row["path"])
    whole = decode(path)[0][0][round(start * rate) :][: heard.shape[1]]
    assert heard.shape[1] == rate
    assert np.abs(heard[0] - whole).max() < 3e-3  # AAC remembers what it decoded before


def test_pictures_are_cut_too_and_their_lack_is_told(corpus: Corpus) -> None:
    write_movie(corpus.media / "a.mp4")
    write_movie(corpus.media / "mute.mp4", sound=None)
    for name in ("a", "mute"):
        corpus.add(name, 1.0, 3.0)
    rows = corpus.fetch(names=["{video_id}.mp4"], download={"streams": ["audio", "video"]})
    assert [state(row) for row in rows.values()] == [("ok", None), ("failed", "no_audio_stream")]
    assert rows["a_1"]["seconds"] == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("streams", [["audio"], ["audio", "video"]])
@pytest.mark.parametrize("start", [1.0, 3.0, 3.75])  # before the hole, in it, and where it is more than a second old
def test_a_cut_keeps_the_times_of_a_sound_with_a_hole(corpus: Corpus, streams: list[str], start: float) -> None:
    whole = write_holed(corpus.media / "a.mkv")
    corpus.add("a", start, start + 4, may_end_early=True)
    row = corpus.fetch(names=["{video_id}.mkv"], download={"streams": streams})[f"a_{start:g}"]
    assert (*state(row), row["seconds"]) == ("ok", None, pytest.approx(4, abs=0.11))  # a picture lasts 0.1 s
    heard, rate = decode(corpus.folder / "store" / row["path"])
    np.testing.assert_allclose(heard[0], whole[round(start * rate) :][: heard.shape[1]], atol=1e-3)
    assert heard.shape[1] == 4 * rate


def test_pictures_are_the_same_on_one_core_and_on_several(corpus: Corpus) -> None:
    write_movie(corpus.media / "a.mp4", scale=4)  # small ones are encoded by one thread in any case
    corpus.add("a", 1.0, 3.0)
    found = []
    for count in (1, 2):
        shutil.rmtree(corpus.folder / "store", ignore_errors=True)
        with cores(count):
            row = corpus.fetch(names=["{video_id}.mp4"], download={"streams": ["audio", "video"]})["a_1"]
        found.append((corpus.folder / "store" / row["path"]).read_bytes())
    assert found[0] == found[1]


def test_clips_cut_already_by_any_name(corpus: Corpus) -> None:
    """Names of public mirrors; some are shorter than asked, one is no clip at all."""
    corpus.add("k", 3.0, 13.0, labels=["a class", "other"])
    corpus.add("y", 30.0, 40.0, part="train/weak")
    corpus.add("e", 1.5, 11.5)
    corpus.add("long", 0.0, 10.0)
    for name in ("a class/k_000003_000013", "train/weak/Yy_30.000_40.000", "e_1500_11500"):
        sound(corpus.media / f"{name}.wav", 7)
    sound(corpus.media / "long_0_10.wav", 60)
    names = ["{label}/{video_id}_{start:06d}_{end:06d}.wav"]
    rows = corpus.fetch(names=["{video_id}_{start}_{end}.wav", "{video_id}_{start_ms}_{end_ms}.wav"], holds="clips")
    assert [row["origin"] for row in rows.values() if row["status"] == "ok"] == ["e_1500_11500.wav"]
    assert state(rows["long_0"]) == ("failed", "cut_failed") and "archive.holds: sources" in rows["long_0"]["detail"]
    corpus.clips = corpus.clips[:1]
    row = corpus.fetch(names=names, holds="clips")["k_3"]
    assert (row["status"], round(row["seconds"], 2)) == ("ok", 7)
    assert (corpus.folder / "store" / row["path"]).is_symlink()  # what is whole is not copied
    corpus.clips = []
    corpus.add("y", 30.0, 40.0, part="train/weak")
    assert corpus.fetch(names=["{part}/Y{video_id}_{start:.3f}_{end:.3f}.wav"], holds="clips")["y_30"]["status"] == "ok"
    with pytest.raises(
        UserError, match=r"archive.names: '\{participant\}.wav' cannot be filled in for the clip 'y_30'"
    ):
        corpus.fetch(names=["{participant}.wav"])


def test_what_is_not_there_comes_from_the_link(corpus: Corpus, tmp_path: Path) -> None:
    sound(corpus.media / "here.wav", 3)
    (corpus.media / "empty.wav").touch()
    site = tmp_path / "site"
    for name in ("here", "there", "empty"):
        write_movie(site / f"{name}.mp4", 3)
        corpus.add(name, 1.0, 2.0)
    with server.serve(site) as base:
        rows = corpus.fetch(f"{base}{{video_id}}.mp4", {"streams": ["audio"]})
        again = corpus.fetch(f"{base}{{video_id}}.mp4", {"streams": ["audio"]})
    assert [row["origin"] for row in rows.values()] == ["here.wav", f"{base}there.mp4", "empty.wav"]
    assert [state(row) for row in rows.values()] == [("ok", None), ("ok", None), ("failed", "decode_error")]
    assert [row["attempts"] for row in rows.values()] == [0, 1, 0]
    assert [again[name]["sha256"] for name in again] == [rows[name]["sha256"] for name in rows]
    sound(corpus.media / "empty.wav", 3)  # mended, and looked at again
    (corpus.media / "there.wav").symlink_to(corpus.media / "loop.wav")
    (corpus.media / "loop.wav").symlink_to(corpus.media / "there.wav")
    assert [row["status"] for row in corpus.fetch(f"{base}{{video_id}}.mp4").values()] == ["ok"] * 3


def test_missing_and_damaged_files_stop_nothing(corpus: Corpus) -> None:
    """More faults in a row than any patience with a site: all are told, none is asked again, the rest is read."""
    for number in range(8):
        (corpus.media / f"{number}.wav").write_bytes(b"" if number % 2 else b"RIFF no sound at all")
        corpus.add(str(number))
    corpus.add("absent")
    corpus.add("../outside")
    sound(corpus.folder / "outside.wav", 1)
    sound(corpus.media / "z.wav", 1)
    corpus.add("z")
    rows = corpus.fetch(download={"give_up_after": 2, "retry_wait": 60})
    assert [state(row) for row in rows.values()] == [("failed", "decode_error")] * 8 + [
        ("unavailable", "not_found"), ("unavailable", "not_found"), ("ok", None),
    ]  # fmt: skip
    assert "no file absent.wav in" in rows["absent_0"]["detail"]


def test_checksums_of_a_list(corpus: Corpus) -> None:
    content = {
        name: sound(corpus.media / f"{name}.wav", 1 + len(name)).read_bytes() for name in ("a", "bb", "ccc", "dddd")
    }
    for name in content:
        corpus.add(name)
    sums = corpus.folder / "sums.csv"
    sums.write_text(
        "md5,file_remote_path,version\n"
        f"{hashlib.md5(content['a'], usedforsecurity=False).hexdigest()},videos/train/a.wav,55\n"
        f"{'0' * 32},bb.wav,55\n{hashlib.md5(content['bb'], usedforsecurity=False).hexdigest()},bb.wav,errata\n"
        f"{'0' * 64}  ./ccc.wav\n"
    )
    rows = corpus.fetch(checksums=sums)
    assert [state(row) for row in rows.values()] == [("ok", None)] * 2 + [("failed", "wrong_checksum"), ("ok", None)]
    sums.write_text("a.wav is fine\nb.wav too\n")
    with pytest.raises(UserError, match=r"sums\.csv, line 2: expected a checksum"):
        corpus.fetch(checksums=sums)


def test_a_clip_whose_end_is_assumed_may_be_short(corpus: Corpus, tmp_path: Path) -> None:
    write_movie(tmp_path / "site/a.mp4", 6)
    corpus.add("a", 0.0, 10.0, may_end_early=True)
    corpus.add("a", 1.0, 11.0)
    with server.serve(tmp_path / "site") as base:
        rows = corpus.fetch(f"{base}{{video_id}}.mp4")
        assert [state(row) for row in rows.values()] == [("ok", None), ("failed", "too_short")]
        assert [row["attempts"] for row in rows.values()] == [2, 2]  # a broken connection looks the same
    write_movie(corpus.media / "a.mp4", 6)
    rows = corpus.fetch(names=["{video_id}.mp4"])
    assert [state(row) for row in rows.values()] == [("ok", None), ("failed", "too_short")]
    assert rows["a_0"]["seconds"] == pytest.approx(6, abs=0.05)


# ---- readers


def annotate(folder: Path, reader: str, definition: Row, **files: Path) -> tuple[int, str, list[Row]]:
    """Exit status, words and rows of the command."""
    command = [sys.executable, "-m", "workflow_scripts.corpora.annotate", "--reader", reader]
    command += ["--definition", json.dumps(definition), "--output", str(folder / "m.parquet")]
    command += [word for role, path in files.items() for word in ("--annotation", f"{role}={path}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr, list(read(folder / "m.parquet")) if done.returncode == 0 else []


def test_marks_and_blanks_are_no_part_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text('\ufeffaaaaaaaaaaa,1,people marching,test\n -bbbbbbbbbb, 2 ,"dog, barking",train\n', "utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write("\u200ecccccccccc-\u2009,3,\u3000cat\u2060,\u00a0test\n")
    link = {"link": "https://x.org/{video_id}"}
    status, said, rows = annotate(tmp_path, "vggsound", link, clips=path)
    assert status == 0, said
    assert [(row["clip_id"], row["link"]) for row in rows] == [
        ("aaaaaaaaaaa_000001", "https://x.org/aaaaaaaaaaa"), ("-bbbbbbbbbb_000002", "https://x.org/-bbbbbbbbbb"),
        ("cccccccccc-_000003", "https://x.org/cccccccccc-"),
    ]  # fmt: skip
    assert (rows[2]["labels"], rows[2]["split"]) == (["cat"], "test")
    files = {}
    for part in ("train", "val", "test"):
        files[part] = tmp_path / f"{part}.csv"
        text = f"\ufeffaudiocap_id,youtube_id , start_time,caption\n1, {part},30 , A caption \n"
        files[part].write_text(text, "utf-8")
    status, said, rows = annotate(tmp_path, "audiocaps", link, **files)
    assert status == 0, said
    assert (rows[0]["clip_id"], rows[0]["captions"]) == ("train_000030", [" A caption "])
    files["val"].write_text("audiocap_id,youtube_id,start_time,caption\n1,x,1,Un café\n", "latin-1")
    status, said, _ = annotate(tmp_path, "audiocaps", link, **files)
    assert status != 0
    assert "val.csv: cannot be read as CSV in UTF-8" in said and "Traceback" not in said


@pytest.mark.parametrize(("sign", "named"), [(";", "semicolons"), ("\t", "tabs")])
def test_cells_that_are_parted_by_another_sign_are_told(tmp_path: Path, sign: str, named: str) -> None:
    text = "audiocap_id,youtube_id,start_time,caption\n1,x,1,rain\n".replace(",", sign)
    files = {part: tmp_path / f"{part}.csv" for part in ("train", "val", "test")}
    for path in files.values():
        path.write_text(text)
    status, said, _ = annotate(tmp_path, "audiocaps", {"link": "{video_id}"}, **files)
    assert status == 1
    told = f"its cells are parted by {named}, save it as it was published"
    assert said == f"error: {files['train']}: no column 'audiocap_id'; is it a file of AudioCaps; {told}\n"
    with pytest.raises(UserError, match=f"the column 'caption' is missing; its cells are parted by {named}"):
        list(read_csv(files["train"], ["caption"]))


def test_a_cell_too_many_is_refused(tmp_path: Path) -> None:
    lines(tmp_path / "a.csv", [("a", "b"), (1, 2, ""), (1, 2, 3)])
    rows = read_csv(tmp_path / "a.csv")
    assert next(rows) == (2, {"a": "1", "b": "2"})
    with pytest.raises(UserError, match=r"a\.csv, line 3: the row is longer"):
        next(rows)


def test_folders_that_are_links_are_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(2):
            sound(tmp_path / f"disk/{name}/{number}.wav", 0.2)
    folder = tmp_path / "mine"
    (folder / "cat").mkdir(parents=True)
    for number in range(2):
        (folder / f"cat/{number}.wav").symlink_to(tmp_path / f"disk/cat/{number}.wav")
    (folder / "dog").symlink_to(tmp_path / "disk/dog")
    (folder / "cat/up").symlink_to(folder)  # loops
    (folder / "cat/self").symlink_to(folder / "cat/self")
    status, said, rows = annotate(tmp_path, "audio_folder", {"link": "{video_id}", "reading": {"folder": str(folder)}})
    assert status == 0, said
    assert sorted(label for row in rows for label in row["labels"]) == ["cat", "cat", "dog", "dog"]
    command = [sys.executable, "-m", "workflow_scripts.media.fetch", "--manifest", str(tmp_path / "m.parquet")]
    command += ["--store", str(tmp_path / "store"), "--output", str(tmp_path / "o.parquet"), "--serve", str(folder)]
    done = subprocess.run([*command, "--definition", json.dumps(FAST)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in read(tmp_path / "o.parquet")] == ["ok"] * 4
