"""From record files of YouTube-8M's form, which hold features and no media, to what a tagger reads."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.features.extract_records import LEADING
from workflow_scripts.parquet import open_parquet
from workflow_scripts.predict.clips import Part, tell
from workflow_scripts.predict.description import Description
from workflow_scripts.shards import STATE, Status
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.video_tagger.data import Records, means

SUFFIX = ".tfrecord"


def record_blocks(
    description: Description, files: Mapping[str, Path], folder: Path
) -> tuple[Iterator[Block], dict[str, Part]]:
    """The features of all records of files, as `rows` of a tagger reads them, and what each of them is.

    Several files may hold records of the same id. A file that holds no records is a `UserError`.
    """
    if len(description.features) != 1:
        raise UserError("a tagger reads one feature of record files; predict with an experiment that reads one")
    ((_, feature),) = description.features.items()
    settings, made, parts = feature.plugin(), dict[str, Path](), dict[str, Part]()
    about = {"records": ".", "classes": json.dumps(description.kept.get("classes", []))}
    schema = pa.schema([*LEADING, *settings.columns(), *STATE], metadata=about)
    for number, (name, path) in enumerate(files.items()):
        if path.suffix != SUFFIX:
            raise UserError(
                f"{name}: is no record file (…{SUFFIX}); a tagger of YouTube-8M reads features whose last step only "
                "its publishers can compute, so that it cannot tag videos or sounds of one's own"
            )
        rows = []
        for row in settings.read(path.resolve()):
            clip_id = f"{number} {row['clip_id']}"
            parts[clip_id] = Part(f"{name}#{row['clip_id']}", 0.0, 0.0)
            if row.get("status", Status.OK) == Status.OK:
                own = {"status": Status.OK, "split": "files", "path": str(path.resolve())}
                rows.append(own | row | {"clip_id": clip_id})
            else:
                tell(parts[clip_id].file, row["reason"], row["detail"])
        made[name] = folder / f"{number}.parquet"
        shards.write(made[name], rows, schema, rows_a_group=settings.rows_a_group)
    return blocks(list(made.values()), settings.level), parts


def blocks(made: list[Path], level: str) -> Iterator[Block]:
    """The records of shards, a row group at a time."""
    for shard in made:
        decode = Records(shard) if level == "frame" else means
        with open_parquet(shard) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                if table.num_rows:
                    yield {"clip_id": np.array(table["clip_id"].to_pylist(), object)} | decode(table)
