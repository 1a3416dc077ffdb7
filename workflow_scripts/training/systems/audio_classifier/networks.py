"""Settings of the networks that classify sounds; `workflow_scripts.models.audio_classifiers` builds them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict
from workflow_scripts.training.system import Positive, Share

Window = tuple[Positive, Positive]
Stages = list[Positive]


class Pretrained(Strict):
    """A network with published weights."""

    checkpoint: str | None = Field(None, description="asset with published weights to start from; null: random ones")


class Size(Strict):
    """A size of the deformable audio transformer that has no name: a number for each stage."""

    dims: Stages = Field(min_length=1, description="channels")
    depths: Stages = Field(min_length=1, description="blocks")
    heads: Stages = Field(min_length=1, description="attention heads")
    groups: Stages = Field(description="groups of channels with offsets of their own, of the deformable last stages")


class Adaptor(Strict):
    """The learnable input adaptor (DATAR, section 3.2, eq. 5)."""

    weight: float = Field(0.005, ge=0, description="λ, which is fixed")
    kernel: Positive = Field(3, description="rows and columns of the convolution")
    channels: Positive = Field(1, description="of the adapted input")


class Perturbation(Strict):
    """Noise on the input in the adaptor's place (DATAR, table 4)."""

    kind: Literal["gauss", "laplace"] = Field(description="distribution of the noise")
    scale: float = Field(0.005, ge=0, description="factor of standard noise")
    at_test: bool = Field(False, description="also when predicting")


class Datar(Pretrained):
    """The deformable audio transformer (DATAR, section 3; Xia et al. 2022)."""

    kind: Literal["datar"]
    size: Literal["tiny", "small", "base"] | Size = Field("base", description="a published size, or its numbers")
    window: Window | list[Window] = Field(
        (8, 8), description="bins and frames of attention windows, or those of each stage"
    )
    offset_kernel: Stages = Field([5, 3], description="side of the offsets' convolution, for each deformable stage")
    offset_norm: bool = Field(True, description="layer norm in the offsets' network")
    offset_stride: Positive = Field(1, description="subsampling of the sampled points")
    offset_range: float = Field(2, gt=0, description="the farthest offset, in halves of the points' distance")
    ref_grid: Literal["paper", "dat2022"] = Field(
        "paper", description="points without offsets: corners at the corners, or as in the published code"
    )
    deform: Literal["deform", "no_offs", "swin"] = Field(
        "deform", description="`no_offs`: offsets are zero; `swin`: shifted windows in place of deformable attention"
    )
    adaptor: Adaptor | None = Field(None, description="null: none")
    perturbation: Perturbation | None = Field(None, description="null: none")
    drop_path: Share | None = Field(None, description="largest share of dropped branches; null: that of the size")


class Ast(Pretrained):
    """The audio spectrogram transformer (Gong et al. 2021)."""

    kind: Literal["ast"]
    dims: Positive = Field(768, description="of a token")
    depth: Positive = Field(12, description="blocks")
    attention_heads: Positive = Field(12, description="of each block")
    patch: Positive = Field(16, description="bins and frames of a patch")
    stride: Positive = Field(10, description="bins and frames from patch to patch")


class ResNet(Strict):
    """The residual network of VGGSound (Chen et al. 2020)."""

    kind: Literal["resnet"]
    depth: Literal[10, 18, 34, 50] = Field(18, description="layers")
    width: Positive = Field(64, description="channels of the first stage")
    pooling: Literal["mean", "netvlad"] = Field("mean", description="of the last map")
    clusters: Positive = Field(16, description="of NetVLAD")


class SlowFast(Pretrained):
    """Auditory Slow-Fast (Kazakos et al. 2021)."""

    kind: Literal["slowfast"]
    view_frames: Positive = Field(512, description="frames of a piece that is looked at")
    test_views: Positive = Field(2, description="pieces of a clip when predicting")
    depths: tuple[Positive, Positive, Positive, Positive] = Field((3, 4, 6, 3), description="blocks of the stages")
    width: Positive = Field(64, description="channels of the slow network's stem")
    alpha: Positive = Field(4, description="frames of the fast network for one of the slow one's")
    beta: Positive = Field(8, description="channels of the slow network for one of the fast one's")
    fusion_kernel: Positive = Field(7, description="frames of the lateral convolutions")
    dropout: Share = Field(0.5, description="before the classes")
    freeze_norms: bool = Field(False, description="keep the batch norms behind the stem as they are")


class Tbn(Pretrained):
    """The audio stream of the temporal binding network (Kazakos et al. 2019)."""

    kind: Literal["tbn"]
    segment_frames: Positive = Field(256, description="frames of a segment")
    train_segments: Positive = Field(3, description="segments of a clip when learning")
    test_segments: Positive = Field(25, description="segments of a clip when predicting")
    width: float = Field(1, gt=0, description="factor of all channels")
    modules: list[str] = Field(
        ["3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"], min_length=1, description="inception modules"
    )
    dropout: Share = Field(0.5, description="before the classes")


Network = Datar | Ast | ResNet | SlowFast | Tbn
