"""How many frames the extractors give for a clip."""

from typing import Any

from workflow_scripts.settings.base import plugin

EXTRACTORS = "workflow_scripts.features.extractors"


def cells(experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
    """One row a kind of features."""
    seconds = experiment["clip_seconds"]
    found = {}
    for name, feature in experiment["features"].items():
        extractor = plugin(EXTRACTORS, feature["extractor"], name).Extractor.check(feature["settings"], name)
        found[f"{name} features", f"frames of {seconds:g} s"] = str(extractor.shape(seconds)[0])
    return found
