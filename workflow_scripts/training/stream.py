"""Feature shards read as a stream: memory does not grow with the number of clips, and batches mix the row groups."""

import hashlib
import itertools
import json
import logging
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts import shards
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.parquet import open_parquet, parquet_schema, read_parquet
from workflow_scripts.shards import STATE, Row, Status
from workflow_scripts.training.sampling import ahead

Block = dict[str, np.ndarray]  # arrays whose first dimension counts the same clips; `clip_id` (objects) is among them
ABSENT = "not there"
EVERY = np.empty(0, np.int32)  # in the places of a source: it has the clips of the first one, in the same order
READERS = 3  # threads that read ahead, a unit each

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A feature that training reads: its shards, which of their columns, and the arrays to make of these.

    `decode` gets a table of usable clips and returns arrays of the same width for every table; threads may share it. A
    clip whose list in a column of `require` is empty is not used.
    """

    name: str
    files: Sequence[Path]
    columns: Sequence[str]
    decode: Callable[[pa.Table], Block]
    require: Sequence[str] = ()


@dataclass(frozen=True)
class Unit:
    """What is read at once: a row group of the first source and the same rows of the others."""

    shard: str
    start: int
    stop: int
    usable: Mapping[str, int] = field(compare=False)  # clips by split


class Stream:
    """The clips that are `ok` in all sources, each in shards of the same name.

    Splits and order are those of the first source. Decoded row groups stay in memory up to `cache_bytes` altogether;
    the others are read anew each time. `left_out` counts the unusable clips by split, `reasons` tells why for each
    split: of which source, and what is the matter there; with a `manifest` also the clips that no source has. `digest`
    is a hash of ids, splits and labels, and of the sizes and extremes of every other column's pieces.
    """

    def __init__(
        self, sources: Sequence[Source], splits: Sequence[str], cache_bytes: int, manifest: Path | None = None
    ) -> None:
        self.sources, self.splits, self.room = sources, splits, cache_bytes
        self.files = [{file.name: file for file in source.files} for source in sources]
        self.cache: dict[tuple[Unit, str], Block] = {}
        self.left_out: Counter[str] = Counter()
        self.reasons: dict[str, Counter[str]] = {}
        self.places: dict[tuple[str, str], np.ndarray] = {}
        self.footers: dict[Path, pq.FileMetaData] = {}  # to read a row group takes less time than these
        self.schemas = [parquet_schema(source.files[0]) for source in sources]
        digest = hashlib.blake2b(digest_size=16)
        for source, files in zip(sources, self.files, strict=True):
            if odd := sorted(files.keys() ^ self.files[0].keys()):
                raise UserError(
                    f"--features: '{source.name}' and '{sources[0].name}' have different shards ({odd[0]} is in one "
                    "only); make both features of the same corpus"
                )
        self.units = [unit for shard in self.files[0] for unit in self.survey(shard, digest)]
        self.counts = sum((Counter(unit.usable) for unit in self.units), Counter[str]())
        self.digest = digest.hexdigest()
        if manifest:
            self.miss(manifest)
        for split in splits:
            if self.left_out[split]:
                log.info("%s: %d clips left out (%s)", split, self.left_out[split], told(self.reasons[split]))
            if not self.counts[split]:
                names = ", ".join(source.name for source in sources)
                raise UserError(
                    f"no clip of the split '{split}' is usable in all of the features {names} "
                    f"({self.left_out[split]} left out): see the reasons in the feature shards"
                )

    def survey(self, shard: str, digest: hashlib.blake2b) -> list[Unit]:
        """The units of a shard; refuses sources whose columns differ."""
        tables: list[pa.Table] = []
        for source, files, schema in zip(self.sources, self.files, self.schemas, strict=True):
            with open_parquet(files[shard]) as file:
                if described(file.schema_arrow, source, files[shard]) != described(schema, source, source.files[0]):
                    raise UserError(
                        f"{files[shard]}: its columns or classes are not those of {source.files[0]}; "
                        f"make '{source.name}' anew"
                    )
                check_whole(files[shard], file)
                about = [name for name in ("split", "reason") if name in file.schema_arrow.names]
                about += ["labels"] if not tables else []
                tables.append(file.read(columns=["clip_id", "status", *about, *source.require]))
                self.footers[files[shard]] = file.metadata
                if not tables[1:]:
                    ends = np.cumsum([file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)])
            digest.update(footer(files[shard]))
        learned = tables[0].select([name for name in tables[0].column_names if name != "reason"])
        for batch in learned.combine_chunks().to_batches():
            digest.update(batch.serialize())
        for number, (source, table) in enumerate(zip(self.sources[1:], tables[1:], strict=True), 1):
            if not table["clip_id"].equals(tables[0]["clip_id"]):
                others = table.filter(pc.invert(pc.is_in(table["clip_id"], tables[0]["clip_id"].combine_chunks())))
                self.leave_out(others["split"], [f"{self.sources[0].name}: {ABSENT}"] * len(others))
                places = pc.index_in(tables[0]["clip_id"], table["clip_id"].combine_chunks())
                self.places[shard, source.name] = pc.fill_null(places, -1).to_numpy()
                tables[number] = table.take(places)
        faults = self.faults(tables)
        self.leave_out(tables[0]["split"], faults)
        good = faults.is_null().to_numpy()
        names = np.array(tables[0]["split"].to_pylist(), object)
        return [
            Unit(shard, start, stop, Counter(names[start:stop][good[start:stop]]))
            for start, stop in zip([0, *map(int, ends)], map(int, ends), strict=False)
        ]

    def faults(self, tables: Sequence[pa.Table]) -> pa.ChunkedArray:
        """What is the matter with each row in the first source that cannot use it; null where all can.

        A row that a source lacks has nulls everywhere in its table.
        """
        nothing = pa.scalar(None, pa.string())
        found: list[pa.ChunkedArray] = []
        for source, table in zip(self.sources, tables, strict=True):
            why = pc.coalesce(table["reason"] if "reason" in table.column_names else nothing, table["status"], ABSENT)
            good = pc.fill_null(pc.equal(table["status"], Status.OK), False)
            own = [pc.if_else(good, nothing, why)]
            for name in source.require:
                filled = pc.fill_null(pc.greater(pc.list_value_length(table[name]), 0), False)
                own.append(pc.if_else(filled, nothing, f"no {name}"))
            found.append(pc.binary_join_element_wise(source.name, pc.coalesce(*own), ": "))
        return pc.coalesce(*found)

    def leave_out(self, splits: pa.ChunkedArray | list[str], faults: pa.ChunkedArray | list[str]) -> None:
        """Counts the clips with a fault among those of the splits that are asked for."""
        table = pa.table({"split": splits, "why": faults})
        table = table.filter(pc.field("why").is_valid() & pc.field("split").isin(self.splits))
        for row in table.group_by(["split", "why"]).aggregate([([], "count_all")]).to_pylist():
            self.left_out[row["split"]] += row["count_all"]
            self.reasons.setdefault(row["split"], Counter())[row["why"]] += row["count_all"]

    def miss(self, manifest: Path) -> None:
        """Counts those clips of the manifest as left out that no source knows, such as those of a lost file."""
        for asked in read_parquet(manifest, ["split"])["split"].value_counts().to_pylist():
            split = asked["values"]
            missing = asked["counts"] - self.counts[split] - self.left_out[split]
            if split in self.splits and missing < 0:
                raise UserError(
                    f"{self.sources[0].files[0].parent}: its shards have {-missing} clips of the split '{split}' more "
                    f"than {manifest}, so some are not of this corpus as it is now; make '{self.sources[0].name}' anew"
                )
            if split in self.splits and missing > 0:
                self.leave_out([split] * missing, [f"{self.sources[0].name}: {ABSENT}"] * missing)

    def blocks_of(self, units: Sequence[Unit], split: str) -> Iterator[Block]:
        """The usable clips of a split in each unit, decoded; the next units are read while one is used."""

        def known_or_read(unit: Unit) -> tuple[Unit, Block]:
            return unit, self.cache.get((unit, split)) or self.read(unit, split)

        for unit, block in ahead(known_or_read, units, READERS):
            self.keep(unit, split, block)
            yield block

    def keep(self, unit: Unit, split: str, block: Block) -> None:
        """Holds a block in memory if there is room."""
        size = sum(map(size_of, block.values()))
        if size <= self.room and (unit, split) not in self.cache:
            self.room -= size
            self.cache[unit, split] = block

    def read(self, unit: Unit, split: str) -> Block:
        """The usable clips of a split in a unit, decoded."""
        tables: list[pa.Table] = []
        for source, files in zip(self.sources, self.files, strict=True):
            first = ["split"] if not tables else []
            columns = list(dict.fromkeys(["clip_id", "status", *first, *source.require, *source.columns]))
            places = self.places.get((unit.shard, source.name), EVERY)[unit.start : unit.stop]
            if len(there := places[places >= 0]):
                before = int(there.min())
                table = self.rows(files[unit.shard], before, int(there.max()) + 1, columns)
                tables.append(table.take(pa.array(places - before, mask=places < 0)))
            else:
                tables.append(self.rows(files[unit.shard], unit.start, unit.stop, columns))
        keep = pc.and_(self.faults(tables).is_null(), pc.equal(tables[0]["split"], split))
        block: Block = {"clip_id": np.array(tables[0]["clip_id"].filter(keep).to_pylist(), object)}
        for source, table in zip(self.sources, tables, strict=True):
            block |= source.decode(table.filter(keep))
        return block

    def rows(self, path: Path, start: int, stop: int, columns: list[str]) -> pa.Table:
        """The rows `start` to `stop` of a shard, of which only the row groups that hold them are read."""
        footer = self.footers[path]
        ends = np.cumsum([footer.row_group(n).num_rows for n in range(footer.num_row_groups)])
        first, last = np.searchsorted(ends, [start, stop - 1], side="right")
        with open_parquet(path, footer) as file:
            table = file.read_row_groups(range(int(first), int(last) + 1), columns=columns, use_threads=False)
        before = int(ends[first - 1]) if first else 0
        return table.slice(start - before, stop - start)

    def in_order(self, split: str, size: int, limit: int | None = None) -> Iterator[Block]:
        """The clips of a split in the order of the shards, at most `size` at a time; stops soon after `limit` clips."""
        units = [unit for unit in self.units if unit.usable.get(split, 0)]
        before = itertools.accumulate((unit.usable[split] for unit in units), initial=0)
        asked = [unit for unit, seen in zip(units, before, strict=False) if limit is None or seen < limit]
        for block in self.blocks_of(asked, split):
            yield from (part(block, start, start + size) for start in range(0, len(block["clip_id"]), size))

    def shuffled(self, split: str, size: int, pool_rows: int, seed: int, epoch: int) -> Iterator[Block]:
        """Every clip of a split once, in batches of `size`; the last one may be smaller.

        Units come in random order into a pool of `pool_rows` clips, from which batches are drawn. Everything depends
        on the seed and the epoch alone. The last batch but one takes a clip more rather than leave a single one, which
        batch normalisation cannot use.
        """
        rng = np.random.default_rng([seed, zlib.crc32(split.encode()), epoch])
        units = [unit for unit in self.units if unit.usable.get(split, 0)]
        left = self.counts[split]
        pool = Pool(min(max(pool_rows, size + 1), left), rng)

        def draw() -> Block:
            nonlocal left
            batch = pool.draw(size + (left == size + 1))
            left -= len(batch["clip_id"])
            return batch

        for block in self.blocks_of([units[number] for number in rng.permutation(len(units))], split):
            start = 0
            while start < len(block["clip_id"]):
                start = pool.take_in(block, start)
                if pool.held == pool.capacity:
                    yield draw()
        while pool.held:
            yield draw()


class AnnotatedStream(Stream):
    """Clips and their only feature, in shards that know neither splits nor labels.

    `clips` are the `split` and the `labels` (numbers, one at least) of the clips that are wanted. Temporary shards, the
    first source, hold them row by row; `decode` makes arrays of these. A block also holds `seconds` (clips,) and
    `features` (clips, frames, dims).
    """

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        clips: Mapping[str, Row],
        splits: Sequence[str],
        cache_bytes: int,
        decode: Callable[[pa.Table], Block],
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="annotations-")
        annotations = [annotate(file, Path(self.folder.name), clips) for file in files]
        labels = Source("manifest", annotations, ["labels"], decode, require=["labels"])
        super().__init__([labels, Source(name, files, ["seconds", "features"], features)], splits, cache_bytes)
        self.frames, self.dims = shards.array_spec(self.schemas[1].field("features"))[1]


def features(table: pa.Table) -> Block:
    """Stored features (clips, frames, dims) and the clips' seconds."""
    return {"seconds": table["seconds"].to_numpy(), "features": shards.stack(table, "features")}


def annotate(path: Path, folder: Path, clips: Mapping[str, Row]) -> Path:
    """Writes what is known of the clips of a feature shard, in its order and row groups; other clips are skipped."""
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.int32())), STATE[0]])
    written = folder / path.name
    with open_parquet(path) as file, pq.ParquetWriter(written, schema) as writer:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["clip_id"])["clip_id"].to_pylist()
            states = (Status.OK if clip_id in clips else Status.SKIPPED for clip_id in ids)
            rows = [{"clip_id": i, "status": s, **clips.get(i, {})} for i, s in zip(ids, states, strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return written


def steps_an_epoch(clips: int, batch: int) -> int:
    """The number of batches that `Stream.shuffled` makes."""
    steps = -(-clips // batch)
    return steps - (clips > batch and clips % batch == 1 % batch)


class Pool:
    """Clips waiting to be drawn at random, at most `capacity`."""

    def __init__(self, capacity: int, rng: np.random.Generator) -> None:
        self.capacity, self.rng, self.held = capacity, rng, 0
        self.arrays: Block = {}

    def take_in(self, block: Block, start: int) -> int:
        """Copies the clips of a block from `start` on while there is room; returns the first that stays outside."""
        if not self.arrays:
            self.arrays = {name: np.empty((self.capacity, *a.shape[1:]), a.dtype) for name, a in block.items()}
        stop = min(start + self.capacity - self.held, len(block["clip_id"]))
        for name, array in self.arrays.items():
            array[self.held : self.held + stop - start] = block[name][start:stop]
        self.held += stop - start
        return stop

    def draw(self, size: int) -> Block:
        """Takes `size` random clips out, or all if there are fewer."""
        chosen = self.rng.permutation(self.held)[:size]
        drawn = {name: array[chosen] for name, array in self.arrays.items()}
        self.held -= len(chosen)
        holes = chosen[chosen < self.held]  # are filled with what stays beyond the new end
        movers = np.setdiff1d(np.arange(self.held, self.held + len(chosen)), chosen)
        for array in self.arrays.values():
            array[holes] = array[movers]
        return drawn


def told(reasons: Counter[str]) -> str:
    """Reasons and how often each."""
    return ", ".join(f"{reason}: {number}" for reason, number in reasons.most_common())


def size_of(array: np.ndarray) -> int:
    """The bytes that an array of a block takes, those of the arrays in it too."""
    return array.nbytes + (sum(getattr(item, "nbytes", 0) for item in array) if array.dtype == object else 0)


def part(block: Block, start: int, stop: int) -> Block:
    """Some clips of a block, without copying."""
    return {name: array[start:stop] for name, array in block.items()}


def stated_classes(path: Path) -> list[str]:
    """The names of the classes that a feature shard with labels states."""
    stated = (parquet_schema(path).metadata or {}).get(b"classes")
    if stated is None:
        raise UserError(f"{path}: does not state its classes; make the features anew")
    names: list[str] = json.loads(stated)
    return names


def described(schema: pa.Schema, source: Source, path: Path) -> list[object]:
    """What all shards of a source must have in common: the classes, and type, dtype and shape of its columns."""
    for name in (*source.require, *source.columns):
        if name not in schema.names:
            raise UserError(f"{path}: has no column '{name}'{did_you_mean(name, schema.names)}")
    fields = [schema.field(name) for name in source.columns]
    return [(schema.metadata or {}).get(b"classes"), *((field.type, field.metadata) for field in fields)]


def check_whole(path: Path, file: pq.ParquetFile) -> None:
    """Raises `UserError` for a shard of records or texts without a row for each that its ledger, if there, tells of."""
    stated = (file.schema_arrow.metadata or {}).get(b"records")
    if stated is None or not (ledger := path.parent / stated.decode() / path.name).exists():
        return
    if "examples" in parquet_schema(ledger).names:
        files = read_parquet(ledger, ["examples"], pc.field("status") == Status.OK.value)
        expected = pc.sum(files["examples"]).as_py() or 0
    else:
        expected = shards.rows_in(ledger)
    doubled = int((file.schema_arrow.metadata or {}).get(b"doubled", 0))  # of records with one id the first is there
    if not 0 <= expected - file.metadata.num_rows <= doubled:
        raise UserError(
            f"{path}: has {file.metadata.num_rows} rows, and {ledger} tells of {expected}, so it is not whole, or "
            "another one's; remove the file and run again"
        )


def footer(path: Path) -> bytes:
    """The footer of a Parquet file, which tells the sizes and extremes of the pieces of every column."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return file.read(length)
