"""One scale of a project: what the user chose, the catalogues, the papers, and where files lie."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings import papers
from workflow_scripts.settings.assets import Asset, Catalogue
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.corpora import Corpora, Corpus
from workflow_scripts.settings.papers import Paper
from workflow_scripts.settings.resources import Stages


class Scale:
    """The project in the folder `root` at one scale; all paths are relative to the folder that Snakemake works in."""

    def __init__(self, root: Path, config: Config, name: str) -> None:
        self.root, self.config, self.name = root, config, name
        self.assets: dict[str, Asset] = Catalogue.load(root / "assets.yaml").assets
        self.corpora: dict[str, Corpus] = Corpora.load(root / "corpora.yaml").corpora
        self.stages = Stages.load(root / "resources.yaml", name)
        self.papers = papers.choose(root / "papers", config.papers)
        self.work = config.work_dir / name

    @functools.cache  # noqa: B019 - a scale lives as long as the workflow
    def paper(self, name: str) -> Paper:
        """A paper at this scale."""
        if not (self.root / "papers" / name / "paper.yaml").exists():
            raise UserError(f"there is no paper '{name}'{did_you_mean(name, papers.names(self.root / 'papers'))}")
        return Paper.load(self.root / "papers" / name, self.name)

    def declared(self, paper: str, kind: str, name: str) -> Any:
        """What a paper declares under a name among its `features`, `reductions`, `figures`, …"""
        known = getattr(self.paper(paper), kind)
        if name not in known:
            raise UserError(f"papers/{paper}: {kind}: there is no '{name}'{did_you_mean(name, known)}")
        return known[name]

    def corpus(self, name: str) -> Corpus:
        if name not in self.corpora:
            raise UserError(f"no corpus '{name}' in corpora.yaml{did_you_mean(name, self.corpora)}")
        return self.corpora[name]

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
