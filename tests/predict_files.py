"""Smoke runs of experiments in a folder of their own, made by the jobs that the rules describe."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow_scripts import stamps
from workflow_scripts.corpora import plan as corpora
from workflow_scripts.features import plan as features
from workflow_scripts.media import plan as media
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import plan as training

ROOT = Path(__file__).parent.parent


def settings_and_assets(folder: Path) -> Path:
    """The settings of the project, and a work folder with nothing but the assets."""
    (folder / "work").mkdir()
    (folder / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    shutil.copytree(ROOT / "papers", folder / "papers")
    for path in ROOT.glob("*.yaml"):
        shutil.copy(path, folder)
    return folder


def scale_of(project: Path) -> Scale:
    return Scale(project, Config.check({"work_dir": str(project / "work"), "device": "cpu"}, "test"), "smoke")


class Runs:
    """The runs of a project; each step that they need is done once."""

    def __init__(self, project: Path, asset: Callable[[str], Path]) -> None:
        self.scale, self.asset = scale_of(project), asset
        self.done: set[Path] = set()

    def make(self, job: Any, *outputs: Path) -> None:
        """Runs a job whose outputs are not there, all that its assets need before."""
        if outputs[0] in self.done:
            return
        for name in getattr(job, "assets", {}):
            self.asset(name)
        job.run(*outputs)
        stamps.stamp(outputs, stamps.key(job))
        self.done.add(outputs[0])

    def fetched(self, corpus: str, level: str) -> None:
        """Fetches the record files of a corpus."""
        for number in range(corpora.shards(self.scale, corpus)):
            ledger = corpora.records(self.scale, corpus, level) / f"{number}.parquet"
            self.make(media.fetch_records(self.scale, corpus, level, str(number)), ledger)

    def extracted(self, paper: str, name: str) -> None:
        """Makes a feature, and what it is made of."""
        scale, make = self.scale, self.make
        corpus, settings = features.feature_corpus(scale, paper, name), features.extractor(scale, paper, name)
        store = media.media(scale, corpus)
        if settings.source == "records":
            self.fetched(corpus, settings.level)
        for number, shard in enumerate(features.feature_shards(scale, paper, name)):
            if settings.source in ("audio", "frames"):
                make(media.fetch_clips(scale, corpus, str(number)), store / "clips" / shard.name)
            if settings.source == "audio":
                heard = store / f"audio-{settings.sample_rate}" / shard.name
                make(media.decode_audio(scale, corpus, str(settings.sample_rate), str(number)), heard)
            if settings.source == "text":
                make(media.fetch_text(scale, corpus, str(number)), store / "text" / shard.name)
            make(features.extract_features(scale, paper, name, str(number)), shard)

    def trained(self, paper: str, experiment: str) -> Path:
        """The folder of an experiment's run."""
        scale, make = self.scale, self.make
        corpus, declared = training.experiment_corpus(scale, paper, experiment), scale.paper(paper)
        chosen = declared.experiments[experiment]
        for used in chosen.uses.values():
            self.trained(paper, used)
        make(corpora.compose_corpus(scale, corpus), corpora.composed(scale, corpus) / "COMPOSED.md")
        if scale.corpus(corpus).records:
            self.fetched(corpus, "video")
        make(corpora.annotate_corpus(scale, corpus), corpora.manifest(scale, corpus))
        reductions = {name: declared.reductions[name] for name in chosen.reductions}
        for name in [*chosen.features, *(own.feature for own in reductions.values())]:
            self.extracted(paper, name)
        for name in reductions:
            place = features.reduced(scale, paper, name)
            make(features.reduce_features(scale, paper, name, place.suffix), place)
        (folder,) = training.folders(scale, paper, experiment)
        make(training.train(scale, paper, experiment, folder.name), folder / "predictions.parquet")
        return folder
