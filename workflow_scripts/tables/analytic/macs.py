"""The multiply-accumulate operations of a classifier of spectrograms for one clip, counted on the built network."""

from typing import Any

from workflow_scripts.settings.plugins import EXTRACTORS, SYSTEMS, plugin
from workflow_scripts.tables.interface import TableSource

LABELS = {"datar": "DATAR", "ast": "AST", "resnet": "ResNet", "slowfast": "AudioSlowFast", "tbn": "TBN (audio)"}


class Source(TableSource):
    """In 1e9: of convolutions and linear layers, as the papers count, and with the products of attention.

    The linear classifiers, whose size the data decide, are left out: less than a thousandth.
    """

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        from workflow_scripts.models.audio_classifiers import build
        from workflow_scripts.models.macs import macs

        (feature,) = experiment["features"].values()
        extractor = plugin(EXTRACTORS, feature["extractor"], "features").check(feature["settings"], "features")
        shape = extractor.shape(experiment["clip_seconds"])
        system = plugin(SYSTEMS, experiment["system"], "system")
        model = system.check(experiment["settings"], "settings").model.model_dump()
        untrained = {key: None if key == "checkpoint" else value for key, value in model.items()}
        counted = macs(lambda: build(untrained, shape, {}), shape)
        row = LABELS[model["kind"]]
        return {
            (row, "MACs"): f"{counted.layers / 1e9:.5g}",
            (row, "MACs with attention"): f"{counted.total / 1e9:.5g}",
        }
