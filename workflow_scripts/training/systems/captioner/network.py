"""The network of an experiment with captions: an encoder of sounds, and a captioner."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.models.caption_decoders import Decoded, Search
from workflow_scripts.models.captioners import BART_TOKENS, WORD_TOKENS, BartCaptioner, Captioner
from workflow_scripts.models.captioners import build as build_captioner
from workflow_scripts.models.panns import FeatureMap, Panns
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import first_weights, read_params
from workflow_scripts.training.systems.captioner import settings
from workflow_scripts.training.systems.captioner.settings import PRETRAINED, System
from workflow_scripts.training.systems.captioner.texts import MARKS, SPECIALS, Pieces, Texts, Words, split

Assets = Mapping[str, Path]
ROLE = "pretrained"  # of the experiment whose weights a BART starts from, among `uses`
FILES = ("config.json", "model.safetensors", "vocab.json", "merges.txt")  # the names that transformers knows
WORD_VECTOR_EPOCHS, WINDOW = 10, 5  # of word2vec


class Network(nn.Module):
    """From features of clips to captions; `tokens` are the numbers of what is no word."""

    def __init__(self, encoder: Panns | FeatureMap, captioner: Captioner) -> None:
        super().__init__()
        self.encoder, self.captioner = encoder, captioner
        self.tokens = captioner.tokens

    def encode(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (clips, frames, dims) of features of which the first `frames` (clips,) are valid, and the mask."""
        if isinstance(self.encoder, Panns):
            return self.encoder.from_log_mel(features, frames)
        encoded: tuple[Tensor, Tensor] = self.encoder(features, frames)
        return encoded

    def forward(self, features: Tensor, frames: Tensor, captions: Tensor, teacher_forcing: float = 1.0) -> Decoded:
        """Logits of every token of captions (clips, length), and the decoder's last states."""
        decoded: Decoded = self.captioner(*self.encode(features, frames), captions, teacher_forcing)
        return decoded

    def generate(self, features: Tensor, frames: Tensor, search: Search) -> Tensor:
        """The captions found, as token numbers (clips, length)."""
        return self.captioner.generate(*self.encode(features, frames), **search._asdict())


def texts_of(system: System, captions: Sequence[str], assets: Assets) -> Texts:
    """What makes numbers of texts: a pretrained BART's pieces, or the words of the captions to learn from."""
    if not isinstance(system.captioner, settings.Bart):
        return Words(captions, WORD_TOKENS)
    if not system.captioner.pretrained:
        return Words(captions, BART_TOKENS, MARKS)
    with tempfile.TemporaryDirectory(prefix="bart-") as folder:
        return Pieces(linked(Path(folder), system.captioner.pretrained, assets))


def build(system: System, dims: int, texts: Texts, captions: Sequence[str], assets: Assets, seed: int) -> Network:
    """The network as it is before training (torch's random numbers initialise it).

    `dims`: of the features; `captions`: those to learn from, which word vectors are made of.
    """
    encoder = build_encoder(system.encoder, dims, assets)
    values = system.captioner.model_dump(exclude={"pretrained", "word_vectors"})
    match system.captioner:
        case settings.Bart(pretrained=str(prefix)):
            with tempfile.TemporaryDirectory(prefix="bart-") as folder:
                place = linked(Path(folder), prefix, assets)
                values = {"kind": "bart", "checkpoint": place, "dropout": system.captioner.dropout}
                captioner = build_captioner(values, encoder.dims, texts.size)
            known = captioner.get_parameter("bart.model.shared.weight").shape[0]
            if texts.size > known:
                raise UserError(f"assets: {prefix}_vocabulary: has {texts.size} tokens, its BART only {known}")
        case settings.Transformer(word_vectors="word2vec", width=width) if isinstance(texts, Words):
            values["embeddings"] = word2vec(captions, texts, width, seed)
            captioner = build_captioner(values, encoder.dims, texts.size)
        case _:
            captioner = build_captioner(values, encoder.dims, texts.size)
    return Network(encoder, captioner)


class Denoised:
    """A finished experiment of the system `denoiser`, whose BART and words a captioner starts from."""

    def __init__(self, system: System, job: TrainingJob) -> None:
        for role in job.uses:
            if role != ROLE:
                raise UserError(f"uses: this system uses '{ROLE}' only, not '{role}'{did_you_mean(role, [ROLE])}")
        if not isinstance(system.captioner, settings.Bart) or system.captioner.pretrained:
            raise UserError(f"uses: {ROLE}: goes with a captioner 'bart' whose own 'pretrained' is null")
        self.files = job.uses[ROLE]
        words = read_params(self.files[0].parent).get("words")
        if words is None:
            raise UserError(f"uses: {ROLE}: {self.files[0]}: is of no training of the system 'denoiser'; name one")
        self.texts = Words((), BART_TOKENS, words.split())

    def load(self, network: Network, seed: int) -> None:
        """Gives a captioner's BART the learned weights; one of other sizes is a `UserError`."""
        found, bart = first_weights(self.files, seed), network.captioner.get_submodule("bart")
        own = bart.state_dict()
        for name, values in found.items():
            if name not in own or own[name].shape != values.shape:
                raise UserError(f"uses: {ROLE}: {self.files[0].parent}: its BART has another size: '{name}' differs")
        bart.load_state_dict(found, strict=False)  # what has several names is there under one


def build_encoder(encoder: settings.Panns | settings.Precomputed, dims: int, assets: Assets) -> Panns | FeatureMap:
    """The encoder of features with so many dims."""
    if isinstance(encoder, settings.Precomputed):
        return FeatureMap(dims)
    size = encoder.size if isinstance(encoder.size, str) else encoder.size.model_dump()
    path = given(encoder.checkpoint, assets) if encoder.checkpoint else None
    return Panns(size, encoder.dropout, encoder.augment, encoder.frozen, path)


def longest(network: Network) -> int | None:
    """The most frames and tokens that a captioner reads; None: any."""
    if isinstance(network.captioner, BartCaptioner):
        return int(network.captioner.bart.config.max_position_embeddings)
    return None


def given(asset: str, assets: Assets) -> Path:
    """An asset's file; `UserError` where it is not given."""
    if asset not in assets:
        raise UserError(f"assets: the network's first weights are not given; add {asset}")
    return assets[asset]


def linked(folder: Path, prefix: str, assets: Assets) -> Path:
    """A folder with the files of a pretrained BART under their usual names."""
    for part, name in zip(PRETRAINED, FILES, strict=True):
        (folder / name).symlink_to(given(f"{prefix}_{part}", assets).resolve())
    return folder


def word2vec(captions: Sequence[str], texts: Words, width: int, seed: int) -> Tensor:
    """Vectors (tokens, width) of the words of captions (Mikolov et al. 2013), as in Mei et al. 2021."""
    from gensim.models import Word2Vec

    start, end = "<start>", "<end>"
    sentences = [[start, *split(caption), end] for caption in captions]
    learned = Word2Vec(
        sentences, vector_size=width, window=WINDOW, min_count=1, epochs=WORD_VECTOR_EPOCHS, seed=seed, workers=1
    ).wv
    vectors = torch.zeros(texts.size, width)
    vectors[texts.tokens.start] = torch.from_numpy(learned[start].copy())
    vectors[texts.tokens.end] = torch.from_numpy(learned[end].copy())
    for place, word in enumerate(texts.words, start=SPECIALS):
        vectors[place] = torch.from_numpy(learned[word].copy())
    return vectors
