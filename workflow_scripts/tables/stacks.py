"""The stacks of a CRNN, with those that are alike joined as papers print them: `Stack 2-3-4-5-6`."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from workflow_scripts.settings.plugins import SYSTEMS, plugin


def merged(experiment: dict[str, Any], properties: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The row's label and the properties of each run of stacks that have the same ones."""
    from workflow_scripts.models.crnn import convolution_table

    system = plugin(SYSTEMS, experiment["system"], "system")
    settings = system.check(experiment["settings"], "settings")
    bands = math.prod(frequency for _, frequency in settings.network.pools)
    built = settings.build(dict.fromkeys(settings.streams, bands))
    stacks = convolution_table(built)
    for values, run in itertools.groupby(stacks, key=lambda stack: tuple(stack[name] for name in properties)):
        numbers = "-".join(str(stack["stack"]) for stack in run)
        yield f"Stack {numbers}", dict(zip(properties, values, strict=True))
