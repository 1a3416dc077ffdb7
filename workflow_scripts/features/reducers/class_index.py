"""The classes of a corpus: for each head of a classifier the names that its outputs stand for."""

import json
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from workflow_scripts.corpora.labels import SINGLE, classes_of
from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import FeatureReducer
from workflow_scripts.parquet import read_parquet
from workflow_scripts.shards import atomic


class Reducer(FeatureReducer):
    """All classes that label a clip of any split, sorted; `sizes` counts them.

    Numbers are sorted as numbers. Of EPIC-KITCHENS-100's noun ids 0 … 299, 293 occur, so a noun's place in the list,
    not its id, is its output: the list is the table from one to the other (DATAR, section 4).
    """

    suffix = ".json"
    heads: list[str] = Field(
        default=[], description="What stands before the colon in labels such as `verb:3`; else one head, `class`"
    )

    def reduce(self, shards: list[Path], manifest: Path, assets: dict[str, Path], output: Path) -> None:
        """Reads the manifest alone; a clip without exactly one label a head is a `UserError`."""
        found: dict[str, set[str]] = {head: set() for head in self.heads or [SINGLE]}
        for clip, labels in rows(manifest):
            for head, name in classes_of(clip, labels, self.heads).items():
                found[head].add(name)
        heads = {head: ordered(names) for head, names in found.items()}
        if not all(heads.values()):
            raise UserError(f"{manifest}: no clip has a label, so there is nothing to classify")
        index = {"heads": heads, "sizes": {head: len(names) for head, names in heads.items()}}
        with atomic(output) as temporary:
            temporary.write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def rows(manifest: Path) -> list[tuple[str, list[str] | None]]:
    """Every clip with its labels."""
    try:
        table = read_parquet(manifest, ["clip_id", "labels"])
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{manifest}: not a readable manifest ({error})") from None
    return list(zip(table["clip_id"].to_pylist(), table["labels"].to_pylist(), strict=True))


def ordered(names: set[str]) -> list[str]:
    """Sorted by number if all are numbers, else by name."""
    return sorted(sorted(names), key=int) if all(name.isdecimal() for name in names) else sorted(names)
