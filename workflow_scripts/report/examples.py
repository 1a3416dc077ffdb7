"""Clips of a report: their sound, as a file and as a picture, what is true of them, and what systems answered."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.report.plan import Examples
from workflow_scripts.shards import ClipError, Status
from workflow_scripts.training.answers import answered, answers_of, in_order, names_of, truths_of

CLIPS = 3
RATE = 16_000  # Hz, of the sound that is embedded


@dataclass(frozen=True)
class Example:
    """A clip; sound and picture are data URLs, empty where there are none."""

    clip_id: str
    truth: list[str]
    answers: dict[str, str]
    sound: str = ""
    picture: str = ""


def examples(found: Examples) -> list[Example]:
    """The first clips, in the order of examples, that all systems answered of the split that was predicted last."""
    everywhere = set.intersection(*(answered(path) for path in found.answers.values()))
    names = next((names for path in found.answers.values() if (names := names_of(path))), [])
    known = truths_of(found.manifest, everywhere, names)
    chosen = in_order(known)[:CLIPS]
    answers = {name: answers_of(path, chosen) for name, path in found.answers.items()}
    files = {
        row["clip_id"]: found.store / row["path"]
        for ledger in found.clips
        for row in shards.read(ledger)
        if row["status"] == Status.OK and row["clip_id"] in chosen and row.get("path")
    }
    return [
        Example(
            clip_id,
            known[clip_id],
            {name: own[clip_id] for name, own in answers.items()},
            *heard(files.get(clip_id)),
        )
        for clip_id in chosen
    ]


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


def as_mappings(found: Examples | None) -> list[dict[str, Any]]:
    """The examples as a template reads them."""
    return [example.__dict__ for example in examples(found)] if found else []
