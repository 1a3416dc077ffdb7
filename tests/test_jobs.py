"""Jobs: what follows from a description, when a result is left as it is, and what a rule's script does with one."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
from pydantic import Field

from workflow_scripts import jobs
from workflow_scripts.errors import StoppedError, UserError
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.settings.base import MANNER
from workflow_scripts.stamps import current, key, stamp


class Repeat(Job):
    """Repeats the text of a file; some texts are orders instead."""

    step = "test_jobs:repeat"
    expensive = True

    source: Annotated[Path, INPUT]
    others: Annotated[list[Path], INPUT] = Field([])
    named: Annotated[dict[str, Path], INPUT] = Field({})
    absent: Annotated[Path | None, INPUT] = None
    store: Annotated[Path, MANNER] = Path("store")
    times: int = 2


class Aloud(Repeat):
    """The same, on the terminal too."""

    verbose = True


class Cheap(Repeat):
    """The same, made again when its code changes."""

    step = "workflow_scripts.progress:progress"
    expensive = False
    cheap = True


def repeat(job: Repeat, output: Path) -> None:
    print(f"{job.threads} threads")
    subprocess.run(["echo", "a child"], check=True)
    match job.source.read_text():
        case "refuse":
            raise UserError("this cannot be")
        case "stop":
            raise StoppedError("stopped: run again")
        case "break":
            raise RuntimeError("a bug")
        case text:
            output.write_text(text * job.times)


def repeating(folder: Path, text: str = "x", kind: type[Repeat] = Repeat, **settings: object) -> Repeat:
    (folder / "source").write_text(text)
    return kind(source=folder / "source", **settings)


# ---- descriptions


def test_inputs_are_the_marked_paths() -> None:
    job = Repeat(source="a", others=["b", "c"], named={"one": "d"}, store="e")
    assert job.inputs() == {"source": ["a"], "others": ["b", "c"], "named": ["d"], "absent": []}


def test_the_identity_is_what_defines() -> None:
    job = Repeat(source="a")
    assert job.identity() == {"times": 2}
    assert job.digest() == Repeat(source="b", others=["c"], store="elsewhere", threads=8).digest()
    assert job.digest() == Repeat(source="a", times=2).digest()
    assert job.digest() != Repeat(source="a", times=3).digest()


def test_another_default_is_another_job(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Repeat(source="a").digest()
    monkeypatch.setattr(Repeat.model_fields["times"], "default", 3)
    Repeat.model_rebuild(force=True)
    changed = Repeat(source="a")
    monkeypatch.undo()
    Repeat.model_rebuild(force=True)
    assert (changed.times, changed.digest() == before) == (3, False)
    assert Repeat(source="a").digest() == before


def test_the_code_is_part_of_a_cheap_job(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Cheap(source="a").digest()
    assert Cheap(source="b").digest() == before
    monkeypatch.setattr(jobs, "code_hash", lambda *modules: f"another of {modules}")
    assert Cheap(source="a").digest() != before


# ---- stamps


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An output of `repeating(tmp_path)`, with its stamp."""
    output, job = tmp_path / "out", repeating(tmp_path)
    output.write_text("xx")
    stamp([output], key(job))
    return output


def test_what_has_not_changed_is_current(made: Path) -> None:
    job = repeating(made.parent)
    assert current([made], key(job))
    assert current([made], key(job.model_copy(update={"store": Path("elsewhere"), "threads": 3})))
    os.utime(made.parent / "source", (1, 1))
    os.utime(made, (1, 1))
    assert current([made], key(job))
    assert json.loads((made.parent / ".out.stamp").read_text())["modified"] == 1_000_000_000, "hashed once only"


def test_what_has_changed_is_not(made: Path) -> None:
    job = repeating(made.parent)
    assert not current([made], key(job.model_copy(update={"times": 3})))
    assert not current([made, made.parent / "other"], key(job))
    assert not current([made], key(repeating(made.parent, "y")))
    job = repeating(made.parent)
    for content in ("x", "xy", "xx and more"):
        made.write_text(content)
        assert not current([made], key(job))
    made.write_text("xx")
    assert current([made], key(job))
    made.unlink()
    assert not current([made], key(job))


def test_an_input_is_known_by_its_stamp_as_long_as_it_is_right(made: Path) -> None:
    job = Repeat(source=made)
    before = key(job)
    assert key(job) == before
    made.write_text("yy")
    os.utime(made, (1, 1))
    assert key(job) != before


# ---- a rule's script


def execute(job: Job, folder: Path, threads: int = 1) -> tuple[int, str, str]:
    """Runs a job as Snakemake does; gives its exit code, what stood on the terminal, and its log."""
    params, output, log = SimpleNamespace(job=job), [str(folder / "out")], folder / "logs" / "job.log"
    named = {"scale": "mini", "shard": "0"}
    snakemake = SimpleNamespace(
        params=params, output=output, log=[str(log)], threads=threads, rule="repeat", wildcards=named
    )
    here = Path(__file__).parent
    script = "import pickle, runpy, sys; given = {'snakemake': pickle.load(sys.stdin.buffer)}; "
    script += f"runpy.run_path({str(here.parent / 'rules' / 'execute.py')!r}, given, '__main__')"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=pickle.dumps(snakemake), capture_output=True, check=False, cwd=here)
    return done.returncode, (done.stdout + done.stderr).decode(), log.read_text()


@pytest.mark.parametrize("kind", [Repeat, Aloud])
def test_messages_go_to_the_log_and_a_finished_job_is_left_alone(kind: type[Repeat], tmp_path: Path) -> None:
    code, terminal, log = execute(repeating(tmp_path, kind=kind), tmp_path, threads=3)
    assert (code, sorted(log.splitlines())) == (0, ["3 threads", "a child"])
    assert terminal == ("".join(f"repeat 0: {line}\n" for line in log.splitlines()) if kind.verbose else "")
    assert (tmp_path / "out").read_text() == "xx"
    code, terminal, log = execute(repeating(tmp_path, kind=kind), tmp_path)
    assert (code, log) == (0, "nothing that defines this result has changed: it is left as it is\n")
    code, terminal, log = execute(repeating(tmp_path, "y", kind), tmp_path)
    assert (code, "1 threads" in log, (tmp_path / "out").read_text()) == (0, True, "yy")


@pytest.mark.parametrize("kind", [Repeat, Aloud])
@pytest.mark.parametrize(
    ("order", "status", "sentence"),
    [("refuse", 1, "error: this cannot be"), ("stop", os.EX_TEMPFAIL, "stopped: run again")],
)
def test_an_end_is_one_sentence_in_the_log(
    kind: type[Repeat], order: str, status: int, sentence: str, tmp_path: Path
) -> None:
    code, terminal, log = execute(repeating(tmp_path, order, kind), tmp_path)
    assert code == status
    assert sentence in log.splitlines()
    assert "Traceback" not in terminal + log
    assert (sentence in terminal) == kind.verbose
    assert not (tmp_path / ".out.stamp").exists()


@pytest.mark.parametrize("kind", [Repeat, Aloud])
def test_a_bug_is_in_the_log(kind: type[Repeat], tmp_path: Path) -> None:
    code, terminal, log = execute(repeating(tmp_path, "break", kind), tmp_path)
    assert code == 1
    assert log.rstrip().endswith("RuntimeError: a bug")
    assert ("RuntimeError" in terminal) == kind.verbose
