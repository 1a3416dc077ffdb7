"""Statistics of titles, keywords and labels: how many videos have them, and how much they have in common."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import FeatureReducer
from workflow_scripts.features.reducers.lexicon import batches
from workflow_scripts.features.words import keyword_phrase, overlap, title_phrase
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.shards import atomic

SPLITS = ("train", "dev", "validation", "test")


class Reducer(FeatureReducer):
    """Shares are 0 … 1; a mean over no videos is null.

    The overlap is section 4.3.2's of arXiv 1706.05461: of a video's words, the share that belongs to labels of the
    video all of whose words are there, averaged over the videos of all splits that have that text.
    """

    suffix = ".json"
    split: str = Field(default="train", description="Split whose labels and keywords are ranked")
    top: int = Field(default=20, ge=1, description="Length of the lists of the most frequent")

    def reduce(self, shards: list[Path], manifest: Path, assets: dict[str, Path], output: Path) -> None:
        """Counts and writes; shards without the names of the classes are a `UserError`."""
        classes = classes_of(shards)
        title_phrases, keyword_phrases = map(title_phrase, classes), map(keyword_phrase, classes)
        phrases = {"title": list(title_phrases), "keywords": list(keyword_phrases)}
        videos: dict[str, Counter[str]] = {name: Counter() for name in ("videos", "keywords", "title", "both")}
        overlaps: dict[str, list[float]] = {"title": [0, 0], "keywords": [0, 0]}  # the sum, and of how many
        labels: Counter[int] = Counter()
        ranked: Counter[str] = Counter()
        vocabulary: set[str] = set()
        occurrences = 0
        for batch in batches(shards, ["split", "labels", "title", "keywords"]):
            for row in batch.to_pylist():
                split, found = row["split"], row["labels"] or []
                videos["videos"][split] += 1
                videos["both"][split] += bool(row["title"] and row["keywords"])
                for name, total in overlaps.items():
                    if row[name]:
                        videos[name][split] += 1
                        total[0] += overlap(row[name], [phrases[name][label] for label in found])
                        total[1] += 1
                occurrences += len(row["keywords"] or [])
                vocabulary.update(row["keywords"] or [])
                if split == self.split:
                    labels.update(found)
                    ranked.update(row["keywords"] or [])
        means = {name: mean(*total) for name, total in overlaps.items()}
        both = [value for value in means.values() if value is not None]
        frequent = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
        statistics: dict[str, Any] = {
            "videos": by_split(videos["videos"]),
            "with_keywords": by_split(videos["keywords"]),
            "with_title": by_split(videos["title"]),
            "with_both": by_split(videos["both"]),
            "share_keywords": mean(videos["keywords"].total(), videos["videos"].total()),
            "share_both": mean(videos["both"].total(), videos["videos"].total()),
            "vocabulary": len(vocabulary),
            "keywords_per_video": mean(occurrences, videos["keywords"].total()),
            "overlap_keywords": means["keywords"],
            "overlap_title": means["title"],
            "overlap": mean(sum(both), len(both)),
            "top10_share": mean(sum(count for _, count in frequent[:10]), labels.total()),
            "top_keywords": sorted(ranked.items(), key=lambda item: (-item[1], item[0]))[: self.top],
            "top_labels": [(classes[label], count) for label, count in frequent[: self.top]],
            "label_counts": [labels[label] for label in range(len(classes))],
        }
        with atomic(output) as temporary:
            temporary.write_text(json.dumps(statistics, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def classes_of(shards: list[Path]) -> list[str]:
    """The names of the classes, which stand in the metadata of every shard."""
    metadata = parquet_schema(shards[0]).metadata or {} if shards else {}
    if b"classes" not in metadata:
        raise UserError(f"{shards[0] if shards else 'no shard'}: does not name its classes; extract the words again")
    return list(json.loads(metadata[b"classes"]))


def by_split(counts: Counter[str]) -> dict[str, int]:
    """The counts of the usual splits, and of any other that occurs."""
    return {split: counts[split] for split in dict.fromkeys((*SPLITS, *counts))}


def mean(total: float, count: float) -> float | None:
    """The mean; of nothing there is none."""
    return total / count if count else None
