"""Computes one file from all shards of a feature: statistics, a lexicon, …"""

from pathlib import Path

from workflow_scripts.features.plan import ReduceFeatures


def reduce_features(job: ReduceFeatures, output: Path) -> None:
    """Reduces the shards of a feature to one file."""
    import threadpoolctl

    with threadpoolctl.threadpool_limits(job.threads):
        job.settings.reduce(job.features, job.manifest, job.assets, output)
