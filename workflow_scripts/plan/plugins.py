"""Where plug-ins are found, and how their settings become definitions."""

import importlib
import json
from typing import Any

from workflow_scripts.settings.base import Strict

EXTRACTORS = "workflow_scripts.features.extractors"
REDUCERS = "workflow_scripts.features.reducers"
SYSTEMS = "workflow_scripts.training.systems"
FAMILIES = "workflow_scripts.scores.families"
READERS = "workflow_scripts.corpora.readers"
COMPOSERS = "workflow_scripts.corpora.composers"
ANALYTIC = "workflow_scripts.tables.analytic"
FIGURES = "workflow_scripts.figures.kinds"


def as_json(values: Any) -> str:
    """A definition for a command line: compact JSON with sorted keys, the same for the same settings."""
    if isinstance(values, Strict):
        values = values.model_dump(mode="json")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def revision(package: str, name: str) -> int:
    """The declared revision of a plug-in: its jobs run again when it is raised."""
    module = importlib.import_module(f"{package}.{name}")
    kinds = ("Reader", "Composer", "Extractor", "Reducer", "System")
    return int(next(getattr(module, kind).revision for kind in kinds if hasattr(module, kind)))
