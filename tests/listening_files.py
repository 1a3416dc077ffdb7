"""A small listening test: two corpora with sounds, captions and made predictions of three systems."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.listening.plan import ExportListeningTest
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.shards import STATE, Status, write
from workflow_scripts.training.outputs import CLIP

NASTY = '</script><script>document.title = "broken"</script> & "quoted", <b>bold</b>'

TEST: dict[str, Any] = {
    "title": "What do you hear?",
    "clips": {"park": 2, "street": 1},
    "systems": {
        "Truth": None,
        "Plainsystem": {"park": "park_plain", "street": "street_plain"},
        "Nastysystem": {"park": "park_nasty", "street": "street_nasty"},
        "Copysystem": {"park": "park_copy", "street": "street_copy"},
    },
    "scales": {"quality": "Does the caption say what is heard?", "temporal": "Is the order right?"},
}
CAPTIONS = {
    "plain": "clip {} hums and hums",
    "nasty": NASTY + " {}",
    "copy": "Clip {} hums and hums.",  # said in another way of writing: the same caption
}


def reference(clip_id: str) -> str:
    """The only reference caption of a clip with two temporal words."""
    return f"A bell rings, then {clip_id} barks, after a while."


def make_corpus(folder: Path, name: str, clips: dict[str, list[str]]) -> None:
    """The manifest of a corpus, its sounds, and a caption of every system for all of its test clips.

    `clips` are reference captions by clip id; the ids that begin with `train` are of that split.
    """
    state = {"status": Status.OK}
    rows = [
        {"clip_id": clip, "link": clip, "start": 0.0, "split": clip.partition("-")[0], "captions": said, **state}
        for clip, said in clips.items()
    ]
    write(folder / name / "manifest.parquet", rows, MANIFEST)
    fields = [pa.field("clip_id", pa.string()), pa.field("path", pa.string()), *STATE]
    for number, part in enumerate((rows[::2], rows[1::2])):
        sounds = [{"clip_id": row["clip_id"], "path": f"files/{row['clip_id']}.wav", **state} for row in part]
        write(folder / name / "clips" / f"{number}.parquet", sounds, pa.schema(fields))
        for sound in sounds:
            path = folder / name / sound["path"]
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, 0.3 * np.sin(np.arange(16000)[:, None] * [0.05, 0.07]), 16000)
    for system, caption in CAPTIONS.items():
        said_of = [
            {"seed": seed, "clip_id": clip, "split": "test", "caption": f"{caption.format(clip)}{' again' * seed}"}
            for seed in (0, 1)
            for clip in clips
            if clip.startswith("test")
        ]
        schema = pa.schema([*CLIP, pa.field("caption", pa.string())])
        write(folder / f"{name}_{system}.parquet", said_of, schema)


def make_corpora(folder: Path) -> None:
    """Four clips of a park of which three can be rated, two of a street, and others of which none can."""
    parks = {f"test-{name}": ["A bell rings.", reference(name)] for name in ("dog", "cow", "owl")}
    make_corpus(folder, "park", {**parks, "test-plain": ["A dog barks, then a cow."], "train-x": [reference("x")]})
    make_corpus(folder, "street", {"test-car": [reference("car")], "test-mute": ["A car passes"]})


def export_page(folder: Path, test: dict[str, Any] | None = None, name: str = "table2") -> tuple[Path, dict[str, Any]]:
    """The page of a test on the made corpora, and its key."""
    chosen = ListeningTest.check(test or TEST, "paper.yaml")
    page, key = folder / f"{name}.html", folder / f"{name}-key.json"
    ExportListeningTest(
        name=name,
        test=chosen,
        manifests={corpus: folder / corpus / "manifest.parquet" for corpus in chosen.clips},
        clips={corpus: sorted((folder / corpus / "clips").iterdir()) for corpus in chosen.clips},
        stores={corpus: folder / corpus for corpus in chosen.clips},
        predictions={experiment: folder / f"{experiment}.parquet" for experiment in chosen.experiments()},
    ).run(page, key)
    return page, json.loads(key.read_text())
