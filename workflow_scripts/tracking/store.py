"""Writing items into an MLflow store, so that doing it again changes nothing.

A run is known by two tags: `item`, what it is of (`SAV seed 3`), and `content_key`, a hash of all that it holds. The
current run of an item is tagged `superseded: false`; runs of earlier content stay, tagged `superseded: true`. A run
is created with its tags in one step, filled, and then marked as finished; one that is found unfinished is filled
again (the same values, at the same times) if its key is still right, and deleted otherwise. A run that was followed
while its training ran has no key yet: the sync gives it one and fills it, if all that it holds stands in the files.
"""

import contextlib
import json
import os
import re
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from workflow_scripts.progress import progress
from workflow_scripts.shards import sync as sync_file
from workflow_scripts.tracking.items import Dataset, Item, Point

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# A dead server costs seconds, and nothing is sent to anyone but the tracking server; whoever sets these is heeded.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
KIND = {"mlflow.experimentKind": "custom_model_development"}  # training runs, no prompts
SAMPLES = "samples.json"  # what a row answered to some clips
ARTIFACTS = "mlartifacts"  # the folder beside an SQLite store
METRICS_A_REQUEST, PARAMS_A_REQUEST, RUNS_A_PAGE = 1000, 100, 1000

T = TypeVar("T")


class UnsyncedError(Exception):
    """The store cannot be reached or does not take what it is given."""


def sync(
    tracking_uri: str, experiment: str, items: Sequence[Item], tags: dict[str, str], about: str = ""
) -> tuple[str, dict[str, str], Counter[str]]:
    """Brings the MLflow experiment up to date with the items, of which those above others come first.

    Returns the id of the experiment, that of each item's run by the item's name, and how many runs were `new`,
    `unchanged`, `superseded`. `tags` are set on new runs and do not make a run new; `about` is the description of the
    experiment, in Markdown. Raises `UnsyncedError`.
    """
    with opened(tracking_uri) as client:
        experiment_id = find_experiment(client, experiment, artifact_root(tracking_uri), about)
        runs: dict[str, list[Run]] = defaultdict(list)
        for run in search(client, experiment_id):
            runs[run.data.tags.get("item", "")].append(run)
        current: dict[str, str] = {}
        counts = Counter(new=0, unchanged=0, superseded=0)
        for position, item in enumerate(progress(items, "MLflow", unit="run")):
            key = item.content_key(experiment)
            same = [run for run in runs[item.name] if run.data.tags.get("content_key") == key]
            finished = [run for run in same if run.info.status == "FINISHED"]
            if finished:
                now = finished[0]
                counts["unchanged"] += 1
            else:
                whole = {**tags, "content_key": key}
                now = (
                    same[0]
                    if same
                    else taken_over(client, runs[item.name], item, whole)
                    or create(client, experiment_id, item, whole, position)
                )
                fill(client, now, item)
                counts["new"] += 1
            mark(client, now, item, superseded=False)
            nest(client, now, current.get(item.above))
            changed = [point for point in item.later if now.data.metrics.get(point[0]) != point[1]]
            log_samples(client, now, item)
            log_metrics(client, now, changed, time.time_ns() // 1_000_000)  # MLflow shows the latest
            counts["superseded"] += retire(client, runs[item.name], now, item)
            current[item.name] = now.info.run_id
    return experiment_id, current, counts


def grow(tracking_uri: str, experiment: str, items: Sequence[Item], tags: dict[str, str], begin: bool) -> None:
    """Logs what has come to items that are still trained; with `begin` their runs are made if need be.

    A run that holds what its item does not, of a training that began anew, gives way to a new one. Raises
    `UnsyncedError`.
    """
    from mlflow.entities import Param

    with opened(tracking_uri) as client:
        experiment_id = find_experiment(client, experiment, artifact_root(tracking_uri), "")
        running = list(search(client, experiment_id, "attributes.status = 'RUNNING'"))
        for item in items:
            own = [run for run in running if run.data.tags.get("item") == item.name]
            run, logged = followed(client, own, item)
            for other in own if begin else ():
                if other is not run and "content_key" not in other.data.tags:
                    client.delete_run(other.info.run_id)
            if run is None and begin:
                run = create(client, experiment_id, item, tags, 0)
                params = [Param(name, value) for name, value in item.params.items()]
                client.log_batch(run.info.run_id, params=params)
            if run is not None:
                new = [point for point in item.metrics if point not in logged]
                log_metrics(client, run, new, run.info.start_time)


@contextlib.contextmanager
def opened(tracking_uri: str) -> "Iterator[MlflowClient]":
    """Inside, what goes wrong with the store is an `UnsyncedError`; yields its client."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if (database := database_file(tracking_uri)) and database.exists():
            relocate(database)
        yield MlflowClient(tracking_uri)
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise UnsyncedError(redacted(str(error), tracking_uri)) from None


def followed(client: "MlflowClient", runs: "Sequence[Run]", item: Item) -> "tuple[Run | None, set[Point]]":
    """The run in which an item was followed while it was trained, and what was logged, all of which the item holds."""
    for run in runs:
        if run.info.status == "RUNNING" and "content_key" not in run.data.tags:
            histories = (client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
            logged = {(point.key, point.value, point.step) for points in histories for point in points}
            if logged <= set(item.course()):
                return run, logged
    return None, set()


def taken_over(client: "MlflowClient", runs: "Sequence[Run]", item: Item, tags: dict[str, str]) -> "Run | None":
    """The run in which an item was followed, if it was, with all the tags that a new one would have."""
    from mlflow.entities import RunTag

    run, _ = followed(client, runs, item)
    if run is not None:
        whole = [RunTag(name, text) for name, text in all_tags(item, tags).items()]
        client.log_batch(run.info.run_id, tags=whole)
    return run


def create(client: "MlflowClient", experiment_id: str, item: Item, tags: dict[str, str], position: int) -> "Run":
    """A new, unfinished run with all of its tags, which began when its job did.

    The milliseconds of `position` make MLflow's list, newest first, keep the order of the items.
    """
    start = item.written_at() - round(1000 * item.seconds) - position
    return client.create_run(experiment_id, start, all_tags(item, tags), item.run_name or item.name)


def all_tags(item: Item, tags: dict[str, str]) -> dict[str, str]:
    """The tags of an item's run, beside those that all runs of a sync have."""
    own = {**item.tags, "item": item.name, "superseded": "false"}
    told = {"mlflow.note.content": item.note, "mlflow.source.name": item.source}
    return {**tags, **own, **{name: text for name, text in told.items() if text}}


def fill(client: "MlflowClient", run: "Run", item: Item) -> None:
    """Logs all of an item and finishes the run; every value bears the run's start, so logging it twice is harmless."""
    from mlflow.entities import Param

    run_id = run.info.run_id
    log_metrics(client, run, item.metrics, run.info.start_time)
    log_dataset(client, run_id, item.dataset)
    for params in batches(list(item.params.items()), PARAMS_A_REQUEST):
        client.log_batch(run_id, params=[Param(name, value) for name, value in params])
    for path in item.artifacts:
        client.log_artifact(run_id, str(path))
    on_the_disk(run.info.artifact_uri)
    client.set_terminated(run_id, end_time=max(item.written_at(), run.info.start_time))


def log_metrics(client: "MlflowClient", run: "Run", points: Sequence[Point], at: int) -> None:
    """Logs values with one time, in milliseconds since 1970."""
    from mlflow.entities import Metric

    for some in batches(points, METRICS_A_REQUEST):
        client.log_batch(run.info.run_id, metrics=[Metric(name, value, at, step) for name, value, step in some])


def log_samples(client: "MlflowClient", run: "Run", item: Item) -> None:
    """Logs what an item answers to some clips, if it is not there yet.

    The result is that of MLflow's `log_table`, which would append to a table that a killed sync has left.
    """
    if item.samples is not None and "mlflow.loggedArtifacts" not in run.data.tags:
        client.log_dict(run.info.run_id, item.samples(), SAMPLES)
        on_the_disk(run.info.artifact_uri)
        client.set_tag(run.info.run_id, "mlflow.loggedArtifacts", json.dumps([{"path": SAMPLES, "type": "table"}]))


def log_dataset(client: "MlflowClient", run_id: str, dataset: Dataset | None) -> None:
    """Says what a run learned from; of the same digest it is the same data set."""
    from mlflow.entities import Dataset as Described
    from mlflow.entities import DatasetInput

    if dataset is not None:
        splits = json.dumps({"clips": dataset.splits})
        described = Described(dataset.name, dataset.digest, "local", json.dumps({"corpus": dataset.name}), None, splits)
        client.log_inputs(run_id, [DatasetInput(described)])


def nest(client: "MlflowClient", run: "Run", above: str | None) -> None:
    """Puts a run under another one in MLflow's lists, if it is not there yet."""
    if above is not None and run.data.tags.get("mlflow.parentRunId") != above:
        client.set_tag(run.info.run_id, "mlflow.parentRunId", above)


def on_the_disk(artifacts: str) -> None:
    """Waits until the artifacts of a local store would outlive a power cut, as a finished run does."""
    folder = Path(unquote(urlsplit(artifacts).path))
    if artifacts.startswith("file:") and folder.exists():
        for path in [*folder.rglob("*"), folder, folder.parent]:
            sync_file(path)


def retire(client: "MlflowClient", runs: Sequence["Run"], current: "Run", item: Item) -> int:
    """Marks the other runs of an item as superseded and deletes unfinished ones; how many it marked."""
    marked = 0
    for run in runs:
        if run.info.run_id == current.info.run_id:
            continue
        if run.info.status == "FINISHED":
            marked += mark(client, run, item, superseded=True)
        else:
            client.delete_run(run.info.run_id)
    return marked


def mark(client: "MlflowClient", run: "Run", item: Item, superseded: bool) -> bool:
    """Says in the run's tag and name whether newer content has taken its place; whether that was news."""
    value = str(superseded).lower()
    if run.data.tags.get("superseded") == value:
        return False
    client.set_tag(run.info.run_id, "superseded", value)
    name = item.run_name or item.name
    client.update_run(run.info.run_id, name=f"{name} (superseded)" if superseded else name)
    return True


def find_experiment(client: "MlflowClient", name: str, artifacts: Path | None, about: str) -> str:
    """The id of the MLflow experiment, made, restored, or described by `about`, if there is one, if need be."""
    found, note = client.get_experiment_by_name(name), "mlflow.note.content"
    if found is None:
        place = (artifacts / name).as_uri() if artifacts else None
        return client.create_experiment(name, place, {**KIND, note: about})
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for tag, text in {**KIND, **({note: about} if about else {})}.items():
        if found.tags.get(tag) != text:
            client.set_experiment_tag(found.experiment_id, tag, text)
    return found.experiment_id


def search(client: "MlflowClient", experiment_id: str, wanted: str = "") -> Iterator["Run"]:
    """The runs of an MLflow experiment that are not deleted, all or those wanted, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], wanted, max_results=RUNS_A_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def database_file(tracking_uri: str) -> Path | None:
    """The file of an SQLite store."""
    prefix, _, path = tracking_uri.partition(":///")
    return Path(path.split("?")[0]).resolve() if prefix.startswith("sqlite") and path else None


def artifact_root(tracking_uri: str) -> Path | None:
    """Where the artifacts of an SQLite store lie: beside it. A server keeps its own."""
    database = database_file(tracking_uri)
    return database.parent / ARTIFACTS if database else None


def relocate(database: Path) -> None:
    """Makes an SQLite store that was moved with its artifacts know where they lie: it holds absolute locations."""
    here = database.parent / ARTIFACTS
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        columns = [
            (table, column)
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", [table]).fetchall()
        ]
        if ("experiments", "artifact_location") not in columns:
            return
        named = connection.execute("SELECT artifact_location, name FROM experiments").fetchall()
        ends = ((location or "", f"/{ARTIFACTS}/{quote(name)}") for location, name in named)
        roots = {location.removesuffix(end) + f"/{ARTIFACTS}" for location, end in ends if location.endswith(end)}
        for root in roots - {here.as_uri()}:
            left = Path(unquote(urlsplit(root).path))
            if left.exists() and not here.exists():
                raise UnsyncedError(f"its artifacts were left in {left}; move that folder beside the database")
            for table, column in columns:
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) '  # noqa: S608 - names of the schema
                    f'WHERE substr("{column}", 1, ?) = ?',
                    [here.as_uri(), len(root) + 1, len(root) + 1, f"{root}/"],
                )


def redacted(text: str, tracking_uri: str) -> str:
    """The first line of a text without the user, password and query that stand in the tracking URI."""
    login = re.search(r"//(.*)@", tracking_uri)
    query = urlsplit(tracking_uri).query
    secrets = [query, *(value for _, value in parse_qsl(query))]
    if login:
        secrets += [login[1], login[1].partition(":")[2] or login[1]]
    for secret in secrets:
        for form in {secret, unquote(secret)} - {""}:
            text = text.replace(form, "***")
    return text.partition("\n")[0]
