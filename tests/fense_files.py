"""Small untrained networks in the form of FENSE's: a sentence encoder, a detector of errors, and their words."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from workflow_scripts.metrics.fluency import Models

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *("a", "dog", "barks", "then", "man", "is", "speaking", "rain", "falls", "on", "tin", "roof", "bell", "rings"),
    *("the", ",", ".", "!", "##s", "##ing", "'café'", "cafe"),
)
WIDTH, LAYERS, INNER, PLACES = 64, 2, 96, 160


def weights(seed: int, prefix: str = "") -> dict[str, Tensor]:
    """Of a BERT with one head; drawn by NumPy, so that they are the same with every PyTorch."""
    random, found = np.random.default_rng(seed), dict[str, Tensor]()

    def draw(name: str, *shape: int, around: float = 0.0) -> None:
        values = around + random.normal(0, 0.3, shape)
        found[prefix + name] = torch.tensor(values, dtype=torch.float32)

    def linear(name: str, inputs: int, outputs: int) -> None:
        draw(f"{name}.weight", outputs, inputs)
        draw(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        draw(f"{name}.weight", WIDTH, around=1)
        draw(f"{name}.bias", WIDTH)

    for name, rows in (("word", len(WORDS)), ("position", PLACES), ("token_type", 2)):
        draw(f"embeddings.{name}_embeddings.weight", rows, WIDTH)
    norm("embeddings.LayerNorm")
    for layer in range(LAYERS):
        place = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            linear(f"{place}.attention.self.{part}", WIDTH, WIDTH)
        linear(f"{place}.attention.output.dense", WIDTH, WIDTH)
        norm(f"{place}.attention.output.LayerNorm")
        linear(f"{place}.intermediate.dense", WIDTH, INNER)
        linear(f"{place}.output.dense", INNER, WIDTH)
        norm(f"{place}.output.LayerNorm")
    linear("pooler.dense", WIDTH, WIDTH)
    return found


def write_models(folder: Path) -> Models:
    """The files as they are published: with a pooler that is not used, and numbers of places that are no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Models(folder / "model.safetensors", folder / "echecker.ckpt", folder / "vocab.txt")
    save_file(weights(1), found.encoder)
    state = weights(2, "encoder.") | {"encoder.embeddings.position_ids": torch.arange(PLACES)[None]}
    random = np.random.default_rng(3)
    state["clf.weight"] = torch.tensor(random.normal(0, 1, (6, WIDTH)), dtype=torch.float32)
    state["clf.bias"] = torch.tensor(random.normal(0, 1, 6), dtype=torch.float32)
    torch.save({"model_type": "bert-base-uncased", "num_classes": 6, "state_dict": state}, found.detector)
    found.vocabulary.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return found
