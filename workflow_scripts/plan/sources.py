"""Assets, corpora and media of one scale."""

from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.plan.plugins import as_json
from workflow_scripts.settings import papers
from workflow_scripts.settings.assets import Asset, Catalogue
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.corpora import Corpora, Corpus
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.media import Audio
from workflow_scripts.settings.plugins import COMPOSERS, READERS, plugin
from workflow_scripts.settings.resources import Stages

VIDEO = "video"  # the level of records at which every clip has one


class Sources:
    """What one scale of the project in `root` is made from. Paths are relative to the folder Snakemake works in."""

    def __init__(self, root: Path, config: Config, scale: str) -> None:
        self.root, self.config, self.scale = root, config, scale
        self.assets: dict[str, Asset] = Catalogue.load(root / "assets.yaml").assets
        self.corpora: dict[str, Corpus] = Corpora.load(root / "corpora.yaml").corpora
        self.stages = Stages.load(root / "resources.yaml", scale)
        self.papers = papers.choose(root / "papers", config.papers)
        self.work = f"{config.work_dir}/{scale}"
        for name, corpus in self.corpora.items():
            self.check_corpus(name, corpus)

    def check_corpus(self, name: str, corpus: Corpus) -> None:
        where = f"corpora.yaml: {name}"
        reader = plugin(READERS, corpus.reader, f"{where}.reader")
        reader.check(corpus.reading, f"{where}.reading")
        Download.check(self.config.download.model_dump() | corpus.download, f"{where}.download")
        if corpus.composer is not None:
            plugin(COMPOSERS, corpus.composer, f"{where}.composer").check(corpus.composition, f"{where}.composition")
            return
        for role in reader.files.keys() - reader.optional - corpus.annotations.keys():
            raise UserError(f"{where}.annotations: the file '{role}' is missing")
        for role in corpus.annotations:
            if role not in reader.files:
                raise UserError(f"{where}.annotations: no file '{role}'{did_you_mean(role, reader.files)}")
            self.asset(corpus.annotations[role], f"{where}.annotations.{role}")
        for archive in corpus.archives:
            self.asset(archive, f"{where}.archives")

    # assets

    def asset(self, name: str, where: str) -> Asset:
        if name not in self.assets:
            raise UserError(f"{where}: no asset '{name}' in assets.yaml{did_you_mean(name, self.assets)}")
        return self.assets[name]

    def asset_path(self, name: str) -> str:
        return f"{self.config.work_dir}/assets/{name}/{self.asset(name, 'a rule').file_name}"

    def asset_options(self, names: list[str] | tuple[str, ...]) -> str:
        return " ".join(f"--asset '{name}={self.asset_path(name)}'" for name in names)

    def hub_model(self, name: str, revision: str) -> str:
        """The file that tells what was fetched of a model on the hub; it lies among the model's files."""
        return f"{self.config.work_dir}/models/{name.replace('/', '--')}/{revision}/fetched.json"

    # corpora

    def corpus(self, name: str) -> Corpus:
        if name not in self.corpora:
            raise UserError(f"no corpus '{name}' in corpora.yaml{did_you_mean(name, self.corpora)}")
        return self.corpora[name]

    def composer(self, name: str) -> Any:
        corpus = self.corpus(name)
        if corpus.composer is None:
            raise UserError(f"corpora.yaml: {name}: this corpus is not composed")
        return plugin(COMPOSERS, corpus.composer, name).check(corpus.composition, f"corpora.yaml: {name}")

    def composed(self, name: str) -> str:
        return f"{self.work}/corpora/{name}/composed"

    def annotations(self, name: str) -> dict[str, str]:
        """The annotation files of a corpus by the reader's names for them."""
        corpus = self.corpus(name)
        if corpus.composer is not None:
            files = plugin(READERS, corpus.reader, name).files
            return {role: f"{self.composed(name)}/{path}" for role, path in files.items()}
        return {role: self.asset_path(asset) for role, asset in corpus.annotations.items()}

    def annotation_inputs(self, name: str) -> list[str]:
        """What must be there before the annotation files can be read."""
        if self.corpus(name).composer is not None:
            return [f"{self.composed(name)}/COMPOSED.md"]
        return list(self.annotations(name).values())

    def annotation_options(self, name: str) -> str:
        """The files that become the manifest; of a corpus of records, the ledgers of its record files too."""
        files = self.annotations(name)
        if self.corpus(name).records is not None:
            files = files | {"records": self.records(name, VIDEO)}
        return " ".join(f"--annotation '{role}={path}'" for role, path in files.items())

    def reading(self, name: str) -> str:
        """What tells a command how a corpus's own files are read."""
        corpus = self.corpus(name)
        files = " ".join(f"--file '{role}={path}'" for role, path in self.annotations(name).items())
        return f"--reader {corpus.reader} --reading '{as_json(corpus.reading)}' {files}"

    def manifest(self, name: str) -> str:
        return f"{self.work}/corpora/{name}/manifest.parquet"

    # media

    def media(self, corpus: str) -> str:
        return f"{self.work}/media/{corpus}"

    def audio(self, corpus: str, sample_rate: int) -> Audio:
        return Audio(sample_rate=sample_rate, clip_seconds=self.corpus(corpus).clip_seconds)

    def shards(self, corpus: str) -> range:
        return range(self.corpus(corpus).shards)

    def download(self, corpus: str) -> Download:
        """How the clips of a corpus are downloaded."""
        return Download.check(self.config.download.model_dump() | self.corpus(corpus).download, f"{corpus}.download")

    def unpacked(self, corpus: str) -> str:
        """Where the packed archives of a corpus are unpacked."""
        return f"{self.config.work_dir}/archives/{corpus}"

    def source_inputs(self, corpus: str) -> list[str]:
        """What must be there, beside the manifest, before clips can be fetched."""
        return [f"{self.unpacked(corpus)}/unpacked.json"] if self.corpus(corpus).archives else []

    def serve_option(self, corpus: str) -> str:
        """Composed sources, or archived ones, are served on loopback while clips are cut from them."""
        definition = self.corpus(corpus)
        folder = f"{self.composed(corpus)}/sources" if definition.composer else definition.archive
        if definition.archives:
            folder = f"{self.unpacked(corpus)}/files"
        return f"--serve '{folder}'" if folder else ""

    def records(self, corpus: str, level: str) -> str:
        """The folder of a corpus's record files at one level, and of the ledgers of them."""
        return f"{self.media(corpus)}/records-{level}"

    def ledgers_of_records(self, corpus: str, level: str) -> list[str]:
        return [f"{self.records(corpus, level)}/{shard}.parquet" for shard in self.shards(corpus)]

    def texts(self, corpus: str) -> list[str]:
        return [f"{self.media(corpus)}/text/{shard}.parquet" for shard in self.shards(corpus)]

    def text_options(self, corpus: str) -> str:
        """The files of texts that come with a corpus."""
        files = self.annotations(corpus)
        return " ".join(f"--file '{role}={files[role]}'" for role in ("titles", "keywords") if role in files)

    def clips(self, corpus: str) -> list[str]:
        """The files that tell which clips could be had; where nothing is fetched, the manifest itself."""
        if self.corpus(corpus).link is None:
            return [self.manifest(corpus)]
        return [f"{self.media(corpus)}/clips/{shard}.parquet" for shard in self.shards(corpus)]
