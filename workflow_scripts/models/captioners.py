"""Captioners of sounds: from embeddings of frames (batch, frames, dims) to a caption.

CNN-BART, which is also the captioner of Temp4Cap (Choi et al., section 2.1): Gontier et al., "Automated audio
captioning by fine-tuning BART with AudioSet tags", DCASE 2021. CNN-GRU: Xu et al., "The SJTU system for DCASE2022
challenge task 6". CNN-Transformer: Mei et al., "An encoder-decoder based audio captioning system with transfer and
reinforcement learning", DCASE 2021.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from workflow_scripts.errors import UserError
from workflow_scripts.models.alignment import TextEncoder
from workflow_scripts.models.caption_decoders import (
    AttentionGruDecoder,
    Decoded,
    Projected,
    RecurrentAdapter,
    Search,
    SpecialTokens,
    TransformerDecoder,
    beam_search,
    shift_right,
)

WORD_TOKENS = SpecialTokens(pad=0, start=1, end=2)
BART_TOKENS = SpecialTokens(pad=1, start=2, end=2)
BART_BOS = 0  # of BART's captions the first token, which follows the start


class Captioner(nn.Module, ABC):
    """What all captioners share. Captions of training are padded behind their end token.

    `features` are (batch, frames, dims), `mask` (batch, frames) is true where they are valid, which is at the
    beginning of a clip and in one frame at least.
    """

    tokens: SpecialTokens

    @abstractmethod
    def encode(self, features: Tensor, mask: Tensor) -> Tensor:
        """The memory (batch, frames, …) that the decoder attends to."""

    @abstractmethod
    def decode(self, memory: Tensor, mask: Tensor, inputs: Tensor) -> Decoded:
        """What follows inputs (batch, length), the first of which is the start token."""

    def forward(self, features: Tensor, mask: Tensor, captions: Tensor, teacher_forcing: float = 1.0) -> Decoded:
        """Logits of every token of captions (batch, length) after those before it, and the decoder's last states.

        With `teacher_forcing` below 1 each token before is the true one with that chance, or else the decoder's own
        choice (scheduled sampling, Bengio et al. 2015).
        """
        memory = self.encode(features, mask)
        inputs = shift_right(captions, self.tokens.start)
        if teacher_forcing < 1:
            inputs = self.scheduled_sampling(memory, mask, inputs, teacher_forcing)
        return self.decode(memory, mask, inputs)

    @torch.no_grad()
    def scheduled_sampling(self, memory: Tensor, mask: Tensor, inputs: Tensor, teacher_forcing: float) -> Tensor:
        """Inputs (batch, length) behind the start of which a token is kept with the chance `teacher_forcing`."""
        inputs = inputs.clone()
        own = torch.rand(inputs.shape, device=inputs.device) >= teacher_forcing
        for place in range(1, inputs.shape[1]):
            if (rows := own[:, place]).any():
                choice = self.decode(memory[rows], mask[rows], inputs[rows, :place]).logits[:, -1].argmax(1)
                inputs[rows, place] = choice
        return inputs

    @torch.no_grad()
    def generate(self, features: Tensor, mask: Tensor, **keywords: Any) -> Tensor:
        """The captions (batch, length) that beam search finds, padded; the keywords are those of `Search`."""
        return self.search(features, mask, Search(**keywords))

    def search(self, features: Tensor, mask: Tensor, search: Search) -> Tensor:
        """What `generate` returns."""
        memory = self.encode(features, mask).repeat_interleave(search.beam, 0)
        mask = mask.repeat_interleave(search.beam, 0)
        return beam_search(
            lambda prefixes: self.decode(memory, mask, prefixes).logits[:, -1],
            len(features),
            self.tokens,
            search,
            features.device,
        )


class BartCaptioner(Captioner):
    """A linear layer in the place of BART's word embeddings, then all of BART; captions begin with its token 0."""

    tokens = BART_TOKENS

    def __init__(self, dims: int, bart: BartForConditionalGeneration) -> None:
        super().__init__()
        self.bart: Any = bart  # of whose methods type checkers complain
        self.bart.generation_config = GenerationConfig()  # only what `search` asks for counts
        self.adapt = nn.Linear(dims, bart.model.shared.embedding_dim)

    def encode(self, features: Tensor, mask: Tensor) -> Tensor:
        """The last states (batch, frames, dims) of BART's encoder."""
        return self.bart.model.encoder(inputs_embeds=self.adapt(features), attention_mask=mask.long()).last_hidden_state

    def decode(self, memory: Tensor, mask: Tensor, inputs: Tensor) -> Decoded:
        """Reads the inputs without a cache; the states are those before the language model's head."""
        states = self.bart.model.decoder(
            input_ids=inputs, encoder_hidden_states=memory, encoder_attention_mask=mask.long(), use_cache=False
        ).last_hidden_state
        return Decoded(self.bart.lm_head(states) + self.bart.final_logits_bias, states)

    def search(self, features: Tensor, mask: Tensor, search: Search) -> Tensor:
        """The captions, token 0 first, that transformers' own search finds, which has a cache."""
        settings = GenerationConfig(
            num_beams=search.beam,
            min_new_tokens=search.min_length,
            max_new_tokens=search.max_length,
            length_penalty=search.length_penalty,
            no_repeat_ngram_size=search.no_repeat_ngram,
            early_stopping=search.beam > 1,  # transformers warns of what it does not use
            do_sample=False,
            forced_bos_token_id=BART_BOS,
            bos_token_id=BART_BOS,
            pad_token_id=self.tokens.pad,
            eos_token_id=self.tokens.end,
            decoder_start_token_id=self.tokens.start,
        )
        found = self.bart.generate(
            generation_config=settings,
            encoder_outputs=BaseModelOutput(last_hidden_state=self.encode(features, mask)),
            attention_mask=mask.long(),
        )
        return found[:, 1:]

    def text_encoder(self) -> TextEncoder:
        """A frozen copy of BART's encoder as it is now, which reads text in its context (Temp4Cap, section 2.2)."""
        return TextEncoder(deepcopy(self.bart.model.encoder), self.tokens.pad)


def new_bart(
    vocabulary: int = 50_265,
    dims: int = 768,
    layers: int = 6,
    heads: int = 12,
    hidden: int = 3072,
    longest: int = 1024,
    dropout: float = 0.2,
    attention_dropout: float = 0.1,
    init_std: float = 0.02,
) -> BartForConditionalGeneration:
    """BART with random weights; the defaults are the sizes of bart-base, `layers` those of each half.

    With the usual `init_std` a small, untrained BART hardly hears the order of what it reads; near 1 / √dims it does.
    """
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=vocabulary,
            d_model=dims,
            max_position_embeddings=longest,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=hidden,
            decoder_ffn_dim=hidden,
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation_dropout=attention_dropout,
            init_std=init_std,
        )
    )


def pretrained_bart(folder: Path, dropout: float = 0.2) -> BartForConditionalGeneration:
    """BART with the configuration and the weights (`model.safetensors`) in a folder; nothing is fetched."""
    try:
        loaded: Any = BartForConditionalGeneration.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            dropout=dropout,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder}: not a folder of BART's weights as safetensors; fetch it again ({reason})") from None
    bart, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"{folder}: '{missing[0]}' is missing; give the weights of BART")
    return bart


class WordCaptioner(Captioner):
    """A module that makes the memory of features and their mask, and a decoder over the words of the training set."""

    tokens = WORD_TOKENS

    def __init__(self, adapter: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.adapter, self.decoder = adapter, decoder

    def encode(self, features: Tensor, mask: Tensor) -> Tensor:
        """The adapter's memory (batch, frames, dims)."""
        return self.adapter(features, mask)

    def decode(self, memory: Tensor, mask: Tensor, inputs: Tensor) -> Decoded:
        """Reads all inputs again at every step: captions and these decoders are short."""
        return self.decoder(memory, mask, inputs)


def gru_captioner(
    dims: int,
    vocabulary: int,
    decoder: Literal["transformer", "gru"] = "transformer",
    hidden: int = 256,
    layers: int = 3,
    encoder_dropout: float = 0.5,
    width: int = 256,
    decoder_layers: int = 2,
    heads: int = 4,
    dropout: float = 0.2,
) -> WordCaptioner:
    """CNN-GRU: recurrent layers of `hidden` each way, and a Transformer decoder `width` wide.

    `decoder: gru` is another reading of the name, a GRU of `width` (512 in Xie et al. 2023) with attention.
    """
    adapter = RecurrentAdapter(dims, hidden, layers, encoder_dropout)
    if decoder == "gru":
        return WordCaptioner(adapter, AttentionGruDecoder(vocabulary, 2 * hidden, width, dropout))
    words = TransformerDecoder(vocabulary, width, decoder_layers, heads, 4 * width, dropout, bias=False)
    memory = Projected(adapter, 2 * hidden, width, nn.Dropout(dropout), nn.LayerNorm(width))
    for parameter in (*words.parameters(), *memory.linear.parameters()):
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return WordCaptioner(memory, words)


def transformer_captioner(
    dims: int,
    vocabulary: int,
    width: int = 128,
    layers: int = 2,
    heads: int = 4,
    hidden: int = 2048,
    dropout: float = 0.2,
    encoder_width: int | None = 512,
    embeddings: Tensor | None = None,
) -> WordCaptioner:
    """CNN-Transformer: linear layers and a Transformer decoder, without an encoder of its own.

    The first linear layer, to `encoder_width` units, is the last one of the CNN of Mei et al., which learns though
    the CNN is frozen; None: the features go right into the layer that is `width` wide. `embeddings` (vocabulary,
    width): word vectors, which stay as they are; random ones are trained.
    """
    words = TransformerDecoder(vocabulary, width, layers, heads, hidden, dropout, "gelu", embeddings=embeddings)
    if embeddings is None:
        nn.init.uniform_(words.embedding.weight, -0.1, 0.1)
    nn.init.uniform_(words.classifier.weight, -0.1, 0.1)
    nn.init.zeros_(words.classifier.bias)
    if encoder_width is None:
        memory = Projected(None, dims, width, nn.Dropout(dropout))
    else:
        memory = Projected(Projected(None, dims, encoder_width, nn.Dropout(dropout)), encoder_width, width)
    for layer in memory.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return WordCaptioner(memory, words)


def build(settings: BaseModel | Mapping[str, Any], dims: int, vocabulary: int) -> Captioner:
    """The captioner of settings with a `kind` (bart, gru or transformer) and that one's keywords.

    `dims`: of the features. A BART with a `checkpoint`, a folder, takes its sizes and its vocabulary from there.
    """
    values = settings.model_dump() if isinstance(settings, BaseModel) else dict(settings)
    match values.pop("kind"):
        case "bart":
            folder = values.pop("checkpoint", None)
            bart = (
                pretrained_bart(Path(folder), values.get("dropout", 0.2)) if folder else new_bart(vocabulary, **values)
            )
            return BartCaptioner(dims, bart)
        case "gru":
            return gru_captioner(dims, vocabulary, **values)
        case "transformer":
            return transformer_captioner(dims, vocabulary, **values)
        case kind:
            raise UserError(f"there is no captioner '{kind}'; use bart, gru or transformer")
