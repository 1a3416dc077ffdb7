"""How many frames the extractors give for a clip."""

from typing import Any

from workflow_scripts.settings.plugins import EXTRACTORS, plugin
from workflow_scripts.tables.interface import TableSource


class Source(TableSource):
    """One row a kind of features."""

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        seconds = experiment["clip_seconds"]
        found = {}
        for name, feature in experiment["features"].items():
            extractor = plugin(EXTRACTORS, feature["extractor"], name).check(feature["settings"], name)
            found[f"{name} features", f"frames of {seconds:g} s"] = str(extractor.shape(seconds)[0])
        return found
