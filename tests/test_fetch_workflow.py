"""Clips fetched through Snakemake from a site that refuses some: what fails, what goes on, and what is made anew."""

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from media_files import write_movie

from workflow_scripts.assets.fetch import digest
from workflow_scripts.media import server
from workflow_scripts.shards import Row, read, shard_of

ROOT = Path(__file__).parent.parent
SPLITS = ("train", "test")
TARGETS = [f"work/smoke/media/refused/{kind}/{shard}.parquet" for kind in ("clips", "audio-8000") for shard in (0, 1)]


class Site(server.Handler):
    """Counts what is asked for; what `refused` names gets that answer."""

    asked: Counter[str]
    refused: dict[str, int]

    def answer(self, body: bool) -> None:
        name = self.path.lstrip("/")
        self.asked[name] += 1
        if name in self.refused:
            self.send_error(self.refused[name])
        else:
            super().answer(body)


class Project:
    """A copy of the project with a corpus of twelve links to a site, in two shards."""

    def __init__(self, folder: Path, base: str, site: type[Site]) -> None:
        self.folder, self.asked, self.refused = folder, site.asked, site.refused
        for name in ("Snakefile", "rules", "workflow_scripts", "composed", "profiles", "envs", "papers"):
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
        for path in ROOT.glob("*.yaml"):
            shutil.copy(path, folder)
        self.names = {split: [f"{split}{number}.mp4" for number in range(6)] for split in SPLITS}
        assets = {}
        for split in SPLITS:
            with (folder / f"{split}.csv").open("w", newline="") as file:
                rows = [("tone", name, 0, 1, "train" if split == "train" else "val") for name in self.names[split]]
                csv.writer(file).writerows([("label", "youtube_id", "time_start", "time_end", "split"), *rows])
            about = {"sha256": None, "md5": digest(folder / f"{split}.csv", "md5"), "kind": "csv"}
            about |= {"licence": "x", "used_by": ["x"]}
            assets[f"refused_{split}"] = {"location": f"file:{folder}/{split}.csv", **about}
        corpus = {
            "title": "x",
            "licence": "x",
            "reader": "kinetics",
            "reading": {"classes": "all"},
            "annotations": {split: f"refused_{split}" for split in SPLITS},
            "link": base + "{video_id}",
            "clip_seconds": 1,
            "shards": 2,
        }
        for catalogue, entries in (("assets.yaml", assets), ("corpora.yaml", {"refused": corpus})):
            with (folder / catalogue).open("a") as file:
                yaml.safe_dump(entries, file)

    def of_shard(self, shard: int, split: str) -> list[str]:
        return [name for name in self.names[split] if shard_of(f"{name}_000000_000001", 2) == shard]

    def run(self, *options: str, **download: object) -> subprocess.CompletedProcess[str]:
        chosen = {"videos_per_hour": 1e9, "retries": 0, "concurrent": 1, **download}
        words = [sys.executable, "-m", "snakemake", "--cores", "1", *options, "--config", "scale=smoke"]
        words += [
            'papers=["boes_avsed"]',
            f"download={yaml.safe_dump(chosen, default_flow_style=True, width=999).strip()}",
        ]
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        self.asked.clear()
        return subprocess.run(
            [*words, "--", *TARGETS], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def ledger(self, name: str) -> dict[str, Row]:
        path = self.folder / "work/smoke/media/refused" / name
        return {row["clip_id"].removesuffix("_000000_000001"): row for row in read(path)} if path.exists() else {}

    def remade(self, shard: int) -> bool:
        """Whether the last run decoded a shard's sound, and did not leave it as it was."""
        log = self.folder / f"logs/smoke/media/refused/audio-8000-{shard}.log"
        return "left as it is" not in log.read_text()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    served, folder = tmp_path / "served", tmp_path / "project"
    served.mkdir()
    folder.mkdir()
    site = type("CountingSite", (Site,), {"asked": Counter(), "refused": {}})
    with server.serve(served, site) as base:
        made = Project(folder, base, site)
        for name in (name for names in made.names.values() for name in names):
            write_movie(served / name, 1.2)
        yield made


@pytest.mark.slow
def test_refusals_fail_the_run_and_the_same_command_goes_on(project: Project) -> None:
    refused, gone = project.of_shard(1, "test")[0], project.of_shard(1, "train")[0]
    project.refused |= {refused: 429, gone: 404}
    total = len(project.of_shard(1, "test"))
    sentence = f"error: 1 of {total} clips of test (rate_limited 1) could not be asked for or were refused for now"

    done = project.run()
    assert done.returncode != 0
    assert sentence in done.stderr + done.stdout
    assert "lost for good: not_found 1" in done.stderr + done.stdout
    assert set(project.asked) == {name for names in project.names.values() for name in names}
    assert project.ledger("clips/0.parquet") and project.ledger("audio-8000/0.parquet")
    assert not (project.ledger("clips/1.parquet") or project.ledger("audio-8000/1.parquet"))
    left = project.ledger("clips/unfinished-1.parquet")
    assert {name: row["reason"] for name, row in left.items() if row["reason"]} == {
        refused: "rate_limited",
        gone: "not_found",
    }

    done = project.run()
    assert done.returncode != 0
    assert sentence in done.stderr + done.stdout
    assert set(project.asked) == {refused}

    project.refused.clear()  # what is gone stays gone: it is not asked for
    done = project.run()
    assert done.returncode == 0, done.stderr
    assert set(project.asked) == {refused}
    rows = project.ledger("clips/0.parquet") | project.ledger("clips/1.parquet")
    assert sorted(rows) == sorted(name for names in project.names.values() for name in names)
    assert {name: row["reason"] for name, row in rows.items() if row["status"] != "ok"} == {gone: "not_found"}
    assert not project.ledger("clips/unfinished-1.parquet")

    assert "Nothing to be done" in project.run().stderr
    assert not project.asked


@pytest.mark.slow
def test_an_accepted_loss_can_be_made_good_later_and_only_its_shard_is_remade(project: Project) -> None:
    lost = [project.of_shard(shard, "test")[0] for shard in (0, 1)]
    project.refused |= dict.fromkeys(lost, 429)
    assert project.run(min_share=0.5).returncode == 0
    assert {project.ledger(f"audio-8000/{shard}.parquet")[lost[shard]]["reason"] for shard in (0, 1)} == {
        "rate_limited"
    }
    assert "Nothing to be done" in project.run(min_share=0.5).stderr, "it is accepted"

    project.refused |= {lost[0]: 503}
    del project.refused[lost[1]]
    again = project.run("-R", "fetch_clips", min_share=0.5)
    assert again.returncode == 0, again.stderr
    assert set(project.asked) == set(lost)
    assert project.ledger("audio-8000/1.parquet")[lost[1]]["status"] == "ok"
    assert (project.remade(0), project.remade(1)) == (False, True)


@pytest.mark.slow
def test_the_command_that_the_sentence_names_repairs_a_damaged_clip(project: Project) -> None:
    assert project.run().returncode == 0
    name = project.of_shard(0, "test")[0]
    media = project.folder / "work/smoke/media/refused"
    clip = media / project.ledger("clips/0.parquet")[name]["path"]
    content = clip.read_bytes()
    clip.write_bytes(bytes(len(content)))
    (media / "audio-8000/0.parquet").unlink()
    done = project.run()
    assert done.returncode != 0
    assert f"(damaged_file 1), of which their sources are not the cause; the first is '{name}_" in done.stderr
    assert "-R fetch_clips" in done.stderr
    done = project.run("-R", "fetch_clips")
    assert done.returncode == 0, done.stderr
    assert set(project.asked) == {name}
    assert clip.read_bytes() == content
    assert {row["status"] for row in project.ledger("audio-8000/0.parquet").values()} == {"ok"}
    assert not project.remade(1)
