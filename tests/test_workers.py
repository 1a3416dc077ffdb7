"""Decoders that crash: the clip is lost, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import soundfile
from media_files import tone, write_movie

from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.media.fetch import SCHEMA
from workflow_scripts.media.workers import Workers
from workflow_scripts.shards import ClipError, Reason, Row, read, write

# Fault injection: in each process of a job, what opens a file of a certain name ends the process by a signal.
CRASHES = """
import os, signal
import av, cv2
def crashing(function):
    def opened(path, *rest, **named):
        for number in (signal.SIGSEGV, signal.SIGKILL):
            if number.name in os.path.basename(os.path.realpath(str(path))):
                os.kill(os.getpid(), number)
        return function(path, *rest, **named)
    return opened
av.open, cv2.VideoCapture = crashing(av.open), crashing(cv2.VideoCapture)
"""


def run_job(folder: Path, job: str, output: Path) -> subprocess.CompletedProcess[str]:
    """Runs a job, given as Python, in a process in which some files crash decoders."""
    (folder / "crashes").mkdir(exist_ok=True)
    (folder / "crashes/sitecustomize.py").write_text(CRASHES)
    paths = os.pathsep.join([str(folder / "crashes"), os.environ["PYTHONPATH"]])
    code = (
        "import sys; from pathlib import Path; from workflow_scripts.errors import run\n"
        "from workflow_scripts.features.extractors import tensor_images, vgg16\n"
        "from workflow_scripts.features.plan import ExtractFeatures\n"
        "from workflow_scripts.media.plan import DecodeAudio, FetchClips\n"
        f"if __name__ == '__main__':\n    folder = Path(sys.argv[1])\n    job = {job}\n"
        "    run(lambda: job.run(Path(sys.argv[2])))\n"
    )
    (folder / "job.py").write_text(code)
    call = [sys.executable, str(folder / "job.py"), str(folder), str(output)]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)


def clips(folder: Path, *names: str) -> None:
    """Movies, and the ledger that tells of them."""
    rows = []
    for name in names:
        write_movie(folder / f"{name}.mp4", 1)
        rows.append({"clip_id": name, "path": f"{name}.mp4", "seconds": 1.0, "status": "ok"})
    write(folder / "clips.parquet", rows, SCHEMA)


def states(path: Path) -> dict[str, str]:
    return {row["clip_id"]: row["reason"] or row["status"] for row in read(path)}


DECODE = "DecodeAudio(clips=folder / 'clips.parquet', store=folder, audio={'sample_rate': 8000, 'clip_seconds': 1})"


def test_a_crash_in_decoding_sound_is_a_row(tmp_path: Path) -> None:
    clips(tmp_path, "a", "SIGSEGV", "b")
    done = run_job(tmp_path, DECODE, tmp_path / "0.parquet")
    assert done.returncode == 0, done.stderr
    assert states(tmp_path / "0.parquet") == {"a": "ok", "SIGSEGV": "decoder_crashed", "b": "ok"}
    assert [row["detail"] for row in read(tmp_path / "0.parquet")][1] == "its decoder crashes (SIGSEGV)"


def test_a_decoder_that_is_killed_from_outside_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    clips(tmp_path, "a", "SIGKILL", "b")
    done = run_job(tmp_path, DECODE, tmp_path / "0.parquet")
    assert done.returncode == 1
    assert "1 of 3 clips failed (unexpected_error 1)" in done.stderr and "killed from outside" in done.stderr
    assert states(tmp_path / "unfinished-0.parquet") == {"a": "ok", "SIGKILL": "unexpected_error", "b": "ok"}


def test_a_crash_in_looking_at_frames_is_a_row(tmp_path: Path) -> None:
    clips(tmp_path, "a", "SIGSEGV", "b")
    settings = "{'frames_per_clip': 2, 'size': 32}"
    code = tmp_path / "plugin.py"
    code.write_text("")
    job = (
        "ExtractFeatures(extractor='x', clips=folder / 'clips.parquet', store=folder, clip_seconds=1, threads=2, "
        f"settings=type('Extractor', (vgg16.FrameExtractor,), dict(dimensions=3, load=lambda *_: "
        f"lambda images: images.mean((2, 3)).astype('f4')))(**{settings}))"
    )
    done = run_job(tmp_path, job, tmp_path / "0.parquet")
    assert done.returncode == 0, done.stderr
    assert states(tmp_path / "0.parquet") == {"a": "ok", "SIGSEGV": "decoder_crashed", "b": "ok"}


def test_a_crash_in_measuring_what_was_fetched_is_a_row(tmp_path: Path) -> None:
    rows: list[Row] = []
    (tmp_path / "media").mkdir()
    for name in ("a", "SIGSEGV", "b"):
        soundfile.write(tmp_path / f"media/{name}.wav", tone(1, 8000), 8000)
        rows.append({"clip_id": name, "video_id": name, "start": 0.0, "end": None, "split": "train"})
    write(tmp_path / "m.parquet", manifest(lambda: rows, None, names=["{video_id}.wav"]), MANIFEST)
    own = {"folder": "media", "names": ["{video_id}.wav"]}
    job = (
        f"FetchClips(manifest=folder / 'm.parquet', store=folder / 'store', folder=folder / 'media', archive={own}, "
        "download={'streams': ['audio']})"
    )
    for _ in range(2):
        done = run_job(tmp_path, job, tmp_path / "0.parquet")
        assert done.returncode == 0, done.stderr
        assert states(tmp_path / "0.parquet") == {"a": "ok", "SIGSEGV": "decoder_crashed", "b": "ok"}


def crash_or_square(number: int, marks: str) -> int:
    """Squares a number; at 3 it crashes the first time, at 4 always."""
    mark = Path(marks, str(number))
    if number == 4 or (number == 3 and not mark.exists()):
        mark.touch()
        os.abort()
    return number**2


def test_calls_are_answered_in_order_and_a_crash_by_chance_is_repeated(tmp_path: Path) -> None:
    with Workers(2) as workers:
        found = workers.map(crash_or_square, [(n, str(tmp_path)) for n in range(8)])
    assert [x if isinstance(x, int) else x.reason for x in found] == [0, 1, 4, 9, Reason.CRASHED, 25, 36, 49]
    with Workers() as workers, pytest.raises(ZeroDivisionError):
        workers.call(divmod, 1, 0)


def refuse() -> None:
    raise ClipError("failed", Reason.SILENT, "no sound")


def test_reasons_come_back() -> None:
    with Workers() as workers, pytest.raises(ClipError) as caught:
        workers.call(refuse)
    assert (caught.value.reason, caught.value.detail) == (Reason.SILENT, "no sound")


def test_decoders_end_with_a_job_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from workflow_scripts.media.workers import Workers\n"
        "if __name__ == '__main__':\n    with Workers() as w:\n"
        "        print(w.call(os.getpid), flush=True)\n        time.sleep(60)\n"
    )
    (tmp_path / "job.py").write_text(code)
    with subprocess.Popen([sys.executable, str(tmp_path / "job.py")], stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout
        decoder = psutil.Process(int(job.stdout.readline()))
        job.kill()
    psutil.wait_procs([decoder], timeout=60)
    assert not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE


def test_a_script_that_cannot_be_started_again_is_told_so(tmp_path: Path) -> None:
    script = "from workflow_scripts.media.workers import Workers\nprint(Workers().call(pow, 2, 3))\n"
    (tmp_path / "job.py").write_text(script)
    done = subprocess.run([sys.executable, str(tmp_path / "job.py")], capture_output=True, text=True, check=False)
    assert "UserError: a process that decodes cannot be started" in done.stderr
