"""What several systems say of clips with several events: a spectrogram above their captions, errors in order marked."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from workflow_scripts.captions.event_order import marked
from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.captions.rules import split_caption
from workflow_scripts.errors import UserError
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.style import ACCENT, INK
from workflow_scripts.shards import Row, shard_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material

REFERENCE = "reference"
COLOURS = {"right": INK, "misplaced": ACCENT, "unknown": "#8a8a8a"}
MEANINGS = {
    "misplaced": "event in another order than in the references",
    "unknown": "event that the references do not tell",
}
WIDTH, LINE = 0.602, 1.4  # of a character of the fixed-width font, by its size
TEXT = 9 * 72 / 150 / WIDTH  # points; a character is 9 pixels wide, so that words can be placed one by one
CANVAS, HEIGHT = 10.0, 1.5  # inches: width of the figure, height of a spectrogram


class Figure(FigureKind):
    """Captions of clips whose events follow one another, as each system gives them, and one reference.

    Temp4Cap, figure 3. Which clips are shown depends on their ids alone. The order of a clip's events is what the
    manifest says of its captions (`temporal`), and where it does not, what the conjunctions of the references tell.
    """

    needs = ("shown", "manifest")
    feature: str = Field(description="The spectrogram that is shown, a feature of the experiments' corpus")
    frame_seconds: float = Field(0.01, gt=0, description="Seconds between two of its frames")
    split: str = Field("test", description="The clips to choose from: those of this split that all have predicted")
    clips: int = Field(2, ge=1, description="How many clips are shown")
    events: int = Field(2, ge=2, description="How many events must follow one another in a reference of a clip")
    choice_seed: int = Field(0, ge=0, description="Another one chooses other clips")

    def streams(self) -> tuple[str, ...]:
        return (self.feature,)

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns clip_id, system, caption, event, start, end, order, mark: one row an event of a caption.

        A caption without an event has one row. The system `reference` is a reference caption of the clip.
        """
        import pandas as pd

        said = material.captions(self.split)
        if REFERENCE in said:
            raise UserError(f"shown: '{REFERENCE}' is the label of the references; choose another")
        references = {row["clip_id"]: orders(row) for row in material.clips_of(self.split)}
        eligible = [
            clip
            for clip in set.intersection(*map(set, said.values()))
            if any(temporal.orders >= self.events for _, temporal in references.get(clip, []))
        ]
        if len(eligible) < self.clips:
            raise UserError(
                f"settings.clips: {self.clips} of {len(eligible)} '{self.split}' clips wanted that have "
                f"{self.events} events one after another"
            )
        chosen = sorted(eligible, key=lambda clip: (shard_of(f"{self.choice_seed}/{clip}", 1 << 62), clip))[
            : self.clips
        ]
        rows: list[Row] = []
        for clip in chosen:
            reference = next(text for text, temporal in references[clip] if temporal.orders >= self.events)
            captions = {label: texts[clip] for label, texts in said.items()} | {REFERENCE: reference}
            for system, caption in captions.items():
                base = {"clip_id": clip, "system": system, "caption": caption}
                # A reference is right by itself: the rules may take it apart in another way than the manifest.
                known = [] if system == REFERENCE else [temporal for _, temporal in references[clip]]
                events = marked(caption, known)
                rows += [
                    {**base, "event": caption[event.start : event.end], "start": event.start, "end": event.end,
                     "order": "background" if event.order is None else str(event.order),
                     "mark": "right" if system == REFERENCE else event.mark}
                    for event in events
                ] or [base]  # fmt: skip
        columns = ["clip_id", "system", "caption", "event", "start", "end", "order", "mark"]
        data = pd.DataFrame(rows, columns=columns).astype({"start": "Int64", "end": "Int64"})
        # The pictures go to `draw` beside the table: the table is written as text, where they would be all of it.
        seconds = material.lengths(self.feature, chosen)
        pictures = material.signals(self.feature, chosen)
        data.attrs["pictures"] = {
            clip: (length, picture[: max(1, round(length / self.frame_seconds))])
            for clip, length, picture in zip(chosen, seconds, pictures, strict=True)
        }
        return data

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.figure import Figure as Canvas
        from matplotlib.lines import Line2D

        systems, clips = list(dict.fromkeys(data["system"])), list(dict.fromkeys(data["clip_id"]))
        characters = int((CANVAS - 0.7) / len(systems) * 72 / (TEXT * WIDTH)) - 2
        texts = {key: wrapped(*part, characters) for key, part in styled(data).items()}
        lines = [1 + max(len(texts[clip, system]) for system in systems) for clip in clips]
        heights = [height for count in lines for height in (HEIGHT, count * TEXT * LINE / 72)]
        canvas = Canvas(figsize=(CANVAS, 0.8 + sum(heights) + 0.5 * len(clips)))
        grid = canvas.add_gridspec(2 * len(clips), len(systems), height_ratios=heights)
        for number, clip in enumerate(clips):
            panel = canvas.add_subplot(grid[2 * number, :])
            seconds, picture = data.attrs["pictures"][clip]
            extent = (0.0, seconds, 0.0, float(picture.shape[1]))
            panel.imshow(picture.T.astype(np.float32), origin="lower", aspect="auto", cmap="magma", extent=extent)
            panel.set_title(f"clip {clip}", loc="left")
            panel.set(xlabel="time (s)", ylabel="frequency bin")
            for place, system in enumerate(systems):
                below = canvas.add_subplot(grid[2 * number + 1, place])
                below.axis("off")
                written(below, 0, [(0, system, "right")], weight="bold")
                for line, words in enumerate(texts[clip, system], start=1):
                    written(below, line, words)
        handles = [
            Line2D([], [], color=COLOURS[mark], linewidth=1.4 if mark == "misplaced" else 0) for mark in MEANINGS
        ]
        legend = canvas.legend(handles, list(MEANINGS.values()), loc="outside lower right", ncols=2)
        for text, mark in zip(legend.get_texts(), MEANINGS, strict=True):
            text.set_color(COLOURS[mark])
        return canvas


def orders(clip: Row) -> list[tuple[str, TemporalCaption]]:
    """The captions of a clip that tell the order of its events, each with that order."""
    captions = clip["captions"] or []
    if clip.get("temporal") is not None:
        found = [TemporalCaption.parse(text) if text else None for text in clip["temporal"]]
    else:
        found = [split_caption(caption) for caption in captions]
    return [(caption, temporal) for caption, temporal in zip(captions, found, strict=True) if temporal is not None]


def styled(data: "pd.DataFrame") -> dict[tuple[str, str], tuple[str, list[str]]]:
    """The caption of each clip and system, and the mark of each of its characters."""
    found = {}
    for (clip, system), rows in data.groupby(["clip_id", "system"], sort=False):
        caption = str(rows["caption"].iloc[0])
        marks = ["right"] * len(caption)
        for row in rows.dropna(subset=["start"]).itertuples():
            marks[row.start : row.end] = [row.mark] * (row.end - row.start)
        found[clip, system] = caption, marks
    return found


def wrapped(caption: str, marks: Sequence[str], characters: int) -> list[list[tuple[int, str, str]]]:
    """A caption in lines of so many characters: for each line the stretches of one mark, with their columns."""
    lines: list[list[tuple[int, str, str]]] = [[]]
    column = start = 0
    for word in caption.split():
        start = caption.index(word, start)
        if column and column + len(word) > characters:
            lines.append([])
            column = 0
        line, mark = lines[-1], marks[start]
        if line and line[-1][2] == mark and column and marks[start - 1] == mark:
            line[-1] = (line[-1][0], f"{line[-1][1]} {word}", mark)
        else:
            line.append((column, word, mark))
        column += len(word) + 1
        start += len(word)
    return lines


def written(panel: Any, line: int, stretches: Sequence[tuple[int, str, str]], weight: str = "normal") -> None:
    """Writes stretches of text into a line of a panel, the misplaced ones underlined."""
    for column, text, mark in stretches:
        for layer in (text, "_" * len(text)) if mark == "misplaced" else (text,):
            panel.annotate(
                layer, (0, 1), (column * TEXT * WIDTH, -line * TEXT * LINE), "axes fraction", "offset points",
                family="monospace", fontsize=TEXT, fontweight=weight, color=COLOURS[mark], va="top",
            ).set_in_layout(False)  # fmt: skip
