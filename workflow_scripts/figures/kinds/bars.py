"""The most frequent entries of a list, as bars: words, labels."""

from typing import TYPE_CHECKING

from pydantic import Field

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.style import ACCENT, FAINT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material


class Figure(FigureKind):
    """Horizontal bars of counts, in the order of the list."""

    needs = ("values",)
    key: str = Field(description="The list among the values: pairs of a name and a count, the highest first")
    label: str = Field("occurrences in the training split", description="What is counted; stands below the bars")
    shared: str | None = Field(None, description="Another such list; bars with a word of it are in colour")
    bars: int = Field(20, ge=1, description="How many entries are shown")

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns rank, name, count, shared (1 where a word of the name stands in the other list)."""
        import pandas as pd

        entries = self.entries(material, self.key)
        others = self.entries(material, self.shared) if self.shared else []
        known = {word for name, _ in others for word in words(name)}
        rows = [(rank, name, count, int(not known.isdisjoint(words(name))))
                for rank, (name, count) in enumerate(entries, 1)]  # fmt: skip
        return pd.DataFrame(rows, columns=["rank", "name", "count", "shared"])

    def entries(self, material: "Material", key: str) -> list[tuple[str, int]]:
        """The start of a list."""
        if key not in material.values:
            raise UserError(f"values: there is no '{key}'{did_you_mean(key, material.values)}")
        if not material.values[key]:
            raise UserError(f"values: '{key}' is empty, so there is nothing to draw")
        return [(name, count) for name, count in material.values[key][: self.bars]]

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(4.6, 0.75 + 0.19 * len(data)))
        panel = canvas.subplots()
        colours = [ACCENT if shared else FAINT for shared in data["shared"]]
        bars = panel.barh(data["rank"], data["count"], height=0.72, color=colours)
        panel.bar_label(bars, [f"{count:,}" for count in data["count"]], padding=3, fontsize=7)
        panel.set_yticks(data["rank"], data["name"])
        panel.set_ylim(len(data) + 0.6, 0.4)
        panel.set_xticks([])
        panel.spines[["bottom", "left"]].set_visible(False)
        panel.margins(x=0.12)
        colour = f"\nin colour: with a word of the {self.shared.replace('_', ' ')}" if self.shared else ""
        panel.set_xlabel(self.label + colour)
        return canvas


def words(name: str) -> set[str]:
    """The words of a name, in lower case."""
    return set(name.lower().split())
