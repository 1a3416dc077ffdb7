"""How settings of plug-ins become definitions."""

import json
from typing import Any

from workflow_scripts.settings.base import Strict
from workflow_scripts.settings.plugins import plugin


def as_json(values: Any) -> str:
    """A definition for a command line: compact JSON with sorted keys, the same for the same settings."""
    if isinstance(values, Strict):
        values = values.model_dump(mode="json")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def revision(package: str, name: str) -> int:
    """The declared revision of a plug-in: its jobs run again when it is raised."""
    declared: int = plugin(package, name, name).revision
    return declared
