"""Files that are opened: as they are, or refused in one sentence that names the file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_benchmark, read_csv, read_json
from workflow_scripts.parquet import parquet_schema, read_parquet


def test_parquet_by_columns_and_rows(tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", "y"]}).replace_schema_metadata({"classes": "2"})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").equals(table)
    assert parquet_schema(tmp_path / "t.parquet").equals(table.schema, check_metadata=True)
    assert read_parquet(tmp_path / "t.parquet", ["b"], pc.field("a") > 1).to_pylist() == [{"b": "y"}]


def test_csv_by_lines(tmp_path: Path) -> None:
    """A mark of the byte order, a line break inside quotes, and a short line."""
    (tmp_path / "t.csv").write_bytes('\ufeffa,b\n"1\n2",é\n3\n'.encode())
    assert csv_columns(tmp_path / "t.csv") == ["a", "b"]
    assert list(read_csv(tmp_path / "t.csv", ["a"])) == [(3, {"a": "1\n2", "b": "é"}), (4, {"a": "3", "b": ""})]
    with pytest.raises(UserError, match=r"t\.csv, line 4: the row is longer or shorter than the header"):
        list(read_csv(tmp_path / "t.csv", exact=True))


def test_what_is_no_such_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for content in (None, b"\xff,no"):
        if content:
            path.write_bytes(content)
        for reading, sentence in (
            (lambda: read_parquet(path), "not a readable Parquet file"),
            (lambda: read_json(path), "cannot be read as JSON"),
            (lambda: list(read_csv(path)), "cannot be read as CSV"),
            (lambda: csv_columns(path), "cannot be read as CSV"),
        ):
            with pytest.raises(UserError, match=f"{path}: {sentence}"):
                reading()


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,text\n")
    with pytest.raises(UserError, match=r"t\.csv: the column 'labels' is missing; did you mean 'label'\?; and so on"):
        list(read_csv(tmp_path / "t.csv", ["labels"], "; and so on"))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"t\.parquet: the column 'b' is missing; known: a"):
        read_parquet(tmp_path / "t.parquet", ["b"])


def test_of_a_torn_benchmark_the_whole_lines_count(tmp_path: Path) -> None:
    """A power cut tears Snakemake's file at any byte; a number of which a part is left is no number."""
    header, run = "s\th:m:s\tmax_rss\tcpu_time\n", "4.12\t0:00:04\t-\t1.53\n"
    whole = {"s": 4.12, "cpu_time": 1.53, "max_rss": 0}
    for left in range(len(header + run + run) + 1):
        (tmp_path / "b.tsv").write_text((header + run + run)[:left])
        assert read_benchmark(tmp_path / "b.tsv") == [whole] * (left >= len(header + run)) + [whole] * (
            left == len(header + run + run)
        )
