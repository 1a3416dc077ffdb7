"""What makes a job run again through Snakemake: what defines its result, and nothing else."""

import json
import os
import shutil
from pathlib import Path

import pytest
from projects import smoke, tried

ROOT = Path(__file__).parent.parent
TARGET = "work/smoke/scores/boes_avsed/S/scores.parquet"
NOTHING = "Nothing to be done"


def snakemake(project: Path, *options: str, config: tuple[str, ...] = ()) -> str:
    """The output of a call for the target that must succeed."""
    return smoke(project, [TARGET], options, config)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: '{old}'"
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which one experiment was trained and scored."""
    project = tmp_path_factory.mktemp("finished") / "project"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", ".snakemake", "work", "logs", "results", "__pycache__", ".*cache"
    )
    shutil.copytree(ROOT, project, ignore=ignored)
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (project / "work").mkdir()
    (project / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    snakemake(project)
    return project


def made(project: Path) -> dict[Path, int]:
    """The inode of everything that was decoded, extracted and trained."""
    work = project / "work" / "smoke"
    files = [path for stage in ("media/*/audio-*/*", "features/**/*", "training/**/*") for path in work.glob(stage)]
    return {path: path.stat().st_ino for path in files if path.is_file() and not path.name.startswith(".")}


@pytest.mark.slow
def test_a_default_that_defines_makes_old_numbers_old(finished: Path) -> None:
    assert NOTHING in snakemake(finished, "-n")
    settings = finished / "workflow_scripts" / "training" / "systems" / "mean_teacher_sed" / "settings.py"
    change(settings, "(0.9, 0.999)", "(0.9, 0.98)")
    planned = snakemake(finished, "-n")
    change(settings, "(0.9, 0.98)", "(0.9, 0.999)")
    assert "train" in planned and "score" in planned and "extract_features" not in planned


@pytest.mark.slow
def test_manners_make_nothing_old(finished: Path) -> None:
    (finished / "cookies.txt").write_text("# Netscape HTTP Cookie File\n.a.org\tTRUE\t/\tFALSE\t0\tname\tvalue\n")
    download = "download={concurrent: 1, videos_per_hour: 100, timeout: 50, retries: 1, cookies: cookies.txt}"
    change(
        finished / "workflow_scripts" / "training" / "system.py", "1000, description=", "77, description="
    )  # checkpoint_every
    assert NOTHING in snakemake(finished, "-n", config=("device=cpu", download))


@pytest.mark.slow
def test_asking_again_in_vain_decodes_extracts_and_trains_nothing(finished: Path) -> None:
    before = made(finished)
    assert "asked now 0, ok" in snakemake(finished, "-R", "fetch_clips")
    assert before and made(finished) == before
    assert NOTHING in snakemake(finished, "-n")


@pytest.mark.slow
def test_what_a_failed_job_leaves_of_before_is_made_anew(finished: Path) -> None:
    """Snakemake puts the old result back and records the job as done: it must not pass for that of the new settings."""
    work = finished / "work" / "smoke"
    (sound,) = work.glob("media/*/audio-22100/0.parquet")
    feature = work / "features" / "boes_avsed" / "spectral" / "0.parquet"
    settings, before, good = finished / "papers" / "boes_avsed" / "mini.yaml", sound.stat(), sound.read_bytes()
    change(settings, "hop: 2208", "hop: 2209")
    sound.write_bytes(b"damaged")
    os.utime(sound, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, output = tried(finished, [str(feature.relative_to(finished))])
    assert code != 0 and feature.exists(), output
    sound.write_bytes(good)
    os.utime(sound, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert NOTHING not in smoke(finished, [str(feature.relative_to(finished))], ("-n",))
    smoke(finished, [str(feature.relative_to(finished))])
    stamp = json.loads((feature.parent / f".{feature.name}.stamp").read_text())
    change(settings, "hop: 2209", "hop: 2208")
    smoke(finished, [TARGET])
    assert stamp != json.loads((feature.parent / f".{feature.name}.stamp").read_text())
    assert NOTHING in snakemake(finished, "-n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "damaged", ["features/boes_avsed/spectral/0.parquet", "training/boes_avsed/S/*/predictions.parquet"]
)
def test_what_is_damaged_says_so_and_is_made_anew_as_it_says(damaged: str, finished: Path) -> None:
    """A few bytes of it, at the same size and date: only who reads it can see that."""
    path, scores = next((finished / "work" / "smoke").glob(damaged)), (finished / TARGET).read_bytes()
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.rmtree((finished / TARGET).parent)
    if damaged.startswith("features"):
        shutil.rmtree(finished / "work" / "smoke" / "training")
    code, said = tried(finished, [TARGET])
    assert code != 0
    assert (
        f"{path.relative_to(finished)}: not a readable Parquet file" in said
        and "delete it and run the same command again" in said
    )
    path.unlink()
    snakemake(finished)
    assert (finished / TARGET).read_bytes() == scores


@pytest.mark.slow
def test_a_moved_project_is_not_made_anew(finished: Path) -> None:
    moved = finished.with_name("it's moved, far away")
    finished.rename(moved)
    try:
        assert NOTHING in snakemake(moved, "-n")
    finally:
        moved.rename(finished)
