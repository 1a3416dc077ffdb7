"""Taggers that read texts, and ensembles, on files: predictions are those of training, from runs and exports."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from predict_files import Runs, settings_and_assets

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.export import export
from workflow_scripts.predict.model import Model, load

EXPERIMENTS = {
    "unigram": ("texts",),
    "textcnn_B": ("texts", "video"),  # without the words of labels, which records tell
    "keywords_A": ("texts",),
    "text_vakt": ("video", "texts"),  # reads a title by the features of textcnn_A
    "text_va": ("video",),  # the texts only told which videos count
    "ensemble_average": ("video", "frame"),
    "ensemble_forest": ("video", "frame"),
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory, asset: Callable[[str], Path]) -> Callable[[str], Path]:
    """`run_of(experiment)`: the folder of its smoke run."""
    runs = Runs(settings_and_assets(tmp_path_factory.mktemp("taggers")), asset)
    return lambda experiment: runs.trained("yt8m_text", experiment)


def records(run: Path, level: str) -> list[Path]:
    return sorted(run.parents[4].glob(f"smoke/media/*/records-{level}/**/*.tfrecord"))


def released(run: Path) -> list[Path]:
    """The files of titles and keywords that the corpus was given."""
    return sorted(run.parents[4].glob("smoke/corpora/*/composed/text/*.json"))


def files_of(run: Path, kinds: tuple[str, ...]) -> list[Path]:
    return [file for kind in kinds for file in (released(run) if kind == "texts" else records(run, kind))]


def check(model: Model, run: Path, files: list[Path]) -> None:
    """All rows that training predicted are predicted again: the same classes with the same scores, to 1e-5."""
    rows = pq.read_table(run / "predictions.parquet").to_pylist()
    trained = {row["clip_id"]: row for row in rows if row["seed"] == model.description.seed}
    found = {part.file.rpartition("#")[2]: row for part, row in model.rows(files)}
    assert trained and not trained.keys() - found.keys()
    for name, row in trained.items():
        ours, theirs = scores(found[name]), scores(row)
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=0, atol=1e-5)
        last = min(theirs.values()) + 1e-5  # among equals at its end a list may hold others
        assert all(abs(ours[label] - score) <= 1e-5 for label, score in theirs.items() if score > last)


def scores(row: shards.Row) -> dict[int, float]:
    """The scores of the listed classes, the highest first."""
    classes, values = np.frombuffer(row["classes"], np.int32), np.frombuffer(row["scores"], np.float32)
    return dict(zip(classes.tolist(), values.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_run_and_its_export_predict_what_training_predicted(
    experiment: str, run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    run = run_of(experiment)
    files = files_of(run, EXPERIMENTS[experiment])
    check(load(run), run, files)
    export(run, tmp_path / "taken")
    shutil.move(tmp_path / "taken", tmp_path / "elsewhere")
    for described in (tmp_path / "elsewhere").rglob("model.json"):
        assert str(run.parents[4]) not in described.read_text()
    check(load(tmp_path / "elsewhere"), run, files)


@pytest.mark.slow
def test_texts_of_ones_own_are_tables(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    """The released texts say the same as a CSV table, and as lines of JSON."""
    run = run_of("unigram")
    texts: dict[str, dict[str, str]] = {}
    for path in released(run):
        content = json.loads(path.read_text())
        for name, title in content.items() if isinstance(content, dict) else ():
            texts.setdefault(name, {})["title"] = title
        for entry in content if isinstance(content, list) else ():
            texts.setdefault(entry["video_id"], {})["keywords"] = ",".join(entry["keywords"])
    with (tmp_path / "videos.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["id", "title", "keywords"])
        table.writeheader()
        table.writerows({"id": name, **text} for name, text in texts.items())
    lines = [
        json.dumps({"id": name, **text, "keywords": text.get("keywords", "").split(",")})
        for name, text in texts.items()
    ]
    (tmp_path / "videos.jsonl").write_text("\n".join(lines) + "\n")
    model = load(run)
    for name in ("videos.csv", "videos.jsonl"):
        check(model, run, [tmp_path / name])
    (tmp_path / "own.csv").write_text("id,title,keywords\nholiday,A dog and a guitar in the garden,\nempty,,\n")
    (first, *others) = model.predict([tmp_path / "own.csv"], top=2)
    assert first["filename"] == f"{tmp_path / 'own.csv'}#holiday" and len(others) == 1
    (tmp_path / "own.csv").write_text("id,title\n,A dog\n")
    with pytest.raises(UserError, match=r"own.csv, entry 1: expected the columns id, title and keywords"):
        model.predict([tmp_path / "own.csv"])


@pytest.mark.slow
def test_videos_of_the_same_id_in_several_files(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = run_of("text_va")
    first, again = records(run, "video")[0], tmp_path / "again.tfrecord"
    shutil.copy(first, again)
    rows = list(load(run).rows([first, again]))
    each = len(rows) // 2
    assert each and len({row["clip_id"] for _, row in rows}) == len(rows) == 2 * each
    assert [scores(row) for _, row in rows[:each]] == [scores(row) for _, row in rows[-each:]]


@pytest.mark.slow
def test_files_that_a_tagger_cannot_use_are_told(
    run_of: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of("text_va")
    (tmp_path / "holiday.mp4").write_bytes(b"")
    with pytest.raises(UserError) as refused:
        load(run).predict([tmp_path / "holiday.mp4"])
    assert str(refused.value) == (
        f"{tmp_path / 'holiday.mp4'}: no video or sound of one's own can be tagged by its picture and sound, because "
        "the last step of YouTube-8M's features, a projection, only its publishers can compute: give record files "
        "(….tfrecord); systems that read titles and keywords tag any video by these"
    )
    with pytest.raises(UserError, match="it reads video-level records, and the files hold none"):
        load(run).predict(records(run_of("ensemble_average"), "frame")[:1])
    with pytest.raises(UserError, match="it reads texts of videos: give a table"):
        load(run_of("text_vakt")).predict(records(run, "video"))
    assert not list(load(run_of("ensemble_average")).rows([*records(run, "video")[:1], *records(run, "frame")[-1:]]))
    assert "its members dbof_A, dbof_B, lstm_A, lstm_B do not predict it" in caplog.text
