"""A language model on this machine: batched, its answers held to the grammar, the common beginning computed once."""

import contextlib
import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from workflow_scripts.captions.asking import LanguageModel
from workflow_scripts.captions.prompt import Message, chat, schema
from workflow_scripts.errors import UserError
from workflow_scripts.settings.temporal import Ties


class Backend(LanguageModel):
    """A language model from a folder or the hub, in its own precision, or from a GGUF asset, which has none: float32 on
    a CPU, bfloat16 on a GPU."""

    uses_gpu = True
    asset: str | None = Field(None, description="id of a GGUF file in assets.yaml; null: `model`")
    model: str | None = Field(
        None,
        description="a folder, or a name on the Hugging Face hub: `owner/name`, such as microsoft/phi-4, unless there "
        "is such a folder",
    )
    commit: str = Field(
        "main",
        pattern=r"^\w[\w.-]*$",
        description="of a model on the hub: a branch, which is fetched once, or, better, a commit",
    )

    @model_validator(mode="after")
    def one_model(self) -> Self:
        if (self.asset is None) == (self.model is None):
            raise ValueError("a backend of transformers needs either `asset` or `model`")
        return self

    @property
    def assets(self) -> tuple[str, ...]:
        return (self.asset,) if self.asset else ()

    @property
    def hub_models(self) -> dict[str, str]:
        """A model that must be fetched: `owner/name`, and no folder."""
        name = self.model or ""
        fetched = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not Path(name).is_dir()
        return {name: self.commit} if fetched else {}

    def load(self, ties: Ties, assets: dict[str, Path], device: str) -> "LocalModel":
        """Of a model on the hub, the asset of its name is the file that `assets/hub.py` leaves among the fetched.

        Weights go straight to the device: this machine's memory need not hold them.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        place: Any = next((assets[name].parent for name in [*self.assets, *self.hub_models]), self.model)
        source: dict[str, Any] = {"local_files_only": True}
        name = f"{self.model}@{self.commit}"
        if self.asset is not None:
            name = source["gguf_file"] = assets[self.asset].name
        try:
            with contextlib.nullcontext() if self.asset is None else parsed_once():
                tokenizer = AutoTokenizer.from_pretrained(place, **source)
                unpacked_to = "bfloat16" if device == "cuda" else "float32"
                dtype = "auto" if self.asset is None else unpacked_to
                model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=dtype, device_map={"": device}, **source)
        except (OSError, ValueError) as error:
            raise UserError(f"the language model {name} cannot be loaded: {error}") from None
        return LocalModel(name, model.eval(), tokenizer, self, ties)


@contextlib.contextmanager
def parsed_once() -> Iterator[None]:
    """Inside, a GGUF file is parsed once; transformers asks for it three times, and for its names by each module."""
    import gguf

    slow = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}
    try:
        for name, make in slow.items():
            setattr(gguf, name, functools.cache(make))
        yield
    finally:
        for name, make in slow.items():
            setattr(gguf, name, make)


class LocalModel:
    """Decodes greedily, for every chat only tokens that the JSON schema of an answer allows (llguidance)."""

    def __init__(self, name: str, model: Any, tokenizer: Any, settings: Backend, ties: Ties) -> None:
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer

        self.name = name
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._width = model.get_output_embeddings().weight.shape[0]
        self._guide = from_tokenizer(tokenizer, n_vocab=self._width)
        self._grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema(settings.max_events)), overrides={"whitespace_flexible": False}
        )
        self._prefix = common(self._tokens(chat("a", ties)), self._tokens(chat("ten", ties)))
        self._cache = self._cached_prefix()

    def ask(self, chats: Sequence[list[Message]]) -> list[str | None]:
        """The answers; one that grew too long is cut off, and is no valid JSON then."""
        import torch

        with torch.inference_mode():
            return [self._tokenizer.decode(tokens, skip_special_tokens=True) for tokens in self._decode(chats)]

    def _tokens(self, turns: list[Message]) -> list[int]:
        """A chat in the model's own template, up to where its answer begins."""
        text = self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _cached_prefix(self) -> Any:
        """Keys and values of the tokens with which all chats begin."""
        import torch

        with torch.inference_mode():
            prefix = torch.tensor([self._prefix], device=self._model.device)
            return self._model(prefix, use_cache=True, logits_to_keep=1).past_key_values

    def _room(self, count: int, tokens: int) -> Any:
        """A cache for so many chats and tokens that starts with the common beginning.

        It never grows: a cache that does is copied at each token, which takes most of the time.
        """
        from transformers import StaticCache

        cache = StaticCache(self._model.config, max_cache_len=tokens)
        for number, layer in enumerate(self._cache.layers):
            cache.update(layer.keys.expand(count, -1, -1, -1), layer.values.expand(count, -1, -1, -1), number)
        return cache

    def _decode(self, chats: Sequence[list[Message]]) -> list[list[int]]:
        """The tokens of the answers."""
        import torch
        from llguidance import LLMatcher
        from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

        device, shared, count = self._model.device, len(self._prefix), len(chats)
        rests = [self._tokens(turns)[shared:] for turns in chats]
        longest = max(map(len, rests))
        padded = [[self._tokenizer.pad_token_id or 0] * (longest - len(rest)) + rest for rest in rests]
        tokens = torch.tensor(padded, device=device)
        mask = torch.ones(count, shared + longest, dtype=torch.long, device=device)
        for row, rest in enumerate(rests):
            mask[row, shared : shared + longest - len(rest)] = 0
        cache = self._room(count, shared + longest + self._settings.max_tokens)
        guides = [LLMatcher(self._guide, self._grammar) for _ in chats]
        allowed = allocate_token_bitmask(count, self._width)
        answers: list[list[int]] = [[] for _ in chats]
        for _ in range(self._settings.max_tokens):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
            logits = self._model(
                tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            for row, guide in enumerate(guides):
                fill_next_token_bitmask(guide, allowed, row)
            bits = torch.from_numpy(unpacked(allowed, self._width)).to(device)
            chosen = logits.masked_fill(~bits, float("-inf")).argmax(-1).tolist()
            for guide, answer, token in zip(guides, answers, chosen, strict=True):
                if not guide.is_stopped():
                    answer.append(token)
                    guide.consume_token(token)
            if all(guide.is_stopped() for guide in guides):
                break
            tokens = torch.tensor(chosen, device=device)[:, None]
            mask = torch.cat([mask, mask.new_ones(count, 1)], dim=1)
        return answers


def unpacked(bitmask: Any, width: int) -> Any:
    """The allowed tokens as booleans: (rows, words of 32 bits) -> (rows, width)."""
    import numpy as np

    return np.unpackbits(bitmask.view(np.uint8), axis=1, count=width, bitorder="little").astype(bool)


def common(first: list[int], second: list[int]) -> list[int]:
    """The tokens with which both begin."""
    length = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))
    return first[:length]
