"""Steps piece by piece: they are those of the whole batch, whatever the system."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import audio_files
import caption_files
import pytest
import test_classifier as digits
import test_mean_teacher_sed as events
import test_video_tagger as videos
import torch
from torch import nn
from training_files import first_run, handlers_kept, train_into

from workflow_scripts.errors import UserError
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run

torch.set_num_threads(1)
NO_CHANCE = {"dropout": 0}
MIXED = {"mixup": 0.7, "noise": 0.1, "time_shift": 3} | audio_files.AUGMENTATION
Make = Callable[..., TrainingJob]


def captions(kind: str) -> tuple[Any, Make]:
    settings: dict[str, Any] = {
        "captioner": NO_CHANCE,
        "alignment": caption_files.ALIGNMENT if kind == "bart" else None,
    }
    return caption_files.write_corpus, lambda c, f, **own: caption_files.job_of(c, f, kind, [0], **settings, **own)


def sounds(kind: str) -> tuple[Any, Make]:
    settings = {"model": {"drop_path": 0} if kind == "datar" else {}, "augmentation": MIXED}
    return audio_files.write_corpus, lambda c, f, **own: audio_files.job_of(c, f, kind, [0], **settings, **own)


def tags(kind: str) -> tuple[Any, Make]:
    settings = {"model": NO_CHANCE} if kind == "keyword_decoder" else {}
    return videos.write_corpus, lambda c, f, **own: videos.job_of(c, f, kind, [0], **settings, **own)


SYSTEMS = {  # those without batch norm
    **{f"captioner-{kind}": captions(kind) for kind in caption_files.TINY},
    **{f"audio_classifier-{kind}": sounds(kind) for kind in ("datar", "ast")},
    **{f"video_tagger-{kind}": tags(kind) for kind in ("moe", "lstm", "keyword_decoder")},
    "classifier": (digits.write_corpus, lambda c, f, **own: digits.job_of(c, f, [0], sizes=NO_CHANCE, **own)),
}


def stepped(job: TrainingJob) -> Run:
    """A run after two steps, whose last gradients are still there."""
    run = first_run(job)
    batches = run.batches()
    for _ in range(2):
        torch.manual_seed(7)  # augmentation
        run.step(*run.on_device(next(batches)))
    return run


def agree(one: Run, other: Run) -> None:
    assert one.loss.item() == pytest.approx(other.loss.item(), rel=1e-5)
    assert {name: value.item() for name, value in one.terms.items()} == pytest.approx(
        {name: value.item() for name, value in other.terms.items()}, rel=1e-4, abs=1e-6
    )
    largest = max(value.grad.abs().max() for value in other.network.parameters() if value.grad is not None)
    for (name, value), expected in zip(one.network.named_parameters(), other.network.parameters(), strict=True):
        if expected.grad is not None:
            assert torch.allclose(value.grad, expected.grad, rtol=1e-3, atol=1e-4 * largest.item()), name
    assert (one.examples, one.steps) == (other.examples, other.steps)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_step_is_that_of_the_whole_batch(system: str, tmp_path: Path) -> None:
    write, make = SYSTEMS[system]
    corpus = write(tmp_path)
    sizes: list[int] = []
    whole = stepped(make(corpus, tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        losses = type(whole).losses
        patch.setattr(type(whole), "losses", lambda *args: sizes.append(len(args[2])) or losses(*args))
        pieces = stepped(make(corpus, tmp_path, micro_batch=3))
    assert sizes == [2, 3, 3, 2, 3, 3] * 2
    assert pieces.checkpoint == whole.checkpoint  # it does not define the run
    agree(pieces, whole)


class Biased(nn.Module):
    """A student without batch norm, of the toy corpus's one stream."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, len(events.CLASSES))

    def forward(self, features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        frames = self.linear(next(iter(features.values()))).sigmoid()
        return frames.mean(1), frames


def test_clips_without_labels_count_in_their_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole pieces of a mean teacher's batch have none."""
    name = "workflow_scripts.training.systems.mean_teacher_sed.run.build_student"
    monkeypatch.setattr(name, lambda _, data: Biased(next(iter(data.clips.features.values())).shape[1]))
    corpus = events.write_corpus(tmp_path)
    whole = stepped(events.job_of(corpus, tmp_path, [0]))
    pieces = stepped(events.job_of(corpus, tmp_path, [0], micro_batch=2))
    assert math.isfinite(whole.loss.item()) and whole.terms["classification"].item() > 0
    agree(pieces, whole)


def test_a_batch_that_does_not_fit_says_what_to_do(tmp_path: Path) -> None:
    corpus = videos.write_corpus(tmp_path)
    with handlers_kept(), pytest.MonkeyPatch.context() as patch:
        for settings, at_once in (({}, 16), ({"micro_batch": 5}, 5)):

            def full(*_: Any) -> None:
                raise torch.OutOfMemoryError("CUDA out of memory")

            patch.setattr(nn.Linear, "forward", full)
            said = (
                rf"step 1: a batch of 16 clips, {at_once} of them at once, .* set 'micro_batch' .* less than {at_once}$"
            )
            with pytest.raises(UserError, match=said):
                train_into(tmp_path / "out", videos.job_of(corpus, tmp_path, "moe", [0], **settings))
