"""The lexicon of a corpus: every word of its titles and keywords, how often it occurs, its vector and its cluster.

Clusters are those of section 3.3 of arXiv 1706.05461: k-means of the vectors of all keyword occurrences of the train
split. Each word enters once, with its occurrences as its weight: the weighted sum of squared distances is the sum over
occurrences, so what is minimised is the same, and memory grows with the vocabulary and not with the videos. The words
of all videos fit into memory, so this is Lloyd's algorithm until it converges; the mini-batches of the authors' scripts
leave clusters empty and end well above its sum of squares.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import FeatureReducer
from workflow_scripts.formats.word_vectors import ASSETS, Kind, open_vectors
from workflow_scripts.parquet import open_parquet
from workflow_scripts.progress import progress
from workflow_scripts.shards import array_field, pack, write

log = logging.getLogger(__name__)

METRICS = {"l2": "euclidean", "l1": "manhattan"}


class Reducer(FeatureReducer):
    """Rows from the most frequent word to the least, equal ones by the alphabet; words outside the split count 0."""

    suffix = ".parquet"
    filtered: bool = Field(default=False, description="Of the texts without the words of their video's labels")
    split: str = Field(default="train", description="Split whose occurrences are counted and clustered")
    clusters: int = Field(ge=1, le=10_000_000, description="Clusters of keywords; fewer if there are fewer vectors")
    starts: int = Field(default=3, ge=1, description="Initialisations tried, of which the best is kept")
    assign: Literal["l2", "l1"] = Field(
        default="l2", description="Distance to the nearest cluster: k-means' own, or `l1` as the authors' scripts"
    )
    seed: int = Field(default=7, ge=0, description="Seed of the k-means")
    vectors: Kind = Field(default="spacy", description="Whose word vectors")

    @property
    def assets(self) -> tuple[str, ...]:
        return ASSETS[self.vectors]

    def reduce(self, shards: list[Path], manifest: Path, assets: dict[str, Path], output: Path) -> None:
        """Counts, clusters and writes; a split without any keyword is a `UserError`."""
        titles, keywords = self.count(shards)
        words = sorted(titles, key=lambda word: (-titles[word] - keywords[word], word))
        weights = np.array([keywords[word] for word in words], np.int64)
        if not weights.any():
            raise UserError(
                f"{output}: no video of the split '{self.split}' has a keyword with a word vector to cluster"
            )
        table = open_vectors(self.vectors, assets).lookup(words)
        centroids = self.cluster(table[weights > 0], weights[weights > 0])
        nearest = self.nearest(table, centroids)
        vector = array_field("vector", "float16", (table.shape[1],))
        fields = [pa.field("word", pa.string(), nullable=False)]
        fields += [pa.field("title_count", pa.int64()), pa.field("keyword_count", pa.int64())]
        schema = pa.schema(
            [*fields, pa.field("cluster", pa.int32()), vector], metadata={"clusters": str(len(centroids))}
        )
        rows = (
            {
                "word": word,
                "title_count": titles[word],
                "keyword_count": keywords[word],
                "cluster": int(nearest[place]),
                "vector": pack(table[place], vector),
            }
            for place, word in enumerate(words)
        )
        write(output, rows, schema, rows_a_group=8192)

    def count(self, shards: list[Path]) -> tuple[Counter[str], Counter[str]]:
        """Occurrences in titles and in keywords of the split; the first holds every word of all splits, perhaps 0."""
        names = ("title_filtered", "keywords_filtered") if self.filtered else ("title", "keywords")
        counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        for batch in batches(shards, ["split", *names]):
            counted = batch.filter(pc.equal(batch["split"], self.split))
            for name, counter in zip(names, counts, strict=True):
                counts[0].update(dict.fromkeys(batch[name].flatten().unique().to_pylist(), 0))
                for item in counted[name].flatten().value_counts().to_pylist():
                    counter[item["values"]] += item["counts"]
        return counts

    def cluster(self, table: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Centroids (clusters, dimensions) of the vectors of words that occur `weights` times."""
        from sklearn.cluster import KMeans

        clusters = min(self.clusters, len(np.unique(table, axis=0)))
        if clusters < self.clusters:
            log.warning("%d clusters instead of %d: there are no more different vectors", clusters, self.clusters)
        means = KMeans(clusters, n_init=self.starts, random_state=self.seed)
        return np.asarray(means.fit(table, sample_weight=weights).cluster_centers_)

    def nearest(self, table: np.ndarray, centroids: np.ndarray) -> np.ndarray:
        """The number of the centroid that is nearest to each vector."""
        from sklearn.metrics import pairwise_distances_argmin

        return np.asarray(pairwise_distances_argmin(table, centroids, metric=METRICS[self.assign]))


def batches(shards: list[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The given columns of all shards, a few thousand clips at a time; a missing column is a `UserError`."""
    for shard in progress(shards, "shards", len(shards), "shard"):
        with open_parquet(shard) as file:
            missing = sorted(set(columns) - set(file.schema_arrow.names))
            if missing:
                raise UserError(f"{shard}: has no column '{missing[0]}'; give the shards of the words of texts")
            yield from file.iter_batches(batch_size=8192, columns=columns)
