"""What the code of DAT does to training clips, and that DATAR's experiments can choose it."""

import shutil
from pathlib import Path
from typing import Any

import audio_files
import pytest
import torch
from training_files import curve

from workflow_scripts.errors import UserError
from workflow_scripts.settings.papers import Paper
from workflow_scripts.training.schedules import Schedule
from workflow_scripts.training.systems.audio_classifier import System
from workflow_scripts.training.systems.audio_classifier.augmentation import Preparation, Statistics, mixed
from workflow_scripts.training.systems.audio_classifier.settings import Augmentation

PAPER = Path(__file__).parent.parent / "papers" / "datar"
CLIPS, FRAMES, BINS = 400, 20, 12
NO_MASKS = {"freq_mask": 0, "time_mask": 0}


def augmented(**settings: Any) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Normalised features as they are and augmented, and how these were mixed."""
    torch.manual_seed(0)
    made = Preparation("ast", Statistics(-4.0, 2.5), Augmentation.check(settings | NO_MASKS, "toy"))
    features = -4 + 2.5 * torch.randn(CLIPS, FRAMES, BINS)
    changed, mix = made.augmented(features.clone())
    return made.normalised(features), mix, changed


def is_rectangle(gone: torch.Tensor) -> bool:
    rows, columns = gone.any(1).nonzero().flatten(), gone.any(0).nonzero().flatten()
    filled = gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    return bool(filled) and int(gone.sum()) == len(rows) * len(columns)


def test_cut_clips_have_a_rectangle_of_another_and_its_share_of_the_label() -> None:
    plain, mix, changed = augmented(cutmix=0.5)
    cut = (mix.share < 1).nonzero().flatten().tolist()
    assert len(cut) / CLIPS == pytest.approx(0.5, abs=0.1) and len({mix.share[clip].item() for clip in cut}) > 10
    for clip in range(CLIPS):
        other = changed[clip] != plain[clip]
        assert torch.equal(changed[clip][other], plain[mix.partner[clip]][other])
        if mix.partner[clip] != clip:
            assert mix.share[clip].item() == pytest.approx(1 - other.float().mean().item(), abs=1e-6)
            assert not other.any() or is_rectangle(other)


def test_a_clip_is_cut_or_mixed_up_and_never_both() -> None:
    plain, mix, changed = augmented(mixup=0.5, mixup_alpha=0.8, cutmix=0.5)
    assert torch.allclose(changed, mixed(plain, mix), atol=1e-5)
    both = (mix.own == 0).any(2).any(1) & ((mix.own > 0) & (mix.own < 1)).any(2).any(1)
    throughout = ((mix.own > 0) & (mix.own < 1)).all(2).all(1)
    assert not both.any() and throughout.float().mean().item() == pytest.approx(0.5, abs=0.1)
    with pytest.raises(UserError, match=r"mixup 0.6 and cutmix 0.5 are shares of the same clips: 1 at most"):
        augmented(mixup=0.6, cutmix=0.5)


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}])
def test_a_whole_batch_is_mixed_alike(settings: dict[str, Any]) -> None:
    _, mix, _ = augmented(mix_by="batch", **settings)
    assert mix.share.shape == (CLIPS,) and len(set(mix.share.tolist())) == 1
    assert sorted(mix.partner.tolist()) == list(range(CLIPS))


def test_erased_clips_have_a_rectangle_of_noise_as_loud_as_the_features() -> None:
    plain, _, changed = augmented(erasing=0.25)
    erased = [clip for clip in range(CLIPS) if not torch.equal(plain[clip], changed[clip])]
    assert len(erased) / CLIPS == pytest.approx(0.25, abs=0.06)
    noise = []
    for clip in erased:
        gone = plain[clip] != changed[clip]
        assert is_rectangle(gone) and 0 < gone.float().mean().item() < 0.45
        noise.append(changed[clip][gone])
    assert torch.cat(noise).mean().item() == pytest.approx(0, abs=0.05)
    assert torch.cat(noise).std().item() == pytest.approx(0.5, abs=0.05)  # the deviation of normalised features


def test_a_cosine_may_end_above_zero() -> None:
    """DAT: at 5e-6 of 5e-4."""
    schedule = Schedule.check({"warm_up": 0, "final": 0.01}, "toy")
    assert schedule.rate(2, 0, 1000, 1) == 2 and schedule.rate(2, 500, 1000, 1) == pytest.approx(1.01)
    assert schedule.rate(2, 999, 1000, 1) == pytest.approx(0.02, abs=1e-4)


def test_keys_that_are_off_define_nothing() -> None:
    """Trainings from before there were these keys stay what they are."""
    assert Augmentation().identity() == {
        **{"mixup": 0, "mixup_alpha": 10, "freq_mask": 24, "time_mask": 96},
        **{"mask_value": "zero", "time_shift": 0, "noise": 0},
    }
    assert Augmentation(cutmix=0.1).identity()["cutmix"] == 0.1 and Augmentation(mix_by="batch").identity()["mix_by"]
    assert "final" not in Schedule().identity() and Schedule(final=0.1).identity()["final"] == 0.1


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    return shutil.copytree(PAPER, tmp_path / "datar")


def choose(paper: Path, recipe: str) -> None:
    text = (paper / "paper.yaml").read_text()
    assert text.count("recipe: ast") == 1
    (paper / "paper.yaml").write_text(text.replace("recipe: ast", f"recipe: {recipe}"))


def test_the_recipe_of_dat_can_be_chosen(paper: Path) -> None:
    """The numbers are those of config.py in the code of DAT."""
    by_default = Paper.load(paper, "full").experiments
    choose(paper, "dat")
    chosen = Paper.load(paper, "full").experiments
    for name in ("ks_datar", "ks_deform", "vgg_datar", "epic_datar"):
        system = System.check(chosen[name].settings, name)
        found, optimisation = system.augmentation, system.optimisation
        assert (found.mixup, found.cutmix, found.mix_by) == (0.5, 0.5, "batch")  # MIXUP_PROB, MIXUP_SWITCH_PROB, MODE
        assert (found.mixup_alpha, found.cutmix_alpha, found.erasing) == (0.8, 1, 0.25)
        assert (found.freq_mask, found.time_mask) == (0, 0)
        assert (optimisation.label_smoothing, optimisation.clip, optimisation.weight_decay) == (0.1, 5, 0.05)
        assert optimisation.schedule.warm_up == pytest.approx(20 / 300, abs=1e-4)
        assert optimisation.schedule.final == 0.01 and optimisation.learning_rate == 1e-5
    masks = System.check(by_default["ks_datar"].settings, "ks_datar")
    assert (masks.augmentation.freq_mask, masks.augmentation.mixup, masks.optimisation.clip) == (24, 0, None)
    for name in ("ks_ast", "vgg_slowfast"):  # no networks of DATAR
        assert chosen[name] == by_default[name]
    mini = System.check(Paper.load(paper, "mini").experiments["ks_datar"].settings, "ks_datar")
    assert mini.augmentation.cutmix == 0.5 and mini.augmentation.time_shift == 64


def test_a_recipe_that_is_not_there_is_refused(paper: Path) -> None:
    choose(paper, "data")
    with pytest.raises(UserError, match=r"experiments\.ks_datar\.recipe: there is no 'data'; did you mean 'dat'\?"):
        Paper.load(paper, "full")


def test_a_network_learns_with_the_recipe_of_dat(tmp_path: Path) -> None:
    corpus = audio_files.write_corpus(tmp_path / "corpus")
    recipe = Paper.load(PAPER, "full").recipes["dat"]
    changes = {**recipe, "optimisation": recipe["optimisation"] | {"epochs": 16, "learning_rate": 1e-2}}
    audio_files.train(corpus, tmp_path / "out", "resnet", [0], **changes)
    losses = curve(tmp_path / "out", "loss")
    assert losses[-1] < losses[0] and audio_files.accuracy(tmp_path / "out", corpus) > 0.5  # chance: 1/4
