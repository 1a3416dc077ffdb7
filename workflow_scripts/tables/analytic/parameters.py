"""How many parameters the network of an experiment has, counted on the built network."""

from typing import Any

from workflow_scripts.settings.plugins import EXTRACTORS, SYSTEMS, plugin
from workflow_scripts.tables.interface import TableSource

COLUMN = "in the paper's setting"


class Source(TableSource):
    """Of systems whose settings build the network, pretrained encoders of features not among them."""

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        import torch

        dimensions = {}
        for name, feature in experiment["features"].items():
            extractor = plugin(EXTRACTORS, feature["extractor"], name).check(feature["settings"], name)
            dimensions[name] = extractor.shape(experiment["clip_seconds"])[1]
        system = plugin(SYSTEMS, experiment["system"], "system").check(experiment["settings"], "settings")
        with torch.device("meta"):
            network = system.build(dimensions)
        return {(" + ".join(dimensions), COLUMN): str(sum(each.numel() for each in network.parameters()))}
