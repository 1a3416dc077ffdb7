"""Settings of audio captioning by one of several networks, with or without temporal alignment."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.settings.temporal import Negatives
from workflow_scripts.training.schedules import Constant, Exponential, Steps
from workflow_scripts.training.system import Count, Positive, Share, SteppedSystem

PRETRAINED = ("config", "weights", "vocabulary", "merges")  # endings of the assets of a pretrained BART


class Size(Strict):
    """A size of the convolutional network that has no name: a number for each block."""

    channels: list[Positive] = Field(min_length=1, description="output channels")
    pools: list[Positive] = Field(min_length=1, description="by how much time and frequency shrink")


class Panns(Strict):
    """A convolutional network of PANNs (Kong et al. 2020) on log-mel features, which is trained along."""

    kind: Literal["panns"]
    size: Literal["cnn14", "cnn10"] | Size = Field("cnn14", description="a published size, or its numbers")
    checkpoint: str | None = Field(None, description="asset with published weights to start from; null: random ones")
    frozen: bool | Literal["weights"] = Field(
        False,
        description="do not train it: `true` keeps its batch norms too and drops nothing out; `weights` keeps the "
        "weights alone, as the code of Mei et al. does",
    )
    augment: bool = Field(True, description="stripes of frames and bands set to zero while training")
    dropout: Share = Field(0.2, description="after each block")


class Precomputed(Strict):
    """The features themselves, such as the map of a pretrained network."""

    kind: Literal["features"]


class Bart(Strict):
    """CNN-BART and Temp4Cap (section 2.1); the sizes are those of bart-base, `layers` those of each half."""

    kind: Literal["bart"]
    pretrained: str | None = Field(
        None,
        description="start from the assets `<this>_config`, `<this>_weights`, `<this>_vocabulary` and `<this>_merges`, "
        "which tell the sizes; null: random weights and the words of the training captions, or, if the experiment "
        "`uses` one of the system `denoiser` as `pretrained`, that one's weights and words",
    )
    dims: Positive = Field(768, description="of the states")
    layers: Positive = Field(6, description="of the encoder, and of the decoder")
    heads: Positive = Field(12, description="of attention")
    hidden: Positive = Field(3072, description="units between the two linear layers of a layer")
    longest: Positive = Field(1024, description="most frames of a clip and most tokens of a text")
    dropout: Share = Field(0.2, description="of states")
    attention_dropout: Share = Field(0.1, description="of attention and between the linear layers")
    init_std: float = Field(0.02, gt=0, description="of random weights; small networks hear an order near 1 / √dims")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.dims % self.heads:
            raise ValueError(f"{self.heads} heads do not share {self.dims} dims evenly")
        own = {name for name, field in Bart.model_fields.items() if getattr(self, name) != field.default}
        if self.pretrained and (odd := sorted(own - {"kind", "pretrained", "dropout"})):
            raise ValueError(f"a pretrained BART has its own '{odd[0]}'; leave it out")
        return self


class Gru(Strict):
    """CNN-GRU (Xu et al., DCASE 2022)."""

    kind: Literal["gru"]
    decoder: Literal["transformer", "gru"] = Field("transformer", description="`gru`: with attention, Xie et al. 2023")
    hidden: Positive = Field(256, description="units of the recurrent layers, each way")
    layers: Positive = Field(3, description="recurrent layers")
    encoder_dropout: Share = Field(0.5, description="between recurrent layers")
    width: Positive = Field(256, description="dimensions of the decoder")
    decoder_layers: Positive = Field(2, description="of a Transformer decoder")
    heads: Positive = Field(4, description="of a Transformer decoder")
    dropout: Share = Field(0.2, description="in the decoder")


class Transformer(Strict):
    """CNN-Transformer (Mei et al., DCASE 2021)."""

    kind: Literal["transformer"]
    width: Positive = Field(128, description="dimensions of the decoder")
    layers: Positive = Field(2, description="of the decoder")
    heads: Positive = Field(4, description="of attention")
    hidden: Positive = Field(2048, description="units between the two linear layers of a layer")
    dropout: Share = Field(0.2, description="in the decoder and before it")
    encoder_width: Positive | None = Field(
        512, description="units of a layer before the decoder's own, as in the CNN of Mei et al.; null: no such layer"
    )
    word_vectors: Literal["word2vec"] | None = Field(
        None,
        description="`word2vec`: vectors learned from the training captions (by gensim), which stay as they are; "
        "null: random ones, which are trained",
    )


class Alignment(Strict):
    """The alignment loss (Temp4Cap, section 2.2)."""

    weight: float = Field(1, gt=0, description="of the alignment loss beside the cross entropy (equation 4: 1)")
    normalize: Literal["token", "pooled", "none"] = Field(
        "token",
        description="similarity of equation 2: `token`: mean cosine of all pairs of tokens; `pooled`: cosine of means; "
        "`none`: to the letter, the product of means",
    )
    include_positive: bool = Field(
        False, description="also the positive in the denominator of equation 3, which is printed without it"
    )
    temperature: float = Field(0.07, gt=0, description="τ in equation 3")
    negatives: Negatives = Field(default_factory=Negatives)

    @model_validator(mode="after")
    def bounded(self) -> Self:
        if self.normalize == "none" and not self.include_positive:
            raise ValueError(
                "'include_positive: false' with 'normalize: none' is a loss without a lower bound; "
                "set 'include_positive: true', or 'normalize' to token or pooled"
            )
        return self


class Optimisation(Strict):
    """The training by Adam; defaults are Temp4Cap's (section 3.3), where it is silent ours."""

    learning_rate: float = Field(1e-5, gt=0, description="at its peak")
    weight_decay: float = Field(1e-6, ge=0, description="of all weights, added to the gradients (not AdamW)")
    schedule: Constant | Steps | Exponential = Field(Constant(), discriminator="kind", description="of the rate")
    batch: Positive = Field(24, description="clips in a batch; the last one of a pass may be smaller")
    epochs: Positive = Field(30, description="each of all pairs that `train_captions` makes")
    label_smoothing: Share = Field(0, description="share of the target that is spread over all words")
    clip: float | None = Field(1.0, gt=0, description="largest norm of all gradients together; null: any")
    teacher_forcing_at_end: float = Field(
        1.0,
        ge=0,
        le=1,
        description="chance at the last step that the decoder reads a true word and not its own choice (scheduled "
        "sampling); it falls linearly from 1",
    )
    average_from: Positive | None = Field(
        None, description="epoch from which the weights at the ends of epochs are averaged, to be used; null: never"
    )
    shuffle_rows: Positive = Field(1024, description="clips in memory from which batches are drawn")


class Search(Strict):
    """How the best caption is searched for; BART counts its first token among the lengths."""

    beam: Positive = Field(3, description="captions that are kept for each clip")
    min_length: Count = Field(5, description="fewest tokens before the end")
    max_length: Positive = Field(64, description="most tokens; also of the captions that are learned from")
    length_penalty: float = Field(1.0, description="a caption's score is divided by its length to this power")
    no_repeat_ngram: Count = Field(3, description="words in a row that no caption has twice; 0: any")

    @field_validator("max_length")
    @classmethod
    def long_enough(cls, value: int) -> int:
        if value < 2:
            raise ValueError("a caption has two tokens at least")
        return value


class System(SteppedSystem):
    """One experiment: its encoder of sounds and its captioner, how they learn, and what to predict.

    It reads one feature of the clips and, for the alignment, temporal captions: a feature named `temporal` or
    `…_temporal`.
    """

    parallel: ClassVar[bool] = True

    encoder: Panns | Precomputed = Field(discriminator="kind", description="what makes embeddings of frames")
    captioner: Bart | Gru | Transformer = Field(discriminator="kind", description="what makes captions of them")
    train_captions: Literal["all", "random", "first"] = Field(
        "all",
        description="captions of a clip to learn from: `all` in every epoch, another one at `random`, or the `first`",
    )
    remove_punctuation: bool = Field(True, description="learn captions without it; they are lower-case anyhow")
    alignment: Alignment | None = Field(None, description="temporal alignment; null: cross entropy only")
    optimisation: Optimisation = Field(default_factory=Optimisation)
    search: Search = Field(default_factory=Search)
    select_by: Literal["cider_d", "last"] = Field(
        "cider_d",
        description="weights that predict: those of the best CIDEr-D on the validation split, or the last. SPIDEr is "
        "not offered: its SPICE parses every caption, by files that no package brings",
    )
    train_split: str = Field("train", description="split to learn from; its captions make the vocabulary")
    validation_split: str | None = Field("validation", description="split whose CIDEr-D is recorded while learning")
    validate_every: Positive = Field(1, description="epochs from one such score to the next; also after the last")
    validation_beam: Positive = Field(1, description="captions that are kept for each clip while validating")
    predict_splits: list[str] = Field(["test"], min_length=1, description="splits in the predictions")
    cache_megabytes: Annotated[Count, MANNER] = Field(512, description="features that stay in memory between epochs")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.alignment and not isinstance(self.captioner, Bart):
            raise ValueError("alignment needs the captioner 'bart', whose encoder also reads the texts")
        if self.select_by == "cider_d":
            if self.validation_split is None:
                raise ValueError("select_by 'cider_d' needs a validation_split; name one or select the last weights")
            if self.validation_split in (self.train_split, *self.predict_splits):
                raise ValueError(
                    f"select_by 'cider_d' would choose the weights by the clips of '{self.validation_split}', which "
                    "are learned from or reported: choose by a split of its own, or select the last"
                )
        first, epochs = self.optimisation.average_from, self.optimisation.epochs
        if first is not None and first > epochs:
            raise ValueError(f"weights are averaged from epoch {first}, but there are only {epochs}")
        if self.search.min_length >= self.search.max_length:
            raise ValueError(f"min_length {self.search.min_length} is not below max_length {self.search.max_length}")
        return self

    @property
    def assets(self) -> tuple[str, ...]:
        encoder = self.encoder.checkpoint if isinstance(self.encoder, Panns) else None
        bart = self.captioner.pretrained if isinstance(self.captioner, Bart) else None
        return (*([encoder] if encoder else []), *(f"{bart}_{part}" for part in PRETRAINED if bart))
