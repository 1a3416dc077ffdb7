"""What a learnable input adaptor makes of a spectrogram: before, after, and what it adds."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.figures.interface import FigureKind

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material

KERNEL, BIAS = "adaptor.convolution.weight", "adaptor.convolution.bias"


class Figure(FigureKind):
    """One clip's spectrogram as the network is given it, after the trained adaptor, and their difference.

    DATAR, figure 1. In the units of the network's input, (x - mean) / (2 std): `values` is the file of statistics.
    """

    needs = ("predictions", "manifest", "weights", "values")
    feature: str = Field(description="The spectrogram, the experiment's feature")
    weight: float = Field(ge=0, description="λ of the experiment's adaptor")
    split: str = Field("test", description="The clips to choose from: those of this split that were predicted")
    clip: int = Field(0, ge=0, description="Which of them is shown, counted from 0 in the order of their ids")

    def streams(self) -> tuple[str, ...]:
        return (self.feature,)

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns clip_id, label, frame, bin, before, after, change: every value of the spectrogram."""
        import pandas as pd

        clip = self.chosen(material)
        before = (material.signals(self.feature, [clip])[0].astype(np.float32) - statistic(material, "mean")) / (
            2 * statistic(material, "std")
        )
        after = self.adapted(before, material)
        frame, place = np.indices(before.shape)
        values = {"frame": frame, "bin": place, "before": before, "after": after, "change": after - before}
        label = ", ".join(material.labels().get(clip) or [])
        return pd.DataFrame({"clip_id": clip, "label": label, **{name: part.ravel() for name, part in values.items()}})

    def chosen(self, material: "Material") -> str:
        """The id of the clip that is shown."""
        rows = material.rows_of_seed(material.file("predictions")).select(["clip_id", "split"]).to_pylist()
        clips = sorted(row["clip_id"] for row in rows if row["split"] == self.split)
        if self.clip >= len(clips):
            raise UserError(f"settings.clip: {self.clip} of {len(clips)} '{self.split}' clips wanted, counted from 0")
        return str(clips[self.clip])

    def adapted(self, before: np.ndarray, material: "Material") -> np.ndarray:
        """The spectrogram (frames, bins) after the adaptor of the shown seed, the mean of its channels."""
        import torch

        from workflow_scripts.models.input_adaptor import InputAdaptor

        kernel, bias = (parameter(material, name) for name in (KERNEL, BIAS))
        adaptor = InputAdaptor(self.weight, kernel.shape[-1], len(bias))
        adaptor.load_state_dict(
            {"convolution.weight": torch.from_numpy(kernel), "convolution.bias": torch.from_numpy(bias)}
        )
        with torch.inference_mode():
            after = adaptor(torch.from_numpy(before).T[None, None])
        return after.mean(dim=(0, 1)).T.numpy()

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.figure import Figure as Canvas

        shape = int(data["frame"].max()) + 1, int(data["bin"].max()) + 1
        before, after, change = (data[name].to_numpy().reshape(shape).T for name in ("before", "after", "change"))
        lowest, highest = min(before.min(), after.min()), max(before.max(), after.max())
        most = float(np.abs(change).max())
        share = 100 * most / max(float(np.ptp(before)), 1e-12)
        clip, label = data["clip_id"].iloc[0], data["label"].iloc[0]
        canvas = Canvas(figsize=(6.2, 5.6))
        upper, middle, lower = canvas.subplots(3, 1, sharex=True)
        for panel, values, title, colours, low, high in (
            (upper, before, f"before the adaptor: {clip}, {label}", "magma", lowest, highest),
            (middle, after, "after the adaptor", "magma", lowest, highest),
            (lower, change, f"what it adds: at most {share:.2g} % of the range above", "RdBu_r", -most, most),
        ):
            picture = panel.imshow(
                values, origin="lower", aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high
            )
            canvas.colorbar(picture, ax=panel, pad=0.01)
            panel.set_title(title, loc="left")
            panel.set_ylabel("mel bin")
        lower.set_xlabel("frame")
        return canvas


def statistic(material: "Material", name: str) -> float:
    """The mean or the standard deviation of the feature."""
    try:
        return float(material.values[name])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"values: has no number '{name}'; give the statistics of the feature") from None


def parameter(material: "Material", name: str) -> np.ndarray:
    """A parameter of the shown seed's network."""
    from workflow_scripts.training.outputs import read_weights

    path = material.file("weights")
    found = read_weights(path.parent, material.seed)
    if name not in found:
        raise UserError(f"{path}: has no '{material.seed}/{name}'; show an experiment whose network has an adaptor")
    return found[name].float().numpy()
