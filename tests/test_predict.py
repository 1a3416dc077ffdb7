"""Trained systems on files: predictions are those of training, from a run and from its export."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image
from predict_files import Runs, scale_of, settings_and_assets
from safetensors.torch import load_file, save_file

from workflow_scripts import shards, stamps
from workflow_scripts.errors import UserError
from workflow_scripts.export import export
from workflow_scripts.features import plan as features
from workflow_scripts.predict.answers import answers
from workflow_scripts.predict.clips import Part
from workflow_scripts.predict.model import Model, load
from workflow_scripts.scores.sed import read_events
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import Row
from workflow_scripts.training import plan as training
from workflow_scripts.training.outputs import prediction_schema

ROOT = Path(__file__).parent.parent
SYSTEMS = {
    "mean_teacher_sed": ("boes_avsed", "SA"),
    "with pictures": ("boes_avsed", "SV"),
    "audio_classifier": ("datar", "ks_datar"),
    "captioner": ("temp4cap", "clotho_cnn_bart"),  # some weights have several names
    "classifier": ("nora_fusion", "concatenation"),
    "video_tagger": ("yt8m_text", "moe_va"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return settings_and_assets(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def run_of(project: Path, asset: Callable[[str], Path]) -> Callable[[str], Path]:
    """`run_of(system)`: the folder of a smoke run of its experiment."""
    runs = Runs(project, asset)
    return lambda system: runs.trained(*SYSTEMS[system])


def clip_files(run: Path, system: str) -> tuple[list[Path], list[str]]:
    """Files of test clips, and the names of these clips in the predictions."""
    work = run.parents[4]
    rows = pq.read_table(run / "predictions.parquet", columns=["clip_id", "seed", "split"]).to_pylist()
    tested = [row["clip_id"] for row in rows if row["split"] == "test" and row["seed"] == 0]
    if system == "classifier":
        (folder,) = work.glob("smoke/corpora/*/composed/test_images.pth")
        return [folder, folder.with_name("test_audio.pth")], tested
    if system == "video_tagger":
        files = sorted(work.glob("smoke/media/*/records-video/**/*.tfrecord"))
        return files, tested
    corpus = {"audio_classifier": "kinetics_smoke", "captioner": "clotho_smoke"}.get(system, "dcase2018_smoke")
    store = work / "smoke" / "media" / corpus
    found = {row["clip_id"]: row["path"] for ledger in store.glob("clips/*.parquet") for row in shards.read(ledger)}
    return [store / found[name] for name in tested[:3]], tested[:3]


def name_in_predictions(part: Part, system: str, tested: list[str], place: int) -> str:
    if system == "classifier":
        return f"test-{int(part.file.rpartition('#')[2]):05d}"
    return part.file.rpartition("#")[2] if system == "video_tagger" else tested[place]


def same(schema: pa.Schema, one: Row, other: Row) -> bool:
    """Whether two rows predict the same: numbers to 1e-5 or a step of half precision, texts exactly."""
    for field in schema:
        if field.name in ("seed", "split", "clip_id"):
            continue
        if field.metadata and b"dtype" in field.metadata:
            dtype, _ = shards.array_spec(field)
            ours, theirs = (np.frombuffer(row[field.name], dtype).astype(float) for row in (one, other))
            step = 2**-11 if dtype == "float16" else 0  # of probabilities between a half and one
            if not np.allclose(ours, theirs, rtol=0, atol=max(1e-5, step)):
                print(field.name, np.abs(ours - theirs).max())
                return False
        elif one.get(field.name) != other.get(field.name):
            return False
    return True


def check(model: Model, run: Path, system: str) -> None:
    """Compares predictions of test clips' files with what training predicted of these clips."""
    files, tested = clip_files(run, system)
    seed = model.description.seed
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    trained = {row["clip_id"]: row for row in rows if row["seed"] == seed and row["split"] == "test"}
    compared = 0
    for place, (part, row) in enumerate(model.rows(files)):
        name = name_in_predictions(part, system, tested, place)
        if name in trained:
            assert same(model.schema, trained[name], row), (system, name)
            compared += 1
    assert compared == len(tested)


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_run_and_its_export_predict_what_training_predicted(
    system: str, run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    run, target = run_of(system), tmp_path / "taken"
    check(load(run, seed=1), run, system)
    export(run, target)
    shutil.move(target, tmp_path / "elsewhere")  # no path of it leads back
    described = json.loads((tmp_path / "elsewhere" / "model.json").read_text())
    assert str(run.parents[4]) not in json.dumps(described)
    check(load(tmp_path / "elsewhere"), run, system)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, asset: Callable[[str], Path]) -> Path:
    """A folder of real recordings, and what is none."""
    folder = tmp_path_factory.mktemp("sounds") / "recordings"
    folder.mkdir()
    shutil.copy(asset("rooster_recording"), folder / "rooster.mp3")  # 2.4 s
    soundfile.write(folder / "noise.ogg", 0.1 * np.random.default_rng(0).standard_normal((3 * 44_100, 2)), 44_100)
    (folder / "notes.txt").write_text("bought in Gent\n")
    samples, rate = soundfile.read(asset("water_recording"))
    soundfile.write(folder.with_name("street.wav"), samples[: 12 * rate], rate)  # more than two clips of 5 s
    return folder


def command(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", *map(str, words)]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_commands_of_the_page(run_of: Callable[[str], Path], sounds: Path, project: Path) -> None:
    """The page's commands on real recordings, as they stand but for the run, which is a smoke one."""
    run, folder = run_of("mean_teacher_sed"), sounds.parent
    results = project / "results" / "smoke" / "boes_avsed" / "table3.csv"
    results.parent.mkdir(parents=True)
    header = "paper,table,group,row,column,unit,published,measured,ci_low,ci_high"
    rows = [f"boes_avsed,table3,,{row},a column,%,1,{value},2,3" for row, value in
            (("spectral", "77.5"), ("spectral + auditory", "66.5"))]  # fmt: skip
    results.write_text("\n".join([header, *rows]) + "\n")
    page = (ROOT / "docs" / "predict.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    named = lines.pop(0).removeprefix("RUN=")
    mini = Scale(ROOT, Config.check({}, "test"), "mini")
    assert Path(named) in training.folders(mini, "boes_avsed", "SA")
    said = []
    for line in lines:
        words = line.replace("$RUN", str(run)).split()
        assert words[:2] == ["python", "-m"]
        done = command(*words[2:], folder=folder)
        assert done.returncode == 0, done.stderr
        said.append(done)
    first, second, _, last = said
    (folder / "first.tsv").write_text(first.stdout)
    assert list(read_events(folder / "first.tsv")) == ["street.wav"]  # as the scores read them
    found = (folder / "events.csv").read_text().splitlines()
    assert found[0] == "filename,onset,offset,event_label"
    assert {line.partition(",")[0] for line in found[1:]} == {"noise.ogg", "rooster.mp3"}
    assert re.search(r"^notes.txt: nothing is predicted of it: decode_error", second.stderr, re.MULTILINE)
    card = (folder / "sound-events" / "README.md").read_text()
    assert "66.5" in card and "77.5" not in card and "yamnet_weights" in card
    events = json.loads(last.stdout)
    assert [tuple(map(str, event.values())) for event in events] == [
        tuple(value or "None" for value in line.split("\t")) for line in first.stdout.splitlines()[1:]
    ]
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == f"{events}\n", done.stderr


@pytest.mark.slow
def test_a_long_recording_is_read_in_windows(run_of: Callable[[str], Path], sounds: Path, tmp_path: Path) -> None:
    run = run_of("captioner")
    seconds = load(run).description.clip_seconds
    samples, rate = soundfile.read(sounds / "noise.ogg")
    long = np.tile(samples, (10, 1))[: int(2.5 * seconds * rate)]
    soundfile.write(tmp_path / "long.flac", long, rate)
    soundfile.write(tmp_path / "part.flac", long[int(seconds * rate) : int(2 * seconds * rate)], rate)
    output, predictions = tmp_path / "captions.json", tmp_path / "predictions.parquet"
    done = command("workflow_scripts.predict", run, "long.flac", "part.flac", "--seed", "1", "--output", output,
                   "--predictions", predictions, folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = json.loads(output.read_text())
    assert [(line["filename"], line["onset"], line["offset"]) for line in lines] == [
        *(("long.flac", n * seconds, min(n + 1, 2.5) * seconds) for n in range(3)),
        ("part.flac", 0, seconds),
    ]
    assert lines[1]["caption"] == lines[3]["caption"]
    rows = pq.read_table(predictions).to_pylist()
    assert [row["caption"] for row in rows] == [line["caption"] for line in lines]
    assert [row["clip_id"] for row in rows][:2] == ["long.flac", f"long.flac@{seconds:g}"]
    assert {row["seed"] for row in rows} == {1}


def events_of(rows: list[tuple[Part, np.ndarray]]) -> list[tuple[Any, ...]]:
    """The events in frame probabilities (frames, classes) of parts of files, at a frame a second."""
    schema = prediction_schema(["Dog", "Cat"], 4, 1.0)
    packed = ((part, {"frames": shards.pack(frames, schema.field("frames"))}) for part, frames in rows)
    return [tuple(line.values()) for line in answers(schema, packed, None, 0.5, 1)]


def test_an_event_may_go_on_in_the_next_window() -> None:
    dog, cat, ends = np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 2))
    dog[2:, 0], cat[:2, 0], cat[1:, 1], ends[1:, 1] = 1, 1, 1, 1
    windows = [(Part("a", 0, 4), dog), (Part("a", 4, 8), cat), (Part("a", 8, 10.5), ends)]
    assert events_of([*windows, (Part("b", 0, 4), np.zeros((4, 2))), (Part("c", 0, 4), dog)]) == [
        *(("a", 2.0, 6.0, "Dog"), ("a", 5.0, 8.0, "Cat"), ("a", 9.0, 10.5, "Cat")),
        ("b", None, None, None),  # as scores read it: a file without events
        ("c", 2.0, 4.0, "Dog"),
    ]


def ffmpeg(*words: str | float | Path) -> None:
    subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", *map(str, words)], check=True)


def recordings(folder: Path, asset: Callable[[str], Path], seconds: float, seen: bool) -> dict[str, float]:
    """Real recordings in several formats, with pictures if they are to be `seen`, and how long each is.

    `long` is two and a half clips; `same` is `first` in another format that loses nothing.
    """
    folder.mkdir()
    pictures = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=10", "-c:v", "libx264"] if seen else []
    lengths, long = {"rooster": 2.4, "first": 3.0, "long": 2.5 * seconds}, folder / f"long.{'mkv' if seen else 'ogg'}"
    ffmpeg("-i", asset("train_recording"), *pictures, "-t", lengths["long"], long)
    water = folder / f"first.{'mp4' if seen else 'wav'}"
    lossless = ["-c:a", "flac", "-bf", 0] if seen else []
    ffmpeg("-i", asset("water_recording"), *pictures, *lossless, "-t", lengths["first"], water)
    if seen:
        ffmpeg("-i", asset("rooster_recording"), *pictures, "-t", lengths["rooster"], folder / "rooster.avi")
        ffmpeg("-i", water, "-c", "copy", folder / "same.mkv")
    else:
        shutil.copy(asset("rooster_recording"), folder / "rooster.mp3")
        ffmpeg("-i", water, "-c:a", "flac", folder / "same.flac")
        ffmpeg("-i", asset("dog_recording"), *pictures, "-t", 2, folder / "dog.mp4")
        lengths["dog"] = 2.0
    return lengths | {"same": lengths["first"]}


@pytest.mark.slow
@pytest.mark.parametrize("system", ["mean_teacher_sed", "with pictures", "audio_classifier", "captioner"])
def test_real_recordings_in_any_format(
    system: str, run_of: Callable[[str], Path], asset: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load(run_of(system))
    seconds = model.description.clip_seconds
    lengths = recordings(tmp_path / "files", asset, seconds, seen=system == "with pictures")
    found = list(model.rows([tmp_path / "files"]))
    rows: dict[str, dict[float, Row]] = {}
    for part, row in found:
        rows.setdefault(Path(part.file).stem, {})[part.start] = row
        assert part.end == pytest.approx(min(part.start + seconds, lengths[Path(part.file).stem]), abs=0.15)
    assert {name: list(own) for name, own in rows.items()} == {
        name: [0, seconds, 2 * seconds] if name == "long" else [0] for name in lengths
    }
    assert same(model.schema, rows["first"][0], rows["same"][0])
    assert {Path(line["filename"]).stem for line in model.told(found)} == {*lengths}


@pytest.mark.slow
def test_real_digits_in_any_format(run_of: Callable[[str], Path], shared: Path, tmp_path: Path) -> None:
    """Three spoken and written digits, the last of which is longer than the second that is heard."""
    spoken = sorted((shared / "data" / "fsdd" / "recordings").glob("*_jackson_0.wav"))[:3]
    sounds, pictures = [], []
    for number, (sound, suffix) in enumerate(zip(spoken, ("wav", "flac", "mp4"), strict=True)):
        sounds.append(tmp_path / f"{number}.{suffix}")
        ffmpeg("-i", sound, *(["-filter:a", "apad=whole_dur=3", "-c:a", "flac"] if suffix == "mp4" else []), sounds[-1])
    run = run_of("classifier")
    images = torch.load(next(run.parents[4].glob("smoke/corpora/*/composed/test_images.pth")), weights_only=True)
    for number, suffix in enumerate(("png", "bmp", "gif")):
        pictures.append(tmp_path / f"{number}.{suffix}")
        Image.fromarray(((images[number, 0].numpy() + 1) * 127.5).round().astype(np.uint8)).save(pictures[-1])
    model = load(run)
    found = list(model.rows([*sounds, *pictures]))
    assert [part.file for part, _ in found] == [f"{p} + {s}" for s, p in zip(sounds, pictures, strict=True)]
    assert all(line["label"] in map(str, range(10)) for line in model.told(found))
    ((_, alone),) = model.rows([spoken[2], pictures[2]])  # without the silence behind it
    assert same(model.schema, found[2][1], alone)


@pytest.mark.slow
def test_a_digit_in_a_picture_and_a_sound(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = run_of("classifier")
    files, _ = clip_files(run, "classifier")
    image, sound = (torch.load(file, weights_only=True)[0, 0] for file in files)
    pixels = ((image.numpy() + 1) * 127.5).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    soundfile.write(tmp_path / "digit.wav", sound.numpy(), 8000, "FLOAT")
    model = load(run)
    (whole,) = model.rows([tmp_path / "digit.png", tmp_path / "digit.wav"])
    stored = pq.read_table(run / "predictions.parquet").to_pylist()
    (trained,) = (row for row in stored if row["clip_id"] == "test-00000" and row["seed"] == 0)
    own, theirs = (np.frombuffer(row["logits"], np.float32) for row in (whole[1], trained))
    np.testing.assert_allclose(own, theirs, atol=0.05)  # eight bits a pixel
    with pytest.raises(UserError, match="1 items of 'image' and 0 items of 'audio'; give as many of each"):
        model.predict([tmp_path / "digit.png"])


@pytest.mark.slow
def test_what_cannot_predict_says_why(run_of: Callable[[str], Path], project: Path, tmp_path: Path) -> None:
    run = run_of("classifier")
    with pytest.raises(UserError, match=r"is neither a run, such as .* nor an export"):
        load(tmp_path)
    with pytest.raises(UserError, match="seed 7 was not trained there; choose one of 0, 1"):
        load(run, seed=7)
    with pytest.raises(UserError, match="there is no such file"):
        load(run).predict([tmp_path / "nothing.wav"])
    overlay = project / "papers" / "nora_fusion" / "smoke.yaml"
    before = overlay.read_text()
    overlay.write_text(before.replace("inner: 16", "inner: 24"))
    with pytest.raises(UserError, match=r"settings of 'concatenation' .* are no longer those that were trained"):
        load(run)
    overlay.write_text(before)
    shard = features.feature_shards(scale_of(project), "nora_fusion", "image")[0]
    made = stamps.read(shard)
    assert made
    stamps.stamp([shard], "another key")
    with pytest.raises(UserError, match="was made with other settings of 'image'"):
        load(run)
    stamps.stamp([shard], made["key"])
    export(run, tmp_path / "taken")
    with pytest.raises(UserError, match="is there already"):
        export(run, tmp_path / "taken")
    with pytest.raises(UserError, match="is an export already"):
        export(tmp_path / "taken", tmp_path / "again")
    with pytest.raises(UserError, match="holds seed 0 only"):
        load(tmp_path / "taken", seed=1)


@pytest.mark.slow
def test_weights_of_older_versions_lack_what_predicting_needs(run_of: Callable[[str], Path]) -> None:
    run = run_of("video_tagger")
    path = run / "weights.safetensors"
    kept = path.read_bytes()
    save_file(load_file(path), path)
    with pytest.raises(UserError, match=r"do not tell the 'classes' .* delete the folder and run the same command"):
        load(run)
    path.write_bytes(kept)
