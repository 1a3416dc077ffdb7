"""Digits: pairs of a picture and a sound, from tensors of many of them or from a file of each."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from workflow_scripts.corpora.readers.digit_pairs import clip_id as item_name
from workflow_scripts.corpora.readers.digit_pairs import tensor
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors.tensor_audio import SAMPLE_RATE
from workflow_scripts.media.audio import read_mono
from workflow_scripts.predict.clips import BATCH, Part
from workflow_scripts.predict.description import Description
from workflow_scripts.shards import ClipError
from workflow_scripts.training.stream import Block

TENSORS = (".pt", ".pth")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def item_blocks(description: Description, files: Mapping[str, Path]) -> tuple[Iterator[Block], dict[str, Part]]:
    """The items of files, as `rows` of a classifier reads them, and what each of them is.

    A file of tensors holds many items, any other one. Where picture and sound are read, the first picture goes with
    the first sound, and so on; unlike numbers of them are a `UserError`.
    """
    streams: dict[str, list[np.ndarray]] = {name: [] for name in description.features}
    names: dict[str, list[str]] = {name: [] for name in streams}
    for name, path in files.items():
        stream, items = read(description, name, path)
        streams[stream].append(items)
        names[stream] += [f"{name}#{place}" for place in range(len(items))] if path.suffix in TENSORS else [name]
    counts = {stream: len(own) for stream, own in names.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        told = " and ".join(f"{count} items of '{stream}'" for stream, count in counts.items())
        raise UserError(f"it classes pairs, and the files hold {told}; give as many of each")
    found = {stream: np.concatenate(own) for stream, own in streams.items()}
    parts = {str(place): Part(" + ".join(own), 0.0, 0.0) for place, own in enumerate(zip(*names.values(), strict=True))}

    def blocks() -> Iterator[Block]:
        for start in range(0, len(parts), BATCH):
            some = {stream: values[start : start + BATCH] for stream, values in found.items()}
            ids = np.array(list(parts)[start : start + BATCH], object)
            yield {"clip_id": ids, "seconds": np.full(len(ids), description.clip_seconds)} | some

    return blocks(), parts


def read(description: Description, name: str, path: Path) -> tuple[str, np.ndarray]:
    """Of which stream a file is, and its items (items, rows, columns) as training stores them."""
    shapes = {stream: own.plugin().shape(description.clip_seconds) for stream, own in description.features.items()}
    if path.suffix in TENSORS:
        count = len(tensor(path))
        for stream, feature in description.features.items():
            settings = feature.plugin()
            try:
                look_up = settings.load(dict.fromkeys(settings.files, path), "cpu")
            except UserError:  # it is of another stream
                continue
            return stream, look_up([item_name("test", place) for place in range(count)]).astype(np.float16)
        known = " or ".join(map(str, shapes.values()))
        raise UserError(f"{name}: holds items of shape {tuple(tensor(path).shape[1:])}, and {known} is expected")
    stream = "image" if path.suffix.lower() in PICTURES else "audio"
    if stream not in shapes:
        raise UserError(f"{name}: is a file of '{stream}', and this system reads {' and '.join(shapes)} only")
    item = picture(name, path, shapes[stream]) if stream == "image" else sound(name, path, shapes[stream])
    return stream, item[None].astype(np.float16)


def picture(name: str, path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A grey picture in [-1, 1], as MNIST has them: a light digit on black."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L").resize(shape[::-1], Image.Resampling.BOX), np.float32)
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: cannot be read as a picture ({error})") from None
    return grey / 127.5 - 1


def sound(name: str, path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The first second of a recording at 8 kHz, silence behind it."""
    try:
        samples = read_mono(path, SAMPLE_RATE)[: shape[1]]
    except ClipError as error:
        raise UserError(f"{name}: cannot be read as sound ({error})") from None
    return np.pad(samples, (0, shape[1] - len(samples)))[None]
