"""Shows in MLflow how trainings go while they run: curves that grow with every checkpoint.

    python -m workflow_scripts.tracking.follow

Run it in the folder of a run, before or beside `snakemake`. It reads the histories that trainings write when they save
a checkpoint, and keeps nothing in mind that the files and the store do not tell: it may be ended and started at any
time, and so may the trainings and the store. The run of a seed bears the name that the sync gives it, which completes
it at the end of the workflow.
"""

import logging
import time
from pathlib import Path
from typing import Annotated

import pyarrow.compute as pc
import typer
from filelock import FileLock

from workflow_scripts.errors import UserError, run
from workflow_scripts.parquet import read_parquet
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.tracking.items import growing_items
from workflow_scripts.tracking.plan import check_address
from workflow_scripts.tracking.store import UnsyncedError, database_file, grow, redacted
from workflow_scripts.tracking.sync import LONGEST_WAIT, filled
from workflow_scripts.training.outputs import GROWING, growing_histories

log = logging.getLogger(__name__)

CONFIG = Path("config.yaml")
Stamp = dict[Path, int]  # when the histories of a training were written that the store has, in nanoseconds


def main(
    *,
    tracking_uri: Annotated[str | None, typer.Option(help="The store; by default that of config.yaml.")] = None,
    work_dir: Annotated[Path | None, typer.Option(help="Where runs are kept; by default as in config.yaml.")] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the histories.")] = 10,
) -> None:
    """Logs the histories of running trainings as they grow, until Ctrl-C."""
    config = Config.check(read_yaml(CONFIG) if CONFIG.exists() else {}, str(CONFIG))
    uri = tracking_uri or config.tracking_uri
    if uri is None:
        raise UserError(f"{CONFIG}: tracking_uri is null, so there is no store to log to: give one by --tracking-uri")
    check_address(uri)
    try:
        follow(filled(uri), work_dir or config.work_dir, every)
    except KeyboardInterrupt:
        log.info("ended; what was logged stays, and the sync of the workflow completes it")


def follow(uri: str, work: Path, every: float) -> None:
    """Looks again and again; a store that is away is said once, and tried again at every look."""
    logged: dict[Path, Stamp] = {}
    away = False
    if not running(work):
        log.info("%s: nothing is trained at present; waiting for a training to begin (Ctrl-C ends this)", work)
    while True:
        known = set(logged)
        try:
            look(uri, work, logged)
        except (UnsyncedError, OSError) as error:
            if not away:
                log.warning("MLflow at %s is away, and is tried again: %s", redacted(uri, uri), error)
            away = True
        else:
            if away:
                log.info("MLflow at %s is back, and has all that has come meanwhile", redacted(uri, uri))
            away = False
        for folder in sorted(logged.keys() - known):
            log.info("following %s", folder)
        time.sleep(every)


def running(work: Path) -> set[Path]:
    """The folders of trainings that run, or were killed and will go on."""
    return {path.parent for path in work.glob(f"*/training/*/*/*/{GROWING}")}


def look(uri: str, work: Path, logged: dict[Path, Stamp]) -> None:
    """Logs what has come since the histories were `logged`; of a training that has ended, the rest."""
    now = running(work)
    for folder in sorted(now | logged.keys()):
        whole = folder / "history.parquet"
        histories = growing_histories(folder)
        try:
            if not histories and whole.exists():
                histories = {seed: [whole] for seed in pc.unique(read_parquet(whole, ["seed"])["seed"]).to_pylist()}
            stamp = {path: path.stat().st_mtime_ns for paths in histories.values() for path in paths}
            if not stamp or stamp == logged.get(folder):
                continue
            scale, _, paper, experiment, _ = folder.relative_to(work).parts
            items = growing_items(experiment, histories)
        except (FileNotFoundError, UserError):
            if all(path.exists() for paths in histories.values() for path in paths):
                raise
            continue  # the training ended just now
        lock = (database_file(uri) or work / "follow").with_suffix(".lock")  # that of the sync
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LONGEST_WAIT):
            grow(uri, f"{paper}/{scale}", items, {"paper": paper, "scale": scale}, begin=folder in now)
        logged[folder] = stamp
        if folder not in now:
            del logged[folder]


if __name__ == "__main__":
    run(lambda: typer.run(main))
