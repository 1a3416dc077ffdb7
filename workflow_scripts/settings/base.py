"""Strict typed settings: unknown keys are refused with a suggestion, and every error is one sentence."""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from workflow_scripts.errors import UserError, did_you_mean

MANNER = "manner"  # Annotated[…, MANNER] marks a field that says how a result is had, and not what it is


class Strict(BaseModel):
    """Base of all settings: immutable, unknown keys refused, no silent conversion of strings to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, validate_default=True)

    @classmethod
    def check(cls, values: Any, where: str) -> Self:
        """The validated settings; a mistake raises `UserError` naming `where` (a file, or a file and key)."""
        try:
            return cls.model_validate(values, context=where)
        except ValidationError as error:
            raise UserError(explain(cls, error, where)) from None

    def identity(self) -> dict[str, Any]:
        """What defines a result, as JSON can hold it: all settings, defaults too, but those marked as `MANNER`."""
        fields = {name: field for name, field in type(self).model_fields.items() if MANNER not in field.metadata}
        return {name: identified(getattr(self, name)) for name in fields}


class Plugin(Strict):
    """Base of the settings of all that is found by its name, one file or folder each."""

    revision: ClassVar[int] = 1  # raise it when a change of code changes results: they are then made anew

    @property
    def assets(self) -> tuple[str, ...]:
        """The ids of the assets whose files it is given."""
        return ()

    @classmethod
    def check(cls, values: Any, where: str) -> Self:
        """As `Strict.check`; the order in which keys are written decides nothing."""
        return super().check(in_order(values), where)

    def identity(self) -> dict[str, Any]:
        """What defines a result: the settings but manners, and the revision of the code."""
        return {**super().identity(), "revision": self.revision}


def identified(value: Any) -> Any:
    """The identity of a value: of settings, of what holds settings, or of anything else that JSON can hold."""
    if isinstance(value, Strict):
        return value.identity()
    if isinstance(value, dict):
        return {str(key): identified(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [identified(inner) for inner in value]
    return to_jsonable_python(value)


def in_order(values: Any) -> Any:
    """The same values, all mappings in the order of their keys, as an identity sees them."""
    if isinstance(values, dict):
        return {key: in_order(values[key]) for key in sorted(values, key=str)}
    return [in_order(value) for value in values] if isinstance(values, list) else values


def digest(identity: Any) -> str:
    """A short hash of an identity, the same on every machine."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> set[str]:
    """The field names allowed in the model found at `path` below `model` (empty when it cannot be told)."""
    schema: dict[str, Any] = model.model_json_schema()
    definitions = schema.get("$defs", {})
    node: Any = schema
    for step in path:
        tagged = node.get("discriminator", {}).get("mapping", {}).get(step)
        if tagged is not None:  # of a union, the path names the tag
            node = definitions[tagged.rsplit("/", 1)[-1]]
            continue
        alternatives = ("anyOf", "allOf", "oneOf")
        candidates = [node, *(option for kind in alternatives for option in node.get(kind, []))]
        resolved = [definitions.get(c["$ref"].rsplit("/", 1)[-1], {}) if "$ref" in c else c for c in candidates]
        for option in resolved:
            if isinstance(step, str) and step in option.get("properties", {}):
                node = option["properties"][step]
                break
            if isinstance(step, str) and isinstance(option.get("additionalProperties"), dict):
                node = option["additionalProperties"]
                break
            if isinstance(step, int) and "items" in option:
                node = option["items"]
                break
        else:
            return set()
    options = [node, *node.get("anyOf", [])]
    found = [definitions.get(o["$ref"].rsplit("/", 1)[-1], {}) if "$ref" in o else o for o in options]
    return {key for option in found for key in option.get("properties", {})}


def explain(model: type[BaseModel], error: ValidationError, where: str) -> str:
    """The first mistake of a validation error as one sentence."""
    first = error.errors(include_url=False)[0]
    path = first["loc"]
    key = ".".join(str(step) for step in path)
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key '{key}'{did_you_mean(str(path[-1]), known_keys(model, path[:-1]))}"
    if first["type"] == "missing":
        return f"{where}: the key '{key}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{where}: '{key}': {message} (found {first['input']!r})" if key else f"{where}: {message}"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a missing file, a syntax error or a doubled key is a `UserError` with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        values = yaml.load(text, Loader=UniqueKeys)  # noqa: S506 - a SafeLoader with unique keys
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}, line {line}: {error.problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values


class UniqueKeys(yaml.CSafeLoader):
    """YAML's safe loader, the fast one, refusing a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [k.value for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key '{key}' stands twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def overlay(base: Any, changes: Any, by_kind: bool = False) -> Any:
    """`base` with `changes` laid over it: mappings merge key by key, anything else is replaced.

    With `by_kind` a mapping that gets another `kind` is replaced too: its keys are those of another thing.
    """
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    if by_kind and "kind" in base and changes.get("kind", base["kind"]) != base["kind"]:
        return changes
    return {
        key: overlay(base[key], changes[key], by_kind)
        if key in base and key in changes
        else changes.get(key, base.get(key))
        for key in [*base, *(k for k in changes if k not in base)]
    }


def from_argument(text: str) -> dict[str, Any]:
    """The mapping given on a command line as JSON, or as `@file.json`."""
    try:
        values = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"--definition: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"--definition: expected a JSON object, found {type(values).__name__}")
    return values


def pairs(options: list[str] | None, name: str) -> dict[str, str]:
    """Options of the form `key=value` of a command line; `name` is the option's."""
    found: dict[str, str] = {}
    for option in options or []:
        key, sign, value = option.partition("=")
        if not (key and sign and value):
            raise UserError(f"--{name} '{option}': expected name=value")
        if key in found:
            raise UserError(f"--{name} '{option}': '{key}' is given twice")
        found[key] = value
    return found
