"""Pairs of a digit's image and its spoken name, as torch tensors: the form of the NORA summer school's exercise.

Images are (N, 1, 28, 28) in [-1, 1], recordings (N, 1, 8000) at 8 kHz, labels (N,). The exercise gives out no labels
of its test part. Without them a quarter of the labelled pairs is the test set, and the unlabelled ones are not read.
"""

from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, ClassVar

from workflow_scripts.corpora.interface import CorpusReader
from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row

if TYPE_CHECKING:
    import torch

SPLIT_SEED = 42
VALIDATION_SHARE = 0.2
HELD_OUT_SHARE = 0.25  # of the training part, in place of a test part without labels


class Reader(CorpusReader):
    """Reads the tensors of labels: 80 % of the training part train, 20 % validate, every class in proportion."""

    files: ClassVar[dict[str, str]] = {
        f"{part}_{kind}": f"{part}_{kind}.pth"
        for part in ("training", "test")
        for kind in ("images", "images_labels", "audio", "audio_labels")
    }
    optional = frozenset({"test_images_labels", "test_audio_labels"})

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of pairs; files that do not belong together are a `UserError`."""
        training = labels(files, "training")
        kept = list(range(len(training)))
        if self.optional <= files.keys():
            yield from rows("test", "test", labels(files, "test"))
        else:
            kept, held_out = divided(kept, training, HELD_OUT_SHARE)
            yield from rows("training", "test", training, held_out)
        train, validation = divided(kept, training, VALIDATION_SHARE)
        yield from rows("training", "train", training, train)
        yield from rows("training", "validation", training, validation)


def rows(part: str, split: str, digits: list[int], indices: list[int] | None = None) -> Iterator[Row]:
    for index in range(len(digits)) if indices is None else indices:
        name = clip_id(part, index)
        yield {"clip_id": name, "video_id": name, "start": 0.0, "split": split, "labels": [str(digits[index])]}


def divided(indices: list[int], digits: list[int], share: float) -> tuple[list[int], list[int]]:
    """The indices without, and with, a share of every class, both in ascending order."""
    from sklearn.model_selection import train_test_split

    chosen = [digits[index] for index in indices]
    try:
        rest, taken = train_test_split(indices, test_size=share, random_state=SPLIT_SEED, stratify=chosen)
    except ValueError as error:
        raise UserError(f"{len(indices)} pairs are too few to divide by class ({error})") from None
    return sorted(rest), sorted(taken)


def labels(files: dict[str, Path], part: str) -> list[int]:
    """The digits of a part, after a check that its four files speak of the same pairs."""
    path = files[f"{part}_images_labels"]
    digits: list[int] = tensor(path).long().tolist()
    if tensor(files[f"{part}_audio_labels"]).long().tolist() != digits:
        raise UserError(f"{path}: images and recordings have different labels; the files do not belong together")
    for kind in ("images", "audio"):
        if len(tensor(files[f"{part}_{kind}"])) != len(digits):
            raise UserError(f"{files[f'{part}_{kind}']}: does not hold {len(digits)} items, as many as {path} labels")
    return digits


def tensor(path: Path) -> "torch.Tensor":
    """The tensor in a file, mapped into memory; a file with anything else is a `UserError`."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
        raise UserError(f"{path}: not a tensor saved by torch ({type(error).__name__}); fetch it again") from None
    if not isinstance(found, torch.Tensor):
        raise UserError(f"{path}: holds a {type(found).__name__}, not a tensor")
    return found


def clip_id(part: str, index: int) -> str:
    """A pair's name from its part, training or test, and its place in the part's tensors."""
    return f"{part}-{index:05d}"


def place(name: str) -> tuple[str, int]:
    """A pair's part and place from its name: the inverse of `clip_id`."""
    part, _, index = name.rpartition("-")
    return part, int(index)
