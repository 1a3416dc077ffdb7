"""Opens Parquet; a file that is not what it should be is a `UserError` that names it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.errors import UserError
from workflow_scripts.files import ANEW, need

if TYPE_CHECKING:
    import pyarrow.compute as pc


class Parquet(pq.ParquetFile):
    """A Parquet file, to be read bit by bit; what is damaged inside is a `UserError` too, once it is read."""

    def __init__(self, path: Path, footer: pq.FileMetaData | None = None) -> None:
        self.path = path
        with whole_parquet(path):
            super().__init__(path, metadata=footer, page_checksum_verification=True)

    def read(self, *given: Any, **options: Any) -> pa.Table:
        with whole_parquet(self.path):
            return super().read(*given, **options)

    def read_row_group(self, *given: Any, **options: Any) -> pa.Table:
        with whole_parquet(self.path):
            return super().read_row_group(*given, **options)

    def read_row_groups(self, *given: Any, **options: Any) -> pa.Table:
        with whole_parquet(self.path):
            return super().read_row_groups(*given, **options)

    def iter_batches(self, *given: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        with whole_parquet(self.path):
            yield from super().iter_batches(*given, **options)


@contextlib.contextmanager
def whole_parquet(path: Path) -> Iterator[None]:
    """Inside, what Arrow says of a file that is damaged, or is none of its own, is a sentence that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        said = str(error).partition("\n")[0]
        raise UserError(f"{path}: not a readable Parquet file ({said}); if a run made it, {ANEW}") from None


def open_parquet(path: Path, footer: pq.FileMetaData | None = None) -> Parquet:
    """A Parquet file, to be read bit by bit; its `footer` need not be read if it is known."""
    return Parquet(path, footer)


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file, and its metadata."""
    with open_parquet(path) as file:
        return file.schema_arrow


def read_parquet(path: Path, columns: Sequence[str] = (), filters: "pc.Expression | None" = None) -> pa.Table:
    """A Parquet file, or some of its columns, which it must have, and the rows that `filters` lets pass."""
    need(path, columns, parquet_schema(path).names)
    with whole_parquet(path):
        return pq.read_table(path, columns=list(columns) or None, filters=filters, page_checksum_verification=True)
