"""Jobs as JSON: with the class of all settings in them, since a job's fields take any plug-in's."""

import importlib
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Strict

PACKAGES = {"workflow_scripts", "composed"}


def written(value: Any) -> Any:
    """A job, or anything in one, as JSON can hold it."""
    match value:
        case Strict():
            kind = type(value)
            fields = {name: written(getattr(value, name)) for name in kind.model_fields}
            return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
        case Path():
            return {"path": str(value)}
        case dict():
            return {"items": [[written(key), written(inner)] for key, inner in value.items()]}
        case tuple():
            return {"tuple": [written(inner) for inner in value]}
        case list():
            return [written(inner) for inner in value]
        case bool() | int() | float() | str() | None:
            return value
    raise TypeError(f"a job holds a {type(value).__name__}, which has no form in JSON")


def read(value: Any) -> Any:
    """What `written` wrote: nothing but settings of this project, with validated fields. Raises `UserError`."""
    match value:
        case {"class": str(name), "fields": dict(fields)}:
            module, _, inner = name.partition(":")
            own = module.partition(".")[0] in PACKAGES
            kind = getattr(importlib.import_module(module), inner, None) if own else None
            if not (isinstance(kind, type) and issubclass(kind, Strict)):
                raise UserError(f"the description of a job names '{name}', which is not one of the project's settings")
            return kind(**{key: read(field) for key, field in fields.items()})
        case {"path": str(path)}:
            return Path(path)
        case {"items": list(items)}:
            return {read(key): read(inner) for key, inner in items}
        case {"tuple": list(items)}:
            return tuple(read(inner) for inner in items)
        case list():
            return [read(inner) for inner in value]
    return value
