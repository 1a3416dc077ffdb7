"""Listening tests of one scale: their pages, and the ratings that came back."""

import functools
import re
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.plan.experiments import Experiments
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.settings.papers import Paper


class Listening(Experiments):
    """What is rated by ear at one scale."""

    @functools.cache  # noqa: B019 - a plan lives as long as the workflow
    def paper(self, name: str) -> Paper:
        """A paper at this scale, its listening tests checked too."""
        paper = super().paper(name)
        for test, values in paper.listening.items():
            self.check_listening(paper, test, values, f"papers/{name} ({self.scale}): listening.{test}")
        return paper

    def check_listening(self, paper: Paper, name: str, values: dict[str, Any], where: str) -> None:
        if not re.fullmatch(r"table\w+", name):
            raise UserError(f"{where}: name it after the table that shows its scores, such as table2")
        test = ListeningTest.check(values, where)
        for alias in test.clips:
            if alias not in paper.corpora:
                raise UserError(f"{where}.clips: no corpus '{alias}'{did_you_mean(alias, paper.corpora)}")
        for label, chosen in test.systems.items():
            for alias, experiment in (chosen or {}).items():
                key = f"{where}.systems.{label}.{alias}"
                if experiment not in paper.experiments:
                    raise UserError(f"{key}: no experiment '{experiment}'{did_you_mean(experiment, paper.experiments)}")
                corpus = paper.experiments[experiment].corpus
                if corpus != alias:
                    raise UserError(f"{key}: '{experiment}' is trained on '{corpus}'; name an experiment of '{alias}'")

    def listening(self, paper: str, name: str) -> ListeningTest:
        tests = self.paper(paper).listening
        if name not in tests:
            raise UserError(f"papers/{paper}: no listening test '{name}'{did_you_mean(name, tests)}")
        return ListeningTest.check(tests[name], f"papers/{paper}: listening.{name}")

    def rated(self, paper: str, name: str) -> dict[str, str]:
        """The predictions of the seed that a listening test shows, by experiment."""
        test = self.listening(paper, name)
        jobs = {e: self.job_of_seed(paper, e, test.seed, f"listening.{name}") for e in test.experiments()}
        return {experiment: f"{job}/predictions.parquet" for experiment, job in jobs.items()}

    def listening_inputs(self, paper: str, name: str) -> list[str]:
        """The clips, their captions, and what the systems say of them."""
        corpora = [self.paper(paper).corpora[alias] for alias in self.listening(paper, name).clips]
        known = [path for corpus in corpora for path in (self.manifest(corpus), *self.clips(corpus))]
        return [*known, *self.rated(paper, name).values()]

    def listening_options(self, paper: str, name: str) -> str:
        """The options that tell the export where its input is."""
        corpora = {alias: self.paper(paper).corpora[alias] for alias in self.listening(paper, name).clips}
        options = [f"--manifest '{alias}={self.manifest(corpus)}'" for alias, corpus in corpora.items()]
        options += [f"--media '{alias}={self.media(corpus)}'" for alias, corpus in corpora.items()]
        options += [f"--predictions '{name}={path}'" for name, path in self.rated(paper, name).items()]
        return " ".join(options)

    def returned(self, paper: str, name: str) -> list[str]:
        """The files of ratings that have come back so far."""
        return sorted(map(str, self.ratings_folder(paper, name).glob("*.csv")))

    def ratings_folder(self, paper: str, name: str) -> Path:
        return Path("ratings", self.scale, paper, name)

    def rating_key(self, paper: str, name: str) -> str:
        """The key of the ratings: the one that lies beside them, or else that of the page as it is now."""
        own = self.ratings_folder(paper, name) / "key.json"
        return str(own) if own.exists() else f"results/{self.scale}/{paper}/listening/{name}-key.json"

    def ratings_values(self, paper: str, name: str) -> str:
        """The file of values with the scores of a listening test."""
        return f"{self.work}/tables/{paper}/{name}.json"
