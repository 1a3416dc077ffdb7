"""Draws composed sources for a page of the documentation: what is heard, what is annotated, what is seen."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.media.audio import read_mono
from workflow_scripts.media.frames import read, times

SAMPLE_RATE = 16_000
FRAMES = 8
INK, FAINT, MARK = "#222222", "#8a8a8a", "#b5482a"


def choose(folder: Path, count: int, split: str) -> list[tuple[Path, dict[str, Any]]]:
    """Sources and records of `split`: those first whose clips show labels that those before them did not."""
    records = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("recipes/*.json"))}
    left = [(path, record) for path, record in records.items() if record["split"] == split and record["events"]]
    if not left:
        raise UserError(f"{folder}: no composed sources of split '{split}'; compose the corpus first")
    chosen: list[tuple[Path, dict[str, Any]]] = []
    seen: set[str] = set()
    while left and len(chosen) < count:
        best = max(left, key=lambda item: len({event["label"] for event in item[1]["events"]} - seen))
        left.remove(best)
        seen |= {event["label"] for event in best[1]["events"]}
        chosen.append((folder / "sources" / f"{best[0].stem}.mp4", best[1]))
    return chosen


def draw(axes: Any, path: Path, record: dict[str, Any]) -> None:
    """One source on three axes: its spectrogram, its events, and frames of it."""
    import librosa

    hearing, events, seeing = axes
    seconds, (start, end) = record["seconds"], record["section"]
    mel = librosa.feature.melspectrogram(
        y=read_mono(path, SAMPLE_RATE), sr=SAMPLE_RATE, n_fft=1024, hop_length=160, n_mels=80
    )
    level = librosa.power_to_db(mel, ref=np.max, top_db=70)
    hearing.imshow(level, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, 1), vmin=-65, vmax=0)
    hearing.set(xlim=(0, seconds), ylim=(0, 1), xticks=[], yticks=[])
    hearing.set_title(
        f"{path.stem}, {record['split']}: clip from {start:g} to {end:g} s", loc="left", fontsize=8, color=INK
    )

    labels = list(dict.fromkeys(event["label"] for event in record["events"]))
    for event in record["events"]:
        row = labels.index(event["label"])
        first, last = max(event["onset"], start), min(event["offset"], end)
        events.barh(row, event["offset"] - event["onset"], left=event["onset"], height=0.5, color="#d9d9d9")
        if first < last:
            events.barh(row, last - first, left=first, height=0.5, color=MARK)
    events.set(xlim=(0, seconds), ylim=(len(labels) - 0.4, -0.6), yticks=range(len(labels)))
    events.set_yticklabels([label.replace("_", " ") for label in labels], fontsize=7, color=INK)
    events.set_xticks(np.arange(0, seconds + 0.01, 2))
    events.set_xticklabels([])
    events.tick_params(length=0)
    for axis in (hearing, events):
        for border in (start, end):
            axis.axvline(border, color=MARK, linewidth=1, linestyle=(0, (4, 2)))

    at = times(seconds, FRAMES)
    for middle, picture in zip(at, read(path, at), strict=True):
        half = seconds / FRAMES / 2 * 0.97
        seeing.imshow(picture, extent=(middle - half, middle + half, 0, 1), aspect="auto")
    seeing.set(xlim=(0, seconds), ylim=(0, 1), yticks=[])
    seeing.set_xticks(np.arange(0, seconds + 0.01, 2))
    seeing.tick_params(labelsize=7, colors=FAINT, length=2)
    for axis in axes:
        axis.spines[:].set_visible(False)


def main(
    folder: Annotated[Path, typer.Option(help="A composed corpus.")],
    output: Annotated[Path, typer.Option(help="The picture to write, .png or .svg.")],
    count: Annotated[int, typer.Option(min=1, help="How many sources.")] = 6,
    split: Annotated[str, typer.Option(help="Of which split.")] = "validation",
) -> None:
    """Draw spectrograms, events and frames of some composed sources."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt
    from PIL import Image

    chosen = choose(folder, count, split)
    columns = min(2, len(chosen))
    rows = -(-len(chosen) // columns)
    width, height = 6.6 * columns, 2.9 * rows + 0.4
    figure = plt.figure(figsize=(width, height))
    grid = figure.add_gridspec(
        rows,
        columns,
        left=1.6 / width,
        right=1 - 0.1 / width,
        bottom=0.6 / height,
        top=1 - 0.3 / height,
        wspace=0.35,
        hspace=0.25,
    )
    for index, (path, record) in enumerate(chosen):
        cell = grid[index // columns, index % columns].subgridspec(3, 1, height_ratios=(3, 1.5, 1.8), hspace=0.08)
        draw([figure.add_subplot(cell[row]) for row in range(3)], path, record)
    figure.supxlabel(
        "Seconds of the source. Dashed: the clip. Coloured: annotated events; grey: heard outside the clip.",
        fontsize=8,
        color=INK,
        y=0.15 / height,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)
    if output.suffix == ".png":  # a palette makes it a third of the size
        with Image.open(output) as drawn:
            small = drawn.convert("RGB").quantize(192)
        small.save(output, optimize=True)


if __name__ == "__main__":
    run(lambda: typer.run(main))
