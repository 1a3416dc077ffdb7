"""What training jobs tell of each seed, and what a paper concludes from it: no score, so no clips are resampled."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.files import read_json
from workflow_scripts.metrics import bootstrap
from workflow_scripts.parquet import read_parquet
from workflow_scripts.settings.tables import FACTORS, Fact

FLUCTUATION = "loss_fluctuation"  # is computed from `history.parquet`
METHOD = "95 % percentile bootstrap over seeds"


def reports(paths: Sequence[Path], facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """The `params.json` of an experiment's jobs, with what `facts` want of the histories beside them."""
    found = [dict(read_json(path)) for path in paths]
    if any(fact.key == FLUCTUATION for fact in facts):
        for path, one in zip(paths, found, strict=True):
            one[FLUCTUATION] = fluctuations(path.with_name("history.parquet"))
    return found


def fluctuations(history: Path) -> dict[str, float]:
    """By seed the standard deviation, nats, by which the training loss scatters about its trend after the first epoch.

    Of differences from record to record, in which a slow trend cancels, and two deviations add up.
    """
    rows = read_parquet(history, ["seed", "epoch", "loss"]).to_pandas().dropna()
    by_seed = {str(seed): own.loc[own["epoch"] > 1, "loss"].to_numpy() for seed, own in rows.groupby("seed")}
    return {seed: float(np.diff(losses).std() / np.sqrt(2)) for seed, losses in by_seed.items() if len(losses) > 2}


def mean(fact: Fact, jobs: Sequence[Mapping[str, Any]], replicates: int) -> tuple[float, np.ndarray, int] | None:
    """The mean over seeds of a fact, in its unit, its replicates over seeds, and the number of seeds.

    None where a job reports no number of each seed, or there is only one, which tells no spread.
    """
    found = [number for job in jobs if isinstance(job.get(fact.key), dict) for number in job[fact.key].values()]
    if len(found) < 2:
        return None
    values = np.array(found, float) * FACTORS.get(fact.unit, 1.0)
    draws = bootstrap.seed_draws(len(values), replicates, fact.experiment)
    return float(values.mean()), values[draws].mean(axis=1), len(values)
