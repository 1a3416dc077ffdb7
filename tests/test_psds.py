"""PSDS of frame scores: beside sed_scores_eval, resampled, of predictions in the pipeline, and by the command."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sed_files import CLASSES, HEAD, manifest_of, predictions_of
from sed_scores_eval import intersection_based
from sed_scores_eval.base_modules.scores import create_score_dataframe

from workflow_scripts.errors import UserError
from workflow_scripts.metrics.psds import ScoredClip, psds
from workflow_scripts.scores import sed
from workflow_scripts.scores.families.sed import Scorer
from workflow_scripts.scores.plan import Score

RULES = {  # of DCASE 2021 to 2023, task 4
    "psds1": {"dtc_threshold": 0.7, "gtc_threshold": 0.7, "alpha_ct": 0.0, "alpha_st": 1.0, "max_efpr": 100.0},
    "psds2": {"dtc_threshold": 0.1, "gtc_threshold": 0.1, "cttc_threshold": 0.3, "alpha_ct": 0.5, "alpha_st": 1.0,
              "max_efpr": 100.0},
}  # fmt: skip


def official(clips: list[ScoredClip], labels: list[str]) -> dict[str, float]:
    """By sed_scores_eval alone."""
    frames = {str(i): create_score_dataframe(clip.scores, clip.times, labels) for i, clip in enumerate(clips)}
    truth = {str(i): [(onset, offset, labels[int(label)]) for label, onset, offset in clip.events.tolist()]
             for i, clip in enumerate(clips)}  # fmt: skip
    durations = {str(i): clip.seconds for i, clip in enumerate(clips)}
    return {name: intersection_based.psds(frames, truth, durations, **rules)[0] for name, rules in RULES.items()}


def made_up(seed: int, count: int, classes: int = 3) -> list[ScoredClip]:
    """Clips of a system that finds most, a little late, with false alarms and equal scores."""
    random = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        onset = np.round(random.uniform(0, 6, classes), 2)
        events = np.stack([np.arange(classes), onset, onset + np.round(random.uniform(0.5, 3, classes), 2)], axis=1)
        events = events[random.random(classes) < 0.7]
        scores = random.random((100, classes)).round(1) * 0.5
        for label, start, end in events:
            scores[int(start * 10) + 1 : int(end * 10) + 1, int(label)] += random.uniform(0.1, 0.6)
        clips.append(ScoredClip(np.arange(101) / 10, scores, 10.0, events))
    return clips


def test_scores_are_those_of_sed_scores_eval() -> None:
    clips = made_up(0, 60)
    found = psds(clips, np.ones((1, 60)))
    for name, value in official(clips, ["a", "b", "c"]).items():
        assert 0.05 < value < 0.95
        assert found[name][0] == pytest.approx(value, abs=1e-9)


def test_a_resample_scores_as_its_clips_do() -> None:
    """A clip that weighs 2 counts as two clips, one that weighs 0 as none."""
    clips, weights = made_up(1, 8), np.array([[2, 0, 1, 1, 0, 3, 1, 0], [0, 1, 1, 1, 2, 0, 0, 3]])
    found = psds(clips, weights.astype(float))
    for place, drawn in enumerate(weights):
        repeated = [clip for clip, times in zip(clips, drawn, strict=True) for _ in range(times)]
        for name, value in official(repeated, ["a", "b", "c"]).items():
            assert found[name][place] == pytest.approx(value, abs=1e-9), name


def test_a_class_without_events_is_left_out() -> None:
    clips = made_up(2, 6)
    without = [clip._replace(events=clip.events[clip.events[:, 0] != 1]) for clip in clips]
    two = [clip._replace(scores=clip.scores[:, [0, 2]], events=clip.events * [0.5, 1, 1]) for clip in without]
    found, expected = psds(without, np.ones((1, 6))), official(two, ["a", "c"])
    assert {name: values[0] for name, values in found.items()} == pytest.approx(expected, abs=1e-9)
    silent = psds([clip._replace(events=np.zeros((0, 3))) for clip in clips], np.ones((1, 6)))
    assert np.isnan(list(silent.values())).all()


def test_predictions_have_psds_and_scores_of_each_class(tmp_path: Path) -> None:
    """Seed 0 finds all of the Dog of a and the Cat of c, but puts out a Dog in b, at the same score."""
    files = predictions_of(tmp_path / "0.parquet", [0]), predictions_of(tmp_path / "1.parquet", [1])
    job = Score(family="sed", settings=Scorer(classes=CLASSES), manifest=manifest_of(tmp_path), predictions=files)
    job.run(*(tmp_path / f"{name}.parquet" for name in ("scores", "counts", "replicates")))
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    values = {(row["seed"], row["split"], row["metric"]): row["value"] for row in rows}
    assert values[0, "validation", "psds1"] == 1.0  # the clip with only a tag counts in no score of frames
    assert values[1, "validation", "psds1"] == 0.0
    # One false alarm in the 6 s of a and b is 600 an hour, beyond the 100 that are looked at.
    assert values[0, "test", "psds1"] == values[0, "test", "psds2"] == 0.0
    assert values[0, "test", "event_f1:Dog"] == pytest.approx(2 / 3)
    assert values[0, "test", "event_precision:Dog"] == 0.5
    assert values[0, "test", "event_error_rate:Dog"] == 1.0
    assert values[0, "validation", "event_recall:Cat"] == 1.0
    other = Score(**{**dict(job), "settings": Scorer(classes=["Dog", "Cat"])})
    with pytest.raises(UserError, match="the predictions have the classes Cat, Dog; 'classes' of the scoring has Dog"):
        other.run(*(tmp_path / f"{name}.parquet" for name in ("scores", "counts", "replicates")))


def test_frames_beyond_the_end_of_a_clip_do_not_count(tmp_path: Path) -> None:
    """A clip of 2 s in frames of 3 s: what is put out after its end is no false alarm."""
    table = pq.read_table(predictions_of(tmp_path / "p.parquet", [0], clips="a"))
    table = table.set_column(table.schema.get_field_index("seconds"), "seconds", [[2.0]])
    dog = [{"onset": 0.0, "offset": 2.0, "label": "Dog"}]
    records = Scorer(median_filter=1).records(table, [{"clip_id": "a", "labels": ["Dog"], "events": dog}])
    assert Scorer().aggregate(records, np.ones((1, 1)))["psds1"][0] == 1.0


def frame_file(path: Path, scores: np.ndarray) -> None:
    lines = [f"{i}\t{i + 1}\t" + "\t".join(map(str, row)) for i, row in enumerate(scores.tolist())]
    path.write_text("\n".join(["onset\toffset\tCat\tDog", *lines]) + "\n")


def test_the_command_scores_frame_scores(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of two Dogs one is found at no false alarm; the Cat is found: (1 + ½) / 2 less the deviation of ¼."""
    caplog.set_level(logging.INFO)
    (tmp_path / "ref.tsv").write_text(HEAD + "a.wav\t0\t4\tDog\nb.wav\t2\t6\tDog\nb.wav\t8\t9\tCat\n")
    (tmp_path / "frames").mkdir()
    scores = np.zeros((2, 10, 2))
    scores[0, :4, 1], scores[1, 8, 0] = 0.9, 0.7
    frame_file(tmp_path / "frames" / "a.tsv", scores[0])
    frame_file(tmp_path / "frames" / "b.tsv", scores[1])
    frame_file(tmp_path / "frames" / "other.tsv", scores[1])

    def scored(**options: Path) -> dict[str, float]:
        sed.main(tmp_path / "ref.tsv", None, None, tmp_path / "out.json", tmp_path / "frames", **options)
        return json.loads((tmp_path / "out.json").read_text())

    # At the score 0 both files are detections of both classes: b of Dog, and too little of it for PSDS 1.
    assert scored() == pytest.approx({"psds1": 0.5, "psds2": 1.0})
    assert f"1 files of {tmp_path}/frames are not of the reference and do not count, 'other.tsv'" in caplog.text
    (tmp_path / "lengths.tsv").write_text("filename\tduration\na.wav\t10\nb.wav\tlong\n")
    with pytest.raises(UserError, match=r"lengths\.tsv, line 3: duration 'long' must be a number of seconds"):
        scored(durations=tmp_path / "lengths.tsv")
    (tmp_path / "frames" / "b.tsv").write_text("onset\toffset\tCat\n0\t1\t0\n")
    with pytest.raises(UserError, match=r"b\.tsv: the column 'Dog' is missing; .*frame scores are one file a rec"):
        scored()
    (tmp_path / "frames" / "b.tsv").write_text("onset\toffset\tCat\tDog\n0\t1\t0\t0\n2\t3\t0\t0\n")
    with pytest.raises(UserError, match=r"b\.tsv, line 3: the frame starts at 2\.0, but the one before it ends at 1"):
        scored()
    (tmp_path / "frames" / "b.tsv").unlink()
    with pytest.raises(UserError, match=r"b\.tsv: cannot be read"):
        scored()
