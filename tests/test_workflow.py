"""The workflow through Snakemake: the plan at full scale, a table from end to end, kills, second runs."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from projects import copied, with_study

ROOT = Path(__file__).parent.parent


def command(folder: Path, *arguments: str) -> list[str]:
    """A Snakemake call that works in `folder` and reads the project's files, at the smoke scale if not told."""
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [*call, "--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "2", *arguments]


def snakemake(folder: Path, *arguments: str) -> str:
    """The output of a call that must succeed."""
    done = subprocess.run(command(folder, *arguments), capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder that shares nothing with others but the verified assets."""
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    return tmp_path


def test_lint_is_clean() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Congratulations" in done.stdout + done.stderr


@pytest.mark.parametrize("target", ["results/table3.csv", "results/full/boes_avsed/sweep_visual_alone.csv"])
def test_the_plan_at_full_scale(target: str, tmp_path: Path) -> None:
    output = snakemake(tmp_path, "-n", target, "--config", "scale=full", 'papers=["boes_avsed"]')
    jobs = dict(re.findall(r"^ ([a-z ]+?) +(\d+) *$", output, re.MULTILINE))
    assert jobs["fetch clips"] == "8"  # the number of shards, not of clips
    assert jobs["train"] == ("28" if "table3" in target else "6")
    assert list(tmp_path.iterdir()) in ([], [tmp_path / ".snakemake"])


def test_everything_can_be_planned(tmp_path: Path) -> None:
    output = snakemake(tmp_path, "-n")
    jobs = dict(re.findall(r"^ ([a-z ]+?) +(\d+) *$", output, re.MULTILINE))
    assert (jobs["open front door"], jobs["draw figure"]) == ("6", "17")


def cells(folder: Path) -> list[dict[str, str]]:
    with (folder / "results" / "table3.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def agree(measured: str, published: str) -> bool:
    """Whether a cell is what the paper prints, to as many decimals as it prints."""
    if not re.fullmatch(r"-?[\d.]+", published):
        return measured == published
    return f"{float(measured):.{len(published.partition('.')[2])}f}" == published


@pytest.mark.slow
def test_table_3_from_end_to_end_and_again_after_kills(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = ("results/table3.csv", "--config", "scale=smoke", 'papers=["boes_avsed"]')
    snakemake(folder, *target)

    table = [cell for cell in cells(folder) if cell["group"] == ""]
    assert len(table) == 7 * 5  # three printed scores, and PSDS 1 and 2
    assert {cell["status"] for cell in table} == {"measured"}
    assert {cell["scale"] for cell in table} == {"smoke"}
    assert all(float(cell["ci_low"]) <= float(cell["ci_high"]) for cell in table)
    assert next(cell["published"] for cell in table if cell["row"] == "spectral") == "76.22"
    assert (folder / "results" / "mlflow.db").exists()
    made = folder / "results" / "smoke" / "boes_avsed"
    with (folder / "results" / "table3_claims.csv").open(newline="") as file:
        claims = {line["claim"] for line in csv.DictReader(file)}
    assert claims and not (made / "claims.csv").exists()  # those that rest on other tables would need more training
    assert {path.name for path in made.glob("*.csv")} == {"table3.csv", "table3_claims.csv"}
    page = (folder / "results" / "report.html").read_text()
    assert "spectral + auditory + visual" in page and "./run snakemake --cores all" in page
    snakemake(folder, "--report", "report.zip", *target)
    with zipfile.ZipFile(folder / "report.zip") as report:
        kept = {Path(name).name for name in report.namelist()}
    assert {"report.html", "table3.csv", "table3.png", "table3_claims.csv"} <= kept

    others = ("table1", "table2", "intext")
    snakemake(folder, *(f"results/smoke/boes_avsed/{name}.csv" for name in (*others, "claims")), *target[1:])
    with (made / "claims.csv").open(newline="") as file:
        assert claims <= {line["claim"] for line in csv.DictReader(file)}
    for name in others:
        with (made / f"{name}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        analytic = [line for line in lines if line["status"] == "analytic" and line["published"]]
        assert all(agree(line["measured"], line["published"]) for line in analytic)
        assert len(analytic) == {"table1": 12, "table2": 2, "intext": 5}[name]

    assert "Nothing to be done" in snakemake(folder, *target)
    baselines = [sys.executable, "-m", "benchmarks.sed_baselines", "--scale", "smoke", "--seeds", "0"]
    done = subprocess.run(baselines, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.count("{") == 5, done.stdout + done.stderr

    # The same from nothing, killed at several stages: the table must be the same to the last digit.
    other = tmp_path_factory.mktemp("killed")
    (other / "work").mkdir()
    (other / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    work = other / "work" / "smoke"
    kill_when(other, target, lambda: any(work.glob("corpora/*/composed/sources/*.mp4")))
    kill_when(other, target, lambda: len(list(work.glob("media/*/files/*.mp4"))) > 4)
    kill_when(other, target, lambda: any((other / "work" / "checkpoints").rglob("*")))
    snakemake(other, *target)
    with FileLock(other / ".snakemake" / "encore.lock"):
        busy = subprocess.run(command(other, "-F", *target), capture_output=True, text=True, check=False)
    assert busy.returncode != 0
    assert "another run is working in this folder" in busy.stdout + busy.stderr
    assert cells(other) == cells(folder)


def kill_when(folder: Path, target: tuple[str, ...], reached: Callable[[], bool]) -> None:
    """Starts the workflow and kills all its processes at once as soon as `reached()`."""
    with (folder / "killed.log").open("w") as log:
        process = subprocess.Popen(command(folder, *target), stdout=log, stderr=log, start_new_session=True)
        limit = time.monotonic() + 300
        while not reached():
            assert process.poll() is None, (folder / "killed.log").read_text()
            assert time.monotonic() < limit, (folder / "killed.log").read_text()
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_tables_and_figures_of_a_paper_whose_corpus_is_not_fetched(folder: Path) -> None:
    results = folder / "results" / "smoke" / "nora_fusion"
    figures = [f"figure{number}" for number in range(1, 13)]
    names = ["table1.csv", "table2.csv", "intext.csv", "claims.csv", *(f"{figure}.png" for figure in figures)]
    snakemake(folder, *(f"results/smoke/nora_fusion/{name}" for name in names))
    with (results / "table1.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert len(scores) == 16
    assert {(cell["status"], cell["seeds"], cell["items"]) for cell in scores} == {("measured", "2", "40")}
    with (results / "table2.csv").open(newline="") as file:
        weights = list(csv.DictReader(file))
    assert len(weights) == 16
    assert all(agree(cell["measured"], cell["published"]) for cell in weights)
    for figure in figures:
        assert (results / f"{figure}.svg").stat().st_size > 1000
        assert len((results / f"{figure}.csv").read_text().splitlines()) > 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, to which things can be added."""
    return copied(tmp_path)


@pytest.mark.slow
def test_ones_own_recordings_as_documented(project: Path) -> None:
    with_study(project, "own-sounds.md", "my_sounds", {"epochs: 30": "epochs: 1"})
    rng = np.random.default_rng(0)
    for number in range(16):
        place = project / "data" / "my_sounds" / ("low" if number % 2 else "high tones") / "take one"
        place.mkdir(parents=True, exist_ok=True)
        tone = np.sin(np.arange(3 * 16_000) * (0.05 if number % 2 else 0.5)) + 0.1 * rng.standard_normal(3 * 16_000)
        soundfile.write(place / f"{number}.ogg", 0.3 * tone, 16_000)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", 'papers=["my_sounds"]', "--"]
    target = "results/full/my_sounds/table1.csv"
    done = subprocess.run([*command, target], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (project / target).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["column"]) for line in lines] == [
        ("DATAR", "Top-1"),
        ("DATAR", "Top-5"),
        ("AST", "Top-1"),
        ("AST", "Top-5"),
    ]
    assert {(line["status"], line["seeds"], line["items"]) for line in lines} == {("measured", "3", "4")}


@pytest.mark.slow
def test_a_paper_of_clips_cut_from_sounds(folder: Path) -> None:
    results = folder / "results" / "smoke" / "datar"
    tables = ["table1", "table2", "table3", "table4", "intext"]
    names = [*(f"{name}.csv" for name in [*tables, "claims"]), "figure1.png"]
    snakemake(folder, *(f"results/smoke/datar/{name}" for name in names))
    lines = []
    for name in tables:
        with (results / f"{name}.csv").open(newline="") as file:
            lines += list(csv.DictReader(file))
    quoted = [line for line in lines if line["status"] == "quoted"]
    assert quoted and all(line["published"] and not line["measured"] for line in quoted)
    again = [line for line in lines if "re-run" in line["row"]]
    assert {line["status"] for line in again} == {"measured"}
    assert len({line["row"] for line in again if line["table"] != "intext"}) >= 4
    assert len((results / "figure1.csv").read_text().splitlines()) > 1


@pytest.mark.slow
def test_a_paper_of_record_files_and_texts(folder: Path) -> None:
    results = folder / "results" / "smoke" / "yt8m_text"
    measured = ["table2", "table2_frame_models", "table4", "table5", "table5_blocks", "labels_by_frequency", "table6"]
    tables = ["table1", "table3", *measured, "intext"]
    figures = ["figure2", "figure3", "figure5"]
    names = [f"{name}.csv" for name in [*tables, "claims", "coverage"]] + [f"{figure}.png" for figure in figures]
    snakemake(folder, *(f"results/smoke/yt8m_text/{name}" for name in names))
    statuses = {}
    for name in tables:
        with (results / f"{name}.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert all(line["measured"] for line in lines if line["status"] in ("measured", "statistic"))
        statuses[name] = sorted({line["status"] for line in lines})
    assert statuses == {
        "table1": ["statistic"],
        **{name: ["measured"] for name in measured},
        "table3": ["measured", "quoted"],
        "intext": ["measured", "statistic"],
    }
    with (results / "claims.csv").open(newline="") as file:
        verdicts = {line["claim"]: line["verdict"] for line in csv.DictReader(file)}
    assert set(verdicts.values()) <= {"holds", "does not hold", "undecided"} and "4.3.2-text-wins-the-tail" in verdicts
    assert "after Holm's correction" in (results / "claims.md").read_text()
    with (results / "coverage.csv").open(newline="") as file:
        counted = {(line["corpus"], line["split"]): line for line in csv.DictReader(file)}
    assert counted["youtube8m_smoke, video record files", "train"]["ok"] == "2"
    videos = [line for (corpus, _), line in counted.items() if corpus == "youtube8m_smoke"]
    assert sum(int(line["ok"]) for line in videos) == 120
    texts = counted["youtube8m_smoke, texts", "train"]
    assert int(texts["unavailable"]) > 0 and "no_text" in texts["reasons"]


@pytest.mark.slow
def test_after_the_downloads_no_network_is_needed(folder: Path) -> None:
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the network cannot be taken away here: unshare is not allowed")
    choice = ("--config", "scale=smoke", 'papers=["boes_avsed"]')
    snakemake(folder, "downloads", *choice)
    target = "work/smoke/scores/boes_avsed/SAV/scores.parquet"
    done = subprocess.run([*alone, *command(folder, target, *choice)], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "train" in output
    assert "fetch" not in output


@pytest.mark.slow
def test_a_paper_of_captions_and_ratings(folder: Path) -> None:
    results = folder / "results" / "smoke" / "temp4cap"
    names = [f"{name}.csv" for name in ("table1", "table2", "table3", "intext", "temporal_captions", "claims")]
    figure, page = "figure3.png", "listening/table2.html"
    snakemake(folder, *(f"results/smoke/temp4cap/{name}" for name in [*names, figure, page]))

    def lines(name: str) -> list[dict[str, str]]:
        with (results / name).open(newline="") as file:
            return list(csv.DictReader(file))

    for table, rows in (("table1.csv", 8), ("table3.csv", 6)):
        cells = lines(table)
        spider = {cell["status"] for cell in cells if cell["column"] == "SPIDEr"}
        assert spider == {"unavailable"} and len(cells) == 10 * rows
        assert {cell["status"] for cell in cells if cell["column"] != "SPIDEr"} == {"measured"}
        assert {cell["items"] for cell in cells if cell["status"] == "measured"} == {"8"}
    assert {cell["status"] for cell in lines("table2.csv")} == {"not_collected"}
    assert {cell["status"] for cell in lines("intext.csv")} == {"statistic"}
    shares = {(cell["group"], cell["row"]): cell["measured"] for cell in lines("temporal_captions.csv")}
    assert float(shares["Clotho", "rules"]) > 50
    assert "Temp4Cap" not in (results / page).read_text()
    assert len(lines("figure3.csv")) > 4
