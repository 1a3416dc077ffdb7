"""Rates and lengths in time that follow from an experiment's settings."""

from typing import Any

from workflow_scripts.settings.plugins import EXTRACTORS, plugin
from workflow_scripts.tables.interface import TableSource


class Source(TableSource):
    """Images a second of the features that are made from them, and the length of the median filter over decisions."""

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        found = {}
        for name, feature in experiment["features"].items():
            extractor = plugin(EXTRACTORS, feature["extractor"], name).check(feature["settings"], name)
            if extractor.source == "frames":
                rate = extractor.frames_per_clip / experiment["clip_seconds"]
                found[f"{name} features", "images a second"] = f"{rate:.1f}"
        window = experiment["scoring"]["median_filter"]
        length = window * experiment["settings"]["frame_seconds"]
        return {**found, (f"median filter of {window} frames", "length"): f"{length:.3f}"}
