"""A part of each corpus: which clips and record files a limit or a fraction takes, and what is planned for them."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from record_files import FAST, Publisher

from workflow_scripts.corpora.annotate import manifest
from workflow_scripts.corpora.plan import annotate_corpus, sample
from workflow_scripts.media.plan import FetchRecords, fetch_clips, fetch_records
from workflow_scripts.settings import papers
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.sample import Sample
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import Row, read

ROOT = Path(__file__).parent.parent
CLIPS = [
    {"clip_id": f"{split}-{label}-{n}", "video_id": "v", "start": 0.0, "split": split, "labels": labels(label)}
    for labels in (lambda label: [label, "other"] if label else None,)
    for split in ("train", "test")
    for label, count in (("dog", 40), ("cat", 10), ("bat", 1), ("", 30))
    for n in range(count)
]


def plan(folder: Path, *arguments: str) -> dict[str, int]:
    """How many jobs of each rule Snakemake plans."""
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "-n"]
    done = subprocess.run([*call, *arguments], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return {rule: int(count) for rule, count in re.findall(r"^ ([a-z ]+?) +(\d+) *$", output, re.MULTILINE)}


def taken(**sample: Any) -> set[str]:
    """The clips that a sample takes; the others must be marked."""
    rows = list(manifest(lambda: CLIPS, "{video_id}", Sample(**sample)))
    assert len(rows) == len(CLIPS)
    left_out = {row["reason"] for row in rows if row["status"] == "skipped"}
    assert left_out <= {"not_sampled" if "fraction" in sample else "beyond_limit"}
    return {row["clip_id"] for row in rows if row["status"] == "ok"}


def test_a_fraction_is_taken_of_every_class_of_every_split() -> None:
    counts = Counter(clip.rsplit("-", 1)[0] for clip in taken(fraction=0.1))
    expected = {"dog": 4, "cat": 1, "bat": 1, "": 3}
    assert counts == {f"{split}-{label}": n for split in ("train", "test") for label, n in expected.items()}
    assert taken(fraction=0.1) < taken(fraction=0.3) < taken(fraction=1.0) == {clip["clip_id"] for clip in CLIPS}


def test_a_seed_draws_the_same_clips_and_another_one_others() -> None:
    for part in ({"fraction": 0.2}, {"limit": 7}):
        assert taken(**part) == taken(**part, seed=0) != taken(**part, seed=1)
        assert len(taken(**part)) == len(taken(**part, seed=1))


def test_a_limit_holds_of_every_split_and_within_a_fraction() -> None:
    for part in ({"limit": 7}, {"limit": 7, "fraction": 0.5}):
        assert Counter(clip.partition("-")[0] for clip in taken(**part)) == {"train": 7, "test": 7}
    assert taken(limit=7, fraction=0.5) <= taken(fraction=0.5)


# record files


class Names(Publisher):
    """Twenty files of train and ten of validate, one record in each."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for part, count in (("train", 18), ("validate", 9)):
            old = self.served / f"2/video/{part}"
            content = next(old.glob("*")).read_bytes()
            for n in range(count):
                (old / f"{part}{n:02}x.tfrecord").write_bytes(content)
            self.plan(part)

    def fetched(self, **job: Any) -> list[str]:
        """The names of the files of all shards, all of which must have been asked for."""
        from workflow_scripts.media import server
        from workflow_scripts.media.records import fetch

        rows: list[Row] = []
        for shard in range(2):
            chosen = FetchRecords(level="video", records=FAST, shard=shard, shards=2, store=self.store, **job)
            with server.serve(self.served) as base:
                fetch(chosen, self.store / f"{shard}.parquet", base)
            rows += read(self.store / f"{shard}.parquet")
        assert {row["status"] for row in rows} == {"ok"}
        return sorted(row["name"] for row in rows)


def test_only_the_record_files_of_the_sample_are_fetched(tmp_path: Path) -> None:
    site = Names(tmp_path)
    some = site.fetched(sample={"fraction": 0.25})
    assert [sum(name.startswith(part) for name in some) for part in ("train", "validate")] == [5, 3]
    assert {path.name for path in site.store.rglob("*.tfrecord")} == set(some)
    few = site.fetched(sample={"limit": 1}, most={"train": 2, "validate": 1})
    assert len(few) == 3 and set(few) < set(some)  # the first of the same order
    assert site.fetched(sample={"fraction": 0.25, "seed": 1}) != some
    assert len(site.fetched()) == 30


@pytest.mark.parametrize(
    ("arguments", "files"), [("limit=100", 3), ("limit=1000", 18), ("fraction=0.001", 1), ("fraction=0.1", 26)]
)
def test_a_part_of_youtube8m_plans_no_more_record_files_than_it_needs(
    arguments: str, files: int, tmp_path: Path
) -> None:
    jobs = plan(tmp_path, "results/full/yt8m_text/table5.csv", "--config", arguments)
    assert jobs["fetch records"] == 2 * files  # at two levels; all are 256 each
    assert jobs["fetch text"] == files
    assert jobs["extract features"] == 3 * files


def test_the_files_within_a_limit_hold_enough_clips() -> None:
    job = fetch_records(Scale(ROOT, Config(limit=100), "full"), "youtube8m_2018", "video", "0")
    sizes = job.records.sizes
    assert job.most == {"train": 1, "validate": 2}
    assert job.most["validate"] * sizes["validate"].examples / sizes["validate"].files * 0.3333 > 100 + 4 * 10
    assert fetch_records(Scale(ROOT, Config(), "full"), "youtube8m_2018", "video", "0").most == {}


def test_clips_are_planned_in_as_many_jobs_as_a_fraction_needs(tmp_path: Path) -> None:
    target = ("results/full/datar/table2.csv", "--config")
    everything, tenth = plan(tmp_path, *target, "seeds=1"), plan(tmp_path, *target, "seeds=1", "fraction=0.1")
    for rule, more, fewer in (("fetch clips", 64, 7), ("extract features", 3 * 64, 3 * 7)):
        assert (everything[rule], tenth[rule]) == (more, fewer)


@pytest.mark.parametrize("changes", [{"limit": 5}, {"fraction": 0.5}, {"fraction": 0.5, "sample_seed": 1}])
def test_the_sample_is_part_of_what_defines_results(changes: dict[str, Any]) -> None:
    def digests(config: Config) -> list[str]:
        scale = Scale(ROOT, config, "full")
        jobs = [annotate_corpus(scale, "vggsound"), fetch_records(scale, "youtube8m_2018", "frame", "0")]
        return [job.digest() for job in jobs]

    before, after = digests(Config()), digests(Config(**changes))
    assert not set(before) & set(after)
    if "sample_seed" in changes:
        assert not set(digests(Config(fraction=0.5))) & set(after)
    assert fetch_clips(Scale(ROOT, Config(fraction=0.1), "full"), "vggsound", "0").shards == 7


# the command line


def test_null_on_the_command_line_is_null(tmp_path: Path) -> None:
    nulls = ("limit=null", "seeds=null", "papers=null", "tracking_uri=null", "scale=smoke")
    jobs = plan(tmp_path, "results/table3.csv", "--config", *nulls)
    assert "sync tracking" not in jobs
    assert jobs == {rule: n for rule, n in plan(tmp_path, "results/table3.csv", "--config", "scale=smoke",
                                                "tracking_uri=").items() if rule != "sync tracking"}  # fmt: skip


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("fraction=0", "--config: 'fraction': input should be greater than 0"),
        ("fraction=1.5", "--config: 'fraction': input should be less than or equal to 1"),
        ("fraction=null", "--config: 'fraction': input should be a valid number"),
        ("sample_seed=-1", "--config: 'sample_seed': input should be greater than or equal to 0"),
        ("limit=none", "--config: 'limit': input should be a valid integer"),
    ],
)
def test_a_senseless_part_is_refused_in_one_sentence(argument: str, sentence: str, tmp_path: Path) -> None:
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    done = subprocess.run([*call, "-n", "--config", argument], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert sentence in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stdout + done.stderr


# the pilot scale


@pytest.mark.parametrize("paper", papers.names(ROOT / "papers"))
def test_every_paper_has_a_pilot_between_mini_and_full(paper: str, tmp_path: Path) -> None:
    """The paper's own corpora, a part of each, and one seed; the same rules, with as many jobs or fewer."""
    jobs, full = (plan(tmp_path, "--config", f"scale={name}", f'papers=["{paper}"]') for name in ("pilot", "full"))
    assert "compose corpus" not in jobs
    assert jobs.keys() == full.keys() and all(jobs[rule] <= full[rule] for rule in jobs)
    pilot, whole = Scale(ROOT, Config(), "pilot"), Scale(ROOT, Config(), "full")
    for alias, corpus in pilot.paper(paper).corpora.items():
        part = pilot.corpus(corpus).model_dump()
        assert part.pop("fraction") < 1
        assert part == whole.corpus(whole.paper(paper).corpora[alias]).model_dump(exclude={"fraction"})
    assert {experiment.seeds for experiment in pilot.paper(paper).experiments.values()} == {1}
    assert pilot.paper(paper).tables.keys() == whole.paper(paper).tables.keys()


def test_a_fraction_of_the_pilot_is_a_fraction_of_its_part() -> None:
    assert sample(Scale(ROOT, Config(fraction=0.5), "pilot"), "vggsound_pilot").fraction == 0.01
