"""What captioning is made of: clips, networks, and the losses of a step."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from caption_files import ALIGNMENT, SPLITS, TINY, inputs_of, settings_of, train, write_corpus
from torch.nn import functional as F
from workflow_scripts.training.caption_data import CaptionStream, Choice
from workflow_scripts.training.caption_job import Job
from workflow_scripts.training.caption_network import Network, build, texts_of
from workflow_scripts.training.caption_run import Heard, Run
from workflow_scripts.training.caption_texts import MARKS, Words

from workflow_scripts import shards
from workflow_scripts.models.caption_decoders import caption_loss
from workflow_scripts.models.captioners import BART_TOKENS, BartCaptioner
from workflow_scripts.models.panns import LogMel, Panns
from workflow_scripts.training.systems.captioner import System

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("clips"))


# Clips


def test_only_training_captions_make_the_vocabulary(corpus: Path, tmp_path: Path) -> None:
    rows = list(shards.read(corpus / "manifest.parquet"))
    for row in rows:
        if row["split"] != "train":
            row["captions"] = [f"{caption} unheard" for caption in row["captions"]]
    shards.write(tmp_path / "manifest.parquet", rows, pq.read_schema(corpus / "manifest.parquet"))
    facts = [
        train(corpus, tmp_path / name, "gru", [0], optimisation={"epochs": 1}, **changes)
        for name, changes in {"one": {}, "two": {"manifest": tmp_path / "manifest.parquet"}}.items()
    ]
    assert facts[0]["vocabulary"] == facts[1]["vocabulary"]


def test_clips_without_captions_are_left_out(corpus: Path, tmp_path: Path) -> None:
    rows = list(shards.read(corpus / "manifest.parquet"))
    rows[0]["captions"] = []
    rows[1]["captions"] = rows[1]["captions"][:1]
    shards.write(tmp_path / "manifest.parquet", rows, pq.read_schema(corpus / "manifest.parquet"))
    stream = CaptionStream(inputs_of(corpus, manifest=tmp_path / "manifest.parquet"), list(SPLITS), True, 0)
    other = CaptionStream(inputs_of(corpus), list(SPLITS), True, 0)
    assert stream.left_out["train"] == 2 and other.left_out["train"] == 1
    assert stream.digest != other.digest
    choice = Choice.of("all", stream, "train")
    assert choice.passes == 3
    assert {choice.place("train-1", 1, 0, 0, number) for number in range(3)} == {0}


def test_valid_frames_follow_from_seconds(corpus: Path) -> None:
    stream = CaptionStream(inputs_of(corpus), ["test"], True, 0)
    assert stream.valid(np.array([6.0, 5.0, 3.2, 0.0, 9.0, np.nan])).tolist() == [12, 10, 7, 1, 12, 12]


def test_what_lies_behind_a_clip_is_not_heard(corpus: Path) -> None:
    job = job_of(corpus, "bart")
    run = run_of(job)
    block = next(block for block in job.blocks("test") if len(set(block["frames"])) == 2)
    short = block["frames"] < 12
    poisoned = block | {"features": block["features"].copy()}
    poisoned["features"][short, 10:] = 50
    (_, clean), (_, other) = next(run.told([block], job.search)), next(run.told([poisoned], job.search))
    assert np.array_equal(clean, other)


# The loss of a step


def job_of(corpus: Path, kind: str, **changes: Any) -> Job:
    system = System.check(settings_of(kind, **changes), "toy")
    return Job(system, inputs_of(corpus), checkpoints=Path("unused"), device="cpu", precision="32-true")


def run_of(job: Job) -> Run:
    """A run at its beginning."""
    torch.manual_seed(0)
    network = build(job.system, 8, job.texts, job.sentences, {}, 0)
    job.check_lengths(network)
    job.steps_a_pass = 4
    return Run(network, job.text_encoder(network), job.system, 0, 8, job.choice.passes, job.device, "32-true")


@pytest.mark.parametrize("kind", TINY)
def test_one_step_trains_every_weight(corpus: Path, kind: str) -> None:
    job = job_of(corpus, kind, **({"alignment": ALIGNMENT} if kind == "bart" else {}))
    run = run_of(job)
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    run.step(*job.on_device(run, next(job.stream.shuffled("train", 16, 64, 0, 0))))
    moved = {name for name, value in run.model.named_parameters() if not torch.equal(value, before[name])}
    still = before.keys() - moved
    assert all("embed_positions" in name or "k_proj.bias" in name for name in still)
    assert run.loss.isfinite()


def test_the_loss_of_a_step_by_hand(corpus: Path) -> None:
    """Equations 1 to 4 from the network's own outputs, clip by clip."""
    job = job_of(corpus, "bart", alignment={"weight": 0.5, "negatives": {"k": 2, "mode": "es"}})
    run = run_of(job)
    heard, targets = job.on_device(run, next(job.stream.shuffled("train", 16, 64, 0, 0)))
    run.model.eval()
    loss = run.batch_loss(heard, targets)
    decoded = run.model(heard.features.float(), heard.frames, targets)
    cross = caption_loss(decoded.logits, targets, 1)
    assert heard.texts is not None and run.text_encoder is not None and heard.eligible.all()
    terms = []
    for clip, texts in enumerate(heard.texts):
        own = F.normalize(decoded.states[clip][targets[clip] != 1], dim=1)
        similar = []
        for text in texts:
            states, _ = run.text_encoder(text[text != 1][None])
            similar.append((own @ F.normalize(states[0], dim=1).T).mean())
        terms.append(-similar[0] / 0.07 + torch.stack(similar[1:]).div(0.07).exp().sum().log())
    assert run.caption_loss == pytest.approx(cross.item(), rel=1e-5)
    assert run.alignment_loss == pytest.approx(torch.stack(terms).mean().item(), rel=1e-3, abs=1e-4)
    assert loss.item() == pytest.approx(cross.item() + 0.5 * run.alignment_loss.item(), rel=1e-5)


def test_texts_are_the_true_one_and_others(corpus: Path) -> None:
    job = job_of(corpus, "bart", alignment={"negatives": {"k": 4, "mode": "es+rs"}})
    run, block = run_of(job), next(job.stream.shuffled("train", 16, 64, 0, 0))
    heard, targets = job.on_device(run, block)
    assert heard.texts is not None and heard.texts.shape[:2] == (16, 5)
    for clip, texts in enumerate(heard.texts.tolist()):
        told = [job.texts.decode(text) for text in texts]
        sounds = told[0].replace(": 1", "").replace(": 2", "").split("; ")
        assert all(sound in job.texts.decode(targets[clip].tolist()) for sound in sounds)
        assert all(other != told[0] for other in told[1:])
    again, _ = job.on_device(run, block)
    assert again.texts is not None and torch.equal(again.texts, heard.texts)
    run.epoch = 1
    later, _ = job.on_device(run, block)
    assert later.texts is None or not torch.equal(later.texts, heard.texts)


def test_a_batch_without_negatives_has_no_alignment_loss(corpus: Path) -> None:
    run = run_of(job_of(corpus, "bart", alignment=ALIGNMENT))
    heard = Heard(torch.randn(2, 12, 8), torch.tensor([12, 3]), torch.zeros(2, dtype=torch.bool))
    targets = torch.tensor([[0, 5, 6, 2], [0, 5, 2, 1]])
    assert run.batch_loss(heard, targets) == run.caption_loss and run.alignment_loss == 0


def test_a_smoothed_certain_choice_costs_more() -> None:
    logits = 9 * F.one_hot(torch.tensor([[4, 2]]), 6).float()
    plain, smooth = (caption_loss(logits, torch.tensor([[4, 2]]), 0, share).item() for share in (0, 0.1))
    assert smooth - plain == pytest.approx(0.1 * 9 * 5 / 6, rel=1e-3)


# Networks


def test_temp4cap_at_full_size() -> None:
    full = {"encoder": {"kind": "panns"}, "captioner": {"kind": "bart"}, "alignment": {}}
    system = System.check(full, "x")
    texts = Words([str(number) for number in range(50_265 - 4)], BART_TOKENS)
    with torch.device("meta"):
        network = build(system, 64, texts, [], {}, 0)
    total = sum(parameter.numel() for parameter in network.parameters())
    cnn14 = sum(parameter.numel() for parameter in network.encoder.parameters())
    assert total == 139_420_416 + 2048 * 768 + 768 + cnn14 and 75e6 < cnn14 < 80e6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_of_temp4cap_at_full_size_on_a_gpu() -> None:
    system = System.check({"encoder": {"kind": "panns"}, "captioner": {"kind": "bart"}, "alignment": {}}, "x")
    texts = Words([str(number) for number in range(50_265 - 4)], BART_TOKENS)
    network = build(system, 64, texts, [], {}, 0)
    assert isinstance(network.captioner, BartCaptioner)
    run = Run(network, network.captioner.text_encoder(), system, 0, 8, 1, torch.device("cuda"), "bf16-mixed")
    read = torch.randint(4, 50_000, (24, 25, 20))
    heard = Heard(torch.randn(24, 3001, 64), torch.full((24,), 3001), torch.ones(24, dtype=torch.bool), read)
    run.step(heard.to(run.device), torch.randint(4, 50_000, (24, 20)).to(run.device))
    assert run.loss.isfinite()


def test_log_mel_features_are_what_waveforms_become() -> None:
    network, samples = Panns({"channels": [2, 3], "pools": [2, 2]}).eval(), torch.tensor([9600, 4800])
    waveform = torch.randn(2, 9600) * (torch.arange(9600) < samples[:, None])
    expected, mask = network(waveform, samples)
    found, again = network.from_log_mel(LogMel()(waveform), samples // 320 + 1)
    assert torch.equal(found, expected) and torch.equal(again, mask) and mask.sum(1).tolist() == [7, 4]
    short, mask = network.from_log_mel(torch.zeros(1, 1, 64), torch.tensor([1]))
    assert short.shape == (1, 1, 3) and mask.all()


def test_word_vectors_are_learned_and_stay() -> None:
    system = System.check(settings_of("transformer", captioner={"word_vectors": "word2vec"}), "x")
    captions = ["a dog barks", "a cat meows"] * 9
    texts = texts_of(system, captions, {})
    networks = [build(system, 8, texts, captions, {}, 3) for _ in range(2)]
    one, two = (network.captioner.get_parameter("decoder.embedding.weight") for network in networks)
    assert torch.equal(one, two) and not one.requires_grad and one[4:].abs().sum(1).min() > 0


def test_weights_and_texts_fit_the_network() -> None:
    system = System.check(settings_of(), "x")
    network: Network = build(system, 8, texts_of(system, ["a dog"], {}), ["a dog"], {}, 0)
    assert network.captioner.get_parameter("bart.model.shared.weight").shape == (4 + 2 + len(MARKS), 16)
    assert math.isfinite(sum(value.sum().item() for value in network.parameters()))
