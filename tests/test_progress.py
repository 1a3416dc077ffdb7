"""Progress in a log file, where lines stay."""

import pytest

from workflow_scripts import progress


def test_a_process_writes_a_line_every_half_minute_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    progress.Lines.written = -float(progress.EVERY)
    for number in range(3):
        assert list(progress.progress(range(5), f"bar {number}")) == list(range(5))
    assert capsys.readouterr().err.splitlines() == ["bar 0: 0/5 clip [00:00<?]"]


def test_lines_go_on_and_libraries_may_be_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setattr(progress, "EVERY", 0)
    with progress.bar("file", 2_000_000, unit="B", unit_scale=True, mininterval=0) as arrived:
        arrived.update(1_000_000)
        arrived.update(1_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" [")[0] for line in lines] == [
        "file: 0.00/2.00M B",
        "file: 1.00M/2.00M B",
        "file: 2.00M/2.00M B",
    ]
