"""Training jobs of every system: how they are described, stopped and gone on with, and how much memory they need."""

import importlib
import pkgutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import audio_files
import caption_files
import denoiser_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_classifier as digits
import test_ensemble as ensembles
import test_given as given
import test_mean_teacher_sed as events
import test_unigram as texts
import test_video_tagger as videos
import torch
from training_files import at_step, command, contents, die, handlers_kept, shards_in, stopped, train_into

from workflow_scripts import shards
from workflow_scripts.errors import StoppedError, UserError
from workflow_scripts.settings.base import overlay
from workflow_scripts.training import loop, outputs, systems
from workflow_scripts.training.clips import load_clips
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stopping import leave_on_signal
from workflow_scripts.training.system import System

torch.set_num_threads(1)
SYSTEMS = [module.name for module in pkgutil.iter_modules(systems.__path__)]
MakeJob = Callable[[Path], TrainingJob]  # a job that leaves its checkpoints in a folder


class Case(NamedTuple):
    """A toy corpus, and jobs on it of all that has a state, with two seeds and checkpoints within an epoch."""

    write_corpus: Callable[[Path], Path]
    jobs: dict[str, Callable[[Path, Path], TrainingJob]]


BOTH, OFTEN = [0, 1], {"checkpoint_every": 2, "micro_batch": 6}
CAPTIONS = overlay(caption_files.EVERYTHING, {"optimisation": {"epochs": 2}, "train_captions": "random"})
CASES = {
    "audio_classifier": Case(
        audio_files.write_corpus,
        {"datar": lambda c, f: audio_files.job_of(c, f, "datar", BOTH, **audio_files.EVERYTHING, micro_batch=6)},
    ),
    "captioner": Case(
        caption_files.write_corpus,
        {"bart": lambda c, f: caption_files.job_of(c, f, "bart", BOTH, **CAPTIONS, **OFTEN)},
    ),
    "classifier": Case(
        digits.write_corpus,
        {
            "multimodal": lambda c, f: digits.job_of(c, f, BOTH, fusion="attention", **OFTEN),
            "inception": lambda c, f: digits.job_of(
                c, f, BOTH, kind="audio_inception_time", fusion=None, sizes=digits.SMALL_INCEPTION, **OFTEN
            ),
        },
    ),
    "denoiser": Case(denoiser_files.write_corpus, {"bart": lambda c, f: denoiser_files.job_of(c, f, BOTH, **OFTEN)}),
    "ensemble": Case(
        ensembles.write_corpus,
        {"forest": lambda c, f: ensembles.job_of(c, f, BOTH, method="forest", forest=ensembles.FEW)},
    ),
    "given": Case(given.write_corpus, {"captions": given.job_of}),
    "mean_teacher_sed": Case(
        events.write_corpus,
        {"crnn": lambda c, f: events.job_of(c, f, BOTH, optimisation={"steps": 14}, checkpoint_every=3, micro_batch=6)},
    ),
    "unigram": Case(texts.write_corpus, {"titles": lambda c, f: texts.job_of(c, f, BOTH)}),
    "video_tagger": Case(
        videos.write_corpus,
        {kind: lambda c, f, kind=kind: videos.job_of(c, f, kind, BOTH, **OFTEN) for kind in ("dbof", "textcnn")},
    ),
}


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def jobs(system: str, tmp_path_factory: pytest.TempPathFactory) -> list[MakeJob]:
    """The jobs of a system; a new system needs a case."""
    case = CASES[system]
    corpus = case.write_corpus(tmp_path_factory.mktemp("corpus"))
    return [lambda folder, make=make: make(corpus, folder) for make in case.jobs.values()]


class Whole(NamedTuple):
    """A job that nothing stopped: its weights, predictions and history, and its number of steps."""

    make: MakeJob
    contents: tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]
    steps: int


@pytest.fixture(scope="module")
def wholes(jobs: list[MakeJob], tmp_path_factory: pytest.TempPathFactory) -> list[Whole]:
    found = []
    for make in jobs:
        folder = tmp_path_factory.mktemp("whole")
        with at_step(0, die) as steps:
            train_into(folder, make(folder))
        found.append(Whole(make, contents(folder), len(steps)))
    return found


# What a job is


def test_a_job_survives_its_json(jobs: list[MakeJob], tmp_path: Path) -> None:
    for make in jobs:
        job = make(tmp_path)
        again = TrainingJob.model_validate_json(job.model_dump_json())
        assert again == job and type(again.settings) is type(job.settings)
        assert again.digest() == job.digest() and again.inputs() == job.inputs()


def test_manners_do_not_define_a_job(jobs: list[MakeJob], tmp_path: Path) -> None:
    for make in jobs:
        job = make(tmp_path)
        manners = {"device": "cuda", "threads": 7, "checkpoints": tmp_path / "b", "processes": 2, "nodes": 3}
        assert job.model_copy(update=manners).digest() == job.digest()
        for change in ({"seeds": [5]}, {"precision": "16-mixed"}, {"clip_seconds": 3.0}):
            assert job.model_copy(update=change).digest() != job.digest()
        cadence = {
            name: 77
            for name in ("checkpoint_every", "cache_megabytes", "micro_batch")
            if name in job.settings.model_dump()
        }
        again = TrainingJob.check(job.model_dump() | {"settings": job.settings.model_dump() | cadence}, "toy")
        assert again.digest() == job.digest() and (again != job) == bool(cadence)


def test_settings_are_light(system: str) -> None:
    """They are read while the workflow is planned."""
    code = f"import sys, workflow_scripts.training.systems.{system}, workflow_scripts.training.job\n"
    heavy = "{'torch', 'scipy', 'sklearn', 'numpy', 'pyarrow'}"
    line = [sys.executable, "-c", f"{code}print({heavy} & set(sys.modules))"]
    assert subprocess.run(line, capture_output=True, check=True, text=True).stdout.strip() == "set()"


def test_a_system_is_a_plug_in(system: str) -> None:
    found = importlib.import_module(f"workflow_scripts.training.systems.{system}").System
    assert issubclass(found, System) and not found.__abstractmethods__ and found.__doc__


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [1, 1]}, "every seed may stand once"),
        ({"seeds": [-1]}, "'seeds.0'"),
        ({"seeds": []}, "'seeds'"),
        ({"features": {"words": []}}, "'features.words'"),
        ({"precision": "64"}, "'precision'"),
        ({"system": "unigrm"}, "'unigrm' is not in .*did you mean 'unigram'"),
        ({"settings": {"alhpa": 1}}, "settings: unknown key 'alhpa'; did you mean 'alpha'"),
    ],
)
def test_mistakes_in_a_job(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    values = {"system": "unigram", "settings": {}, "manifest": "m", "seeds": [0], "clip_seconds": 1, "checkpoints": "c"}
    with pytest.raises(UserError, match=message):
        TrainingJob.check(values | changes, "job.json")


# Stopped and gone on with


def test_the_grouping_of_seeds_changes_nothing(wholes: list[Whole], tmp_path: Path) -> None:
    for number, (make, (weights, predictions, history), _) in enumerate(wholes):
        folder = tmp_path / str(number)
        train_into(folder, make(folder).model_copy(update={"seeds": [1]}))
        alone = contents(folder)
        assert alone[0] == {key: value for key, value in weights.items() if key.startswith("1/")}
        assert alone[1] == [row for row in predictions if row["seed"] == 1]
        assert alone[2] == [row for row in history if row["seed"] == 1]


def test_a_stopped_job_goes_on_to_the_same_bits(wholes: list[Whole], tmp_path: Path) -> None:
    """After a signal or death in a step, be it an epoch's first or last, or death while the results are written.

    A finished run takes no step again.
    """
    for number, (make, whole, all_steps) in enumerate(wholes):
        folder, half = tmp_path / str(number), all_steps // 2  # the second half is of the other seed
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(outputs, "write_history", lambda *_: die())
            train_into(folder / "writing", make(folder / "writing"))
        assert not (folder / "writing" / "params.json").exists()
        with at_step(0, die) as steps:
            train_into(folder / "writing", make(folder / "writing"))
        assert contents(folder / "writing") == whole and not steps
        for place in (2, half + 3) if all_steps else ():
            end = folder / f"killed-{place}"
            with pytest.raises(KeyboardInterrupt), at_step(place, die):
                train_into(end, make(end))
            train_into(end, make(end))
            assert contents(end) == whole
        for place in (1, half // 2, half) if all_steps else ():
            end = folder / f"stopped-{place}"
            message = f"by SIGUSR1 after step {place} of seed 0; run again"
            with pytest.raises(StoppedError, match=message), at_step(place, warn):
                train_into(end, make(end))
            assert not (end / "weights.safetensors").exists()
            with at_step(0, die) as steps:
                train_into(end, make(end))
            assert contents(end) == whole and len(steps) == all_steps - place


def warn() -> None:
    signal.raise_signal(signal.SIGUSR1)


def test_the_command_goes_on_where_a_signal_stopped_it(tmp_path: Path) -> None:
    corpus = events.write_corpus(tmp_path)
    changes = {"optimisation": {"steps": 60}, "checkpoint_every": 10, "checkpoint_seconds": 0}
    line = command(events.job_of(corpus, tmp_path / "killed", [0, 1], **changes), tmp_path / "killed")
    assert 0 < stopped(line, tmp_path / "killed", signal.SIGUSR1) < 60
    subprocess.run(line, check=True)
    whole = events.train(corpus, tmp_path / "whole", [0, 1], **changes)
    assert contents(tmp_path / "killed") == contents(whole)


@pytest.mark.parametrize(("seconds", "kept"), [(0, 3), (1000, 1)])
def test_short_epochs_share_a_checkpoint(
    seconds: float, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one is kept at any rate, so that a finished seed takes no step again."""
    saved = []
    monkeypatch.setattr(loop, "save", lambda path, state: saved.append(state["epoch"]))
    digits.train(
        digits.write_corpus(tmp_path), tmp_path, [0], optimisation={"max_epochs": 3}, checkpoint_seconds=seconds
    )
    assert saved == [1, 2, 3][-kept:]


def test_a_signal_outside_of_a_run_is_obeyed_once() -> None:
    with handlers_kept():
        leave_on_signal()
        with pytest.raises(StoppedError, match="stopped by SIGUSR1; run again to go on"):
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)


# Memory


@pytest.mark.parametrize("clips", [40, 400])
def test_memory_does_not_grow_with_the_clips(tmp_path: Path, clips: int) -> None:
    """Features that are asked for by their places take a row group's memory, and leave nothing in their folder."""
    shape, group = (8, 1024), 8
    field = shards.array_field("features", "float16", shape)
    columns = [pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE]
    rows = [{"clip_id": f"clip{n}", "seconds": 1.0, "status": "ok", "split": "train"} for n in range(clips)]
    pq.write_table(pa.Table.from_pylist(rows).select(["clip_id", "split"]), tmp_path / "manifest.parquet")
    packed = ({**row, "features": shards.pack(np.full(shape, n % 7), field)} for n, row in enumerate(rows))
    shards.write(tmp_path / "visual" / "0.parquet", packed, pa.schema(columns), rows_a_group=group)
    given = {"manifest": tmp_path / "manifest.parquet", "features": {"visual": shards_in(tmp_path / "visual")}}
    job = events.job_of(tmp_path, tmp_path, [0], **given)
    tracemalloc.start()
    loaded = load_clips(job, ["visual"], ["train"])
    drawn = loaded.features["visual"][np.arange(clips - 1, -1, -clips // 5)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert drawn[:, 0, 0].tolist() == [n % 7 for n in range(clips - 1, -1, -clips // 5)]
    assert peak < 5 * group * np.prod(shape) * 2
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("fault", ["flipped", "torn", "text", "list", "another"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(fault: str, tmp_path: Path, caplog: Any) -> None:
    """With the same result; where none is whole, one sentence names the file."""
    corpus, folder = events.write_corpus(tmp_path), tmp_path / "run"
    job = events.job_of(corpus, folder, [0], optimisation={"steps": 14}, checkpoint_every=3)
    train_into(tmp_path / "whole", job.model_copy(update={"checkpoints": tmp_path / "others"}))
    with pytest.raises(KeyboardInterrupt), at_step(10, die):
        train_into(folder, job)
    (newest,) = (folder / "checkpoints").glob("*.pt")
    content = bytearray(newest.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 200):  # between two tensors is padding
        content[place] ^= 1
    faults = {
        "flipped": lambda: newest.write_bytes(content),
        "torn": lambda: newest.write_bytes(content[: len(content) // 2]),
        "text": lambda: newest.write_text("a text"),
        "list": lambda: torch.save([1, 2], newest),
        "another": lambda: torch.save({"weights": torch.zeros(3)}, newest),
    }
    faults[fault]()
    with caplog.at_level("INFO"), at_step(0, die) as steps:
        train_into(folder, job)
    assert f"{newest}: not a readable checkpoint" in caplog.text and "going on from the one before" in caplog.text
    assert 0 < len(steps) < 14
    assert contents(folder) == contents(tmp_path / "whole")
    for path in (folder / "checkpoints").iterdir():
        path.write_text("a text")
    with pytest.raises(UserError, match=r"\.pt: not a readable checkpoint .*; delete it to train this run anew"):
        train_into(folder, job)
