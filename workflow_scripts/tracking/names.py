"""Names and values as MLflow takes them."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_NAME = 250
LONGEST_VALUE = 500  # what every MLflow server takes, also those older than the client
WORDS = {"+": "plus", "%": "percent", "&": "and"}


def clean(name: str) -> str:
    """The name in the characters that MLflow allows: letters, digits, `_`, `-`, `.`, spaces, and `/` between parts."""
    for sign, word in WORDS.items():
        name = name.replace(sign, word)
    parts = [part.strip() for part in re.sub(r"[^\w.\- /]", "_", name)[:LONGEST_NAME].split("/")]
    return "/".join("_" if part in {"", ".", ".."} else part for part in parts)[:LONGEST_NAME]


def unique(names: Iterable[str]) -> list[str]:
    """The cleaned names; one that stands again gets a number, so that no value hides another."""
    seen: Counter[str] = Counter()
    found = []
    for name in map(clean, names):
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name[: LONGEST_NAME - 9]} no {seen[name]}")
    return found


def short(value: Any) -> str:
    """A parameter's value as one line of text, cut to what MLflow stores; a list as its items with commas between."""
    if isinstance(value, list) and value:
        text = ", ".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one level of parameters: `{"a": {"b": 1}}` becomes `{"a.b": "1"}`."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[clean(f"{prefix}{key}")] = short(value)
    return flat
