"""How training went: the training loss step by step, loss and accuracy on the validation clips epoch by epoch."""

from typing import TYPE_CHECKING

from workflow_scripts.errors import UserError
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.style import ACCENT, FAINT, INK

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material

QUANTITIES = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "validation_accuracy": "validation accuracy",
}


class Figure(FigureKind):
    """Curves of losses and of validation accuracy."""

    needs = ("history",)

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns step, epoch, best (1 in the rows of the epoch whose weights were kept), quantity, value."""
        import pandas as pd

        history = material.recorded()
        missing = [name for name in ("epoch", "best", *QUANTITIES) if name not in history]
        if missing:
            raise UserError(f"{material.history}: the column '{missing[0]}' is missing; this kind of figure needs it")
        parts = []
        for column, quantity in QUANTITIES.items():
            part = history.loc[history[column].notna(), ["step", "epoch", "best", column]]
            # only whole epochs are kept or not
            best = part["best"].fillna(0).astype(int) if column != "loss" else 0
            parts.append(part.assign(best=best, quantity=quantity).rename(columns={column: "value"}))
        data = pd.concat(parts).astype({"epoch": "Int64"})
        return data[["step", "epoch", "best", "quantity", "value"]]

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(5.6, 4.0))
        losses, accuracies = canvas.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        training, validation, accuracy = (data[data["quantity"] == name] for name in QUANTITIES.values())
        losses.plot(training["step"], training["value"], color=FAINT, linewidth=0.7, label="training")
        losses.plot(validation["step"], validation["value"], "o-", color=INK, linewidth=1.1, ms=3, label="validation")
        losses.set_ylabel("loss (nats)")
        losses.set_ylim(bottom=0)
        losses.legend(loc="upper right")
        accuracies.plot(accuracy["step"], 100 * accuracy["value"], "o-", color=INK, linewidth=1.1, markersize=3)
        accuracies.set_ylabel("validation accuracy (%)")
        for panel in (losses, accuracies):
            panel.grid(axis="y")
        foot = accuracies.get_xaxis_transform()
        for _, kept in accuracy[accuracy["best"] == 1].iterrows():
            for panel in (losses, accuracies):
                panel.axvline(kept["step"], color=ACCENT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0.5)
            accuracies.plot(kept["step"], 100 * kept["value"], "o", color=ACCENT, markersize=5)
            text = f"epoch {kept['epoch']} kept: {100 * kept['value']:.1f} %"
            late = kept["step"] > data["step"].max() / 2
            place = {"xytext": (-6 if late else 6, 5), "textcoords": "offset points", "ha": "right" if late else "left"}
            accuracies.annotate(text, (kept["step"], 0), xycoords=foot, color=ACCENT, **place)
        ends = accuracy.iloc[:: -(-len(accuracy) // 14)]  # at most 14 epochs are named
        accuracies.set_xticks(ends["step"], [str(epoch) for epoch in ends["epoch"]])
        accuracies.set_xlabel("epoch")
        accuracies.set_xlim(0, data["step"].max() * 1.02)
        return canvas
