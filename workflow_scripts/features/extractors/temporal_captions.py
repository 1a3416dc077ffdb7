"""Temporal captions: what is heard in which order, as a language model or rules read it out of a clip's captions."""

from workflow_scripts.captions.settings import Temporal
from workflow_scripts.features.interface import CaptionExtractor


class Extractor(Temporal, CaptionExtractor):
    """One row a caption of the chosen splits (Temp4Cap, section 2.2)."""

    @property
    def assets(self) -> tuple[str, ...]:
        return self.backend.assets

    @property
    def hub_models(self) -> dict[str, str]:  # type: ignore[override]  # elsewhere the class's, here the backend's
        return self.backend.hub_models

    @property
    def uses_gpu(self) -> bool:  # type: ignore[override]  # elsewhere the class's, here the backend's
        return self.backend.uses_gpu
