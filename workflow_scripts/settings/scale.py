"""One scale of a project: what the user chose, the catalogues, the papers, and where files lie.

One's own entries stand beside the catalogues in `corpora.local.yaml`, `assets.local.yaml` and `resources.local.yaml` of
the folder where one runs, which git does not track.
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings import papers
from workflow_scripts.settings.assets import Asset, Catalogue
from workflow_scripts.settings.base import apart
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.corpora import Corpora, Corpus
from workflow_scripts.settings.papers import Paper
from workflow_scripts.settings.resources import Stages

OWN_ASSETS, OWN_CORPORA = Path("assets.local.yaml"), Path("corpora.local.yaml")
OWN_RESOURCES = Path("resources.local.yaml")


class Scale:
    """The project in the folder `root` at one scale; all paths are relative to the folder that Snakemake works in."""

    def __init__(self, root: Path, config: Config, name: str) -> None:
        self.root, self.config, self.name = root, config, name
        self.own_assets = Catalogue.load(OWN_ASSETS).assets if OWN_ASSETS.exists() else {}
        self.own_corpora = Corpora.load(OWN_CORPORA).corpora if OWN_CORPORA.exists() else {}
        self.assets: dict[str, Asset] = apart(Catalogue.load(root / "assets.yaml").assets, self.own_assets, OWN_ASSETS)
        self.corpora: dict[str, Corpus] = apart(
            Corpora.load(root / "corpora.yaml").corpora, self.own_corpora, OWN_CORPORA
        )
        self.stages = Stages.load(root / "resources.yaml", name, OWN_RESOURCES)
        self.folders = papers.folders(root / "papers", config.papers_path)
        self.papers = papers.choose(self.folders, config.papers)
        self.work = config.work_dir / name

    @functools.cache  # noqa: B019 - a scale lives as long as the workflow
    def paper(self, name: str) -> Paper:
        """A paper at this scale."""
        return Paper.load(self.folder(name), self.name)

    def folder(self, paper: str) -> Path:
        """Where a paper is declared."""
        if paper not in self.folders:
            raise UserError(f"there is no paper '{paper}'{did_you_mean(paper, self.folders)}")
        return self.folders[paper]

    def place(self, paper: str) -> str:
        """Where a paper is declared, for messages: `papers/<paper>`, or the folder of one's own."""
        folder = self.folder(paper)
        return f"papers/{paper}" if folder.parent == self.root / "papers" else str(folder)

    def declared(self, paper: str, kind: str, name: str) -> Any:
        """What a paper declares under a name among its `features`, `reductions`, `figures`, …"""
        known = getattr(self.paper(paper), kind)
        if name not in known:
            raise UserError(f"{self.place(paper)}: {kind}: there is no '{name}'{did_you_mean(name, known)}")
        return known[name]

    def corpus(self, name: str) -> Corpus:
        if name not in self.corpora:
            raise UserError(f"no corpus '{name}' in corpora.yaml{did_you_mean(name, self.corpora)}")
        return self.corpora[name]

    def corpus_place(self, name: str) -> str:
        """Where a corpus is declared, for messages: the file and its name."""
        return f"{OWN_CORPORA.name if name in self.own_corpora else 'corpora.yaml'}: {name}"

    def asset(self, name: str, where: str) -> Asset:
        """An asset that `where` in the settings names."""
        if name not in self.assets:
            raise UserError(f"{where}: no asset '{name}' in assets.yaml{did_you_mean(name, self.assets)}")
        return self.assets[name]

    def asset_files(self, names: Iterable[str]) -> dict[str, Path]:
        """The files of assets, by id."""
        folder = self.config.work_dir / "assets"
        return {name: folder / name / self.asset(name, "a job").file_name for name in names}

    def result(self, *parts: str) -> Path:
        """A file that people look at."""
        return Path("results", self.name, *parts)
