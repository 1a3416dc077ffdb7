"""What a model makes of single clips: what it is given, above the logits that it gives back."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.style import ACCENT, FAINT, INK

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material


class Figure(FigureKind):
    """Random clips with the logits of the classes below."""

    needs = ("predictions", "manifest")
    feature: str = Field(description="The feature that is shown, one of the experiment's")
    show: Literal["picture", "waveform"] = Field(description="How: its frames are rows of a picture, or one waveform")
    split: str = Field("test", description="The clips to draw from: those of this split that were predicted")
    clips: int = Field(5, ge=1, description="How many clips are drawn at random")
    draw_seed: int = Field(0, ge=0, description="Seed of the drawing")

    def streams(self) -> tuple[str, ...]:
        return (self.feature,)

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns clip_id, true, predicted, part, row, column, value.

        The part `logit` has the class as its column; the part `signal` has the place in the feature's array.
        """
        import pandas as pd

        found = material.decisions(self.split)
        if len(found.clips) < self.clips:
            raise UserError(f"settings.clips: {self.clips} of {len(found.clips)} '{self.split}' clips wanted")
        chosen = np.random.default_rng(self.draw_seed).choice(len(found.clips), self.clips, replace=False)
        signals = material.signals(self.feature, [found.clips[place] for place in chosen])
        parts = []
        for place, signal in zip(chosen, signals, strict=True):
            about = {"clip_id": found.clips[place], "true": found.true[place], "predicted": found.predicted[place]}
            logits = {"part": "logit", "row": 0, "column": found.classes, "value": found.logits[place]}
            row, column = np.indices(signal.shape)
            values = {"part": "signal", "row": row.ravel(), "column": column.ravel(), "value": signal.ravel()}
            parts += [pd.DataFrame({**about, **part}).astype({"value": float}) for part in (logits, values)]
        return pd.concat(parts, ignore_index=True)

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.figure import Figure as Canvas
        from matplotlib.lines import Line2D
        from matplotlib.markers import CARETDOWN, MarkerStyle
        from matplotlib.patches import Patch

        clips = list(dict.fromkeys(data["clip_id"]))
        canvas = Canvas(figsize=(0.5 + 1.6 * len(clips), 3.7))
        upper, lower = canvas.subplots(2, len(clips), squeeze=False, height_ratios=[1.25, 1])
        for number, (clip, above, below) in enumerate(zip(clips, upper, lower, strict=True)):
            rows = data[data["clip_id"] == clip]
            logits, signal = (rows[rows["part"] == part] for part in ("logit", "signal"))
            true, predicted = rows["true"].iloc[0], rows["predicted"].iloc[0]
            self.draw_signal(above, signal)
            above.set_title(clip, fontsize=7)
            draw_logits(below, logits, true, predicted)
            if number:
                below.sharey(lower[0])
                below.tick_params(labelleft=False)
        lower[0].set_ylabel("logit")
        mark = Line2D([], [], marker=MarkerStyle(CARETDOWN), linestyle="", color=INK, markersize=6)
        canvas.legend([Patch(color=ACCENT), mark], ["predicted", "true"], loc="outside lower right", ncols=2)
        return canvas

    def draw_signal(self, panel: Any, signal: "pd.DataFrame") -> None:
        """A clip's feature."""
        values = signal["value"].to_numpy().reshape(signal["row"].max() + 1, -1)
        panel.set_xticks([])
        if self.show == "picture":
            panel.imshow(values, cmap="gray", interpolation="nearest")
            panel.set_yticks([])
        else:
            panel.plot(values.ravel(), color=INK, linewidth=0.35)
            panel.locator_params(axis="y", nbins=4)
            panel.margins(x=0)


def draw_logits(panel: Any, logits: "pd.DataFrame", true: str, predicted: str) -> None:
    """A bar a class, the predicted one in colour, the true one under a mark."""
    from matplotlib.markers import CARETDOWN, MarkerStyle

    classes, values = logits["column"].tolist(), logits["value"].to_numpy()
    panel.bar(
        range(len(classes)), values, width=0.75, color=[ACCENT if name == predicted else FAINT for name in classes]
    )
    panel.axhline(0, color=INK, linewidth=0.6)
    panel.plot(
        classes.index(true), max(values[classes.index(true)], 0), marker=MarkerStyle(CARETDOWN), color=INK, markersize=6
    )
    panel.set_xticks(range(len(classes)), classes)
    panel.margins(y=0.18)
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(axis="x", labelsize=7)
