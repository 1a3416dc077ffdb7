"""Notes on runs that did not learn or were not done, in the cells of tables and in their Markdown."""

import json
from pathlib import Path
from typing import Any

import pytest
from table_files import TABLE, made, write_experiments

from workflow_scripts.tables.courses import untrained

PLATEAU = [0.13, 0.15, 0.149]
LEARNED = [0.1, 0.4, 0.5, 0.55, 0.56, 0.57, 0.56, 0.57, 0.58, 0.56]
NOISY = [0.1, 0.4, 0.5, 0.55, 0.56, 0.57, 0.57, 0.57, 0.595, 0.58]  # as others, but for one look
RISING = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def job(*courses: list[float], prior: float | None = 0.15, stopped: bool = False) -> dict[str, Any]:
    """What a training job reports of seeds with these scores after each epoch."""
    about = {"score": "dev_gap", "prior": prior, "stopped": stopped}
    return {"course": {str(seed): {**about, "values": values} for seed, values in enumerate(courses)}}


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([job(LEARNED)], ""),
        ([job(PLATEAU, LEARNED), job(PLATEAU)], "2 of 3 seeds end at or near what their prior gives (dev_gap 0.149"),
        ([job(PLATEAU, prior=None)], ""),
        ([job(LEARNED), job(RISING)], "the seeds still rose by 18.3% in the last fifth of their epochs (dev_gap)"),
        ([job(RISING, stopped=True)], ""),
        ([job(RISING, PLATEAU)], "1 of 2 seeds end at or near what their prior gives (dev_gap 0.149, without learning "
                                 "0.150) and the seeds still rose by 36.4%"),
        ([job(LEARNED, NOISY)], ""),
        ([job(NOISY)], "the seeds still rose by 3.0%"),
        ([{"seeds": [0]}], ""),
    ],
)  # fmt: skip
def test_a_run_that_did_not_learn_or_was_not_done_is_told(jobs: list[dict[str, Any]], words: str) -> None:
    note = untrained(jobs)
    assert words in note
    assert bool(note) == bool(words)


def test_tables_say_it(tmp_path: Path) -> None:
    (tmp_path / "S.json").write_text(json.dumps(job(LEARNED, LEARNED)))
    (tmp_path / "A.json").write_text(json.dumps(job(PLATEAU, LEARNED)))
    courses = {name: [tmp_path / f"{name}.json"] for name in "SA"}
    lines = {line["row"]: line for line in made(tmp_path, TABLE, write_experiments(tmp_path), courses=courses)}
    assert "not trained out" not in lines["one"]["note"]
    assert "not trained out: 1 of 2 seeds end at or near" in lines["two"]["note"]
    assert "**Not trained out:** two (1 of 2 seeds end at or near" in (tmp_path / "table3.md").read_text()
