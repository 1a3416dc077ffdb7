"""Writes the page of a listening test, and its key, which tells whose the captions are and is not for raters."""

import base64
import hashlib
import html
import json
import logging
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.listening.choice import Clip, choose, digest
from workflow_scripts.listening.plan import ExportListeningTest
from workflow_scripts.parquet import read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.settings.listening import ABOUT, HIGHEST, LOWEST, WHEN, ListeningTest
from workflow_scripts.shards import Status, atomic, read

log = logging.getLogger(__name__)

PARTS = Path(__file__).parent
# What a page is put together from; its scripts run in this order.
TEMPLATE, STYLE, SCRIPTS = PARTS / "page.html", PARTS / "page.css", (PARTS / "order.js", PARTS / "page.js")
BIT_RATE = "64k"


def as_mp3(path: Path) -> bytes:
    """The sound of a media file as mono MP3; a `UserError` when it has none."""
    import imageio_ffmpeg

    call = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", str(path)]
    call += ["-vn", "-map_metadata", "-1", "-ac", "1", "-c:a", "libmp3lame", "-b:a", BIT_RATE]
    done = subprocess.run([*call, "-bitexact", "-f", "mp3", "pipe:1"], capture_output=True, check=False)
    if done.returncode or not done.stdout:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"{path}: its sound cannot be encoded ({reason[-1] if reason else 'there is none'})")
    return done.stdout


def sounds_of(ledgers: Sequence[Path], store: Path) -> dict[str, Path]:
    """The files of the fetched clips of a corpus by clip."""
    rows = (row for ledger in ledgers for row in read(ledger, ["clip_id", "path", "status"]))
    return {row["clip_id"]: store / row["path"] for row in rows if row["status"] == Status.OK}


def captions_of(path: Path, seed: int, split: str) -> dict[str, str]:
    """The captions that one seed of a captioner predicted, by clip."""
    wanted = (pc.field("seed") == seed) & (pc.field("split") == split)
    table = read_parquet(path, ["seed", "split", "clip_id", "caption"], wanted)
    if not table.num_rows:
        raise UserError(f"{path}: has no '{split}' captions of seed {seed}")
    found = zip(table["clip_id"].to_pylist(), table["caption"].to_pylist(), strict=True)
    return {clip_id: caption for clip_id, caption in found if caption is not None}


def key_of(name: str, test: ListeningTest, clips: Sequence[Clip]) -> dict[str, Any]:
    """What ratings are read with: the systems of each caption by its id."""
    counts = {corpus: sum(clip.corpus == corpus for clip in clips) for corpus in test.clips}
    captions = {
        caption.id: {
            "corpus": clip.corpus,
            "clip_id": clip.clip_id,
            "systems": caption.systems,
            "text": caption.text,
        }
        for clip in clips
        for caption in clip.captions
    }
    identity = digest(name, *sorted(captions))
    return {"test": identity, "seed": test.seed, "clips": counts, "wanted": dict(test.clips), "captions": captions}


def content(name: str, test: ListeningTest, key: Mapping[str, Any], clips: Sequence[Clip]) -> dict[str, Any]:
    """What the page shows; nothing in it tells whose a caption is."""
    return {
        "test": key["test"],
        "name": name,
        "title": test.title,
        "points": list(range(LOWEST, HIGHEST + 1)),
        "scales": [{"name": scale, "question": question} for scale, question in test.scales.items()],
        "columns": {"about": list(ABOUT), "when": WHEN},
        "clips": [
            {
                "id": clip.clip_id,
                "sound": f"data:audio/mpeg;base64,{base64.b64encode(as_mp3(clip.sound)).decode()}",
                "captions": [{"id": caption.id, "text": caption.text} for caption in clip.captions],
            }
            for clip in progress(clips, "sounds")
        ],
    }


def page_of(shown: Mapping[str, Any], about: str) -> str:
    """The page: one file that loads nothing; its policy allows only its own script, style and sounds."""
    style = STYLE.read_text(encoding="utf-8")
    script = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{hash_of(script)}'",
            f"style-src '{hash_of(style)}'",
            "media-src data:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    data = json.dumps(shown, ensure_ascii=False).replace("<", "\\u003c")  # no caption can end the script that holds it
    parts = {"policy": policy, "about": html.escape(about), "title": html.escape(shown["title"]), "style": style,
             "data": data, "script": script}  # fmt: skip
    pieces = TEMPLATE.read_text(encoding="utf-8").split("@@")  # text, name, text, name, …, text
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def hash_of(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def export_listening_test(job: ExportListeningTest, page: Path, key: Path) -> None:
    """Writes the page of a listening test and its key."""
    test = job.test
    captions = {name: captions_of(job.predictions[name], test.seed, test.split) for name in test.experiments()}
    columns = ["clip_id", "split", "captions", "status"]
    clips = [
        clip
        for corpus in test.clips
        for clip in choose(
            test,
            corpus,
            read(job.manifests[corpus], columns),
            sounds_of(job.clips[corpus], job.stores[corpus]),
            captions,
        )
    ]
    found = key_of(job.name, test, clips)
    about = ", ".join(f"{found['clips'][corpus]} of {n} clips of {corpus}" for corpus, n in test.clips.items())
    log.info("%s: %s, %d captions", job.name, about, len(found["captions"]))
    text = page_of(content(job.name, test, found, clips), about)
    with atomic(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with atomic(key) as temporary:
        temporary.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
