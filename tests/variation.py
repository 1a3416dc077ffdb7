"""Other valid settings, made from the models' types and constraints alone."""

import inspect
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import MANNER, Strict

S = TypeVar("S", bound=Strict)


class Variation(NamedTuple):
    """Settings, and the same settings but for one field."""

    field: str  # its path, with dots
    manner: bool
    before: Strict
    after: Strict


def smallest(model: type[S], name: str) -> S:
    """Settings with defaults where there are any; required texts are `name`, required numbers as small as may be."""
    required = {key: plain(field.annotation, name) for key, field in model.model_fields.items() if field.is_required()}
    for extra in ({}, *({key: value} for key in model.model_fields for value in others(model, key, None, name))):
        if (found := valid(model, required | extra)) is not None:
            return found
    bounded = {key: others(model, key, None, name) for key in required}
    for key, values in bounded.items():
        for value in values:
            if (found := valid(model, required | {key: value})) is not None:
                return found
    raise AssertionError(f"no valid settings of {model.__module__} were found; beginning with {required}")


def variations(settings: Strict, name: str, manner: bool = False, path: str = "") -> Iterator[Variation]:
    """For each field of the settings, of those inside them, and of the other kinds that may stand in their place."""
    for key, field in type(settings).model_fields.items():
        value, own = getattr(settings, key), manner or MANNER in field.metadata
        if not constant(field.annotation):
            yield Variation(f"{path}{key}", own, settings, changed(settings, key, name))
        inside = [value] if isinstance(value, Strict) else []
        inside += [smallest(kind, name) for kind in kinds(field.annotation) if not isinstance(value, kind)]
        for inner in inside:
            for variation in variations(inner, name, own, f"{path}{key}."):
                before, after = (valid(type(settings), fields(settings) | {key: part}) for part in variation[2:])
                if before is not None and after is not None:
                    yield variation._replace(before=before, after=after)


def changed(settings: Strict, key: str, name: str) -> Strict:
    """The settings with another value of a field, and of a second one where the two depend on each other."""
    model, values = type(settings), fields(settings)
    candidates = others(model, key, values[key], name)
    seconds: list[dict[str, Any]] = [{}]
    seconds += [{other: v} for other in values if other != key for v in others(model, other, values[other], name)]
    for second in seconds:
        for candidate in candidates:
            found = valid(model, values | {key: candidate} | second)
            if found is not None and getattr(found, key) != values[key]:
                return found
    raise AssertionError(f"{model.__module__}: no other valid value of '{key}' than {values[key]!r} was found")


def fields(settings: Strict) -> dict[str, Any]:
    return {key: getattr(settings, key) for key in type(settings).model_fields}


def valid(model: type[S], values: dict[str, Any]) -> S | None:
    """The settings, if they are valid."""
    try:
        return model.model_validate(values)
    except (ValidationError, UserError):
        return None


def options(annotation: Any) -> list[Any]:
    """The types that a value may have."""
    if hasattr(annotation, "__metadata__"):
        return options(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [option for argument in get_args(annotation) for option in options(argument)]
    return [annotation]


def constant(annotation: Any) -> bool:
    """Whether there is but one value, such as the name of a kind."""
    return [len(get_args(option)) for option in options(annotation) if get_origin(option) is Literal] == [1]


def kinds(annotation: Any) -> list[type[Strict]]:
    """The settings that may stand in a field."""
    found = [option for option in options(annotation) if isinstance(option, type) and issubclass(option, Strict)]
    return [kind for kind in found if not inspect.isabstract(kind)]


def plain(annotation: Any, name: str) -> Any:
    """A value of a type, as small as may be."""
    option = options(annotation)[0]
    arguments = get_args(option)
    if get_origin(option) is Literal:
        return arguments[0]
    if get_origin(option) in {list, tuple}:
        count = len(arguments) if get_origin(option) is tuple and Ellipsis not in arguments else 1
        return [plain(arguments[min(place, len(arguments) - 1)], name) for place in range(count)]
    if get_origin(option) is dict:
        return {plain(arguments[0], name): plain(arguments[1], name)}
    if isinstance(option, type) and issubclass(option, Strict):
        return smallest(option, name)
    if isinstance(option, type) and issubclass(option, Enum):
        return next(iter(option))
    return {int: 1, float: 1.0, bool: False, str: name, Path: Path(name)}.get(option)


def others(model: type[Strict], key: str, value: Any, name: str) -> list[Any]:
    """Values that a field may have instead; not all of them are valid."""
    found: list[Any] = []
    for option in options(model.model_fields[key].annotation):
        origin, arguments = get_origin(option), get_args(option)
        if origin is Literal:
            found += arguments
        elif option is bool:
            found += [True, False]
        elif option in {int, float}:
            base = value if isinstance(value, int | float) else 1
            found += [option(number) for number in (base + 1, base - 1, 2 * base, base // 2, 0, 1, 2, 10)]
            found += [base / 2, base + 0.01, 0.5] if option is float else []
        elif option in {str, Path}:
            texts = (
                f"{value}x",
                f"{value}/x",
                name,
                "x",
                "1",
                f"{name}.csv",
                "x.csv",
                f"http://{name}/x",
                f"http://{name}/{{id}}",
            )
            found += [option(text) for text in texts]
        elif origin in {list, tuple}:
            one = plain(arguments[0], name)
            held = list(value) if isinstance(value, list | tuple) else []
            found += [[*held, one], held[:-1], held[1:], held[::-1], [one], [one, one], [*held[:-1], *nudged(held)]]
        elif origin is dict:
            pairs = dict(value) if isinstance(value, dict) else {}
            found += [{**pairs, **plain(option, name)}, dict(list(pairs.items())[:-1]), {}]
            found += [{**pairs, last: more} for last in list(pairs)[-1:] for more in nudged([pairs[last]])]
        elif option is type(None):
            found.append(None)
    for kind in kinds(model.model_fields[key].annotation):
        found.append(smallest(kind, name))
    if isinstance(value, Strict):
        found += [variation.after for variation in variations(value, name) if not variation.manner]
    return found


def nudged(held: list[Any]) -> list[Any]:
    """Another value in place of the last one."""
    last = held[-1] if held else None
    return [last + 1] if isinstance(last, int | float) else [f"{last}x"]
