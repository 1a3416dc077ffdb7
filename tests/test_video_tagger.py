"""Training of video taggers on a toy corpus of features and words."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import training_files
from sklearn.metrics import average_precision_score
from training_files import contents, first_run, history, shards_in, step_of, train_into

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.features.extractors import youtube8m_frames
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, encode_frames, quantise
from workflow_scripts.settings.base import overlay
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run
from workflow_scripts.training.schedules import staircase
from workflow_scripts.training.systems.video_tagger import System
from workflow_scripts.training.systems.video_tagger.run import clip_each

CLASSES = ["cat", "dog", "cow", "car", "car"]  # names may repeat
SPLITS = {"train": 150, "dev": 40, "validation": 30, "test": 30}
Uses = dict[str, list[Path]]
WORDS = [f"{kind}{number}" for number in range(len(CLASSES)) for kind in ("a", "b", "c")]
MODELS: dict[str, dict[str, Any]] = {
    "moe": {"kind": "moe"},
    "dbof": {"kind": "dbof", "projection": 32, "hidden": 16, "samples": 4, "bn_momentum": 0.1},
    "lstm": {"kind": "lstm", "cells": 16, "layers": 2},
    "textcnn": {"kind": "textcnn", "widths": 3, "filters": 8, "hidden": 16, "title_length": 4, "bn_momentum": 0.1},
    "keyword_decoder": {"kind": "keyword_decoder", "hidden": [16, 32]},
}
OPTIMISATION = {"batch": 16, "epochs": 2, "learning_rate": 0.01, "shuffle_rows": 64}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_features(folder: Path, name: str, own: list[pa.Field], rows: list[dict[str, Any]]) -> None:
    """A feature in two shards."""
    columns = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.int32()))]
    about = {"classes": json.dumps(CLASSES), "records": "../records"}
    schema = pa.schema([*(pa.field(*c) for c in columns), *own, *shards.STATE], about)
    for part in range(2):
        mine = [row for row in rows if shards.shard_of(row["clip_id"], 2) == part]
        shards.write(folder / name / f"{part}.parquet", mine, schema, rows_a_group=16)


def write_frames(folder: Path, rows: list[dict[str, Any]]) -> None:
    """A record file, and the feature that points into it."""
    extractor = youtube8m_frames.Extractor(max_frames=6)
    tfrecord.write(folder / "records" / "all", (encode_frames(row["frames"]) for row in rows))
    found = extractor.read(folder / "records" / "all")
    write_features(
        folder,
        "frames",
        extractor.columns(),
        [row | own | {"path": "all"} for row, own in zip(rows, found, strict=True)],
    )


def write_corpus(folder: Path) -> Path:
    """One or two labels a clip, plain to see in vectors, frames and words; a third lacks title or keywords."""
    rng = np.random.default_rng(0)
    prototypes = rng.normal(0, 1, (len(CLASSES), RGB + AUDIO))
    vector = shards.array_field("features", "float16", (1, RGB + AUDIO))
    text = [
        pa.field(f"{name}{end}", pa.list_(pa.string())) for name in ("title", "keywords") for end in ("", "_filtered")
    ]
    video, frames, words = [], [], []
    for split, count in SPLITS.items():
        for number in range(count):
            clip_id, status = f"{split}-{number}", "failed" if (split, number) == ("train", 3) else "ok"
            labels = rng.choice(len(CLASSES), int(rng.integers(1, 3)), replace=False).tolist()
            mean, length = prototypes[labels].sum(0), int(rng.integers(2, 7))
            base = {"clip_id": clip_id, "split": split, "labels": labels, "status": status}
            noisy = quantise(mean + rng.normal(0, 0.3, (6, RGB + AUDIO)))[:length]
            packed = shards.pack((mean + rng.normal(0, 0.3, mean.shape))[None], vector) if status == "ok" else None
            video.append(base | {"features": packed})
            frames.append(base | {"frames": Frames(clip_id, labels, *np.split(noisy, [RGB], 1)), "status": "ok"})
            spoken = {
                name: [f"{rng.choice(list('abc'))}{label}" for label in labels for _ in range(3)]
                for name in ("title", "keywords")
            }
            if number % 3 == 2:
                spoken["title" if number % 2 else "keywords"] = []
            filtered = {f"{name}_filtered": list_[1:] for name, list_ in spoken.items()}
            words.append(base | spoken | filtered | {"status": "ok"})
    write_features(folder, "video", [vector], video)
    write_frames(folder, frames)
    write_features(folder, "words", text, words)
    pq.write_table(
        pa.table({name: [row[name] for row in words] for name in ("clip_id", "split")}), folder / "manifest.parquet"
    )
    packed_vector = shards.array_field("vector", "float16", (300,))
    lexicon = [
        {"word": word, "cluster": number // 3, "vector": shards.pack(rng.normal(0, 1, 300), packed_vector)}
        for number, word in enumerate(WORDS)
    ]
    fields = [pa.field("word", pa.string()), pa.field("cluster", pa.int32()), packed_vector]
    shards.write(folder / "lexicon.parquet", lexicon, pa.schema(fields, {"clusters": "8"}))
    return folder


def settings_of(kind: str, **changes: Any) -> dict[str, Any]:
    model = overlay(MODELS[kind], changes.pop("model", {}))
    text = {"loss": "mean", "l2": 0} if kind in ("textcnn", "keyword_decoder") else {}
    return overlay({"model": model, "optimisation": OPTIMISATION | text, "record_every": 4}, changes)


def job_of(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": {name: shards_in(corpus / name) for name in ("video", "frames", "words")},
        "reductions": {"lexicon": corpus / "lexicon.parquet"},
        "clip_seconds": 300.0,
        "seeds": seeds,
        "checkpoints": folder / "checkpoints",
    }
    return training_files.job_of("video_tagger", settings_of(kind), given, changes)


def train(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> dict[str, Any]:
    return train_into(folder, job_of(corpus, folder, kind, seeds, **changes))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("tagging"))


def gaps(folder: Path) -> list[float]:
    return [row["dev_gap"] for row in history(folder) if row["dev_gap"] is not None]


# Whole jobs


@pytest.mark.parametrize("kind", MODELS)
def test_it_learns(corpus: Path, tmp_path: Path, kind: str) -> None:
    epochs = {"moe": 5, "dbof": 8, "lstm": 8, "textcnn": 10, "keyword_decoder": 10}[kind]
    facts = train(corpus, tmp_path, kind, [0], optimisation={"epochs": epochs})
    rows = history(tmp_path)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert gaps(tmp_path)[-1] > 0.85 > gaps(tmp_path)[0] or gaps(tmp_path)[-1] > 0.95
    assert facts["parameters"] > 0 and facts["examples_per_second"]["0"] > 0
    assert [row["epoch"] for row in rows if row["dev_gap"] is not None] == list(range(1, epochs + 1))


def test_the_course_is_told_beside_what_label_frequencies_give(corpus: Path, tmp_path: Path) -> None:
    facts = train(corpus, tmp_path, "moe", [0], optimisation={"epochs": 2})
    videos = [row for path in shards_in(corpus / "video") for row in shards.read(path) if row["split"] == "dev"]
    true = np.array([[label in row["labels"] for label in range(len(CLASSES))] for row in videos])
    prior = average_precision_score(true.ravel(), np.broadcast_to(true.mean(0), true.shape).ravel())
    course = facts["course"]["0"]
    assert (course["score"], course["values"], course["stopped"]) == ("dev_gap", gaps(tmp_path), False)
    assert course["prior"] == pytest.approx(prior)
    assert course["values"][-1] > prior


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeds 0 and 1 of a mixture of experts, two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    train(corpus, folder, "moe", [0, 1], top_k=3)
    return folder


def test_predictions_of_a_job(corpus: Path, trained: Path) -> None:
    table = pq.read_table(trained / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"classes"]) == CLASSES
    classes, scores = shards.stack(table, "classes"), shards.stack(table, "scores")
    assert classes.dtype == np.int32 and scores.dtype == np.float32 and classes.shape == scores.shape == (200, 3)
    assert (np.diff(scores, axis=1) <= 0).all() and scores.min() >= 0 and scores.max() <= 1
    assert all(len(set(row)) == 3 for row in classes.tolist())
    assert classes.min() == 0 and classes.max() == len(CLASSES) - 1
    rows = table.to_pylist()
    stored = [row for part in range(2) for row in pq.read_table(corpus / f"video/{part}.parquet").to_pylist()]
    wanted = [row["clip_id"] for split in ("dev", "validation", "test") for row in stored if row["split"] == split]
    assert [row["clip_id"] for row in rows] == 2 * wanted
    assert [row["seed"] for row in rows] == [0] * 100 + [1] * 100


def test_recorded_gap_is_that_of_the_predictions(corpus: Path, tmp_path: Path) -> None:
    """With fewer classes than enter the pool, GAP is the average precision over all pairs of clip and class."""
    train(corpus, tmp_path, "keyword_decoder", [0], predict_splits=["dev"], optimisation={"epochs": 4})
    table = pq.read_table(tmp_path / "predictions.parquet")
    stored = [row for part in range(2) for row in pq.read_table(corpus / f"words/{part}.parquet").to_pylist()]
    labels = {row["clip_id"]: row["labels"] for row in stored}
    lists = zip(table["clip_id"].to_pylist(), shards.stack(table, "classes"), strict=True)
    true = [[number in labels[clip_id] for number in classes] for clip_id, classes in lists]
    gap = average_precision_score(np.array(true).ravel(), shards.stack(table, "scores").ravel())
    assert 0.2 < gap < 0.999 and gaps(tmp_path)[-1] == pytest.approx(gap, rel=1e-6)


def test_facts_count_clips(corpus: Path, tmp_path: Path) -> None:
    assert train(corpus, tmp_path, "moe", [0])["clips"] == SPLITS | {"train": 149}
    facts = train(corpus, tmp_path, "moe", [0], require=["title", "keywords"])
    words = [row for part in range(2) for row in pq.read_table(corpus / f"words/{part}.parquet").to_pylist()]
    both = [row["split"] for row in words if row["title"] and row["keywords"] and row["clip_id"] != "train-3"]
    assert facts["clips"] == {split: both.count(split) for split in SPLITS}
    assert {split: facts["clips"][split] + facts["left_out"][split] for split in SPLITS} == SPLITS
    predicted = pq.read_table(tmp_path / "predictions.parquet")["clip_id"].to_pylist()
    assert len(predicted) == sum(count for split, count in facts["clips"].items() if split != "train")


@pytest.mark.parametrize("kind", ["dbof", "moe"])
def test_clips_of_a_lost_file_are_left_out_and_counted(corpus: Path, tmp_path: Path, kind: str) -> None:
    """With texts, which are still there, and without; a faulty record is counted apart."""
    name = "frames" if kind == "dbof" else "video"
    for path in shards_in(corpus / name):
        table = pq.read_table(path)
        gone = pc.is_in(table["clip_id"], pa.array(["train-0", "train-1", "dev-0"]))
        status = pc.if_else(pc.equal(table["clip_id"], "train-9"), "failed", table["status"])
        reason = pc.if_else(pc.equal(table["clip_id"], "train-9"), "decode_error", table["reason"])
        for column, values in (("status", status), ("reason", reason)):
            table = table.set_column(table.column_names.index(column), table.schema.field(column), values)
        (tmp_path / name).mkdir(exist_ok=True)
        pq.write_table(table.filter(pc.invert(gone)), tmp_path / name / path.name)
    shutil.copytree(corpus / "records", tmp_path / "records")
    features = {"words": shards_in(corpus / "words"), name: shards_in(tmp_path / name)}
    lost = {f"{name}: not there": 2, f"{name}: decode_error": 1} | ({"video: failed": 1} if kind == "moe" else {})
    alone = train(corpus, tmp_path / "alone", kind, [0], features=features)
    assert alone["left_out_for"] == {"train": lost, "dev": {f"{name}: not there": 1}}
    assert alone["left_out"] == {"train": sum(lost.values()), "dev": 1}
    facts = train(corpus, tmp_path / "texts", kind, [0], features=features, require=["title"])
    assert facts["left_out_for"]["train"] == lost | {"words: no title": facts["left_out"]["train"] - sum(lost.values())}
    assert {split: facts["clips"][split] + facts["left_out"][split] for split in SPLITS} == SPLITS
    predicted = pq.read_table(tmp_path / "alone" / "predictions.parquet")["clip_id"].to_pylist()
    assert len(predicted) == 99 and "dev-0" not in predicted


def test_the_bag_is_given_the_frames_that_it_draws(corpus: Path, tmp_path: Path) -> None:
    """By the numbers that follow from the seed; in evaluation by their own."""
    run = first_run(job_of(corpus, tmp_path, "dbof", [0]))
    block = next(run.batches())
    state = torch.get_rng_state()
    inputs, _ = run.on_device(block)
    torch.set_rng_state(state)
    chances, valid = torch.rand(16, 4), torch.from_numpy(block["num_frames"])[:, None]
    for own, rgb, audio, chosen in zip(
        inputs["frames"].numpy(), block["rgb"], block["audio"], (chances * valid).long(), strict=True
    ):
        assert np.array_equal(own, np.hstack([rgb, audio])[chosen])
    assert set(inputs) == {"frames"} and inputs["frames"].dtype == torch.uint8
    first, second = (next(run.probabilities([block]))[1] for _ in range(2))
    assert torch.equal(first, second)


def test_text_networks_need_their_text(corpus: Path, tmp_path: Path) -> None:
    """By the words that name no label if so set: those lack a word of a text of three, none of one without."""
    titles = train(corpus, tmp_path, "textcnn", [0], text={"filtered": True}, optimisation={"epochs": 1})
    words = [row for part in range(2) for row in pq.read_table(corpus / f"words/{part}.parquet").to_pylist()]
    assert titles["clips"]["dev"] == sum(bool(r["title_filtered"]) for r in words if r["split"] == "dev") < 40


# Fusion with a trained title network


@pytest.fixture(scope="module")
def textcnn(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Uses:
    """What jobs of a title network have written, in the role that it plays."""
    folder = tmp_path_factory.mktemp("textcnn")
    for seeds in ([0], [1, 2]):
        name = f"seeds-{seeds[0]}-{seeds[-1]}"
        train(corpus, folder / name, "textcnn", seeds, optimisation={"epochs": 10})
    return {"textcnn": sorted(path for path in folder.glob("*/*") if path.is_file())}


def test_fusion_reads_the_title_network_of_the_same_seed(corpus: Path, textcnn: Uses, tmp_path: Path) -> None:
    """Titles alone tell the label to the mixture of experts, which leaves the title network as it was."""
    alone = {"inputs": ["title"], "normalise": "blocks"}
    changes = {"model": alone, "require": ["title"], "optimisation": {"epochs": 10}}
    train(corpus, tmp_path, "moe", [1], uses=textcnn, **changes)
    assert gaps(tmp_path)[-1] > 0.9
    weights, _, _ = contents(tmp_path)
    assert sorted(weights) == ["1/experts.bias", "1/experts.weight", "1/gates.weight"]
    jobs = {seed: job_of(corpus, tmp_path, "moe", [seed], uses=textcnn, **changes) for seed in (1, 2)}
    block = next(first_run(jobs[1], 1).data.in_order("dev", 8))
    batch = {"title": torch.from_numpy(block["title"])}
    features = [first_run(jobs[seed], seed).feed(batch)[0] for seed in (1, 1, 2)]
    assert features[0].shape == (8, 16) and torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])
    assert torch.linalg.vector_norm(features[0], dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_fusion_of_all_inputs(corpus: Path, textcnn: Uses, tmp_path: Path) -> None:
    everything = {"inputs": ["visual", "audio", "keywords", "title"], "normalise": "blocks"}
    facts = train(corpus, tmp_path, "moe", [0], model=everything, uses=textcnn)
    inputs, classes, experts = RGB + AUDIO + 8 + 16, len(CLASSES), 2
    assert facts["parameters"] == inputs * classes * (2 * experts + 1) + classes * experts
    assert facts["clips"]["dev"] == 40  # texts that are missing count as zeros


def test_inputs_of_a_batch(corpus: Path, tmp_path: Path) -> None:
    """Blocks of length one each, and a histogram of word clusters."""
    model = {"inputs": ["keywords", "audio"], "normalise": "blocks"}
    run = first_run(job_of(corpus, tmp_path, "moe", [0], model=model))
    block = next(run.data.in_order("dev", 4))
    words = {row["clip_id"]: row["keywords"] for row in pq.read_table(corpus / "words/0.parquet").to_pylist()}
    for clip_id, histogram in zip(block["clip_id"], block["keywords"], strict=True):
        assert histogram.tolist() == [sum(word[1:] == str(n) for word in words[clip_id]) for n in range(8)]
    (features,) = run.feed({name: torch.from_numpy(block[name]) for name in ("keywords", "features")})
    has_words = torch.from_numpy(block["keywords"]).any(1)
    norms = torch.linalg.vector_norm(features[:, :8], dim=1)
    assert norms.numpy() == pytest.approx(np.where(has_words, math.sqrt(0.5), 0), abs=1e-4)
    sound = torch.from_numpy(block["features"])[:, RGB:].float()
    assert torch.nn.functional.cosine_similarity(features[:, 8:], sound).numpy() == pytest.approx(1, abs=1e-4)


# The optimiser


def test_rate_falls_by_examples_in_steps() -> None:
    settings = System.check({"model": {"kind": "moe"}}, "toy").optimisation
    fall = settings.learning_rate, settings.decay, settings.decay_examples
    rates = [staircase(examples, *fall) for examples in (0, 3_999_999, 4_000_000, 8_000_000, 23_000_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.0095, 0.009025, 0.01 * 0.95**5])


def test_each_gradient_is_clipped_on_its_own() -> None:
    long, short, none = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    long.grad, short.grad = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    clip_each([long, short, none], 1.0)
    assert long.grad.tolist() == pytest.approx([0.6, 0.8]) and short.grad.tolist() == pytest.approx([0.3, 0.4])
    assert none.grad is None


def first_step(corpus: Path, folder: Path, **optimisation: Any) -> tuple[dict[str, torch.Tensor], Run]:
    """The weights before, and a run after its first step."""
    run = first_run(job_of(corpus, folder, "moe", [0], optimisation=optimisation))
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    return before, step_of(run)


def test_penalty_is_the_gradient_of_half_the_squares(corpus: Path, tmp_path: Path) -> None:
    _, free = first_step(corpus, tmp_path, l2=0, clip=None)
    before, run = first_step(corpus, tmp_path, l2=0.5, clip=None)
    assert run.loss == free.loss
    penalties = {
        name: parameter.grad - other.grad
        for (name, parameter), other in zip(run.network.named_parameters(), free.network.parameters(), strict=True)
        if parameter.grad is not None and other.grad is not None
    }
    for name in ("gates.weight", "experts.weight"):
        assert torch.allclose(penalties[name], 0.5 * before[name], atol=1e-5)
    assert not penalties["experts.bias"].any()


def test_loss_over_the_classes(corpus: Path, tmp_path: Path) -> None:
    _, total = first_step(corpus, tmp_path)
    _, mean = first_step(corpus, tmp_path, loss="mean")
    assert total.loss.item() == pytest.approx(len(CLASSES) * mean.loss.item(), rel=1e-5)


def test_a_falling_gap_stops(corpus: Path, tmp_path: Path) -> None:
    """No epoch's GAP is a hundred times the last one's."""
    train(corpus, tmp_path, "keyword_decoder", [0], optimisation={"epochs": 9, "stop_below": 100.0})
    assert len(gaps(tmp_path)) == 2
    train(corpus, tmp_path, "keyword_decoder", [0], optimisation={"epochs": 4, "stop_below": 0.01})
    assert len(gaps(tmp_path)) == 4


@pytest.mark.parametrize("kind", ["moe", "lstm"])
def test_half_precision_on_the_cpu(corpus: Path, tmp_path: Path, kind: str) -> None:
    for precision in ("bf16-mixed", "32-true"):
        train(corpus, tmp_path / precision, kind, [0], precision=precision)
    half, single = (history(tmp_path / precision)[-1] for precision in ("bf16-mixed", "32-true"))
    assert half["loss"] == pytest.approx(single["loss"], rel=0.1) and half["loss"] != single["loss"]
    assert half["dev_gap"] == pytest.approx(single["dev_gap"], abs=0.1)


def test_the_network_is_compiled_if_so_set(corpus: Path, tmp_path: Path) -> None:
    compiled: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
        train(corpus, tmp_path / "plain", "dbof", [0])
        train(corpus, tmp_path / "compiled", "dbof", [0], compile=True)
    assert compiled == ["DeepBagOfFrames"]
    assert contents(tmp_path / "plain") == contents(tmp_path / "compiled")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", MODELS)
def test_one_epoch_on_a_gpu(corpus: Path, tmp_path: Path, kind: str, precision: str) -> None:
    train(corpus, tmp_path, kind, [0], optimisation={"epochs": 1}, precision=precision, device="cuda")
    assert all(math.isfinite(row["loss"]) for row in history(tmp_path))


# Mistakes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"kind": "moe", "inputs": ["vizual"]}}, "there is no input 'vizual'; did you mean 'visual'"),
        ({"model": {"kind": "lstm", "inputs": ["title"]}}, "there is no input 'title'"),
        ({"model": {"kind": "moe", "inputs": ["audio", "audio"]}}, "every input may stand once"),
        ({"model": {"kind": "moo"}}, "'moo'"),
        ({"model": {"kind": "dbof", "hiden": 3}}, r"unknown key 'model.dbof.hiden'"),
        ({"require": ["title", "title"]}, "every text may stand once"),
    ],
)
def test_mistakes_in_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        System.check({"model": {"kind": "moe"}} | changes, "toy")


def test_mistakes_in_what_is_given(corpus: Path, textcnn: Uses, tmp_path: Path) -> None:
    title = {"model": {"inputs": ["title"]}}
    with pytest.raises(UserError, match="texts need one lexicon, given: none"):
        train(corpus, tmp_path, "textcnn", [0], reductions={})
    with pytest.raises(UserError, match="the input 'title' needs a trained TextCNN"):
        train(corpus, tmp_path, "moe", [0], **title)
    train(corpus, tmp_path / "other", "moe", [0])
    with pytest.raises(UserError, match="is of no training of a TextCNN"):
        train(corpus, tmp_path, "moe", [0], uses={"textcnn": [tmp_path / "other" / "params.json"]}, **title)
    with pytest.raises(UserError, match=r"seed 7 was not trained \(those that were: 0, 1, 2\)"):
        train(corpus, tmp_path, "moe", [7], uses=textcnn, **title)
    with pytest.raises(UserError, match="the stream 'video' is not given; did you mean 'videos'"):
        train(corpus, tmp_path, "moe", [0], features={"videos": shards_in(corpus / "video")})
    with pytest.raises(UserError, match=r"step 4: the loss is (nan|inf); lower the learning rate"):
        train(corpus, tmp_path, "lstm", [0], optimisation={"learning_rate": 1e38, "clip": None})


def test_a_word_outside_the_lexicon(corpus: Path, tmp_path: Path) -> None:
    table = pq.read_table(corpus / "lexicon.parquet")
    pq.write_table(table.slice(3), tmp_path / "short.parquet")
    with pytest.raises(UserError, match=r"short.parquet: the word '[abc]0' is not in it"):
        train(corpus, tmp_path, "keyword_decoder", [0], reductions={"lexicon": tmp_path / "short.parquet"})
