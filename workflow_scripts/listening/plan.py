"""The jobs of listening tests: the page for raters, and the ratings that came back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from workflow_scripts.corpora.plan import manifest
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.media import plan as media
from workflow_scripts.settings.base import MANNER, in_order
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.training.plan import job_of_seed

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale


class ExportListeningTest(Job):
    """The page of a listening test, and its key, which tells whose the captions are.

    `clips` are the ledgers of each corpus's clips, whose files lie in `stores`; `predictions` are of experiments.
    """

    step = "workflow_scripts.listening.export:export_listening_test"
    cheap = True

    name: str
    test: ListeningTest
    manifests: Annotated[dict[str, Path], INPUT]
    clips: Annotated[dict[str, list[Path]], INPUT]
    stores: Annotated[dict[str, Path], MANNER]
    predictions: Annotated[dict[str, Path], INPUT]


def export_listening_test(scale: "Scale", paper: str, listening: str) -> ExportListeningTest:
    test = declared(scale, paper, listening)
    corpora = {alias: scale.paper(paper).corpora[alias] for alias in test.clips}
    jobs = {name: job_of_seed(scale, paper, name, test.seed, f"listening.{listening}") for name in test.experiments()}
    return ExportListeningTest(
        name=listening,
        test=test,
        manifests={alias: manifest(scale, corpus) for alias, corpus in corpora.items()},
        clips={alias: media.clips(scale, corpus) for alias, corpus in corpora.items()},
        stores={alias: media.media(scale, corpus) for alias, corpus in corpora.items()},
        predictions={name: job / "predictions.parquet" for name, job in jobs.items()},
    )


def declared(scale: "Scale", paper: str, name: str) -> ListeningTest:
    test = in_order(scale.declared(paper, "listening", name))
    return ListeningTest.check(test, f"{scale.place(paper)} ({scale.name}): listening.{name}")


class CollectRatings(Job):
    """Mean opinion scores from the files that raters returned, and the key of the page on which they rated."""

    step = "workflow_scripts.listening.ratings:collect_ratings"
    cheap = True

    test: ListeningTest
    ratings: Annotated[list[Path], INPUT]
    key: Annotated[Path, INPUT]


def collect_ratings(scale: "Scale", paper: str, listening: str) -> CollectRatings:
    """The files that have come back so far; the key that lies beside them, or else that of the page as it is now."""
    returned = Path("ratings", scale.name, paper, listening)
    own, current = returned / "key.json", scale.result(paper, "listening", f"{listening}-key.json")
    return CollectRatings(
        test=declared(scale, paper, listening),
        ratings=sorted(returned.glob("*.csv")),
        key=own if own.exists() else current,
    )
