"""The average pooling of a CRNN by stack, read off the built network; stacks that are alike share a row."""

from typing import Any

from workflow_scripts.errors import UserError
from workflow_scripts.tables.interface import TableSource
from workflow_scripts.tables.stacks import merged


class Source(TableSource):
    """Kernel size, which must equal the stride."""

    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        found = {}
        for label, stack in merged(experiment, ("pool", "pool_stride")):
            if stack["pool"] != stack["pool_stride"]:
                raise UserError(f"{label}: the pool's stride {stack['pool_stride']} is not its kernel {stack['pool']}")
            found[label, "Kernel size = stride"] = str(stack["pool"])
        return found
