"""The jobs that fetch and unpack what somebody else made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.settings.assets import Asset
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.download import Patience

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale


class FetchAsset(Job):
    """One file of the catalogue, verified."""

    step = "workflow_scripts.assets.fetch:fetch_asset"
    expensive = True
    verbose = True

    name: str
    asset: Asset
    lock: Annotated[Path | None, MANNER] = None
    patience: Annotated[Patience, MANNER] = Patience()


def fetch_asset(scale: "Scale", asset: str, file: str) -> FetchAsset:
    # In the user's folder, beside the results, because the catalogue may be another's, and read-only.
    lock = None if scale.config.strict_assets else Path("assets.lock.yaml")
    return FetchAsset(name=asset, asset=scale.asset(asset, "assets"), lock=lock, patience=patience(scale))


def patience(scale: "Scale") -> Patience:
    """What `download` of config.yaml says of time and size, for what has no settings of its own."""
    return Patience(**scale.config.download.model_dump(include=set(Patience.model_fields)))


class FetchModel(Job):
    """A language model of the Hugging Face hub; its files lie beside the output, which tells what was fetched."""

    step = "workflow_scripts.assets.hub:fetch_model"
    verbose = True

    model: str
    revision: str
    patience: Annotated[Patience, MANNER] = Patience()


def fetch_model(scale: "Scale", model: str, revision: str) -> FetchModel:
    return FetchModel(model=model.replace("--", "/"), revision=revision, patience=patience(scale))


def hub_model(scale: "Scale", name: str, revision: str) -> Path:
    """The file that tells what was fetched of a model on the hub."""
    return scale.config.work_dir / "models" / name.replace("/", "--") / revision / "fetched.json"


class UnpackArchives(Job):
    """The archives of a corpus in one folder, `folder`."""

    step = "workflow_scripts.assets.unpack:unpack_archives"
    verbose = True

    archives: Annotated[dict[str, Path], INPUT]
    folder: Annotated[Path, MANNER]


def unpack_archives(scale: "Scale", corpus: str) -> UnpackArchives:
    archive = scale.corpus(corpus).archive
    packed = scale.asset_files(archive.packed if archive else [])
    return UnpackArchives(archives=packed, folder=unpacked(scale, corpus) / "files")


def unpacked(scale: "Scale", corpus: str) -> Path:
    """Where the packed archives of a corpus are unpacked."""
    return scale.config.work_dir / "archives" / corpus
