"""Tries what metrics need of others, programs and networks, on a few clips: what is missing is told before training."""

import json
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.scores.plan import TryMetrics
from workflow_scripts.shards import atomic


def try_metrics(job: TryMetrics, output: Path) -> None:
    """Tries each family; the output is the same whenever all is well, so that nothing is made anew after it."""
    for name, family in job.families.items():
        try:
            family.try_parts(job.assets)
        except UserError as error:
            raise UserError(
                f"the metrics '{name.partition('-')[0]}' cannot be computed, and nothing is trained before they can: "
                f"{error}; mend that, or switch it off in the `scoring` of the paper"
            ) from None
    with atomic(output) as temporary:
        temporary.write_text(json.dumps({"tried": sorted(job.families)}, indent=1) + "\n", encoding="utf-8")
