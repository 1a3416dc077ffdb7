"""Temporal captions: what is heard in which order, as a language model or rules read it out of a clip's captions."""

from workflow_scripts.features.interface import CaptionExtractor
from workflow_scripts.settings.temporal import Temporal, TransformersModel


class Extractor(Temporal, CaptionExtractor):
    """One row a caption of the chosen splits (Temp4Cap, section 2.2)."""

    @property
    def assets(self) -> tuple[str, ...]:  # type: ignore[override]
        asset = self.backend.asset if isinstance(self.backend, TransformersModel) else None
        return (asset,) if asset else ()

    @property
    def hub_models(self) -> dict[str, str]:  # type: ignore[override]
        if not isinstance(self.backend, TransformersModel) or self.backend.hub_model is None:
            return {}
        return {self.backend.hub_model: self.backend.revision}

    @property
    def uses_gpu(self) -> bool:  # type: ignore[override]
        return isinstance(self.backend, TransformersModel)
