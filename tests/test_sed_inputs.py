"""Files of events that `scores sed` is given: what does not count, and what is refused."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import sed as metrics
from workflow_scripts.scores import sed

HEAD = "filename\tonset\toffset\tevent_label\n"


def scored(folder: Path, reference: str, estimate: str, labels: list[str] | None = None) -> dict[str, float]:
    (folder / "ref.tsv").write_text(HEAD + reference)
    (folder / "est.tsv").write_text(HEAD + estimate)
    sed.main(folder / "ref.tsv", folder / "est.tsv", labels, folder / "scores.json")
    return json.loads((folder / "scores.json").read_text())


def test_files_outside_the_reference_do_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alone = scored(tmp_path, "a.wav\t0\t1\tDog\n", "a.wav\t0\t1\tDog\n")
    assert scored(tmp_path, "a.wav\t0\t1\tDog\n", "a.wav\t0\t1\tDog\nx.wav\t0\t1\tCat\n") == alone
    assert f"1 files of {tmp_path}/est.tsv are not in" in caplog.text
    with pytest.raises(UserError, match=r"est\.tsv: 'b\.wav' is not a file of .*; did you mean 'a\.wav'\?"):
        scored(tmp_path, "a.wav\t0\t1\tDog\n", "b.wav\t0\t1\tDog\n")


def test_labels_that_differ_only_in_case_are_named(tmp_path: Path) -> None:
    for labels in (None, ["Dog,dog"]):
        with pytest.raises(UserError, match="the labels 'Dog' and 'dog' differ only in upper and lower case"):
            scored(tmp_path, "a.wav\t0\t1\tDog\n", "a.wav\t0\t1\tdog\n", labels)


def test_late_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beyond a day is refused; others fill no memory: clips are counted a few at a time, with the same result."""
    with pytest.raises(UserError, match=r"est\.tsv, line 2: onset '1e9' lies beyond a day"):
        scored(tmp_path, "a.wav\t0\t1\tDog\n", "a.wav\t1e9\t1000000001\tDog\n")
    rng = np.random.default_rng(0)
    onset = rng.uniform(0, 30, 40)
    events = metrics.Events(rng.integers(0, 7, 40), rng.integers(0, 3, 40), onset, onset + rng.uniform(0, 9, 40))
    others = events._replace(onset=onset + 1, offset=events.offset + 1)
    whole, errors = metrics.segment_counts(events, others, 7, 3)
    monkeypatch.setattr(metrics, "CELLS", 250)
    for found, before in zip(metrics.segment_counts(events, others, 7, 3), (whole, errors), strict=True):
        np.testing.assert_array_equal(found, before)
