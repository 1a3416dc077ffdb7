"""Runs of captioning: chosen, averaged, and what they read in an epoch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from caption_files import train, write_corpus
from safetensors.torch import load_file
from training_files import contents, history

from workflow_scripts.training.systems.captioner.data import Data
from workflow_scripts.training.systems.captioner.run import CaptionRun

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("clips"))


def test_the_best_weights_predict_if_so_set(corpus: Path, tmp_path: Path) -> None:
    """The scores are made up: the second of four epochs is the best."""
    scores = iter([0.1, 0.9, 0.2, 0.3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow_scripts.training.systems.captioner.run.cider_d", lambda *_: np.array([next(scores)]))
        train(corpus, tmp_path / "best", "gru", [0], optimisation={"epochs": 4})
    train(corpus, tmp_path / "two", "gru", [0], optimisation={"epochs": 2}, select_by="last")
    assert contents(tmp_path / "best")[:2] == contents(tmp_path / "two")[:2]


def test_weights_are_averaged_over_the_ends_of_epochs(corpus: Path, tmp_path: Path) -> None:
    ends: list[dict[str, torch.Tensor]] = []
    follow = CaptionRun.follow

    def noting(run: CaptionRun) -> None:
        ends.append({name: value.clone() for name, value in run.network.state_dict().items()})
        follow(run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptionRun, "follow", noting)
        train(corpus, tmp_path, "gru", [0], optimisation={"epochs": 4, "average_from": 3}, select_by="last")
    for name, value in load_file(tmp_path / "weights.safetensors").items():
        own = name.partition("/")[2]
        assert torch.allclose(value, (ends[2][own] + ends[3][own]) / 2, atol=1e-6)


def test_the_decoder_reads_its_own_words_more_and_more(corpus: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    forcing = CaptionRun.teacher_forcing

    def noting(run: CaptionRun) -> float:
        shares.append(forcing(run))
        return shares[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptionRun, "teacher_forcing", noting)
        train(corpus, tmp_path, "gru", [0], optimisation={"teacher_forcing_at_end": 0.7, "epochs": 1})
    assert shares == pytest.approx(np.linspace(1, 0.7, 12))


@pytest.mark.parametrize(("chosen", "passes"), [("all", 3), ("random", 1), ("first", 1)])
def test_captions_of_an_epoch(corpus: Path, tmp_path: Path, chosen: str, passes: int) -> None:
    """What is learned in two epochs, by clip."""
    seen: list[tuple[int, str]] = []
    choose = Data.choose

    def noting(data: Data, clip_id: str, *of: int) -> int:
        seen.append((choose(data, clip_id, *of), clip_id))
        return seen[-1][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Data, "choose", noting)
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
