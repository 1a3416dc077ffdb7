"""The convolutions of a CRNN by stack, read off the built network; stacks that are alike share a row."""

from typing import Any

from workflow_scripts.tables.interface import TableSource
from workflow_scripts.tables.stacks import merged


class Source(TableSource):
    """Kernel size, stride and output channels."""

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        found = {}
        for label, stack in merged(experiment, ("kernel", "stride", "channels")):
            found[label, "Kernel size"] = str(stack["kernel"])
            found[label, "Stride"] = str(stack["stride"])
            found[label, "Output channels"] = str(stack["channels"])
        return found
