"""What is found by a name that users write: one file or folder of a package, with one class."""

import functools
import importlib
import inspect
import pkgutil
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.base import Strict

READERS = "workflow_scripts.corpora.readers"
COMPOSERS = "composed.composers"
EXTRACTORS = "workflow_scripts.features.extractors"
REDUCERS = "workflow_scripts.features.reducers"
BACKENDS = "workflow_scripts.captions.backends"
SYSTEMS = "workflow_scripts.training.systems"
FAMILIES = "workflow_scripts.scores.families"
ANALYTIC = "workflow_scripts.tables.analytic"
FIGURES = "workflow_scripts.figures.kinds"
CLASSES = {  # of each module of a package, in the order of the stages
    READERS: "Reader",
    COMPOSERS: "Composer",
    EXTRACTORS: "Extractor",
    REDUCERS: "Reducer",
    BACKENDS: "Backend",
    SYSTEMS: "System",
    FAMILIES: "Scorer",
    ANALYTIC: "Source",
    FIGURES: "Figure",
}


def names(package: str) -> list[str]:
    """All that can be found in a package."""
    return [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]


@functools.cache
def plugin(package: str, name: str, where: str) -> Any:
    """The class of the module `name` in `package`: settings, with what they do.

    A `UserError`, with a suggestion, if there is none; also if the class lacks what its base declares.
    """
    known = names(package)
    place = package.replace(".", "/")
    if name not in known:
        raise UserError(f"{where}: '{name}' is not in {place}{did_you_mean(name, known)}")
    found = getattr(importlib.import_module(f"{package}.{name}"), CLASSES[package], None)
    if not (inspect.isclass(found) and issubclass(found, Strict)):
        raise UserError(f"{where}: {place}/{name} has no class '{CLASSES[package]}' made from the base of its kind")
    declared = [variable for variable in found.__class_vars__ if not hasattr(found, variable)]
    if lacking := sorted([*getattr(found, "__abstractmethods__", ()), *declared]):
        raise UserError(f"{where}: the {CLASSES[package]} of {place}/{name} lacks '{lacking[0]}'")
    return found
