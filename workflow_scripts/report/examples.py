"""Clips of a report: their sound, as a file and as a picture, what is true of them, and what systems answered."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.parquet import read_parquet
from workflow_scripts.report.plan import Examples
from workflow_scripts.shards import ClipError, Row, Status

CLIPS = 3
RATE = 16_000  # Hz, of the sound that is embedded
WORDS = 4  # the classes, at most, that stand in an answer


@dataclass(frozen=True)
class Example:
    """A clip; sound and picture are data URLs, empty where there are none."""

    clip_id: str
    truth: list[str]
    answers: dict[str, str]
    sound: str = ""
    picture: str = ""


def examples(found: Examples) -> list[Example]:
    """The first clips, by a hash of their ids, of the split that was predicted last."""
    answers = {name: answers_of(path) for name, path in found.answers.items()}
    everywhere = set.intersection(*(set(own) for own in answers.values()))
    truth = {row["clip_id"]: row for row in shards.read(found.manifest) if row["clip_id"] in everywhere}
    chosen = sorted(truth, key=lambda clip_id: hashlib.sha256(clip_id.encode()).digest())[:CLIPS]
    files = {
        row["clip_id"]: found.store / row["path"]
        for ledger in found.clips
        for row in shards.read(ledger)
        if row["status"] == Status.OK and row["clip_id"] in chosen and row.get("path")
    }
    return [
        Example(
            clip_id,
            truth_of(truth[clip_id]),
            {name: own[clip_id] for name, own in answers.items()},
            *heard(files.get(clip_id)),
        )
        for clip_id in chosen
    ]


def truth_of(row: Row) -> list[str]:
    """What an annotation says of a clip, in words."""
    if row.get("captions"):
        return list(row["captions"][:2])
    if row.get("events"):
        return [f"{event['label']} {event['onset']:.1f}–{event['offset']:.1f} s" for event in row["events"]]
    return [", ".join(row.get("labels") or [])]


def answers_of(path: Path) -> dict[str, str]:
    """What the first seed answered to each clip of the split that stands last in a file of predictions."""
    table = read_parquet(path)
    table = table.filter(pc.field("seed") == table["seed"][0])
    table = table.filter(pc.field("split") == table["split"][-1])
    ids: list[str] = table["clip_id"].to_pylist()
    return dict(zip(ids, in_words(table), strict=True))


def in_words(table: pa.Table) -> list[str]:
    """Each row of a table of predictions in words; `training/outputs.py` tells the kinds."""
    names, metadata = set(table.schema.names), table.schema.metadata or {}
    if "caption" in names:
        return [caption or "(no word)" for caption in table["caption"].to_pylist()]
    if "scores" in names:
        classes = json.loads(metadata[b"classes"])
        best, scores = shards.stack(table, "classes"), shards.stack(table, "scores")
        return [listed([classes[n] for n in own], values) for own, values in zip(best[:, :WORDS], scores, strict=True)]
    if "clip" in names:
        classes = json.loads(metadata[b"classes"])
        return [
            listed([classes[n] for n in np.argsort(-row)[:WORDS]], np.sort(row)[::-1])
            for row in shards.stack(table, "clip")
        ]
    if b"heads" in metadata:
        heads: Mapping[str, Sequence[str]] = json.loads(metadata[b"heads"])
        parts = [[heads[head][n] for n in shards.stack(table, f"logits_{head}").argmax(1)] for head in heads]
        return [", ".join(row) for row in zip(*parts, strict=True)]
    classes = json.loads(metadata[b"classes"])
    return [classes[n] for n in shards.stack(table, "logits").argmax(1)]


def listed(classes: Sequence[str], scores: Sequence[float] | np.ndarray) -> str:
    """The likely classes with their scores, the first in any case."""
    kept = [f"{name} {value:.2f}" for name, value in zip(classes, scores, strict=False) if value >= 0.5]
    return ", ".join(kept) or f"none (likeliest: {classes[0]} {scores[0]:.2f})"


def heard(path: Path | None) -> tuple[str, str]:
    """The sound of a file and its spectrogram, as data URLs; empty where it has none."""
    from workflow_scripts.listening.export import as_mp3
    from workflow_scripts.media.audio import read_mono

    if path is None:
        return "", ""
    try:
        picture = spectrogram(read_mono(path, RATE))
        return data_url("audio/mpeg", as_mp3(path)), data_url("image/png", picture)
    except (ClipError, UserError):
        return "", ""


def spectrogram(samples: np.ndarray) -> bytes:
    """A PNG of the log-mel spectrogram of samples at `RATE`, low frequencies at the bottom."""
    import librosa
    from matplotlib import colormaps
    from matplotlib.image import imsave

    power = librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=1024, hop_length=256, n_mels=64, power=2)
    levels = np.clip(librosa.power_to_db(power, ref=np.max, top_db=70) / 70 + 1, 0, 1)
    picture = io.BytesIO()
    imsave(picture, colormaps["magma"](levels[::-1]), format="png")
    return picture.getvalue()


def data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def answered(found: Examples | None) -> list[dict[str, Any]]:
    """The examples as a template reads them."""
    return [example.__dict__ for example in examples(found)] if found else []
