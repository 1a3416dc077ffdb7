"""Turns a corpus's own annotation files into its manifest: one row a clip.

    python -m workflow_scripts.corpora.annotate --reader clotho --annotation evaluation=captions.csv \\
        --definition '{"link": "{video_id}.wav"}' --output manifest.parquet
"""

import heapq
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer

from workflow_scripts.corpora.interface import HELD_OUT, Found, RecordReader
from workflow_scripts.corpora.plan import AnnotateCorpus
from workflow_scripts.errors import UserError, run
from workflow_scripts.files import LONGEST_ID, text_lines
from workflow_scripts.parquet import read_parquet
from workflow_scripts.settings.archive import filled
from workflow_scripts.settings.base import from_argument, pairs
from workflow_scripts.settings.plugins import READERS, plugin
from workflow_scripts.settings.sample import Sample
from workflow_scripts.shards import STATE, Reason, Row, Status, atomic, draw, read, write

log = logging.getLogger(__name__)

EVERYTHING = Sample()
GROUP = 4096  # rows in a row group

EVENT = pa.struct([("onset", pa.float64()), ("offset", pa.float64()), ("label", pa.string())])
MANIFEST = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("link", pa.string(), nullable=False),
        pa.field("files", pa.list_(pa.string())),  # paths in the archive, of which any may hold the clip
        pa.field("start", pa.float64(), nullable=False),
        pa.field("end", pa.float64()),
        pa.field("may_end_early", pa.bool_()),  # the end is not annotated: the source may be over before it
        pa.field("split", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("events", pa.list_(EVENT)),
        pa.field("captions", pa.list_(pa.string())),
        pa.field("temporal", pa.list_(pa.string())),  # the true temporal caption of each; only evaluation reads it
        *STATE,
    ]
)

FOLD = pa.field("fold", pa.int32())  # for cross-validation, where the reader tells it


def manifest(
    clips: Callable[[], Iterable[Row]], link: str | None, sample: Sample = EVERYTHING, names: Sequence[str] = ()
) -> Iterator[Row]:
    """The manifest's rows, streamed; `clips` gives a reader's rows, twice if not all are taken.

    `link` and `names` are templates with the fields of those rows: of a clip's link, and of the files that may hold it
    in an archive. Without a template a row's link is the reader's own, if it has one. Clips that are not taken stay as
    `skipped` rows.
    """
    kept = None
    if sample.limit is not None or sample.fraction < 1:
        kept = taken((clip for clip in clips() if clip.get("status", Status.OK) == Status.OK), sample)
    reason = Reason.LIMIT if sample.fraction == 1 else Reason.NOT_SAMPLED
    for clip in clips():
        refuse_unfit(clip)
        row = {key: value for key, value in clip.items() if key in (*MANIFEST.names, FOLD.name)}
        if link is not None:
            row["link"] = filled([link], clip, "link")[0]
        row["link"] = row.get("link", "")
        if names:
            row["files"] = filled(list(names), clip, "archive.names")
        row.setdefault("status", Status.OK)
        if kept is not None and row["status"] == Status.OK and row["clip_id"] not in kept:
            row |= {"status": Status.SKIPPED, "reason": reason}
        yield row


def taken(clips: Iterable[Row], sample: Sample) -> set[str]:
    """The ids of the clips in the sample: of each class of each split its share, then of each split within the limit.

    Which clips these are depends on their ids and the seed alone, so that every run has the same ones.
    """
    whole = ((clip["split"], *draw(clip["clip_id"], sample.seed)) for clip in clips)
    drawn = whole if sample.fraction == 1 else in_strata(clips, sample)
    if sample.limit is None:
        return {clip_id for _, _, clip_id in drawn}
    smallest: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for split, place, clip_id in drawn:
        heap, item = smallest[split], (-place, clip_id)
        if len(heap) < sample.limit:
            heapq.heappush(heap, item)
        else:
            heapq.heappushpop(heap, item)
    return {clip_id for heap in smallest.values() for _, clip_id in heap}


def in_strata(clips: Iterable[Row], sample: Sample) -> Iterator[tuple[str, int, str]]:
    """Split, place and id of the clips that a fraction takes; a clip's class is its first label."""
    strata: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for clip in clips:
        first = next(iter(clip.get("labels") or ()), "")
        strata[clip["split"], first].append(draw(clip["clip_id"], sample.seed))
    for (split, _), drawn in strata.items():
        yield from ((split, *item) for item in sorted(drawn)[: sample.share(len(drawn))])


def held_out(clips: Iterable[Row], path: Path) -> Iterator[Row]:
    """The rows of clips, those of the split `train` from a video that the file names in the split `validation`.

    A name without such a clip is a `UserError`.
    """
    videos = {line.strip(): number for number, line in enumerate(text_lines(path, "a list of videos"), 1)}
    found = set[str]()
    for clip in clips:
        if clip["split"] == "train" and (video := clip.get("video_id")) in videos:
            found.add(video)
            clip["split"] = "validation"
        yield clip
    if missing := [f"line {number}: '{video}'" for video, number in videos.items() if video and video not in found]:
        raise UserError(f"{path}, {missing[0]} has no clip in the split 'train'; name videos that are learned from")


def place(clip: Row) -> str:
    """Where a clip stands, in words."""
    return clip.where if isinstance(clip, Found) else f"the split '{clip['split']}'"


def refuse_unfit(clip: Row) -> None:
    """A clip id that cannot be a file's name is a `UserError`."""
    name = clip["clip_id"]
    if not name or name.startswith(".") or "/" in name or len(name.encode()) > LONGEST_ID or not name.isprintable():
        raise UserError(f"{place(clip)}: the clip id {name[:LONGEST_ID]!r} cannot be the name of a file; correct it")


def settle_doubles(path: Path, about: dict[str, str], droppable: bool, clips: Callable[[], Iterable[Row]]) -> None:
    """A clip id that stands twice in a manifest is a `UserError`; `clips` tells where.

    If `droppable`, the first of each is taken where at most one of a thousand is another one's double: the others leave
    the manifest, which then tells of each such id the link that was taken (`doubled` in its metadata `about`).
    """
    counts = read_parquet(path, ["clip_id"]).group_by("clip_id").aggregate([([], "count_all")])
    doubled = counts.filter(pc.field("count_all") > 1)
    if not doubled.num_rows:
        return
    name, more = doubled["clip_id"][0].as_py(), pc.sum(doubled["count_all"]).as_py() - doubled.num_rows
    if not droppable or more > max(1, counts.num_rows // 1000):
        where = [place(clip) for clip in clips() if clip["clip_id"] == name]
        raise UserError(
            f"the clip '{name}' stands in two splits or twice in one ({' and '.join(where)}); clip ids must be "
            "unique: remove all but one"
        )
    log.warning("%d records have the id of another one, such as '%s'; the first of each is taken", more, name)
    places = read_parquet(path, ["clip_id", "link"], pc.field("clip_id").isin(doubled["clip_id"].combine_chunks()))
    links = dict(reversed([(row["clip_id"], row["link"]) for row in places.to_pylist()]))
    seen: set[str] = set()

    def first(row: Row) -> bool:
        new = row["clip_id"] not in seen
        if row["clip_id"] in links:
            seen.add(row["clip_id"])
        return new

    write(path, filter(first, read(path)), MANIFEST.with_metadata(about | {"doubled": json.dumps(links)}), GROUP)


def annotate(job: AnnotateCorpus, output: Path) -> None:
    """Reads annotation files into a manifest."""
    reader, files = job.reading, dict(job.files)
    held = files.pop(HELD_OUT, None)
    for name in reader.files.keys() - reader.optional:
        if not files.get(name, Path()).is_file():
            raise UserError(
                f"the reader '{job.reader}' needs the file '{name}': {files.get(name, 'no file')} cannot be read"
            )
    for name in reader.optional & files.keys():
        if not files[name].is_file():
            log.info("%s is not there; the corpus is read without its %s", files.pop(name), name)
    counts, unusable = Counter[str](), Counter[str]()

    def clips() -> Iterator[Row]:
        rows = reader.read(files, job.ledgers) if isinstance(reader, RecordReader) else reader.read(files)
        return held_out(rows, held) if held else rows

    def counted() -> Iterator[Row]:
        for row in manifest(clips, job.link, job.sample, job.names):
            counts[row["split"]] += row["status"] == Status.OK
            if row["status"] == Status.FAILED:
                unusable[row["reason"]] += 1
            yield row

    about = {"limit": str(job.sample.limit or "")}
    schema = MANIFEST.append(FOLD) if reader.has_folds else MANIFEST
    with atomic(output) as temporary:
        write(temporary, counted(), schema.with_metadata(about), GROUP)
        if not counts:
            raise UserError(f"{', '.join(map(str, files.values())) or job.reader}: there is no clip; give other files")
        settle_doubles(temporary, about, isinstance(reader, RecordReader), clips)
    for split, count in counts.items():
        log.info("%s: %d clips", split, count)
    if unusable:
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(unusable.items()))
        log.warning("%d clips cannot be used: %s", unusable.total(), told)


def main(
    reader: Annotated[str, typer.Option(help="File in corpora/readers that understands the annotations.")],
    definition: Annotated[str, typer.Option(help="JSON with `link`, `names` (of an archive), `sample` and `reading`.")],
    output: Annotated[Path, typer.Option(help="The manifest to write.")],
    annotation: Annotated[list[str] | None, typer.Option(help="An annotation file, name=path; repeated.")] = None,
    ledger: Annotated[list[Path] | None, typer.Option(help="A ledger of fetched record files; repeated.")] = None,
) -> None:
    """Read annotation files into a manifest."""
    given = from_argument(definition)
    kind = plugin(READERS, reader, "--reader")
    reading = kind.check(given.pop("reading", {}), "--definition")
    files = pairs(annotation, "annotation")
    annotate(
        AnnotateCorpus.check(
            {"link": None, **given, "reader": reader, "reading": reading, "files": files, "needed": []}
            | {"ledgers": ledger or []},
            "--definition",
        ),
        output,
    )


if __name__ == "__main__":
    run(lambda: typer.run(main))
