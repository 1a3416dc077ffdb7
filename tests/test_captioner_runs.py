"""Runs of captioning: stopped and gone on with, chosen, averaged, and what they read in an epoch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from caption_files import ALIGNMENT, EVERYTHING, settings_of, train, write_corpus
from safetensors.torch import load_file
from training_files import check_going_on, command, contents, history
from workflow_scripts.training.caption_data import Choice
from workflow_scripts.training.caption_run import Run

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    train(corpus, folder, "bart", [0], **EVERYTHING)
    return folder


@pytest.mark.parametrize("stop_after", [7, 29])
def test_going_on_within_an_epoch(corpus: Path, whole: Path, tmp_path: Path, stop_after: int) -> None:
    step, steps = Run.step, 0

    def failing(run: Run, *batch: Any) -> None:
        nonlocal steps
        if steps == stop_after:
            raise RuntimeError("killed")
        steps += 1
        step(run, *batch)

    changes = EVERYTHING | {"checkpoint_every": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "step", failing)
        with pytest.raises(RuntimeError, match="killed"):
            train(corpus, tmp_path, "bart", [0], **changes)
    train(corpus, tmp_path, "bart", [0], **changes)
    assert contents(tmp_path) == contents(whole)


def test_a_killed_job_goes_on_to_the_same_bits(corpus: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"optimisation": {"epochs": 8}, "alignment": ALIGNMENT}
    line = command(
        *("captioner", settings_of(**changes), tmp_path / "killed", "--manifest", corpus / "manifest.parquet"),
        *("--features", f"map={corpus / 'map'}", "--features", f"temporal={corpus / 'temporal'}"),
        *("--seeds", "0", "--clip-seconds", "6"),
    )
    check_going_on(line, tmp_path / "killed", lambda place: train(corpus, place, "bart", [0], **changes))


def test_the_best_weights_predict_if_so_set(corpus: Path, tmp_path: Path) -> None:
    """The scores are made up: the second of four epochs is the best."""
    scores = iter([0.1, 0.9, 0.2, 0.3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow_scripts.training.caption_job.cider_d", lambda *_: np.array([next(scores)]))
        train(corpus, tmp_path / "best", "gru", [0], optimisation={"epochs": 4})
    train(corpus, tmp_path / "two", "gru", [0], optimisation={"epochs": 2}, select_by="last")
    assert contents(tmp_path / "best")[:2] == contents(tmp_path / "two")[:2]


def test_weights_are_averaged_over_the_ends_of_epochs(corpus: Path, tmp_path: Path) -> None:
    ends: list[dict[str, torch.Tensor]] = []
    follow = Run.follow

    def noting(run: Run) -> None:
        ends.append({name: value.clone() for name, value in run.model.state_dict().items()})
        follow(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "follow", noting)
        train(corpus, tmp_path, "gru", [0], optimisation={"epochs": 4, "average_from": 3}, select_by="last")
    for name, value in load_file(tmp_path / "weights.safetensors").items():
        own = name.partition("/")[2]
        assert torch.allclose(value, (ends[2][own] + ends[3][own]) / 2, atol=1e-6)


def test_the_decoder_reads_its_own_words_more_and_more(corpus: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    truth = Run.truth

    def noting(run: Run) -> float:
        shares.append(truth(run))
        return shares[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "truth", noting)
        train(corpus, tmp_path, "gru", [0], optimisation={"truth_at_end": 0.7, "epochs": 1})
    assert shares == pytest.approx(np.linspace(1, 0.7, 12))


@pytest.mark.parametrize(("chosen", "passes"), [("all", 3), ("random", 1), ("first", 1)])
def test_captions_of_an_epoch(corpus: Path, tmp_path: Path, chosen: str, passes: int) -> None:
    """What is learned in two epochs, by clip."""
    seen: list[tuple[int, str]] = []
    place = Choice.place

    def noting(choice: Choice, clip_id: str, captions: int, seed: int, epoch: int, number: int) -> int:
        seen.append((place(choice, clip_id, captions, seed, epoch, number), clip_id))
        return seen[-1][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Choice, "place", noting)
        train(corpus, tmp_path, "gru", [0], train_captions=chosen)
    assert len(seen) == 2 * passes * 64 and history(tmp_path)[-1]["step"] == 2 * passes * 4
    first = seen[: passes * 64]
    assert len(set(first)) == passes * 64
    places = {place for place, _ in seen}
    assert places == ({0} if chosen == "first" else {0, 1, 2})


def test_the_network_is_compiled_if_so_set(corpus: Path, tmp_path: Path) -> None:
    compiled: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "compile", lambda *_: compiled.append(True))
        train(corpus, tmp_path, "gru", [0], compile=True, optimisation={"epochs": 1})
    assert compiled == [True]
