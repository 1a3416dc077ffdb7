"""From settings to jobs: what each rule of the workflow needs to know, validated before any job starts.

The rules ask for paths and definitions here; a definition is the JSON that a stage's command is given, so that a job
runs again exactly when what defines it has changed. `sources` knows assets, corpora and media, `experiments` papers,
features and training on top of them, `needs` what their jobs ask a machine for, `results` tables, figures, claims and
tracking on top of all.
"""

from workflow_scripts.plan.downloads import downloads
from workflow_scripts.plan.plugins import as_json, revision
from workflow_scripts.plan.results import Plan
from workflow_scripts.settings.plugins import COMPOSERS, EXTRACTORS, FAMILIES, READERS, REDUCERS, SYSTEMS

__all__ = [
    "COMPOSERS",
    "EXTRACTORS",
    "FAMILIES",
    "READERS",
    "REDUCERS",
    "SYSTEMS",
    "Plan",
    "as_json",
    "downloads",
    "revision",
]
