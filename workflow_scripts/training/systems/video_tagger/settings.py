"""Settings of the tagging of videos with many labels, from frame features, their means, and texts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from workflow_scripts.errors import did_you_mean
from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.training.system import Count, Positive, Share, SteppedSystem

Momentum = Annotated[float, Field(gt=0, le=1)]
Text = Literal["title", "keywords"]


class Network(Strict):
    """A network, and what it reads."""

    known: ClassVar[tuple[str, ...]] = ("visual", "audio")
    stream: ClassVar[str]  # the features that hold the picture's and the sound's share
    logits: ClassVar[bool] = False  # whether the outputs are logits, not probabilities

    inputs: list[str] = Field(["visual", "audio"], min_length=1, description="joined in this order")
    experts: Positive = Field(2, description="experts of a class, beside the one that says 0")
    normalise: Literal["blocks", "concatenation"] = Field(
        "concatenation", description="scale the joined inputs to length 1; `blocks`: and each of them before"
    )

    @field_validator("inputs")
    @classmethod
    def understood(cls, inputs: list[str]) -> list[str]:
        for name in inputs:
            if name not in cls.known:
                raise ValueError(f"there is no input '{name}'{did_you_mean(name, cls.known)}")
        if len(set(inputs)) < len(inputs):
            raise ValueError("every input may stand once")
        return inputs


class Moe(Network):
    """A mixture of experts for each class, on a vector for each video."""

    known = ("visual", "audio", "keywords", "title")
    stream = "video"

    kind: Literal["moe"]


class Dbof(Network):
    """Deep bag of frames."""

    stream = "frames"

    kind: Literal["dbof"]
    projection: Positive = Field(8192, description="units whose maxima over the frames are taken")
    hidden: Positive = Field(1024, description="units between these and the experts")
    samples: Positive = Field(30, description="frames drawn from a video, with replacement")
    bn_momentum: Momentum = Field(0.001, description="weight of a new batch in the statistics of batch norm")


class Lstm(Network):
    """Stacked LSTMs over the frames."""

    stream = "frames"

    kind: Literal["lstm"]
    cells: Positive = Field(1024, description="of each layer")
    layers: Positive = Field(2, description="LSTMs on top of each other")


class TextCnn(Strict):
    """Convolutions over the word vectors of a title."""

    inputs: ClassVar[tuple[Text, ...]] = ("title",)
    logits: ClassVar[bool] = True

    kind: Literal["textcnn"]
    widths: Positive = Field(8, description="convolutions see 1 … `widths` words")
    filters: Positive = Field(512, description="of each width")
    hidden: Positive = Field(4096, description="units between the convolutions and the classes")
    dropout: Share = Field(0.5, description="before the classes")
    title_length: Positive = Field(40, description="words of a title that are read")
    bn_momentum: Momentum = Field(0.01, description="weight of a new batch in the statistics of batch norm")


class KeywordDecoder(Strict):
    """Hidden layers on the histogram of the keywords' clusters."""

    inputs: ClassVar[tuple[Text, ...]] = ("keywords",)
    logits: ClassVar[bool] = True

    kind: Literal["keyword_decoder"]
    hidden: list[Positive] = Field([1024, 2048], description="units of the hidden layers")
    dropout: Share = Field(0.2, description="after each hidden layer")


Model = Moe | Dbof | Lstm | TextCnn | KeywordDecoder


class Texts(Strict):
    """Which form of the texts is read."""

    filtered: bool = Field(False, description="read the texts without the words that name the video's labels")


class Optimisation(Strict):
    """The training; defaults are those of the starter code of YouTube-8M."""

    batch: Positive = Field(1024, description="videos in a batch; the last one of an epoch may be smaller")
    epochs: Positive = Field(5, description="passes over the training videos; the last weights are kept")
    learning_rate: float = Field(0.01, gt=0, description="of Adam, at first")
    decay: float = Field(0.95, gt=0, le=1, description="factor of the learning rate after every `decay_examples`")
    decay_examples: Positive = Field(4_000_000, description="examples from one decay of the learning rate to the next")
    clip: float | None = Field(1.0, gt=0, description="largest norm of each parameter's gradient; null: any")
    l2: float = Field(1e-8, ge=0, description="weight of half the sum of the squared weights that the network names")
    loss: Literal["sum", "mean"] = Field("sum", description="of the cross entropy over the classes")
    stop_below: float | None = Field(None, gt=0, description="stop when the dev GAP falls below this share of the last")
    shuffle_rows: Positive = Field(8192, description="videos in memory from which batches are drawn")


class System(SteppedSystem):
    """One experiment: its network and optimisation, and what to predict."""

    parallel: ClassVar[bool] = True

    model: Model = Field(discriminator="kind")
    text: Texts = Field(default_factory=Texts)
    require: list[Text] = Field([], description="texts without which a video is neither learned from nor predicted")
    optimisation: Optimisation = Field(default_factory=Optimisation)
    top_k: Positive = Field(100, description="classes in the predictions of a video, the likeliest ones")
    train_split: str = Field("train", description="split to learn from")
    dev_split: str = Field("dev", description="split whose GAP is recorded after each epoch")
    dev_clips: Positive | None = Field(50_000, description="videos for that GAP, rounded up to row groups; null: all")
    predict_splits: list[str] = Field(["dev", "validation", "test"], description="splits in the predictions")
    cache_megabytes: Annotated[Count, MANNER] = Field(
        512, description="decoded features that stay in memory between epochs"
    )

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if len(set(self.require)) < len(self.require):
            raise ValueError("every text may stand once in 'require'")
        return self

    @property
    def streams(self) -> list[str]:
        """The features that the system needs."""
        heard = [self.model.stream] if isinstance(self.model, Network) and {"visual", "audio"} & {*self.inputs} else []
        return [*heard, "words"] if self.texts or not heard else heard

    @property
    def inputs(self) -> list[str]:
        """What the network reads: visual, audio, keywords, title."""
        return list(self.model.inputs)

    @property
    def predicts_from(self) -> list[str]:
        """The streams without those that only tell which clips count."""
        return [name for name in self.streams if name != "words" or {"title", "keywords"} & {*self.inputs}]

    @property
    def predicts_with_used(self) -> bool:
        """Whether it reads a title by another network's features."""
        return isinstance(self.model, Moe) and "title" in self.inputs

    @property
    def texts(self) -> list[str]:
        """The columns of `words` that are read or required."""
        wanted = {*self.require, *(name for name in self.inputs if name in ("title", "keywords"))}
        return [self.column(name) for name in sorted(wanted)]

    @property
    def required(self) -> list[str]:
        """The columns of `words` that must not be empty: those asked for, and the only input of a text network."""
        only = [] if isinstance(self.model, Network) else self.inputs
        return [self.column(name) for name in dict.fromkeys([*self.require, *only])]

    def column(self, text: str) -> str:
        """The column of `words` that holds a text in the form that is read."""
        return f"{text}_filtered" if self.text.filtered else text
