"""What captioning is made of: clips, networks, and the losses of a step."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from caption_files import ALIGNMENT, TINY, job_of, settings_of, train, write_corpus
from torch.nn import functional as F
from training_files import first_run, fitting, step_of

from workflow_scripts import shards
from workflow_scripts.models.caption_decoders import caption_loss
from workflow_scripts.models.captioners import BART_TOKENS
from workflow_scripts.models.panns import LogMel, Panns
from workflow_scripts.training.systems.captioner import System
from workflow_scripts.training.systems.captioner.network import Network, build, texts_of
from workflow_scripts.training.systems.captioner.run import CaptionRun, Inputs
from workflow_scripts.training.systems.captioner.texts import MARKS, Words

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("clips"))


# Clips


def test_only_training_captions_make_the_vocabulary(corpus: Path, tmp_path: Path) -> None:
    rows = list(shards.read(corpus / "manifest.parquet"))
    for row in rows:
        if row["split"] != "train":
            row["captions"] = [f"{caption} uninputs" for caption in row["captions"]]
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
    data, other = (
        fitting(job).data
        for job in (
            job_of(corpus, tmp_path, "gru", [0], manifest=tmp_path / "manifest.parquet"),
            job_of(corpus, tmp_path, "gru", [0]),
        )
    )
    assert data.left_out["train"] == 2 and other.left_out["train"] == 1
    assert data.learned_from != other.learned_from
    assert data.passes == 3
    assert {data.choose("train-1", 0, 0, number) for number in range(3)} == {0}


def test_valid_frames_follow_from_seconds(corpus: Path) -> None:
    job = job_of(corpus, corpus, "gru", [0])
    assert fitting(job).data.valid(np.array([6.0, 5.0, 3.2, 0.0, 9.0, np.nan])).tolist() == [12, 10, 7, 1, 12, 12]


def test_what_lies_behind_a_clip_is_not_inputs(corpus: Path) -> None:
    run = run_of(corpus, "bart")
    block = next(block for block in run.data.blocks("test") if len(set(block["frames"])) == 2)
    short = block["frames"] < 12
    poisoned = block | {"features": block["features"].copy()}
    poisoned["features"][short, 10:] = 50
    (_, clean), (_, other) = next(run.generate([block], run.search)), next(run.generate([poisoned], run.search))
    assert clean == other


# The loss of a step


def run_of(corpus: Path, kind: str, **changes: Any) -> CaptionRun:
    """A run at its beginning."""
    return first_run(job_of(corpus, corpus, kind, [0], **changes))


@pytest.mark.parametrize("kind", TINY)
def test_one_step_trains_every_weight(corpus: Path, kind: str) -> None:
    run = run_of(corpus, kind, **({"alignment": ALIGNMENT} if kind == "bart" else {}))
    before = {name: value.detach().clone() for name, value in run.network.named_parameters()}
    step_of(run)
    moved = {name for name, value in run.network.named_parameters() if not torch.equal(value, before[name])}
    still = before.keys() - moved
    assert all("embed_positions" in name or "k_proj.bias" in name for name in still)
    assert run.loss.isfinite()


def test_the_loss_of_a_step_by_hand(corpus: Path) -> None:
    """Equations 1 to 4 from the network's own outputs, clip by clip."""
    run = run_of(corpus, "bart", alignment={"weight": 0.5, "negatives": {"k": 2, "mode": "es"}})
    inputs, targets = run.on_device(next(run.batches()))
    run.network.eval()
    loss = run.batch_loss(inputs, targets)
    decoded = run.network(inputs.features.float(), inputs.frames, targets)
    cross = caption_loss(decoded.logits, targets, 1)
    assert inputs.texts is not None and run.text_encoder is not None and inputs.eligible.all()
    terms = []
    for clip, texts in enumerate(inputs.texts):
        own = F.normalize(decoded.states[clip][targets[clip] != 1], dim=1)
        similar = []
        for text in texts:
            states, _ = run.text_encoder(text[text != 1][None])
            similar.append((own @ F.normalize(states[0], dim=1).T).mean())
        terms.append(-similar[0] / 0.07 + torch.stack(similar[1:]).div(0.07).exp().sum().log())
    assert run.terms["caption_loss"] == pytest.approx(cross.item(), rel=1e-5)
    assert run.terms["alignment_loss"] == pytest.approx(torch.stack(terms).mean().item(), rel=1e-3, abs=1e-4)
    assert loss.item() == pytest.approx(cross.item() + 0.5 * run.terms["alignment_loss"].item(), rel=1e-5)


def test_texts_are_the_true_one_and_others(corpus: Path) -> None:
    run = run_of(corpus, "bart", alignment={"negatives": {"k": 4, "mode": "es+rs"}})
    block = next(run.batches())
    inputs, targets = run.on_device(block)
    assert inputs.texts is not None and inputs.texts.shape[:2] == (16, 5)
    for clip, texts in enumerate(inputs.texts.tolist()):
        rewritten = [run.data.texts.decode(text) for text in texts]
        sounds = rewritten[0].replace(": 1", "").replace(": 2", "").split("; ")
        assert all(sound in run.data.texts.decode(targets[clip].tolist()) for sound in sounds)
        assert all(other != rewritten[0] for other in rewritten[1:])
    again, _ = run.on_device(block)
    assert again.texts is not None and torch.equal(again.texts, inputs.texts)
    run.epoch = 1
    later, _ = run.on_device(block)
    assert later.texts is None or not torch.equal(later.texts, inputs.texts)


def test_a_batch_without_negatives_has_no_alignment_loss(corpus: Path) -> None:
    run = run_of(corpus, "bart", alignment=ALIGNMENT)
    inputs = Inputs(torch.randn(2, 12, 8), torch.tensor([12, 3]), torch.zeros(2, dtype=torch.bool))
    targets = torch.tensor([[0, 5, 6, 2], [0, 5, 2, 1]])
    assert run.batch_loss(inputs, targets) == run.terms["caption_loss"] and run.terms["alignment_loss"] == 0


def test_a_smoothed_certain_choice_costs_more() -> None:
    logits = 9 * F.one_hot(torch.tensor([[4, 2]]), 6).float()
    plain, smooth = (caption_loss(logits, torch.tensor([[4, 2]]), 0, share).item() for share in (0, 0.1))
    assert smooth - plain == pytest.approx(0.1 * 9 * 5 / 6, rel=1e-3)


# Networks


def temp4cap() -> Network:
    system = System.check({"encoder": {"kind": "panns"}, "captioner": {"kind": "bart"}, "alignment": {}}, "x")
    texts = Words([str(number) for number in range(50_265 - 4)], BART_TOKENS)
    return build(system, 64, texts, [], {}, 0)


def test_temp4cap_at_full_size() -> None:
    with torch.device("meta"):
        network = temp4cap()
    total = sum(parameter.numel() for parameter in network.parameters())
    cnn14 = sum(parameter.numel() for parameter in network.encoder.parameters())
    assert total == 139_420_416 + 2048 * 768 + 768 + cnn14 and 75e6 < cnn14 < 80e6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_of_temp4cap_at_full_size_on_a_gpu(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflow_scripts.training.systems.captioner.run.build", lambda *_: temp4cap())
    run = run_of(corpus, "bart", alignment=ALIGNMENT, device="cuda", precision="bf16-mixed")
    read = torch.randint(4, 50_000, (24, 25, 20))
    inputs = Inputs(torch.randn(24, 3001, 64), torch.full((24,), 3001), torch.ones(24, dtype=torch.bool), read)
    run.step(inputs.to(run.device), torch.randint(4, 50_000, (24, 20)).to(run.device))
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
