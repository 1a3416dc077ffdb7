"""What failed and why, from logs as Snakemake, SLURM and our commands write them."""

from pathlib import Path

import pytest

from workflow_scripts.failures import cause, failures, listing

SNAKEMAKE = """\
Job 4: Training S of boes_avsed, seeds-0-1
Job 5: Scoring S of boes_avsed
Job 4 has been submitted with SLURM jobid 11 (log: {folder}/slurm/11.log).
Job 5 has been submitted with SLURM jobid 12 (log: {folder}/slurm/12.log).
Error in rule train:
    message: None
    jobid: 4
    input: manifest.parquet
    output: out/weights.safetensors, out/params.json
    log: logs/train.log, {folder}/slurm/11.log (check log file(s) for error details)
    external_jobid: 11
Logfile logs/train.log:
Job 4 has been submitted with SLURM jobid 13 (log: {folder}/slurm/13.log).
Error in rule train:
    message: None
    jobid: 4
    output: out/weights.safetensors, out/params.json
    log: logs/train.log (check log file(s) for error details)
Error in rule score:
    message: None
    jobid: 5
    output: out/scores.parquet
"""


def test_a_job_is_listed_once_as_it_failed_last(tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "13.log").write_text(
        "slurmstepd: error: *** JOB 13 ON n1 CANCELLED AT T DUE TO TIME LIMIT ***"
    )
    found = failures(SNAKEMAKE.format(folder=tmp_path), tmp_path)
    assert [(failure.rule, failure.slurm) for failure in found] == [("train", "13"), ("score", "12")]
    assert found[0].cause.startswith("time limit")
    text = listing(found)
    assert "Training S of boes_avsed, seeds-0-1 (rule train, SLURM job 13)" in text
    assert f"log: {tmp_path}/slurm/13.log" in text
    assert "log: logs/train.log" in text


def test_a_job_that_went_well_at_last_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in ("weights.safetensors", "params.json"):
        (tmp_path / "out" / name).touch()
    found = failures(SNAKEMAKE.format(folder=tmp_path), tmp_path)
    assert [failure.rule for failure in found] == ["score"]


def test_nothing_failed(tmp_path: Path) -> None:
    assert failures("Job 1: Scoring\nFinished jobid: 1\n", tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "CUDA out of memory"),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks", "out of memory"),
        ("slurmstepd: error: Exceeded job memory limit", "out of memory"),
        ("srun: error: n1: task 0: Out Of Memory", "out of memory"),
        ("JobId=7 JobState=OUT_OF_MEMORY Reason=OutOfMemory", "out of memory"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 TiB", "out of memory"),
        ("JobId=7 JobState=TIMEOUT Reason=TimeLimit", "time limit"),
        (
            "error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE, SEE CONTROLLER ***",
            "node failure",
        ),
        ("JobState=NODE_FAIL", "node failure"),
        ("error: *** STEP 7.0 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO PREEMPTION ***", "pre-empted"),
        ("stopped by SIGTERM after step 4 of seed 0; run again to go on", "stopped from outside"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***", "cancelled"),
        ("Traceback (most recent call last):\n  File x\nKeyError: 'onset'", "KeyError: 'onset'"),
        ("subprocess.CalledProcessError: non-zero exit status", "unknown"),
        ("", "unknown"),
    ],
)
def test_causes(text: str, expected: str) -> None:
    assert cause([text]).startswith(expected)


def test_a_sentence_for_people_goes_before_all_signs() -> None:
    sentence = "error: device cuda: there is no usable GPU; choose cpu or auto"
    assert cause(["JobState=CANCELLED", f"\n{sentence}\n", "OUT_OF_MEMORY"]) == sentence
