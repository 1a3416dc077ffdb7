"""The smallest work of a plug-in of each kind, on tiny input that is made from what its base declares."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import reader_files
import torch
from language_models import CAPTION, KEY, served, untrained
from safetensors.numpy import save_file

from composed.composer import Composer
from workflow_scripts.captions.interface import CaptionBackend
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.store import Store
from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.corpora.interface import CorpusReader, RecordReader
from workflow_scripts.features import interface as features
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.material import Material
from workflow_scripts.figures.style import save
from workflow_scripts.scores.families import multilabel
from workflow_scripts.scores.interface import MetricFamily
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings import papers
from workflow_scripts.settings.assets import Catalogue
from workflow_scripts.settings.base import Strict
from workflow_scripts.settings.corpora import Corpora
from workflow_scripts.settings.papers import Paper
from workflow_scripts.settings.plugins import (
    ANALYTIC,
    BACKENDS,
    COMPOSERS,
    EXTRACTORS,
    FAMILIES,
    FIGURES,
    READERS,
    REDUCERS,
    SYSTEMS,
    names,
    plugin,
)
from workflow_scripts.settings.tables import Table
from workflow_scripts.shards import STATE, Row, array_field, pack, read, write
from workflow_scripts.tables.interface import TableSource
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.system import System
from workflow_scripts.training.train import train

ROOT = Path(__file__).parent.parent
LARGEST = 50_000_000  # bytes of an asset that tests fetch
SECONDS = 1.0
CLASSES = ["0", "1"]
FRAMES, DIMENSIONS = 4, 3
PER_CLASS = ("logits", "logits_class", "clip", "scores")
TEXTS = ("title", "keywords", "title_filtered", "keywords_filtered")
CLIPS = [f"{split}-{number}" for split in ("train", "validation", "test") for number in range(6)]


@dataclass(frozen=True)
class Given:
    """What a plug-in is given: its name, a folder of its own, and the way to the files of assets."""

    name: str
    folder: Path
    asset: Callable[[str], Path]
    patch: pytest.MonkeyPatch

    def assets(self, wanted: tuple[str, ...]) -> dict[str, Path]:
        """Small assets of package registries; networks whose weights are none of these get random weights."""
        catalogue = Catalogue.load(ROOT / "assets.yaml").assets
        had = [name for name in wanted if catalogue[name].location.startswith("pypi:")]
        had = [name for name in had if (catalogue[name].bytes or LARGEST) < LARGEST]
        self.patch.setattr("workflow_scripts.models.pretrained.pretrained", self.network)
        self.patch.setattr("workflow_scripts.models.panns.Panns.load", lambda network, path: None)
        return {name: self.asset(name) if name in had else Path("random") for name in wanted}

    def network(self, build: Callable[[], torch.nn.Module], path: Path) -> torch.nn.Module:
        return build().eval()


# readers


def annotated(reader: CorpusReader, given: Given) -> dict[str, Path]:
    """The reader's files, by role."""
    getattr(reader_files, given.name, lambda folder: None)(given.folder)  # or they lie there already
    files = {role: given.folder / name for role, name in reader.files.items()}
    return {role: path for role, path in files.items() if path.exists()}


def clips_of(reader: CorpusReader, given: Given, files: dict[str, Path]) -> list[Row]:
    """What a reader reads; one of a corpus of records is given the ledgers that lie there too."""
    if isinstance(reader, RecordReader):
        return list(reader.read(files, sorted((given.folder / "records").glob("*.parquet"))))
    return list(reader.read(files))


def read_corpus(reader: CorpusReader, given: Given) -> None:
    """All clips can stand in a manifest, each once, and there is something to train and to test with."""
    if "folder" in type(reader).model_fields:
        reader = reader.model_copy(update={"folder": given.folder})
    files = annotated(reader, given)
    assert reader.files.keys() - reader.optional <= files.keys()
    rows = clips_of(reader, given, files)
    assert {key for row in rows for key in row} <= {*MANIFEST.names, "video_id", *reader.fields}
    assert len({row["clip_id"] for row in rows}) == len(rows)
    write(given.folder / "manifest.parquet", manifest(lambda: rows, "{video_id}"), MANIFEST)


def compose(composer: Composer, given: Given) -> None:
    """The same files whatever the number of processes. The tests of `composed` let all that are there work."""
    folders = [given.folder / name for name in ("one", "two")]
    for workers, folder in enumerate(folders, 1):
        composer.compose(given.assets(composer.assets), folder, workers)
    files = [{path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")} for folder in folders]
    assert Path("COMPOSED.md") in files[0]
    assert files[0] == files[1]


# extractors and reducers


def extract(extractor: features.FeatureExtractor, given: Given) -> None:
    """Two clips, or what stands for them, become arrays or columns as declared."""
    with torch.inference_mode():
        if isinstance(extractor, features.ArrayExtractor):
            if isinstance(extractor, features.FrameExtractor):
                extractor = extractor.model_copy(update={"frames_per_clip": 1})
            found = arrays(extractor, given)
            assert found.shape == (2, *extractor.shape(SECONDS))
            assert np.isfinite(found).all()
        elif isinstance(extractor, features.CaptionExtractor):
            manifest = everything(given.folder)["manifest"]
            job = RewriteCaptions(manifest=manifest, temporal=extractor, answers=given.folder / "store")
            job.run(given.folder / "rewritten.parquet")
            assert {row["temporal"] for row in read(given.folder / "rewritten.parquet")} == {
                "dog barks: 1; man speaks: 2"
            }
        else:
            rows = rows_of(extractor, given)
            for row in rows:
                assert {"clip_id", "labels", *(column.name for column in extractor.columns())} >= row.keys()
            pa.Table.from_pylist(rows, schema=pa.schema(extractor.columns()))


def arrays(extractor: features.ArrayExtractor, given: Given) -> np.ndarray:
    random = np.random.default_rng(0)
    if isinstance(extractor, features.AudioExtractor):
        batch = random.uniform(-0.5, 0.5, (2, extractor.samples(SECONDS))).astype(np.float32)
    elif isinstance(extractor, features.FrameExtractor):
        batch = random.integers(0, 256, (2, 1, extractor.size, extractor.size, 3)).astype(np.uint8)
    else:
        assert isinstance(extractor, features.CorpusExtractor)
        readers = {name: plugin(READERS, name, name) for name in names(READERS)}
        name = next(name for name, reader in readers.items() if set(extractor.files) <= reader.files.keys())
        files = annotated(readers[name](), Given(name, given.folder, given.asset, given.patch))
        clips = [row["clip_id"] for row in clips_of(readers[name](), given, files)]
        return extractor.load({role: files[role] for role in extractor.files}, "cpu")(clips[:2])
    assert isinstance(extractor, features.MediaExtractor)
    return extractor.load(given.assets(extractor.assets), "cpu")(batch)


def rows_of(extractor: features.FeatureExtractor, given: Given) -> list[Row]:
    if isinstance(extractor, features.RecordExtractor):
        reader_files.youtube8m(given.folder)
        return list(extractor.read(given.folder / "records" / f"{extractor.level}.tfrecord"))
    assert isinstance(extractor, features.TextExtractor)
    words = extractor.load(given.assets(extractor.assets), ["Game", "Car"])
    texts = {"title": "A game about a red car", "keywords": ["car", "road"], "labels": [1]}
    return [words({**texts, "clip_id": "a"}), words({"clip_id": "b", "title": None, "keywords": None, "labels": []})]


def reduce(reducer: features.FeatureReducer, given: Given) -> None:
    output = given.folder / f"reduced{reducer.suffix}"
    files = everything(given.folder)
    reducer.reduce([files["features"]], files["manifest"], given.assets(reducer.assets), output)
    assert list(read(output)) if reducer.suffix == ".parquet" else json.loads(output.read_text())


# captions


def rewrite_captions(backend: CaptionBackend, given: Given) -> None:
    """Two captions, of which one is of no use; models are untrained, and served on this machine."""
    model, tokenizer = untrained()
    model.save_pretrained(given.folder / "model")
    tokenizer.save_pretrained(given.folder / "model")
    (given.folder / "known.jsonl").write_text(json.dumps({"caption": CAPTION, "temporal": "dog barks: 1"}))
    given.patch.setenv("OPENAI_API_KEY", KEY)
    with served() as (url, _):
        world = {"url": url, "model": str(given.folder / "model"), "asset": None, "path": given.folder / "known.jsonl"}
        world = {key: value for key, value in world.items() if key in type(backend).model_fields}
        rewriter = backend.model_copy(update=world).rewriter("mention", Store(given.folder, "test"), {}, "cpu")
        good, bad = rewriter([CAPTION, "?"])
    assert isinstance(good, tuple)
    assert good.temporal.items
    assert isinstance(bad, Exception)


# training; tests/test_training.py lets all systems train that are there, on a toy corpus of each


def train_one(system: System, given: Given) -> None:
    """One seed, of a system that reads the feature of its name."""
    files, folder = everything(given.folder), given.folder / "trained"
    values = {
        "system": given.name, "settings": system.model_copy(update={"classes": CLASSES}), "seeds": [0],
        "manifest": files["manifest"], "features": {given.name: [files["features"]]}, "clip_seconds": SECONDS,
        "checkpoints": given.folder / "checkpoints", "device": "cpu",
    }  # fmt: skip
    train(TrainingJob.check(values, "job"), folder)
    assert {row["clip_id"] for row in read(folder / "predictions.parquet")} <= set(CLIPS)


# scores, tables and figures


def score_clips(scorer: MetricFamily, given: Given) -> None:
    """Weights of one are the sample itself, and a resample has the same scores whatever the order of its clips."""
    files = everything(given.folder)
    references = [row for row in read(files["manifest"]) if row["split"] == "test"]
    table = pq.read_table(files["predictions"]).filter(pa.compute.field("split") == "test")
    records = scorer.records(table, references, given.assets(scorer.assets))
    assert len(records) == len(references)
    weights = np.ones((3, len(records)))
    weights[2, ::2] = 0
    scores = scorer.aggregate(records, weights)
    assert list(scores) == list(scorer.metrics)
    for values in scores.values():
        assert values.shape == (3,)
        np.testing.assert_equal(values[0], values[1])

    group, drawn = np.arange(len(records)) % 2, np.array([[1, 1, 2], [1, 1, 1]])  # clips that are drawn in two groups
    parts = [(records[part], group[part]) for part in (slice(None, 1), slice(1, None))]
    replicated = scorer.replicate(iter(parts), drawn)
    for name, values in scorer.aggregate(records, drawn[group].T).items():
        np.testing.assert_allclose(replicated[name], values, rtol=1e-12)


def read_off(source: TableSource, given: Given) -> None:
    """The experiment is the first in the papers that such a table is about; of a new source the first of all."""
    corpora = Corpora.load(ROOT / "corpora.yaml").corpora
    known = [Paper.load(ROOT / "papers" / name, "mini") for name in papers.names(ROOT / "papers")]
    named = [
        (part.name, paper, part.experiment)
        for paper in known
        for name, table in paper.tables.items()
        for part in Table.check(table, name).analytic
    ]
    _, paper, name = next((found for found in named if found[0] == given.name), named[0])
    experiment = paper.experiments[name]
    described = {feature: paper.features[feature].model_dump() for feature in experiment.features}
    seconds = corpora[paper.corpora[experiment.corpus]].clip_seconds
    cells = source.cells({**experiment.model_dump(), "features": described, "clip_seconds": seconds})
    assert cells
    assert all(isinstance(text, str) and len(place) == 2 for place, text in cells.items())


def draw(figure: FigureKind, given: Given) -> None:
    files = everything(given.folder)
    scorer, counted = multilabel.Scorer(), given.folder / "counts.parquet"
    job = Score(family="multilabel", settings=scorer, manifest=files["manifest"], predictions=[files["predictions"]])
    job.run(given.folder / "scores.parquet", counted, given.folder / "replicates.parquet")
    counts = [["a dog", 3], ["rain", 2]]
    material = Material(
        seed=0,
        history=files["history"],
        predictions=files["predictions"],
        weights=files["weights"],
        manifest=files["manifest"],
        features={stream: [files["features"]] for stream in figure.streams()},
        scores={"one": counted},
        shown={"one": files["predictions"]},
        values={"mean": 0.0, "std": 1.0, "label_counts": [3, 2], given.name: counts},
    )
    numbers = figure.data(material)
    assert len(numbers)
    save(lambda: figure.draw(numbers), "title", "note", [given.folder / "figure.png"])
    assert (given.folder / "figure.png").stat().st_size > 1000


def everything(folder: Path) -> dict[str, Path]:
    """Files of one small experiment in which each stage finds what it reads, whatever the kind of the experiment."""
    files = {name: folder / f"{name}.parquet" for name in ("manifest", "features", "predictions", "history")}
    files["weights"] = folder / "weights.safetensors"
    random = np.random.default_rng(0)
    arrays = {
        "features": array_field("features", "float16", (FRAMES, DIMENSIONS)),
        **{
            name: array_field(name, "float32", (len(CLASSES),)) for name in ("logits", "logits_class", "clip", "scores")
        },
        "frames": array_field("frames", "float32", (10, len(CLASSES))),
        "classes": array_field("classes", "int32", (len(CLASSES),)),
    }
    clips: list[Row] = []
    for number, name in enumerate(CLIPS):
        label, made = str(number % 2), {key: random.uniform(0, 1, array_shape(field)) for key, field in arrays.items()}
        made["classes"] = np.arange(len(CLASSES))
        clips.append(
            {"clip_id": name, "link": "", "start": 0.0, "split": name.split("-")[0], "status": "ok", "labels": [label],
             "events": [{"onset": 0.1, "offset": 0.8, "label": label}], "captions": [CAPTION], "temporal": None,
             "seed": 0, "seconds": SECONDS, "caption": CAPTION, "caption_index": 0, "source": "rules", "orders": 2,
             **{name: ["dog", "rain"] for name in TEXTS},
             **{key: pack(made[key], field) for key, field in arrays.items()}}
        )  # fmt: skip
    write(files["manifest"], [{key: row[key] for key in MANIFEST.names if key in row} for row in clips], MANIFEST)
    head = [("clip_id", pa.string()), ("split", pa.string()), ("seconds", pa.float64()), ("caption", pa.string())]
    about = {"classes": json.dumps(CLASSES), "heads": json.dumps({"class": CLASSES}), "frame_seconds": "0.1"}
    predicted = [*head, ("seed", pa.int32()), *(field for key, field in arrays.items() if key != "features")]
    write(files["predictions"], clips, pa.schema(predicted, metadata=about))
    lists = [(name, pa.list_(pa.string())) for name in TEXTS]
    told = [(name, pa.string()) for name in ("temporal", "source")]
    counted = [(name, pa.int32()) for name in ("caption_index", "events", "orders")]
    columns = [*head, ("labels", pa.list_(pa.int32())), *lists, *told, *counted, arrays["features"], *STATE]
    rows = [{**row, "labels": [int(row["labels"][0])], "temporal": "dog barks: 1", "events": 1} for row in clips]
    write(files["features"], rows, pa.schema(columns, metadata={**about, "backend": "rules", "ties": "mention"}))
    losses = ("loss", "validation_loss", "validation_accuracy", "best")
    history = [{"seed": 0, "step": n, "epoch": n, **dict.fromkeys(losses, 1.0 / n)} for n in (1, 2, 3)]
    numbers = [(name, pa.int32()) for name in ("seed", "step", "epoch")] + [(name, pa.float64()) for name in losses]
    write(files["history"], history, pa.schema(numbers))
    kernel, bias = np.ones((1, 1, 3, 3), np.float32), np.zeros(1, np.float32)
    save_file({"0/adaptor.convolution.weight": kernel, "0/adaptor.convolution.bias": bias}, files["weights"])
    return files


def array_shape(field: pa.Field) -> tuple[int, ...]:
    return tuple(json.loads(field.metadata[b"shape"]))


WORK: dict[str, Callable[[Any, Given], None]] = {
    READERS: read_corpus,
    COMPOSERS: compose,
    EXTRACTORS: extract,
    REDUCERS: reduce,
    BACKENDS: rewrite_captions,
    SYSTEMS: train_one,
    FAMILIES: score_clips,
    ANALYTIC: read_off,
    FIGURES: draw,
}


def work(package: str, settings: Strict, given: Given) -> None:
    """The smallest work of a plug-in."""
    WORK[package](settings, given)
