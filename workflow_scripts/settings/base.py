"""Strict typed settings: unknown keys are refused with a suggestion, and every error is one sentence."""

import hashlib
import json
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import parse_json, read_json, read_text

DEEPEST, LARGEST = 100, 1_000_000  # levels and values of a YAML file
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
MANNER = "manner"  # Annotated[…, MANNER] marks a field that says how a result is had, and not what it is
LATER = "later"  # Annotated[…, LATER] marks one that came when there were results: at its default it defines nothing


class Strict(BaseModel):
    """Base of all settings: immutable, unknown keys refused, no silent conversion of strings to numbers."""

    # What checks the values is made when it is first needed: jobs, which get checked settings, do without.
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, validate_default=True, allow_inf_nan=False, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def no_switches(cls, values: Any) -> Any:
        """A number is not told by `yes` or `true`, which would pass for 1."""
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and key in cls.model_fields and numeric(cls.model_fields[key].annotation):
                raise ValueError(f"'{key}' should be a number (found {value})")
        return values

    @classmethod
    def check(cls, values: Any, where: str) -> Self:
        """The validated settings; a mistake raises `UserError` naming `where` (a file, or a file and key)."""
        try:
            return cls.model_validate(values, context=where)
        except ValidationError as error:
            raise UserError(explain(cls, error, where)) from None

    def identity(self) -> dict[str, Any]:
        """What defines a result, as JSON can hold it: all settings, defaults too, but those marked as `MANNER`.

        Of those marked as `LATER` only what is not the default, so that results from before them stay as they are.
        """
        return {
            name: identified(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if MANNER not in field.metadata and not (LATER in field.metadata and getattr(self, name) == field.default)
        }


def numeric(annotation: Any) -> bool:
    """Whether an annotation is of numbers, and of no switch; perhaps among other types."""
    if get_origin(annotation) is Annotated:
        return numeric(get_args(annotation)[0])
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = tuple(get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds)
    return bool not in kinds and (int in kinds or float in kinds)


def proper_name(name: str) -> str:
    """A name of what settings declare, which becomes a part of paths; any other is a `ValueError`."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name[:100]!r} is no name: it has letters, digits, '_', '.' and '-', at most 100, no '.' or '-' first"
        )
    return name


Name = Annotated[str, AfterValidator(proper_name)]


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
    found = "" if "(found " in message else f" (found {first['input']!r})"
    return f"{where}: '{key}': {message}{found}" if key else f"{where}: {message}"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; what is none, a syntax error or a doubled key is a `UserError` with its line."""
    text = read_text(path, "YAML")
    try:
        refuse_endless(text)
        values = yaml.load(text, Loader=UniqueKeys)  # noqa: S506 - a SafeLoader with unique keys
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}, line {line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:  # of tags with odd values
        raise UserError(f"{path}: cannot be read as YAML ({str(error).partition(chr(10))[0]})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values


def refuse_endless(text: str) -> None:
    """YAML nested too deeply for the fast reader, or that aliases make huge, is an error with its line.

    For each collection that is open: how many values it holds with those below, how deep they go, and its anchor.
    """
    named: dict[str, tuple[int, int]] = {}
    opened: list[tuple[int, int, str | None]] = [(0, 0, None)]
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        size, depth = 1, 0
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((1, 1, event.anchor))
        elif isinstance(event, yaml.CollectionEndEvent):
            size, depth, anchor = opened.pop()
            if anchor is not None:
                named[anchor] = size, depth
        elif isinstance(event, yaml.AliasEvent):
            size, depth = named.get(event.anchor, (1, 0))
            if any(event.anchor == anchor for _, _, anchor in opened):
                raise yaml.MarkedYAMLError(problem=f"'*{event.anchor}' holds itself", problem_mark=event.start_mark)
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if not isinstance(event, yaml.CollectionStartEvent):
            above, deep, anchor = opened[-1]
            opened[-1] = above + size, max(deep, depth + 1), anchor
        if len(opened) + depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} deep", problem_mark=event.start_mark)
        if opened[-1][0] > LARGEST:
            problem = f"more than {LARGEST:,} values, aliases followed"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class UniqueKeys(yaml.CSafeLoader):
    """YAML's safe loader, the fast one, refusing a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"the key '{key.value}' stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen.add(key.value)
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


def apart(catalogue: dict[str, Any], own: dict[str, Any], file: Path) -> dict[str, Any]:
    """The entries of a catalogue and one's own of `<catalogue>.local.yaml`; a name of both is a `UserError`."""
    if both := sorted(catalogue.keys() & own.keys()):
        shared = file.name.replace(".local", "")
        raise UserError(f"{file}: '{both[0]}' stands in {shared} too; give yours another name")
    return catalogue | own


def from_argument(text: str, option: str = "--definition") -> dict[str, Any]:
    """The mapping given on a command line as JSON, or as `@file.json`."""
    values = read_json(Path(text[1:])) if text.startswith("@") else parse_json(text, option)
    if not isinstance(values, dict):
        raise UserError(f"{option}: expected a JSON object, found {type(values).__name__}")
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
