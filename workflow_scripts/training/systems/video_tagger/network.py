"""The tagging networks, and what they are given of a batch."""

import hashlib

import torch

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.formats.youtube8m import AUDIO, BIAS, RGB, SCALE
from workflow_scripts.models.dbof import DeepBagOfFrames
from workflow_scripts.models.keyword_decoder import KeywordDecoder
from workflow_scripts.models.lstm_tagger import StackedLSTM
from workflow_scripts.models.mixture_of_experts import MixtureOfExperts, normalised
from workflow_scripts.models.textcnn import TextCNN
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import folder_of_seed, read_params, read_weights
from workflow_scripts.training.systems.video_tagger.settings import Dbof, Lstm, Model, Moe, Network, System, TextCnn

Tensors = dict[str, torch.Tensor]
Tagger = MixtureOfExperts | DeepBagOfFrames | StackedLSTM | TextCNN | KeywordDecoder


def text_cnn(settings: TextCnn, classes: int, dimensions: int) -> TextCNN:
    """The TextCNN of some settings, untrained."""
    return TextCNN(classes, dimensions, **settings.model_dump(exclude={"kind", "title_length"}))


def build_network(model: Model, classes: int, clusters: int, dimensions: int, title_features: int) -> Tagger:
    """The network of some settings, untrained.

    The sizes of what it reads: `clusters` of words, `dimensions` of word vectors, `title_features` of a title network.
    """
    widths = {"visual": RGB, "audio": AUDIO, "keywords": clusters, "title": title_features}
    inputs = sum(widths[name] for name in model.inputs)
    if isinstance(model, Moe):
        return MixtureOfExperts(inputs, classes, model.experts)
    if isinstance(model, Dbof):
        sizes = model.model_dump(include={"projection", "hidden", "experts", "samples", "bn_momentum"})
        return DeepBagOfFrames(inputs, classes, **sizes)
    if isinstance(model, Lstm):
        return StackedLSTM(inputs, classes, model.cells, model.layers, model.experts)
    if isinstance(model, TextCnn):
        return text_cnn(model, classes, dimensions)
    return KeywordDecoder(clusters, classes, model.hidden, model.dropout)


class Feed:
    """Makes a network's arguments from a batch.

    `vectors` are the lexicon's (1 + words, dimensions), without a word where no title is read; with a `title_network`
    the input `title` is its hidden features instead of word vectors.
    """

    def __init__(self, system: System, vectors: torch.Tensor, title_network: TextCNN | None) -> None:
        self.system, self.vectors, self.title_network = system, vectors, title_network

    def __call__(self, batch: Tensors) -> list[torch.Tensor]:
        """The arguments: one tensor of features (clips, …), for all frames also their number (clips,)."""
        model = self.system.model
        if not isinstance(model, Network):
            return [self.part(name, batch) for name in model.inputs]
        features = normalised([self.part(name, batch) for name in model.inputs], model.normalise)
        return [features, batch["num_frames"]] if "num_frames" in batch else [features]

    def part(self, name: str, batch: Tensors) -> torch.Tensor:
        """One input in float32: (clips, dimensions) or, for frames, (clips, time, dimensions)."""
        if name == "keywords":
            return batch["keywords"].float()
        if name == "title":
            words = self.vectors[batch["title"]].float()
            if self.title_network is None:
                return words
            with torch.no_grad():
                return self.title_network.features(words).float()
        dimensions = slice(0, RGB) if name == "visual" else slice(RGB, RGB + AUDIO)
        if "frames" in batch:
            return batch["frames"][..., dimensions].float() * SCALE + BIAS
        return batch["features"][..., dimensions].float()


class TitleNetwork:
    """A finished TextCNN whose hidden features another network reads.

    yt8m_text, section 3.4: the text's features are those of the trained text model, which learns no more.
    """

    def __init__(self, job: TrainingJob) -> None:
        if "textcnn" not in job.uses:
            near = did_you_mean("textcnn", job.uses)
            raise UserError(f"uses: the input 'title' needs a trained TextCNN in the role 'textcnn'{near}")
        self.files = job.uses["textcnn"]
        model = read_params(self.files[0].parent)["definition"].get("model", {})
        if model.get("kind") != "textcnn":
            raise UserError(f"uses: textcnn: {self.files[0]}: is of no training of a TextCNN; train that one first")
        self.settings = TextCnn.check(model, f"uses: textcnn: {self.files[0]}")

    def weights(self, seed: int) -> Tensors:
        """What was learned with this seed."""
        return read_weights(folder_of_seed(self.files, seed), seed)

    def digest(self, seed: int) -> str:
        """A hash of all that the features depend on."""
        total = hashlib.blake2b(self.settings.model_dump_json().encode(), digest_size=16)
        for name, values in sorted(self.weights(seed).items()):
            total.update(name.encode())
            total.update(values.numpy().data)
        return total.hexdigest()

    def load(self, seed: int, classes: int, dimensions: int, device: torch.device) -> TextCNN:
        """The network that was trained with this seed, in evaluation mode."""
        return loaded(self.settings, self.weights(seed), classes, dimensions, device)


def loaded(settings: TextCnn, weights: Tensors, classes: int, dimensions: int, device: torch.device) -> TextCNN:
    """A trained TextCNN that another network reads, in evaluation mode."""
    model = text_cnn(settings, classes, dimensions)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"uses: textcnn: its weights do not fit these classes and word vectors ({error}); "
            "train it with the same corpus"
        ) from None
    return model.to(device).eval()
