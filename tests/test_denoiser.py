"""BART's pretraining on texts: from the composed texts to the captioners that start from it."""

from pathlib import Path
from typing import Any

import caption_files
import denoiser_files
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from training_files import contents, curve, first_run, train_into

from composed.composers import audiocaps, caption_texts, clotho
from composed.composers.caption_texts import Composer
from workflow_scripts import shards
from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.corpora.readers.text_lines import Reader
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.training.systems.denoiser.run import infilled
from workflow_scripts.training.systems.denoiser.settings import Corruption

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent
MASK = 99


# texts


def test_composed_texts_reach_the_manifest(tmp_path: Path) -> None:
    composer = Composer.check({"texts": {"train": 60, "validation": 5}}, "test")
    composer.compose({}, tmp_path, 1)
    rows = list(Reader().read({split: tmp_path / f"{split}.txt" for split in ("train", "validation")}))
    shards.write(tmp_path / "manifest.parquet", manifest(lambda: rows, None), MANIFEST)
    read = list(shards.read(tmp_path / "manifest.parquet"))
    assert [row["split"] for row in read] == ["train"] * 60 + ["validation"] * 5
    texts = [text for row in read for text in row["captions"]]
    marked = [text for text in texts if ": " in text]
    assert 5 < len(marked) < 30
    for text in marked:
        assert str(TemporalCaption.parse(text)) == text
    assert "| train | 60 |" in (tmp_path / "COMPOSED.md").read_text()


def test_texts_of_another_encoding_are_named(tmp_path: Path) -> None:
    for name in ("train.txt", "validation.txt"):
        (tmp_path / name).write_bytes("ein Käuzchen ruft\n".encode("latin-1"))
    with pytest.raises(
        UserError, match=r"train\.txt: cannot be read as text in UTF-8 .*line 1.*save it in that encoding"
    ):
        list(Reader().read({split: tmp_path / f"{split}.txt" for split in ("train", "validation")}))


def test_marks_and_ends_of_other_systems_are_no_part_of_texts(tmp_path: Path) -> None:
    for name in ("train.txt", "validation.txt"):
        (tmp_path / name).write_bytes("\ufeffa dog barks\r\n\r\na line\u2028 in one \rrain\u200e".encode())
    rows = Reader().read({split: tmp_path / f"{split}.txt" for split in ("train", "validation")})
    found = {row["clip_id"]: row["captions"] for row in rows if row["split"] == "train"}
    assert found == {"train-1": ["a dog barks"], "train-3": ["a line\u2028 in one"], "train-4": ["rain"]}


@pytest.mark.parametrize("corpus", ["clotho_composed", "audiocaps_composed"])
def test_casts_of_texts_are_drawn_apart_from_those_of_clips(corpus: str) -> None:
    """Even with the seed of the clips: no split's casts come again in their order; single ones may, by chance."""
    entry = read_yaml(ROOT / "corpora.yaml")[corpus]
    clips = {"clotho": clotho, "audiocaps": audiocaps}[entry["composer"]].Composer.check(entry["composition"], corpus)
    texts = caption_texts.Composer.check({"kinds": clips.kinds, "seed": clips.seed}, "texts")
    drawn: list[Any] = []
    cast = type(texts).cast

    def noted(self: Any, rng: np.random.Generator, seconds: float) -> Any:
        drawn.append(cast(self, rng, seconds))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(texts), "cast", noted)
        for place in range(2):
            rng = np.random.default_rng([texts.seed, place, caption_texts.PURPOSE])
            for _ in range(300):
                texts.text(rng)
    for place in range(3):
        own = [clips.cast(np.random.default_rng([clips.seed, place, number, 1]), 6.0) for number in range(300)]
        same = sum(one == other for start in (0, 300) for one, other in zip(own, drawn[start:], strict=False))
        assert same < 30, "far fewer than all 600"


# masking


def test_text_infilling() -> None:
    """A third of the words leave, in spans of about three, and the ends stay."""
    rng, settings, text = np.random.default_rng(0), Corruption(), [0, *range(10, 30), 2]
    found = [infilled(text, settings, MASK, rng) for _ in range(500)]
    for tokens in found:
        assert tokens[0] == 0 and tokens[-1] == 2 and MASK in tokens
        kept = [token for token in tokens[1:-1] if token != MASK]
        assert kept == sorted(kept) and set(kept) < set(text)
        assert 14 <= len(kept) <= 20
    left = np.mean([sum(token != MASK for token in tokens) - 2 for tokens in found])
    assert left / 20 == pytest.approx(0.7, abs=0.03)
    spans = np.mean([tokens.count(MASK) for tokens in found])
    assert 1.5 < spans < 4
    assert infilled([0, 2], settings, MASK, rng) == [0, 2]


# training


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_files.write_corpus(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished pretraining with one seed."""
    corpus = denoiser_files.write_corpus(tmp_path_factory.mktemp("texts"))
    folder = tmp_path_factory.mktemp("pretrained")
    denoiser_files.train(corpus, folder, [0], optimisation={"epochs": 20})
    return folder


def used(folder: Path) -> dict[str, Any]:
    return {"uses": {"pretrained": [folder / f for f in ("predictions.parquet", "weights.safetensors", "params.json")]}}


def test_it_learns_to_restore(pretrained: Path) -> None:
    scores = curve(pretrained, "validation_restored")
    assert len(scores) == 20 and scores[-1] > 0.75 > scores[0]
    assert curve(pretrained, "loss")[-1] < 0.5 * curve(pretrained, "loss")[0]
    rows = pq.read_table(pretrained / "predictions.parquet").to_pylist()
    assert [row["clip_id"] for row in rows] == [f"validation-{n}" for n in range(8)]
    assert sum("then" in row["caption"] for row in rows[::3]) >= 2
    assert any(":" in row["caption"] for row in rows[2::3]), "marks of temporal captions are learned too"


def test_captioners_of_every_seed_start_from_it(clips: Path, tmp_path: Path, pretrained: Path) -> None:
    """From its words and weights, and so does the frozen text encoder; the layer before BART differs by seed."""
    alignment = {"alignment": caption_files.ALIGNMENT}
    jobs = [caption_files.job_of(clips, tmp_path, "bart", [seed], **used(pretrained), **alignment) for seed in (0, 1)]
    one, other = (first_run(job, seed) for seed, job in enumerate(jobs))
    learned = first_run(denoiser_files.job_of(pretrained_corpus(tmp_path), tmp_path, [0], optimisation={"epochs": 20}))
    start = learned.network.state_dict()
    for run in (one, other):
        own = run.network.captioner.bart.state_dict()
        assert own.keys() == start.keys()
        assert run.data.texts.words == learned.data.words.words and "<mask>" in run.data.texts.words
        for name, values in run.text_encoder.encoder.state_dict().items():
            assert torch.equal(values, own[f"model.encoder.{name}"])
    same = one.network.captioner.bart.state_dict(), other.network.captioner.bart.state_dict()
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert not torch.equal(same[0]["model.shared.weight"], start["model.shared.weight"]), "weights before learning"
    assert not torch.equal(one.network.captioner.adapt.weight, other.network.captioner.adapt.weight)


def pretrained_corpus(folder: Path) -> Path:
    return denoiser_files.write_corpus(folder / "texts")


def test_a_captioner_that_starts_from_it_is_ahead(clips: Path, tmp_path: Path, pretrained: Path) -> None:
    losses = []
    for name, more in (("scratch", {}), ("pretrained", used(pretrained))):
        train_into(tmp_path / name, caption_files.job_of(clips, tmp_path / name, "bart", [0], **more))
        losses.append(curve(tmp_path / name, "loss")[0])
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("bart", {"captioner": {"hidden": 48}}, "its BART has another size: '.*' differs"),
        ("gru", {}, "uses: pretrained: goes with a captioner 'bart'"),
    ],
)
def test_what_cannot_start_from_it(
    clips: Path, tmp_path: Path, pretrained: Path, kind: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        first_run(caption_files.job_of(clips, tmp_path, kind, [0], **used(pretrained), **changes))


def test_other_roles_and_other_systems_are_refused(clips: Path, tmp_path: Path, pretrained: Path) -> None:
    (files,) = used(pretrained)["uses"].values()
    with pytest.raises(UserError, match="uses 'pretrained' only, not 'pretraned'; did you mean 'pretrained'"):
        first_run(caption_files.job_of(clips, tmp_path, "bart", [0], uses={"pretraned": files}))
    caption_files.train(clips, tmp_path / "captioner", "bart", [0], optimisation={"epochs": 1})
    with pytest.raises(UserError, match="is of no training of the system 'denoiser'"):
        first_run(caption_files.job_of(clips, tmp_path, "bart", [0], **used(tmp_path / "captioner")))


def test_a_manifest_without_texts_is_named(tmp_path: Path) -> None:
    corpus = pretrained_corpus(tmp_path)
    with pytest.raises(UserError, match="no caption of the split 'dev' to learn as text"):
        denoiser_files.train(corpus, tmp_path, [0], validation_split="dev")


def test_other_weights_make_another_run(clips: Path, tmp_path: Path, pretrained: Path) -> None:
    """A checkpoint is not gone on with when the pretrained weights changed; the same ones give the same bits."""

    def make(folder: Path) -> Any:
        return caption_files.job_of(clips, tmp_path, "bart", [0], **used(folder))

    denoiser_files.train(pretrained_corpus(tmp_path), tmp_path / "less", [0], optimisation={"epochs": 1})
    assert first_run(make(pretrained)).checkpoint != first_run(make(tmp_path / "less")).checkpoint
    for name in ("one", "two"):
        train_into(tmp_path / name, make(pretrained).model_copy(update={"checkpoints": tmp_path / name}))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
