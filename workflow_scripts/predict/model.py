"""A trained system that predicts from files."""

import importlib
import importlib.util
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from workflow_scripts.devices import Device, prepared
from workflow_scripts.errors import UserError
from workflow_scripts.files import files_below
from workflow_scripts.predict import answers
from workflow_scripts.predict.clips import Part, media_blocks
from workflow_scripts.predict.description import Found, find
from workflow_scripts.predict.items import item_blocks
from workflow_scripts.predict.records import member_blocks, record_blocks
from workflow_scripts.settings.plugins import SYSTEMS
from workflow_scripts.shards import Row
from workflow_scripts.training.outputs import read_weights

if TYPE_CHECKING:
    from workflow_scripts.training.predictor import Trained


class Model:
    """What `load` gives."""

    def __init__(self, found: Found, device: Device, threads: int) -> None:
        self.found, self.description, self.threads = found, found.description, threads
        self.device = prepared(device, threads)
        name = f"{SYSTEMS}.{self.description.system}.predictor"
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"{found.folder}: systems of the kind '{self.description.system}' cannot predict from files: one of "
                "your own needs a predictor.py"
            )
        for kind, files in (("asset", found.assets), ("reduction", found.reductions)):
            for own, path in files.items():
                if not path.exists():
                    raise UserError(f"{path}: the {kind} '{own}' is not there; make it: snakemake --cores 1 {path}")
        self.sources = {feature.plugin().source for feature in self.description.features.values()}
        try:
            self.predictor = importlib.import_module(name).Predictor.of(trained(found, self.device))
        except UserError as error:
            raise UserError(f"{found.folder}: {error}") from None
        self.members = {}
        if self.predictor.of_members:
            self.members = {role: Model(own, device, threads) for role, own in sorted(found.used.items())}

    @property
    def schema(self) -> pa.Schema:
        """Of the rows: that of `predictions.parquet`."""
        return self.predictor.schema

    def rows(self, files: Iterable[str | Path]) -> Iterator[tuple[Part, Row]]:
        """What each row is of, and the row as it would stand in `predictions.parquet`; files are read at once."""
        yield from self.rows_of(listed([Path(file) for file in files]))

    def rows_of(self, named: Mapping[str, Path]) -> Iterator[tuple[Part, Row]]:
        """The rows of files by the names under which they are told of."""
        with tempfile.TemporaryDirectory(prefix="predict-") as place:
            folder = Path(place)
            if self.members:
                blocks, parts = member_blocks({role: own.rows_of(named) for role, own in self.members.items()})
            elif self.sources <= {"records", "text"}:
                blocks, parts = record_blocks(self.description, self.predictor, named, folder, self.found.assets)
            elif self.sources == {"corpus"}:
                blocks, parts = item_blocks(self.description, named)
            else:
                given = self.found.assets, folder, self.device, self.threads
                blocks, parts = media_blocks(self.description, named, *given)
            for row in self.predictor.rows(blocks):
                yield parts[row["clip_id"]], {"seed": self.description.seed, "split": "files"} | row

    def told(self, found: Iterable[tuple[Part, Row]], top: int | None = None, threshold: float | None = None) -> Any:
        """The answers in rows of predictions: dicts, of one kind."""
        least = self.description.threshold if threshold is None else threshold
        return answers.answers(self.schema, found, top, least, self.description.median_filter)

    def predict(
        self, files: Sequence[str | Path], top: int | None = None, threshold: float | None = None
    ) -> list[dict[str, Any]]:
        """Captions, events, tags or classes of files, and of all files in folders."""
        return list(self.told(self.rows(files), top, threshold))


def trained(found: Found, device: str) -> "Trained":
    """What is left of a finished seed, in the folder of a run or an export."""
    import torch

    from workflow_scripts.training.predictor import Trained

    about = found.description
    extractors = {name: feature.plugin() for name, feature in about.features.items()}
    return Trained(
        system=about.checked(),
        seed=about.seed,
        weights=read_weights(found.folder, about.seed),
        kept=about.kept,
        shapes={
            name: own.shape(about.clip_seconds)
            for name, own in extractors.items()
            if own.source not in ("records", "text")
        },
        clip_seconds=about.clip_seconds,
        precision=about.precision,
        assets=found.assets,
        device=torch.device(device),
        reductions=found.reductions,
        used={role: trained(own, device) for role, own in found.used.items()},
    )


def load(folder: str | Path, seed: int | None = None, device: Device = "auto", threads: int = 1) -> Model:
    """The trained system of a run, `work/<scale>/training/<paper>/<experiment>/<seeds>`, or of an export of one."""
    return Model(find(Path(folder), seed), device, threads)


def listed(places: Sequence[Path]) -> dict[str, Path]:
    """Files by the names under which they are told of: as given, and of the only folder those from there on."""
    found: dict[str, Path] = {}
    for place in places:
        if place.is_dir():
            own = list(files_below(place))
            if not own:
                raise UserError(f"{place}: there is no file in this folder")
            found |= {str(path.relative_to(place) if len(places) == 1 else path): path for path in own}
        elif place.is_file():
            found[str(place)] = place
        else:
            raise UserError(f"{place}: there is no such file; name files, or a folder of them")
    if not found:
        raise UserError("name a file, or a folder of them, to predict from")
    return found
